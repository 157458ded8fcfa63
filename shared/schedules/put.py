"""Put schedule: a user's wish is stored under their own key, with the timetable that it shares with others."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from shared.cron import check_crons, check_zone, next_slots, tzdata_version
from shared.db import fetch_one, load_sql
from shared.errors import InvalidInputError, NotFoundError
from shared.fingerprint import fingerprint
from shared.kinds import Kind, Registry

FIND_TIMETABLE = load_sql(__file__, "find_timetable")
ADD_TIMETABLE = load_sql(__file__, "add_timetable")
PUT = load_sql(__file__, "put_schedule")
JOIN_TICKS = load_sql(__file__, "join_ticks")
OWNER = b"select org_id, zone, now() from foxtrot.users where id = %(id)s and bucket = foxtrot.bucket_of(%(id)s)"
UNCHANGED = b"""
select id, false as created, false as changed from foxtrot.schedules where user_id = %(user_id)s and key = %(key)s
"""

USER_ZONE = "user"
MIN_INTERVAL = timedelta(minutes=5)
LONGEST_KEY = 100
LONGEST_SPREAD = 86_400


class CatchUp(StrEnum):
    """What becomes of slots that were missed: only the newest within 24 h, the last 100, or none."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True)
class Wish:
    """What a user wants done, and when: `key` is their own name for it, `parameters` are JSON as the kind has them.

    `crons` are 1 to 10 expressions, `zone` an IANA name, or `user` for wherever the user is. `spread_seconds` lets runs
    start up to that much after their slot, each schedule at a moment of its own.
    """

    key: str
    kind: str
    parameters: Any
    crons: Sequence[str]
    zone: str = USER_ZONE
    spread_seconds: int = 0
    catch_up: CatchUp = CatchUp.LATEST
    enabled: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Put:
    """Which schedule it is, and whether it is new or other than before."""

    id: UUID
    created: bool
    changed: bool


@dataclass(frozen=True)
class _Owner:
    org_id: str | None
    zone: str | None
    now: datetime


@dataclass(frozen=True)
class _Timetable:
    id: UUID


async def put_schedule(
    conn: AsyncConnection,
    registry: Registry,
    user_id: UUID,
    wish: Wish,
    *,
    default_zone: str,
    min_interval: timedelta = MIN_INTERVAL,
) -> Put:
    """Store the wish as the user's schedule of that key, in the caller's transaction.

    Putting the same again changes nothing; other parameters move neither slots nor `effective_from`; other times,
    another zone, pausing and resuming count from now. A slot that comes while the transaction is open is not missed.
    `default_zone` is for users whose own is not known. Raises `InvalidInputError` (unknown kind, wrong parameters, cron
    expressions or zone) and `NotFoundError` when there is no such user.
    """
    kind = registry.get(wish.kind)
    parameters = kind.parse(wish.parameters)
    kind.check(parameters)
    _check(wish)
    owner = await fetch_one(conn, OWNER, {"id": user_id}, _Owner)
    if owner is None:
        raise NotFoundError(f"user {user_id} does not exist", hint="Users are added when they first sign in.")
    zone = owner.zone or default_zone if wish.zone == USER_ZONE else check_zone(wish.zone)
    crons = check_crons(list(wish.crons), zone, min_interval=min_interval, after=owner.now)
    timetable_id = await _find_or_add_timetable(conn, crons, zone, owner.now)
    values = _columns(wish, kind, parameters, owner) | {"user_id": user_id, "timetable_id": timetable_id}
    put = await fetch_one(conn, PUT, values, Put) or await fetch_one(conn, UNCHANGED, values, Put)
    assert put is not None  # noqa: S101 - what is neither added nor changed was there
    if put.changed:
        before = UUID(int=put.id.int - 1)
        await conn.execute(JOIN_TICKS, {"timetable_id": timetable_id, "schedule_id": put.id, "before": before})
    return put


def _check(wish: Wish) -> None:
    if not 1 <= len(wish.key) <= LONGEST_KEY or "\x00" in wish.key:
        raise InvalidInputError(
            f"key {wish.key[:LONGEST_KEY]!r} must have 1 to {LONGEST_KEY} characters and no NUL", field="key"
        )
    if not 0 <= wish.spread_seconds <= LONGEST_SPREAD:
        raise InvalidInputError(
            f"spread_seconds {wish.spread_seconds} is not between 0 and {LONGEST_SPREAD}", field="spread_seconds"
        )
    if "\x00" in (wish.note or ""):
        raise InvalidInputError("note must not hold NUL", field="note")


async def _find_or_add_timetable(conn: AsyncConnection, crons: list[str], zone: str, now: datetime) -> UUID:
    rule = {"crons": crons, "zone": zone}
    found = await fetch_one(conn, FIND_TIMETABLE, rule, _Timetable)
    if found is None:
        first = next_slots(crons, zone, now, 1)[0]
        await conn.execute(ADD_TIMETABLE, rule | {"next_slot": first, "tzdata": tzdata_version()})
        found = await fetch_one(conn, FIND_TIMETABLE, rule, _Timetable)
    assert found is not None  # noqa: S101 - it was added, by us or by the one who was faster
    return found.id


def _columns(wish: Wish, kind: Kind[Any, Any], parameters: BaseModel, owner: _Owner) -> dict[str, Any]:
    return {
        "org_id": owner.org_id,
        "key": wish.key,
        "kind": kind.name,
        "subject": kind.subject(parameters),
        "parameters": Jsonb(parameters.model_dump(mode="json", exclude_defaults=True)),
        "fingerprint": fingerprint(kind.name, owner.org_id, parameters),
        "zone": wish.zone,
        "spread_seconds": wish.spread_seconds,
        "catch_up": wish.catch_up.value,
        "enabled": wish.enabled,
        "note": wish.note,
    }
