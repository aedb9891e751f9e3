"""Metadata that do not fit into a file's extended attributes: a 507 that costs nobody else anything."""

from __future__ import annotations

import errno

import pytest
import xattr

TOO_MUCH = {f"X-Object-Meta-{number:030d}": "x" * 100 for number in range(30)}


@pytest.fixture(autouse=True)
def block(monkeypatch):
    """Let a file keep 4000 bytes in an attribute, as ext4 does in all of them."""
    set_for_real = xattr.setxattr

    def setxattr(file, key, value, *options):
        if len(value) > 4000:
            raise OSError(errno.ENOSPC, "full")
        set_for_real(file, key, value, *options)

    monkeypatch.setattr(xattr, "setxattr", setxattr)


@pytest.fixture(params=[(1, 1), (3, 3)], ids=["one device", "three replicas"])
def store(request, make_store):
    devices, replicas = request.param
    return make_store(devices=devices, replicas=replicas)


def everything(store):
    return sorted(str(path) for path in store.devices.rglob("*"))


def test_an_upload_is_refused_and_leaves_nothing(store, container, caplog):
    assert store.request("PUT", f"{container}/other", {}, b"body").status == 201
    listing = store.request("GET", container).body
    before = everything(store)
    answer = store.request("PUT", f"{container}/o", TOO_MUCH, b"body")
    assert answer.status == 507
    assert b"do not fit" in answer.body[0]
    assert everything(store) == before
    assert store.request("GET", container).body == listing
    (said, *_) = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert "/AUTH_a/c/o" in said
    assert "XFS" in said


def test_what_was_there_stays(store, container):
    assert store.request("PUT", f"{container}/o", {"X-Object-Meta-Kept": "1"}, b"old").status == 201
    assert store.request("PUT", f"{container}/o", TOO_MUCH, b"new").status == 507
    assert store.request("POST", f"{container}/o", TOO_MUCH).status == 507
    answer = store.request("GET", f"{container}/o")
    assert (answer.status, answer.body, answer.headers["X-Object-Meta-Kept"]) == (200, [b"old"], "1")


def test_no_device_rests_because_of_it(store, container, caplog):
    for _ in range(3):
        assert store.request("PUT", f"{container}/o", TOO_MUCH, b"body").status == 507
    assert store.request("PUT", f"{container}/o", {}, b"body").status == 201
    assert store.request("GET", f"{container}/o").status == 200
    assert not [record for record in caplog.records if record.name == "miniswift.nodes"]
