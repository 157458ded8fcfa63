"""Expand: ticks become runs, one chunk of their schedules at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import SerializationFailure
from psycopg.types.json import Jsonb

from shared.db import fetch_one, load_sql

LOCK_TICK = load_sql(__file__, "lock_tick")
EXPAND = load_sql(__file__, "expand")
COVER = load_sql(__file__, "cover")


class TickRow(Protocol):
    """What names a row of ticks: `through` tells apart those of one that was split."""

    @property
    def timetable_id(self) -> UUID: ...  # noqa: D102 - as the table has it
    @property
    def scheduled_for(self) -> datetime: ...  # noqa: D102
    @property
    def through(self) -> UUID: ...  # noqa: D102


@dataclass(frozen=True)
class Expanded:
    """What a chunk came to: schedules seen, runs and skips made, slots missed.

    `covered` are the schedules whose slot a live run covers, with those slots in `covered_slots`. `last` is the last
    schedule seen, of the first of the `left` ticks that are not done; the others of them were not begun.
    """

    seen: int
    runs: int
    skips: int
    missed: int
    covered: list[UUID]
    covered_slots: list[datetime]
    last: UUID | None
    left: int


async def expand(
    conn: AsyncConnection,
    ticks: Sequence[TickRow],
    *,
    chunk: int,
    max_attempts: Mapping[str, int],
    missed_after: timedelta,
) -> Expanded:
    """Settle the next `chunk` schedules of these ticks, one tick after the other, in the caller's transaction.

    Of a tick that was split take one row at a time: two may have a schedule in common. `max_attempts` is by kind; the
    slots of a kind it lacks are skipped as `not_configured`. A slot taken up more than `missed_after` late, or followed
    by a later one that is due too, is up to each schedule's `catch_up`. Expanding the same tick again, from anywhere,
    adds nothing. Raises `SerializationFailure`, to be retried by the transaction's owner, when a run that covered a
    slot ended meanwhile, or somebody else settled it.
    """
    await conn.execute("set local lock_timeout = '1s'")
    await _lock(conn, ticks)
    values = {
        "slot": ticks[0].scheduled_for,
        "timetable_ids": [tick.timetable_id for tick in ticks],
        "slots": [tick.scheduled_for for tick in ticks],
        "throughs": [tick.through for tick in ticks],
        "chunk": chunk,
        "max_attempts": Jsonb(dict(max_attempts)),
        "missed_after": missed_after,
    }
    expanded = await fetch_one(conn, EXPAND, values, Expanded)
    assert expanded is not None  # noqa: S101 - an aggregate always answers
    if expanded.covered:
        await _name_covers(conn, expanded)
    return expanded


async def _lock(conn: AsyncConnection, ticks: Sequence[TickRow]) -> None:
    # One by one, in statements of their own: Postgres 18 crashed when it had to look again, after such a wait, at a row
    # that the large statement locked itself. The large one then also sees what we waited for.
    async with conn.cursor() as cursor:
        names = [(tick.timetable_id, tick.scheduled_for, tick.through) for tick in ticks]
        await cursor.executemany(LOCK_TICK, names)


async def _name_covers(conn: AsyncConnection, expanded: Expanded) -> None:
    # In a statement of its own, which also sees the runs that were still uncommitted when the chunk came upon them.
    values = {"schedule_ids": expanded.covered, "slots": expanded.covered_slots}
    gone = len(expanded.covered) - (await conn.execute(COVER, values)).rowcount
    if gone:
        raise SerializationFailure(f"{gone} runs that covered a slot ended meanwhile, or were the slot's own")
