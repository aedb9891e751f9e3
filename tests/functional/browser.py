"""A headless Chromium, and the upload page as somebody in front of it uses it."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.functional.processes import wait_until

PAGE = Path(__file__).parents[2] / "examples" / "cors-upload"
WAIT_S = 30


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """The browser; it is there, or the test fails."""
    for program in ("chromium", "chromedriver"):
        assert shutil.which(program), f"{program} is missing; apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=900,1000"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
    try:
        yield driver
    finally:
        driver.quit()


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the overridden name
        pass


@contextmanager
def web_site(folder: Path = PAGE) -> Iterator[str]:
    """The origin of a web server that has the files of a folder."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class UploadPage:
    """The page in a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, origin: str, **fields: str) -> None:
        """Load it with fields filled in."""
        self.open_address(f"{origin}/index.html#{urlencode(fields)}")

    def open_address(self, address: str) -> None:
        self.driver.get("about:blank")  # or a change of the part behind # would load nothing
        self.driver.get(address)

    def log_in(self, **fields: str) -> None:
        for name, value in fields.items():
            field = self._one(f"[name={name}]")
            field.clear()
            field.send_keys(value)
        self._one("#access button").click()

    def choose(self, *files: Path) -> None:
        wait_until(self._one("#files").is_displayed, WAIT_S, "the page to be connected")
        self._one("#picker").send_keys("\n".join(map(str, files)))

    def message(self) -> str:
        """The error that the page shows, once it does."""
        return wait_until(lambda: self._one("#message").text, WAIT_S, "a message")

    def upload(self, name: str) -> WebElement:
        """The newest upload of that name."""
        rows = [
            row for row in self._all(".upload") if row.find_element(By.CSS_SELECTOR, ".name").text == name
        ]
        return rows[0]

    def state(self, name: str, kind: str = "done") -> str:
        """What the page says of an upload, once it is done, or has failed."""
        wait_until(
            lambda: kind in str(self.upload(name).get_attribute("class")).split(), 60, f"{name} {kind}"
        )
        return self.upload(name).find_element(By.CSS_SELECTOR, ".state").text

    def objects(self) -> list[str]:
        """The names in the listing."""
        return [element.text for element in self._all(".object .name")]

    def previews(self) -> Sequence[WebElement]:
        return self._all(".preview > *")

    def watch_progress(self) -> None:
        """From now on, remember every value that a progress bar takes."""
        self.driver.execute_script(
            "window.seen = []; const uploads = document.getElementById('uploads');"
            "new MutationObserver(() => window.seen.push(uploads.querySelector('progress').value))"
            ".observe(uploads, {subtree: true, childList: true, characterData: true})"
        )

    def progress(self) -> list[float]:
        seen: list[float] = self.driver.execute_script("return window.seen")
        return seen

    def limit_uploads(self, bytes_per_second: int) -> None:
        self.driver.set_network_conditions(
            offline=False, latency=0, download_throughput=-1, upload_throughput=bytes_per_second
        )

    def _one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def _all(self, selector: str) -> Sequence[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)
