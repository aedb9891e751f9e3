"""Options: casts, defaults, aliases, and messages that say where."""

import dataclasses
import logging

import pytest

from miniswift import config
from miniswift.config import ProcessSettings, Settings, option, option_names, reading, sample
from miniswift.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Example(Settings):
    """A table like any other."""

    node_timeout: float = option(config.seconds, "10", "seconds to wait")
    connections: int = option(config.positive, "2", "how many", "max_connections")
    hosts: tuple[str, ...] = option(config.words, "", "where", name="the-hosts")
    note: str = "not an option"


@pytest.mark.parametrize(
    ("cast", "text", "value"),
    [
        (config.text, "  a b ", "a b"),
        (config.boolean, " True", True),
        (config.boolean, "on", True),
        (config.boolean, "1", True),
        (config.boolean, "No", False),
        (config.boolean, "", False),
        (config.seconds, "0.5", 0.5),
        (config.seconds, "0", 0.0),
        (config.count, "0", 0),
        (config.positive, "1", 1),
        (config.port, "65535", 65535),
        (config.words, " a, b c ,,", ("a", "b c")),
        (config.words, "", ()),
        (config.spaced_words, " a, b  c", ("a", "b", "c")),
        (config.workers, "auto", 0),
        (config.workers, "4", 4),
        (config.bytes_or_percent, "1%", (1.0, True)),
        (config.bytes_or_percent, "1024", (1024.0, False)),
        (config.bytes_or_percent, "0.5 %", (0.5, True)),
    ],
)
def test_casts(cast, text, value):
    assert cast(text) == value


@pytest.mark.parametrize(
    ("cast", "text"),
    [
        (config.boolean, "perhaps"),
        (config.seconds, "soon"),
        (config.seconds, "-1"),
        (config.seconds, "nan"),
        (config.seconds, "inf"),
        (config.count, "1.5"),
        (config.count, "-1"),
        (config.positive, "0"),
        (config.port, "65536"),
        (config.workers, "many"),
        (config.bytes_or_percent, "x%"),
        (config.bytes_or_percent, "101%"),
        (config.bytes_or_percent, "-1"),
        (config.bytes_or_percent, "nan"),
        (config.bytes_or_percent, ""),
    ],
)
def test_a_value_that_cannot_be_says_what_was_expected(cast, text):
    with pytest.raises(ValueError, match="expected"):
        cast(text)


@pytest.mark.parametrize(
    ("value", "truth"),
    [(None, False), ("", False), ("perhaps", False), ("No", False), (" YES ", True), ("1", True)],
)
def test_a_header_that_does_not_say_yes_says_no(value, truth):
    assert config.is_true(value) is truth


def test_defaults():
    assert Example() == Example.from_conf({}) == Example(10.0, 2, ())


def test_options_are_read_by_name_and_alias():
    conf = {"node_timeout": "3", "max_connections": "5", "the-hosts": "a,b", "note": "x"}
    assert Example.from_conf(conf) == Example(3.0, 5, ("a", "b"))


def test_the_name_comes_before_its_alias():
    assert Example.from_conf({"max_connections": "5", "connections": "4"}).connections == 4


def test_a_bad_value_is_refused_with_its_place():
    with reading("/etc/proxy.conf", "filter:x"), pytest.raises(ConfigError) as caught:
        Example.from_conf({"max_connections": "none"})
    assert str(caught.value) == (
        "/etc/proxy.conf: [filter:x]: max_connections: expected a whole number, not 'none'"
    )


def test_an_unknown_option_is_named_with_the_nearest(caplog):
    with reading("/etc/proxy.conf", "filter:x"):
        Example.from_conf({}, {"node_timeuot": "1", "zzz": "1", "node_timeout": "1"})
    assert caplog.messages == [
        "/etc/proxy.conf: [filter:x]: unknown option node_timeuot is ignored; did you mean node_timeout?",
        "/etc/proxy.conf: [filter:x]: unknown option zzz is ignored",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_options_of_everybody_and_of_others_are_not_named(caplog):
    own = {"use": "egg:x", "set log_level": "INFO", "log_name": "x", "other": "1", "prefix_a": "1"}
    Example.from_conf({}, own, also=("other", "prefix_*"))
    assert not caplog.messages


def test_a_place_is_forgotten_afterwards(caplog):
    with reading("/etc/proxy.conf", "filter:x"):
        pass
    Example.from_conf({}, {"zzz": "1"})
    assert caplog.messages == ["configuration: []: unknown option zzz is ignored"]


def test_a_table_shows_itself_as_a_sample():
    assert option_names(Example) == ["node_timeout", "connections", "max_connections", "the-hosts"]
    assert sample(Example) == (
        "# seconds to wait\n# node_timeout = 10\n\n# how many\n# connections = 2\n\n# where\n# the-hosts =\n"
    )
    assert "node_timeout" not in sample(Example, leave_out=frozenset(["node_timeout"]))


def test_every_server_has_the_usual_options():
    settings = ProcessSettings.from_conf({"bind_port": "8080", "workers": "auto"})
    assert (settings.bind_port, settings.workers, settings.swift_dir) == (8080, 0, "/etc/swift")


def test_an_error_can_be_told_where_it_happened():
    error = ConfigError("is wrong", option="x").within(file="f", section="s")
    assert str(error) == "f: [s]: x: is wrong"
    assert str(error.within(file="other")) == "f: [s]: x: is wrong"
