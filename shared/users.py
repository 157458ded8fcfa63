"""Users: whose runs and schedules they are, and acting for one of them within row level security."""

from uuid import UUID

from psycopg import AsyncConnection

from shared.db import load_sql

UPSERT = load_sql(__file__, "upsert_user")
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


async def act_as(conn: AsyncConnection, user_id: UUID) -> None:
    """Until the transaction ends, be the role that sees this user's rows and nothing else."""
    await conn.execute(ACT_AS, {"user_id": str(user_id)})
