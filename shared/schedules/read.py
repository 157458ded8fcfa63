"""Readers of schedules: each with what its last success found and when it is due next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, fetch_one, load_sql
from shared.errors import NotFoundError
from shared.schedules.wish import named

LIST = load_sql(__file__, "list_schedules")


@dataclass(frozen=True)
class ReadSchedule:
    """A schedule as its user sees it.

    `zone` is what was asked for (`user` or a name), `timetable_zone` the name that it stands for now. `next_slot` is
    None while the schedule is paused, for which `pause_note` may say why, or dormant. The last success is the newest
    run that did the same work (the same kind and parameters), whoever asked for it; `found` and `new` are its result's,
    None when it has no such numbers.
    """

    id: UUID
    key: str
    kind: str
    subject: str | None
    parameters: dict[str, Any]
    crons: list[str]
    zone: str
    timetable_zone: str
    spread_seconds: int
    catch_up: str
    enabled: bool
    paused_at: datetime | None
    pause_note: str | None
    dormant: bool
    effective_from: datetime
    note: str | None
    created_at: datetime
    updated_at: datetime
    next_slot: datetime | None
    last_run_id: UUID | None
    last_success_at: datetime | None
    headline: str | None
    found: int | None
    new: int | None


async def list_schedules(conn: AsyncConnection, user_id: UUID) -> list[ReadSchedule]:
    """All schedules of the user, by key."""
    values = {"user_id": user_id, "everything": True, "schedule_id": None, "key": None}
    return await fetch_all(conn, LIST, values, ReadSchedule)


async def find_schedule(conn: AsyncConnection, user_id: UUID, name: str) -> ReadSchedule:
    """The user's schedule of that id or key; raises `NotFoundError`, also when it is somebody else's."""
    values = {"user_id": user_id, "everything": False, **named(name)}
    found = await fetch_one(conn, LIST, values, ReadSchedule)
    if found is None:
        raise NotFoundError("No such schedule.", hint="Look for its key in the list of your schedules.")
    return found
