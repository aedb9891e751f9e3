"""The identity file on disk."""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from miniswift.errors import ConfigError
from miniswift.identity import passwords
from miniswift.identity.directory import Directory
from miniswift.identity.store import Store


def without_demo(directory: Directory) -> Directory:
    user = directory.get_user("u-demo")
    assert user is not None
    return directory.without_user(user)


def test_first_file_has_the_three_projects_and_four_users(tmp_path: Path) -> None:
    path = tmp_path / "identity.yaml"
    secrets = Store.create_demo(str(path), "http://127.0.0.1:8080/", "http://127.0.0.1:5000")
    directory = Store(str(path)).directory()

    by_id = {project.id: project.name for project in directory.projects}
    roles = {
        user.name: {by_id[id_]: roles for id_, roles in user.project_roles.items()}
        for user in directory.users
    }
    assert roles == {
        "demo": {"demo": ("swiftoperator",)},
        "reader": {"demo": ("Reader",)},
        "admin": {"admin": ("admin", "ResellerAdmin")},
        "swift": {"service": ("service",)},
    }
    for user in directory.users:
        assert passwords.verify(getattr(secrets, user.name), user.password)
    assert directory.services[0].public_url == "http://127.0.0.1:8080/v1/AUTH_%(project_id)s"


def test_first_file_is_for_its_owner_alone_and_holds_no_password(tmp_path: Path) -> None:
    path = tmp_path / "identity.yaml"
    secrets = Store.create_demo(str(path), "http://127.0.0.1:8080", "http://127.0.0.1:5000")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.demo not in path.read_text()
    assert secrets.demo not in repr(secrets)


def test_first_file_never_replaces_one(identity_path: Path) -> None:
    before = identity_path.read_text()
    with pytest.raises(ConfigError, match="exists and is left"):
        Store.create_demo(str(identity_path), "http://127.0.0.1:8080", "http://127.0.0.1:5000")
    assert identity_path.read_text() == before


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: the identity file does not exist"):
        Store(str(tmp_path / "nothing.yaml"))


def test_malformed_file_is_named_with_the_entry(identity_path: Path) -> None:
    identity_path.write_text("usres: []\n")
    with pytest.raises(ConfigError, match=r"identity\.yaml: usres means nothing here"):
        Store(str(identity_path))


def test_file_that_is_not_text_is_named(identity_path: Path) -> None:
    identity_path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Store(str(identity_path))


def test_file_that_others_can_read_is_warned_about(
    identity_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity_path.chmod(0o644)
    Store(str(identity_path))
    assert "others can read it" in caplog.text


def test_edit_by_another_is_seen_at_once(identity_path: Path) -> None:
    server, editor = Store(str(identity_path)), Store(str(identity_path))
    assert server.directory().get_user("u-demo")
    editor.edit(without_demo)
    assert server.directory().get_user("u-demo") is None


def test_broken_change_is_logged_once_and_the_last_good_file_stays(
    identity_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(identity_path))
    identity_path.write_text("users: [\n")
    with caplog.at_level(logging.ERROR):
        assert store.directory().get_user("u-demo")
        assert store.directory().get_user("u-demo")
    assert len(caplog.records) == 1
    assert "not used" in caplog.text


def test_removed_file_leaves_the_last_good_one_in_force(identity_path: Path) -> None:
    store = Store(str(identity_path))
    identity_path.unlink()
    assert store.directory().get_user("u-demo")


def test_repaired_file_is_followed_again(identity_path: Path) -> None:
    good = identity_path.read_text()
    store = Store(str(identity_path))
    identity_path.write_text("users: [\n")
    store.directory()
    identity_path.write_text(good.replace("id: u-demo\n  name: demo\n", "id: u-demo\n  name: renamed\n"))
    user = store.directory().get_user("u-demo")
    assert user is not None
    assert user.name == "renamed"


def test_failed_edit_leaves_file_and_folder_as_they_were(identity_path: Path) -> None:
    before = identity_path.read_text()

    def spoil(directory: Directory) -> Directory:
        users = [dataclasses.replace(user, password="plain") for user in directory.users]
        return dataclasses.replace(directory, users=tuple(users))

    with pytest.raises(ConfigError, match="password"):
        Store(str(identity_path)).edit(spoil)
    assert identity_path.read_text() == before
    assert os.listdir(identity_path.parent) == [identity_path.name]


def test_edited_file_keeps_its_mode(identity_path: Path) -> None:
    Store(str(identity_path)).edit(without_demo)
    assert stat.S_IMODE(identity_path.stat().st_mode) == 0o600


EDITOR = """
import dataclasses, sys
from miniswift.identity.directory import User
from miniswift.identity.passwords import hash_password
from miniswift.identity.store import Store
store, name = Store(sys.argv[1]), sys.argv[2]
for number in range(5):
    user = User(f"{name}-{number}", f"{name}-{number}", hash_password("x", 1))
    store.edit(lambda directory: directory.with_user(user))
"""


@pytest.mark.slow
def test_edits_of_several_processes_are_all_kept(identity_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", EDITOR, str(identity_path)]
    editors = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [editor.wait() for editor in editors] == [0, 0]
    names = {user.name for user in Store(str(identity_path)).directory().users}
    assert {f"{name}-{number}" for name in "ab" for number in range(5)} <= names
