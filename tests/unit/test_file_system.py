"""What a file system is found to hold, and what is said of it."""

from __future__ import annotations

import errno
import os

import pytest
import xattr

from miniswift import file_system
from miniswift.cluster import Constraints
from miniswift.storage import xattrs
from miniswift.storage.disk_errors import NoRoomForMetadata


@pytest.fixture
def block(monkeypatch):
    """Let every file system keep 4 KiB of attributes a file, as ext4 does."""
    set_for_real = os.setxattr

    def setxattr(file, key, value, *options):
        kept = sum(len(os.getxattr(file, name)) for name in os.listxattr(file) if name != key)
        if kept + len(value) > 4000:
            raise OSError(errno.ENOSPC, "full")
        set_for_real(file, key, value, *options)

    monkeypatch.setattr(os, "setxattr", setxattr)
    monkeypatch.setattr(xattr, "setxattr", setxattr)


def metadata_of(size):
    """Metadata that take `size` bytes."""
    bare = len(xattrs.encode({"X-Object-Meta-A": "x" * 256}))
    return {"X-Object-Meta-A": "x" * (size - bare + 256)}


def test_the_room_found_is_what_a_file_takes(tmp_path, block):
    room = file_system.room_for_metadata(tmp_path)
    assert room == 4000 - 32
    with (tmp_path / "file").open("wb") as file:
        xattrs.write(file.fileno(), metadata_of(room))
        with pytest.raises(NoRoomForMetadata):
            xattrs.write(file.fileno(), metadata_of(room + 1))
    assert os.listdir(tmp_path) == ["file"]


def test_the_largest_metadata_are_those_of_the_constraints():
    assert file_system.largest_metadata(Constraints()) > 9000
    few = Constraints.from_conf({"max_meta_overall_size": "100", "max_object_name_length": "10"})
    assert file_system.largest_metadata(few) < file_system.largest_metadata(Constraints())


def test_an_operator_is_told_what_to_do_about_a_small_one(tmp_path, block):
    said = file_system.verdict([tmp_path], Constraints())
    assert "takes 3968 of the" in said
    assert "XFS" in said
    assert "ea_inode" in said
    assert "\n" not in said


def test_the_smallest_device_counts(tmp_path, monkeypatch):
    rooms = {tmp_path / "d1": 65536, tmp_path / "d2": 100}
    for device in rooms:
        device.mkdir()
    monkeypatch.setattr(file_system, "room_for_metadata", rooms.__getitem__)
    assert "takes 100 of the" in file_system.verdict(rooms, Constraints())
    rooms[tmp_path / "d2"] = 20000
    assert "takes all" in file_system.verdict(rooms, Constraints())


def test_a_device_that_is_not_there_is_said_to_be_so(tmp_path):
    assert "could be tried" in file_system.verdict([tmp_path / "gone"], Constraints())
