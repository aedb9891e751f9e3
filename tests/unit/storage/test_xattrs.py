"""Metadata in extended attributes."""

from __future__ import annotations

import errno
import os

import pytest
import xattr
from hypothesis import given
from hypothesis import strategies as st

from miniswift.storage import pickles, xattrs
from miniswift.storage.disk_errors import NoRoomForMetadata
from miniswift.wsgi import to_wsgi

METADATA = {
    "X-Timestamp": "1700000000.12345",
    "Content-Type": "text/plain",
    "Content-Length": "5",
    "ETag": "5d41402abc4b2a76b9719d911017c592",
    "X-Object-Meta-Snow": to_wsgi("☃"),
    "name": "/AUTH_test/c/☃",
}
# What CPython makes of {b"ETag": b"abc", b"name": "/a/c/é" as UTF-8}, protocol 2.
GOLDEN = (
    b"\x80\x02}q\x00(c_codecs\nencode\nq\x01X\x04\x00\x00\x00ETagq\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04Rq\x05"
    b"h\x01X\x03\x00\x00\x00abcq\x06h\x03\x86q\x07Rq\x08h\x01X\x04\x00\x00\x00nameq\th\x03\x86q\nRq\x0b"
    b"h\x01X\t\x00\x00\x00/a/c/\xc3\x83\xc2\xa9q\x0ch\x03\x86q\rRq\x0eu."
)


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_what_is_written_is_read_from_descriptor_and_path(file, tmp_path):
    xattrs.write(file, METADATA)
    assert xattrs.read(file) == METADATA
    assert xattrs.read(str(tmp_path / "file")) == METADATA


def test_the_pickle_is_the_one_swift_writes():
    assert xattrs.encode({"ETag": "abc", "name": "/a/c/é"}) == GOLDEN
    assert xattrs.decode(GOLDEN) == {"ETag": "abc", "name": "/a/c/é"}


def test_metadata_of_python_2_are_raw_utf_8():
    written = b"\x80\x02}(U\x04nameU\x05/a/\xc3\xa9U\x04Snow\x55\x03\xe2\x98\x83u."
    assert xattrs.decode(written) == {"name": "/a/é", "Snow": to_wsgi("☃")}


@given(st.dictionaries(st.text(min_size=1, max_size=300), st.text(max_size=300), max_size=60))
def test_both_ways_of_reading_agree(texts):
    pickled = xattrs.encode({to_wsgi(name): to_wsgi(value) for name, value in texts.items()})
    opcode_by_opcode = pickles.loads(pickled, raw_strings=True)
    assert xattrs.decode(pickled) == {
        name.decode("utf-8"): value.decode("utf-8") for name, value in opcode_by_opcode.items()
    }


@pytest.mark.parametrize(
    ("there", "instead"),
    [(b"X\x03", b"X\x02"), (b"abc", b"abcd"), (b"h\x03\x86q\x07", b"h\x01\x86q\x07"), (b"u.", b"s.")],
)
def test_a_pickle_that_only_looks_like_ours_is_refused(there, instead):
    assert GOLDEN.count(there) == 1
    with pytest.raises((xattrs.BadMetadata, pickles.UnsafePickle)):
        xattrs.decode(GOLDEN.replace(there, instead))


def test_metadata_are_cut_into_attributes_and_joined(file, monkeypatch):
    monkeypatch.setattr(xattrs, "PIECE_SIZE", 100)
    xattrs.write(file, METADATA)
    assert len(xattr.listxattr(file)) > 4
    assert xattrs.read(file) == METADATA


def test_attributes_of_old_writers_are_joined(file):
    pickled = xattrs.encode({"X-Object-Meta-Long": "x" * 600})
    for number, start in enumerate(range(0, len(pickled), 254)):
        xattr.setxattr(file, f"{xattrs.KEY}{number or ''}", pickled[start : start + 254])
    assert xattrs.read(file) == {"X-Object-Meta-Long": "x" * 600}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        pickles.dumps([1]),
        pickles.dumps({b"a": [b"b"]}),
        b"\x80\x02}U\x01a]s.",
        b"cos\nsystem\n.",
    ],
)
def test_bad_metadata_are_refused(file, value):
    xattr.setxattr(file, xattrs.KEY, value)
    with pytest.raises(xattrs.BadMetadata):
        xattrs.read(file)


def test_a_flipped_bit_is_noticed(file):
    xattrs.write(file, METADATA)
    xattr.setxattr(file, xattrs.KEY, xattrs.encode({**METADATA, "Content-Length": "6"}))
    with pytest.raises(xattrs.BadMetadata, match="checksum"):
        xattrs.read(file)


def test_metadata_without_a_checksum_are_read(file):
    xattr.setxattr(file, xattrs.KEY, xattrs.encode(METADATA))
    assert xattrs.read(file) == METADATA


def test_a_file_without_metadata_is_refused(file):
    with pytest.raises(xattrs.BadMetadata):
        xattrs.read(file)


def test_a_file_that_is_gone_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        xattrs.read(str(tmp_path / "gone"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.E2BIG])
def test_metadata_that_do_not_fit_are_named_as_the_reason(file, code, monkeypatch):
    def refuse(*_args):
        raise OSError(code, "refused")

    monkeypatch.setattr(xattr, "setxattr", refuse)
    with pytest.raises(NoRoomForMetadata, match="do not fit into the extended attributes"):
        xattrs.write(file, METADATA)


wsgi_strings = st.text(st.characters(max_codepoint=255))
header_names = st.text(st.characters(max_codepoint=255), min_size=1).filter(lambda name: name != "name")


@given(st.dictionaries(header_names, wsgi_strings))
def test_any_headers_survive(metadata):
    assert xattrs.decode(xattrs.encode(metadata)) == metadata
