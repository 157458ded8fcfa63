"""The user's own zone: moving it moves the schedules that follow it."""

from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection

from shared.cron import check_zone
from shared.db import fetch_all
from shared.schedules.put import find_owner, find_stored, store, zone_of
from shared.schedules.wish import USER_ZONE, Rules

MOVE = b"""
update foxtrot.users
set zone = %(zone)s
where id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s)
"""
LEFT_BEHIND = b"""
select s.id
from foxtrot.schedules s
join foxtrot.timetables t on t.id = s.timetable_id
where s.user_id = %(user_id)s and s.bucket = foxtrot.bucket_of(%(user_id)s) and s.zone = 'user' and t.zone <> %(zone)s
order by s.id
for update of s
"""


@dataclass(frozen=True)
class _LeftBehind:
    id: UUID


async def zone_of_user(conn: AsyncConnection, user_id: UUID, zone: str, rules: Rules) -> str:
    """The name that `zone` stands for with this user; raises `InvalidZoneError` and `NotFoundError`."""
    return zone_of(zone, await find_owner(conn, user_id), rules)


async def move_user(conn: AsyncConnection, user_id: UUID, zone: str, *, rules: Rules) -> int:
    """Set the zone that the user is in, in the caller's transaction; returns how many schedules have moved with it.

    Raises `InvalidZoneError`, and `NotFoundError` when there is no such user.
    """
    await conn.execute(MOVE, {"user_id": user_id, "zone": check_zone(zone)})
    return await follow_user(conn, user_id, rules=rules)


async def follow_user(conn: AsyncConnection, user_id: UUID, *, rules: Rules) -> int:
    """Move the schedules whose zone is `user` to where the user is known to be; returns how many weren't there."""
    owner = await find_owner(conn, user_id)
    values = {"user_id": user_id, "zone": zone_of(USER_ZONE, owner, rules)}
    left_behind = await fetch_all(conn, LEFT_BEHIND, values, _LeftBehind)
    for one in left_behind:
        stored = await find_stored(conn, user_id, str(one.id))
        assert stored is not None  # noqa: S101 - it is locked
        await store(conn, user_id, owner, stored, stored.wish, rules, stored.work)
    return len(left_behind)
