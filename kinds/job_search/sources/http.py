"""One bounded way to ask a source for JSON, with every way to fail told apart."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx

from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.errors import (
    RefusedError,
    SourceError,
    ThrottledError,
    UnavailableError,
    UnknownBoardError,
    UnusableAnswerError,
)
from shared.retry_after import read_retry_after

MOST_BYTES = 20 * 2**20
MOST_HOPS = 3
CONNECT_SECONDS = 5
LONGEST_REST = 24 * 60 * 60


@asynccontextmanager
async def in_time(name: str, settings: JobSearchSettings) -> AsyncIterator[None]:
    """For an answer of several pages: raises `UnavailableError` when it takes more than `job_fetch_seconds` in all."""
    try:
        async with asyncio.timeout(settings.job_fetch_seconds):
            yield
    except TimeoutError as error:
        raise _too_slow(name, settings) from error


async def get_json(http: httpx.AsyncClient, url: httpx.URL, name: str, settings: JobSearchSettings) -> Any:
    """The JSON at `url`, at most `MOST_BYTES` long and read within `job_fetch_seconds` in all.

    Redirects are followed on the same origin only. Raises a `SourceError` that begins with `name`.
    """
    seconds = settings.job_fetch_seconds
    headers = {"User-Agent": settings.job_user_agent, "Accept": "application/json"}
    timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
    request = http.build_request("GET", url, headers=headers, timeout=timeout)
    try:
        async with asyncio.timeout(seconds):
            body = await _get(http, request, name)
    except httpx.ConnectTimeout as error:
        raise UnavailableError(f"{name} can't be reached: no connection in time") from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise _too_slow(name, settings) from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise UnavailableError(f"{name} broke off in the middle of its answer") from error
    except httpx.RequestError as error:
        raise UnavailableError(f"{name} can't be reached: {error}") from error
    return await asyncio.to_thread(_parse, body, name)


async def _get(http: httpx.AsyncClient, request: httpx.Request, name: str) -> bytes:
    asked = request.url
    for _ in range(MOST_HOPS + 1):
        response = await http.send(request, stream=True, follow_redirects=False)
        try:
            if response.next_request is None:
                _check(response, name)
                return await _read(response, name)
        finally:
            await response.aclose()
        request = response.next_request
        check_same_origin(request.url, asked, name)
    raise UnusableAnswerError(f"{name} redirects in circles")


def _too_slow(name: str, settings: JobSearchSettings) -> UnavailableError:
    return UnavailableError(f"{name} did not answer within {settings.job_fetch_seconds:g} s")


def check_same_origin(url: httpx.URL, asked: httpx.URL, name: str) -> None:
    """Raises `UnusableAnswerError` unless `url`, which an answer points to, is where `asked` is."""
    if (url.scheme, url.host, url.port) != (asked.scheme, asked.host, asked.port):
        raise UnusableAnswerError(f"{name} points to another host, {url.host}, which is not followed")


def _check(response: httpx.Response, name: str) -> None:
    """Raise what the status line says, if it isn't 200."""
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise UnknownBoardError(f"{name} does not exist")
    wait = _within_bounds(read_retry_after(response.headers))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ThrottledError(f"{name} was asked too often and wants to be left alone (HTTP 429)", retry_after=wait)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise RefusedError(f"{name} refuses to answer (HTTP {status})", retry_after=wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnavailableError(f"{name} is out of order (HTTP {status})", retry_after=wait)
    raise UnusableAnswerError(f"{name} answered with an unexpected HTTP {status}")


def _within_bounds(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 1), LONGEST_REST)


async def _read(response: httpx.Response, name: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            raise UnusableAnswerError(f"{name} answered with more than {MOST_BYTES // 2**20} MB")
    return bytes(body)


def _parse(body: bytes, name: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _not_json(body, name) from error


def _not_json(body: bytes, name: str) -> SourceError:
    if body.lstrip().startswith(b"<"):
        return UnusableAnswerError(f"{name} answered with a web page instead of postings")
    if not body.lstrip().startswith((b"{", b"[")):
        return UnusableAnswerError(f"{name} answered with something that is not JSON")
    return UnavailableError(f"{name} broke off in the middle of its answer")
