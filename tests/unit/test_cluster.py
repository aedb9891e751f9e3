"""swift.conf and the rings: the hash of names, policies, constraints, and what is refused."""

import pytest

from miniswift.cluster import Cluster, Policies, Policy
from miniswift.errors import ConfigError
from miniswift.ring import RingError
from miniswift.ring_builder import RingBuilder

HASH = "[swift-hash]\nswift_hash_path_suffix = changeme\n"


def load(tmp_path, text):
    (tmp_path / "swift.conf").write_text(text)
    return Cluster.load(tmp_path)


@pytest.mark.parametrize(
    ("names", "digest"),
    [
        (("AUTH_test",), "9d00c9d091fea9ea855f29c22714dc83"),
        (("AUTH_test", "c"), "26e5f92ddb812f3a145582033a81302f"),
        (("AUTH_test", "c", "o"), "7363996f2cfb95eaa18df19ccc31aece"),
        (("AUTH_test", "cont", "sp ace/☃"), "d6264e9b08dc77053f10ac20555bf76c"),
    ],
)
def test_names_are_hashed_as_swift_does(tmp_path, names, digest):
    assert load(tmp_path, HASH).hash_path(*names) == digest


def test_the_prefix_counts_too(tmp_path):
    cluster = load(tmp_path, HASH + "swift_hash_path_prefix = pre\n")
    assert cluster.hash_path("AUTH_test", "c", "o") == "a4a9276efd64db9d09505b3843e6c351"


def test_a_hash_beyond_ascii_is_taken_byte_for_byte(tmp_path):
    read = load(tmp_path, "[swift-hash]\nswift_hash_path_suffix = é☃\n")
    told = Cluster(tmp_path, hash_suffix="é☃".encode().decode("latin-1"))
    assert read.hash_path("a") == told.hash_path("a") != load(tmp_path, HASH).hash_path("a")


def test_a_name_that_is_no_text_can_be_hashed(tmp_path):
    assert len(load(tmp_path, HASH).hash_path("a", "c", "\udcff")) == 32


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"\[swift-hash\]: needs swift_hash_path_suffix or swift_hash_path_prefix"),
        ("[swift-hash]\nswift_hash_path_suffix =\n", "needs swift_hash_path_suffix"),
        ("no section\n", "cannot be read"),
        (HASH + "[swift-constraints]\nmax_file_size = big\n", "max_file_size: expected a whole number"),
        (HASH + "[storage-policy:1]\nname = one\n", r"there must be a \[storage-policy:0\]"),
        (HASH + "[storage-policy:x]\nname = one\n", "index must be a whole number"),
        (HASH + "[storage-policy:0]\n[storage-policy:00]\nname = b\n", "two policies share an index"),
        (HASH + "[storage-policy:0]\nname = A\n[storage-policy:1]\naliases = b, a\n", "share a name"),
        (HASH + "[storage-policy:0]\nname = a b\n", "letters, digits and dashes"),
        (HASH + "[storage-policy:0]\nname = ☃\n", "letters, digits and dashes"),
        (HASH + "[storage-policy:0]\ndefault = perhaps\n", "default: expected true or false"),
        (HASH + "[storage-policy:0]\ndefault = y\ndeprecated = y\n", "default policy cannot be deprecated"),
        (HASH + "[storage-policy:0]\ndefault = y\n[storage-policy:1]\ndefault = y\n", "only one policy"),
        (HASH + "[storage-policy:0]\npolicy_type = erasure_coding\n", "policy_type: only replication"),
    ],
)
def test_a_swift_conf_that_cannot_be_used_is_refused_by_name(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "swift.conf") in str(caught.value)


def test_a_missing_swift_conf_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"swift\.conf: cannot be read"):
        Cluster.load(tmp_path)


def test_constraints_have_swifts_defaults(tmp_path):
    limits = load(tmp_path, HASH).constraints
    assert (limits.max_file_size, limits.max_meta_count, limits.max_object_name_length) == (
        5368709122,
        90,
        1024,
    )
    assert limits.valid_api_versions == ("v1", "v1.0")


def test_constraints_can_be_set(tmp_path):
    text = HASH + "[swift-constraints]\nmax_file_size = 10\nvalid_api_versions = v1, v2\n"
    limits = load(tmp_path, text).constraints
    assert (limits.max_file_size, limits.valid_api_versions) == (10, ("v1", "v2"))


# --- policies -----------------------------------------------------------------------------------------

THREE = """
[storage-policy:0]
name = gold
aliases = yellow, orange
[storage-policy:1]
name = silver
default = yes
[storage-policy:7]
name = old
deprecated = true
"""


def test_without_sections_there_is_one_policy(tmp_path):
    policies = load(tmp_path, HASH).policies
    assert list(policies) == [Policy(0, "Policy-0", is_default=True)]
    assert policies.default.suffix == ""


def test_policies_are_found_by_index_and_name(tmp_path):
    policies = load(tmp_path, HASH + THREE).policies
    assert [policy.index for policy in policies] == [0, 1, 7]
    assert len(policies) == 3
    assert policies.default.name == "silver"
    assert policies.at(7) is policies.at("7") is policies.named("OLD")
    assert policies.named(" Orange ") is policies.at(0)
    assert policies.at(None) is policies.at(0)
    assert policies.at(7).suffix == "-7"
    assert policies.at(7).is_deprecated


@pytest.mark.parametrize("index", [2, "2", "x", "-1", "1.0"])
def test_an_index_without_a_policy_is_none(tmp_path, index):
    assert load(tmp_path, HASH + THREE).policies.at(index) is None


def test_a_name_without_a_policy_is_none(tmp_path):
    assert load(tmp_path, HASH + THREE).policies.named("bronze") is None


def test_policy_0_is_the_default_where_none_is_said(tmp_path):
    text = HASH + "[storage-policy:1]\nname = one\n[storage-policy:0]\nname = zero\n"
    assert load(tmp_path, text).policies.default.name == "zero"


# --- rings --------------------------------------------------------------------------------------------


def make_ring(path, port):
    builder = RingBuilder(4, 1)
    builder.add("127.0.0.1", port, "sdb1")
    builder.save(path)


def test_each_kind_and_policy_has_its_ring(tmp_path):
    for port, name in enumerate(["account", "container", "object", "object-7"], 6200):
        make_ring(tmp_path / f"{name}.ring.gz", port)
    cluster = load(tmp_path, HASH + THREE)
    rings = [
        cluster.ring("account"),
        cluster.ring("container", cluster.policies.at(7)),
        cluster.ring("object"),
        cluster.ring("object", cluster.policies.at(7)),
    ]
    assert [ring.devices[0].port for ring in rings] == [6200, 6201, 6202, 6203]
    assert cluster.ring("object", cluster.policies.at(0)) is rings[2]


def test_a_name_is_in_the_partition_of_its_hash(tmp_path):
    make_ring(tmp_path / "object.ring.gz", 6200)
    cluster = load(tmp_path, HASH)
    ring = cluster.ring("object")
    assert [cluster.part(ring, *("AUTH_test", "c", "o")[:count]) for count in (1, 2, 3)] == [9, 2, 7]


def test_a_missing_ring_is_named(tmp_path):
    with pytest.raises(RingError, match=r"container\.ring\.gz"):
        load(tmp_path, HASH).ring("container")


def test_two_clusters_live_side_by_side(tmp_path):
    one = Cluster(tmp_path, hash_suffix="one", policies=Policies([Policy(0, "a", is_default=True)]))
    two = Cluster(tmp_path, hash_suffix="two")
    assert one.hash_path("a") != two.hash_path("a")
    assert (one.policies.default.name, two.policies.default.name) == ("a", "Policy-0")
