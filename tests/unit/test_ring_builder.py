"""The ring builder: balance, distance between replicas, and the same ring every time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.errors import ConfigError
from miniswift.ring import Ring
from miniswift.ring_builder import RingBuilder


def build(tmp_path, part_power, replicas, devices):
    """A ring of devices given as (region, zone, ip, weight)."""
    builder = RingBuilder(part_power, replicas)
    for number, (region, zone, ip, weight) in enumerate(devices):
        builder.add(f"10.0.0.{ip}", 6200, f"d{number}", region, zone, weight)
    builder.rebalance()
    builder.save(tmp_path / "object.ring.gz")
    return Ring(tmp_path / "object.ring.gz")


def partitions_of(ring):
    """How many partitions each device holds."""
    return Counter(node.id for part in range(ring.part_count) for node in ring.primaries(part))


def test_one_device_holds_everything(tmp_path):
    ring = build(tmp_path, 3, 1, [(1, 1, 1, 1)])
    assert partitions_of(ring) == {0: 8}


def test_equal_devices_hold_equally_much(tmp_path):
    ring = build(tmp_path, 8, 3, [(1, 1, 1, 1)] * 8)
    assert set(partitions_of(ring).values()) == {3 * 256 // 8}


def test_devices_hold_partitions_by_weight(tmp_path):
    ring = build(tmp_path, 8, 1, [(1, 1, 1, 1), (1, 1, 1, 2), (1, 1, 1, 0), (1, 1, 1, 5)])
    assert partitions_of(ring) == {0: 32, 1: 64, 3: 160}


def test_a_device_too_heavy_for_its_replicas_holds_each_partition_once(tmp_path):
    ring = build(tmp_path, 4, 2, [(1, 1, 1, 100), (1, 1, 1, 1), (1, 1, 1, 1)])
    assert partitions_of(ring) == {0: 16, 1: 8, 2: 8}


@pytest.mark.parametrize("level", ["region", "zone", "ip"])
def test_replicas_are_in_different_places_where_there_are_enough(tmp_path, level):
    place = {"region": lambda n: (n, 1, n), "zone": lambda n: (1, n, n), "ip": lambda n: (1, 1, n)}[level]
    ring = build(tmp_path, 6, 3, [(*place(n % 3), 1) for n in range(9)])
    for part in range(ring.part_count):
        assert len({getattr(node, level) for node in ring.primaries(part)}) == 3


def test_every_device_is_first_for_some_partitions(tmp_path):
    ring = build(tmp_path, 6, 3, [(1, n, n, 1) for n in range(3)])
    firsts = Counter(ring.primaries(part)[0].id for part in range(64))
    assert max(firsts.values()) - min(firsts.values()) <= 1


def test_all_others_are_handoffs_and_soon_found(tmp_path):
    ring = build(tmp_path, 8, 2, [(1, 1, n, 1) for n in range(16)])
    for part in range(ring.part_count):
        assert len({node.id for node in [*ring.primaries(part), *ring.handoffs(part)]}) == 16


def test_the_same_devices_make_the_same_file(tmp_path):
    devices = [(1, 1, 1, 0.1), (1, 2, 2, 0.2), (1, 2, 2, 0.7)]
    build(tmp_path, 6, 2, devices)
    once = (tmp_path / "object.ring.gz").read_bytes()
    build(tmp_path, 6, 2, devices)
    assert (tmp_path / "object.ring.gz").read_bytes() == once


def test_saving_rebalances_when_that_was_forgotten(tmp_path):
    builder = RingBuilder(2, 1)
    assert builder.add("127.0.0.1", 6200, "sdb1") == 0
    builder.save(tmp_path / "r")
    assert len(Ring(tmp_path / "r").primaries(3)) == 1


def test_a_device_added_later_is_in_the_next_ring(tmp_path):
    builder = RingBuilder(2, 1)
    builder.add("127.0.0.1", 6200, "sdb1")
    builder.save(tmp_path / "r")
    builder.add("127.0.0.1", 6200, "sdb2")
    builder.save(tmp_path / "r")
    assert partitions_of(Ring(tmp_path / "r")) == {0: 2, 1: 2}


def test_replication_addresses_are_kept(tmp_path):
    builder = RingBuilder(0, 1)
    builder.add("127.0.0.1", 6200, "d", replication_ip="127.0.0.2", replication_port=6300, meta="rack 7")
    builder.save(tmp_path / "r")
    (node,) = Ring(tmp_path / "r").devices
    assert (node.replication_ip, node.replication_port, node.meta) == ("127.0.0.2", 6300, "rack 7")


@pytest.mark.parametrize("part_power", [-1, 25])
def test_a_part_power_out_of_range_is_refused(part_power):
    with pytest.raises(ConfigError, match="part power"):
        RingBuilder(part_power, 1)


def test_no_replicas_are_refused():
    with pytest.raises(ConfigError, match="at least one replica"):
        RingBuilder(4, 0)


def test_more_replicas_than_devices_with_weight_are_refused():
    builder = RingBuilder(4, 2)
    builder.add("127.0.0.1", 6200, "sdb1")
    builder.add("127.0.0.1", 6200, "sdb2", weight=0)
    with pytest.raises(ConfigError, match="2 replicas need as many devices with a weight, not 1"):
        builder.rebalance()


@pytest.mark.parametrize(
    ("ip", "port", "device", "weight", "problem"),
    [
        ("127.0.0.1", 0, "d", 1, "not a port"),
        ("127.0.0.1", 65536, "d", 1, "not a port"),
        ("", 6200, "d", 1, "do not name a device"),
        ("127.0.0.1", 6200, "", 1, "do not name a device"),
        ("127.0.0.1", 6200, "a/b", 1, "do not name a device"),
        ("127.0.0.1", 6200, "..", 1, "do not name a device"),
        ("127.0.0.1", 6200, "d", -1, "not a weight"),
        ("127.0.0.1", 6200, "d", float("nan"), "not a weight"),
        ("127.0.0.1", 6200, "there", 1, "in the ring already"),
    ],
)
def test_a_device_that_cannot_be_in_a_ring_is_refused(ip, port, device, weight, problem):
    builder = RingBuilder(4, 1)
    builder.add("127.0.0.1", 6200, "there")
    with pytest.raises(ConfigError, match=problem):
        builder.add(ip, port, device, weight=weight)


PLACES = st.lists(
    st.tuples(
        st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.floats(0.01, 1000, allow_subnormal=False)
    ),
    min_size=3,
    max_size=9,
)


@given(devices=PLACES, replicas=st.integers(1, 3), part_power=st.integers(0, 6))
def test_balance_and_distance_hold_for_any_devices(tmp_path_factory, devices, replicas, part_power):
    ring = build(tmp_path_factory.getbasetemp(), part_power, replicas, devices)
    held = partitions_of(ring)
    assert sum(held.values()) == replicas * ring.part_count  # so none holds a partition twice
    share = {n: held[n] / ring.part_count for n in range(len(devices))}
    for level in (1, 2, 3):
        places = Counter()
        for number, place in enumerate(devices):
            places[place[:level]] += share[number]
        for part in range(ring.part_count):
            primaries = ring.primaries(part)
            here = Counter((n.region, n.zone, int(n.ip.rpartition(".")[2]))[:level] for n in primaries)
            for place, expected in places.items():
                assert abs(here[place] - expected) < 1  # the whole number below or above, no other
    by_weight = sum(place[3] for place in devices)
    if all(place[3] * replicas <= by_weight for place in devices):
        for number, place in enumerate(devices):
            assert abs(held[number] - place[3] * replicas * ring.part_count / by_weight) <= 1.001
