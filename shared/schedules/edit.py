"""Edit schedule: change some of what a user's schedule says, pause and resume it, or delete it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from shared.errors import NotFoundError
from shared.kinds import Registry
from shared.schedules.put import Put, Stored, find_owner, find_stored, store, work_of
from shared.schedules.wish import Rules, check_note

DELETE = b"""
delete from foxtrot.schedules
where id = %(schedule_id)s and user_id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s)
"""
NOTE = b"""
update foxtrot.pauses
set note = %(note)s
where schedule_id = %(schedule_id)s and bucket = foxtrot.bucket_of(%(user_id)s) and until is null
"""


async def edit_schedule(
    conn: AsyncConnection, registry: Registry, user_id: UUID, name: str, changes: Mapping[str, Any], *, rules: Rules
) -> Put:
    """Change the fields of `Wish` that `changes` names, `key` and `kind` aside, in the caller's transaction.

    `name` is the schedule's id or key. What is not named stays, also when its kind is not installed any more. Raises
    what `put_schedule` raises, and `NotFoundError` when the user has no such schedule.
    """
    stored = await require_stored(conn, user_id, name)
    owner = await find_owner(conn, user_id)
    work = stored.work
    if "parameters" in changes:
        kind = registry.get(stored.kind)
        parameters = kind.parse(changes["parameters"])
        kind.check(parameters)
        work = work_of(kind, parameters, owner.org_id)
    return await store(conn, user_id, owner, stored, replace(stored.wish, **changes), rules, work)


async def pause_schedule(
    conn: AsyncConnection, registry: Registry, user_id: UUID, name: str, note: str | None, *, rules: Rules
) -> Put:
    """Let the schedule of that id or key make no runs from now on; `note` says why. Raises as `edit_schedule` does."""
    check_note(note)
    put = await edit_schedule(conn, registry, user_id, name, {"enabled": False}, rules=rules)
    if note is not None:
        await conn.execute(NOTE, {"schedule_id": put.id, "user_id": user_id, "note": note})
    return put


async def delete_schedule(conn: AsyncConnection, user_id: UUID, name: str) -> UUID:
    """Delete the schedule of that id or key and return its id; its runs stay. Raises `NotFoundError`."""
    stored = await require_stored(conn, user_id, name)
    await conn.execute(DELETE, {"user_id": user_id, "schedule_id": stored.id})
    return stored.id


async def require_stored(conn: AsyncConnection, user_id: UUID, name: str) -> Stored:
    """The user's schedule of that id or key, locked; raises `NotFoundError`, also when it is somebody else's."""
    stored = await find_stored(conn, user_id, name)
    if stored is None:
        raise NotFoundError("No such schedule.", hint="Look for its key in the list of your schedules.")
    return stored
