"""The user that authtoken is towards Keystone: how to sign in, and where Keystone is.

Two generations of options say it. Today they name a keystoneauth1 plugin and what it needs
(`auth_type = password`, `auth_url`, `username`, …). Before, there were `identity_uri` or `auth_host`,
`auth_port`, `auth_protocol`, with `admin_user`, `admin_password` and `admin_tenant_name`, or a fixed
`admin_token`. Where `auth_type` stands, the old ones are not read.

1. Every option comes from the filter's section; there is no other file.
2. Plugin options are checked at start, not with the first token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1 import exceptions, loading, token_endpoint
from keystoneauth1.identity import generic, v2, v3
from keystoneauth1.session import Session

from miniswift.config import Settings, boolean, count, option, port, seconds, text
from miniswift.errors import ConfigError

from .keystone_client import V2, V3, Keystone


def api_version(value: str) -> str:
    """`v2.0`, `3`, `v3.0`…, or nothing to ask Keystone."""
    number = value.strip().lower().removeprefix("v")
    if number and number.partition(".")[0] not in ("2", "3"):
        raise ValueError("expected v2.0 or v3")
    return {"": "", "2": V2, "3": V3}[number.partition(".")[0]]


@dataclass(frozen=True)
class ServiceUserOptions(Settings):
    auth_type: str = option(text, "", "keystoneauth1 plugin to sign in with, e.g. password", "auth_plugin")
    auth_version: str = option(api_version, "", "v2.0 or v3; what Keystone offers when empty")
    interface: str = option(text, "internal", "which of Keystone's endpoints in the catalogue to use")
    region_name: str = option(text, "", "region of Keystone's endpoint")
    http_connect_timeout: float = option(seconds, "5", "seconds to wait for Keystone, each try")
    http_request_max_retries: int = option(count, "3", "tries after the first when Keystone does not answer")
    certfile: str = option(text, "", "client certificate for Keystone, PEM")
    keyfile: str = option(text, "", "client key for Keystone, PEM")
    cafile: str = option(text, "", "CA of Keystone's certificate, PEM; the system's when empty")
    insecure: bool = option(boolean, "false", "do not check Keystone's certificate")
    identity_uri: str = option(text, "", "old: Keystone's admin URL, without a version")
    auth_host: str = option(text, "127.0.0.1", "old: Keystone's host, when there is no identity_uri")
    auth_port: int = option(port, "35357", "old: Keystone's admin port")
    auth_protocol: str = option(text, "https", "old: http or https")
    auth_admin_prefix: str = option(text, "", "old: path in front of Keystone's API")
    admin_token: str = option(text, "", "old: Keystone's bootstrap token, instead of a user")
    admin_user: str = option(text, "", "old: service user")
    admin_password: str = option(text, "", "old: their password")
    admin_tenant_name: str = option(text, "admin", "old: their project")

    @property
    def old_root(self) -> str:
        """Keystone's URL without a version, as the old options have it."""
        host = f"[{self.auth_host}]" if ":" in self.auth_host else self.auth_host
        uri = self.identity_uri or f"{self.auth_protocol}://{host}:{self.auth_port}"
        prefix = self.auth_admin_prefix.strip("/")
        return f"{uri.rstrip('/')}/{prefix}".rstrip("/")


@dataclass(frozen=True)
class ServiceUser:
    """How authtoken signs in, and where it then asks."""

    auth: Any  # a keystoneauth1 plugin
    public_root: str  # Keystone's URL as far as the configuration tells it
    find_root: Callable[[Session, Any], str | None]
    plugin_options: tuple[str, ...] = ()  # names that the plugin reads from the section

    @classmethod
    def from_conf(cls, conf: Mapping[str, str], options: ServiceUserOptions) -> ServiceUser:
        """Raises ConfigError when the section does not say who to be, or lacks an option of the plugin."""
        if options.auth_type:
            return cls._of_plugin(conf, options)
        if not (options.admin_token or options.admin_user):
            raise ConfigError(
                "no service user: set auth_type and its options, or admin_user and admin_password"
            )
        return cls(_old_auth(options), options.old_root, lambda session, auth: options.old_root)

    @classmethod
    def _of_plugin(cls, conf: Mapping[str, str], options: ServiceUserOptions) -> ServiceUser:
        try:
            loader = loading.get_plugin_loader(options.auth_type)
            auth = loader.load_from_options_getter(lambda opt: _plugin_option(conf, opt))
        except exceptions.NoMatchingPlugin:
            raise ConfigError(
                f"no keystoneauth1 plugin is named {options.auth_type!r}", option="auth_type"
            ) from None
        except (exceptions.AuthPluginException, ValueError) as error:
            raise ConfigError(str(error), option="auth_type") from None
        configured = getattr(auth, "auth_url", None) or conf.get("endpoint", "")

        def find_root(session: Session, auth: Any) -> str | None:
            return _in_catalogue(session, auth, options) or configured or None

        names = (opt.dest for each in loader.get_options() for opt in (each, *each.deprecated))
        return cls(auth, configured, find_root, tuple(names))


def keystone_as(user: ServiceUser, options: ServiceUserOptions, pause: Callable[[float], None]) -> Keystone:
    """What asks Keystone as `user`; it waits with `pause` (seconds) before it tries again."""
    # At lower levels urllib3 logs each URL, and those of v2.0 have the token in them.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    session = Session(
        verify=False if options.insecure else options.cafile or True,
        cert=(options.certfile, options.keyfile or options.certfile) if options.certfile else None,
        timeout=options.http_connect_timeout or None,
        user_agent="miniswift authtoken",
    )
    return Keystone(
        session,
        user.auth,
        user.find_root,
        version=options.auth_version,
        retries=options.http_request_max_retries,
        pause=pause,
    )


def _old_auth(options: ServiceUserOptions) -> Any:
    root = options.old_root
    if options.admin_token:
        return token_endpoint.Token(root, options.admin_token)
    who = {"username": options.admin_user, "password": options.admin_password}
    if options.auth_version == V2:
        return v2.Password(f"{root}/{V2}", tenant_name=options.admin_tenant_name, **who)
    domains = {"project_domain_id": "default", "user_domain_id": "default"}
    if options.auth_version == V3:
        return v3.Password(f"{root}/{V3}", project_name=options.admin_tenant_name, **who, **domains)
    return generic.Password(root, project_name=options.admin_tenant_name, default_domain_id="default", **who)


def _plugin_option(conf: Mapping[str, str], opt: Any) -> str | None:
    for known in (opt, *opt.deprecated):
        if conf.get(known.dest):
            return conf[known.dest]
    default: str | None = opt.default
    return default


def _in_catalogue(session: Session, auth: Any, options: ServiceUserOptions) -> str | None:
    """Keystone's own entry in the service user's catalogue, if it has one."""
    try:
        found: str | None = session.get_endpoint(
            auth,
            service_type="identity",
            interface=options.interface,
            region_name=options.region_name or None,
            skip_discovery=True,
        )
    except exceptions.CatalogException:
        return None
    return found
