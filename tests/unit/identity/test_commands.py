"""`miniswift user add`, `list` and `remove`."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from miniswift.identity import commands, directory_file, passwords
from miniswift.identity.directory import Directory, User
from tests.unit.identity.conftest import Identity, open_application, sample_directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "identity.yaml"
    path.parent.mkdir()
    path.write_text(directory_file.render(sample_directory()), encoding="utf-8")
    path.chmod(0o600)
    return tmp_path


def user_command(root: Path, *words: str) -> int:
    parser = argparse.ArgumentParser(prog="miniswift")
    commands.add_arguments(parser.add_subparsers(required=True))
    args = parser.parse_args(["user", *words, "--root", str(root)])
    status: int = args.run(args)
    return status


def directory_at(root: Path) -> Directory:
    return directory_file.parse((root / "etc" / "identity.yaml").read_text(encoding="utf-8"))


def user_at(root: Path, name: str) -> User:
    return next(user for user in directory_at(root).users if user.name == name)


def test_added_user_can_use_the_printed_password(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert user_command(root, "add", "ann", "--project", "demo") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user ann is now swiftoperator in project demo"
    assert passwords.verify(lines[1].removeprefix("password: "), user_at(root, "ann").password)


def test_running_service_sees_an_added_user_at_once(root: Path, identity: Identity) -> None:
    app = open_application(str(root / "etc" / "identity.yaml"), identity.clock)
    running = Identity(app, root, identity.clock)
    assert running.v3("ann", "hunter2").status == 401
    assert user_command(root, "add", "ann", "--project", "demo", "--password", "hunter2") == 0
    assert running.v3("ann", "hunter2", scope={"project": {"id": "p-demo"}}).status == 201
    app.close()


def test_password_is_read_from_standard_input(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\nmore\n"))
    assert user_command(root, "add", "ann", "--project", "demo", "--password-stdin") == 0
    assert passwords.verify("hunter2", user_at(root, "ann").password)


def test_given_password_is_not_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user_command(root, "add", "ann", "--project", "demo", "--password", "hunter2")
    assert "hunter2" not in capsys.readouterr().out


def test_new_project_and_new_role_are_made_and_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert user_command(root, "add", "ann", "--project", "lab", "--role", "Painter", "--role", "Reader") == 0
    out = capsys.readouterr().out
    project = next(project for project in directory_at(root).projects if project.name == "lab")
    assert f"project lab is new; its account is AUTH_{project.id}" in out
    assert "role Painter is new" in out
    assert "role Reader is new" not in out
    assert user_at(root, "ann").project_roles == {project.id: ("Painter", "Reader")}


def test_existing_user_gets_roles_and_keeps_the_password(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert user_command(root, "add", "demo", "--project", "admin", "--role", "Reader") == 0
    assert user_at(root, "demo").project_roles["p-admin"] == ("Reader",)
    assert user_at(root, "demo").project_roles["p-demo"] == ("swiftoperator",)
    assert passwords.verify("demo-password", user_at(root, "demo").password)
    assert "password" not in capsys.readouterr().out


def test_existing_users_password_changes_when_given(root: Path) -> None:
    assert user_command(root, "add", "demo", "--project", "demo", "--password", "new") == 0
    assert passwords.verify("new", user_at(root, "demo").password)


def test_user_is_added_to_a_domain(root: Path) -> None:
    assert user_command(root, "add", "demo", "--project", "demo", "--domain", "Other") == 0
    added = [user for user in directory_at(root).users if user.name == "demo" and user.domain_id == "d-other"]
    assert [dict(user.project_roles) for user in added] == [{"p-far": ("swiftoperator",)}]


def test_removed_user_is_gone_and_the_project_stays(root: Path) -> None:
    assert user_command(root, "remove", "demo") == 0
    directory = directory_at(root)
    assert not [user for user in directory.users if user.id == "u-demo"]
    assert directory.get_project("p-demo")


def test_removal_from_a_project_leaves_the_others(root: Path) -> None:
    assert user_command(root, "remove", "demo", "--project", "demo") == 0
    assert list(user_at(root, "demo").project_roles) == ["p-closed"]


def test_list_is_a_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert user_command(root, "list") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["USER", "PROJECT", "ROLES", "DOMAIN", "ACCOUNT"]
    assert ["demo", "demo", "swiftoperator", "default", "AUTH_p-demo"] in lines
    assert ["gone", "(disabled)", "demo", "swiftoperator", "default", "AUTH_p-demo"] in lines


def test_list_for_programs_has_no_secrets(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert user_command(root, "list", "--json") == 0
    out = capsys.readouterr().out
    entries: list[dict[str, Any]] = json.loads(out)
    assert entries[0] == {
        "user": "demo",
        "user_id": "u-demo",
        "enabled": True,
        "domain": "default",
        "project": "demo",
        "project_id": "p-demo",
        "account": "AUTH_p-demo",
        "roles": ["swiftoperator"],
    }
    assert "scrypt" not in out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["add", "a\nb", "--project", "demo"], "NAME must be 1 to 255 printable characters"),
        (["add", "ann", "--project", ""], "--project must be 1 to 255 printable characters"),
        (["add", "ann", "--project", "demo", "--role", "a,b"], "--role must have no comma"),
        (["add", "ann", "--project", "demo", "--password", ""], "the password is empty"),
        (["add", "ann", "--project", "demo", "--password", "\udcff"], "the password must be printable UTF-8"),
        (["add", "ann", "--project", "demo", "--domain", "x"], "there is no domain x; the identity file has"),
        (["remove", "nobody"], "there is no user nobody in domain default; see `miniswift user list`"),
        (["remove", "demo", "--project", "service"], "user demo has no role in a project service"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    root: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = directory_at(root)
    assert user_command(root, *words) == 1
    assert complaint in capsys.readouterr().err
    assert directory_at(root) == before


def test_missing_file_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert user_command(tmp_path, "list") == 1
    assert "start `miniswift serve --root" in capsys.readouterr().err


def test_malformed_file_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc" / "identity.yaml").write_text("users: 5\n")
    assert user_command(root, "list") == 1
    assert "identity.yaml: " in capsys.readouterr().err
