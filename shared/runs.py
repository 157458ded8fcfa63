"""Readers of runs: everything that shows a run reads the view `run_status`, through here."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, fetch_one, load_sql
from shared.kinds import Status
from shared.models import RunStatus

FIND = load_sql(__file__, "find_run")
LIST = load_sql(__file__, "list_runs")
NEWEST = UUID(int=2**128 - 1)


class ReadRun(RunStatus):
    """A run as it stood at `read_at`, by the database's clock."""

    read_at: datetime

    @property
    def live(self) -> bool:
        """Whether it still has a queue row: pending or running."""
        return self.status in {Status.PENDING, Status.RUNNING}


async def find_run(conn: AsyncConnection, run_id: UUID, user_id: UUID) -> ReadRun | None:
    """The user's run; None when there is none, when it has expired and when it is somebody else's."""
    return await fetch_one(conn, FIND, {"run_id": run_id, "user_id": user_id}, ReadRun)


async def list_runs(
    conn: AsyncConnection,
    user_id: UUID,
    *,
    limit: int = 50,
    before: UUID = NEWEST,
    statuses: Collection[Status] = (),
    kind: str | None = None,
) -> list[ReadRun]:
    """The user's runs, newest id first, those with an id below `before`; `result` is left out.

    No `statuses` means any. The last id of a page is the `before` of the next: runs that are made meanwhile come before
    the first page and move nothing.
    """
    values = {
        "user_id": user_id,
        "before": before,
        "statuses": [status.value for status in statuses] or None,
        "kind": kind,
        "limit": limit,
    }
    return await fetch_all(conn, LIST, values, ReadRun)
