"""The scheduler process: APScheduler is its metronome, the truth about what is due is in Postgres."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial

import structlog
from psycopg_pool import AsyncConnectionPool

from scheduler.expansion import Expansion
from scheduler.maintenance import Maintenance
from scheduler.metronome import Metronome
from scheduler.ticks import advance
from shared.db import fetch_one, in_statements, in_transaction, load_sql, open_pool
from shared.kinds import Registry
from shared.queue import expire, rescue
from shared.schedules import pause_after_failures
from shared.settings import RESCUE_EVERY, Settings
from shared.wake import Channel, Waker

log = structlog.get_logger()

OUTLOOK = load_sql(__file__, "outlook")

CONNECTIONS = 2
ADVANCE_DEADLINE = 30.0  # seconds: after an outage every timetable has slots to look for
TIDY_EVERY = timedelta(hours=1)
SWEEP_EVERY = timedelta(days=1)
REST_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class Outlook:
    """Whether there is anything to do, and in how many seconds the first slot to come is due; None without one."""

    due: bool
    seconds: float | None


@dataclass
class PassCounts:
    """What a pass came to; `more` when it ended with work left because its time was over."""

    ticks: int = 0
    runs: int = 0
    skips: int = 0
    missed: int = 0
    given_back: int = 0
    failed: int = 0
    expired: int = 0
    more: bool = False


async def pass_once(
    pool: AsyncConnectionPool, settings: Settings, registry: Registry, *, seconds: float = 5
) -> PassCounts:
    """Advance due timetables, expand open ticks, rescue and expire runs; begins nothing new after `seconds`.

    Any number of these may go on at once, in any process. Workers are woken after each chunk. Raises `DatabaseError`
    or `psycopg.Error` when Postgres is away; what was committed until then stays, and the next pass goes on from there.
    """
    until = asyncio.get_running_loop().time() + seconds
    counts, waker = PassCounts(), Waker(pool, enabled=settings.foxtrot_notify)
    try:
        await _advance(pool, settings, counts, until)
        await _expand(Expansion(pool, settings, registry), waker, counts, until)
        await _rescue(pool, settings, registry, waker, counts)
    finally:
        await waker.close()
    return counts


async def _advance(pool: AsyncConnectionPool, settings: Settings, counts: PassCounts, until: float) -> None:
    keep = timedelta(days=settings.retention_days)
    more = True
    while more and not _over(until):
        advanced = await in_transaction(pool, lambda conn: advance(conn, keep), deadline=ADVANCE_DEADLINE)
        counts.ticks += advanced.ticks
        more = advanced.more


async def _expand(expansion: Expansion, waker: Waker, counts: PassCounts, until: float) -> None:
    # A search for a schedule that is held goes on to its end: begun anew by every pass, it might never get there.
    while expansion.searching or not _over(until):
        chunk = await expansion.expand_once()
        if chunk is None:
            return
        if chunk.expanded is not None:
            counts.runs += chunk.expanded.runs
            counts.skips += chunk.expanded.skips
            counts.missed += chunk.expanded.missed
            if chunk.expanded.runs:
                waker.wake(Channel.QUEUE)
    counts.more = True


async def _rescue(
    pool: AsyncConnectionPool, settings: Settings, registry: Registry, waker: Waker, counts: PassCounts
) -> None:
    counts.expired = await in_transaction(pool, partial(expire, kinds=registry.kinds))
    rescued = await in_statements(pool, rescue)
    counts.given_back, counts.failed = rescued.given_back, rescued.failed
    await pause_after_failures(pool, rescued.failed_ids, failures=settings.failures_before_pause)
    if rescued.given_back:
        waker.wake(Channel.QUEUE)


def _over(until: float) -> bool:
    return asyncio.get_running_loop().time() >= until


async def run_scheduler(
    settings: Settings,
    url: str,
    registry: Registry,
    *,
    stop: asyncio.Event | None = None,
    handle_signals: bool = True,
) -> int:
    """Schedule until `stop` is set, finish the pass in hand, and return 0, the exit code.

    `handle_signals` is for a process of the scheduler's own: SIGTERM and SIGINT set `stop`. Raises `DatabaseError` when
    the server can't be reached at the start; later it is waited for.
    """
    stop = stop or asyncio.Event()
    if handle_signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_pool(url, "scheduler", size=CONNECTIONS) as pool:
        maintenance = Maintenance(pool, settings, registry, stop)
        metronome = Metronome(stop)
        interval = timedelta(seconds=settings.scheduler_interval_seconds)
        metronome.call(partial(_pass_on, pool, settings, registry, stop), name="pass", every=interval)
        metronome.call(partial(_rescue_on, pool, settings, registry), name="rescue", every=RESCUE_EVERY)
        metronome.call(maintenance.tidy_once, name="tidy", every=TIDY_EVERY)
        metronome.call(maintenance.sweep_once, name="sweep", every=SWEEP_EVERY)
        metronome.call(maintenance.rest_once, name="rest", every=REST_EVERY)
        log.info("scheduler_started", kinds=sorted(registry.kinds))
        await metronome.run()
    log.info("scheduler_stopped")
    return 0


async def _pass_on(pool: AsyncConnectionPool, settings: Settings, registry: Registry, stop: asyncio.Event) -> None:
    """Passes while there is something to do, without a pause if there is more or a slot comes before the next beat."""
    more = True
    while more and not stop.is_set():
        seen = asyncio.get_running_loop().time()
        outlook = await in_statements(pool, lambda conn: fetch_one(conn, OUTLOOK, {}, Outlook))
        assert outlook is not None  # noqa: S101 - a select without a table always answers
        counts = await pass_once(pool, settings, registry) if outlook.due else PassCounts()
        _say(counts)
        more = counts.more or await _comes(outlook, seen, stop, within=settings.scheduler_interval_seconds)


async def _comes(outlook: Outlook, seen: float, stop: asyncio.Event, *, within: float) -> bool:
    """Wait for the first slot of what was `seen` to come, if it comes `within` so many seconds; False if none does."""
    now = asyncio.get_running_loop().time()
    if outlook.seconds is None or seen + outlook.seconds > now + within:
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout_at(seen + outlook.seconds):
            await stop.wait()
    return True


async def _rescue_on(pool: AsyncConnectionPool, settings: Settings, registry: Registry) -> None:
    """What a pass does for runs, also while no slot is due."""
    counts, waker = PassCounts(), Waker(pool, enabled=settings.foxtrot_notify)
    try:
        await _rescue(pool, settings, registry, waker, counts)
    finally:
        await waker.close()
    _say(counts)


def _say(counts: PassCounts) -> None:
    if counts != PassCounts():
        log.info("passed", **asdict(counts))
