"""Users: whose runs and schedules they are, and acting for one of them within row level security."""

from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_one, load_sql
from shared.errors import NotFoundError
from shared.models import User

UPSERT = load_sql(__file__, "upsert_user")
READ = b"select * from foxtrot.users where id = %(user_id)s and bucket = foxtrot.bucket_of(%(user_id)s)"
ACT_AS = b"select set_config('role', 'foxtrot_api', true), set_config('foxtrot.user_id', %(user_id)s, true)"


async def upsert_user(
    conn: AsyncConnection,
    user_id: UUID,
    *,
    org_id: str | None = None,
    email: str | None = None,
    zone: str | None = None,
    seen: bool = False,
) -> None:
    """Add the user, or take over what is new about them; writes nothing when nothing is.

    `seen` says that the user is here now: `last_seen_at` then moves, at most once an hour. An org that is left out is
    an org that was left. A known zone stays, because moving it moves schedules too, and is an act of its own.
    """
    values = {"user_id": user_id, "org_id": org_id, "email": email, "zone": zone, "seen": seen}
    await conn.execute(UPSERT, values)


async def read_user(conn: AsyncConnection, user_id: UUID) -> User:
    """The user; raises `NotFoundError` when there is none."""
    user = await fetch_one(conn, READ, {"user_id": user_id}, User)
    if user is None:
        raise NotFoundError(f"user {user_id} does not exist", hint="Users are added when they first sign in.")
    return user


async def act_as(conn: AsyncConnection, user_id: UUID) -> None:
    """Until the transaction ends, be the role that sees this user's rows and nothing else."""
    await conn.execute(ACT_AS, {"user_id": str(user_id)})
