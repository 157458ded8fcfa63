"""Rescue: the runs of a worker that died start again elsewhere."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_one, load_sql
from shared.kinds import Retention

RESCUE = load_sql(__file__, "rescue")
AT_MOST = 1000
KEPT = Retention().failed


@dataclass(frozen=True)
class Rescued:
    """How many runs went back to the queue, and how many failed because they had been rescued twice before."""

    given_back: int
    failed: int
    failed_ids: list[UUID] = field(default_factory=list, compare=False)


async def rescue(conn: AsyncConnection, retention: timedelta = KEPT) -> Rescued:
    """Give back runs that no live worker holds, at most 1,000 a call; `retention` is how long a failed one is kept.

    Every worker and every scheduler calls this; rows that another caller is at are left to it.
    """
    row = await fetch_one(conn, RESCUE, {"at_most": AT_MOST, "retention": retention}, Rescued)
    assert row is not None  # noqa: S101 - an aggregate always answers
    return row
