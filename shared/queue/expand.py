"""Expand: a tick becomes runs, one chunk of its schedules at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import SerializationFailure
from psycopg.types.json import Jsonb

from shared.db import fetch_one, load_sql

EXPAND = load_sql(__file__, "expand")
COVER = load_sql(__file__, "cover")
LAST = UUID(int=2**128 - 1)


@dataclass(frozen=True)
class Expanded:
    """What a chunk came to: schedules seen, runs and skips made, slots missed; `finished` when the tick is done.

    `covered` are the schedules whose slot a live run covers.
    """

    seen: int
    runs: int
    skips: int
    missed: int
    covered: list[UUID]
    finished: bool


async def expand(
    conn: AsyncConnection,
    timetable_id: UUID,
    slot: datetime,
    *,
    chunk: int,
    max_attempts: Mapping[str, int],
    missed_after: timedelta,
    through: UUID = LAST,
) -> Expanded:
    """Settle the next `chunk` schedules of a tick in the caller's transaction.

    `through` names the row of a tick that was split. `max_attempts` is by kind; the slots of a kind it lacks are
    skipped as `not_configured`. A slot taken up more than `missed_after` late, or followed by a later one that is due
    too, is up to each schedule's `catch_up`. Expanding the same tick again, from anywhere, adds nothing.
    Raises `SerializationFailure`, to be retried by the transaction's owner, when a run that covered a slot ended
    meanwhile.
    """
    await conn.execute("set local lock_timeout = '1s'")
    values = {
        "timetable_id": timetable_id,
        "slot": slot,
        "through": through,
        "chunk": chunk,
        "max_attempts": Jsonb(dict(max_attempts)),
        "missed_after": missed_after,
    }
    expanded = await fetch_one(conn, EXPAND, values, Expanded)
    assert expanded is not None  # noqa: S101 - an aggregate always answers
    if expanded.covered:
        await _name_covers(conn, slot, expanded.covered)
    return expanded


async def _name_covers(conn: AsyncConnection, slot: datetime, schedule_ids: list[UUID]) -> None:
    # In a statement of its own, which also sees the runs that were still uncommitted when the chunk came upon them.
    skips = (await conn.execute(COVER, {"schedule_ids": schedule_ids, "slot": slot})).rowcount
    if skips < len(schedule_ids):
        raise SerializationFailure(f"{len(schedule_ids) - skips} runs that covered the slot {slot} ended meanwhile")
