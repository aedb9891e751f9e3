"""Users of a real Keystone, whichever proxy and whichever filters stand in front of the store."""

from __future__ import annotations

import hmac
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.functional.client import Client
from tests.functional.processes import wait_until
from tests.interop.conftest import KeystoneProxies
from tests.interop.keystone import Keystone, Project, User
from tests.interop.keystone_proxies import KEYSTONEMIDDLEWARE, OLD_OPTIONS, OUR_FILTERS, OURS, KeystoneProxy

CACHE_S = 2  # of authtoken: a test waits for it to forget


@dataclass
class World:
    """One of the proxies, and people of Keystone that only its tests know."""

    proxy: KeystoneProxy
    keystone: Keystone
    demo: Project
    other: Project
    owner: User  # of demo
    member: User  # of demo, without a role that matters by itself
    neighbour: User  # owner of other
    far: User  # owner of a project in another domain
    far_project: Project

    def client(
        self, user: User | None, project: Project | None = None, account: Project | None = None
    ) -> Client:
        """A connection to an account (demo's unless told), with a token of the user."""
        token = self.keystone.token(user, project or self.demo) if user else ""
        url = f"{self.proxy.url}/v1/AUTH_{(account or self.demo).id}"
        return Client(url, {"X-Auth-Token": token} if token else {})


@pytest.fixture(scope="module", params=[OURS, KEYSTONEMIDDLEWARE, OUR_FILTERS])
def world(request: pytest.FixtureRequest, keystone: Keystone, keystone_proxies: KeystoneProxies) -> World:
    kind = request.param
    proxy = keystone_proxies(kind, token_cache_time=str(CACHE_S))
    name = kind.replace(" ", "-")
    demo, other = keystone.make_project(f"{name}-demo"), keystone.make_project(f"{name}-other")
    domain = keystone.make_domain(f"{name}-far")
    far_project = keystone.make_project(f"{name}-demo", domain)
    return World(
        proxy,
        keystone,
        demo,
        other,
        owner=keystone.make_user(f"{name}-owner", {demo: "swiftoperator"}),
        member=keystone.make_user(f"{name}-member", {demo: "Reporter"}),
        neighbour=keystone.make_user(f"{name}-neighbour", {other: "swiftoperator"}),
        far=keystone.make_user(f"{name}-neighbour", {far_project: "swiftoperator"}, domain),
        far_project=far_project,
    )


@pytest.fixture
def owner(world: World) -> Iterator[Client]:
    """The owner's connection, and a container `c` with an object `o` and no ACL."""
    with world.client(world.owner) as client:
        assert client.put("/c", headers={"X-Container-Read": "", "X-Container-Write": ""}).status in (
            201,
            202,
        )
        assert client.put("/c/o", b"content").status == 201
        yield client


def test_swift_client_uploads_and_downloads(world: World, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(5):
        (tree / f"file {number}").write_bytes(bytes(range(256)) * (number * 100 + 1))
    swift: list[object] = [Path(sys.executable).parent / "swift", "--auth-version", "3"]
    swift += ["--os-auth-url", f"{world.keystone.url}/v3", "--os-username", world.owner.name]
    swift += ["--os-password", world.owner.password, "--os-project-name", world.demo.name]
    swift += ["--os-user-domain-id", "default", "--os-project-domain-id", "default"]
    swift += ["--os-storage-url", f"{world.proxy.url}/v1/AUTH_{world.demo.id}"]
    run(*swift, "upload", "tree", "tree", cwd=tmp_path)
    run(*swift, "download", "tree", "--output-dir", "back", cwd=tmp_path)
    run("diff", "-r", "tree", "back/tree", cwd=tmp_path)


def run(*command: object, cwd: Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_nobody_and_rubbish_are_refused(world: World, owner: Client) -> None:
    with world.client(None) as nobody:
        answer = nobody.get("/c/o")
        assert answer.status == 401
        assert any(value.startswith("Keystone uri=") for value in answer.headers.get_all("WWW-Authenticate"))
        assert nobody.get("/c/o", headers={"X-Auth-Token": "rubbish"}).status == 401


def test_identity_headers_of_a_client_count_for_nothing(world: World, owner: Client) -> None:
    forged = {
        "X-Identity-Status": "Confirmed",
        "X-Roles": "swiftoperator,ResellerAdmin",
        "X-Project-Id": world.demo.id,
        "X-User-Id": world.owner.id,
    }
    with world.client(None) as nobody:
        assert nobody.get("/c/o", headers=forged).status == 401
    with world.client(world.neighbour, world.other) as neighbour:
        assert neighbour.get("/c/o", headers=forged).status == 403


def test_role_in_an_acl_lets_members_of_the_project_in(world: World, owner: Client) -> None:
    with world.client(world.member) as member:
        assert member.get("/c/o").status == 403
        owner.post("/c", {"X-Container-Read": "Reporter"})
        assert (member.get("/c/o").status, member.put("/c/x", b"").status) == (200, 403)
        owner.post("/c", {"X-Container-Write": "reporter"})
        assert member.put("/c/x", b"").status == 201
        assert member.get("").status == 403


def test_reader_role_reads_all_of_its_project(world: World, owner: Client) -> None:
    keystone = world.keystone
    name = f"{world.proxy.name}-reader"
    reader = keystone.make_user(name, {world.demo: "reader", world.other: "reader"})
    with world.client(reader) as client:
        assert [client.get(path).status for path in ("", "/c", "/c/o")] == [200, 200, 200]
        assert client.put("/c/x", b"").status == 403
    with world.client(reader, world.other) as client:
        assert client.get("/c/o").status == 403


def test_acl_across_projects(world: World, owner: Client) -> None:
    """By ids, by names of the default domain, and with a star on either side."""
    demo_account = {"account": world.demo}
    other, user = world.other, world.neighbour
    with (
        world.client(user, other, **demo_account) as neighbour,
        world.client(world.far, world.far_project, **demo_account) as far,
    ):
        assert neighbour.get("/c/o").status == 403
        for acl in (
            f"{other.id}:{user.id}",
            f"{other.name}:{user.name}",
            f"{other.id}:*",
            f"*:{user.id}",
            f"*:{user.name}",
        ):
            owner.post("/c", {"X-Container-Read": acl})
            assert neighbour.get("/c/o").status == 200, acl
            assert neighbour.put("/c/x", b"").status == 403, acl
            assert far.get("/c/o").status == 403, acl  # the same name, of another domain
        owner.post("/c", {"X-Container-Read": f"{world.far_project.id}:{world.far.id}"})
        assert far.get("/c/o").status == 200
        owner.post("/c", {"X-Container-Read": f"{world.far_project.name}:{world.far.name}"})
        assert far.get("/c/o").status == 403
        owner.post("/c", {"X-Container-Read": "*:*"})
        assert (neighbour.get("/c/o").status, far.get("/c/o").status) == (200, 200)


def test_pages_of_a_referrer(world: World, owner: Client) -> None:
    owner.post("/c", {"X-Container-Read": ".r:.example.com"})
    page = {"Referer": "http://www.example.com/page"}
    with world.client(None) as nobody:
        assert nobody.get("/c/o", headers=page).status == 200
        assert nobody.get("/c/o").status == 401
        assert nobody.get("/c", headers=page).status == 401
        owner.post("/c", {"X-Container-Read": ".r:.example.com,.rlistings"})
        assert nobody.get("/c?format=json", headers=page).status == 200


def test_reseller_admin_does_everything_everywhere(world: World, owner: Client) -> None:
    admin = world.keystone.make_user(f"{world.proxy.name}-reseller", {world.other: "ResellerAdmin"})
    with world.client(admin, world.other, account=world.demo) as client:
        assert client.get("").status == 200
        assert client.put("/by-reseller").status == 201
        assert client.put("/c/by-reseller", b"").status == 201


def test_temporary_urls_need_no_token(world: World, owner: Client) -> None:
    owner.post("", {"X-Account-Meta-Temp-URL-Key": "key"})
    path, expires = f"{urlsplit(owner.url).path}/c/o", int(time.time()) + 60
    signature = hmac.digest(b"key", f"GET\n{expires}\n{path}".encode(), "sha256").hex()
    with world.client(None) as nobody:
        url = f"/c/o?temp_url_sig={signature}&temp_url_expires={expires}"
        assert nobody.get(url).body == b"content"
        assert nobody.put(url, b"").status == 401


def test_forms_need_no_token(world: World, owner: Client) -> None:
    owner.post("", {"X-Account-Meta-Temp-URL-Key": "key"})
    path = f"{urlsplit(owner.url).path}/c/form-"
    fields = {
        "redirect": "",
        "max_file_size": "10",
        "max_file_count": "2",
        "expires": str(int(time.time()) + 60),
    }
    signed = "\n".join([path, *fields.values()]).encode()
    fields["signature"] = hmac.digest(b"key", signed, "sha256").hex()
    files = [("f", ("small", b"small")), ("f", ("big", b"0123456789!"))]
    answer = requests.post(world.proxy.url + path, data=fields, files=files, timeout=30)
    assert (answer.status_code, answer.text) == (400, "FormPost: max_file_size exceeded")
    assert owner.get("/c/form-small").body == b"small"
    assert owner.get("/c/form-big").status == 404
    fields["signature"] = "0" * 64
    assert requests.post(world.proxy.url + path, data=fields, files=files, timeout=30).status_code == 401


def test_browsers_of_an_allowed_origin(world: World, owner: Client) -> None:
    owner.post("/c", {"X-Container-Meta-Access-Control-Allow-Origin": "http://page.example"})
    origin = {"Origin": "http://page.example"}
    with world.client(None) as nobody:
        asked = nobody.request("OPTIONS", "/c/o", headers={**origin, "Access-Control-Request-Method": "PUT"})
        assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (200, "http://page.example")
        refused = nobody.get("/c/o", headers=origin)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (
            401,
            "http://page.example",
        )


def test_info_tells_of_filters_whosever_they_are(world: World) -> None:
    with Client(world.proxy.url) as nobody:
        shown = nobody.get("/info").json()
    assert shown["tempurl"]["methods"] == ["GET", "HEAD", "PUT", "POST", "DELETE"]
    assert shown["swift"]["container_listing_limit"] == 10000


def test_revoked_token_goes_when_its_cached_answer_ends(world: World, owner: Client) -> None:
    with world.client(world.owner) as client:
        assert client.get("/c/o").status == 200
        world.keystone.revoke(client.headers["X-Auth-Token"])
        wait_until(lambda: client.get("/c/o").status == 401, 30, "the token to be refused")


# --- Keystone that goes away, and tokens that end ---------------------------------------------------


@dataclass
class Patient:
    """A proxy that keeps answers about tokens for long, and asks once."""

    keystone: Keystone
    proxy: KeystoneProxy
    account: Client  # without a token
    make_token: Callable[[], str]


@pytest.fixture(params=[OURS, OLD_OPTIONS])
def patient(
    request: pytest.FixtureRequest, keystone: Keystone, keystone_proxies: KeystoneProxies
) -> Iterator[Patient]:
    proxy = keystone_proxies(request.param, http_request_max_retries="0")
    name = f"patient-{proxy.name}-{len(keystone.names)}"
    project = keystone.make_project(name)
    user = keystone.make_user(name, {project: "swiftoperator"})
    lifetime = keystone.expiration_s
    with Client(f"{proxy.url}/v1/AUTH_{project.id}") as account:
        yield Patient(keystone, proxy, account, lambda: keystone.token(user, project))
    keystone.restart(expiration_s=lifetime)


def test_keystone_that_goes_away_and_comes_back(patient: Patient) -> None:
    known, new = ({"X-Auth-Token": patient.make_token()} for _ in range(2))
    account = patient.account
    assert account.put("/c", headers=known).status == 201
    patient.keystone.stop()
    assert account.put("/c/o", b"x", known).status == 201  # cached
    answer = account.get("/c/o", headers=new)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert account.get("/c/o", headers=known).status == 200
    patient.keystone.start()
    assert account.get("/c/o", headers=new).body == b"x"


def test_tokens_end_and_the_service_users_is_renewed(patient: Patient) -> None:
    patient.keystone.restart(expiration_s=4)
    first = {"X-Auth-Token": patient.make_token()}
    assert patient.account.put("/c", headers=first).status == 201
    wait_until(lambda: patient.account.get("/c", headers=first).status == 401, 30, "the token to expire")
    assert "token refused: it has expired" in patient.proxy.printed()
    # By now the proxy's own token has expired as well.
    second = {"X-Auth-Token": patient.make_token()}
    assert patient.account.put("/c/o", b"x", second).status == 201
