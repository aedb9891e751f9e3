"""What all nodes of a cluster share: swift.conf and the rings, as one object handed to whoever asks.

1. The hash prefix and suffix decide where every name lives; without at least one nothing starts.
2. Nothing here is global: two clusters can live in one process, as tests do.
"""

from __future__ import annotations

import configparser
import dataclasses
import functools
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

from miniswift.config import Settings, boolean, option, positive, reading, words
from miniswift.config import count as whole_number
from miniswift.errors import ConfigError
from miniswift.ring import Ring


@dataclasses.dataclass(frozen=True)
class Constraints(Settings):
    """Limits on what clients may store ([swift-constraints]); lengths in bytes of UTF-8."""

    max_file_size: int = option(positive, "5368709122", "largest object, bytes")
    max_meta_name_length: int = option(positive, "128", "longest name of a metadata item")
    max_meta_value_length: int = option(positive, "256", "longest value of a metadata item")
    max_meta_count: int = option(positive, "90", "most metadata items of one resource")
    max_meta_overall_size: int = option(positive, "4096", "all metadata names and values together")
    max_header_size: int = option(positive, "8192", "longest header line")
    extra_header_count: int = option(whole_number, "0", "headers allowed beyond the usual number")
    max_object_name_length: int = option(positive, "1024", "longest object name")
    container_listing_limit: int = option(positive, "10000", "most rows of one container listing")
    account_listing_limit: int = option(positive, "10000", "most rows of one account listing")
    max_account_name_length: int = option(positive, "256", "longest account name")
    max_container_name_length: int = option(positive, "256", "longest container name")
    valid_api_versions: tuple[str, ...] = option(words, "v1,v1.0", "what may stand first in a path")
    auto_create_account_prefix: str = option(str.strip, ".", "accounts for the servers' own use")


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """A storage policy: an object ring with a name."""

    index: int
    name: str
    aliases: tuple[str, ...] = ()
    is_default: bool = False
    is_deprecated: bool = False

    @property
    def suffix(self) -> str:
        """What follows `objects`, `async_pending`, `tmp` and `object` in the names of its files."""
        return f"-{self.index}" if self.index else ""


class Policies:
    """The storage policies by index and, without case, by name."""

    def __init__(self, policies: list[Policy]) -> None:
        self._by_index = {policy.index: policy for policy in policies}
        self._by_name = {
            name.lower(): policy for policy in policies for name in (policy.name, *policy.aliases)
        }
        self.default = next(policy for policy in policies if policy.is_default)

    def __iter__(self) -> Iterator[Policy]:
        return iter(sorted(self._by_index.values(), key=lambda policy: policy.index))

    def __len__(self) -> int:
        return len(self._by_index)

    def at(self, index: int | str | None) -> Policy | None:
        """The policy with this index (text or number); None if there is none."""
        try:
            return self._by_index.get(int(index or 0))
        except ValueError:
            return None

    def named(self, name: str) -> Policy | None:
        return self._by_name.get(name.strip().lower())


class Cluster:
    """The hash of names, the constraints, the policies and the rings of one swift_dir."""

    def __init__(
        self,
        swift_dir: str | Path,
        *,
        hash_prefix: str = "",
        hash_suffix: str = "",
        policies: Policies | None = None,
        constraints: Constraints | None = None,
    ) -> None:
        self.swift_dir = Path(swift_dir)
        self._prefix = hash_prefix.encode("latin-1")
        self._suffix = hash_suffix.encode("latin-1")
        self.policies = policies or Policies([Policy(0, "Policy-0", is_default=True)])
        self.constraints = constraints or Constraints()
        self._rings: dict[str, Ring] = {}

    @classmethod
    def load(cls, swift_dir: str | Path) -> Cluster:
        """Read swift.conf. Raises ConfigError when it is missing, unreadable or has no hash."""
        file = Path(swift_dir) / "swift.conf"
        parser = configparser.RawConfigParser(strict=False)
        try:
            # Byte for byte, as Swift reads it: the hash takes whatever bytes are in there.
            parser.read_string(file.read_text("latin-1"), str(file))
        except (OSError, configparser.Error) as error:
            raise ConfigError(f"cannot be read: {error}", file=str(file)) from None
        prefix = parser.get("swift-hash", "swift_hash_path_prefix", fallback="")
        suffix = parser.get("swift-hash", "swift_hash_path_suffix", fallback="")
        if not (prefix or suffix):
            raise ConfigError(
                "needs swift_hash_path_suffix or swift_hash_path_prefix", file=str(file), section="swift-hash"
            )
        limits = dict(parser["swift-constraints"]) if parser.has_section("swift-constraints") else {}
        with reading(str(file), "swift-constraints"):
            constraints = Constraints.from_conf(limits, limits)
        policies = _read_policies(parser, str(file))
        return cls(
            swift_dir, hash_prefix=prefix, hash_suffix=suffix, policies=policies, constraints=constraints
        )

    def hash_path(self, account: str, container: str | None = None, obj: str | None = None) -> str:
        """The MD5, in hex, under which an account, container or object is stored."""
        if obj is not None:
            assert container is not None
            path = f"/{account}/{container}/{obj}"
        elif container is not None:
            path = f"/{account}/{container}"
        else:
            path = f"/{account}"
        return _path_digest(self._prefix + path.encode("utf-8", "surrogateescape") + self._suffix)

    def ring(self, kind: str, policy: Policy | None = None) -> Ring:
        """The `account`, `container` or `object` ring; the latter of a policy (default: policy 0)."""
        name = f"{kind}{policy.suffix}" if policy is not None and kind == "object" else kind
        if name not in self._rings:
            self._rings[name] = Ring(self.swift_dir / f"{name}.ring.gz")
        return self._rings[name]

    def part(self, ring: Ring, account: str, container: str | None = None, obj: str | None = None) -> int:
        """The partition of `ring` that a name lies in."""
        return ring.part_of(self.hash_path(account, container, obj))


@functools.lru_cache(maxsize=16384)
def _path_digest(path: bytes) -> str:
    return md5(path, usedforsecurity=False).hexdigest()


def _read_policies(parser: configparser.RawConfigParser, file: str) -> Policies:
    policies: list[Policy] = []
    for section in parser.sections():
        kind, _, index = section.partition(":")
        if kind == "storage-policy":
            policies.append(_read_policy(parser[section], index, file))
    if not policies:
        return Policies([Policy(0, "Policy-0", is_default=True)])
    check_policies(policies, file)
    if not any(policy.is_default for policy in policies):
        policies = [dataclasses.replace(policy, is_default=policy.index == 0) for policy in policies]
    return Policies(policies)


def _read_policy(section: configparser.SectionProxy, index: str, file: str) -> Policy:
    if not index.isdecimal():
        raise ConfigError("the index must be a whole number", file=file, section=section.name)
    if section.get("policy_type", "replication") != "replication":
        raise ConfigError(
            "only replication policies are served here", file=file, section=section.name, option="policy_type"
        )
    return Policy(
        int(index),
        section.get("name", f"Policy-{index}").strip(),
        words(section.get("aliases", "")),
        _flag(section, "default", file),
        _flag(section, "deprecated", file),
    )


def _flag(section: configparser.SectionProxy, name: str, file: str) -> bool:
    try:
        return boolean(section.get(name, "no"))
    except ValueError as error:
        raise ConfigError(str(error), file=file, section=section.name, option=name) from None


def check_policies(policies: list[Policy], file: str) -> None:
    """Raise ConfigError for policies that cannot stand together, naming `file`."""
    names = [name.lower() for policy in policies for name in (policy.name, *policy.aliases)]
    problem = None
    if not any(policy.index == 0 for policy in policies):
        problem = "there must be a [storage-policy:0]"
    elif len({policy.index for policy in policies}) < len(policies):
        problem = "two policies share an index"
    elif sum(policy.is_default for policy in policies) > 1:
        problem = "only one policy can be the default"
    elif any(policy.is_default and policy.is_deprecated for policy in policies):
        problem = "the default policy cannot be deprecated"
    elif len(set(names)) != len(names):
        problem = "two policies share a name"
    elif any(not name.replace("-", "").isalnum() or not name.isascii() for name in names):
        problem = "a policy's name is made of letters, digits and dashes"
    if problem:
        raise ConfigError(problem, file=file, section="storage-policy:N")
