"""How a board of the `BoardServer` can misbehave: a fault answers in its place and is given the right body."""

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Event

Fault = Callable[[BaseHTTPRequestHandler, bytes], None]

PATIENCE = 60


def send(
    request: BaseHTTPRequestHandler,
    body: bytes,
    *,
    status: int = HTTPStatus.OK,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> None:
    """One whole answer."""
    request.send_response_only(status)
    standard = {"Date": request.date_time_string(), "Content-Type": content_type, "Content-Length": str(len(body))}
    for name, value in (standard | (headers or {})).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def answers(
    status: int,
    body: bytes = b'{"error": "no luck"}',
    *,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Fault:
    """Always this status, body and headers."""
    return lambda request, _: send(request, body, status=status, content_type=content_type, headers=headers)


def throttled(retry_after: str | None = None) -> Fault:
    """429, with `Retry-After` as given."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return answers(HTTPStatus.TOO_MANY_REQUESTS, headers=headers)


def web_page() -> Fault:
    """A web page with status 200, as a maintenance notice or a captcha is."""
    page = b"<!DOCTYPE html><html><body><h1>We'll be right back</h1></body></html>"
    return answers(HTTPStatus.OK, page, content_type="text/html; charset=utf-8")


def redirected(to: str) -> Fault:
    """302 to another address."""
    return answers(HTTPStatus.FOUND, b"", headers={"Location": to})


def delayed(until: Event, seconds: float = PATIENCE) -> Fault:
    """The right answer, once `until` is set or the time is over."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        until.wait(seconds)
        send(request, body)

    return answer


def cut_short() -> Fault:
    """Half of the body that was announced, then the connection closes."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(HTTPStatus.OK)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2])
        request.close_connection = True

    return answer


def half_json() -> Fault:
    """Half of the body, announced as if it were all of it."""
    return lambda request, body: send(request, body[: len(body) // 2])


def endless(megabytes: int) -> Fault:
    """The right body behind so many megabytes of blanks, streamed without saying how long it is."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(HTTPStatus.OK)
        request.send_header("Content-Type", "application/json")
        request.send_header("Connection", "close")
        request.end_headers()
        for _ in range(megabytes):
            request.wfile.write(b" " * 2**20)
        request.wfile.write(body)

    return answer
