"""Which of several answers is the answer: quorums, and what is newest.

Pure functions over responses; asking for them is the client's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from miniswift.backend import METADATA_TOO_LARGE
from miniswift.errors import TimestampError
from miniswift.responses import Response, close_body
from miniswift.timestamp import ZERO, Timestamp


class NotOnHandoff(Response):
    """A handoff's 404: it stands in for a node that cannot be asked, and need not have what that one has."""

    __slots__ = ()


def quorum(replicas: int) -> int:
    """How many nodes must agree: half of them, rounded up."""
    return (replicas + 1) // 2


def best_response(
    responses: Sequence[Response],
    replicas: int,
    needed: int | None = None,
    overrides: dict[int, int] | None = None,
) -> Response:
    """The response that a quorum agrees on by the hundreds of its status, or a 503.

    Statuses are grouped 2xx, 3xx, 4xx; the first group with a quorum wins and the highest status in
    it is returned. Where somebody succeeded, a handoff's 404 is no word on the matter. Only when no group
    has a quorum, `overrides` are applied, to all answers, and the groups counted again. A 507
    for metadata that do not fit is the client's to know if a quorum says so.
    """
    needed = quorum(replicas) if needed is None else needed
    if len(responses) == 1 == needed and responses[0].status < 500:
        return responses[0]
    is_there = any(response.status // 100 == 2 for response in responses)
    plain = [r for r in responses if not (is_there and isinstance(r, NotOnHandoff))]
    chosen = (
        _agreed(plain, needed, {})
        or (_agreed(responses, needed, overrides) if overrides else None)
        or _agreed_refusal(responses, needed)
    )
    for response in responses:
        if response is not chosen:
            close_body(response.body)
    return chosen or Response(503)


def _agreed(responses: Sequence[Response], needed: int, counted_as: dict[int, int]) -> Response | None:
    for hundreds in (2, 3, 4):
        group = [r for r in responses if counted_as.get(r.status, r.status) // 100 == hundreds]
        if len(group) >= needed:
            real = [response for response in group if response.status // 100 == hundreds]
            return max(real or group, key=lambda response: response.status)
    return None


def _agreed_refusal(responses: Sequence[Response], needed: int) -> Response | None:
    refusals = [response for response in responses if is_about_request(response)]
    return refusals[0] if len(refusals) >= needed else None


def have_quorum(responses: Sequence[Response], needed: int) -> bool:
    """Whether it can be answered already, whatever the others say. Handoffs' 404 may be no word yet."""
    plain = [response for response in responses if not isinstance(response, NotOnHandoff)]
    return _agreed(plain, needed, {}) is not None


def is_about_request(response: Response) -> bool:
    return response.status == 507 and METADATA_TOO_LARGE in response.headers


def is_found(status: int) -> bool:
    return status // 100 in (2, 3) or status in (412, 416)


def stamp_of(response: Response) -> Timestamp:
    """How new the data behind a response is; zero when it does not say."""
    return _stamp(response, "X-Backend-Data-Timestamp", "X-Backend-Timestamp", "X-Put-Timestamp")


def _stamp(response: Response, *names: str) -> Timestamp:
    """The time in the first of these headers that is there."""
    text = next((value for name in names if (value := response.headers.get(name))), "0")
    try:
        return Timestamp.parse(text)
    except TimestampError:
        return ZERO


def newer(found: Response | None, response: Response) -> Response:
    if found is None:
        return response
    # Of the same data, those with the latest POST.
    if _newness(found) < _newness(response):
        found.close()
        return response
    response.close()
    return found


def _newness(response: Response) -> tuple[Timestamp, Timestamp]:
    return stamp_of(response), _stamp(response, "X-Backend-Timestamp")
