"""Container updates on disk."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.responses import Headers
from miniswift.storage import async_pending
from miniswift.storage.async_pending import AsyncUpdate, BadUpdate

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
    found = dict(async_pending.newest_files(f"{tmp_path}/async_pending"))
    assert found == {paths[1]: [paths[2], paths[0]], paths[3]: []}


def test_the_time_of_a_post_is_that_of_its_metadata():
    headers = Headers({"X-Timestamp": "1.00000", "X-Meta-Timestamp": "2.00000"})
    assert AsyncUpdate("PUT", "a", "c", "o", headers).timestamp.seconds == 2
