"""Small files that change as a whole."""

from __future__ import annotations

import os

import pytest

from miniswift.storage.atomic import make_directories, replace_file


@pytest.fixture
def device(tmp_path):
    (tmp_path / "sdb1").mkdir()
    return str(tmp_path / "sdb1")


def replace(device, content):
    replace_file(f"{device}/a/b/file", content, f"{device}/tmp", device)


def read(device):
    with open(f"{device}/a/b/file", "rb") as file:
        return file.read()


def test_a_file_is_made_with_its_directories_and_replaced(device):
    replace(device, b"one")
    assert read(device) == b"one"
    replace(device, b"two")
    assert read(device) == b"two"
    assert os.listdir(f"{device}/tmp") == []


def test_a_directory_that_somebody_removes_as_empty_is_made_again(device, monkeypatch):
    rename, attempts = os.rename, []

    def remove_the_directory_first(source, target):
        attempts.append(target)
        if len(attempts) == 1:
            os.rmdir(os.path.dirname(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", remove_the_directory_first)
    replace(device, b"one")
    assert read(device) == b"one"
    assert len(attempts) == 2


def test_a_write_that_fails_leaves_the_old_file_and_no_other(device, monkeypatch):
    replace(device, b"one")

    def fail(_fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        replace(device, b"two")
    assert read(device) == b"one"
    assert os.listdir(f"{device}/tmp") == []


def test_directories_that_changed_are_named_for_fsync(device):
    assert sorted(make_directories(f"{device}/x/y", device)) == [device, f"{device}/x"]
    assert make_directories(f"{device}/x/y", device) == []


def test_a_device_is_never_made(device):
    os.rmdir(device)
    with pytest.raises(FileNotFoundError):
        replace(device, b"one")
    assert not os.path.exists(device)
