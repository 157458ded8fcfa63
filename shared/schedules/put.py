"""Put schedule: a user's wish is stored under their own key, with the timetable that it shares with others."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from shared.cron import check_crons, check_zone, next_slots, once_a_day, tzdata_version
from shared.db import fetch_all, fetch_one, load_sql
from shared.errors import ConflictError, NotFoundError
from shared.fingerprint import fingerprint
from shared.kinds import Kind, Registry
from shared.schedules.wish import USER_ZONE, Rules, Wish, check_key, check_new_key, check_spread, check_wish, named

FIND_TIMETABLE = load_sql(__file__, "find_timetable")
ADD_TIMETABLE = load_sql(__file__, "add_timetable")
FIND_STORED = load_sql(__file__, "find_stored")
PUT = load_sql(__file__, "put_schedule")
JOIN_TICKS = load_sql(__file__, "join_ticks")
SETTLED = load_sql(__file__, "settled_slots")
OWNER = b"select org_id, zone, now() from foxtrot.users where id = %(id)s and bucket = foxtrot.bucket_of(%(id)s)"
WORK = ("org_id", "kind", "subject", "parameters", "fingerprint")
COUNT = load_sql(__file__, "count_schedules")
LOCK_OWNER = b"""
select from foxtrot.users where id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s) for no key update
"""


@dataclass(frozen=True)
class Put:
    """Which schedule it is, and whether it is new or other than before."""

    id: UUID
    created: bool
    changed: bool


@dataclass(frozen=True)
class Stored:
    """A schedule as it is stored, with its timetable's rule: what an edit starts from."""

    id: UUID
    org_id: str | None
    key: str
    kind: str
    subject: str | None
    parameters: dict[str, Any]
    fingerprint: bytes
    timetable_id: UUID
    crons: list[str]
    zone: str
    timetable_zone: str
    spread_seconds: int
    catch_up: str
    enabled: bool
    note: str | None

    @property
    def wish(self) -> Wish:
        """What was asked for."""
        return Wish(**{one.name: getattr(self, one.name) for one in fields(Wish)})

    @property
    def work(self) -> dict[str, Any]:
        """The columns that say what its runs do, and for which org."""
        return {name: getattr(self, name) for name in WORK}


@dataclass(frozen=True)
class Owner:
    """Whose schedule it is, as far as storing one needs it; `now` is the database's."""

    org_id: str | None
    zone: str | None
    now: datetime


@dataclass(frozen=True)
class _Timetable:
    id: UUID


@dataclass(frozen=True)
class _Count:
    schedules: int


@dataclass(frozen=True)
class _Slot:
    slot: datetime


async def put_schedule(
    conn: AsyncConnection, registry: Registry, user_id: UUID, wish: Wish, *, rules: Rules, new: bool = False
) -> Put:
    """Store the wish as the user's schedule of that key, in the caller's transaction.

    Putting the same again changes nothing; other parameters move neither slots nor `effective_from`; other times,
    another zone, pausing and resuming count from now. A slot that comes while the transaction is open is not missed.
    Another zone doesn't repeat a day: when there is at most one slot a day, a date that had its run is left out.
    Raises `InvalidInputError` (unknown kind, wrong parameters, cron expressions or zone), `NotFoundError` when there is
    no such user, and `ConflictError` when the user has as many schedules as `rules` let them, or, with `new`, when
    there is one of that key.
    """
    kind = registry.get(wish.kind)
    parameters = kind.parse(wish.parameters)
    kind.check(parameters)
    owner = await find_owner(conn, user_id)
    check_key(wish.key)
    stored = await find_stored(conn, user_id, wish.key)
    if stored is None:
        check_new_key(wish.key)
        await conn.execute(LOCK_OWNER, {"user_id": user_id})  # or two at once would both be new, or both the last
        stored = await find_stored(conn, user_id, wish.key)
    if stored is not None and new:
        raise ConflictError(
            f"There is a schedule {wish.key!r} already.", hint="Edit it, put it under its key, or choose another key."
        )
    if stored is None:
        await _check_count(conn, user_id, rules.at_most)
    return await store(conn, user_id, owner, stored, wish, rules, work_of(kind, parameters, owner.org_id))


async def find_owner(conn: AsyncConnection, user_id: UUID) -> Owner:
    """The user; raises `NotFoundError` when there is none."""
    owner = await fetch_one(conn, OWNER, {"id": user_id}, Owner)
    if owner is None:
        raise NotFoundError(f"user {user_id} does not exist", hint="Users are added when they first sign in.")
    return owner


async def find_stored(conn: AsyncConnection, user_id: UUID, name: str) -> Stored | None:
    """The user's schedule of that id or key, locked until the transaction ends; None when they have none such."""
    return await fetch_one(conn, FIND_STORED, {"user_id": user_id, **named(name)}, Stored)


def work_of(kind: Kind[Any, Any], parameters: BaseModel, org_id: str | None) -> dict[str, Any]:
    """The columns that say what a schedule's runs do, and for which org: the fingerprint is of both."""
    return {
        "org_id": org_id,
        "kind": kind.name,
        "subject": kind.subject(parameters),
        "parameters": parameters.model_dump(mode="json", exclude_defaults=True),
        "fingerprint": fingerprint(kind.name, org_id, parameters),
    }


async def store(
    conn: AsyncConnection,
    user_id: UUID,
    owner: Owner,
    stored: Stored | None,
    wish: Wish,
    rules: Rules,
    work: Mapping[str, Any],
) -> Put:
    """Add or change the row of the wish's key and let it join the ticks that have passed it; `work` is `work_of`'s."""
    check_wish(wish)
    zone = zone_of(wish.zone, owner, rules)
    crons = check_crons(list(wish.crons), zone, min_interval=rules.min_interval, after=owner.now)
    if stored is None or (stored.spread_seconds, stored.crons) != (wish.spread_seconds, crons):
        # What was accepted is not refused later, when clocks are about to change or the user moves.
        check_spread(wish.spread_seconds, crons, zone, owner.now)
    timetable_id = await _find_or_add_timetable(conn, crons, zone, owner.now)
    values = {
        "user_id": user_id,
        "key": wish.key,
        **work,
        "parameters": Jsonb(work["parameters"]),
        "timetable_id": timetable_id,
        "zone": wish.zone,
        "spread_seconds": wish.spread_seconds,
        "catch_up": str(wish.catch_up),
        "enabled": wish.enabled,
        "note": wish.note,
        "since": await _since(conn, user_id, stored, crons, zone, owner.now),
    }
    put = await fetch_one(conn, PUT, values, Put)
    if put is None:
        found = await find_stored(conn, user_id, wish.key)
        assert found is not None  # noqa: S101 - what is neither added nor changed was there
        return Put(found.id, created=False, changed=False)
    before = UUID(int=put.id.int - 1)
    await conn.execute(JOIN_TICKS, {"timetable_id": timetable_id, "schedule_id": put.id, "before": before})
    return put


def zone_of(zone: str, owner: Owner, rules: Rules) -> str:
    """The name that a schedule's zone stands for; raises `InvalidZoneError`."""
    return owner.zone or rules.default_zone if zone == USER_ZONE else check_zone(zone)


async def _check_count(conn: AsyncConnection, user_id: UUID, at_most: int | None) -> None:
    if at_most is None:
        return
    count = await fetch_one(conn, COUNT, {"user_id": user_id}, _Count)
    if count and count.schedules >= at_most:
        raise ConflictError(
            f"You have {count.schedules} schedules, and {at_most} is the limit.", hint="Delete one that you don't need."
        )


async def _find_or_add_timetable(conn: AsyncConnection, crons: list[str], zone: str, now: datetime) -> UUID:
    rule = {"crons": crons, "zone": zone}
    found = await fetch_one(conn, FIND_TIMETABLE, rule, _Timetable)
    if found is None:
        first = next_slots(crons, zone, now, 1)[0]
        await conn.execute(ADD_TIMETABLE, rule | {"next_slot": first, "tzdata": tzdata_version()})
        found = await fetch_one(conn, FIND_TIMETABLE, rule, _Timetable)
    assert found is not None  # noqa: S101 - it was added, by us or by the one who was faster
    return found.id


async def _since(
    conn: AsyncConnection, user_id: UUID, stored: Stored | None, crons: list[str], zone: str, now: datetime
) -> datetime:
    """From when on the slots of other times or another zone count: from now, or after the slot that a date has had."""
    if stored is None or stored.timetable_zone == zone or not once_a_day(crons):
        return now
    first = next_slots(crons, zone, now, 1)[0].astimezone(ZoneInfo(zone))
    settled = await fetch_all(conn, SETTLED, {"user_id": user_id, "schedule_id": stored.id}, _Slot)
    had = any(one.slot.astimezone(first.tzinfo).date() == first.date() for one in settled)
    return first if had else now
