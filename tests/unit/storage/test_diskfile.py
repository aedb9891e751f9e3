"""Objects on disk: what is stored, what wins, what a crash leaves."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import xattr

from miniswift.concurrency import fork, restart_hub_after_fork
from miniswift.responses import close_body
from miniswift.storage import diskfile, xattrs
from miniswift.storage.check import check_device
from miniswift.storage.diskfile import DiskFiles
from miniswift.timestamp import Timestamp

from .object_node import make_cluster

STEPS = ["described", "synced", "invalidated", "linked", "durable", "cleaned"]
BEFORE_LINK = STEPS[:3]
MD5_OF_NEW = "22af645d1859cb5ca6da0c484f1f37ea"
NAME = ("AUTH_test", "c", "o")


class Disk:
    """One device and the object that most tests are about."""

    def __init__(self, root):
        self.cluster = make_cluster(root)
        self.device = root / "sdb1"
        self.device.mkdir()
        self.files = DiskFiles(root, self.cluster)
        self.now = Timestamp.now()

    def at(self, policy=0):
        return self.files.at("sdb1", 7, self.cluster.policies.at(policy), *NAME)

    def time(self, seconds):
        return Timestamp(self.now.units + seconds * 100_000)

    def put(self, body=b"new", at=0, size=None, **metadata):
        with self.at().create(size) as writer:
            for start in range(0, len(body), 65536):
                writer.write(body[start : start + 65536])
            timestamp = self.time(at)
            described = {
                "X-Timestamp": timestamp.internal,
                "Content-Type": "text/plain",
                "Content-Length": str(writer.size),
                "ETag": writer.etag(),
                **{name.replace("_", "-"): value for name, value in metadata.items()},
            }
            writer.commit(timestamp, described)

    def post(self, at, content_type_at=None, **metadata):
        timestamp = self.time(at)
        sent = {"X-Timestamp": timestamp.internal}
        sent |= {name.replace("_", "-"): value for name, value in metadata.items()}
        type_time = None
        if content_type_at is not None:
            type_time = self.time(content_type_at)
            sent["Content-Type-Timestamp"] = type_time.internal
        self.at().write_metadata(timestamp, sent, type_time)

    def read(self):
        return self.at().open().read_whole()

    def metadata(self):
        reader = self.at().open()
        reader.close()
        return reader.metadata

    def names(self):
        return sorted(os.listdir(self.at().path))

    def problems(self, after_crash=False):
        return check_device(self.device, self.cluster, after_crash=after_crash)


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path)
    yield disk
    assert disk.problems() == []


@pytest.fixture
def damaged(tmp_path):
    """A disk that the test damages."""
    return Disk(tmp_path)


def test_what_is_put_is_read(disk):
    disk.put(b"new", X_Object_Meta_Color="red")
    assert disk.read() == b"new"
    assert disk.metadata()["X-Object-Meta-Color"] == "red"
    assert disk.names() == [f"{disk.time(0).internal}.data"]


def test_an_empty_object_is_an_object(disk):
    disk.put(b"")
    assert disk.read() == b""


@pytest.mark.parametrize("size", [None, 3_500_000])
def test_a_large_object_is_hashed_and_stored(disk, size):
    body = os.urandom(3_500_000)
    disk.put(body, size=size)
    reader = disk.at().open()
    sent = reader.body(0, reader.size, 65536, keep_cache=False)
    assert b"".join(sent) == body
    close_body(sent)


def test_a_policy_has_directories_of_its_own(disk):
    disk.put()
    with pytest.raises(diskfile.NotFound):
        disk.at(policy=1).open()


def test_what_never_was_is_not_found(disk):
    with pytest.raises(diskfile.NotFound):
        disk.at().open()


def test_a_newer_put_replaces_the_older_one(disk):
    disk.put(b"old", 0)
    disk.put(b"new", 1)
    assert disk.read() == b"new"
    assert len(disk.names()) == 1


def test_an_older_put_that_comes_late_leaves_no_trace(disk):
    disk.put(b"new", 1)
    disk.put(b"old", 0)
    assert disk.read() == b"new"
    assert disk.names() == [f"{disk.time(1).internal}.data"]


def test_of_two_writes_of_one_instant_the_first_stays(disk):
    disk.put(b"one", 0)
    with pytest.raises(diskfile.AlreadyWritten):
        disk.put(b"two", 0)
    assert disk.read() == b"one"


def test_deleted_is_deleted(disk):
    disk.put()
    disk.at().delete(disk.time(1))
    with pytest.raises(diskfile.Deleted) as raised:
        disk.at().open()
    assert raised.value.timestamp == disk.time(1)
    assert disk.names() == [f"{disk.time(1).internal}.ts"]


def test_a_tombstone_that_is_old_enough_is_removed_at_once(disk):
    disk.at().delete(disk.time(-8 * 86400))
    assert not os.path.exists(disk.at().path)


def test_a_post_replaces_user_metadata_and_keeps_what_is_the_puts(disk):
    disk.put(X_Object_Meta_Old="1", X_Object_Sysmeta_Kept="2", X_Delete_At="9999999999")
    disk.post(1, X_Object_Meta_New="3")
    metadata = disk.metadata()
    assert metadata["X-Object-Meta-New"] == "3"
    assert metadata["X-Object-Sysmeta-Kept"] == "2"
    assert metadata["Content-Type"] == "text/plain"
    assert metadata["X-Timestamp"] == disk.time(1).internal
    assert not {"X-Object-Meta-Old", "X-Delete-At"} & set(metadata)


def test_a_content_type_outlives_later_posts_without_one(disk):
    disk.put()
    disk.post(1, content_type_at=1, Content_Type="text/new")
    disk.post(2, X_Object_Meta_New="3")
    reader = disk.at().open()
    reader.close()
    assert reader.metadata["Content-Type"] == "text/new"
    assert reader.metadata["X-Object-Meta-New"] == "3"
    assert reader.content_type_timestamp == disk.time(1)
    assert reader.data_timestamp == disk.time(0)
    assert len(disk.names()) == 3


def test_an_object_expires(disk):
    disk.put(X_Delete_At="2000000000")
    disk.at().open(1999999999).close()
    with pytest.raises(diskfile.Expired) as raised:
        disk.at().open(2000000000)
    assert raised.value.metadata["X-Delete-At"] == "2000000000"
    disk.at().open(2000000000, even_expired=True).close()


def test_an_abandoned_write_leaves_nothing(disk):
    with disk.at().create(3) as writer:
        writer.write(b"ne")
    assert not os.path.exists(os.path.dirname(disk.at().path))


def test_an_abandoned_write_leaves_the_object(disk):
    disk.put(b"old")
    with disk.at().create() as writer:
        writer.write(b"ne")
    assert disk.read() == b"old"


def test_where_unnamed_files_are_unknown_a_temporary_one_is_used(disk, monkeypatch):
    open_file = os.open

    def refuse_unnamed(path, flags, *args, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return open_file(path, flags, *args, **kwargs)

    disk.put(b"old")
    monkeypatch.setattr(os, "open", refuse_unnamed)
    disk.put(b"new", 1)
    with disk.at().create() as writer:
        writer.write(b"abandoned")
    assert disk.read() == b"new"
    assert os.listdir(disk.device / "tmp") == []


# --- errors of the disk ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (errno.ENOSPC, diskfile.DiskFull),
        (errno.EDQUOT, diskfile.DiskFull),
        (errno.EIO, diskfile.DeviceUnavailable),
    ],
)
def test_a_failing_write_is_named_and_leaves_nothing(disk, monkeypatch, code, raised):
    def fail(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(raised):
        disk.put()
    monkeypatch.undo()
    assert not os.path.exists(disk.at().path)


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(disk, monkeypatch):
    write = os.write
    written = 0

    def fill(fd, data):
        nonlocal written
        written += len(data)
        if written > 2_000_000:
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data)

    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(diskfile.DiskFull):
        disk.put(bytes(5_000_000))
    monkeypatch.undo()
    assert not os.path.exists(disk.at().path)


def test_a_huge_object_is_synced_on_the_way(disk, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    disk.files.sync_every_bytes = 1_000_000
    disk.put(bytes(3_500_000))
    assert len(synced) == 3


def test_metadata_that_do_not_fit_leave_nothing(disk, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(xattr, "setxattr", refuse)
    with pytest.raises(diskfile.NoRoomForMetadata):
        disk.put()
    assert not os.path.exists(disk.at().path)


def test_a_device_that_vanished_is_not_made_anew(damaged):
    shutil.rmtree(damaged.device)
    with pytest.raises(diskfile.DeviceUnavailable):
        damaged.put()
    assert not damaged.device.exists()


def test_a_directory_that_is_removed_meanwhile_is_made_again(disk):
    def remove_directory(step):
        if step == "invalidated":
            shutil.rmtree(os.path.dirname(disk.at().path))

    disk.files.after_step = remove_directory
    disk.put()
    assert disk.read() == b"new"


def test_a_partition_that_is_removed_meanwhile_is_made_again(disk):
    def remove_partition(step):
        if step == "synced":
            shutil.rmtree(disk.at().partition)

    disk.files.after_step = remove_partition
    disk.put()
    assert disk.read() == b"new"


# --- damage ------------------------------------------------------------------------------------------


def change_metadata(disk, **changes):
    path = f"{disk.at().path}/{disk.names()[0]}"
    metadata = {**xattrs.read(path), **{name.replace("_", "-"): value for name, value in changes.items()}}
    fd = os.open(path, os.O_RDWR)
    xattrs.write(fd, {name: value for name, value in metadata.items() if value is not None})
    os.close(fd)


def write_into(disk, content):
    with open(f"{disk.at().path}/{disk.names()[0]}", "wb") as file:
        file.write(content)


DAMAGE = {
    "truncated": lambda disk: write_into(disk, b"ne"),
    "other bytes": lambda disk: write_into(disk, b"xxx"),
    "no metadata": lambda disk: xattr.removexattr(f"{disk.at().path}/{disk.names()[0]}", xattrs.KEY),
    "no name": lambda disk: change_metadata(disk, name=None),
    "no ETag": lambda disk: change_metadata(disk, ETag=None),
    "no time": lambda disk: change_metadata(disk, X_Timestamp=None),
    "a bad time": lambda disk: change_metadata(disk, X_Timestamp="soon"),
    "no length": lambda disk: change_metadata(disk, Content_Length=None),
    "a bad length": lambda disk: change_metadata(disk, Content_Length="x"),
    "a bad expiry": lambda disk: change_metadata(disk, X_Delete_At="x"),
    "a file instead of its directory": lambda disk: (
        shutil.rmtree(disk.at().path),
        open(disk.at().path, "w").close(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_quarantined_and_announced_to_replicators(damaged, damage):
    damaged.put()
    damage(damaged)
    with pytest.raises(diskfile.Quarantined):
        damaged.read()
    digest = os.path.basename(damaged.at().path)
    assert os.listdir(damaged.device / "quarantined" / "objects") == [digest]
    assert (damaged.device / "objects/7/hashes.invalid").read_text().split() == [digest[-3:]] * 2
    with pytest.raises(diskfile.NotFound):
        damaged.read()


def test_damage_that_comes_again_is_kept_as_well(damaged):
    for at in range(2):
        damaged.put(at=at)
        write_into(damaged, b"xxx")
        with pytest.raises(diskfile.Quarantined):
            damaged.read()
    assert len(os.listdir(damaged.device / "quarantined" / "objects")) == 2


def test_another_name_with_the_same_hash_is_a_collision(damaged):
    damaged.put()
    change_metadata(damaged, name="/AUTH_test/c/other")
    with pytest.raises(diskfile.Collision):
        damaged.at().open()


# --- crashes -----------------------------------------------------------------------------------------


def crash_after(disk, step, write):
    """Run `write` in a child that dies, as by kill -9, right after a step of its commit."""
    pid = fork()
    if not pid:
        try:
            restart_hub_after_fork()
            disk.files.after_step = lambda done: os._exit(9) if done == step else None
            write()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9


@pytest.mark.parametrize("step", STEPS)
def test_a_put_that_crashes_is_there_as_a_whole_or_not_at_all(disk, step):
    crash_after(disk, step, lambda: disk.put(b"new"))
    assert disk.problems(after_crash=True) == []
    if step in BEFORE_LINK:
        with pytest.raises(diskfile.NotFound):
            disk.read()
    else:
        assert disk.read() == b"new"
    disk.put(b"newer", 1)
    assert disk.read() == b"newer"


@pytest.mark.parametrize("step", STEPS)
def test_an_overwrite_that_crashes_keeps_the_old_object_or_has_the_new_one(disk, step):
    disk.put(b"old")
    disk.files.hashes("sdb1", 7, disk.cluster.policies.at(0))
    crash_after(disk, step, lambda: disk.put(b"new", 1))
    assert disk.problems(after_crash=True) == []
    assert disk.read() == (b"old" if step in BEFORE_LINK else b"new")
    disk.put(b"newer", 2)
    assert disk.read() == b"newer"


@pytest.mark.parametrize("step", STEPS)
def test_a_delete_that_crashes_deletes_or_does_not(disk, step):
    disk.put(b"old")
    crash_after(disk, step, lambda: disk.at().delete(disk.time(1)))
    assert disk.problems(after_crash=True) == []
    if step in BEFORE_LINK:
        assert disk.read() == b"old"
    else:
        with pytest.raises(diskfile.Deleted):
            disk.read()
    disk.at().delete(disk.time(2))


@pytest.mark.parametrize("step", STEPS)
def test_a_post_that_crashes_changes_all_or_nothing(disk, step):
    disk.put(b"old", X_Object_Meta_A="1", X_Object_Meta_B="1")
    crash_after(disk, step, lambda: disk.post(1, X_Object_Meta_A="2", X_Object_Meta_B="2"))
    assert disk.problems(after_crash=True) == []
    metadata = disk.metadata()
    expected = "1" if step in BEFORE_LINK else "2"
    assert (metadata["X-Object-Meta-A"], metadata["X-Object-Meta-B"]) == (expected, expected)


def test_the_steps_of_a_commit_are_as_documented(disk):
    taken = []
    disk.files.after_step = taken.append
    disk.put()
    assert taken == STEPS
