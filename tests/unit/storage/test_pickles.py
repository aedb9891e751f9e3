"""Reading pickles as data."""

from __future__ import annotations

import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniswift.responses import Headers
from miniswift.storage.pickles import MAX_DEPTH, UnsafePickle, dumps, loads

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
)
plain_data = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner, inner, inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=5) | st.binary(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)

# As Python 2 and 3 spell swift.common.header_key_dict.HeaderKeyDict({"X-Timestamp": "1"}).
HEADER_KEY_DICT = (
    b"ccopy_reg\n_reconstructor\np0\n(cswift.common.header_key_dict\nHeaderKeyDict\np1\n"
    b"c__builtin__\ndict\np2\n(dp3\nVX-Timestamp\np4\nV1\np5\nstp6\nRp7\n."
)


@given(plain_data, st.integers(0, 5))
def test_plain_data_of_every_protocol_are_read(value, protocol):
    assert loads(pickle.dumps(value, protocol)) == value


@given(plain_data)
def test_what_is_written_is_read_by_python(value):
    assert pickle.loads(dumps(value)) == value


@given(st.binary(max_size=200))
def test_no_input_does_anything_but_raise_unsafe_pickle(data):
    _is_plain_or_refused(data)


@given(plain_data, st.integers(0, 4), st.data())
def test_a_damaged_pickle_is_plain_data_or_refused(value, protocol, data):
    pickled = bytearray(pickle.dumps(value, protocol))
    for _ in range(3):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    _is_plain_or_refused(bytes(pickled))


def _is_plain_or_refused(data):
    try:
        value = loads(data)
    except UnsafePickle:
        return
    _assert_plain(value)


def _assert_plain(value):
    assert type(value) in (dict, list, tuple, str, bytes, int, float, bool, type(None), Headers)
    if isinstance(value, dict):
        for key, item in value.items():
            _assert_plain(key)
            _assert_plain(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _assert_plain(item)


def test_a_header_key_dict_is_headers():
    headers = loads(HEADER_KEY_DICT)
    assert type(headers) is Headers
    assert headers["x-timestamp"] == "1"


def test_strings_of_python_2_are_text_or_on_demand_bytes():
    pickled = b"\x80\x02U\x04name."
    assert loads(pickled) == "name"
    assert loads(pickled, raw_strings=True) == b"name"
    assert loads(b"S'na\\x6de'\np0\n.") == "name"


class Harmful:
    def __reduce__(self):
        return print, ("harm",)


HOSTILE = {
    "calls a function": pickle.dumps(Harmful(), 2),
    "names a function": b"cos\nsystem\n.",
    "names a function of protocol 4": pickle.dumps(print, 4),
    "returns an allowed global": b"c_codecs\nencode\n.",
    "encodes otherwise": b"c_codecs\nencode\n(Vx\nVzlib\ntR.",
    "asks for bytes of a size": b"c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.",
    "asks for a memo of 16 GiB, which nothing reads": b"Nr\xff\xff\xff\x7f0",
    "changes the state of an allowed global": b"c_codecs\nencode\nV__name__\nVx\ns.",
    "builds": b"}(Va\nK\x01ub.",
    "holds itself": b"]q\x00h\x00a.",
    "grows exponentially": b"]q\x00" + b"".join(b"]q%ch%ch%ce" % (i, i - 1, i - 1) for i in range(1, 60)),
    "is nested too deeply": b"]" * (MAX_DEPTH + 2) + b"a" * (MAX_DEPTH + 1) + b".",
    "is nested a million deep": b")" + b"\x85" * 1_000_000 + b".",
    "has a key nested a million deep": b"}" + b")" + b"\x85" * 1_000_000 + b"Ns.",
    "calls what is nested a million deep": b")" + b"\x85" * 1_000_000 + b")R.",
    "names a global by what is nested a million deep": b")" + b"\x85" * 1_000_000 + b"Vx\n\x93.",
    "has a huge number": b"L" + b"9" * 5000 + b"L\n.",
    "has a huge number of protocol 2": b"\x8b\xff\xff\xff\x7f.",
    "announces more than there is": b"X" + struct.pack("<I", 2**31) + b"x.",
    "is empty": b"",
    "stops with nothing": b".",
    "leaves something on the stack": b"NN.",
    "is of an unknown protocol": b"\x80\x09N.",
    "is a persistent reference": b"Pid\n.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_pickle_is_refused(data):
    with pytest.raises(UnsafePickle):
        loads(data)


def test_too_large_an_input_is_refused():
    with pytest.raises(UnsafePickle):
        loads(b"N." + bytes(65 * 1024 * 1024))
