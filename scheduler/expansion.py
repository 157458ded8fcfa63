"""Expansion: open ticks become runs, a chunk a transaction, by as many schedulers as there are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg_pool import AsyncConnectionPool

from scheduler.stride import Stride, cut
from shared.db import fetch_all, fetch_one, in_transaction, load_sql
from shared.kinds import Registry
from shared.queue import Expanded, expand
from shared.settings import Settings

log = structlog.get_logger()

OPEN_TICKS = load_sql(__file__, "open_ticks")
LEFT = load_sql(__file__, "left_in_ticks")
SET_APART = load_sql(__file__, "set_apart")
SPLIT = load_sql(__file__, "split_tick")

REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)


@dataclass(frozen=True)
class OpenTick:
    """A row of ticks that is not finished: `held` waits for the place of its one schedule, `whole` was never split."""

    timetable_id: UUID
    scheduled_for: datetime
    through: UUID
    cursor: UUID
    held: bool
    whole: bool

    @property
    def names(self) -> dict[str, Any]:
        """What tells it from all others."""
        return {"timetable_id": self.timetable_id, "scheduled_for": self.scheduled_for, "through": self.through}


@dataclass(frozen=True)
class Left:
    """How many schedules ticks still have to settle."""

    schedules: int


@dataclass(frozen=True)
class Chunk:
    """One attempt at some ticks: what it came to, or the error that undid it."""

    ticks: list[OpenTick]
    expanded: Expanded | None = None
    error: psycopg.Error | None = None


@dataclass
class Expansion:
    """The open ticks of one pass; call `expand_once` until it answers None.

    Schedulers share the ticks, each at some that no other is at. What can't go on now is put `aside` for this pass.
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
            await self._make_way(chunk.ticks)
        elif chunk.error is not None:
            self._pass_by(chunk.ticks, chunk.error)
        elif chunk.expanded is not None:
            left = max(0, chunk.expanded.left - 1)  # but for the one that the chunk ended in
            self.stride.passed(chunk.expanded.seen, len(chunk.ticks) - left)
        return chunk

    async def _expand_next(self, conn: AsyncConnection) -> Chunk | None:
        ticks = await self._take(conn)
        if not ticks:
            return None
        try:
            expanded = await expand(
                conn,
                ticks,
                chunk=self.stride.size,
                max_attempts=self._max_attempts,
                missed_after=self._missed_after,
            )
            await self._share(conn, ticks, expanded)
        except (LockNotAvailable, *REFUSED) as error:
            # Taken here, because the same chunk again would not help; these ticks must not stop the others.
            await conn.rollback()
            return Chunk(ticks, error=error)
        return Chunk(ticks, expanded)

    async def _take(self, conn: AsyncConnection) -> list[OpenTick]:
        """The next ticks, a row of each; one that is held comes after the others and alone."""
        values = _columns(self.aside) | {"at_most": self.stride.at_most}
        found = sorted(await fetch_all(conn, OPEN_TICKS, values, OpenTick), key=_turn)
        rows = [tick for tick in found if not tick.held] or found[:1]
        return [next(parts) for _, parts in groupby(rows, key=lambda tick: (tick.scheduled_for, tick.timetable_id))]

    async def _share(self, conn: AsyncConnection, ticks: Sequence[OpenTick], expanded: Expanded) -> None:
        """Split a tick of which a full chunk is settled and much is left: other schedulers can take parts of it."""
        tick, last = ticks[0], expanded.last
        if self.searching or last is None or expanded.left < len(ticks) or not tick.whole:
            return
        cuts = cut(tick.cursor, tick.through, last=last, seen=expanded.seen, chunk=self.stride.full)
        if cuts:
            await conn.execute(SPLIT, tick.names | {"cuts": cuts})

    async def _make_way(self, ticks: Sequence[OpenTick]) -> None:
        left = await in_transaction(self.pool, lambda conn: _left(conn, ticks, at_most=max(self.stride.size, 2)))
        if len(ticks) > 1 or (left > 1 and self.stride.size > 1):
            self.stride.stretch = max(1, left)
            return
        self.stride.stretch = 0
        (tick,) = ticks
        apart = None if tick.held else await in_transaction(self.pool, lambda conn: _set_apart(conn, tick))
        held = apart or tick
        log.warning("schedule_held", **_said(held))
        self.aside.append(held)

    def _pass_by(self, ticks: Sequence[OpenTick], error: psycopg.Error) -> None:
        """Put aside the tick that can't be expanded, once it is known which it is."""
        self.stride.ticks = 1
        if len(ticks) == 1:
            log.error("expand_failed", **_said(ticks[0]), error=str(error))
            self.aside += ticks


async def _left(conn: AsyncConnection, ticks: Sequence[OpenTick], *, at_most: int) -> int:
    left = await fetch_one(conn, LEFT, _columns(ticks) | {"at_most": at_most}, Left)
    assert left is not None  # noqa: S101 - an aggregate always answers
    return left.schedules


async def _set_apart(conn: AsyncConnection, tick: OpenTick) -> OpenTick | None:
    return await fetch_one(conn, SET_APART, asdict(tick), OpenTick)


def _turn(tick: OpenTick) -> tuple[bool, datetime, UUID, UUID]:
    """The order in which rows were taken, which the statement doesn't promise to give them in."""
    return (tick.held, tick.scheduled_for, tick.timetable_id, tick.through)


def _columns(ticks: Sequence[OpenTick]) -> dict[str, Any]:
    return {
        "timetable_ids": [tick.timetable_id for tick in ticks],
        "slots": [tick.scheduled_for for tick in ticks],
        "throughs": [tick.through for tick in ticks],
    }


def _said(tick: OpenTick) -> dict[str, str]:
    return {name: str(value) for name, value in tick.names.items()}
