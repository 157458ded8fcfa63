"""Starting a run: what every route does that lets somebody run something now."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import Response
from psycopg import AsyncConnection

from api.deps import UserDatabase
from api.views import StartedRun, retry_after
from shared.errors import NotFoundError
from shared.kinds import Kind
from shared.queue import Enqueued, NewRun, enqueue, find_reusable
from shared.runs import find_run
from shared.wake import Channel

LOCATION = {"Location": {"description": "Where to read the run.", "schema": {"type": "string"}}}
STARTED: dict[int | str, dict[str, Any]] = {
    202: {"headers": LOCATION},
    200: {"model": StartedRun, "description": "A finished run stands in.", "headers": LOCATION},
}


@dataclass(frozen=True)
class Start:
    """A run that is asked for: `fresh` refuses a finished one, `keep` is done in the same transaction."""

    new: NewRun
    kind: Kind[Any, Any]
    fresh: bool
    keep: Callable[[AsyncConnection], Awaitable[object]] | None = None


async def start(db: UserDatabase, asked: Start, response: Response) -> StartedRun:
    """Enqueue the run, or find the one that stands in for it; sets the response's status and headers."""
    run_id, enqueued = await db.transact(lambda conn: _settle(conn, asked))
    if enqueued:
        db.services.waker.wake(Channel.QUEUE, asked.kind.name)
    # In a statement of its own: the row may be newer than the snapshot that enqueue had.
    run = await db.transact(lambda conn: find_run(conn, run_id, db.user_id))
    if run is None:
        raise NotFoundError("No such run.")
    response.status_code = HTTPStatus.ACCEPTED if enqueued else HTTPStatus.OK
    response.headers.update({"Location": f"/api/v1/runs/{run.id}", **retry_after(run)})
    return StartedRun.of(run, enqueued)


async def _settle(conn: AsyncConnection, asked: Start) -> tuple[UUID, Enqueued | None]:
    if asked.keep:
        await asked.keep(conn)
    reusable = None if asked.fresh else await find_reusable(conn, asked.new, asked.kind)
    if reusable:
        return reusable, None
    enqueued = await enqueue(conn, asked.new)
    return enqueued.run_id, enqueued
