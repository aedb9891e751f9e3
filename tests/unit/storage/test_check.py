"""The walk that names what is wrong on a device."""

from __future__ import annotations

import os
import shutil

import pytest
import xattr

from miniswift.storage import xattrs

from .object_node import ObjectNode


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


def test_pendings_are_checked(node):
    folder = node.device / "async_pending" / "abc"
    folder.mkdir(parents=True)
    (folder / f"{'0' * 29}abc-1.00000").write_bytes(b"junk")
    (problem,) = node.problems()
    assert problem.startswith(str(folder))
