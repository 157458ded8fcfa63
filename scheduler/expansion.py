"""Expansion: open ticks become runs, a chunk a transaction, by as many schedulers as there are."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg_pool import AsyncConnectionPool

from shared.db import fetch_one, in_transaction, load_sql
from shared.kinds import Registry
from shared.queue import Expanded, expand
from shared.settings import Settings

log = structlog.get_logger()

OPEN_TICK = load_sql(__file__, "open_tick")
LEFT = load_sql(__file__, "left_in_tick")
SET_APART = load_sql(__file__, "set_apart")

NARROWER = 10  # an attempt that is held costs a second, one that isn't costs milliseconds: so not by half
REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)


@dataclass(frozen=True)
class OpenTick:
    """A row of ticks that is not finished."""

    timetable_id: UUID
    scheduled_for: datetime
    through: UUID


@dataclass(frozen=True)
class Left:
    """How many schedules a tick still has to settle."""

    schedules: int


@dataclass(frozen=True)
class Chunk:
    """One attempt at a tick: what it came to, or the error that undid it."""

    tick: OpenTick
    expanded: Expanded | None = None
    error: psycopg.Error | None = None


@dataclass
class Stride:
    """How many schedules to take at once: `full`, or a part of the stretch in which one is known to be held."""

    full: int
    stretch: int = 0

    @property
    def size(self) -> int:
        """The size of the next chunk."""
        return max(1, self.stretch // NARROWER) if self.stretch else self.full

    def passed(self) -> None:
        """A chunk of that size is settled; after the whole stretch chunks are full again."""
        self.stretch = max(0, self.stretch - self.size)


@dataclass
class Expansion:
    """The open ticks of one pass; call `expand_once` until it answers None.

    Schedulers share the ticks, each at one that no other is at. What can't go on now is put `aside` for this pass.
    """

    pool: AsyncConnectionPool
    settings: Settings
    registry: Registry
    aside: list[OpenTick] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stride = Stride(self.settings.expand_chunk)
        self._max_attempts = {name: kind.retry.attempts for name, kind in self.registry.kinds.items()}
        self._missed_after = timedelta(seconds=self.settings.missed_after_seconds)

    @property
    def searching(self) -> bool:
        """Whether a schedule is looked for whose place in the queue is held."""
        return self.stride.stretch > 0

    async def expand_once(self) -> Chunk | None:
        """Settle the next chunk and commit, or make way for it; None when this pass has no tick left to go on with.

        A chunk that waited a second because an open transaction holds one user's place in the queue is taken again in
        parts, until that schedule is found: it gets a row of its own and waits there alone.
        """
        chunk = await in_transaction(self.pool, self._expand_next)
        if chunk is None:
            return None
        if isinstance(chunk.error, LockNotAvailable):
            await self._make_way(chunk.tick)
        elif chunk.error is not None:
            log.error("expand_failed", **_names(chunk.tick), error=str(chunk.error))
            self.aside.append(chunk.tick)
        else:
            self.stride.passed()
        return chunk

    async def _expand_next(self, conn: AsyncConnection) -> Chunk | None:
        tick = await fetch_one(conn, OPEN_TICK, self._columns(), OpenTick)
        if tick is None:
            return None
        try:
            expanded = await expand(
                conn,
                tick.timetable_id,
                tick.scheduled_for,
                through=tick.through,
                chunk=self.stride.size,
                max_attempts=self._max_attempts,
                missed_after=self._missed_after,
            )
        except (LockNotAvailable, *REFUSED) as error:
            # Taken here, because the same chunk again would not help; the tick must not stop the others.
            await conn.rollback()
            return Chunk(tick, error=error)
        return Chunk(tick, expanded)

    async def _make_way(self, tick: OpenTick) -> None:
        size = self.stride.size
        left = await in_transaction(self.pool, lambda conn: _left(conn, tick, at_most=max(size, 2)))
        if left > 1 and size > 1:
            self.stride.stretch = left
            return
        self.stride.stretch = 0
        apart = await in_transaction(self.pool, lambda conn: _set_apart(conn, tick)) if left > 1 else None
        held = apart or tick
        log.warning("schedule_held", **_names(held))
        self.aside.append(held)

    def _columns(self) -> dict[str, list[Any]]:
        return {
            "timetable_ids": [tick.timetable_id for tick in self.aside],
            "slots": [tick.scheduled_for for tick in self.aside],
            "throughs": [tick.through for tick in self.aside],
        }


async def _left(conn: AsyncConnection, tick: OpenTick, *, at_most: int) -> int:
    left = await fetch_one(conn, LEFT, {**asdict(tick), "at_most": at_most}, Left)
    assert left is not None  # noqa: S101 - an aggregate always answers
    return left.schedules


async def _set_apart(conn: AsyncConnection, tick: OpenTick) -> OpenTick | None:
    return await fetch_one(conn, SET_APART, asdict(tick), OpenTick)


def _names(tick: OpenTick) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(tick).items()}
