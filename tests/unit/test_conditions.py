"""Conditional requests and ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.conditions import MAX_RANGES, parse_range, ranges_asked, refusal

NOW = 1_700_000_000
BEFORE, AT, AFTER = (f"Tue, 14 Nov 2023 22:13:{second} GMT" for second in (19, 20, 21))

CONDITIONS = [
    ({}, None),
    ({"IF_MATCH": '"abc"'}, None),
    ({"IF_MATCH": "abc"}, None),
    ({"IF_MATCH": '"x", "abc"'}, None),
    ({"IF_MATCH": "*"}, None),
    ({"IF_MATCH": '"x"'}, 412),
    ({"IF_MATCH": 'W/"abc"'}, 412),
    ({"IF_MATCH": ""}, 412),
    ({"IF_NONE_MATCH": '"abc"'}, 304),
    ({"IF_NONE_MATCH": 'W/"abc"'}, 304),
    ({"IF_NONE_MATCH": "*"}, 304),
    ({"IF_NONE_MATCH": '"x"'}, None),
    ({"IF_NONE_MATCH": ""}, None),
    ({"IF_MODIFIED_SINCE": BEFORE}, None),
    ({"IF_MODIFIED_SINCE": AT}, 304),
    ({"IF_MODIFIED_SINCE": AFTER}, 304),
    ({"IF_UNMODIFIED_SINCE": BEFORE}, 412),
    ({"IF_UNMODIFIED_SINCE": AT}, None),
    ({"IF_MODIFIED_SINCE": "yesterday"}, None),
    ({"IF_UNMODIFIED_SINCE": "9" * 5000}, None),
    # Swift lets each condition count, where RFC 9110 13.2.2 has a tag make the date moot, and asks for
    # sameness before difference.
    ({"IF_NONE_MATCH": '"x"', "IF_MODIFIED_SINCE": AFTER}, 304),
    ({"IF_NONE_MATCH": '"x"', "IF_MODIFIED_SINCE": BEFORE}, None),
    ({"IF_MATCH": '"abc"', "IF_UNMODIFIED_SINCE": BEFORE}, 412),
    ({"IF_MATCH": '"abc"', "IF_UNMODIFIED_SINCE": AT}, None),
    ({"IF_MATCH": '"x"', "IF_NONE_MATCH": '"abc"'}, 304),
    ({"IF_MATCH": '"x"', "IF_MODIFIED_SINCE": AFTER}, 412),
    ({"IF_MODIFIED_SINCE": AFTER, "IF_UNMODIFIED_SINCE": BEFORE}, 304),
]


@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
def test_conditions(headers, status):
    assert refusal({f"HTTP_{name}": value for name, value in headers.items()}, "abc", NOW) == status


RANGES = [
    ("bytes=0-4", 10, [(0, 5)]),
    ("bytes=5-", 10, [(5, 10)]),
    ("bytes=-3", 10, [(7, 10)]),
    ("bytes=-30", 10, [(0, 10)]),
    ("bytes=8-30", 10, [(8, 10)]),
    ("Bytes=0-0, 9-9", 10, [(0, 1), (9, 10)]),
    ("bytes=0-1,20-30", 10, [(0, 2)]),
    ("bytes=10-", 10, []),
    ("bytes=-0", 10, []),
    ("bytes=" + "9" * 5000 + "-", 10, []),
    ("bytes=5-" + "9" * 5000, 10, [(5, 10)]),
    ("bytes=0-", 0, []),
    ("bytes=-5", 0, None),
    # Malformed: as if it had not been sent.
    ("bytes=5-3", 10, None),
    ("bytes=-", 10, None),
    ("bytes=5", 10, None),
    ("bytes=a-b", 10, None),
    ("bytes=--5", 10, None),
    ("bytes=+1-5", 10, None),
    ("bytes=1_0-", 10, None),
    ("bytes=٣-", 10, None),
    ("lines=0-4", 10, None),
    ("bytes", 10, None),
    ("", 10, None),
    # Hostile: more than two pairs that overlap, unordered, too many.
    ("bytes=0-5,1-6,2-7", 10, []),
    ("bytes=0-5,1-6,8-9", 10, [(0, 6), (1, 7), (8, 10)]),
    ("bytes=" + ",".join(f"{n * 10}-{n * 10 + 1}" for n in range(50)), 1000,
     [(n * 10, n * 10 + 2) for n in range(50)]),
    ("bytes=" + ",".join(f"{n * 10}-{n * 10 + 1}" for n in range(MAX_RANGES + 1)), 1000, []),
    ("bytes=" + ",".join(f"{n * 10}-{n * 10 + 1}" for n in range(8, 0, -1)), 1000, []),
    ("bytes=" + ",".join(f"{n * 10}-{n * 10 + 1}" for n in range(7, 0, -1)), 1000,
     [(n * 10, n * 10 + 2) for n in range(7, 0, -1)]),
]  # fmt: skip


@pytest.mark.parametrize(("header", "size", "ranges"), RANGES)
def test_ranges(header, size, ranges):
    assert ranges_asked({"HTTP_RANGE": header}, size, "abc", NOW) == ranges


IF_RANGES = [
    ('"abc"', [(0, 1)]),
    ('"x"', None),
    ('W/"abc"', None),
    (AT, [(0, 1)]),
    (BEFORE, None),
    (AFTER, None),
]


@pytest.mark.parametrize(("header", "ranges"), IF_RANGES)
def test_a_range_of_another_version_is_ignored(header, ranges):
    environ = {"HTTP_RANGE": "bytes=0-0", "HTTP_IF_RANGE": header}
    assert ranges_asked(environ, 10, "abc", NOW) == ranges


@given(st.text() | st.text("bytes=0123456789-, ").map("bytes={}".format), st.integers(0, 100))
def test_any_header_gives_ranges_within_the_object(header, size):
    for start, end in ranges_asked({"HTTP_RANGE": header}, size, "abc", NOW) or []:
        assert 0 <= start < end <= size


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted), min_size=1, max_size=5))
def test_what_is_sent_is_parsed(ranges):
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)
    assert parse_range(header) == [tuple(part) for part in ranges]
