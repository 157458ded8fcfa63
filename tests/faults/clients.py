"""Clients that ask for runs all the while, as an API process does: what was not acknowledged is asked for again."""

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import psycopg
from psycopg_pool import AsyncConnectionPool

from shared.db import in_transaction, open_pool
from shared.errors import DatabaseError
from shared.queue import NewRun, cancel, enqueue
from shared.wake import Channel, Waker, backoff
from tests.faults.handlers import ORDER, Order
from tests.faults.support import System

DEADLINE = 3.0


class Clients:
    """So many clients of `system`, in a thread: each asks for an order after the other, until the block ends.

    `errors` counts the requests that had to be repeated. Of the runs, `cancels` (a share) are cancelled afterwards.
    """

    def __init__(
        self,
        system: System,
        orders: Callable[[random.Random], Order],
        *,
        seed: int = 0,
        clients: int = 4,
        cancels: float = 0,
        pause: float = 0.02,
    ) -> None:
        self.errors = 0
        self.cancelled: set[UUID] = set()
        self._system = system
        self._orders = orders
        self._chance = random.Random(seed)
        self._clients = clients
        self._cancels = cancels
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    async def _main(self) -> None:
        try:
            async with open_pool(self._system.reached_at, "client", size=self._clients) as pool:
                waker = Waker(pool)
                await asyncio.gather(*[self._ask_on(pool, waker) for _ in range(self._clients)])
                await waker.close()
        except BaseException as error:  # noqa: BLE001 - raised at the end of the block
            self._failure = error

    async def _ask_on(self, pool: AsyncConnectionPool, waker: Waker) -> None:
        while not self._stop.is_set():
            new = NewRun.of(ORDER, self._orders(self._chance), user_id=uuid4())
            if run := await self._insist(pool, new):
                self._system.acknowledged.add(run)
                waker.wake(Channel.QUEUE, ORDER.name)
                if self._chance.random() < self._cancels:
                    await self._cancel(pool, waker, run, new)
            await _pause(self._pause)

    async def _insist(self, pool: AsyncConnectionPool, new: NewRun) -> UUID | None:
        """The run, once it was acknowledged; None when that did not come before the end."""
        failures = 0
        while not (failures and self._stop.is_set()):
            try:
                entered = await in_transaction(pool, partial(enqueue, run=new), deadline=DEADLINE)
            except (psycopg.Error, DatabaseError):
                self.errors += 1
                failures += 1
                await _pause(backoff(failures, first=0.1, longest=1))
            else:
                return entered.run_id
        return None

    async def _cancel(self, pool: AsyncConnectionPool, waker: Waker, run: UUID, new: NewRun) -> None:
        give_up = partial(
            cancel, run_id=run, user_id=new.user_id, retention=ORDER.retention.cancelled, max_attempts=new.max_attempts
        )
        with suppress(psycopg.Error, DatabaseError):
            if await in_transaction(pool, give_up, deadline=DEADLINE):
                self.cancelled.add(run)
                waker.wake(Channel.CANCEL, str(run))


async def _pause(seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
