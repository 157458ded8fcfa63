"""Backfill: slots of the past that became no run are run after all, behind everything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg import AsyncConnection

from shared.cron import slots_between
from shared.db import fetch_all, load_sql
from shared.errors import InvalidInputError
from shared.fingerprint import fingerprint
from shared.kinds import Registry
from shared.schedules.edit import require_stored
from shared.schedules.put import find_owner

UNSETTLED = load_sql(__file__, "unsettled_slots")
BACKFILL = load_sql(__file__, "backfill")
AT_MOST = 1000


@dataclass(frozen=True)
class Backfilled:
    """`slots` of the stretch, of which `settled` have a run or are covered, and `runs` are those made (or to be made).

    `first` and `last` are the outermost slots that get a run; None when none does.
    """

    slots: int
    settled: int
    runs: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class _Slot:
    slot: datetime


async def backfill(
    conn: AsyncConnection,
    registry: Registry,
    user_id: UUID,
    name: str,
    start: datetime,
    end: datetime,
    *,
    keep: timedelta,
    dry_run: bool = False,
) -> Backfilled:
    """Make a run for each slot of [`start`, `end`) (aware) that the user's schedule has not settled.

    They run in a lane of their own, behind manual and cron runs, with the schedule's parameters as they are now. A dry
    run only counts. Raises `InvalidInputError` for a stretch that is empty, not yet over, older than `keep` or of more
    than 1,000 slots, and `NotFoundError`.
    """
    stored = await require_stored(conn, user_id, name)
    owner = await find_owner(conn, user_id)
    _check(start, end, owner.now, keep)
    slots = slots_between(stored.crons, stored.timetable_zone, start, end, AT_MOST + 1)
    if len(slots) > AT_MOST:
        raise InvalidInputError(
            f"more than {AT_MOST:,} slots lie between {start.isoformat()} and {end.isoformat()}",
            field="end",
            hint="Backfill a shorter stretch.",
        )
    values = {"user_id": user_id, "schedule_id": stored.id, "timetable_id": stored.timetable_id, "slots": slots}
    due = [one.slot for one in await fetch_all(conn, UNSETTLED, values, _Slot)]
    if due and not dry_run:
        kind = registry.get(stored.kind)
        parameters = kind.parse(stored.parameters)
        prints = [fingerprint(kind.name, owner.org_id, parameters, slot) for slot in due]
        columns = {"slots": due, "fingerprints": prints, "max_attempts": kind.retry.attempts}
        due = sorted(one.slot for one in await fetch_all(conn, BACKFILL, values | columns, _Slot))
    return _count(slots, due)


def _count(slots: Sequence[datetime], due: Sequence[datetime]) -> Backfilled:
    first, last = (due[0], due[-1]) if due else (None, None)
    return Backfilled(slots=len(slots), settled=len(slots) - len(due), runs=len(due), first=first, last=last)


def _check(start: datetime, end: datetime, now: datetime, keep: timedelta) -> None:
    for name, at in (("start", start), ("end", end)):
        if at.tzinfo is None:
            raise InvalidInputError(
                f"{name} {at.isoformat()} has no offset", field=name, hint="Add one, such as Z or +01:00."
            )
    if start >= end:
        raise InvalidInputError(
            f"end {end.isoformat()} is not after start {start.isoformat()}", field="end", hint="It must be later."
        )
    if end > now:
        raise InvalidInputError(
            f"end {end.isoformat()} is in the future", field="end", hint=f"It may be {now.isoformat()} at most."
        )
    if start < now - keep:
        raise InvalidInputError(
            f"start {start.isoformat()} is more than {keep.days} days ago, longer than runs are kept",
            field="start",
            hint=f"It may be {(now - keep).isoformat()} at least.",
        )
