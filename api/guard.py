"""The outermost layer: a deadline for every answer, headers on every answer, and an answer whatever happens."""

import asyncio
from http import HTTPStatus

import structlog
from starlette.datastructures import MutableHeaders
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
        answer = Answer(send)
        try:
            await self._serve(scope, receive, answer)
        except TimeoutError:
            log.warning("request_timed_out", method=scope["method"], path=scope["path"], seconds=self.deadline)
            refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, f"No answer within {self.deadline:g} s.", headers=LATER)
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"])
            refusal = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it has been logged.")
        else:
            return
        if not answer.begun:
            await refusal(scope, receive, answer)

    async def _serve(self, scope: Scope, receive: Receive, answer: "Answer") -> None:
        """Raises TimeoutError at the deadline, without waiting for what it cancels: a stopped server holds that up."""

        async def in_time(message: Message) -> None:
            if not limit.expired():
                limit.reschedule(None)
                await answer(message)

        work = asyncio.ensure_future(self.app(scope, receive, in_time))
        self._running.add(work)
        work.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(self.deadline) as limit:
                await asyncio.shield(work)
        finally:
            work.cancel()


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
