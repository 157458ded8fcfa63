"""The outermost layer: a deadline for every answer, headers on every answer, and an answer whatever happens."""

import asyncio
from http import HTTPStatus

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

log = structlog.get_logger()

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
LATER = {"Retry-After": "5"}
DEADLINE = "foxtrot.deadline"


class Guard:
    """ASGI middleware: an answer has to begin within `deadline` seconds, and an unforeseen error tells nothing."""

    def __init__(self, app: ASGIApp, deadline: float) -> None:
        self.app = app
        self.deadline = deadline
        self._running: set[asyncio.Future[None]] = set()  # a task that nothing refers to may vanish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer, deadline = Answer(send), Deadline(self.deadline)
        try:
            await self._serve({**scope, DEADLINE: deadline}, receive, answer, deadline)
        except TimeoutError:
            log.warning("request_timed_out", method=scope["method"], path=scope["path"], seconds=deadline.seconds)
            words = f"No answer within {deadline.seconds:g} s."
            refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, words, headers=LATER)
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"])
            refusal = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it has been logged.")
        else:
            return
        if not answer.begun:
            await refusal(scope, receive, answer)

    async def _serve(self, scope: Scope, receive: Receive, answer: "Answer", deadline: "Deadline") -> None:
        """Raises TimeoutError at the deadline, without waiting for what it cancels: a stopped server holds that up."""

        async def in_time(message: Message) -> None:
            if not deadline.limit.expired():
                deadline.limit.reschedule(None)
                await answer(message)

        work = asyncio.ensure_future(self.app(scope, receive, in_time))
        self._running.add(work)
        work.add_done_callback(self._running.discard)
        try:
            async with deadline.limit:
                await asyncio.shield(work)
        finally:
            work.cancel()


class Deadline:
    """By when an answer has to begin."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.limit = asyncio.timeout(seconds)

    def extend(self, seconds: float) -> None:
        """Let it be so many seconds from now, unless it is over."""
        if not self.limit.expired():
            self.seconds = seconds
            self.limit.reschedule(asyncio.get_running_loop().time() + seconds)


def extend_deadline(request: Request, seconds: float) -> None:
    """Let this request's answer begin within so many seconds from now."""
    deadline: Deadline = request.scope[DEADLINE]
    deadline.extend(seconds)


class Answer:
    """Sends one answer with the headers that all of them have, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self.begun = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
