"""The root folder of `miniswift serve`."""

from __future__ import annotations

import dataclasses
import stat

import pytest

from miniswift.cluster import Cluster
from miniswift.errors import ConfigError
from miniswift.installation import Addresses, Installation
from miniswift.pipeline import load_app, read_section

HERE = Addresses(port=18080, identity_port=15000, storage_port=16200)


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path / "root")
    made.create(HERE, devices=3, replicas=2)
    return made


def test_secrets_are_readable_by_their_owner_only(installation):
    for file in (installation.openrc, installation.identity_file, installation.conf("proxy-server")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_its_files_are_what_the_servers_read(installation):
    for name in ("object-server", "container-server", "account-server", "identity", "proxy-server"):
        assert callable(load_app(installation.conf(name)))


def test_the_rings_name_the_devices(installation):
    cluster = Cluster.load(installation.etc)
    ring = cluster.ring("container")
    assert ring.replica_count == 2
    assert {(node.ip, node.port, node.device) for node in ring.devices} == {
        ("127.0.0.1", 16201, f"d{number}") for number in (1, 2, 3)
    }
    assert (installation.devices / "d3").is_dir()


def test_it_knows_its_addresses_again(installation):
    assert Installation(installation.root).exists
    assert Installation(installation.root).addresses() == HERE


def test_it_can_move_to_other_ports(installation):
    before = installation.openrc.read_text()
    there = dataclasses.replace(HERE, port=28080, identity_port=25000)
    installation.move(there)
    assert installation.addresses() == there
    after = installation.openrc.read_text()
    assert after == before.replace(":15000", ":25000")
    assert (
        read_section(installation.conf("proxy-server"), "filter:authtoken")["auth_url"] == there.identity_url
    )
    assert read_section(installation.conf("identity"), "app:identity")["object_store_url"] == there.url
    assert stat.S_IMODE(installation.openrc.stat().st_mode) == 0o600


def test_a_first_start_that_broke_off_is_done_again(installation):
    (installation.etc / "swift.conf").unlink()
    again = Installation(installation.root)
    assert not again.exists
    again.create(HERE, devices=3, replicas=2)
    assert again.exists


def test_two_installations_have_nothing_secret_in_common(installation, tmp_path):
    other = Installation(tmp_path / "other")
    other.create(HERE, devices=1, replicas=1)
    assert Cluster.load(installation.etc).hash_path("a") != Cluster.load(other.etc).hash_path("a")
    assert installation.openrc.read_text() != other.openrc.read_text()


def test_more_replicas_than_devices_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="3 replicas need as many devices, not 2"):
        Installation(tmp_path).create(HERE, devices=2, replicas=3)


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(ConfigError, match=str(file)):
        Installation(file / "root").create(HERE, devices=1, replicas=1)
