"""Ring files: both of Swift's formats read, and every damaged one refused by name."""

import base64
import gzip
import json
import struct
from array import array

import pytest

from miniswift.errors import ConfigError
from miniswift.ring_file import RingData, RingError, read_ring_file, write_ring_file

# One ring, saved by swift-ring-builder in each format: 16 partitions, two and a half replicas, eight
# devices of which number 1 was removed again.
SWIFT_V1 = """
H4sICPQqhE0C/2dvbGRlbgAABgD5/1IxTkcAAQAAAP//zZPdaoQwEIWHqtvXEK+lmPjT0lcpRaxmNZCqxOyWdtkn701n
ZDftWihFcrEMJHPmhJMPogD+5yF6eTdi0I3Q0WMYKWmMElEcRo3YTzh5OlAna0Hu1FRkyQZFQs1IU5bcUTGyXoWpaEb9
OGiDfcETOqtFK4ceNZvFqGRdGZyUNoSdQ36655B0DnkTsu1IswSvxMHH0BMZO8Zhv1MqDi9xa4vLl7jcBS5fj3sJ2ljQ
dAmaugBN14HyX6DCgmbXDbq1oPkSNPsnKP8LNHP19K0FLZaguQvQ3BVoZ0Hvl6CFC9Bi7dM/04WVNuXUyS2d4A/fSWU9
7Hpz+rH2Qk+nj5AdAQK4BYAN1g12Ae6kPVQBlodqgyvMZ3xUPjrk0g6z580ZPlYAX8r1BYpVBQAA
"""
SWIFT_V2 = """
H4sICPQqhE0C/2dvbGRlbgAABgD5/1IxTkcAAgAAAP//YmAAA69qpZTUsvjMlPikypLUYiUrBSMdBaWCxKKS+OKMzLQS
kIAFUKQotSAnMzkxPjm/NA8sqGcKFC1LLSrOzM8D8g0NawEAAAD//8zR3QqCMBQAYC96kLFrif3ogl4lIsQtHZiKWkHR
4/Se7QgeckGE7KLt5vyMsw9OFMFZPXd3qs3F5oZuCe11RmNCrXYJg6CFKmdruBxaJzNkUIO4bbrBxUoweNuZwja1y/mY
tJXNs8FVDjiET0Peu9MQOQ65GluUkHPmvnSFW1ODjD9iUp+rKiZzbo5c4XNFCK5Yzp1DNUKlD5UhoHIZVHxADUKT/4Ye
EZr60ORHqPgGTUKtvkCo8qFpCGgaCloidONDVQioWrr6/QsAAP//HIyBDQAwCMLIFPfe/r9mFYlog1FKPdq6+KDDZuZy
QUYFDa7cNNQkm+5UssqPRv4AAAD//1yPS2oDQQxEnZsMszZYLal/uUrwQlKrnVnYEM+QLELunrYh2EQLUat6r3a72718
fM/r19K3w3W5nA6yrsvpcvbLts6v0xuFuJ8ClvEp5REp036a13fBmOaRMoTIbrUjKHHiVshAPSfRoF4dKoND0NaiWk8M
aCqlRIolE9UyH291D37zz8X8zg5Q91Mpg/yQeCI3yaUYcZGiGIy1E7SeY+4VGhOLRUBPuSob9yGFpJ4cMWYvtfT/5LNv
0mST++wxMg3mn8ETNmQU4k7SQZCFgILUBCwYWM0wQgyxpqbRLAeg0XlT8IxN3bjOx59fAAAA//8ACAD3/wAAAAAAAAVd
AAAA//8ACAD3/wAAAAAAAAFvAAAA//8BAAD//yJL7kPmBgAA
"""
SWIFT_ROWS = [
    [0, 5, 7, 0, 6, 6, 2, 7, 5, 6, 7, 0, 3, 2, 5, 5],
    [3, 7, 6, 3, 0, 0, 6, 4, 7, 4, 2, 3, 2, 4, 2, 0],
    [6, 3, 3, 5, 7, 4, 4, 5],
]


def device(number):
    return {"id": number, "ip": "127.0.0.1", "port": 6200, "device": f"sd{number}", "weight": 1.0}


def a_ring():
    return RingData([device(0), None, device(2)], [array("H", [0, 2]), array("H", [2, 0])], 31)


def v1(header, *rows):
    text = json.dumps(header).encode()
    return b"R1NG\0\1" + struct.pack("!I", len(text)) + text + b"".join(rows)


HEADER = {"devs": [device(0)], "part_shift": 31, "replica_count": 1, "byteorder": "little"}


@pytest.mark.parametrize("saved", [SWIFT_V1, SWIFT_V2])
def test_files_of_swift_are_read(tmp_path, saved):
    path = tmp_path / "object.ring.gz"
    path.write_bytes(base64.b64decode(saved))
    data = read_ring_file(path)
    assert [row.tolist() for row in data.rows] == SWIFT_ROWS
    assert data.part_shift == 28
    assert data.devices[1] is None
    assert data.devices[7]["device"] == "sdh"
    assert data.devices[7]["replication_port"] == 6300


def test_a_recompressed_v2_file_is_read(tmp_path):
    path = tmp_path / "object.ring.gz"
    path.write_bytes(gzip.compress(gzip.decompress(base64.b64decode(SWIFT_V2))))
    assert [row.tolist() for row in read_ring_file(path).rows] == SWIFT_ROWS


def test_a_v2_section_that_was_altered_is_refused(tmp_path):
    path = tmp_path / "object.ring.gz"
    content = gzip.decompress(base64.b64decode(SWIFT_V2))
    path.write_bytes(gzip.compress(content.replace(b"10.0.0.6", b"10.0.0.7")))
    with pytest.raises(RingError, match="swift/ring/devices does not match its sha256"):
        read_ring_file(path)


def test_what_is_written_is_read_again(tmp_path):
    write_ring_file(tmp_path / "r", a_ring())
    assert read_ring_file(tmp_path / "r") == a_ring()


def test_equal_rings_are_equal_files(tmp_path):
    write_ring_file(tmp_path / "one", a_ring())
    write_ring_file(tmp_path / "another", a_ring())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "another").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["another", "one"]


def test_a_ring_of_the_other_byte_order_is_read(tmp_path):
    path = tmp_path / "r"
    header = HEADER | {"devs": [device(0), device(1)], "byteorder": "big"}
    path.write_bytes(gzip.compress(v1(header, b"\0\0\0\1")))
    assert read_ring_file(path).rows[0].tolist() == [0, 1]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RingError) as caught:
        read_ring_file(tmp_path / "object.ring.gz")
    assert isinstance(caught.value, ConfigError)
    assert str(caught.value) == f"{tmp_path}/object.ring.gz: cannot be read: No such file or directory"


GOOD_ROW = b"\0\0\0\0"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "R1NG"),
        (b"R1NG", "unpack"),
        (b"R1NG\0\3" + GOOD_ROW, "version 3"),
        (b"R1NG\0\1\0\0\0\2[]", "attribute"),
        (b"R1NG\0\1\0\0\0\x09{not json", "Expecting"),
        (b"R1NG\0\2" + bytes(16), "utf-|Expecting"),
        (b"R1NG\0\2" + b"\xff" * 16, "is not a ring"),
        (v1(HEADER), "0 rows where 1"),
        (v1(HEADER | {"replica_count": 0}), "no replicas"),
        (v1(HEADER | {"replica_count": 2}, GOOD_ROW), "1 rows where 2"),
        (v1(HEADER, GOOD_ROW[:3]), "item size"),
        (v1(HEADER, b"\0\0\1\0"), "device 1, which it does not have"),
        (v1(HEADER | {"devs": [None]}, GOOD_ROW), "device 0, which it does not have"),
        (v1(HEADER | {"part_shift": 33}, GOOD_ROW), "part_shift is 33"),
        (v1(HEADER | {"part_shift": "x"}, GOOD_ROW), "not supported between"),
        (v1({"devs": [], "replica_count": 1}, GOOD_ROW), "part_shift"),
    ],
)
def test_a_file_that_is_no_ring_is_refused(tmp_path, content, problem):
    path = tmp_path / "account.ring.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(RingError, match=problem) as caught:
        read_ring_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"not gzip at all", gzip.compress(v1(HEADER, GOOD_ROW))[:40]])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "account.ring.gz"
    path.write_bytes(damage)
    with pytest.raises(RingError):
        read_ring_file(path)


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_ring_file(tmp_path / "taken", a_ring())
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
