"""Runs: read one, list them, cancel one."""

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from psycopg import AsyncConnection

from api.cursors import decode_cursor, encode_cursor
from api.deps import Polled, Process, Visited
from api.problems import problems
from api.views import RunPage, RunSummary, RunView, retry_after
from shared.errors import ConflictError, NotFoundError
from shared.kinds import Registry, Retention, RetryPolicy, Status
from shared.queue import Cancelled, cancel
from shared.runs import NEWEST, ReadRun, find_run, list_runs
from shared.wake import Channel

router = APIRouter(prefix="/runs", tags=["runs"])


async def find_mine(conn: AsyncConnection, run_id: UUID, user_id: UUID) -> ReadRun:
    """The user's run; raises `NotFoundError`, in the same words whether it is missing, expired or somebody else's."""
    run = await find_run(conn, run_id, user_id)
    if run is None:
        raise NotFoundError("No such run.")
    return run


@router.get("/{run_id}", response_model=RunView, summary="Read a run", responses=problems(HTTPStatus.NOT_FOUND))
async def read_run(run_id: UUID, db: Polled, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The run as it stands now. While it is live, Retry-After says when to ask again; 304 when nothing has changed."""
    run = await db.transact(lambda conn: find_mine(conn, run_id, db.user_id))
    body = RunView.model_validate(run).model_dump_json().encode()
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", **retry_after(run)}
    if _matches(if_none_match, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110 §13.1.2: weak comparison with each of the list, or `*`."""
    known = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return etag in known or "*" in known


@router.get("", summary="List runs")
async def read_runs(
    db: Visited,
    process: Process,
    status: Annotated[list[Status] | None, Query(description="Only these; may be repeated.")] = None,
    kind: Annotated[str | None, Query(max_length=100, description="Only runs of this kind.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> RunPage:
    """The caller's runs, newest first; runs made meanwhile don't move the pages."""
    if kind is not None:
        process.registry.get(kind)
    before = decode_cursor(cursor, UUID) if cursor else NEWEST
    runs = await db.transact(
        lambda conn: list_runs(conn, db.user_id, limit=limit + 1, before=before, statuses=status or (), kind=kind)
    )
    shown = [RunSummary.model_validate(run) for run in runs[:limit]]
    return RunPage(runs=shown, next_cursor=encode_cursor(shown[-1].id) if len(runs) > limit else None)


@router.post(
    "/{run_id}/cancel",
    summary="Cancel a run",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def cancel_run(run_id: UUID, db: Visited, process: Process) -> RunView:
    """Cancel a pending or running run: final at once. What its worker still says is refused."""
    cancelled, run = await db.transact(lambda conn: _cancel(conn, run_id, db.user_id, process.registry))
    if cancelled.worker_id:
        process.waker.wake(Channel.CANCEL, str(run_id))
    return RunView.model_validate(run)


async def _cancel(conn: AsyncConnection, run_id: UUID, user_id: UUID, registry: Registry) -> tuple[Cancelled, ReadRun]:
    run = await find_mine(conn, run_id, user_id)
    kind = registry.kinds.get(run.kind)  # None for the runs of a kind that is no longer installed
    cancelled = await cancel(
        conn,
        run_id,
        user_id,
        retention=(kind.retention if kind else Retention()).cancelled,
        max_attempts=(kind.retry if kind else RetryPolicy()).attempts,
    )
    ended = await find_mine(conn, run_id, user_id)
    if cancelled is None:
        raise ConflictError(f"The run can't be cancelled: its status is {ended.status}, which is final.")
    return cancelled, ended
