"""Bodies: read whole before any route runs, within a limit, and only when they are JSON that Postgres can store."""

import json
import math
from http import HTTPStatus
from typing import Any

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import from_input, problem
from shared.errors import InvalidInputError

MAX_DEPTH = 32
# What is too long is still read up to this many times the limit: a client that is cut off while it sends never sees
# the answer that says why.
PATIENCE = 16


class Bodies:
    """ASGI middleware: 413 above `limit` bytes, however they are framed; 415 and 422 for what is not clean JSON."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await _read(receive, self.limit)
        refusal = self._refusal(scope, body)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)

    def _refusal(self, scope: Scope, body: bytes | None) -> Response | None:
        if body is None:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {self.limit} bytes.")
        if body and not _says_json(Headers(scope=scope)):
            words = "Send JSON, with the header Content-Type: application/json."
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, words)
        try:
            _check_query(scope["query_string"])
            if body:
                check_json(body)
        except InvalidInputError as error:
            return from_input(error)
        return None


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None when it is longer than `limit` or its sender has gone."""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= PATIENCE * limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += len(message.get("body", b""))
        if size <= limit:
            chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks) if size <= limit else None


def _says_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _check_query(query: bytes) -> None:
    if b"%00" in query or b"\0" in query:
        raise InvalidInputError("the query string must not contain the character U+0000")


def check_json(body: bytes) -> None:
    """Raise `InvalidInputError` unless this is JSON (RFC 8259) that jsonb can hold.

    Refused are NaN and infinities, also those that a number like 1e400 becomes, U+0000 and half surrogate pairs in any
    text or key, and more than 32 levels.
    """
    try:
        value = json.loads(body, parse_constant=_refuse)
    except RecursionError as error:
        raise InvalidInputError(f"the body is nested more than {MAX_DEPTH} levels deep") from error
    except ValueError as error:
        raise InvalidInputError(f"the body is not JSON that can be read: {error}") from error
    _check(value, ())


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _check(value: Any, path: tuple[str, ...]) -> None:
    if len(path) > MAX_DEPTH:
        raise InvalidInputError(f"the body is nested more than {MAX_DEPTH} levels deep", field=".".join(path[:3]))
    match value:
        case str():
            _check_text(value, path)
        case float() if not math.isfinite(value):
            raise _fault(path, "the number is too large")
        case list():
            for place, inner in enumerate(value):
                _check(inner, (*path, str(place)))
        case dict():
            for key, inner in value.items():
                _check_text(key, path)
                _check(inner, (*path, key))


def _check_text(text: str, path: tuple[str, ...]) -> None:
    if "\0" in text:
        raise _fault(path, "text must not contain the character U+0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _fault(path, "text must not contain half a surrogate pair") from None


def _fault(path: tuple[str, ...], message: str) -> InvalidInputError:
    field = ".".join(path) or "body"
    return InvalidInputError(f"{field[:100]}: {message}", field=field)
