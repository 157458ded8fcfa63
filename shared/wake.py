"""Wake-ups: LISTEN and NOTIFY, only ever a hint. Everything works, slower, without them."""

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import suppress
from enum import StrEnum
from functools import partial

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.db import connect, in_statements
from shared.errors import DatabaseError

log = structlog.get_logger()

GAP = 0.005
QUIET = 30.0
# Nothing is lost with a hint that was not on disk yet, and waiting for the disk would delay the run.
NOTIFY = b"""
select pg_notify(c, p), set_config('synchronous_commit', 'off', true)
from unnest(%(channels)s::text[], %(payloads)s::text[]) as n (c, p)
"""


class Channel(StrEnum):
    """What a wake-up is about."""

    QUEUE = "foxtrot_queue"  # runs became available; the payload is the kind
    CANCEL = "foxtrot_cancel"  # a run that was running is over; the payload is its id


async def wake(conn: AsyncConnection, kind: str) -> None:
    """Tell workers that runs of `kind` became available; call it after the commit of what enqueued them.

    Without it they are found at the next poll. On a connection that is not in autocommit mode this begins a
    transaction, and workers hear of it when that commits.
    """
    await _notify(conn, [(Channel.QUEUE, kind)])


async def _notify(conn: AsyncConnection, names: Collection[tuple[Channel, str]]) -> None:
    values = {"channels": [str(channel) for channel, _ in names], "payloads": [payload for _, payload in names]}
    await conn.execute(NOTIFY, values, prepare=True)


class Waker:
    """Sends wake-ups after the caller's commit: the first at once, then at most one statement per 5 ms.

    Never inside the inserting transaction, where NOTIFY takes a lock that every other inserting client waits for.
    With `enabled` off (FOXTROT_NOTIFY) it sends nothing.
    """

    def __init__(self, pool: AsyncConnectionPool, *, enabled: bool = True) -> None:
        self._pool = pool
        self._enabled = enabled
        self._pending: dict[tuple[Channel, str], None] = {}
        self._sender: asyncio.Task[None] | None = None

    def wake(self, channel: Channel, payload: str = "") -> None:
        """Ask for a wake-up; returns at once, and a failure to send is only logged."""
        if not self._enabled:
            return
        self._pending[channel, payload] = None
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Send what is still pending."""
        if self._sender is not None:
            await self._sender

    async def _send(self) -> None:
        while self._pending:
            batch, self._pending = list(self._pending), {}
            try:
                await in_statements(self._pool, partial(_notify, names=batch))
            except (psycopg.Error, DatabaseError) as error:
                log.warning("wake_failed", error=str(error))
            await asyncio.sleep(GAP)


async def listen(url: str, name: str, on_wake: Callable[[Channel, str], None]) -> None:
    """Call `on_wake` for every wake-up until cancelled; a broken connection is replaced, a silent one checked."""

    def hear(channel: str, payload: str) -> None:
        with suppress(ValueError):
            on_wake(Channel(channel), payload)

    failures = 0
    while True:
        try:
            async with await connect(url, name) as conn:
                # For what comes while a statement is under way; the rest is read by `_heed`.
                conn.add_notify_handler(lambda notice: hear(notice.channel, notice.payload))
                for channel in Channel:
                    await conn.execute(f'listen "{channel}"')
                failures = 0
                on_wake(Channel.QUEUE, "")  # what was missed while nobody listened
                while True:
                    await _heed(conn, hear)
                    await conn.execute("select 1")
        except (psycopg.Error, DatabaseError, OSError) as error:
            failures += 1
            log.warning("listen_failed", error=str(error), failures=failures)
        await asyncio.sleep(backoff(failures))


def backoff(failures: int, first: float = 0.5, longest: float = 10.0) -> float:
    """Seconds before the next try: at most `longest`, however many failed."""
    return random.uniform(0.1, min(longest, first * 2.0 ** min(failures, 30)))  # noqa: S311 - jitter


async def _heed(conn: AsyncConnection, hear: Callable[[str, str], None]) -> None:
    """Pass on what comes, until nothing has come for a while; in a third of the time that `conn.notifies()` takes."""
    while await _readable(conn.fileno(), QUIET):
        conn.pgconn.consume_input()
        while notice := conn.pgconn.notifies():
            hear(notice.relname.decode(), notice.extra.decode())


async def _readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read within `seconds`. psycopg's own wait looks ten times a second."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        async with asyncio.timeout(seconds):
            return await ready.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
