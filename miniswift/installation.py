"""A root folder of `miniswift serve`: what the first start makes and later starts find.

    ROOT/etc/        swift.conf, *-server.conf, identity.conf, *.ring.gz, as the stand-alone servers take them
    ROOT/etc/identity.yaml   users, projects, roles (0600)
    ROOT/devices/    d1, d2, …: what Swift calls disks
    ROOT/openrc      the demo user's credentials for a shell (0600)
    ROOT/var/        tokens, caches

1. Whatever exists is left as it is, so what a user edits stays; only addresses follow the options.
2. Files with secrets are made with mode 0600, never widened afterwards.
3. The marker of a complete installation, swift.conf, is written last.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from miniswift.cluster import Policy, check_policies
from miniswift.errors import ConfigError
from miniswift.identity.store import Secrets, Store
from miniswift.pipeline import read_section
from miniswift.ring_builder import RingBuilder

PART_POWER = 10  # 1024 partitions: a hundred for each of ten disks
STORAGE_IP = "127.0.0.1"  # the storage protocol knows no users: it is never offered to a network
STORAGE_KINDS = ("object", "container", "account")  # in the order of Swift's ports: 6200, 6201, 6202


# What each server's daemons are told: one machine has few objects, and its user is waiting.
_DAEMONS = {
    "object": """
[object-updater]
interval = 2

[object-expirer]
interval = 30
tasks_per_second = 200

[object-auditor]
interval = 3600
""",
    "container": """
[container-auditor]
""",
    "account": """
[account-auditor]

[account-reaper]
""",
}


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where the services of an installation listen."""

    bind: str = "127.0.0.1"
    port: int = 8080
    identity_port: int = 5000
    storage_port: int = 6200

    @property
    def host(self) -> str:
        """The name that clients on this machine use."""
        host = "127.0.0.1" if self.bind in ("0.0.0.0", "::") else self.bind
        return f"[{host}]" if ":" in host else host

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def identity_url(self) -> str:
        return f"http://{self.host}:{self.identity_port}"


class Installation:
    """One root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.etc = self.root / "etc"
        self.devices = self.root / "devices"
        self.openrc = self.root / "openrc"
        self.identity_file = self.etc / "identity.yaml"

    def conf(self, name: str) -> Path:
        return self.etc / f"{name}.conf"

    @property
    def exists(self) -> bool:
        return (self.etc / "swift.conf").exists()

    def create(
        self, addresses: Addresses, devices: int, replicas: int, policies: Sequence[str] = ("standard",)
    ) -> None:
        """Make everything that is missing; the first policy is the default one.

        Raises ConfigError when the root cannot be written, or for policies that cannot be.
        """
        check_policies([Policy(index, name) for index, name in enumerate(policies)], str(self.root))
        if replicas > devices:
            raise ConfigError(f"{replicas} replicas need as many devices, not {devices}", option="--replicas")
        try:
            self._make_folders(devices)
            self._make_rings(addresses, devices, replicas, len(policies))
            self.identity_file.unlink(missing_ok=True)  # of a first start that did not come to its end
            passwords = Store.create_demo(str(self.identity_file), addresses.url, addresses.identity_url)
            self._write_confs(addresses, passwords)
            _write_private(self.openrc, _openrc(addresses, passwords))
            _write(self.etc / "swift.conf", _swift_conf(policies))
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror}", file=str(self.root)) from None

    def addresses(self) -> Addresses:
        """Where an existing installation listens, from its conf files."""
        proxy = read_section(self.conf("proxy-server"))
        identity = read_section(self.conf("identity"))
        objects = read_section(self.conf("object-server"))
        return Addresses(
            proxy.get("bind_ip", "127.0.0.1"),
            int(proxy["bind_port"]),
            int(identity["bind_port"]),
            int(objects["bind_port"]),
        )

    def move(self, new: Addresses) -> None:
        """Let the conf files and openrc name other addresses; the storage ports are in the rings and stay."""
        old = self.addresses()
        changes = {old.url: new.url, old.identity_url: new.identity_url}
        for file in (self.conf("proxy-server"), self.conf("identity"), self.openrc):
            text = file.read_text()
            for before, after in changes.items():
                text = text.replace(before, after)
            _write(file, text, mode=file.stat().st_mode & 0o777)
        _set_bind(self.conf("proxy-server"), new.bind, new.port)
        _set_bind(self.conf("identity"), new.bind, new.identity_port)

    def _make_folders(self, devices: int) -> None:
        for folder in (self.etc, self.root / "var"):
            folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, devices + 1):
            (self.devices / f"d{number}").mkdir(parents=True, exist_ok=True)

    def _make_rings(self, addresses: Addresses, devices: int, replicas: int, policies: int) -> None:
        for offset, kind in enumerate(STORAGE_KINDS):
            builder = RingBuilder(PART_POWER, replicas)
            for number in range(1, devices + 1):
                builder.add(STORAGE_IP, addresses.storage_port + offset, f"d{number}", zone=number)
            builder.rebalance()
            for index in range(policies if kind == "object" else 1):
                builder.save(self.etc / (f"{kind}-{index}.ring.gz" if index else f"{kind}.ring.gz"))

    def _write_confs(self, addresses: Addresses, passwords: Secrets) -> None:
        for offset, kind in enumerate(STORAGE_KINDS):
            _write(self.conf(f"{kind}-server"), self._storage_conf(kind, addresses.storage_port + offset))
        _write(self.conf("identity"), self._identity_conf(addresses))
        _write_private(self.conf("proxy-server"), self._proxy_conf(addresses, passwords))

    def _proxy_conf(self, addresses: Addresses, passwords: Secrets) -> str:
        return f"""\
[DEFAULT]
bind_ip = {addresses.bind}
bind_port = {addresses.port}
swift_dir = {self.etc}

[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache cors listing_formats bulk tempurl formpost
    authtoken keystoneauth staticweb copy slo dlo versioned_writes symlink proxy-logging proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
# devices in this process answer at once; one that is reached over the network may take longer
conn_timeout = 2

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:proxy-logging]
use = egg:swift#proxy_logging

# Without memcache_servers the workers of this machine share what they know by themselves.
[filter:cache]
use = egg:swift#memcache
# memcache_servers = 127.0.0.1:11211

[filter:cors]
use = egg:miniswift#cors

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:bulk]
use = egg:swift#bulk

[filter:tempurl]
use = egg:swift#tempurl

[filter:formpost]
use = egg:swift#formpost

[filter:authtoken]
use = egg:miniswift#authtoken
www_authenticate_uri = {addresses.identity_url}
auth_type = password
auth_url = {addresses.identity_url}
username = swift
password = {passwords.swift}
project_name = service
user_domain_id = default
project_domain_id = default
delay_auth_decision = true
include_service_catalog = false
cache = swift.cache
signing_dir = {self.root / "var" / "keystone-signing"}
# a revoked token goes when its revocation is listed (revocation_cache_time), not when its cached answer ends
check_revocations_for_cached = true

[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, swiftoperator
reseller_admin_role = ResellerAdmin

[filter:staticweb]
use = egg:swift#staticweb

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true

[filter:symlink]
use = egg:swift#symlink
"""

    def _storage_conf(self, kind: str, port: int) -> str:
        return f"""\
[DEFAULT]
bind_ip = {STORAGE_IP}
bind_port = {port}
swift_dir = {self.etc}
devices = {self.devices}
mount_check = false
recon_cache_path = {self.root / "var"}

[pipeline:main]
pipeline = healthcheck recon {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
log_requests = false

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:recon]
use = egg:swift#recon
{_DAEMONS[kind]}"""

    def _identity_conf(self, addresses: Addresses) -> str:
        return f"""\
[DEFAULT]
bind_ip = {addresses.bind}
bind_port = {addresses.identity_port}

[pipeline:main]
pipeline = cors identity

# lets pages of the store's own sign in, as the one of `serve --demo`
[filter:cors]
use = egg:miniswift#cors
cors_allow_origin = {addresses.url}

[app:identity]
use = egg:miniswift#identity
identity_file = {self.identity_file}
token_database = {self.root / "var" / "tokens.db"}
# uuid; or pki, pkiz: signed tokens, which the proxy checks without asking
token_format = uuid
signing_dir = {self.etc / "ssl"}
public_url = {addresses.identity_url}
object_store_url = {addresses.url}
"""


def _swift_conf(policies: Sequence[str]) -> str:
    sections = "\n".join(
        f"[storage-policy:{index}]\nname = {name}\npolicy_type = replication\n"
        f"default = {'no' if index else 'yes'}\n"
        for index, name in enumerate(policies)
    )
    return f"""\
# These two decide where every name is stored. Data written under one value is lost under another.
[swift-hash]
swift_hash_path_prefix = {secrets.token_hex(16)}
swift_hash_path_suffix = {secrets.token_hex(16)}

{sections}"""


def _openrc(addresses: Addresses, passwords: Secrets) -> str:
    return f"""\
# source this file, then use the swift or openstack client
export OS_AUTH_URL={addresses.identity_url}/v3
export OS_IDENTITY_API_VERSION=3
export OS_USERNAME=demo
export OS_PASSWORD={passwords.demo}
export OS_PROJECT_NAME=demo
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
export OS_REGION_NAME=RegionOne
# The swift client prefers these; unset them (and set nothing else) to let it use the ones above.
export ST_AUTH_VERSION=1.0
export ST_AUTH={addresses.identity_url}/auth/v1.0
export ST_USER=demo:demo
export ST_KEY={passwords.demo}
"""


def _set_bind(conf: Path, ip: str, port: int) -> None:
    lines = conf.read_text().splitlines()
    for index, line in enumerate(lines):
        name = line.partition("=")[0].strip()
        if name == "bind_ip":
            lines[index] = f"bind_ip = {ip}"
        elif name == "bind_port":
            lines[index] = f"bind_port = {port}"
    _write(conf, "\n".join(lines) + "\n", mode=conf.stat().st_mode & 0o777)


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once, so that a crash leaves the old one or the new one."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _write_private(file: Path, text: str) -> None:
    _write(file, text, mode=0o600)
