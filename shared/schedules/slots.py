"""Slots of a schedule: what became of the last ones, and why those without a run have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import AsyncConnection

from shared.cron import last_slots
from shared.db import fetch_all, fetch_one, load_sql
from shared.errors import NotFoundError
from shared.schedules.wish import named

SLOTS = load_sql(__file__, "read_slots")
ASKED = load_sql(__file__, "find_timed")
PAUSES = b"""
select reason, since, until, note
from foxtrot.pauses
where schedule_id = %(schedule_id)s and bucket = foxtrot.bucket_of(%(user_id)s)
order by since
"""

SHOWN = 60
DUE = "due"
SKIPPED = "skipped"
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Slot:
    """One slot of a schedule, and what became of it.

    `outcome` is the status of its run, `skipped` with a `reason` (`overlap`, `not_configured`, `paused`, `inactive` or
    `missed`), or `due` while it is on its way into a run. `run_id` is that run, or the one that covered the slot; None
    when it has expired. `note` says why it was paused, if somebody said so.
    """

    scheduled_for: datetime
    outcome: str
    reason: str | None
    run_id: UUID | None
    headline: str | None
    note: str | None


@dataclass(frozen=True)
class Timed:
    """A schedule's rule, since when it has it, and the database's now."""

    id: UUID
    timetable_id: UUID
    crons: list[str]
    zone: str
    timed_from: datetime
    now: datetime


@dataclass(frozen=True)
class _Settled:
    """What the tables say of a slot; `settled_at` is when its tick was finished."""

    slot: datetime
    status: str | None
    run_id: UUID | None
    headline: str | None
    reason: str | None
    settled_at: datetime | None


@dataclass(frozen=True)
class _Pause:
    reason: str
    since: datetime
    until: datetime | None
    note: str | None


async def read_slots(
    conn: AsyncConnection, user_id: UUID, name: str, *, keep: timedelta, n: int = SHOWN
) -> tuple[Timed, list[Slot]]:
    """The user's schedule of that id or key, and its last `n` slots within `keep`, oldest first.

    Slots of a timetable that it had before are left out. Raises `NotFoundError`.
    """
    timed = await find_timed(conn, user_id, name)
    since = max(timed.timed_from + INSTANT, timed.now - keep)
    slots = last_slots(timed.crons, timed.zone, since, timed.now, n)
    values = {"user_id": user_id, "schedule_id": timed.id, "timetable_id": timed.timetable_id, "slots": slots}
    settled = await fetch_all(conn, SLOTS, values, _Settled)
    pauses = await fetch_all(conn, PAUSES, values, _Pause)
    return timed, [_slot(one, pauses) for one in settled]


async def find_timed(conn: AsyncConnection, user_id: UUID, name: str) -> Timed:
    """The rule of the user's schedule of that id or key; raises `NotFoundError`, also when it is somebody else's."""
    timed = await fetch_one(conn, ASKED, {"user_id": user_id, **named(name)}, Timed)
    if timed is None:
        raise NotFoundError("No such schedule.", hint="Look for its key in the list of your schedules.")
    return timed


def _slot(settled: _Settled, pauses: Sequence[_Pause]) -> Slot:
    reason, note = settled.reason, None
    if settled.status is None and reason is None:
        pause = _pause_over(settled, pauses)
        reason = pause.reason if pause else "missed" if settled.settled_at else None
        note = pause.note if pause else None
    outcome = settled.status or (SKIPPED if reason else DUE)
    return Slot(settled.slot, outcome, reason, settled.run_id, settled.headline, note)


def _pause_over(settled: _Settled, pauses: Sequence[_Pause]) -> _Pause | None:
    """The pause in which the slot was settled, which may be somewhat later than the slot."""
    at = max(settled.slot, settled.settled_at or settled.slot)
    over = (one for one in pauses if one.since <= at and (one.until is None or one.until >= settled.slot))
    return next(over, None)
