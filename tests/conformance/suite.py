"""Upstream's tests: where they are, the configuration they read, one run of them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TEST_TIMEOUT_S = 180
ALL_TESTS = "test/functional"
OPTIONS = (
    "-q", "--tb=short", f"--timeout={TEST_TIMEOUT_S}", "-o", "addopts=", "-o", "junit_family=xunit2",
    "-o", "python_files=test_*.py tests.py", "-p", "no:requests_mock", "-p", "no:cacheprovider",
)  # fmt: skip

CONF = """\
[s3api_test]
endpoint = {url}
region = us-east-1
access_key1 = test:tester
secret_key1 = testing
access_key2 = test:tester2
secret_key2 = testing2
access_key3 = test:tester3
secret_key3 = testing3
s3_acl_tests_enabled = True

[func_test]
{auth}s3_storage_url = {url}/
s3_region = us-east-1
account = test
username = tester
password = testing
s3_access_key = test:tester
s3_secret_key = testing
account2 = test2
username2 = tester2
password2 = testing2
username3 = tester3
password3 = testing3
s3_access_key2 = test:tester2
s3_secret_key2 = testing2
s3_access_key3 = test:tester3
s3_secret_key3 = testing3
account5 = test5
username5 = tester5
password5 = testing5
service_prefix = SERVICE
account6 = test
username6 = tester6
password6 = testing6
collate = C
insecure = no
storage_domain = example.com

[unit_test]
fake_syslog = False

[swift-constraints]
"""


class SuiteMissing(Exception):
    """Raised when the tests, or the Python that runs them, are not there."""


@dataclass(frozen=True)
class Suite:
    """Swift's source distribution, and a Python that has what its tests import."""

    python: Path = CHECKOUT / ".venv-conformance/bin/python"
    source: Path = CHECKOUT / ".venv-conformance/swift-src"

    def check(self) -> None:
        for path in (self.python, self.source / ALL_TESTS):
            if not path.exists():
                raise SuiteMissing(f"{path} is missing; `make conformance` installs it")

    def run(self, url: str, auth: str, results: Path, arguments: list[str]) -> Path:
        """Run the tests that pytest's `arguments` select against the store at `url`; the JUnit file.

        `auth` is what their configuration says of signing in.
        """
        conf, junit = results / "test.conf", results / "junit.xml"
        conf.write_text(CONF.format(url=url, auth=auth))
        junit.unlink(missing_ok=True)
        command = [str(self.python), "-m", "pytest", *OPTIONS, f"--junitxml={junit}", *arguments]
        if not any(argument.startswith("test/") for argument in arguments):
            command.append(ALL_TESTS)
        with (results / "pytest.log").open("wb") as log:
            subprocess.run(command, cwd=self.source, env=_environ(conf), stdout=log, stderr=log, check=False)
        if not junit.exists():
            raise SuiteMissing(f"pytest did not run; {log.name} tells why")
        return junit


def _environ(conf: Path) -> dict[str, str]:
    """The caller's environment without its proxies and credentials, which would lead the tests elsewhere."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("OS_", "ST_", "AWS_", "SWIFT_"))
    }
    return ours | {
        "SWIFT_TEST_CONFIG_FILE": str(conf),
        "SWIFT_TEST_IN_PROCESS": "0",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
