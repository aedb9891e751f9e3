from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.errors import TimestampError
from miniswift.timestamp import MAX_UNITS, RowTimes, Timestamp

T = Timestamp.parse("1700000000.12345")
times = st.builds(Timestamp, st.integers(0, MAX_UNITS - 1), st.one_of(st.just(0), st.integers(0, 2**64 - 1)))
plain_times = st.builds(Timestamp, st.integers(0, MAX_UNITS - 1))


@pytest.mark.parametrize(
    ("text", "internal"),
    [
        ("1700000000", "1700000000.00000"),
        ("1700000000.1", "1700000000.10000"),
        ("1700000000.123456789", "1700000000.12346"),
        ("1", "0000000001.00000"),
        ("0", "0000000000.00000"),
        ("1700000000.12345_1f", "1700000000.12345_000000000000001f"),
        ("1700000000.12345_0000000000000000", "1700000000.12345"),
        ("1.7e9", "1700000000.00000"),
        ("9999999999.99999", "9999999999.99999"),
    ],
)
def test_every_form_is_read(text: str, internal: str) -> None:
    assert Timestamp.parse(text).internal == internal


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "nan", "inf", "10000000000", "1_", "1_x", "1_-1", "1_1_1", "1." + "9" * 400 + "e999"]
    + ["1_" + "f" * 17, "1 2", "1.2.3", "0x10"],
)
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    with pytest.raises(TimestampError):
        Timestamp.parse(text)


def test_forms_of_one_instant() -> None:
    assert T.iso == "2023-11-14T22:13:20.123450"
    assert Timestamp(T.units, 1).internal == "1700000000.12345_0000000000000001"
    assert Timestamp(T.units, 31).short == "1700000000.12345_1f"
    assert T.inverted.normal == "8299999999.87654"
    assert T.http_date == "Tue, 14 Nov 2023 22:13:21 GMT"
    assert Timestamp.parse("1700000007.00000").iso == "2023-11-14T22:13:27.000000"


@given(times, times)
def test_text_order_is_time_order(one: Timestamp, other: Timestamp) -> None:
    assert (one.internal < other.internal) == (one < other)


@given(times)
def test_every_written_form_reads_back(time: Timestamp) -> None:
    assert Timestamp.parse(time.internal) == Timestamp.parse(time.short) == time
    assert Timestamp.parse(time.normal) == Timestamp(time.units)


# (data, content type, metadata, encoded), as real Swift encodes them
ENCODED = [
    ("1700000000.12345", "1700000000.12345", "1700000000.12345", "1700000000.12345"),
    ("1700000000.12345", "1700000010", "1700000005", "1700000000.12345+f1207-7a120"),
    ("1700000000.12345", "1700000000.12345", "1700000005", "1700000000.12345+0+770e7"),
    ("1700000000", "1700000010", "1700000010", "1700000000.00000+f4240+0"),
    ("1700000000_1f", "1700000000_1f", "1700000000_1f", "1700000000.00000_1f"),
    ("1700000000_1f", "1700000006", "1700000007", "1700000000.00000_1f+927c0+186a0"),
    ("1700000003", "1700000002", "1700000002", "1700000003.00000-186a0+0"),
]


@pytest.mark.parametrize(("data", "content_type", "meta", "encoded"), ENCODED)
def test_row_times_are_encoded_as_swift_does(data: str, content_type: str, meta: str, encoded: str) -> None:
    row_times = RowTimes(*map(Timestamp.parse, (data, content_type, meta)))

    assert row_times.encoded == encoded
    assert RowTimes.parse(encoded) == row_times


@given(times, plain_times, plain_times)
def test_row_times_read_back_but_for_offsets_of_the_later_two(
    data: Timestamp, content_type: Timestamp, meta: Timestamp
) -> None:
    read = RowTimes.parse(RowTimes(data, content_type, meta).encoded)

    assert read.data == data
    assert (read.content_type.units, read.meta.units) == (content_type.units, meta.units)


@pytest.mark.parametrize("text", ["", "+1", "1700000000+", "1700000000+g", "1+1+1+1", "1-fffffffff", "1+-1"])
def test_what_is_no_row_time_is_refused(text: str) -> None:
    with pytest.raises(TimestampError):
        RowTimes.parse(text)
