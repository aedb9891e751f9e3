"""Three replicas of which one or two fail: the matrix of `tests.faults`, and what a store does about it."""

from __future__ import annotations

import pytest

from miniswift.storage.check import check_devices
from tests.faults import transport as faults
from tests.faults.matrix import CASES, CONTAINER, NEW, OLD, TestBed, expected_status, rows, time_limit_s


@pytest.mark.parametrize(
    ("fault", "failing", "devices"),
    CASES,
    ids=[f"{n} {fault}, {devices} devices" for fault, n, devices in CASES],
)
def test_every_request_answers_in_time_and_loses_nothing(tmp_path, fault, failing, devices):
    for row in rows(tmp_path, fault, failing, devices):
        assert row.status == expected_status(row.verb, fault, failing, devices), row.verb.name
        assert row.problems == ()
        assert row.seconds < time_limit_s(failing, devices)


@pytest.fixture
def bed(tmp_path):
    return TestBed(tmp_path, 3)


def get(bed, **headers):
    return bed.store.request("GET", f"{CONTAINER}/get", headers)


def data_files(bed, name):
    ring = bed.store.cluster.ring("object")
    digest = bed.store.cluster.hash_path("AUTH_a", "c", name)
    return sorted(bed.store.devices.glob(f"*/objects/{ring.part_of(digest)}/*/{digest}/*.data"))


def test_a_node_that_stalls_again_and_again_is_left_alone(make_store):
    store = make_store(
        devices=3, replicas=3, transport=faults.FaultyTransport, error_suppression_limit=2,
    )  # fmt: skip
    assert store.request("PUT", CONTAINER).status == 201
    assert store.request("PUT", f"{CONTAINER}/o", {}, b"body").status == 201
    store.transport.fault, store.transport.places = faults.stalled, {(6200, "d0")}
    for _ in range(30):
        assert store.request("GET", f"{CONTAINER}/o").status == 200
    met = store.transport.asked.count((6200, "d0"))
    for _ in range(10):
        assert store.request("PUT", f"{CONTAINER}/o", {}, b"body").status == 201
    assert store.transport.asked.count((6200, "d0")) == met


def test_a_507_rests_a_node_at_once(bed):
    bed.store.app.client.limiter._interval_s = 60
    bed.transport.fault, bed.transport.places = faults.says_507, {(6200, "d0")}
    for _ in range(2):
        assert bed.store.request("PUT", f"{CONTAINER}/get", {}, NEW).status == 201
    asked = bed.transport.asked.count((6200, "d0"))
    bed.mend()
    assert get(bed).body == [NEW]
    assert bed.transport.asked.count((6200, "d0")) == asked


def test_bit_rot_is_found_put_aside_and_never_served(bed):
    damaged = data_files(bed, "get")[0]
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    for _ in range(60):  # whichever replica is asked first
        assert get(bed).body == [OLD]
    assert not damaged.exists()
    assert len(list(bed.store.devices.glob("*/quarantined/objects/*"))) == 1


def test_a_device_that_is_gone_takes_no_write_and_loses_none(bed):
    gone = bed.store.devices / "d1"
    gone.rename(bed.store.devices.parent / "away")
    assert bed.store.request("PUT", f"{CONTAINER}/new", {}, NEW).status == 201
    assert bed.store.request("DELETE", f"{CONTAINER}/delete").status == 204
    assert get(bed).body == [OLD]
    assert not gone.exists()
    (bed.store.devices.parent / "away").rename(gone)
    assert bed.store.request("GET", f"{CONTAINER}/new", {"X-Newest": "true"}).body == [NEW]
    assert bed.store.request("GET", f"{CONTAINER}/delete", {"X-Newest": "true"}).status == 404
    assert check_devices(bed.store.devices, bed.store.cluster, after_crash=True) == []


def test_a_download_that_breaks_twice_is_finished_by_the_third_replica(bed):
    bed.break_nodes(faults.breaks_off, 2, f"{CONTAINER}/get")
    for _ in range(10):
        assert get(bed).body == [OLD]
        assert get(bed, Range="bytes=5-9000").body == [OLD[5:9001]]


def test_a_download_that_breaks_everywhere_is_no_whole(bed):
    bed.break_nodes(faults.breaks_off, 3, f"{CONTAINER}/get")
    with pytest.raises(faults.BrokenAnswer):
        get(bed)
