"""One API over one database for all tests of this folder: each test is somebody new, so none sees another's rows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from psycopg import AsyncConnection
from pydantic import BaseModel, Field, SecretStr

from api.app import create_app
from api.service import listen
from cli.postgres import EmbeddedPostgres
from kinds.job_search.kind import JOB_SEARCH
from shared.kinds import Kind, Registry
from shared.models import User
from shared.settings import Settings
from shared.tokens import issue_token
from tests.support import connect, database, make_user, wait_until

T = TypeVar("T")

SECRET = "a secret that only the tests know, and long enough"


class Echo(BaseModel):
    text: str = Field(min_length=1, max_length=100)
    times: int = Field(default=1, ge=1, le=10)


class Echoed(BaseModel):
    text: str


def echo_kind(name: str, **values: Any) -> Kind[Echo, Echoed]:
    return Kind(
        name=name,
        parameters=Echo,
        result=Echoed,
        handler="tests.no_such_module:never_imported",
        title="Echo a text",
        headline=lambda result: result.text,
        **values,
    )


REGISTRY = Registry([echo_kind("demo"), echo_kind("reused", reuse_for=timedelta(hours=1)), JOB_SEARCH])


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, jwt_secret=SecretStr(SECRET), **values)


# The backends of an API that serves the database of whoever asks.
OF_API = "from pg_stat_activity where application_name = 'foxtrot-api' and datname = current_database()"


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The URL at which the app is served by a real uvicorn, in a thread of its own."""
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5)
    )
    listener = listen("127.0.0.1", 0)

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            await server.serve([listener])

    with ThreadPoolExecutor(1) as thread:
        served = thread.submit(asyncio.run, serve())
        try:
            wait_until(lambda: server.started or served.done())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            served.result()


def on_database(url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` returns, done in a transaction of its own by the owner of the tables."""

    async def main() -> T:
        async with connect(url) as conn:
            return await work(conn)

    return asyncio.run(main())


class Person(httpx.Client):
    """A client with a token of its own."""

    def __init__(self, api: str, database_url: str, sub: str, **claims: Any) -> None:
        token = issue_token(SECRET, sub, **claims)
        super().__init__(base_url=f"{api}/api/v1", headers={"Authorization": f"Bearer {token}"})
        self.id = UUID(sub)
        self.database_url = database_url

    @cached_property
    def user(self) -> User:
        """Their row in users, made at the first mention, which must come before their first request."""
        return on_database(self.database_url, lambda conn: make_user(conn, id=self.id))


@pytest.fixture(scope="session")
def shared_database(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    with database(postgres.url, template=migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def api(shared_database: str) -> Iterator[str]:
    """The URL of the API that these tests share."""
    with running(create_app(settings(), shared_database, REGISTRY)) as url:
        yield url


@pytest.fixture
def person(api: str, shared_database: str) -> Iterator[Callable[..., Person]]:
    """Makes somebody new, with the claims that are given."""
    with ExitStack() as stack:
        yield lambda **claims: stack.enter_context(Person(api, shared_database, str(uuid4()), **claims))


@pytest.fixture
def ada(person: Callable[..., Person]) -> Person:
    return person()


@pytest.fixture
def grace(person: Callable[..., Person]) -> Person:
    return person()
