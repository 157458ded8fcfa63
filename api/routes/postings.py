"""Postings: what a job search found, read from what is stored; no board is asked."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg import AsyncConnection
from pydantic import Field

from api.cursors import decode_cursor, encode_cursor, read_offset
from api.deps import UserDatabase, Visited
from api.problems import problems
from api.routes.runs import find_mine
from api.routes.schedules import Name
from kinds.job_search.kind import JOB_SEARCH
from kinds.job_search.postings import PostingPage, match_postings, read_postings
from shared.errors import ConflictError, NotFoundError
from shared.kinds import Status
from shared.schedules import find_schedule

router = APIRouter(tags=["postings"])

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]


class Postings(PostingPage):
    """A page of postings, and how to get the next."""

    new: int | None = Field(
        default=None, description="Of a run: how many of all its postings, from the first on, were new to the user."
    )
    next_cursor: str | None


@router.get(
    "/runs/{run_id}/postings",
    summary="Read a run's postings",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def read_run_postings(run_id: UUID, db: Visited, cursor: Cursor = None, limit: Limit = 50) -> Postings:
    """What a successful job search listed, new ones first, then best first, also what has closed since."""
    offset = _offset(cursor)
    page, new = await db.transact(lambda conn: _of_run(conn, run_id, db, offset, limit))
    return _answer(page, offset, limit, new=new)


@router.get(
    "/schedules/{schedule}/postings",
    summary="Read a schedule's current postings",
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def read_schedule_postings(schedule: Name, db: Visited, cursor: Cursor = None, limit: Limit = 50) -> Postings:
    """What the schedule's search matches among the stored postings now, best first, without a run."""
    offset = _offset(cursor)
    page = await db.transact(lambda conn: _of_schedule(conn, schedule, db, offset, limit))
    return _answer(page, offset, limit)


async def _of_run(
    conn: AsyncConnection, run_id: UUID, db: UserDatabase, offset: int, limit: int
) -> tuple[PostingPage, int]:
    run = await find_mine(conn, run_id, db.user_id)
    _check_kind("run", run.kind)
    if run.status != Status.SUCCESS:
        raise ConflictError(f"The run has no postings: its status is {run.status}.")
    result = run.result or {}  # not by its model: an older release's has other fields, and these two
    ids = [UUID(posting_id) for posting_id in result.get("posting_ids", [])]
    return await read_postings(conn, ids, offset=offset, limit=limit), min(result.get("new", 0), len(ids))


async def _of_schedule(conn: AsyncConnection, name: str, db: UserDatabase, offset: int, limit: int) -> PostingPage:
    schedule = await find_schedule(conn, db.user_id, name)
    _check_kind("schedule", schedule.kind)
    parameters = JOB_SEARCH.parse(schedule.parameters)
    return await match_postings(conn, db.services.index, parameters, offset=offset, limit=limit)


def _check_kind(thing: str, kind: str) -> None:
    if kind != JOB_SEARCH.name:
        raise NotFoundError(f"A {thing} of kind {kind} has no postings; only those of kind {JOB_SEARCH.name} have.")


def _offset(cursor: str | None) -> int:
    return decode_cursor(cursor, read_offset) if cursor else 0


def _answer(page: PostingPage, offset: int, limit: int, *, new: int | None = None) -> Postings:
    after = offset + limit
    following = encode_cursor(after) if after < page.total else None
    return Postings(postings=page.postings, total=page.total, credits=page.credits, new=new, next_cursor=following)
