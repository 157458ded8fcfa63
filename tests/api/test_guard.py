import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from api.guard import Guard
from shared.queue import NewRun, enqueue
from shared.users import act_as
from tests.api.conftest import OF_API, REGISTRY, Echo, Person, running, settings
from tests.support import connect

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b"done"}

App = Callable[[Scope, Receive, Send], Any]


async def ask(app: App, deadline: float = 5) -> list[Message]:
    """What a client is sent by the guarded app."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    await Guard(app, deadline)(scope, receive, send)
    return sent


def headers(message: Message) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in message["headers"]}


async def fine(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(END)


def test_every_answer_has_the_headers() -> None:
    start, end = asyncio.run(ask(fine))
    assert headers(start)["x-content-type-options"] == "nosniff"
    assert headers(start)["cache-control"] == "no-store"
    assert end["body"] == b"done"


def test_a_route_may_say_otherwise() -> None:
    async def cached(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"cache-control", b"private")]})

    (start,) = asyncio.run(ask(cached))
    assert headers(start)["cache-control"] == "private"


def test_an_unforeseen_error_tells_nothing() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("the secret word")

    start, body = asyncio.run(ask(broken))
    assert (start["status"], headers(start)["content-type"]) == (500, "application/problem+json")
    assert headers(start)["x-content-type-options"] == "nosniff"
    assert b"secret" not in body["body"]


def test_an_error_in_the_midst_of_an_answer_ends_it() -> None:
    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        raise ValueError("too late for another answer")

    assert asyncio.run(ask(broken)) == [START]


def test_an_answer_that_does_not_begin_is_given_up() -> None:
    async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    start, body = asyncio.run(ask(slow, deadline=0.01))
    assert (start["status"], headers(start)["retry-after"]) == (503, "5")
    assert b"No answer within 0.01 s" in body["body"]


def test_one_that_can_t_be_stopped_is_not_waited_for_and_not_heard() -> None:
    async def main() -> tuple[list[Message], int]:
        release, ended = asyncio.Event(), asyncio.Event()

        async def stubborn(_scope: Scope, _receive: Receive, send: Send) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await release.wait()
                await send(START)
                ended.set()

        sent = await ask(stubborn, deadline=0.01)
        answered = len(sent)
        release.set()
        await ended.wait()
        return sent, answered

    sent, answered = asyncio.run(main())
    assert answered == len(sent) == 2
    assert sent[0]["status"] == 503


def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def streaming(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "headers": []})
        try:
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()
        except TimeoutError:
            await send(END)

    assert asyncio.run(ask(streaming, deadline=0.01))[-1] == END


def test_a_client_that_goes_takes_its_request_along() -> None:
    async def main() -> bool:
        begun, stopped = asyncio.Event(), asyncio.Event()

        async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        request = asyncio.create_task(ask(slow))
        await begun.wait()
        request.cancel()
        await asyncio.wait({request})
        async with asyncio.timeout(5):
            await stopped.wait()
        return request.cancelled()

    assert asyncio.run(main())


def test_a_request_that_is_held_up_by_a_lock_is_answered_in_time(database_url: str) -> None:
    async def main(api: str) -> httpx.Response:
        user_id = uuid4()
        with Person(api, database_url, str(user_id)) as ada:
            new = NewRun.of(REGISTRY.get("demo"), Echo(text="hi"), user_id=user_id)
            async with connect(database_url) as conn, httpx.AsyncClient(base_url=api, headers=ada.headers) as client:
                await act_as(conn, user_id)
                await enqueue(conn, new)
                return await client.post("/api/v1/runs", json={"kind": "demo", "parameters": {"text": "hi"}})

    with running(create_app(settings(request_timeout_seconds=0.2), database_url, REGISTRY)) as api:
        response = asyncio.run(main(api))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_when_postgres_goes_away_the_answer_says_so(database_url: str, method: str) -> None:
    with (
        running(create_app(settings(), database_url, REGISTRY)) as api,
        Person(api, database_url, str(uuid4())) as ada,
        psycopg.connect(database_url, autocommit=True) as conn,
    ):
        conn.execute(f"select pg_terminate_backend(pid) {OF_API}")
        body = {"kind": "demo", "parameters": {"text": "hi"}}
        response = ada.request(method, "/runs", json=body if method == "POST" else None)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert response.headers["content-type"] == "application/problem+json"
        assert "terminat" not in response.text
        assert ada.request(method, "/runs", json=body if method == "POST" else None).is_success
