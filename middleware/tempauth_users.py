"""The users in tempauth's section of the configuration.

    user_<account>_<user> = key [group …] [storage URL]
    user64_<account>_<user> = key …        both names in base64 without =, for names with underscores

1. A user is known as `account:user`, and is a member of the groups `account` and `account:user`.
2. `.admin` stands for the account's names under every reseller prefix.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from miniswift.errors import ConfigError

ADMIN = ".admin"
OPTION_PATTERNS = ("user_*", "user64_*")


@dataclass(frozen=True)
class User:
    """Somebody who can sign in. Names, groups and URL are text."""

    name: str  # account:user
    key: str = field(repr=False)
    groups: tuple[str, ...]
    storage_url: str  # may have $HOST where the server's address goes

    @property
    def account(self) -> str:
        """The account's name in Swift."""
        return unquote(self.storage_url.rsplit("/", 1)[-1])


def read_users(conf: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, User]:
    """The users by `account:user`. Raises ConfigError that names the option."""
    options = (option for option in conf if option.startswith(("user_", "user64_")))
    users = (_user(option, conf[option].split(), prefixes) for option in options)
    return {user.name: user for user in users}


def _user(option: str, values: list[str], prefixes: tuple[str, ...]) -> User:
    account, name = _names(option)
    if not values:
        raise ConfigError("a user needs a key", option=option)
    key, *groups = values
    url = f"$HOST/v1/{prefixes[0]}{quote(account)}"
    if groups and ("://" in groups[-1] or "$HOST" in groups[-1]):
        url = groups.pop()
    whole_name = f"{account}:{name}"
    return User(whole_name, key, _all_groups(account, whole_name, groups, url, prefixes), url)


def _names(option: str) -> tuple[str, str]:
    kind, _, rest = option.partition("_")
    names = rest.split("_")
    if len(names) != 2 or not all(names):
        raise ConfigError(f"expected {kind}_<account>_<user>; names with _ go into user64_", option=option)
    if kind == "user64":
        try:
            names = [base64.b64decode(name + "=" * (-len(name) % 4)).decode("utf-8") for name in names]
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigError("account and user must be in base64", option=option) from None
    return names[0], names[1]


def _all_groups(
    account: str, name: str, groups: list[str], url: str, prefixes: tuple[str, ...]
) -> tuple[str, ...]:
    everything = [account, name, *groups]
    if ADMIN in everything:
        everything.remove(ADMIN)
        everything += [prefix + account for prefix in prefixes if prefix]
        everything.append(unquote(url.rsplit("/", 1)[-1]))
    return tuple(dict.fromkeys(everything))
