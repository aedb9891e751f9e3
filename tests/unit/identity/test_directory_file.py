"""The text of the identity file."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from miniswift.identity import directory_file
from miniswift.identity.documents import DocumentError
from tests.unit.identity.conftest import sample_directory

HASH = "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def small(**changes: object) -> str:
    """A small good file with some of its parts replaced."""
    parts: dict[str, object] = {
        "roles": ["swiftoperator"],
        "domains": [{"id": "default", "name": "Default"}],
        "projects": [{"id": "p1", "name": "demo"}],
        "users": [{"id": "u1", "name": "ann", "password": HASH, "roles": {"demo": ["swiftoperator"]}}],
    }
    return yaml.safe_dump(parts | changes)


def user(**changes: object) -> str:
    return small(users=[{"id": "u1", "name": "ann", "password": HASH} | changes])


def test_what_is_written_is_read_back_the_same() -> None:
    directory = sample_directory()
    assert directory_file.parse(directory_file.render(directory)) == directory


def test_file_begins_by_explaining_itself() -> None:
    assert directory_file.render(sample_directory()).startswith("# miniswift's identity file: who may")


def test_roles_name_projects_by_name_or_by_id() -> None:
    by_name = directory_file.parse(user(roles={"demo": ["swiftoperator"]}))
    by_id = directory_file.parse(user(roles={"p1": ["swiftoperator"]}))
    assert by_name == by_id


BAD_FILES = [
    ("", "the document must be an object"),
    ("users: [", "line 1: not YAML"),
    ("[" * 2000, "not YAML"),
    ("a: &a [*a]", "means nothing here"),
    ("!!python/object/apply:os.getcwd []", "not YAML"),
    (small(usres=[]), "usres means nothing here; did you mean users?"),
    (small(domains=[]), "domains must have one with the id default"),
    (small(projects={"p1": "demo"}), "projects must be a list"),
    (small(projects=["demo"]), "projects[0] must be an object"),
    (small(projects=[{"id": "p1"}]), "projects[0].name is missing"),
    (small(projects=[{"id": "p1", "name": 12}]), "projects[0].name must be text, not a number"),
    (small(projects=[{"id": "p/1", "name": "x"}]), "projects[0].id must be 1 to 64"),
    (small(projects=[{"id": "p1", "name": "x\ny"}]), "projects[0].name must be 1 to 255 printable"),
    (small(projects=[{"id": "p1", "name": "x", "domain": "d"}]), "there is no domain with the id 'd'"),
    (small(projects=[{"id": "p1", "name": "a"}, {"id": "p1", "name": "b"}]), "two have the id 'p1'"),
    (small(projects=[{"id": "p1", "name": "a"}, {"id": "p2", "name": "a"}]), "two have the name 'a'"),
    (small(roles=["a,b"]), "roles[0] must have no comma"),
    (user(password="secret"), "users[0].password: not a password hash"),
    (user(enabled="maybe"), "users[0].enabled must be true or false"),
    (user(roles=["swiftoperator"]), "users[0].roles must be an object"),
    (user(roles={"demo": "swiftoperator"}), "users[0].roles.demo must be a list"),
    (user(roles={"demo": ["operator"]}), "'operator' is not among the roles"),
    (user(roles={"dmeo": ["swiftoperator"]}), "there is no project 'dmeo'"),
    (user(roles={"demo": [], "p1": []}), "stands there twice"),
    (user(domain_roles={"x": ["swiftoperator"]}), "there is no domain with the id 'x'"),
    (small(services=[{"type": "x", "public_url": "ftp://x"}]), "must be an http:// or https:// URL"),
    (small(services=[{"type": "x", "public_url": "http://x/%(user)s"}]), "%(user)s means nothing here"),
    (small(services=[{"type": "x", "public_url": "http://x/%(project_id)"}]), "looks like %(project_id)s"),
    (small(region="a\nb"), "region must be"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD_FILES)
def test_mistake_in_the_file_is_named(text: str, complaint: str) -> None:
    with pytest.raises(DocumentError) as raised:
        directory_file.parse(text)
    assert complaint in str(raised.value)


def test_complaint_about_a_password_does_not_show_it() -> None:
    with pytest.raises(DocumentError) as raised:
        directory_file.parse(user(password="hunter2"))
    assert "hunter2" not in str(raised.value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["roles", "domains", "projects", "users", "services", "region"]), JUNK)
def test_junk_in_the_file_is_refused_or_read_but_never_crashes(part: str, junk: object) -> None:
    try:
        directory_file.parse(small(**{part: junk}))
    except DocumentError:
        pass


@given(JUNK)
def test_junk_in_a_user_is_refused_or_read_but_never_crashes(junk: object) -> None:
    for name in ("id", "name", "password", "roles", "domain_roles", "domain", "enabled"):
        try:
            directory_file.parse(user(**{name: junk}))
        except DocumentError:
            pass
