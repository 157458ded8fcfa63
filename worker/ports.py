"""Ports: what a worker lends to its handlers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import httpx
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.db import in_transaction, transaction
from shared.errors import DatabaseError, SettingsError
from shared.kinds import Progress, Run
from shared.queue import Claimed, Fence, Said, find_step, record_step
from shared.rates import take_turn
from worker.insisting import insist

log = structlog.get_logger()

T = TypeVar("T")

# Of the worker's pool: the rest is for the worker's own statements, which never wait for a handler.
HANDLER_CONNECTIONS = 1


@dataclass(frozen=True)
class Tools:
    """Shared by all attempts of a worker; `say` takes their progress."""

    http: httpx.AsyncClient
    pool: AsyncConnectionPool
    say: Callable[[Said], None]
    rates: Mapping[str, Mapping[str, float]]
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HANDLER_CONNECTIONS))

    def rate(self, kind: str, provider: str) -> float:
        """Calls a minute that the kind allows to the provider; raises `SettingsError` when it says nothing of it."""
        try:
            return self.rates[kind][provider]
        except KeyError:
            raise SettingsError(
                f"kind {kind!r} has no rate for {provider!r}", hint="Name it in the kind's rates, in calls a minute."
            ) from None


class AttemptPorts:
    """`shared.kinds.RunPorts` for one attempt."""

    def __init__(self, tools: Tools, worker_id: UUID, claimed: Claimed) -> None:
        self.http = tools.http
        self._tools = tools
        self._worker_id = worker_id
        self._claimed = claimed

    def progress(self, run: Run, progress: Progress) -> None:
        """Take the latest progress, from any thread."""
        self._tools.say(Said(run.id, self._claimed.bucket, run.attempt, progress))

    @asynccontextmanager
    async def db(self) -> AsyncIterator[AsyncConnection]:
        """A connection in one transaction, when it is this handler's turn; don't nest it."""
        async with self._tools.turns, transaction(self._tools.pool) as conn:
            yield conn

    async def turn(self, run: Run, provider: str) -> None:
        """Wait until all workers together may call the provider once more."""
        rate = self._tools.rate(run.kind, provider)
        wait = await self._insist(partial(take_turn, provider=provider, calls_a_minute=rate))
        if wait > timedelta(0):
            await asyncio.sleep(wait.total_seconds())

    async def step(self, run: Run, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """The recorded value of a step, or what `make` returns now; CancelledError when the attempt was lost."""
        bucket, fence = self._claimed.bucket, Fence(run.id, run.attempt)
        find = partial(find_step, run_id=run.id, bucket=bucket, name=name)
        if recorded := await self._insist(find):
            return recorded.value
        made = await make()
        record = partial(record_step, worker_id=self._worker_id, fence=fence, bucket=bucket, name=name, value=made)
        stands = await self._insist(record)
        if stands is None:
            raise asyncio.CancelledError(f"step {name!r}: this worker no longer holds attempt {run.attempt}")
        return stands.value

    async def _insist(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do what may be done twice, however long Postgres is away: that is no failure of the attempt."""
        complain = partial(log.warning, "port_failed", run_id=str(self._claimed.run_id))
        errors = (psycopg.OperationalError, DatabaseError)
        return await insist(partial(in_transaction, self._tools.pool, work), errors, complain)
