"""Tempauth's tokens: what a client is given for its key, and what it is worth later.

Three forms, told apart by what follows the reseller prefix; real Swift's tempauth knows them all:

    tk<32 hex digits>    stands for an entry in the shared cache
    ftk<Fernet>          the user's groups, encrypted and signed
    zftk<Fernet>         the same, compressed

1. With `active_fernet_key_id` tokens are made with that key; else they are kept in the cache if there
   is one that works; else they are made with a key of our own. So tempauth needs no memcached, whatever
   the number of workers or proxies, and none that answers.
2. Our own key follows from the users in the configuration and the cluster's hash prefix and suffix: the
   same in every process with the same files. Whoever changes a user ends the tokens made with it.
3. A Fernet token is as old as its timestamp says. One that shall live shorter is made older.
"""

from __future__ import annotations

import base64
import configparser
import functools
import hashlib
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from miniswift.errors import ConfigError

from .tempauth_users import User
from .token_cache import LocalCache

FERNET_KEY_OPTIONS = "fernet_key_"
# Seconds for which a worker trusts what it read from the cache.
_CACHED_TTL_S = 10.0
# scrypt's cost: some 50 ms, once a process, so that nobody guesses other users' keys from a token.
_SCRYPT_N, _SCRYPT_R = 2**14, 8


class Tokens:
    """Makes tokens and reads them."""

    def __init__(
        self,
        prefix: str,
        life_s: int,
        keys: Mapping[str, Fernet],
        active_key: str,
        make_own_key: Callable[[], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = prefix
        self._life_s = life_s
        self._keys = keys
        self._active = keys[active_key] if active_key else None
        self._make_own_key = make_own_key
        self._clock = clock
        self._read: LocalCache[tuple[str, ...]] = LocalCache(clock=clock)

    # --- making ----------------------------------------------------------------------------------

    def issue(self, user: User, cache: Any, life_s: int | None = None) -> tuple[str, float]:
        """(a token for `user`, when it expires as a Unix time), good for at most `life_s` seconds."""
        life_s = min(life_s or self._life_s, self._life_s)
        if self._active:
            return self._fernet_token(self._active, user, life_s)
        kept = self._kept_token(user, cache, life_s) if cache is not None else None
        return kept or self._fernet_token(self._own_key, user, life_s)

    def _fernet_token(self, key: Fernet, user: User, life_s: int) -> tuple[str, float]:
        now = self._clock()
        payload, form = ",".join(user.groups).encode("utf-8"), "ftk"
        packed = zlib.compress(payload)
        if len(packed) < len(payload):
            payload, form = packed, "zftk"
        word = key.encrypt_at_time(payload, int(now) - (self._life_s - life_s))
        return f"{self._prefix}{form}{word.decode('ascii')}", now + life_s

    def _kept_token(self, user: User, cache: Any, life_s: int) -> tuple[str, float] | None:
        """The user's token in the cache, a new one if none there is still good; None if it is down."""
        now = self._clock()
        if life_s == self._life_s:
            current = cache.get(self._user_entry(user))
            groups, expires = self._entry(current, cache) if current else ((), 0.0)
            if expires > now and set(groups) == set(user.groups):
                return current, expires
        token = f"{self._prefix}tk{uuid.uuid4().hex}"
        cache.set(self._token_entry(token), [now + life_s, ",".join(user.groups)], time=life_s)
        if not cache.get(self._token_entry(token)):
            return None
        if life_s == self._life_s:
            cache.set(self._user_entry(user), token, time=life_s)
        return token, now + life_s

    # --- reading ---------------------------------------------------------------------------------

    def groups_of(self, token: str, cache: Any) -> tuple[str, ...] | None:
        """The groups of the user whom `token` was given to; None if it is worth nothing (any more)."""
        if not token.startswith(self._prefix):
            return None
        known = self._read.get(token)
        if known is not None:
            return known
        form = token.removeprefix(self._prefix)
        if form.startswith("tk"):
            groups, expires = self._entry(token, cache) if cache is not None else ((), 0.0)
            trusted_s = min(_CACHED_TTL_S, expires - self._clock())
        else:
            groups, expires = self._opened(form)
            trusted_s = expires - self._clock()
        if not groups or trusted_s <= 0:
            return None
        self._read.put(token, groups, trusted_s)
        return groups

    def _entry(self, token: str, cache: Any) -> tuple[tuple[str, ...], float]:
        """(groups, when the token expires) as the cache has it; nothing and 0 if it has not."""
        kept = cache.get(self._token_entry(token))
        if not isinstance(kept, (list, tuple)) or len(kept) != 2:
            return (), 0.0
        return tuple(str(kept[1]).split(",")), float(kept[0])

    def _opened(self, form: str) -> tuple[tuple[str, ...], float]:
        """(groups, when the token expires) as it says itself; nothing and 0 if it is none of ours."""
        word, packed = (form[4:], True) if form.startswith("zftk") else (form[3:], False)
        if not form.startswith(("ftk", "zftk")) or not word.isascii():
            return (), 0.0
        keys = MultiFernet([*self._keys.values(), self._own_key])
        try:
            payload = keys.decrypt_at_time(word, self._life_s, int(self._clock()))
            groups = (zlib.decompress(payload) if packed else payload).decode("utf-8")
        except (InvalidToken, zlib.error, UnicodeDecodeError):
            return (), 0.0
        return tuple(groups.split(",")), float(keys.extract_timestamp(word)) + self._life_s

    @functools.cached_property
    def _own_key(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(self._make_own_key()))

    def _token_entry(self, token: str) -> str:
        return f"{self._prefix}/token/{token}"

    def _user_entry(self, user: User) -> str:
        return f"{self._prefix}/user/{user.name}"


def fernet_keys(conf: Mapping[str, str], active: str) -> dict[str, Fernet]:
    """The keys of the options `fernet_key_<id>` by id. Raises ConfigError."""
    keys: dict[str, Fernet] = {}
    for option in sorted(conf):
        if option.startswith(FERNET_KEY_OPTIONS):
            try:
                keys[option[len(FERNET_KEY_OPTIONS) :]] = Fernet(conf[option])
            except ValueError:
                raise ConfigError("expected 32 bytes in URL-safe base64", option=option) from None
    if active and active not in keys:
        raise ConfigError(f"there is no option fernet_key_{active}", option="active_fernet_key_id")
    return keys


def own_key(users: Iterable[User], swift_dir: str) -> bytes:
    """The 32 bytes that every process with these users and this swift.conf comes to."""
    secret = "\n".join(sorted(f"{user.name}\0{user.key}\0{','.join(user.groups)}" for user in users))
    return _stretched(secret.encode("utf-8", "surrogateescape"), b"tempauth" + _hash_secret(swift_dir))


@functools.lru_cache(maxsize=8)
def _stretched(secret: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=1, dklen=32)


def _hash_secret(swift_dir: str) -> bytes:
    parser = configparser.RawConfigParser(strict=False)
    parser.read(Path(swift_dir) / "swift.conf", encoding="utf-8")
    parts = (parser.get("swift-hash", f"swift_hash_path_{end}", fallback="") for end in ("prefix", "suffix"))
    return "\0".join(parts).encode("utf-8")
