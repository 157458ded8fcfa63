"""Worker: one row in `workers` and everything that works under it."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from shared.db import in_statements, in_transaction, open_pool
from shared.errors import DatabaseError
from shared.kinds import Kind, Registry
from shared.queue import expire, leave, mark_stopping, register, rescue
from shared.schedules import pause_after_failures
from shared.settings import RECONCILE_EVERY, RESCUE_EVERY, Settings
from shared.wake import Channel, listen
from worker.claiming import Claimer, Shares
from worker.execution import Attempts
from worker.finishing import Flusher
from worker.leases import Lease, Me
from worker.ports import HANDLER_CONNECTIONS, Tools
from worker.processes import Processes, open_processes
from worker.reconciling import Reconciler
from worker.tasks import end_tasks

log = structlog.get_logger()

# With those that claim, listen and renew the lease, five connections at most; an idle worker has four.
POOL_SIZE = 1 + HANDLER_CONNECTIONS
HTTP_TIMEOUT = httpx.Timeout(30, connect=10)
CLEAN_UP = 2.0
LAST_WORDS = 10.0
FAILED = 1


class Worker:
    """A registered worker and its parts. `run` runs their loops; each loop has a `…_once` that does one turn of it."""

    def __init__(
        self,
        settings: Settings,
        kinds: Mapping[str, Kind[Any, Any]],
        pool: AsyncConnectionPool,
        claims: AsyncConnectionPool,
        http: httpx.AsyncClient,
        processes: Processes,
        me: Me,
        stop: asyncio.Event,
    ) -> None:
        self.me = me
        self.pool = pool
        self.stop = stop
        self.exit_code = 0
        self.flusher = Flusher(pool, me, self.outcomes_written, settings.failures_before_pause)
        self.attempts = Attempts(
            kinds,
            Tools(http, pool, self.flusher.say, {name: kind.rates for name, kind in kinds.items()}),
            processes,
            on_end=self.flusher.add,
            on_free=self.slot_freed,
            on_crowded=self.give_up,
        )
        shares = Shares(settings.worker_slots, reserve=settings.manual_reserve, rate=settings.cron_credit)
        limits = {name: kind.running_limit for name, kind in kinds.items() if kind.running_limit is not None}
        self.claimer = Claimer(claims, me, list(kinds), limits, shares, self.attempts, self.flusher)
        self.reconciler = Reconciler(pool, me, self.attempts, self.flusher, self.claimer.lock)
        self._settings = settings
        self._kinds = kinds
        self._lost: asyncio.Queue[UUID] = asyncio.Queue()

    async def work_once(self) -> int:
        """Claim once, work off what was claimed, and record it; returns how many attempts that were."""
        claimed = await self.claimer.claim_once()
        await self.attempts.wait()
        await self.flusher.flush_once()
        return claimed

    async def rescue_once(self) -> None:
        """Give back the runs of dead workers, and fail those that have waited too long for a live one."""
        await in_transaction(self.pool, partial(expire, kinds=self._kinds))
        rescued = await in_statements(self.pool, rescue)
        if rescued.given_back or rescued.failed:
            log.warning("runs_rescued", given_back=rescued.given_back, failed=rescued.failed)
            self.claimer.wake()
        failures = self._settings.failures_before_pause
        await pause_after_failures(self.pool, rescued.failed_ids, failures=failures)

    def lose(self, worker_id: UUID) -> None:
        """Take word that the lease of a row has expired."""
        self._lost.put_nowait(worker_id)

    async def start_anew_once(self) -> None:
        """Wait for word of a lost lease and act on it; while that fails, word comes again with the next renewal."""
        lost = await self._lost.get()
        await self.reconciler.start_anew(lost, list(self._kinds), self._settings.worker_slots)
        self.claimer.wake()

    def heed(self, channel: Channel, payload: str) -> None:
        """Act on a wake-up: look for due runs, or drop a run that is over."""
        if channel is Channel.QUEUE:
            self.claimer.wake(payload)
        else:
            with suppress(ValueError):
                self.attempts.drop_run(UUID(payload))

    def slot_freed(self) -> None:
        """There is room for another run."""
        self.claimer.slot_freed()

    def outcomes_written(self) -> None:
        """There is room for more outcomes."""
        self.claimer.outcomes_written()

    def give_up(self) -> None:
        """Work off what is in hand and end with a non-zero code: another process will do better."""
        self.exit_code = FAILED
        self.stop.set()

    async def run(self, url: str) -> int:
        """Work until `stop` is set, then for the grace; returns the exit code."""
        loop = asyncio.get_running_loop()
        with Lease(url, self.me, lambda lost: loop.call_soon_threadsafe(self.lose, lost)) as lease:
            claiming = asyncio.create_task(self.claimer.run(self._settings.worker_poll_interval_seconds))
            loops = [asyncio.create_task(work) for work in self._loops(url, lease)]
            try:
                await self._until_stopped([claiming, *loops])
                await end_tasks([claiming])
                await self._work_off()
            finally:
                await end_tasks([claiming, *loops])
            await self._leave()
        return self.exit_code

    async def _until_stopped(self, loops: list[asyncio.Task[None]]) -> None:
        """Return when `stop` is set; raises what a loop raises, which would be a bug."""
        stopped = asyncio.create_task(self.stop.wait())
        ended, _ = await asyncio.wait([stopped, *loops], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for loop in ended - {stopped}:
            await loop

    def _loops(self, url: str, lease: Lease) -> list[Coroutine[Any, Any, None]]:
        return [
            self.flusher.run(),
            *([listen(url, "worker-listen", self.heed)] if self._settings.foxtrot_notify else []),
            _every(RECONCILE_EVERY, self.reconciler.reconcile_once),
            _every(RESCUE_EVERY, self.rescue_once),
            _every(timedelta(0), self.start_anew_once),
            _beat(lease),
        ]

    async def _work_off(self) -> None:
        """Let the attempts in hand go on for the grace, then give back the rest."""
        log.info("worker_stopping", worker_id=str(self.me.id), attempts=len(self.attempts.running))
        await _try(partial(in_transaction, self.pool, partial(mark_stopping, worker_id=self.me.id)), "mark_stopping")
        await self.attempts.wait(self._settings.worker_grace_seconds)
        self.attempts.drop_all()
        await _try(self.reconciler.reconcile_once, "release")  # if it fails, others rescue them when the lease ends
        await self.attempts.wait(CLEAN_UP)

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self.flusher.flush_stubbornly()
                await in_transaction(self.pool, partial(leave, worker_id=self.me.id))
        except (psycopg.Error, DatabaseError, TimeoutError):
            log.exception("leave_failed", outcomes_lost=len(self.flusher.pending))
            self.exit_code = FAILED
        counts = {"finished": self.flusher.finished, "refused": self.flusher.refused}
        log.info("worker_stopped", worker_id=str(self.me.id), exit_code=self.exit_code, **counts)


@asynccontextmanager
async def open_worker(
    settings: Settings,
    url: str,
    registry: Registry,
    *,
    kinds: list[str] | None = None,
    slots: int | None = None,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Worker]:
    """A registered worker that does nothing yet.

    Raises `UnknownKindError` or `SettingsError` for a kind that can't be worked, `DatabaseError` without a database.
    """
    chosen = {name: registry.get(name) for name in kinds or registry.kinds}
    for kind in chosen.values():
        kind.load_handler()  # one that isn't there stops us before there is a row that says we are here
    settings = settings.model_copy(update={"worker_slots": slots or settings.worker_slots})
    limits = httpx.Limits(max_connections=max(100, settings.worker_slots))
    async with (
        open_pool(url, "worker", size=POOL_SIZE) as pool,
        open_pool(url, "worker-claim", size=1, planned_once=True) as claims,
        httpx.AsyncClient(timeout=HTTP_TIMEOUT, limits=limits) as http,
        open_processes(min(settings.worker_slots, os.cpu_count() or 1)) as processes,
    ):
        me = Me(await in_transaction(pool, partial(register, kinds=list(chosen), slots=settings.worker_slots)))
        yield Worker(settings, chosen, pool, claims, http, processes, me, stop or asyncio.Event())


async def _every(period: timedelta, once: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(period.total_seconds() * random.uniform(0.8, 1))  # noqa: S311 - jitter
        await _try(once, once.__name__)


async def _try(once: Callable[[], Awaitable[None]], name: str) -> None:
    """Do one turn; what Postgres does not allow now, another turn will."""
    try:
        await once()
    except (psycopg.Error, DatabaseError) as error:
        log.warning("turn_failed", turn=name, error=str(error))


async def _beat(lease: Lease) -> None:
    while True:
        lease.beat += 1
        await asyncio.sleep(1)
