"""Account quotas: how many bytes and objects an account, or one storage policy in it, may have.

    X-Account-Quota-Bytes: 10000               of the whole account; -Count for objects
    X-Account-Quota-Bytes-Policy-gold: 5000    of what it has in one policy

1. Resellers set and remove them and are not bound by them; owners see them.
2. An upload is refused with 413 when it would go beyond; whoever may not upload at all is told that instead.
3. An upload of unknown length counts as empty, and totals lag a little: a quota is no hard wall.

X-Account-Meta-Quota-Bytes is the older name of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from miniswift import info
from miniswift.config import Settings
from miniswift.responses import Environ, HTTPError, Response, StartResponse
from miniswift.wsgi import AUTHORIZE, RESELLER_REQUEST, Request, WSGIApp, environ_key, split_path

_SOURCE = "AQ"
_KINDS = ("Quota-Bytes", "Quota-Count")


class AccountQuotas:
    """The filter."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            _, _, container, obj = split_path(environ["PATH_INFO"], 2, 4, True)
        except ValueError:
            return self._app(environ, start_response)
        answer: WSGIApp = self._app
        try:
            if container is None:
                answer = self._account(environ)
            elif obj and environ["REQUEST_METHOD"] == "PUT" and not _is_reseller(environ):
                answer = self._upload(environ)
        except HTTPError as error:
            answer = error.response
        return answer(environ, start_response)

    # --- setting and showing -------------------------------------------------------------------------

    def _account(self, environ: Environ) -> Response:
        """The answer about an account, quotas set and shown. Raises 403 and 400."""
        if environ["REQUEST_METHOD"] in ("PUT", "POST"):
            self._set_quotas(environ)
        response = Request(environ).call(self._app)
        for header, sysmeta in _quota_headers():
            value = response.headers.get(sysmeta)
            if value:
                response.headers[header] = value
        return response

    def _set_quotas(self, environ: Environ) -> None:
        """Put the quotas that the request sets where only filters can put them."""
        for start in ("X-", "X-Remove-"):
            old, new = f"{start}Account-Meta-Quota-Bytes", f"{start}Account-Quota-Bytes"
            if environ_key(old) in environ and not environ.get(environ_key(new)):
                environ[environ_key(new)] = environ[environ_key(old)]
        for header, sysmeta in _quota_headers():
            value = environ.pop(environ_key(header), None)
            if environ.get(environ_key(f"X-Remove-{header[2:]}")):
                value = ""
            if value is None:
                continue
            if not _is_reseller(environ):
                raise HTTPError(403)
            if value and not _is_number(value):
                raise HTTPError(400, f"{header} is not a number: {value!r}")
            environ[environ_key(sysmeta)] = value

    # --- keeping them --------------------------------------------------------------------------------

    def _upload(self, environ: Environ) -> WSGIApp:
        """What answers an upload: the pipeline, or a refusal if that is what is left to say."""
        account: Any = info.get_account_info(environ, self._app, _SOURCE)
        size = Request(environ).content_length or 0
        sysmeta, meta = account["sysmeta"], account["meta"]
        allowed = sysmeta.get("quota-bytes", meta.get("quota-bytes"))
        if _is_beyond(allowed, account["bytes"] + size) or _is_beyond(
            sysmeta.get("quota-count"), account["total_object_count"] + 1
        ):
            return self._refusal(environ, "Upload exceeds quota.")
        if any("-policy-" in name for name in sysmeta):
            policy = info.get_container_info(environ, self._app, _SOURCE)["storage_policy"]
            there = account["storage_policies"].get(int(policy), {})
            if _is_beyond(
                sysmeta.get(f"quota-bytes-policy-{policy}"), there.get("bytes", 0) + size
            ) or _is_beyond(sysmeta.get(f"quota-count-policy-{policy}"), there.get("object_count", 0) + 1):
                return self._refusal(environ, "Upload exceeds policy quota.")
        return self._app

    def _refusal(self, environ: Environ, why: str) -> WSGIApp:
        refusal = Response(413, {}, why)
        authorize = environ.get(AUTHORIZE)
        if authorize is None:
            return refusal

        # Who may write is known only with the container's list, which the proxy asks with.
        def authorize_and_refuse(request: Any) -> Any:
            return authorize(request) or refusal

        environ[AUTHORIZE] = authorize_and_refuse
        return self._app


def _quota_headers() -> Iterator[tuple[str, str]]:
    """Each quota's header, and the one that it is stored by."""
    for kind in _KINDS:
        yield f"X-Account-{kind}", f"X-Account-Sysmeta-{kind}"
        for index, name in info.get_policy_names().items():
            yield f"X-Account-{kind}-Policy-{name}", f"X-Account-Sysmeta-{kind}-Policy-{index}"


def _is_reseller(environ: Environ) -> bool:
    return environ.get(RESELLER_REQUEST) is True


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_beyond(quota: str | None, wanted: int) -> bool:
    return bool(quota) and _is_number(str(quota)) and wanted > int(str(quota))


def filter_factory(_global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], AccountQuotas]:
    Settings.from_conf({}, local_conf)  # there are no options, which is said of any given
    info.register_swift_info("account_quotas")
    return AccountQuotas
