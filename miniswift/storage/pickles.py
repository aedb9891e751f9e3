"""Pickles as data: Swift's files and messages read without running what they say.

Swift keeps metadata, asynchronous updates, suffix hashes and pending rows as pickles. What lies on a
disk or comes over the network may be hostile, so this is a machine of its own for the opcodes that
plain data needs. Python's is not used for reading: restricted by a `find_class` it still lets a few
bytes ask for gigabytes (the memo's index) or change the classes it was allowed to touch (BUILD).

1. The result is made of dict, list, tuple, str, bytes, int, float, bool, None and `Headers` only.
2. The work is linear in the size of the input; a container is never shared and never holds itself.
3. Anything else, and anything malformed, is UnsafePickle; no other exception leaves `loads`.

Writing is Python's own, protocol 2: readers look for the way it spells bytes (see `storage.xattrs`).
"""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable
from types import FunctionType
from typing import Any

from miniswift.errors import MiniswiftError
from miniswift.responses import Headers

MAX_SIZE = 64 * 1024 * 1024  # bytes; hashes of the largest partition stay far below
MAX_DEPTH = 16  # containers inside containers
_MAX_DIGITS = 1024  # of an integer; Swift writes none above 64 bits


class UnsafePickle(MiniswiftError, ValueError):
    """Raised when a pickle is malformed or is more than plain data."""


def dumps(value: Any) -> bytes:
    """A pickle of plain data that every Swift reads."""
    return pickle.dumps(value, 2)


def loads(data: bytes, *, raw_strings: bool = False) -> Any:
    """The value that `data` spells. Raises UnsafePickle.

    Strings that Python 2 wrote are bytes with `raw_strings`, and else text, which must be ASCII.
    """
    if len(data) > MAX_SIZE:
        raise UnsafePickle(f"{len(data)} bytes are more than a pickle may have")
    try:
        value = _Machine(data, raw_strings).run()
    except UnsafePickle:
        raise
    # What the operations below raise for operands that are not there or not of the right type.
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise UnsafePickle(f"malformed: {error!r}") from None
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, allowed: int) -> None:
    if type(value) in _LEAVES:
        return
    if type(value) not in _CONTAINERS:
        raise UnsafePickle(f"the value is or holds a {type(value).__name__}")
    if not allowed:
        raise UnsafePickle(f"containers are nested deeper than {MAX_DEPTH}")
    for item in value.values() if isinstance(value, dict) else value:
        if type(item) not in _LEAVES:
            _check_depth(item, allowed - 1)


_LEAVES = frozenset([str, bytes, int, float, bool, type(None)])
_CONTAINERS = frozenset([dict, list, tuple, Headers])
_KEYS = frozenset([str, bytes, int])


# --- the globals that may be named: each a function of the arguments that REDUCE gives it ---------


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    # How protocols 0 to 2 spell bytes.
    if encoding != "latin1":
        raise UnsafePickle(f"encoding {encoding!r} is not how bytes are written")
    return text.encode("latin-1")


def _reconstruct(made: Any, base: Any, state: Any) -> Headers:
    # How protocols 0 and 1 spell an instance of a subclass of dict.
    if made is not _headers or base is not _dict or type(state) is not dict:
        raise UnsafePickle("only HeaderKeyDict can be reconstructed")
    return Headers(state)


def _headers() -> Headers:
    return Headers()


def _dict() -> dict[Any, Any]:
    return {}


def _no_bytes() -> bytes:
    return b""


_GLOBALS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("copy_reg", "_reconstructor"): _reconstruct,
    ("copyreg", "_reconstructor"): _reconstruct,
    ("swift.common.header_key_dict", "HeaderKeyDict"): _headers,
    ("__builtin__", "dict"): _dict,
    ("builtins", "dict"): _dict,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}


# --- the machine ----------------------------------------------------------------------------------

_u2 = struct.Struct("<H").unpack_from
_i4 = struct.Struct("<i").unpack_from
_u4 = struct.Struct("<I").unpack_from
_u8 = struct.Struct("<Q").unpack_from
_f8 = struct.Struct(">d").unpack_from


class _Machine:
    """One run over one pickle: a stack, a memo and a position (bytes)."""

    __slots__ = ("at", "data", "marks", "memo", "raw_strings", "stack")

    def __init__(self, data: bytes, raw_strings: bool) -> None:
        self.data = data
        self.raw_strings = raw_strings
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        # The two opcodes that rows mostly consist of are done here and not by the table.
        data, stack, memo = self.data, self.stack, self.memo
        while True:
            at = self.at
            opcode = data[at]
            self.at = at + 1
            if opcode == 0x71:  # BINPUT
                memo[data[at + 1]] = stack[-1]
                self.at = at + 2
            elif opcode == 0x58:  # BINUNICODE
                self.push_text(self.take(_u4(self.take(4))[0]))
            elif opcode == 0x2E:  # STOP
                (value,) = stack
                return value
            else:
                operation = _OPERATIONS.get(opcode)
                if operation is None:
                    raise UnsafePickle(f"opcode {opcode:#04x} is not one of plain data")
                operation(self)

    def take(self, size: int) -> bytes:
        start = self.at
        self.at = end = start + size
        taken = self.data[start:end]
        if len(taken) != size:
            raise UnsafePickle("it ends in the middle of an operand")
        return taken

    def line(self) -> bytes:
        end = self.data.index(b"\n", self.at)
        taken = self.data[self.at : end]
        self.at = end + 1
        return taken

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        height = self.marks.pop()
        items = self.stack[height:]
        del self.stack[height:]
        return items

    def reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if type(arguments) is not tuple or type(function) is not FunctionType:
            raise UnsafePickle("something else than an allowed global is called")
        self.stack[-1] = function(*arguments)

    def new_object(self) -> None:
        # How protocol 2 makes an instance of a subclass of dict; its items follow.
        arguments, made = self.stack.pop(), self.stack.pop()
        if made is not _headers or arguments != ():
            raise UnsafePickle("only HeaderKeyDict can be made")
        self.push(Headers())

    def name_global(self, module: Any, name: Any) -> None:
        # The types come first: hashing tuples nested a million deep would end the process.
        if not type(module) is type(name) is str:
            raise UnsafePickle("a global's name is not text")
        function = _GLOBALS.get((module, name))
        if function is None:
            raise UnsafePickle(f"global {module:.40}.{name:.40} is not one of plain data")
        self.push(function)

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise UnsafePickle("items are set on something else than a dict")
        keys = pairs[::2]
        if not _KEYS.issuperset(map(type, keys)):
            raise UnsafePickle("a key is neither text, bytes nor a number")
        target.update(zip(keys, pairs[1::2], strict=True))

    def append_all(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise UnsafePickle("something is appended to what is no list")
        target.extend(items)

    def push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise UnsafePickle("the stack is too short for a tuple")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def push_dict(self, pairs: list[Any]) -> None:
        self.push({})
        self.set_items(pairs)

    def push_string(self, value: bytes) -> None:
        self.push(value if self.raw_strings else value.decode("ascii"))

    def push_quoted(self) -> None:
        quoted = self.line()
        if len(quoted) < 2 or quoted[0] != quoted[-1] or quoted[:1] not in (b"'", b'"'):
            raise UnsafePickle("a string is not quoted")
        self.push_string(codecs.escape_decode(quoted[1:-1])[0])

    def push_number(self, text: bytes) -> None:
        if text in (b"00", b"01"):  # how protocols 0 and 1 spell False and True
            self.push(text == b"01")
        elif len(text) > _MAX_DIGITS:
            raise UnsafePickle("a number has too many digits")
        else:
            self.push(int(text))

    def push_long(self, size: int) -> None:
        if size > _MAX_DIGITS:
            raise UnsafePickle("a number has too many digits")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def push_text(self, encoded: bytes) -> None:
        self.push(str(encoded, "utf-8", "surrogatepass"))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.push(_unshared(self.memo[index]))

    def skip_frame(self) -> None:
        self.take(8)  # how much to read ahead

    def check_protocol(self) -> None:
        if self.take(1)[0] > 5:
            raise UnsafePickle("the protocol is unknown")


def _unshared(value: Any) -> Any:
    # Swift's data are trees. Fetching a container again is how cycles and exponential growth start.
    if isinstance(value, (dict, list)) or (type(value) is tuple and value):
        raise UnsafePickle("a container is used twice")
    return value


_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord(opcode): operation
    for opcode, operation in {
        "\x80": _Machine.check_protocol,
        "\x95": _Machine.skip_frame,
        "(": lambda m: m.marks.append(len(m.stack)),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "I": lambda m: m.push_number(m.line()),
        "L": lambda m: m.push_number(m.line().rstrip(b"L")),
        "J": lambda m: m.push(_i4(m.take(4))[0]),
        "K": lambda m: m.push(m.take(1)[0]),
        "M": lambda m: m.push(_u2(m.take(2))[0]),
        "\x8a": lambda m: m.push_long(m.take(1)[0]),
        "\x8b": lambda m: m.push_long(_u4(m.take(4))[0]),
        "F": lambda m: m.push(float(m.line())),
        "G": lambda m: m.push(_f8(m.take(8))[0]),
        "S": _Machine.push_quoted,
        "T": lambda m: m.push_string(m.take(_u4(m.take(4))[0])),
        "U": lambda m: m.push_string(m.take(m.take(1)[0])),
        "V": lambda m: m.push(str(m.line(), "raw-unicode-escape")),
        "\x8c": lambda m: m.push_text(m.take(m.take(1)[0])),
        "\x8d": lambda m: m.push_text(m.take(_u8(m.take(8))[0])),
        "B": lambda m: m.push(m.take(_u4(m.take(4))[0])),
        "C": lambda m: m.push(m.take(m.take(1)[0])),
        "\x8e": lambda m: m.push(m.take(_u8(m.take(8))[0])),
        ")": lambda m: m.push(()),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "\x85": lambda m: m.push_tuple(1),
        "\x86": lambda m: m.push_tuple(2),
        "\x87": lambda m: m.push_tuple(3),
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m.pop_to_mark()),
        "a": lambda m: m.append_all([m.stack.pop()]),
        "e": lambda m: m.append_all(m.pop_to_mark()),
        "}": lambda m: m.push({}),
        "d": lambda m: m.push_dict(m.pop_to_mark()),
        "s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "p": lambda m: m.put(int(m.line()[:10])),
        "r": lambda m: m.put(_u4(m.take(4))[0]),
        "\x94": lambda m: m.put(len(m.memo)),
        "g": lambda m: m.get(int(m.line()[:10])),
        "h": lambda m: m.get(m.take(1)[0]),
        "j": lambda m: m.get(_u4(m.take(4))[0]),
        "c": lambda m: m.name_global(str(m.line(), "ascii"), str(m.line(), "ascii")),
        "\x93": lambda m: m.name_global(m.stack.pop(-2), m.stack.pop()),
        "R": _Machine.reduce,
        "\x81": _Machine.new_object,
    }.items()
}
