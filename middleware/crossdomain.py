"""/crossdomain.xml: which sites' Flash and Silverlight programs may read answers (Adobe's policy file)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from miniswift import info
from miniswift.config import Settings, option, text
from miniswift.responses import Environ, Response, StartResponse
from miniswift.wsgi import WSGIApp

_START = """\
<?xml version="1.0"?>
<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >
<cross-domain-policy>
"""


@dataclasses.dataclass(frozen=True)
class CrossDomainSettings(Settings):
    """The options of [filter:crossdomain]."""

    cross_domain_policy: str = option(
        text, '<allow-access-from domain="*" secure="false" />', "what the policy file says"
    )


class CrossDomain:
    """The filter."""

    def __init__(self, app: WSGIApp, settings: CrossDomainSettings) -> None:
        self._app = app
        self._document = f"{_START}{settings.cross_domain_policy}\n</cross-domain-policy>".encode()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/crossdomain.xml" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        return Response(200, {"Content-Type": "application/xml"}, self._document)(environ, start_response)


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], CrossDomain]:
    settings = CrossDomainSettings.from_conf({**global_conf, **local_conf}, local_conf)
    info.register_swift_info("crossdomain")
    return lambda app: CrossDomain(app, settings)
