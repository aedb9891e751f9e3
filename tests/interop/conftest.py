"""A real Swift's own programs, and folders for them to look into."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.clusters import RINGS, SWIFT_BIN, Backends
from tests.interop.keystone import Keystone
from tests.interop.keystone_proxies import KeystoneProxy


class SwiftTools:
    """The programs that come with Swift, run on a given swift_dir."""

    def __call__(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run one; what it prints. Its failing fails the test."""
        assert SWIFT_BIN.is_dir(), f"no real Swift in {SWIFT_BIN}: run `make interop`"
        done = subprocess.run(
            [SWIFT_BIN / program, *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def swift_tools() -> SwiftTools:
    return SwiftTools()


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder of the module's own, removed after it."""
    with tempfile.TemporaryDirectory(prefix="miniswift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def backends() -> Iterator[Callable[[str], Backends]]:
    """The storage servers of a ring of `RINGS`, started when they are first asked for."""
    started: dict[str, Backends] = {}
    with tempfile.TemporaryDirectory(prefix="miniswift-") as folder, contextlib.ExitStack() as stack:

        def start(ring: str) -> Backends:
            if ring not in started:
                started[ring] = stack.enter_context(Backends(Path(folder) / ring, RINGS[ring]))
            return started[ring]

        yield start


@pytest.fixture(scope="session")
def keystone() -> Iterator[Keystone]:
    """One Keystone for all tests that leave it running."""
    with (
        tempfile.TemporaryDirectory(prefix="keystone-") as folder,
        Keystone(Path(folder) / "data") as keystone,
    ):
        yield keystone


KeystoneProxies = Callable[..., KeystoneProxy]


@pytest.fixture(scope="session")
def keystone_proxies(keystone: Keystone, backends: Callable[[str], Backends]) -> Iterator[KeystoneProxies]:
    """Proxies whose users are `keystone`'s, by their names in `keystone_proxies`; started when asked for."""
    # Clients want one, also where they are told the URL of each proxy themselves.
    keystone.make_endpoint("object-store", "http://127.0.0.1:1/v1/AUTH_%(tenant_id)s")
    swift = keystone.make_user("swift", {keystone.make_project("service"): "admin"})
    with contextlib.ExitStack() as stack:

        def start(kind: str, **options: str) -> KeystoneProxy:
            proxy = KeystoneProxy(kind, backends("miniswift"), keystone, swift, **options)
            return stack.enter_context(proxy)

        yield start
