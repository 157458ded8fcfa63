"""The metronome: APScheduler with its memory store, which says when to look, never what is due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, timedelta
from typing import Any

import psycopg
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from shared.clock import utc_now
from shared.errors import DatabaseError

log = structlog.get_logger()

RECALL_EVERY = 5.0  # seconds

# A beat that falls into a turn still going on is dropped, which is as it should be and no warning.
logging.getLogger("apscheduler").setLevel(logging.ERROR)


class Metronome:
    """Calls each of its turns at once and then at its interval, never one twice at a time, until `stop` is set."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._at_work: list[asyncio.Lock] = []
        self.jobs = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def call(self, turn: Callable[[], Awaitable[Any]], *, name: str, every: timedelta) -> None:
        """Add a turn. What it raises is logged, and it is called again at its next beat."""
        at_work = asyncio.Lock()
        self._at_work.append(at_work)
        self.jobs.add_job(
            self._take,
            "interval",
            seconds=every.total_seconds(),
            args=[turn, name, at_work],
            id=name,
            next_run_time=utc_now(),
        )

    async def run(self) -> None:
        """Beat until `stop` is set; then let the turns that are going on end."""
        self.jobs.start()
        while not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(RECALL_EVERY):
                    await self._stop.wait()
            self.recall()
        self.jobs.pause()  # a beat at this very moment would be cancelled, and said to have failed
        # APScheduler itself would cancel what is going on.
        for at_work in self._at_work:
            await at_work.acquire()
        self.jobs.shutdown()

    def recall(self) -> None:
        """Bring back the beats that lie further ahead than their interval: the machine's clock was set back.

        APScheduler counts in wall-clock time and would be silent until the clock has caught up.
        """
        now = utc_now()
        for job in self.jobs.get_jobs():
            if job.next_run_time - now > job.trigger.interval:
                job.modify(next_run_time=now)

    async def _take(self, turn: Callable[[], Awaitable[Any]], name: str, at_work: asyncio.Lock) -> None:
        if self._stop.is_set():
            return
        async with at_work:
            try:
                await turn()
            except (DatabaseError, psycopg.OperationalError) as error:
                log.warning("turn_failed", turn=name, error=str(error))
            except Exception:
                log.exception("turn_failed", turn=name)
