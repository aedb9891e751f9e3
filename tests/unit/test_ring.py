"""Rings: primaries and handoffs as Swift orders them, and reloading."""

import gzip
import json
import logging
import os
from array import array

import pytest

from miniswift.ring import Ring, RingError
from miniswift.ring_file import RingData, write_ring_file

PLACES = [(1, 1, 1), None, (1, 1, 2), (1, 2, 3), (1, 2, 3), (2, 1, 4), (2, 1, 5), (2, 2, 6)]
DEVICES = [
    place
    and {
        "id": number,
        "region": place[0],
        "zone": place[1],
        "ip": f"10.0.0.{place[2]}",
        "port": 6200,
        "replication_ip": f"10.1.0.{place[2]}",
        "replication_port": 6300,
        "device": f"sd{'abcdefgh'[number]}",
        "weight": 100.0,
        "meta": "",
    }
    for number, place in enumerate(PLACES)
]
ROWS = [
    [0, 5, 7, 0, 6, 6, 2, 7, 5, 6, 7, 0, 3, 2, 5, 5],
    [3, 7, 6, 3, 0, 0, 6, 4, 7, 4, 2, 3, 2, 4, 2, 0],
    [6, 3, 3, 5, 7, 4, 4, 5],
]
# (partition, primaries, handoffs) that Swift's own Ring finds in this table.
SWIFT_NODES = [
    (0, [0, 3, 6], [7, 2, 5, 4]),
    (1, [5, 7, 3], [2, 0, 6, 4]),
    (2, [7, 6, 3], [2, 5, 0, 4]),
    (3, [0, 3, 5], [7, 2, 6, 4]),
    (4, [6, 0, 7], [3, 2, 5, 4]),
    (5, [6, 0, 4], [7, 5, 2, 3]),
    (6, [2, 6, 4], [7, 5, 0, 3]),
    (7, [7, 4, 5], [2, 6, 0, 3]),
    (8, [5, 7], [3, 2, 0, 6, 4]),
    (9, [6, 4], [0, 7, 2, 5, 3]),
    (10, [7, 2], [4, 5, 0, 6, 3]),
    (11, [0, 3], [6, 7, 2, 5, 4]),
    (12, [3, 2], [5, 7, 0, 6, 4]),
    (13, [2, 4], [5, 7, 0, 6, 3]),
    (14, [5, 2], [7, 3, 0, 6, 4]),
    (15, [5, 0], [4, 7, 6, 2, 3]),
]


def save(path, rows, devices=DEVICES, part_power=4):
    write_ring_file(path, RingData(devices, [array("H", row) for row in rows], 32 - part_power))


def ids(nodes):
    return [node.id for node in nodes]


@pytest.fixture
def ring(tmp_path):
    save(tmp_path / "object.ring.gz", ROWS)
    return Ring(tmp_path / "object.ring.gz")


@pytest.fixture
def four_zones(tmp_path):
    """16 partitions, three replicas, four devices in a zone each, row r holding (p + r) mod 4."""
    path = tmp_path / "zones.ring.gz"
    devices = [DEVICES[0] | {"id": n, "device": f"d{n}", "zone": n + 1} for n in range(4)]
    save(path, [[(part + row) % 4 for part in range(16)] for row in range(3)], devices)
    return Ring(path)


@pytest.mark.parametrize(("part", "primaries", "handoffs"), SWIFT_NODES)
def test_nodes_are_in_the_order_of_swift(ring, part, primaries, handoffs):
    assert ids(ring.primaries(part)) == primaries
    assert ids(ring.handoffs(part)) == handoffs
    assert [node.index for node in ring.primaries(part)] == list(range(len(primaries)))
    assert [node.handoff_index for node in ring.handoffs(part)] == list(range(len(handoffs)))


@pytest.mark.parametrize(
    ("digest", "part", "primaries", "handoffs"),
    [
        ("9d00c9d091fea9ea855f29c22714dc83", 9, [1, 2, 3], [0]),
        ("26e5f92ddb812f3a145582033a81302f", 2, [2, 3, 0], [1]),
        ("7363996f2cfb95eaa18df19ccc31aece", 7, [3, 0, 1], [2]),
    ],
)
def test_a_name_lies_in_the_partition_of_its_first_bits(four_zones, digest, part, primaries, handoffs):
    assert four_zones.part_of(digest) == part
    assert ids(four_zones.primaries(part)) == primaries
    assert ids(four_zones.handoffs(part)) == handoffs


def test_a_device_that_holds_two_replicas_is_listed_once_and_the_others_count_on(tmp_path):
    save(tmp_path / "r", [[0], [0], [2]], part_power=0)
    ring = Ring(tmp_path / "r")
    assert [(node.id, node.index) for node in ring.primaries(0)] == [(0, 0), (2, 1)]


def test_partitions_without_a_device_are_passed_over(tmp_path):
    save(tmp_path / "r", [[0, 65535], [65535, 2]], part_power=1)
    ring = Ring(tmp_path / "r")
    assert [ids(ring.primaries(part)) for part in range(2)] == [[0], [2]]
    assert ids(ring.handoffs(1)) in ([0], [])  # partition 0 may be the one the search leaves out


def test_a_large_ring_is_searched_in_steps(tmp_path):
    save(tmp_path / "r", [[n // 4 % 2 * 2 for n in range(1 << 17)]], part_power=17)
    assert ids(Ring(tmp_path / "r").handoffs(0)) == [2]


def test_counts(ring):
    assert (ring.replica_count, ring.part_count) == (3, 16)
    assert ids(ring.devices) == [0, 2, 3, 4, 5, 6, 7]


def test_a_node_knows_both_of_its_addresses(ring):
    node = ring.devices[1]
    assert (node.ip, node.port, node.device) == ("10.0.0.2", 6200, "sdc")
    assert (node.replication_ip, node.replication_port) == ("10.1.0.2", 6300)
    assert (node.region, node.zone, node.weight) == (1, 1, 100.0)


def test_an_old_ring_without_regions_or_replication_addresses_is_completed(tmp_path):
    old = {"id": 0, "zone": 3, "ip": "10.0.0.1", "port": 6000, "device": "sda", "weight": 1, "meta": None}
    save(tmp_path / "r", [[0]], [old], part_power=0)
    (node,) = Ring(tmp_path / "r").devices
    assert (node.region, node.zone) == (1, 3)
    assert (node.replication_ip, node.replication_port) == ("10.0.0.1", 6000)


@pytest.mark.parametrize("device", [{"id": 0}, {"ip": "::1", "port": "x", "device": "d"}, "sda", [1]])
def test_a_device_that_makes_no_sense_is_refused(tmp_path, device):
    save(tmp_path / "r", [[0]], [device], part_power=0)
    with pytest.raises(RingError, match="device that cannot be used"):
        Ring(tmp_path / "r")


def test_a_missing_ring_is_refused_at_first(tmp_path):
    with pytest.raises(RingError, match=r"account\.ring\.gz: cannot be read"):
        Ring(tmp_path / "account.ring.gz")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watched(tmp_path, clock):
    save(tmp_path / "r", [[0]], part_power=0)
    return Ring(tmp_path / "r", reload_interval_s=15, clock=clock)


def test_a_changed_file_is_read_after_the_interval(tmp_path, clock, watched):
    save(tmp_path / "r", [[2]], part_power=0)
    clock.now += 14.9
    assert ids(watched.primaries(0)) == [0]
    clock.now += 0.1
    assert ids(watched.primaries(0)) == [2]


@pytest.mark.parametrize("damage", [None, b"", gzip.compress(b"R1NG\0\1" + bytes(9))])
def test_a_broken_new_file_keeps_the_old_ring_and_says_so_once(tmp_path, clock, watched, caplog, damage):
    path = tmp_path / "r"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    for _ in range(3):
        clock.now += 15
        assert ids(watched.primaries(0)) == [0]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["keeping the old ring"]
    save(path, [[2]], part_power=0)
    clock.now += 15
    assert ids(watched.primaries(0)) == [2]


def test_a_reload_is_logged(tmp_path, clock, watched, caplog):
    caplog.set_level(logging.INFO)
    os.utime(tmp_path / "r", (1, 1))
    clock.now += 15
    assert ids(watched.devices)
    assert caplog.messages == [f"{tmp_path}/r: reloaded"]


def test_a_search_that_began_before_a_reload_ends_in_the_old_ring(tmp_path, clock, watched):
    save(tmp_path / "r", [[0, 2], [2, 3], [3, 0]], part_power=1)
    clock.now += 15
    search = watched.handoffs(0)
    save(tmp_path / "r", [[0]], part_power=0)
    clock.now += 15
    assert ids(watched.primaries(0)) == [0]
    assert set(ids(search)) <= {3}


def test_swift_could_read_what_is_saved(tmp_path):
    save(tmp_path / "r", ROWS)
    content = gzip.decompress((tmp_path / "r").read_bytes())
    length = int.from_bytes(content[6:10], "big")
    assert content[:6] == b"R1NG\0\1"
    assert json.loads(content[10 : 10 + length])["replica_count"] == 3
    assert len(content) == 10 + length + 2 * sum(map(len, ROWS))
