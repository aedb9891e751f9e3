"""What the crash test calls a loss: its memory of what was acknowledged."""

from __future__ import annotations

import hashlib
from email.message import Message

import pytest

from tests.crash.ledger import Contradiction, Memory, Stored
from tests.functional.client import Answer

OLD = Stored.of_content(b"old", "text/plain", frozenset())
NEW = Stored.of_content(b"new", "text/plain", frozenset({("mark", "1")}))


def memory_of(state: Stored | None) -> Memory[Stored]:
    memory: Memory[Stored] = Memory()
    memory.attempt(state)
    memory.acknowledge(state)
    return memory


@pytest.mark.parametrize("found", [None, NEW, Stored(OLD.etag, 3, "text/html", OLD.items)])
def test_anything_but_what_was_acknowledged_is_a_contradiction(found: Stored | None) -> None:
    with pytest.raises(Contradiction):
        memory_of(OLD).see(found, settles=True)


def test_deleted_object_that_comes_back_is_a_contradiction() -> None:
    memory = memory_of(OLD)
    memory.attempt(None)
    memory.acknowledge(None)
    with pytest.raises(Contradiction, match="earlier"):
        memory.see(OLD, settles=True)


@pytest.mark.parametrize("found", [OLD, NEW])
def test_write_that_was_cut_off_happened_or_did_not(found: Stored) -> None:
    memory = memory_of(OLD)
    memory.attempt(NEW)
    memory.see(found, settles=True)
    with pytest.raises(Contradiction):
        memory.see(NEW if found is OLD else OLD, settles=True)


def test_listing_may_lag_behind_a_write_that_was_cut_off() -> None:
    memory = memory_of(OLD)
    memory.attempt(NEW)
    memory.see(NEW, settles=True)
    assert memory.listed == {OLD, NEW}


def test_metadata_make_half_of_the_state() -> None:
    memory = memory_of(NEW)
    with pytest.raises(Contradiction):
        memory.see(Stored.of_content(b"new", "text/plain", frozenset()), settles=True)


def test_content_that_is_not_its_etag_is_a_contradiction() -> None:
    headers = Message()
    headers["Etag"] = hashlib.md5(b"whole").hexdigest()
    headers["Content-Type"] = "text/plain"
    with pytest.raises(Contradiction, match="MD5"):
        Stored.of_answer(Answer(200, headers, b"who"))
