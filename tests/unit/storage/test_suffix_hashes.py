"""What replicators compare."""

from __future__ import annotations

import fcntl
import os
from hashlib import md5

import pytest

from miniswift.storage import pickles, suffix_hashes
from miniswift.storage.disk_errors import StateChanged
from miniswift.storage.suffix_hashes import invalidate
from miniswift.timestamp import ZERO, Timestamp

HASH1 = "0" * 29 + "abc"
HASH2 = "1" * 29 + "abc"
DATA, META, TYPED_META = "0000000001.00000.data", "0000000002.00000.meta", "0000000002.00000+0.meta"
TOMBSTONE = "0000000003.00000.ts"


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "7"
    path.mkdir()
    return path


def store(part, digest, *names):
    folder = part / digest[-3:] / digest
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def hashes(part, reclaim_before=ZERO):
    return suffix_hashes.suffix_hashes(str(part), reclaim_before, lambda path: os.unlink(path))


def md5_of(*texts):
    return md5("".join(texts).encode()).hexdigest()


FILE_SETS = [
    ([DATA], [DATA]),
    ([META, DATA], [META, DATA]),
    ([DATA, TYPED_META], ["0000000002.00000.meta", DATA, "0000000002.00000_ctype"]),
    ([DATA, TOMBSTONE], [TOMBSTONE]),
    (["0000000001.00000.data", "0000000002.00000.data"], ["0000000002.00000.data"]),
]


@pytest.mark.parametrize(("names", "hashed"), FILE_SETS)
def test_a_suffix_is_hashed_by_the_names_that_count(part, names, hashed):
    store(part, HASH1, *names)
    assert hashes(part) == {"abc": md5_of(*hashed)}


def test_objects_are_hashed_in_the_order_of_their_hashes(part):
    store(part, HASH2, TOMBSTONE)
    store(part, HASH1, DATA)
    assert hashes(part) == {"abc": md5_of(DATA, TOMBSTONE)}


def test_a_partition_that_is_not_there_has_no_hashes(part):
    assert hashes(part / "missing") == {}


def test_hashes_are_kept_until_invalidated(part):
    store(part, HASH1, DATA)
    before = hashes(part)
    store(part, HASH1, TOMBSTONE)
    assert hashes(part) == before
    invalidate(str(part), "abc")
    assert hashes(part) == {"abc": md5_of(TOMBSTONE)}


def test_hashes_are_on_disk_as_swift_keeps_them(part):
    store(part, HASH1, DATA)
    computed = hashes(part)
    stored = pickles.loads((part / "hashes.pkl").read_bytes())
    assert stored.pop("updated") > 0
    assert stored == {"valid": True, **computed}
    assert (part / "hashes.invalid").exists() is False


def test_invalidated_suffixes_are_folded_in(part):
    store(part, HASH1, DATA)
    hashes(part)
    (part / "hashes.invalid").write_text("abc\nnonsense\nabd\n")
    assert hashes(part) == {"abc": md5_of(DATA)}
    assert (part / "hashes.invalid").read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"junk", pickles.dumps([1]), pickles.dumps({"../..": "x"})])
def test_unusable_hashes_are_computed_anew(part, content):
    store(part, HASH1, DATA)
    (part / "hashes.pkl").write_bytes(content)
    assert hashes(part) == {"abc": md5_of(DATA)}


def test_a_reclaimed_tombstone_takes_its_suffix_along(part):
    store(part, HASH1, TOMBSTONE)
    assert hashes(part, Timestamp(400000)) == {}
    assert not (part / "abc").exists()


def test_a_file_where_a_directory_should_be_is_put_aside(part):
    store(part, HASH1, DATA)
    (part / "abc" / "junk").touch()
    assert hashes(part) == {"abc": md5_of(DATA)}
    assert not (part / "abc" / "junk").exists()


def test_a_lock_that_is_never_released_is_an_error_and_no_hang(part, monkeypatch):
    monkeypatch.setattr(suffix_hashes, "LOCK_TIMEOUT_S", 0.02)
    fd = os.open(part / ".lock", os.O_CREAT | os.O_WRONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(StateChanged):
            invalidate(str(part), "abc")
    finally:
        os.close(fd)
