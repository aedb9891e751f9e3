"""Access control lists: what is stored, who is admitted, what is refused with which reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.middleware.acl import (
    clean_acl,
    format_account_acl,
    parse_account_acl,
    parse_acl,
    stored_account_acl,
)

READ, WRITE = "X-Container-Read", "X-Container-Write"

CLEAN = [
    ("", ""),
    (" , ,", ""),
    ("bob, sue", "bob,sue"),
    ("bob,,,sue", "bob,sue"),
    ("bob , sue:*", "bob,sue:*"),
    ("account:user,*:*", "account:user,*:*"),
    (".r:*", ".r:*"),
    (".r:*, .rlistings", ".r:*,.rlistings"),
    (".ref:*", ".r:*"),
    (".referer : host.example", ".r:host.example"),
    (".referrer:*.example.com", ".r:.example.com"),
    (".r:.example.com,.r:-thief.example.com", ".r:.example.com,.r:-thief.example.com"),
    (" .r : - *.example.com ", ".r:-.example.com"),
    (".dotted", ".dotted"),
    # a role, as `swift post -r:Role` sends it and spelled out
    (":Reader", "Reader"),
    ("-r:Reader", "Reader"),
    ("-r: Reader", "Reader"),
    (":*", ".r:*"),
    ("-r:*", ".r:*"),
    ("-r:*,.rlistings,:Auditor", ".r:*,.rlistings,Auditor"),
]

REFUSED_FOR_READING = [
    ".r:", ".r: ,bob", ".r:-", ".r:.", ".r:*.", ".r:- - ", ".unknown:x", ".x:*", ".r :", "-", ":", "-r",
    "-r:", "-reader", "--Reader", "-w:Writer", "-R:Reader", ": ", ":a:b", "-r:a:b", ":.r:*", "::Reader",
    "-r:-Reader", ":-x", "bob,-thief",
]  # fmt: skip

REFUSED_FOR_WRITING = [".r:*", ".ref:host", ":*", "-r:*", "-r:Reader", "-w:Writer", "bob,.r:*"]


@pytest.mark.parametrize(("sent", "stored"), CLEAN)
def test_what_is_stored_is_canonical(sent, stored):
    assert clean_acl(READ, sent) == stored


@pytest.mark.parametrize("sent", REFUSED_FOR_READING)
def test_what_means_nothing_is_refused_with_a_reason(sent):
    with pytest.raises(ValueError, match="ACL: "):
        clean_acl(READ, sent)


@pytest.mark.parametrize("sent", REFUSED_FOR_WRITING)
def test_write_acls_name_no_referrers_or_readers(sent):
    with pytest.raises(ValueError, match="ACL: "):
        clean_acl(WRITE, sent)


def test_a_role_may_be_given_to_writers_the_short_way():
    assert clean_acl(WRITE, ":Writer, bob") == "Writer,bob"


@given(st.text(alphabet=st.sampled_from(".r:-*,refl /abXé%☃ \t"), max_size=40))
def test_cleaning_twice_changes_nothing(sent):
    try:
        stored = clean_acl(READ, sent)
    except ValueError:
        return
    assert clean_acl(READ, stored) == stored


@given(st.text())
def test_parsing_never_fails(stored):
    acl = parse_acl(stored)
    acl.admits_referrer(stored)


@pytest.mark.parametrize(
    ("stored", "groups"),
    [
        (None, set()),
        ("", set()),
        ("a,b:c,.rlistings", {"a", "b:c", ".rlistings"}),
        (".r:*,a", {"a"}),
        ("with%2Ccomma", {"with,comma"}),
        ("J%C3%BCrgen", {"Jürgen"}),
        ("Jürgen".encode().decode("latin-1"), {"Jürgen"}),
        ("bad%FF", {"bad%FF"}),
    ],
)
def test_groups_are_text(stored, groups):
    assert parse_acl(stored).groups == groups


REFERRERS = [
    (".r:*", "http://anywhere/", True),
    (".r:*", None, True),
    ("bob", "http://anywhere/", False),
    (".r:host.example", "http://host.example/page", True),
    (".r:host.example", "http://HOST.example:8080/page", True),
    (".r:host.example", "http://other.host.example/", False),
    (".r:host.example", None, False),
    (".r:host.example", "host.example", False),
    (".r:.example", "http://a.b.example/", True),
    (".r:.example", "http://notexample/", False),
    (".r:.example", "http://example/", False),
    (".r:*,.r:-thief.example", "http://thief.example/", False),
    (".r:*,.r:-.thief.example", "http://www.thief.example/", False),
    (".r:*,.r:-.thief.example", "http://thief.example/", True),
    (".r:-thief.example,.r:*", "http://thief.example/", True),
    (".r:*,.r:-unknown", None, False),
    (".r:*,.r:-unknown", "http://[", False),
    (".r:*,.r:-*", "http://anywhere/", True),
    (".r:unknown", "http://[::1", True),
]


@pytest.mark.parametrize(("stored", "referer", "admitted"), REFERRERS)
def test_the_last_referrer_rule_that_matches_decides(stored, referer, admitted):
    assert parse_acl(stored).admits_referrer(referer) is admitted


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("[]", "Syntax error"),
        ("{", "Syntax error"),
        ("null", "Syntax error"),
        ("[" * 100_000, "Syntax error"),
        ('{"write": []}', 'Key "write" not recognized'),
        ('{"admin": "bob"}', 'Value for key "admin" must be a list'),
        ('{"admin": [1]}', 'Elements of "admin" list must be strings'),
    ],
)
def test_what_is_no_account_acl_is_refused_with_a_reason(sent, reason):
    with pytest.raises(ValueError, match=reason):
        parse_account_acl(sent)


def test_account_acls_go_there_and_back():
    acl = {"admin": ["a"], "read-only": ["Jürgen"]}
    value = format_account_acl(acl)
    assert value == '{"admin":["a"],"read-only":["J\\u00fcrgen"]}'
    assert parse_account_acl(value) == acl


def test_an_empty_account_acl_is_no_acl():
    assert parse_account_acl("") == {}


def test_stored_account_acls_may_have_keys_of_others():
    acl = stored_account_acl('{"VERSION": 1, "admin": ["a", 3], "read-only": "odd"}')
    assert acl == {"admin": {"a"}, "read-write": frozenset(), "read-only": frozenset()}
