"""A proxy over real storage servers in this process: no socket, nothing faked."""

from __future__ import annotations

import dataclasses

import pytest

from miniswift.cluster import Cluster, Constraints, Policies, Policy
from miniswift.proxy import Application
from miniswift.proxy.settings import ProxySettings
from miniswift.responses import Response
from miniswift.ring_builder import RingBuilder
from miniswift.storage.account_server import AccountServer
from miniswift.storage.container_server import ContainerServer
from miniswift.storage.object_server import ObjectServer, ObjectSettings
from miniswift.transport import LocalTransport
from miniswift.wsgi import Request


class Store:
    """A proxy application and what stands behind it. `request` talks to it as a client does."""

    def __init__(self, root, devices=1, replicas=1, transport=None, constraints=None, **settings):
        self.devices = root / "devices"
        for number in range(devices):
            (self.devices / f"d{number}").mkdir(parents=True)
        for offset, kind in enumerate(("object", "object-1", "container", "account")):
            builder = RingBuilder(4, replicas)
            for number in range(devices):
                builder.add("127.0.0.1", 6200 + offset, f"d{number}", zone=number + 1)
            builder.rebalance()
            builder.save(root / f"{kind}.ring.gz")
        policies = Policies([Policy(0, "gold", is_default=True), Policy(1, "silver", aliases=("ag",))])
        self.cluster = Cluster(
            root, hash_suffix="changeme", policies=policies, constraints=constraints or Constraints()
        )
        apps = {}
        self.local = LocalTransport(apps)
        self.transport = transport(self.local) if transport else self.local
        conf = {"devices": str(self.devices), "mount_check": "false", "fallocate_reserve": "0"}
        storage = ObjectSettings.from_conf(conf)
        objects = ObjectServer(storage, self.cluster, self.transport)
        apps["127.0.0.1", 6200] = apps["127.0.0.1", 6201] = objects
        apps["127.0.0.1", 6202] = ContainerServer(storage, self.cluster, self.transport)
        apps["127.0.0.1", 6203] = AccountServer(storage, self.cluster, self.transport)
        self.settings = dataclasses.replace(ProxySettings(account_autocreate=True), **settings)
        self.app = Application(self.settings, self.cluster, self.transport)
        self.environ = {"swift_owner": True}

    def request(self, method, path, headers=None, body=b"", **environ) -> Response:
        """The answer, its body read."""
        request = Request.blank(path, method, headers or {}, body)
        request.environ.update(self.environ | environ)
        response = request.call(self.app)
        response.body = [response.read()]
        return response


@pytest.fixture
def make_store(tmp_path):
    return lambda **options: Store(tmp_path, **options)


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def container(store):
    """The path of a container that is there."""
    assert store.request("PUT", "/v1/AUTH_a/c").status == 201
    return "/v1/AUTH_a/c"
