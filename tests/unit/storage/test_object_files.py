"""Which files of an object count."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.storage.object_files import choose, clean_up, file_name, parse_name
from miniswift.timestamp import ZERO, Timestamp

T1, T2, T3, T4 = (f"000000000{n}.00000" for n in (1, 2, 3, 4))

# (names, data, meta, content type, tombstone, obsolete)
CASES = [
    ([], None, None, None, None, []),
    ([f"{T1}.data"], f"{T1}.data", None, None, None, []),
    ([f"{T1}.data", f"{T2}.data"], f"{T2}.data", None, None, None, [f"{T1}.data"]),
    ([f"{T1}.ts"], None, None, None, f"{T1}.ts", []),
    ([f"{T1}.ts", f"{T2}.ts"], None, None, None, f"{T2}.ts", [f"{T1}.ts"]),
    ([f"{T1}.data", f"{T2}.ts"], None, None, None, f"{T2}.ts", [f"{T1}.data"]),
    ([f"{T2}.data", f"{T2}.ts"], None, None, None, f"{T2}.ts", [f"{T2}.data"]),
    ([f"{T2}.data", f"{T1}.ts"], f"{T2}.data", None, None, None, [f"{T1}.ts"]),
    ([f"{T1}.data", f"{T2}.meta"], f"{T1}.data", f"{T2}.meta", None, None, []),
    ([f"{T2}.data", f"{T1}.meta"], f"{T2}.data", None, None, None, [f"{T1}.meta"]),
    ([f"{T2}.data", f"{T2}.meta"], f"{T2}.data", None, None, None, [f"{T2}.meta"]),
    ([f"{T1}.data", f"{T2}.meta", f"{T3}.meta"], f"{T1}.data", f"{T3}.meta", None, None, [f"{T2}.meta"]),
    # A POST with a content type, and a later one without: both count.
    (
        [f"{T1}.data", f"{T2}+0.meta", f"{T3}.meta"],
        f"{T1}.data",
        f"{T3}.meta",
        f"{T2}+0.meta",
        None,
        [],
    ),
    # The later one has a content type as well: only it counts.
    (
        [f"{T1}.data", f"{T2}+0.meta", f"{T3}+0.meta"],
        f"{T1}.data",
        f"{T3}+0.meta",
        f"{T3}+0.meta",
        None,
        [f"{T2}+0.meta"],
    ),
    # Of the same instant the one with the newer content type counts.
    (
        [f"{T1}.data", f"{T3}-186a0.meta", f"{T3}+0.meta"],
        f"{T1}.data",
        f"{T3}+0.meta",
        f"{T3}+0.meta",
        None,
        [f"{T3}-186a0.meta"],
    ),
    # A content type that is not newer than the data is not one of its own.
    ([f"{T2}.data", f"{T3}-30d40.meta"], f"{T2}.data", f"{T3}-30d40.meta", None, None, []),
    ([f"{T1}.data", f"{T2}.meta", f"{T3}.ts", f"{T4}.data"], f"{T4}.data", None, None, None,
     [f"{T1}.data", f"{T2}.meta", f"{T3}.ts"]),
    ([f".{T1}.data.Xy095a", "junk", f"{T1}.data"], f"{T1}.data", None, None, None, []),
]  # fmt: skip


@pytest.mark.parametrize(("names", "data", "meta", "content_type", "tombstone", "obsolete"), CASES)
def test_files_that_count(names, data, meta, content_type, tombstone, obsolete):
    files = choose(names)
    chosen = (files.data, files.meta, files.content_type, files.tombstone)
    assert [file and file.name for file in chosen] == [data, meta, content_type, tombstone]
    assert sorted(file.name for file in files.obsolete) == sorted(obsolete)


stamps = st.integers(1, 5).map(Timestamp)
any_name = st.builds(file_name, st.sampled_from(["data", "ts", "meta"]), stamps) | st.builds(
    file_name, st.just("meta"), stamps, stamps
)


@given(st.lists(any_name, unique=True))
def test_removing_what_is_obsolete_changes_nothing_else(names):
    before = choose(names)
    obsolete = {file.name for file in before.obsolete}
    after = choose([name for name in names if name not in obsolete])
    assert not after.obsolete
    assert (after.data, after.tombstone) == (before.data, before.tombstone)
    assert after.data is None or (after.meta, after.content_type) == (before.meta, before.content_type)


@given(st.lists(any_name, unique=True), st.randoms())
def test_the_order_of_a_listing_does_not_matter(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    one, other = choose(names), choose(shuffled)
    assert (one.data, one.meta and one.meta.timestamp) == (other.data, other.meta and other.meta.timestamp)


NAMES = [
    ("data", Timestamp(170000000012345), None, "1700000000.12345.data"),
    ("data", Timestamp(170000000012345, 1), None, "1700000000.12345_0000000000000001.data"),
    ("ts", Timestamp(170000000012345), None, "1700000000.12345.ts"),
    ("meta", Timestamp(170000001000000), None, "1700000010.00000.meta"),
    ("meta", Timestamp(170000001000000), Timestamp(170000000500000), "1700000010.00000-7a120.meta"),
    ("meta", Timestamp(170000001000000), Timestamp(170000001000000), "1700000010.00000+0.meta"),
]


@pytest.mark.parametrize(("extension", "timestamp", "content_type_timestamp", "name"), NAMES)
def test_names_are_swifts(extension, timestamp, content_type_timestamp, name):
    assert file_name(extension, timestamp, content_type_timestamp) == name
    file = parse_name(name)
    assert (file.extension, file.timestamp) == (extension, timestamp)
    assert file.content_type_timestamp == content_type_timestamp


@pytest.mark.parametrize(
    "name", ["", ".data", "x.data", "1.data.tmp", "1+z.meta", "1.durable", "99999999999.ts"]
)
def test_other_names_mean_nothing(name):
    assert parse_name(name) is None


def names_after_clean_up(folder, names, reclaim_before=ZERO):
    for name in names:
        (folder / name).touch()
    clean_up(str(folder), reclaim_before)
    return sorted(os.listdir(folder)) if folder.exists() else None


def test_clean_up_removes_what_does_not_count(tmp_path):
    names = [f"{T1}.data", f"{T2}.data", f"{T3}.meta", "keep-me"]
    assert names_after_clean_up(tmp_path, names) == [f"{T2}.data", f"{T3}.meta", "keep-me"]


def test_clean_up_removes_an_old_tombstone_and_its_directory(tmp_path):
    folder = tmp_path / "hash"
    folder.mkdir()
    assert names_after_clean_up(folder, [f"{T1}.ts"], Timestamp(200000)) is None


def test_clean_up_keeps_a_young_tombstone(tmp_path):
    assert names_after_clean_up(tmp_path, [f"{T1}.ts"], Timestamp(99999)) == [f"{T1}.ts"]


def test_clean_up_keeps_young_metadata_whose_object_has_not_come_yet(tmp_path):
    names = [f"{T1}.meta", f"{T3}.meta"]
    assert names_after_clean_up(tmp_path, names, Timestamp(200000)) == [f"{T3}.meta"]


def test_clean_up_of_nothing_is_nothing(tmp_path):
    assert clean_up(str(tmp_path / "missing"), ZERO).data is None
