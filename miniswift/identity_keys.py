"""The headers that say who is asking.

authtoken (ours or keystonemiddleware's) makes them of a token, and the auth filters behind it read them.
They are about the asker and not about what is asked for, so the proxy does not hand them on.
"""

from __future__ import annotations

from miniswift.wsgi import environ_key

# (header, attribute of keystoneauth1's AccessInfo); a service token's have X-Service- in front.
FIELDS = (
    ("User-Id", "user_id"),
    ("User-Name", "username"),
    ("User-Domain-Id", "user_domain_id"),
    ("User-Domain-Name", "user_domain_name"),
    ("Project-Id", "project_id"),
    ("Project-Name", "project_name"),
    ("Project-Domain-Id", "project_domain_id"),
    ("Project-Domain-Name", "project_domain_name"),
    ("Domain-Id", "domain_id"),
    ("Domain-Name", "domain_name"),
)
# Names from before Keystone spoke of projects, and what they repeat.
OLD_NAMES = (
    ("X-Tenant-Id", "X-Project-Id"),
    ("X-Tenant-Name", "X-Project-Name"),
    ("X-Tenant", "X-Project-Name"),
    ("X-User", "X-User-Name"),
    ("X-Role", "X-Roles"),
)
STATUS = "HTTP_X_IDENTITY_STATUS"
SERVICE_STATUS = "HTTP_X_SERVICE_IDENTITY_STATUS"

# Every environ key that can be set from a token.
KEYS = frozenset(
    [environ_key(f"X-{field}") for field, _ in FIELDS]
    + [environ_key(f"X-Service-{field}") for field, _ in FIELDS]
    + [environ_key(old) for old, _ in OLD_NAMES]
    + [STATUS, SERVICE_STATUS, "HTTP_X_ROLES", "HTTP_X_SERVICE_ROLES", "HTTP_X_SERVICE_CATALOG"]
    + ["HTTP_X_IS_ADMIN_PROJECT", "HTTP_OPENSTACK_SYSTEM_SCOPE"]
)
