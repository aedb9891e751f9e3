"""The walk that names what is wrong on a device."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

import pytest
import xattr

from miniswift.responses import Headers
from miniswift.storage import async_pending, pickles, xattrs
from miniswift.storage.async_pending import AsyncUpdate
from miniswift.storage.check import check_device, check_devices
from miniswift.storage.diskfile import DiskFiles
from miniswift.timestamp import Timestamp

from . import databases
from .object_node import ObjectNode


def update_of(name, stamp):
    return AsyncUpdate("PUT", "a", "c", name, Headers({"X-Timestamp": stamp})).to_pickle()


@pytest.fixture
def node(tmp_path):
    node = ObjectNode(tmp_path)
    node.put()
    node.post(1, X_Object_Meta_A="1")
    node.call("REPLICATE", "/sdb1/7")
    assert node.problems() == []
    return node


def rename(node, extension, name):
    path = node.path_of(extension)
    os.rename(path, os.path.join(os.path.dirname(path), name))


def overwrite(path, content):
    with open(path, "r+b") as file:
        file.write(content)


def hash_directory(node):
    return os.path.dirname(node.path_of("data"))


VIOLATIONS = {
    "its MD5 is not its ETag": lambda node: overwrite(node.path_of("data"), b"jello"),
    "has 0 bytes": lambda node: os.truncate(node.path_of("data"), 0),
    "is not empty": lambda node: os.truncate(node.path_of("meta"), 5),
    "there are no metadata": lambda node: xattr.removexattr(node.path_of("meta"), xattrs.KEY),
    "its metadata are of": lambda node: rename(node, "data", f"{node.time(0.5)}.data"),
    "vanished without a word": lambda node: shutil.rmtree(os.path.dirname(hash_directory(node))),
    "changed without a word": lambda node: os.unlink(node.path_of("meta")),
    "is not a file of an object": lambda node: rename(node, "meta", "junk"),
    "was not cleaned up": lambda node: shutil.copy(
        node.path_of("meta"), f"{hash_directory(node)}/{node.time(5)}.ts"
    ),
    "which does not belong there": lambda node: os.rename(
        hash_directory(node), hash_directory(node)[:-5] + "00ece"
    ),
    "is empty": lambda node: os.mkdir(f"{node.device}/objects/7/ece/{'0' * 29}ece"),
    "is not a suffix": lambda node: os.mkdir(f"{node.device}/objects/7/xyz"),
    "is not a partition": lambda node: os.mkdir(f"{node.device}/objects/x"),
}


@pytest.mark.parametrize(("problem", "damage"), VIOLATIONS.items(), ids=VIOLATIONS.keys())
def test_a_violation_is_named(node, problem, damage):
    damage(node)
    assert any(problem in line for line in node.problems()), node.problems()


PENDINGS = {
    "it does not say what to do": pickles.dumps({"op": "POST"}),
    "it ends in the middle": b"junk",
    "'' is not the time of an update": update_of("o", ""),
    "which does not belong there": update_of("o", "0000000001.00000"),
}


@pytest.mark.parametrize(("problem", "content"), PENDINGS.items(), ids=PENDINGS.keys())
def test_pendings_are_checked(node, problem, content):
    folder = node.device / "async_pending" / "abc"
    folder.mkdir(parents=True)
    (folder / f"{'0' * 29}abc-0000000001.00000").write_bytes(content)
    (found,) = node.problems()
    assert found.startswith(str(folder))
    assert problem in found


OTHERS = {
    "is not named like an update": "async_pending/abc/junk",
    "temporary files were left": "tmp/junk",
    "is of a storage policy that does not exist": "objects-7/junk",
    "is not a directory": f"objects/7/ece/{'0' * 29}ece",
}


@pytest.mark.parametrize(("problem", "path"), OTHERS.items(), ids=OTHERS.keys())
def test_files_that_should_not_be_there_are_named(node, problem, path):
    (node.device / path).parent.mkdir(parents=True, exist_ok=True)
    (node.device / path).write_bytes(b"")
    assert any(problem in line for line in node.problems())


def describe(path, **metadata):
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    xattrs.write(fd, {"name": "/AUTH_test/c/o", **metadata})
    os.close(fd)


def test_after_a_crash_what_the_next_write_removes_is_no_violation(node):
    (node.device / "tmp").mkdir(exist_ok=True)
    (node.device / "tmp" / "left").touch()
    stamp = node.time(-1)
    describe(f"{hash_directory(node)}/{stamp}.ts", **{"X-Timestamp": stamp})
    assert len(node.problems()) == 2
    assert check_device(node.device, node.cluster, after_crash=True) == []


def test_a_device_that_cannot_be_read_is_named(node):
    (node.device / "async_pending").symlink_to("async_pending")
    (problem,) = node.problems()
    assert "symbolic links" in problem


# --- databases -----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    """Account and container servers on the device `sda`, and a container with a row that waits."""
    node = databases.Node(tmp_path).with_account().with_container()
    assert node.put_row("o") == 201
    assert check_devices(tmp_path, node.cluster) == []
    yield node
    node.close()


def change(path, statement):
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def append(path, content):
    with open(path, "ab") as file:
        file.write(content)


def garble(path):
    with open(path, "r+b") as file:
        file.seek(5000)
        file.write(b"\xff" * 30000)


BROKEN_DATABASES = {
    "malformed": garble,
    "file is not a database": lambda path: path.write_bytes(b"junk" * 2000),
    "no such table": lambda path: change(path, "DROP TABLE policy_stat"),
    "which does not belong there": lambda path: change(path, "UPDATE container_info SET container = 'x'"),
    "counts [(0, 7, 0)] and holds []": lambda path: change(path, "UPDATE policy_stat SET object_count = 7"),
    "1 of 2 rows cannot be read (S5)": lambda path: append(f"{path}.pending", b":junk"),
    "temporary files were left": lambda path: path.with_suffix(".tmp").touch(),
    "holds no database": lambda path: path.unlink(),
    "lies in the wrong suffix": lambda path: path.parent.parent.rename(path.parent.parent.parent / "abc"),
}


@pytest.mark.parametrize(("problem", "damage"), BROKEN_DATABASES.items(), ids=BROKEN_DATABASES.keys())
def test_a_broken_database_is_named(store, problem, damage):
    damage(store.db_file("container"))
    found = check_device(store.root / "sda", store.cluster)
    assert any(problem in line for line in found), found


def test_the_database_of_an_account_is_checked_too(store):
    change(store.db_file("account"), "UPDATE account_stat SET container_count = 7")
    (problem,) = check_device(store.root / "sda", store.cluster)
    assert "counts [(7, 0, 0)] and holds [(0, 0, 0)]" in problem


def test_a_transaction_that_a_crash_cut_off_is_no_violation(store):
    path = store.db_file("container")
    store.close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
    database.execute("BEGIN")
    database.execute("UPDATE container_info SET container = 'x'")
    database.execute("CREATE TABLE spilled (text)")
    database.executemany("INSERT INTO spilled VALUES (?)", [("x" * 4000,)] * 100)
    journal = path.with_name(f"{path.name}-journal")
    as_crashed = journal.read_bytes(), path.read_bytes()
    database.execute("ROLLBACK")
    database.close()
    journal.write_bytes(as_crashed[0])
    path.write_bytes(as_crashed[1])
    assert check_device(store.root / "sda", store.cluster, after_crash=True) == []


# --- listings ------------------------------------------------------------------------------------------


def write_object(store, at, device="sda", name="o", is_deleted=False):
    files = DiskFiles(store.root, store.cluster, reclaim_age_s=1e9)
    disk_file = files.at(device, 7, store.cluster.policies.default, "a", "c", name)
    timestamp = Timestamp.parse(databases.at(at))
    if is_deleted:
        disk_file.delete(timestamp)
        return
    with disk_file.create() as writer:
        described = {"X-Timestamp": timestamp.internal, "Content-Length": "0", "ETag": writer.etag()}
        writer.commit(timestamp, described)


def unlisted(store):
    return [line for line in check_devices(store.root, store.cluster) if "(S4)" in line]


def test_an_object_that_is_listed_is_no_violation(store):
    write_object(store, 1)
    assert unlisted(store) == []
    assert store.list_names() == ["o"]  # merges the row that waited
    assert unlisted(store) == []


@pytest.mark.parametrize(("at", "name"), [(2, "o"), (1, "p")])
def test_an_object_that_no_listing_has_is_named(store, at, name):
    write_object(store, at, name=name)
    (problem,) = unlisted(store)
    assert "no database of its container has it" in problem


def test_an_async_pending_on_any_device_promises_a_row(store):
    (store.root / "sdb").mkdir()
    write_object(store, 2)
    update = AsyncUpdate.from_pickle(update_of("o", databases.at(2)))
    async_pending.save(str(store.root / "sdb"), store.cluster.policies.default, store.cluster, update)
    assert unlisted(store) == []
    write_object(store, 3)
    assert len(unlisted(store)) == 1


def test_one_database_of_several_is_enough(store):
    shutil.copytree(store.root / "sda" / "containers", store.root / "sdb" / "containers")
    write_object(store, 2)
    assert len(unlisted(store)) == 1
    assert store.put_row("o", 2) == 201
    assert unlisted(store) == []


def test_a_deletion_that_no_listing_has_is_named(store):
    write_object(store, 2, is_deleted=True)
    write_object(store, 2, name="never listed", is_deleted=True)
    (problem,) = unlisted(store)
    assert "no database of its container has its deletion" in problem
    headers = {"X-Timestamp": databases.at(2)}
    assert databases.call(store.container, "DELETE", "/sda/2/a/c/o", headers).status == 204
    assert unlisted(store) == []


def test_the_newest_copy_of_an_object_counts(store):
    (store.root / "sdb").mkdir()
    write_object(store, 0.5)
    write_object(store, 2, device="sdb")
    (problem,) = unlisted(store)
    assert problem.startswith(str(store.root / "sdb"))


def test_an_object_of_a_container_that_is_elsewhere_is_none_of_our_business(store):
    shutil.rmtree(store.root / "sda" / "containers")
    write_object(store, 2)
    assert unlisted(store) == []


def test_after_a_crash_a_write_that_nobody_acknowledged_may_be_unlisted(store):
    write_object(store, 2)
    assert check_devices(store.root, store.cluster, after_crash=True) == []
