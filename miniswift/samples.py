"""The sample configuration files in `etc/`, written from the tables that read them.

    python -m miniswift.samples etc

Each section shows every option at its default, commented, with a line on what it means; so a sample
cannot disagree with the code, and a test sees to it that `etc/` is what this module writes.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import textwrap
from pathlib import Path

from miniswift.config import Settings, option_names, sample


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a sample: the lines that are in force, then the tables of its options."""

    name: str
    lines: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()  # module:class
    about: str = ""
    shown_before: tuple[str, ...] = ()  # tables whose options need no repetition

    def render(self) -> str:
        parts = [textwrap.indent(textwrap.fill(self.about, 98), "# ")] if self.about else []
        parts += [f"[{self.name}]", *self.lines, *([""] if self.tables else [])]
        shown = {name for table in map(_load, self.shown_before) for name in option_names(table)}
        for table in map(_load, self.tables):
            parts.append(sample(table, frozenset(shown)))
            shown.update(option_names(table))
        return "\n".join(parts).rstrip() + "\n"


def _load(where: str) -> type[Settings]:
    module, _, name = where.partition(":")
    table: type[Settings] = getattr(importlib.import_module(module), name)
    return table


_PROCESS = ("miniswift.config:ProcessSettings", "miniswift.server:ServerSettings")
_HEALTHCHECK = Section(
    "filter:healthcheck",
    ("use = egg:miniswift#healthcheck",),
    ("miniswift.middleware.healthcheck:HealthcheckSettings",),
)


def _proxy() -> list[Section]:
    return [
        Section("DEFAULT", ("bind_port = 8080",), _PROCESS),
        Section(
            "pipeline:main",
            (
                "pipeline = catch_errors gatekeeper healthcheck proxy-logging cache cors listing_formats",
                "    bulk tempurl formpost authtoken keystoneauth staticweb copy slo dlo",
                "    versioned_writes symlink proxy-logging proxy-server",
            ),
            about="The outermost filter first. For users in this file put tempauth in place of "
            "authtoken keystoneauth.",
        ),
        Section(
            "app:proxy-server",
            ("use = egg:miniswift#proxy", "account_autocreate = true"),
            ("miniswift.proxy.settings:ProxySettings",),
        ),
        *_filters(),
    ]


def _filters() -> list[Section]:
    def section(name: str, *tables: str, lines: tuple[str, ...] = (), about: str = "") -> Section:
        entry = name.replace("-", "_")
        qualified = tuple(f"miniswift.middleware.{table}" for table in tables)
        return Section(f"filter:{name}", (f"use = egg:miniswift#{entry}", *lines), qualified, about)

    return [
        section("catch_errors", "catch_errors:CatchErrorsSettings"),
        section("gatekeeper", "gatekeeper:GatekeeperSettings"),
        _HEALTHCHECK,
        section("proxy-logging", "access_line:ProxyLoggingSettings"),
        section("cache", "cache:CacheSettings"),
        section(
            "cors",
            "cors:CorsSettings",
            about="What is not said here is taken from [app:proxy-server], where Swift has these options.",
        ),
        section("listing_formats"),
        section("bulk", "bulk:BulkSettings"),
        section("tempurl", "tempurl:TempURLSettings"),
        section("formpost", "temporary_keys:DigestSettings"),
        section(
            "authtoken",
            "authtoken:Options",
            "service_user:ServiceUserOptions",
            lines=(
                "delay_auth_decision = true",
                "cache = swift.cache",
                "auth_type = password",
                "auth_url = http://127.0.0.1:5000",
                "username = swift",
                "password = secret",
                "project_name = service",
                "user_domain_id = default",
                "project_domain_id = default",
            ),
            about="How the service user signs in at Keystone is keystoneauth1's business: auth_type and the "
            "options of that plugin. The older auth_host, admin_user, ... mean the same for v2.0.",
        ),
        section("keystoneauth", "keystoneauth:Options", "keystoneauth:PrefixRules"),
        section(
            "tempauth",
            "tempauth:Options",
            "tempauth:PrefixRules",
            lines=(
                "user_admin_admin = admin .admin .reseller_admin",
                "user_test_tester = testing .admin",
                "user_test_tester3 = testing3",
            ),
            about="user_<account>_<user> = <key> [group] [group] ... [storage URL]. A group .admin owns its "
            "account; .reseller_admin owns all. user64_... takes names in base64.",
        ),
        section("staticweb", "staticweb:StaticWebSettings"),
        section("copy"),
        section("slo", "slo:SloSettings"),
        section("dlo", "dlo:DloSettings"),
        section(
            "versioned_writes",
            "versioned_writes:VersionedWritesSettings",
            lines=("allow_versioned_writes = true",),
        ),
        section("symlink", "symlink:SymlinkSettings"),
        section(
            "etag-quoter",
            "etag_quoter:EtagQuoterSettings",
            about="The following are not in the pipeline above. This one belongs right behind cache.",
        ),
        section("domain_remap", "domain_remap:DomainRemapSettings", about="In front of the auth filters."),
        section("container-quotas", about="Behind copy, as account-quotas."),
        section("account-quotas"),
        section(
            "ratelimit",
            "ratelimit:RatelimitSettings",
            about="Behind cache, in front of the auth filters. "
            "container_ratelimit_N and container_listing_ratelimit_N, for N objects or more, besides.",
        ),
        section("read_only", "read_only:ReadOnlySettings", about="In front of the auth filters."),
        section(
            "name_check", "name_check:NameCheckSettings", about="In front of everything that knows names."
        ),
        section("crossdomain", "crossdomain:CrossDomainSettings", about="In front of the auth filters."),
        section("cname_lookup", "cname_lookup:CnameLookupSettings", about="In front of domain_remap."),
        section(
            "list-endpoints",
            "list_endpoints:ListEndpointsSettings",
            about="Shows the storage network: only where nobody but its own programs reaches the proxy.",
        ),
        section(
            "xprofile",
            "xprofile:XprofileSettings",
            about="For a while only: whoever reaches the proxy "
            "may look, and every request is slower. Behind catch_errors. pip install miniswift[profile]",
        ),
    ]


def _storage(kind: str, port: int, table: str, *more: Section) -> list[Section]:
    storage = "miniswift.storage:StorageSettings"
    return [
        Section("DEFAULT", (f"bind_port = {port}",), (*_PROCESS, storage)),
        Section("pipeline:main", (f"pipeline = healthcheck recon {kind}-server",)),
        Section(f"app:{kind}-server", (f"use = egg:miniswift#{kind}",), (table,), shown_before=(storage,)),
        _HEALTHCHECK,
        Section(
            "filter:recon",
            ("use = egg:miniswift#recon",),
            ("miniswift.middleware.recon:ReconSettings",),
            shown_before=(storage,),
        ),
        Section(
            "filter:backend_ratelimit",
            ("use = egg:miniswift#backend_ratelimit",),
            ("miniswift.middleware.backend_ratelimit:BackendRatelimitSettings",),
            "Not in the pipeline above; it belongs behind recon.",
            shown_before=(storage, *_PROCESS),
        ),
        *more,
    ]


def _identity() -> list[Section]:
    return [
        Section("DEFAULT", ("bind_port = 5000",), _PROCESS),
        Section("pipeline:main", ("pipeline = cors identity",)),
        Section(
            "filter:cors",
            ("use = egg:miniswift#cors",),
            ("miniswift.middleware.cors:CorsSettings",),
            "Which sites' pages may sign users in: cors_allow_origin.",
        ),
        Section("app:identity", ("use = egg:miniswift#identity",), ("miniswift.identity:IdentitySettings",)),
    ]


def _swift() -> list[Section]:
    return [
        Section(
            "swift-hash",
            ("swift_hash_path_prefix =", "swift_hash_path_suffix = changeme"),
            about="These decide where every name is stored, and must be the same on all nodes for ever. "
            "Keep them secret.",
        ),
        Section(
            "storage-policy:0",
            ("name = standard", "policy_type = replication", "default = yes"),
            about="More policies have sections with higher numbers, and rings object-<number>.ring.gz. "
            "aliases = other names; deprecated = yes keeps new containers out.",
        ),
        Section("swift-constraints", (), ("miniswift.cluster:Constraints",)),
    ]


def samples() -> dict[str, str]:
    """File name → text, for every sample."""
    updater = Section("object-updater", (), ("miniswift.daemons.updater:UpdaterSettings",))
    expirer = Section(
        "object-expirer",
        (),
        ("miniswift.daemons.expirer:ExpirerSettings",),
        "On one node of a cluster; delay_reaping_ACCOUNT and delay_reaping_ACCOUNT/CONTAINER (seconds) keep "
        "what has expired there a while longer on disk.",
    )
    auditor = Section("object-auditor", (), ("miniswift.daemons.auditor:AuditorSettings",))
    reaper = Section("account-reaper", (), ("miniswift.daemons.reaper:ReaperSettings",))
    account_auditor, container_auditor = (
        Section(f"{kind}-auditor", (), (f"miniswift.daemons.database_auditor:{kind.title()}AuditorSettings",))
        for kind in ("account", "container")
    )
    files = {
        "account-server.conf": _storage(
            "account", 6202, "miniswift.storage:StorageSettings", account_auditor, reaper
        ),
        "container-server.conf": _storage(
            "container",
            6201,
            "miniswift.storage.container_server:ContainerSettings",
            container_auditor,
        ),
        "object-server.conf": _storage(
            "object", 6200, "miniswift.storage.object_server:ObjectSettings", updater, expirer, auditor
        ),
        "identity.conf": _identity(),
        "proxy-server.conf": _proxy(),
        "swift.conf": _swift(),
    }
    return {name: "\n".join(section.render() for section in sections) for name, sections in files.items()}


def main(folder: str) -> None:
    """Write every sample into `folder`."""
    for name, text in samples().items():
        (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
