"""Ticks: timetables whose slot has come move on to their next one, and every slot they pass becomes a tick."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from psycopg import AsyncConnection

from shared.cron import last_slots, next_slots, once_a_day, tzdata_version
from shared.db import fetch_all, load_sql
from shared.errors import InvalidCronError, InvalidInputError

log = structlog.get_logger()

DUE = load_sql(__file__, "due_timetables")
OUTDATED = load_sql(__file__, "outdated_timetables")
ADVANCE = load_sql(__file__, "advance")

TIMETABLES_AT_ONCE = 500
SLOTS_AT_MOST = 100  # what `catch_up: all` reaches back to
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Held:
    """A timetable that nobody else moves meanwhile; `newest` is the last slot that it passed, if that is still known.

    `now` is the time by the database's clock.
    """

    id: UUID
    crons: list[str]
    zone: str
    next_slot: datetime
    tzdata: str
    created_at: datetime
    now: datetime
    newest: datetime | None


@dataclass(frozen=True)
class Move:
    """The slots that a timetable passes, oldest first, and the one it waits for then."""

    timetable_id: UUID
    slots: list[datetime]
    next_slot: datetime


@dataclass(frozen=True)
class Advanced:
    """How many timetables moved and ticks were made; `more` when there may be more timetables than were taken."""

    timetables: int
    ticks: int
    more: bool


async def advance(conn: AsyncConnection, keep: timedelta, at_most: int = TIMETABLES_AT_ONCE) -> Advanced:
    """Move up to `at_most` due timetables on, in the caller's transaction.

    After an outage only the last 100 slots of a timetable become ticks, and none that is older than `keep`. Timetables
    that were computed with newer tzdata than this process has are left to a newer one.
    """
    return await _move_all(conn, DUE, keep, at_most)


async def recompute(conn: AsyncConnection, keep: timedelta, at_most: int = TIMETABLES_AT_ONCE) -> Advanced:
    """Compute the next slots of up to `at_most` timetables anew that older tzdata was used for, due or not.

    A slot that the newer data moved into the past becomes a tick, unless it has been one.
    """
    return await _move_all(conn, OUTDATED, keep, at_most)


async def _move_all(conn: AsyncConnection, statement: bytes, keep: timedelta, at_most: int) -> Advanced:
    held = await fetch_all(conn, statement, {"tzdata": tzdata_version(), "at_most": at_most}, Held)
    moves = [move for timetable in held if (move := _move(timetable, keep))]
    if not moves:
        return Advanced(timetables=0, ticks=0, more=False)
    ticks = (await conn.execute(ADVANCE, _columns(moves))).rowcount
    return Advanced(len(moves), ticks, more=len(held) == at_most)


def _move(timetable: Held, keep: timedelta) -> Move | None:
    try:
        return _move_on(timetable, timetable.now - keep)
    except InvalidInputError as error:
        # Nobody can store such a rule; should one be there after all, the others must not wait for it.
        log.error("timetable_broken", timetable_id=str(timetable.id), error=error.message)  # noqa: TRY400 - one line
        return None


def _move_on(timetable: Held, oldest: datetime) -> Move:
    first = _first(timetable, oldest)
    if first > timetable.now:
        return Move(timetable.id, [], first)
    slots = last_slots(timetable.crons, timetable.zone, max(first, oldest), timetable.now, SLOTS_AT_MOST)
    return Move(timetable.id, slots, _after(timetable, timetable.now, 1)[-1])


def _first(timetable: Held, oldest: datetime) -> datetime:
    """The first slot that is not taken up yet.

    The next slot that older tzdata gave may be too late, and the one before it too early: then the newer data would
    give the same day a second slot, which a timetable of one slot a day must not have.
    """
    if timetable.tzdata == tzdata_version():
        return timetable.next_slot
    if timetable.newest is None:
        since = min(timetable.created_at, timetable.next_slot - INSTANT)
        return _after(timetable, max(since, oldest), 1)[0]
    first, second = _after(timetable, timetable.newest, 2)
    zone = ZoneInfo(timetable.zone)
    same_day = first.astimezone(zone).date() == timetable.newest.astimezone(zone).date()
    return second if same_day and once_a_day(timetable.crons) else first


def _after(timetable: Held, after: datetime, n: int) -> list[datetime]:
    slots = next_slots(timetable.crons, timetable.zone, after, n)
    if len(slots) < n:
        raise InvalidCronError(f"cron expressions {timetable.crons} have no slot after {after:%Y-%m-%d}")
    return slots


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
