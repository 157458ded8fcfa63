"""The database of a command: a connection for as long as it takes, and work in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg import AsyncConnection

from cli.local import database_url
from shared.db import connect
from shared.settings import Settings

T = TypeVar("T")


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[AsyncConnection]:
    """An autocommitting connection; raises `DatabaseError` when the server can't be reached."""
    async with await connect(url, "cli") as conn:
        yield conn


def transact(settings: Settings, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` returns, done in a transaction of its own. Raises `DatabaseError` without a server."""

    async def main() -> T:
        async with connection(database_url(settings)) as conn, conn.transaction():
            return await work(conn)

    return asyncio.run(main())
