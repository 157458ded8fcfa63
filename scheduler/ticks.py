"""Ticks: timetables whose slot has come move on to their next one, and every slot they pass becomes a tick."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from psycopg import AsyncConnection

from shared.cron import next_slots, tzdata_version
from shared.db import fetch_all, load_sql
from shared.errors import InvalidCronError, InvalidInputError

log = structlog.get_logger()

DUE = load_sql(__file__, "due_timetables")
ADVANCE = load_sql(__file__, "advance")

TIMETABLES_AT_ONCE = 500
SLOTS_AT_MOST = 100  # what `catch_up: all` reaches back to
SHORTEST_LOOK_BACK = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class DueTimetable:
    """A timetable whose next slot has come by the database's clock, `now`."""

    id: UUID
    crons: list[str]
    zone: str
    next_slot: datetime
    now: datetime


@dataclass(frozen=True)
class Move:
    """The slots that a timetable passes, oldest first, and the one it waits for then."""

    timetable_id: UUID
    slots: list[datetime]
    next_slot: datetime


@dataclass(frozen=True)
class Advanced:
    """How many ticks were made; `more` when there may be more timetables due than were taken."""

    ticks: int
    more: bool


async def advance(conn: AsyncConnection, keep: timedelta, at_most: int = TIMETABLES_AT_ONCE) -> Advanced:
    """Move up to `at_most` due timetables on, in the caller's transaction.

    After an outage only the last 100 slots of a timetable become ticks, and none that is older than `keep`. Timetables
    that were computed with newer tzdata than this process has are left to a newer one.
    """
    due = await fetch_all(conn, DUE, {"tzdata": tzdata_version(), "at_most": at_most}, DueTimetable)
    moves = [move for timetable in due if (move := _move(timetable, keep))]
    if not moves:
        return Advanced(ticks=0, more=False)
    ticks = (await conn.execute(ADVANCE, _columns(moves))).rowcount
    return Advanced(ticks, more=len(due) == at_most)


def _move(timetable: DueTimetable, keep: timedelta) -> Move | None:
    try:
        return _move_on(timetable, timetable.now - keep)
    except InvalidInputError as error:
        # Nobody can store such a rule; should one be there after all, the others must not wait for it.
        log.error("timetable_broken", timetable_id=str(timetable.id), error=error.message)  # noqa: TRY400 - one line
        return None


def _move_on(timetable: DueTimetable, oldest: datetime) -> Move:
    """Look for slots further and further back, so that an outage of months is not walked through slot by slot."""
    first = max(timetable.next_slot, oldest)
    look_back = SHORTEST_LOOK_BACK
    while True:
        since = max(first, timetable.now - look_back)
        *slots, following = _slots(timetable, since)
        if since == first or len(slots) >= SLOTS_AT_MOST:
            return Move(timetable.id, slots[-SLOTS_AT_MOST:], following)
        look_back *= 2


def _slots(timetable: DueTimetable, since: datetime) -> list[datetime]:
    """The slots from `since` to now, and the first after now."""
    slots: list[datetime] = []
    after, n = since - INSTANT, 2
    while not slots or slots[-1] <= timetable.now:
        batch = next_slots(timetable.crons, timetable.zone, after, n)
        if not batch:
            raise InvalidCronError(f"cron expressions {timetable.crons} have no slot after {after:%Y-%m-%d}")
        slots += batch
        after, n = slots[-1], min(2 * n, SLOTS_AT_MOST)
    return slots[: bisect_right(slots, timetable.now) + 1]


def _columns(moves: Sequence[Move]) -> dict[str, Any]:
    ticks = [(move, slot) for move in moves for slot in move.slots]
    return {
        "timetable_ids": [move.timetable_id for move in moves],
        "next_slots": [move.next_slot for move in moves],
        "tick_ids": [move.timetable_id for move, _ in ticks],
        "slots": [slot for _, slot in ticks],
        "newest": [slot == move.slots[-1] for move, slot in ticks],
        "tzdata": tzdata_version(),
    }
