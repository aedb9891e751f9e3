"""A GiB through the real swift client: cut into segments, sent by several threads, and back as one object."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.functional.client import Client
from tests.functional.cluster import BIN, ServeProcess

MIB = 2**20
SIZE = 1024 * MIB
SEGMENT = 100 * MIB  # the last one is shorter
SEGMENTS = 11
CHUNK = 4 * MIB


@pytest.fixture(scope="module")
def source(scratch: Path) -> Iterator[tuple[Path, str]]:
    """A file, and its MD5."""
    file = scratch / "large" / "source"
    file.parent.mkdir()
    random, digest = Random(1), hashlib.md5()
    block = random.randbytes(CHUNK)
    with file.open("wb") as stream:
        for number in range(SIZE // CHUNK):
            chunk = number.to_bytes(8, "big") + block[8:]  # no two are alike
            digest.update(chunk)
            stream.write(chunk)
    yield file, digest.hexdigest()
    file.unlink()


def swift(store: ServeProcess, *arguments: object) -> str:
    environ = {**os.environ, **store.openrc()}
    command = [str(BIN / "swift"), *map(str, arguments)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def md5_of(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.md5()
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mark"), [("--use-slo", "X-Static-Large-Object"), ("--use-dlo", "X-Object-Manifest")]
)
def test_a_gib_goes_up_in_segments_and_comes_down_the_same(
    shared_serve: ServeProcess, source: tuple[Path, str], tmp_path: Path, kind: str, mark: str
) -> None:
    file, md5 = source
    swift(
        shared_serve, "upload", kind, "--segment-size", SEGMENT, "--segment-threads", 4,
        "--object-name", "whole", "large", file,
    )  # fmt: skip
    with Client.login(shared_serve.auth) as client:
        head = client.head("/large/whole")
        assert (head.headers["Content-Length"], mark in head.headers) == (str(SIZE), True)
        assert len(client.listing("/large_segments")) == SEGMENTS

        copy = tmp_path / "copy"
        swift(shared_serve, "download", "large", "whole", "--output", copy)
        assert md5_of(copy) == md5
        copy.unlink()

        swift(shared_serve, "delete", "large", "whole")
        assert client.listing("/large_segments") == []
        assert client.head("/large/whole").status == 404
