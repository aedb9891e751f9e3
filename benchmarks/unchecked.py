"""A filter in authtoken's place that checks nothing: everybody is the user that its section names.

What a store costs with it, beside what it costs with authtoken, is what checking tokens costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from miniswift.responses import Environ, StartResponse
from miniswift.wsgi import TOKEN_INFO, WSGIApp, environ_key


def filter_factory(_global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    """The section's options are headers of an identity, `_` for `-`."""
    identity: Environ = {environ_key(name.replace("_", "-")): value for name, value in local_conf.items()}
    identity |= {"HTTP_X_IDENTITY_STATUS": "Confirmed", TOKEN_INFO: {"token": {}}}

    def make(app: WSGIApp) -> WSGIApp:
        def unchecked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            environ.update(identity)
            return app(environ, start_response)

        return unchecked

    return make
