"""Finishing: outcomes and progress of all attempts, written together and by one task, so that they can't deadlock."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.db import in_statements, in_transaction
from shared.errors import DatabaseError
from shared.kinds import Progress, Status
from shared.queue import FailedAttempt, Fence, Outcome, Recorded, Said, Snoozed, finish, progress, retry, snooze
from shared.schedules import pause_after_failures
from worker.failures import MESSAGE_LENGTH, clean
from worker.insisting import insist
from worker.leases import Me
from worker.outcomes import Ended, unstorable

log = structlog.get_logger()

BATCH = 500
OUTCOMES_EVERY = 0.005
PROGRESS_EVERY = 0.25
INTEGER = 2**31 - 1

# What Postgres, or psycopg on the way to it, refuses because of the data: trying again can't help.
POISON = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError, ValueError)


class Flusher:
    """Keeps every outcome until it is written, and the latest word of each attempt's progress.

    `pending` and `said` are what is not written yet; `finished` counts the runs that ended here, `refused` the outcomes
    that the fence did not let in; `on_written` hears of every write. Schedules whose runs keep failing are paused.
    """

    def __init__(
        self, pool: AsyncConnectionPool, me: Me, on_written: Callable[[], None], failures_before_pause: int
    ) -> None:
        self.pending: dict[Fence, Ended] = {}
        self.said: dict[Fence, Said] = {}
        self.finished = 0
        self.refused = 0
        self._pool = pool
        self._me = me
        self._on_written = on_written
        self._failures_before_pause = failures_before_pause
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._progress_due = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, ended: Ended) -> None:
        """Take an outcome."""
        self.pending[ended.fence] = ended
        if isinstance(ended, Outcome) and ended.status is Status.SUCCESS:
            self.said.pop(ended.fence, None)
        self._due.set()

    def say(self, said: Said) -> None:
        """Take progress, from any thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._loop.call_soon_threadsafe(self._say, said)
        else:
            self._say(said)

    def discard(self) -> None:
        """Forget everything: the lease is lost, so nothing of it would be let in."""
        for ended in self.pending.values():
            self._refuse(ended)
        self.pending.clear()
        self.said.clear()

    async def run(self) -> None:
        """Write outcomes as they come, at most every 5 ms, and progress every 250 ms, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.flush_stubbornly()
            await asyncio.sleep(OUTCOMES_EVERY)

    async def flush_stubbornly(self) -> None:
        """Write what is due, however long Postgres is away."""

        def complain(**said: object) -> None:
            log.warning("flush_failed", pending=len(self.pending), **said)

        await insist(self._flush_due, (psycopg.Error, DatabaseError, ValueError), complain)

    async def flush_once(self) -> None:
        """Write all outcomes; raises what the database raises when it is away, and then still has what is unwritten."""
        while self.pending:
            batch = list(islice(self.pending.values(), BATCH))
            if self.said and any(ended.fence in self.said for ended in batch):
                await self.flush_progress_once()  # first: a failed attempt's error keeps its last step and percent
            try:
                await self._write(batch)
            except POISON:
                for ended in batch:
                    await self._write_alone(ended)

    async def _flush_due(self) -> None:
        if self._progress_due:
            await self.flush_progress_once()
        await self.flush_once()

    async def flush_progress_once(self) -> None:
        """Write the latest progress of every attempt that said something new."""
        batch = dict(self.said)
        try:
            await in_transaction(self._pool, partial(progress, worker_id=self._me.id, said=list(batch.values())))
        except POISON:
            log.exception("progress_refused", attempts=len(batch))
        for fence, said in batch.items():
            if self.said.get(fence) is said:
                del self.said[fence]
        self._progress_due = False

    async def _write(self, batch: Sequence[Ended]) -> None:
        accepted = await in_statements(self._pool, partial(_record, worker_id=self._me.id, batch=batch))
        for ended in batch:
            fence = ended.fence
            self.said.pop(fence, None)
            if self.pending.pop(fence, None) and fence not in accepted:
                self._refuse(ended)
        self._on_written()
        outcomes = [ended for ended in batch if isinstance(ended, Outcome) and ended.fence in accepted]
        self.finished += len(outcomes)
        failed = [outcome.run_id for outcome in outcomes if outcome.status is Status.FAILED]
        await pause_after_failures(self._pool, failed, failures=self._failures_before_pause)

    async def _write_alone(self, ended: Ended) -> None:
        try:
            await self._write([ended])
        except POISON as error:
            log.exception("outcome_poisoned", run_id=str(ended.run_id), attempt=ended.attempt)
            await self._write([unstorable(ended, error)])

    def _refuse(self, ended: Ended) -> None:
        self.refused += 1
        outcome = ended.status.value if isinstance(ended, Outcome) else type(ended).__name__
        log.warning("outcome_refused", run_id=str(ended.run_id), attempt=ended.attempt, outcome=outcome)

    def _say(self, said: Said) -> None:
        fence = said.fence
        before = self.said.get(fence)
        self.said[fence] = replace(said, progress=_latest(before.progress if before else Progress(), said.progress))
        if self._timer is None:
            self._timer = self._loop.call_later(PROGRESS_EVERY, self._progress_comes_due)

    def _progress_comes_due(self) -> None:
        self._timer = None
        self._progress_due = True
        self._due.set()


async def _record(conn: AsyncConnection, worker_id: UUID, batch: Sequence[Ended]) -> set[Fence]:
    """Write a batch of outcomes of all sorts; returns those that the fence let in, now or before."""
    outcomes = [ended for ended in batch if isinstance(ended, Outcome)]
    failures = [ended for ended in batch if isinstance(ended, FailedAttempt)]
    snoozes = [ended for ended in batch if isinstance(ended, Snoozed)]
    accepted: set[Fence] = set()
    if outcomes:
        answers = await finish(conn, worker_id, outcomes)
        accepted |= {fence for fence, answer in answers.items() if answer is not Recorded.REFUSED}
    if failures:
        accepted |= await retry(conn, worker_id, failures)
    if snoozes:
        accepted |= await snooze(conn, worker_id, snoozes)
    return accepted


def _latest(before: Progress, now: Progress) -> Progress:
    """The newer word of each field, as Postgres takes it."""
    said: dict[str, Any] = now.model_dump(exclude_none=True)
    for name in said.keys() & {"step", "detail"}:
        said[name] = clean(said[name], MESSAGE_LENGTH)
    for name in said.keys() & {"done", "total"}:
        said[name] = max(-INTEGER, min(INTEGER, said[name]))
    return before.model_copy(update=said)
