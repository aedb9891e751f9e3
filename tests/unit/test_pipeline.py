"""Pipelines made from files."""

from __future__ import annotations

import logging

import pytest

from miniswift.errors import ConfigError
from miniswift.pipeline import load_app, read_section
from miniswift.wsgi import Request


@pytest.fixture
def conf(tmp_path):
    def write(text):
        file = tmp_path / "proxy-server.conf"
        file.write_text(text)
        return file

    return write


def recording_app(global_conf, **local_conf):
    """A paste.app_factory for the tests below."""

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"end"]

    return app


def recording_filter(global_conf, **local_conf):
    """A paste.filter_factory that marks the request with its name."""

    def factory(app):
        def filtered(environ, start_response):
            environ.setdefault("seen", []).append(local_conf["mark"])
            return app(environ, start_response)

        return filtered

    return factory


RECORDING = f"""
[pipeline:main]
pipeline = one two end
[app:end]
paste.app_factory = {__name__}:recording_app
[filter:one]
paste.filter_factory = {__name__}:recording_filter
mark = 1
[filter:two]
paste.filter_factory = {__name__}:recording_filter
mark = 2
"""


def test_filters_run_in_the_order_of_the_pipeline(conf):
    request = Request.blank("/")
    assert request.call(load_app(conf(RECORDING))).read() == b"end"
    assert request.environ["seen"] == ["1", "2"]


def test_swifts_name_means_our_filter(conf):
    text = (
        RECORDING.replace("one two end", "healthcheck end")
        + "[filter:healthcheck]\nuse = egg:swift#healthcheck\n"
    )
    assert Request.blank("/healthcheck").call(load_app(conf(text))).read() == b"OK"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no-such\.conf"):
        load_app(tmp_path / "no-such.conf")


def test_a_section_that_the_pipeline_names_but_the_file_lacks_is_named(conf):
    with pytest.raises(ConfigError, match="three"):
        load_app(conf(RECORDING.replace("one two end", "one three end")))


def test_an_unknown_filter_is_named(conf):
    text = RECORDING.replace("one two end", "odd end") + "[filter:odd]\nuse = egg:miniswift#no_such_filter\n"
    with pytest.raises(ConfigError, match="no_such_filter"):
        load_app(conf(text))


def test_a_file_that_is_no_conf_file_is_named(conf):
    with pytest.raises(ConfigError, match=r"proxy-server\.conf"):
        load_app(conf("pipeline = nothing here has a section"))


def swift_dir(tmp_path):
    from miniswift.ring_builder import RingBuilder

    (tmp_path / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\n")
    for kind in ("account", "container", "object"):
        builder = RingBuilder(2, 1)
        builder.add("127.0.0.1", 6200, "d1")
        builder.rebalance()
        builder.save(tmp_path / f"{kind}.ring.gz")
    return tmp_path


PROXY = """
[DEFAULT]
swift_dir = {swift_dir}
[pipeline:main]
pipeline = healthcheck proxy-server
[app:proxy-server]
use = egg:swift#proxy
{option}
[filter:healthcheck]
use = egg:swift#healthcheck
"""


def test_filters_that_the_proxy_needs_are_inserted_where_they_belong(conf, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    app = load_app(conf(PROXY.format(swift_dir=swift_dir(tmp_path), option="")))
    names = [type(part).__module__.rpartition(".")[2] for part in app._pipeline]
    assert names == [
        "catch_errors", "gatekeeper", "copy", "dlo", "versioned_writes", "listing_formats",
        "healthcheck", "cors", "proxy",
    ]  # fmt: skip
    assert "filter gatekeeper is missing" in caplog.text


def test_a_filter_is_inserted_behind_the_first_access_log_not_the_last(conf, tmp_path):
    text = PROXY.replace("= healthcheck proxy-server", "= proxy-logging tempauth proxy-logging proxy-server")
    for name in ("proxy-logging", "tempauth"):
        text += f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n"
    app = load_app(conf(text.format(swift_dir=swift_dir(tmp_path), option="")))
    names = [type(part).__module__.rpartition(".")[2] for part in app._pipeline]
    first, auth = names.index("proxy_logging"), names.index("tempauth")
    assert all(first < names.index(name) < auth for name in ("cors", "listing_formats"))


def test_cors_takes_the_options_of_the_proxy(conf, tmp_path):
    folder = swift_dir(tmp_path)
    app = load_app(conf(PROXY.format(swift_dir=folder, option="cors_allow_origin = http://page")))
    answer = Request.blank("/healthcheck", "GET", {"Origin": "http://page"}).call(app)
    assert "Access-Control-Allow-Origin" not in answer.headers  # answered outside of cors
    answer = Request.blank("/v1/AUTH_a", "GET", {"Origin": "http://page"}).call(app)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://page"


def test_filters_ask_about_containers_behind_the_innermost_access_log(conf, tmp_path):
    text = PROXY.replace("= healthcheck proxy-server", "= proxy-logging domain proxy-logging proxy-server")
    text += "[filter:proxy-logging]\nuse = egg:swift#proxy_logging\n"
    text += "[filter:domain]\nuse = egg:swift#domain_remap\nstorage_domain = example.com\n"
    app = load_app(conf(text.format(swift_dir=swift_dir(tmp_path), option="")))
    inner = app._pipeline_request_logging_app
    names = [type(part).__module__.rpartition(".")[2] for part in inner._pipeline]
    assert names == ["proxy_logging", "proxy"]
    assert inner._pipeline[-1] is app._pipeline_final_app
    app._pipeline_final_app.logger.increment("account.info.infocache.hit")  # which they do there


def test_a_bad_value_is_reported_with_file_section_and_option(conf, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_app(conf(PROXY.format(swift_dir=swift_dir(tmp_path), option="node_timeout = soon")))
    message = str(caught.value)
    assert "proxy-server.conf" in message
    assert "[app:proxy-server]" in message
    assert "node_timeout: expected a number of seconds, not 'soon'" in message


def test_an_unknown_option_is_a_warning_with_the_nearest_name(conf, tmp_path, caplog):
    load_app(conf(PROXY.format(swift_dir=swift_dir(tmp_path), option="node_timeuot = 5")))
    assert "unknown option node_timeuot is ignored; did you mean node_timeout?" in caplog.text
    assert "[app:proxy-server]" in caplog.text


def test_swift_conf_without_a_hash_is_refused(conf, tmp_path):
    folder = swift_dir(tmp_path)
    (folder / "swift.conf").write_text("[swift-hash]\n")
    with pytest.raises(ConfigError, match="swift_hash_path_suffix"):
        load_app(conf(PROXY.format(swift_dir=folder, option="")))


def test_a_section_is_read_with_its_defaults(conf):
    file = conf("[DEFAULT]\na = 1\n[app:x]\nb = 2\n")
    assert read_section(file) == {"a": "1"}
    assert read_section(file, "app:x") == {"a": "1", "b": "2"}
    with pytest.raises(ConfigError, match=r"\[app:y\]: this section is missing"):
        read_section(file, "app:y")


def test_a_filter_of_swifts_that_is_not_there_is_explained(conf):
    text = RECORDING.replace("one two end", "odd end") + "[filter:odd]\nuse = egg:swift#no_such_filter\n"
    with pytest.raises(
        ConfigError, match=r"\[filter:odd\]: egg:swift#no_such_filter is no filter of miniswift"
    ):
        load_app(conf(text))
