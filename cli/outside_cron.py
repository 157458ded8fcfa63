"""What the API lends to a host's own cron: a scheduler's pass and housekeeping, and a worker for a while."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from typing import Any

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from api.deps import OutsideCron
from cli.services import STINT
from scheduler.maintenance import Maintenance
from scheduler.service import REST_EVERY, SWEEP_EVERY, TIDY_EVERY, pass_once
from shared.db import in_transaction
from shared.errors import ConflictError, DatabaseError
from shared.kinds import Registry
from shared.partitions import make_partitions
from shared.settings import Settings
from worker.execution import MOST_ABANDONED
from worker.worker import open_worker

log = structlog.get_logger()

MOST_STUCK = 3
PARTITIONS_DEADLINE = 2.0  # seconds: they are made weeks ahead, so another time will do


def lend(settings: Settings, url: str, registry: Registry) -> OutsideCron:
    """The two callables, for the API over the database at `url`."""
    house = Housekeeping(settings, registry)
    stints = Stints(settings, url, registry)

    async def tick(pool: AsyncConnectionPool, seconds: float) -> Mapping[str, Any]:
        until = asyncio.get_running_loop().time() + seconds
        await house.make_partitions(pool)
        counts = await pass_once(pool, settings, registry, seconds=until - asyncio.get_running_loop().time())
        if not counts.more:
            await house.keep(pool, until - asyncio.get_running_loop().time())
        return asdict(counts)

    return OutsideCron(tick, stints.work)


class Housekeeping:
    """What a scheduler does besides its passes, each in its turn when it is due; what has no time goes on next time."""

    def __init__(self, settings: Settings, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._due: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def make_partitions(self, pool: AsyncConnectionPool) -> None:
        """Room for what the pass makes; when it can't be made, the pass shows whether that matters."""
        make = partial(make_partitions, keep=self._settings.keep)
        try:
            await in_transaction(pool, make, deadline=PARTITIONS_DEADLINE)
        except (psycopg.Error, DatabaseError) as error:
            log.warning("partitions_not_made", error=str(error))

    async def keep(self, pool: AsyncConnectionPool, seconds: float) -> None:
        """Begin what is due, or go on with it, for so many seconds; then a statement at work ends by itself."""
        if self._task is None or self._task.done():
            self._stop.clear()
            self._task = asyncio.create_task(self._do_due(pool))
        _, at_work = await asyncio.wait({self._task}, timeout=max(0.0, seconds))
        if at_work:
            self._stop.set()

    async def _do_due(self, pool: AsyncConnectionPool) -> None:
        maintenance = Maintenance(pool, self._settings, self._registry, self._stop)
        turns = {
            "tidy": (maintenance.tidy_once, TIDY_EVERY),
            "sweep": (maintenance.sweep_once, SWEEP_EVERY),
            "rest": (maintenance.rest_once, REST_EVERY),
        }
        for name, (turn, every) in turns.items():
            if self._clock() < self._due.get(name, 0.0) or self._stop.is_set():
                continue
            try:
                await turn()
            except (psycopg.Error, DatabaseError) as error:
                log.warning("turn_failed", turn=name, error=str(error))
            except Exception:
                log.exception("turn_failed", turn=name)
            else:
                if not self._stop.is_set():
                    self._due[name] = self._clock() + every.total_seconds()


class Stints:
    """Lets workers work for a while, one after the other."""

    def __init__(self, settings: Settings, url: str, registry: Registry) -> None:
        self._settings = settings
        self._url = url
        self._registry = registry
        self._begun: list[Stint] = []

    async def work(self, seconds: float, stopping: asyncio.Event) -> int:
        """Work for at most so many seconds and return how many runs ended by it; at a stop only for the grace.

        At most half of the time is the grace: what needs no longer is never cut off, and later runs are not begun.
        Raises `ConflictError` when handlers of earlier times have not come to an end.
        """
        self._begun = [stint for stint in self._begun if stint.is_alive()]
        if len(self._begun) >= MOST_STUCK:
            raise ConflictError("Handlers of earlier ticks never end.", hint="Restart this process.")
        grace = min(self._settings.worker_grace_seconds, seconds / 2)
        settings = self._settings.model_copy(update={"worker_grace_seconds": grace})
        stint = Stint(settings, self._url, self._registry)
        self._begun.append(stint)
        stint.start()
        ended, stopped = asyncio.wrap_future(stint.finished), asyncio.create_task(stopping.wait())
        either: set[asyncio.Future[Any]] = {ended, stopped}
        try:
            await asyncio.wait(either, timeout=seconds - grace, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when nobody waits for the answer any more
            stopped.cancel()
            stint.stop()
        return await ended


class Stint:
    """A worker in a thread and on a loop of its own: a handler that blocks it holds up no request.

    `finished` has the result before the thread ends, which waits for handlers that don't heed being told to stop.
    """

    def __init__(self, settings: Settings, url: str, registry: Registry) -> None:
        self.finished = Future[int]()
        self.finished.set_running_or_notify_cancel()  # from here on nobody can cancel it
        self._settings = settings
        self._url = url
        self._registry = registry
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=copy_context().run, args=[self._run], name=STINT, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether anything of it still goes on."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let the worker claim nothing more, and end when its runs have or its grace is over."""
        with suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._stop.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                self.finished.set_result(runner.run(self._work()))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
                self.finished.set_exception(error)

    async def _work(self) -> int:
        threads = ThreadPoolExecutor(self._settings.worker_slots + MOST_ABANDONED, thread_name_prefix="handler")
        self._loop.set_default_executor(threads)
        async with open_worker(self._settings, self._url, self._registry, stop=self._stop) as worker:
            await worker.run(self._url)
            return worker.flusher.finished
