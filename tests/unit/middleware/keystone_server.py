"""A Keystone small enough for a test: real HTTP in a thread, v2.0 and v3, and a count of what was asked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE_PASSWORD = "service password"
CERTIFICATES = {
    "/v2.0/certificates/signing": "signing",
    "/v2.0/certificates/ca": "ca",
    "/v3/OS-SIMPLE-CERT/certificates": "signing",
    "/v3/OS-SIMPLE-CERT/ca": "ca",
}
REVOKED = ("/v2.0/tokens/revoked", "/v3/auth/tokens/OS-PKI/revoked")


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def v3_body(expires=None, roles=("member",), catalog=(), **more):
    return {
        "token": {
            "methods": ["password"],
            "expires_at": iso(expires or time.time() + 3600),
            "issued_at": iso(time.time()),
            "user": {"id": "u", "name": "un", "domain": {"id": "ud", "name": "udn"}},
            "project": {"id": "p", "name": "pn", "domain": {"id": "pd", "name": "pdn"}},
            "roles": [{"id": name, "name": name} for name in roles],
            "catalog": list(catalog),
            **more,
        }
    }


def v2_body(expires=None, roles=("member",), tenant=True, catalog=()):
    token = {
        "id": "placeholder",
        "expires": iso(expires or time.time() + 3600),
        "issued_at": iso(time.time()),
    }
    if tenant:
        token["tenant"] = {"id": "p", "name": "pn"}
    return {
        "access": {
            "token": token,
            "user": {"id": "u", "name": "un", "roles": [{"name": name} for name in roles]},
            "serviceCatalog": list(catalog),
        }
    }


class Keystone:
    """The server. `tokens` is token → body, or a status to answer with."""

    def __init__(self, versions=("v3", "v2.0")):
        self.versions = versions
        self.tokens = {}
        self.asked = Counter()  # (method, path without a token in it) → times
        self.headers = {}  # of the last validation
        self.refuses_service = False
        self.catalogue_url = None  # of the identity service; none in the catalogue
        self.certificates = {}  # "signing" and "ca" → PEM
        self.revoked = None  # a function that signs the list, or a status to answer with
        self._service_tokens = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self):
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def expire_service_tokens(self):
        self._service_tokens.clear()

    @property
    def validations(self):
        """How often Keystone was asked about a token."""
        return sum(
            times
            for (method, path), times in self.asked.items()
            if method == "GET" and "/tokens" in path and path not in REVOKED
        )

    @property
    def lists_shown(self):
        return sum(self.asked["GET", path] for path in REVOKED)

    @property
    def certificates_shown(self):
        return sum(self.asked["GET", path] for path in CERTIFICATES)

    @property
    def sign_ins(self):
        return sum(times for (method, _), times in self.asked.items() if method == "POST")

    def answer(self, method, path, headers, body):
        """(status, headers, body) of one request."""
        bare, _, _query = path.partition("?")
        if method == "GET" and bare in ("/", ""):
            return 300, {}, {"versions": {"values": [self._version(version) for version in self.versions]}}
        version = bare.strip("/").split("/")[0]
        if version not in self.versions:
            return 404, {}, {}
        if method == "GET" and bare.strip("/") == version:
            return 200, {}, {"version": self._version(version)}
        if method == "POST":
            return self._sign_in(version, body)
        if bare in CERTIFICATES:
            found = self.certificates.get(CERTIFICATES[bare])
            return (200, {}, found) if found else (404, {}, {})
        if headers.get("X-Auth-Token") not in self._service_tokens:
            return 401, {}, {}
        if bare in REVOKED:
            revoked = 410 if self.revoked is None else self.revoked
            return (revoked, {}, {}) if isinstance(revoked, int) else (200, {}, {"signed": revoked()})
        token = headers.get("X-Subject-Token") if version == "v3" else bare.rpartition("/")[2]
        known = self.tokens.get(token, 404)
        return (known, {}, {}) if isinstance(known, int) else (200, {}, known)

    def _version(self, version):
        return {
            "id": "v3.14" if version == "v3" else version,
            "status": "stable",
            "links": [{"rel": "self", "href": f"{self.url}/{version}/"}],
        }

    def _sign_in(self, version, body):
        if self.refuses_service or SERVICE_PASSWORD not in json.dumps(body):
            return 401, {}, {}
        token = f"service-{len(self._service_tokens)}-{self.sign_ins}"
        self._service_tokens.add(token)
        endpoints = []
        if self.catalogue_url:
            endpoint = {"interface": "internal", "region": "R", "region_id": "R", "url": self.catalogue_url}
            endpoints = [{"type": "identity", "name": "keystone", "endpoints": [endpoint]}]
        if version == "v3":
            return 201, {"X-Subject-Token": token}, v3_body(roles=["service"], catalog=endpoints)
        answer = v2_body(roles=["service"])
        answer["access"]["token"]["id"] = token
        return 200, {}, answer

    def _handler(keystone):  # noqa: N805 - the handler below has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"  # so that a stopped server leaves no connection behind

            def do_GET(self):
                self._serve()

            def do_POST(self):
                self._serve()

            def _serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                path, _, query = self.path.partition("?")
                is_token = path.startswith("/v2.0/tokens/") and path not in REVOKED
                shown = "/v2.0/tokens/…" if is_token else path
                keystone.asked[self.command, f"{shown}?{query}" if query else shown] += 1
                if "/tokens" in path and self.command == "GET":
                    keystone.headers = dict(self.headers)
                status, headers, answer = keystone.answer(self.command, self.path, self.headers, body)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        return Handler
