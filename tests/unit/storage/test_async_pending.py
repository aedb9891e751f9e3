"""Container updates on disk."""

from __future__ import annotations

import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.responses import Headers
from miniswift.storage import async_pending
from miniswift.storage.async_pending import AsyncUpdate, BadUpdate, PendingFile

from .object_node import make_cluster

STORED = {
    "op": "PUT",
    "account": "AUTH_test",
    "container": "c",
    "obj": "o/☃",
    "headers": {"x-timestamp": "1700000000.00000", "X-Size": 5},
    "db_state": None,
    "container_path": ".shards_a/b",
    "successes": [1, 2],
    "redirect_history": [".shards_a/b"],
}


@pytest.mark.parametrize("protocol", range(6))
def test_what_swift_wrote_is_read(protocol):
    update = AsyncUpdate.from_pickle(pickle.dumps(STORED, protocol))
    assert (update.op, update.path) == ("PUT", "/.shards_a/b/o/☃")
    assert update.headers == Headers({"X-Timestamp": "1700000000.00000", "X-Size": "5"})
    assert (update.successes, update.redirect_history) == ([1, 2], [".shards_a/b"])


# Protocols 0 and 2 of what Swift 2.38 keeps: its own kind of dict for the headers.
WITH_SWIFTS_HEADERS = [
    b"(dp0\nVop\np1\nVPUT\np2\nsVaccount\np3\nVa\np4\nsVcontainer\np5\nVc\np6\nsVobj\np7\nVo\np8\nsVheaders\np9\n"
    b"ccopy_reg\n_reconstructor\np10\n(cswift.common.header_key_dict\nHeaderKeyDict\np11\nc__builtin__\ndict\np12\n"
    b"(dp13\nVX-Timestamp\np14\nV1700000000.12345\np15\nsVX-Size\np16\nV5\np17\nstp18\nRp19\nsVdb_state\np20\nNs.",
    b"\x80\x02}q\x00(X\x02\x00\x00\x00opq\x01X\x03\x00\x00\x00PUTq\x02X\x07\x00\x00\x00accountq\x03X\x01\x00\x00\x00aq"
    b"\x04X\t\x00\x00\x00containerq\x05X\x01\x00\x00\x00cq\x06X\x03\x00\x00\x00objq\x07X\x01\x00\x00\x00oq\x08X\x07\x00"
    b"\x00\x00headersq\tcswift.common.header_key_dict\nHeaderKeyDict\nq\n)\x81q\x0b(X\x0b\x00\x00\x00X-Timestampq\x0cX"
    b"\x10\x00\x00\x001700000000.12345q\rX\x06\x00\x00\x00X-Sizeq\x0eX\x01\x00\x00\x005q\x0fuX\x08\x00\x00\x00db_stateq\x10Nu.",
]


@pytest.mark.parametrize("data", WITH_SWIFTS_HEADERS)
def test_swifts_own_kind_of_headers_is_read(data):
    headers = Headers({"X-Timestamp": "1700000000.12345", "X-Size": "5"})
    assert AsyncUpdate.from_pickle(data) == AsyncUpdate("PUT", "a", "c", "o", headers)


def test_what_is_written_is_read():
    update = AsyncUpdate.from_pickle(pickle.dumps(STORED))
    assert AsyncUpdate.from_pickle(update.to_pickle()) == update


BAD = [
    b"junk",
    pickle.dumps([]),
    pickle.dumps({**STORED, "op": "POST"}),
    pickle.dumps({**STORED, "obj": ""}),
    pickle.dumps({**STORED, "obj": None}),
    pickle.dumps({**STORED, "account": 5}),
    pickle.dumps({**STORED, "headers": None}),
    pickle.dumps({**STORED, "headers": {1: 2}}),
    pickle.dumps({**STORED, "headers": {"X-Size": "5\r\nX-Timestamp: 1"}}),
    pickle.dumps({**STORED, "headers": {"X-Etag": "\u2603"}}),
    pickle.dumps({**STORED, "headers": {"X Etag": "x"}}),
    pickle.dumps({**STORED, "headers": {"": "x"}}),
    pickle.dumps({**STORED, "obj": "\ud800"}),
    pickle.dumps({**STORED, "container_path": "a"}),
    pickle.dumps({**STORED, "container_path": "a/b/c"}),
]


@pytest.mark.parametrize("data", BAD)
def test_a_file_that_is_no_update_is_refused(data):
    with pytest.raises(BadUpdate):
        AsyncUpdate.from_pickle(data)


def test_an_update_without_a_time_is_refused(tmp_path):
    update = AsyncUpdate("PUT", "a", "c", "o", Headers())
    with pytest.raises(BadUpdate):
        async_pending.save(
            str(tmp_path), make_cluster(tmp_path).policies.default, make_cluster(tmp_path), update
        )


@given(st.dictionaries(st.sampled_from(list(STORED)), st.none() | st.integers() | st.lists(st.integers())))
def test_any_dict_is_an_update_or_refused(changes):
    try:
        AsyncUpdate.from_pickle(pickle.dumps({**STORED, **changes}))
    except BadUpdate:
        pass


def test_the_newest_of_an_object_comes_first(tmp_path):
    cluster = make_cluster(tmp_path)
    paths = []
    for stamp, name in (("1.00000", "o"), ("3.00000", "o"), ("2.00000", "o"), ("1.00000", "p")):
        update = AsyncUpdate("DELETE", "a", "c", name, Headers({"X-Timestamp": stamp}))
        paths.append(async_pending.save(str(tmp_path), cluster.policies.default, cluster, update))
    (tmp_path / "async_pending" / "abc").mkdir(exist_ok=True)
    (tmp_path / "async_pending" / "abc" / f"{'f' * 32}-soon").touch()
    found = sorted(async_pending.files_by_object(f"{tmp_path}/async_pending"))
    assert found == sorted([[paths[1], paths[2], paths[0]], [paths[3]]])


def test_the_time_of_a_post_is_that_of_its_metadata():
    headers = Headers({"X-Timestamp": "1.00000", "X-Meta-Timestamp": "2.00000"})
    assert AsyncUpdate("PUT", "a", "c", "o", headers).timestamp.seconds == 2


# --- a file that is being delivered ------------------------------------------------------------------------


class Device:
    """A device with one update on it."""

    def __init__(self, root):
        self.root = str(root)
        self.cluster = make_cluster(root)
        self.policy = self.cluster.policies.default
        self.path = self.save(size="1")

    def save(self, size):
        headers = Headers({"X-Timestamp": "1.00000", "X-Size": size})
        update = AsyncUpdate("PUT", "a", "c", "o", headers)
        return async_pending.save(self.root, self.policy, self.cluster, update)

    def pending(self):
        return PendingFile(self.root, self.policy, self.path)


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def test_progress_is_written_down(device):
    pending = device.pending()
    pending.update.successes.append(7)
    pending.save_progress()
    assert device.pending().update.successes == [7]
    assert os.listdir(f"{device.root}/tmp") == []


def test_without_progress_nothing_is_written(device):
    inode = os.stat(device.path).st_ino
    device.pending().save_progress()
    assert os.stat(device.path).st_ino == inode


def test_a_delivered_update_goes_with_its_directory(device):
    device.pending().remove()
    assert os.listdir(f"{device.root}/async_pending") == []


def test_an_update_that_took_the_name_meanwhile_is_left_alone(device):
    pending = device.pending()
    pending.update.successes.append(7)
    device.save(size="2")
    pending.save_progress()
    pending.remove()
    assert device.pending().update.headers["X-Size"] == "2"


def test_what_somebody_else_delivered_meanwhile_stays_away(device):
    pending = device.pending()
    pending.update.successes.append(7)
    device.pending().remove()
    pending.save_progress()
    pending.remove()
    assert os.listdir(f"{device.root}/async_pending") == []


def test_a_redirected_update_starts_anew_and_goes_home_from_a_circle():
    update = AsyncUpdate("PUT", "a", "c", "o", Headers(), successes=[1])
    update.redirect("s/1")
    assert (update.path, update.successes) == ("/s/1/o", [])
    update.redirect("s/2")
    update.redirect("s/1")
    assert (update.path, update.redirect_history) == ("/a/c/o", [])
