"""The reaper, over a whole store in this process: of a deleted account nothing is left."""

from __future__ import annotations

import json
import time

import pytest

from miniswift.daemons.reaper import Reaper, ReaperSettings
from tests.faults.transport import FaultyTransport, says_503
from tests.unit.proxy.conftest import Store


class Bed:
    """A store with two accounts, and reapers for the one that gets deleted."""

    def __init__(self, root, replicas=3):
        self.store = Store(root, devices=replicas, replicas=replicas, allow_account_management=True)
        for account in ("AUTH_doomed", "AUTH_other"):
            for container, policy in (("c", "gold"), ("s", "silver"), ("\u00fc", "gold")):
                path = f"/v1/{account}/{container}" if container.isascii() else f"/v1/{account}/%C3%BC"
                assert self.store.request("PUT", path, {"X-Storage-Policy": policy}).status == 201
                for number in range(5):
                    assert self.store.request("PUT", f"{path}/o{number}", {}, b"x").status == 201

    def delete(self):
        assert self.store.request("DELETE", "/v1/AUTH_doomed", reseller_request=True).status == 204

    def reap(self, later=1.0, transport=None, **options):
        conf = {"devices": str(self.store.devices), "mount_check": "false", "bind_port": "6203", **options}
        settings = ReaperSettings.from_conf(conf)
        reaper = Reaper(
            settings, self.store.cluster, transport or self.store.transport, clock=lambda: time.time() + later
        )
        try:
            return reaper.run_once()
        finally:
            reaper.close()

    def data_files(self):
        return list(self.store.devices.rglob("*.data"))


def without_objects(bed):
    """A transport whose object servers fail."""
    transport = FaultyTransport(bed.store.transport)
    transport.fault = says_503
    transport.places = [(port, f"d{number}") for port in (6200, 6201) for number in range(3)]
    return transport


@pytest.fixture
def bed(tmp_path):
    return Bed(tmp_path)


def test_a_deleted_account_is_emptied_and_no_other(bed):
    bed.delete()
    assert bed.reap() == "3 containers removed, 15 objects removed"
    assert len(bed.data_files()) == 15 * 3  # the other account's
    rows = json.loads(bed.store.request("GET", "/v1/AUTH_other?format=json").read())
    assert [row["name"] for row in rows] == ["c", "s", "ü"]
    assert bed.reap() == ""


def test_an_account_that_was_not_deleted_is_left_alone(bed):
    assert bed.reap() == ""
    assert len(bed.data_files()) == 2 * 15 * 3


def test_a_deleted_account_is_left_as_it_is_for_a_while(bed):
    bed.delete()
    assert bed.reap(later=50, delay_reaping="100") == ""
    assert bed.reap(later=101, delay_reaping="100") != ""


def test_what_cannot_be_removed_is_left_for_the_next_pass(bed, caplog):
    bed.delete()
    said = bed.reap(transport=without_objects(bed))
    assert "objects left" in said
    assert "of a deleted account is left" in caplog.text
    bed.reap()
    assert len(bed.data_files()) == 15 * 3


def test_an_account_that_stays_full_is_named(bed, caplog):
    bed.delete()
    bed.reap(later=200, transport=without_objects(bed), reap_warn_after="100")
    assert "AUTH_doomed was deleted" in caplog.text
    assert "is not empty yet" in caplog.text


def test_only_the_device_that_is_a_primary_works_on_it(bed):
    bed.delete()
    assert bed.reap(bind_port="6999") == ""  # some other server's devices
