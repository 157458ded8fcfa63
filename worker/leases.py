"""Leases: a worker's time-limited right to its runs, renewed from a thread that no handler can hold up."""

import asyncio
import faulthandler
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection

from shared.db import connect
from shared.errors import DatabaseError
from shared.queue import renew
from shared.settings import RENEW_EVERY

log = structlog.get_logger()

LOOP_STALL = timedelta(minutes=5)
STALLED = 3  # exit code


@dataclass
class Me:
    """The row in `workers` that this process is; another one once a lease was lost."""

    id: UUID


class Lease:
    """Renews the lease of `me` every 5 s while it is entered, on a loop and a connection of its own thread's.

    `on_lost` is called in that thread with the id whose lease has expired. The main loop counts `beat` up every second;
    when it has not for `LOOP_STALL`, the thread writes all stacks to stderr and ends the process.
    """

    def __init__(
        self,
        url: str,
        me: Me,
        on_lost: Callable[[UUID], object],
        *,
        every: timedelta = RENEW_EVERY,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self.beat = 0
        self._url = url
        self._me = me
        self._on_lost = on_lost
        self._every = every
        self._end_process = end_process
        self._conn: AsyncConnection | None = None
        self._beat_seen = 0
        self._silence = timedelta(0)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()

    def watch_once(self) -> None:
        """Add up for how long the main loop has been silent; end the process when that is too long.

        Counted in turns of this thread, not by a clock: a process that was suspended has not stalled.
        """
        moved, self._beat_seen = self.beat != self._beat_seen, self.beat
        self._silence = timedelta(0) if moved else self._silence + self._every
        if self._silence >= LOOP_STALL:
            log.critical("loop_stalled", seconds=self._silence.total_seconds())
            faulthandler.dump_traceback(all_threads=True)
            self._end_process(STALLED)

    async def renew_once(self) -> None:
        """Renew the lease; a connection that broke is replaced at once, a server that is away is asked again later."""
        worker_id = self._me.id
        try:
            async with asyncio.timeout(RENEW_EVERY.total_seconds()):
                alive = await self._renew(worker_id)
        except (psycopg.Error, DatabaseError, TimeoutError) as error:
            log.warning("renew_failed", error=str(error) or type(error).__name__)
            await self.close()
        else:
            if not alive:
                self._on_lost(worker_id)

    async def close(self) -> None:
        """Close the connection; the next renewal opens another."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def _renew(self, worker_id: UUID) -> bool:
        if self._conn is not None:
            try:
                return await renew(self._conn, worker_id)
            except psycopg.OperationalError:
                await self.close()
        self._conn = await connect(self._url, "lease")
        return await renew(self._conn, worker_id)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while not self._leaving.wait(self._every.total_seconds()):
                try:
                    self.watch_once()
                    runner.run(self.renew_once())
                except Exception:
                    # Such as MemoryError, of what a handler eats: the worker would go on with a lease that has ended.
                    log.exception("lease_turn_failed")
            runner.run(self.close())
