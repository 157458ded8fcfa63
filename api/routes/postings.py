"""Postings: what a job search found, read from what is stored; no board is asked."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg import AsyncConnection

from api.cursors import decode_cursor, encode_cursor, read_offset
from api.deps import UserDatabase, Visited
from api.problems import problems
from api.routes.runs import find_mine
from kinds.job_search.kind import JOB_SEARCH, JobSearchResult
from kinds.job_search.postings import PostingPage, match_postings, read_postings
from shared.errors import ConflictError, NotFoundError
from shared.kinds import Status
from shared.schedules import find_schedule

router = APIRouter(tags=["postings"])

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]


class Postings(PostingPage):
    """A page of postings, and how to get the next."""

    next_cursor: str | None


@router.get(
    "/runs/{run_id}/postings",
    summary="Read a run's postings",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def read_run_postings(run_id: UUID, db: Visited, cursor: Cursor = None, limit: Limit = 50) -> Postings:
    """What a successful job search listed, best first, also what has closed since."""
    offset = _offset(cursor)
    page = await db.transact(lambda conn: _of_run(conn, run_id, db, offset, limit))
    return _answer(page, offset, limit)


@router.get(
    "/schedules/{schedule_id}/postings",
    summary="Read a schedule's current postings",
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def read_schedule_postings(schedule_id: UUID, db: Visited, cursor: Cursor = None, limit: Limit = 50) -> Postings:
    """What the schedule's search matches among the stored postings now, best first, without a run."""
    offset = _offset(cursor)
    page = await db.transact(lambda conn: _of_schedule(conn, schedule_id, db, offset, limit))
    return _answer(page, offset, limit)


async def _of_run(conn: AsyncConnection, run_id: UUID, db: UserDatabase, offset: int, limit: int) -> PostingPage:
    run = await find_mine(conn, run_id, db.user_id)
    _check_kind("run", run.kind)
    if run.status != Status.SUCCESS:
        raise ConflictError(f"The run has no postings: its status is {run.status}.")
    ids = JobSearchResult.model_validate(run.result).posting_ids
    return await read_postings(conn, ids, offset=offset, limit=limit)


async def _of_schedule(
    conn: AsyncConnection, schedule_id: UUID, db: UserDatabase, offset: int, limit: int
) -> PostingPage:
    schedule = await find_schedule(conn, db.user_id, schedule_id)
    if schedule is None:
        raise NotFoundError("No such schedule.")
    _check_kind("schedule", schedule.kind)
    return await match_postings(conn, JOB_SEARCH.parse(schedule.parameters), offset=offset, limit=limit)


def _check_kind(thing: str, kind: str) -> None:
    if kind != JOB_SEARCH.name:
        raise NotFoundError(f"A {thing} of kind {kind} has no postings; only those of kind {JOB_SEARCH.name} have.")


def _offset(cursor: str | None) -> int:
    return decode_cursor(cursor, read_offset) if cursor else 0


def _answer(page: PostingPage, offset: int, limit: int) -> Postings:
    after = offset + limit
    return Postings(
        postings=page.postings, total=page.total, next_cursor=encode_cursor(after) if after < page.total else None
    )
