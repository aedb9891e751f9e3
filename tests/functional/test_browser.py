"""The upload page in a real browser, from one origin to a store at another."""

from __future__ import annotations

import hashlib
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium import webdriver

from tests.functional.browser import WAIT_S, UploadPage, chromium, web_site
from tests.functional.client import Client
from tests.functional.cluster import ServeProcess, add_user, made_root, set_options
from tests.functional.processes import wait_until

BUILD = Path(__file__).parents[2] / "build"
ALLOW = "X-Container-Meta-Access-Control-Allow-Origin"
BIG = 200 << 20  # bytes


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(driver: webdriver.Chrome) -> Iterator[UploadPage]:
    yield UploadPage(driver)
    driver.delete_network_conditions()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with web_site() as origin:
        yield origin


@pytest.fixture(scope="module")
def store(scratch: Path, origin: str) -> Iterator[ServeProcess]:
    """A store that lets the page sign users in, and says nothing yet of its containers."""
    process = made_root(scratch / "data")
    set_options(process.root / "etc" / "identity.conf", "filter:cors", cors_allow_origin=origin)
    with process:
        yield process


@pytest.fixture
def owner(store: ServeProcess, origin: str) -> Iterator[Client]:
    """The owner, with an empty container `uploads` that the page may use."""
    with Client.login(store.auth) as client:
        client.put("/uploads")
        client.post("/uploads", {ALLOW: origin, "X-Container-Read": ""})
        for row in client.get("/uploads?format=json").json():
            client.delete(f"/uploads/{quote(row['name'])}")
        yield client


def by_token(owner: Client, **more: str) -> dict[str, str]:
    """The page's fields for the owner's token."""
    token = owner.headers["X-Auth-Token"]
    return {"way": "token", "storage": owner.url, "token": token, "container": "uploads", **more}


def picture(size: int) -> bytes:
    """A PNG of colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(v for x in range(size) for v in (2 * x, 2 * y, 160)) for y in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "colours.png").write_bytes(picture(120))
    (tmp_path / "notes.txt").write_text("Buy bread.\nCall Ann about the boat.\n")
    (tmp_path / "ü & %41.bin").write_bytes(bytes(range(256)) * 300)
    return sorted(tmp_path.iterdir())


def test_allowed_origin_uploads_lists_and_previews(
    page: UploadPage, origin: str, owner: Client, files: list[Path]
) -> None:
    page.open(origin, **by_token(owner))
    page.choose(*files)
    for file in files:
        assert page.state(file.name).startswith("done")
    wait_until(lambda: sorted(page.objects()) == [file.name for file in files], WAIT_S, "the listing")
    wait_until(lambda: len(page.previews()) == 2, WAIT_S, "two previews")
    stored = {row["name"]: row["hash"] for row in owner.get("/uploads?format=json").json()}
    assert stored == {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in files}
    BUILD.mkdir(exist_ok=True)
    page.driver.save_screenshot(str(BUILD / "cors-upload.png"))


def test_forbidden_origin_is_refused_by_the_browser(
    page: UploadPage, origin: str, owner: Client, files: list[Path]
) -> None:
    # A container of its own: browsers remember for seconds what another one's allowed.
    owner.put("/closed", headers={ALLOW: "http://elsewhere.example"})
    page.open(origin, **by_token(owner, container="closed"))
    said = page.message()
    assert "does not let pages of" in said
    assert f"{ALLOW}: {origin}" in said
    page.choose(files[0])
    assert ALLOW in page.state(files[0].name, "failed")
    assert owner.get("/closed?format=json").json() == []


def test_refusals_are_readable_by_the_page(
    page: UploadPage, origin: str, store: ServeProcess, owner: Client, files: list[Path]
) -> None:
    page.open(origin, **by_token(owner, token="rubbish"))
    assert page.message().startswith("401: The token is not valid")
    page.choose(files[0])
    assert page.state(files[0].name, "failed").startswith("401: The token is not valid")
    add_user(store.root, "visitor", "demo", "Visitor", "secret")
    with Client.login((store.auth[0], "demo:visitor", "secret")) as reader:
        page.open(origin, **by_token(owner, token=reader.headers["X-Auth-Token"]))
    assert page.message().startswith("403: You may not do this in uploads")


def test_expired_temporary_url_is_told(
    page: UploadPage, origin: str, owner: Client, files: list[Path]
) -> None:
    url = f"{owner.url}/uploads/?temp_url_sig={'0' * 64}&temp_url_expires=1&temp_url_prefix="
    page.open(origin, way="tempurl", tempurl=url)
    page.choose(files[0])
    assert page.state(files[0].name, "failed").startswith("401: The temporary URL is not valid")


def test_big_upload_shows_progress(page: UploadPage, origin: str, owner: Client, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(BIG)
    page.open(origin, **by_token(owner))
    page.watch_progress()
    page.limit_uploads(100 << 20)
    page.choose(big)
    assert page.state("big") == "done, 200.0 MiB"
    seen = page.progress()
    between = {value for value in seen if 0 < value < 100}
    assert len(between) >= 5, seen
    assert seen == sorted(seen)
    head = owner.head("/uploads/big").headers
    assert head["Content-Length"] == str(BIG)
    digest = hashlib.md5()
    for _ in range(BIG >> 20):
        digest.update(bytes(1 << 20))
    assert head["Etag"] == digest.hexdigest()


def test_cancelled_upload_leaves_nothing(
    page: UploadPage, origin: str, owner: Client, tmp_path: Path, files: list[Path]
) -> None:
    big = tmp_path / "half"
    with big.open("wb") as file:
        file.truncate(BIG)
    page.open(origin, **by_token(owner))
    page.watch_progress()
    page.limit_uploads(10 << 20)
    page.choose(big)
    wait_until(lambda: any(value > 1 for value in page.progress()), WAIT_S, "some progress")
    page.upload("half").find_element("css selector", ".cancel").click()
    assert page.state("half", "failed").startswith("cancelled")
    page.driver.delete_network_conditions()
    page.choose(files[0])
    page.state(files[0].name)
    assert [row["name"] for row in owner.get("/uploads?format=json").json()] == [files[0].name]


def test_user_signs_in_on_the_page(page: UploadPage, origin: str, store: ServeProcess, owner: Client) -> None:
    owner.put("/uploads/there", b"x")
    auth, user, key = store.auth
    page.open(origin)
    page.log_in(auth=auth, user=user, key="wrong", container="uploads")
    assert page.message().startswith("401: the name or the password is wrong")
    page.log_in(auth=auth, user=user, key=key, container="uploads")
    wait_until(lambda: page.objects() == ["there"], WAIT_S, "the listing")


def test_demo_is_a_page_that_works_at_once(page: UploadPage, tmp_path: Path, files: list[Path]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        ServeProcess(Path(folder) / "data", options=["--demo"]) as process,
    ):
        for start in (1, 2):  # the second finds everything there
            process.wait_for(lambda count=start: len(addresses(process)) == count, WAIT_S, "the address")
            page.open_address(addresses(process)[-1])
            page.choose(files[0])
            assert page.state(files[0].name).startswith("done")
            wait_until(lambda: page.objects() == [files[0].name], WAIT_S, "the listing")
            if start == 1:
                process.stop()
                process.start()


def addresses(process: ServeProcess) -> list[str]:
    """Those of the page that `serve --demo` has printed."""
    return re.findall(r"http\S+/page/index\.html#\S+", process.printed())
