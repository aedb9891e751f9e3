"""A process that serves the identity service of a conf file on a free port of loopback, and prints its URL.

Real clients block the process they run in, so the service needs one of its own.
"""

from __future__ import annotations

import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from paste.deploy import loadapp


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the overridden name
        pass


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, None, handler_class=QuietHandler)
    url = f"http://127.0.0.1:{server.server_port}"
    server.set_app(loadapp(f"config:{sys.argv[1]}", global_conf={"public_url": url}))
    print(url, flush=True)
    server.serve_forever()
