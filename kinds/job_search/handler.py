"""The work of `job_search`: have each board read, then match the search against what is stored."""

import asyncio
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from kinds.job_search.fetching import Standing, freshen, read_units
from kinds.job_search.kind import JobSearch, JobSearchResult, SourceOutcome
from kinds.job_search.postings import Match, Unit, check_searchable, match, units_of
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES
from shared.db import load_sql
from shared.errors import HandlerError
from shared.kinds import Run

LAST_SUCCESS = load_sql(__file__, "last_success")

ASKED_AT_ONCE = 8
ASKED_PERCENT = 90
NAMED_FAILURES = 3


async def search(run: Run, parameters: JobSearch) -> JobSearchResult:
    """One attempt. A board that can't be read is named in the result, and its stored copy is used if there is one.

    Raises `HandlerError` when no board could be read and nothing of any is stored, and `InvalidInputError` for a query
    without a word to search for.
    """
    settings = JobSearchSettings.load()
    units = units_of(parameters)
    if not units:
        raise HandlerError(
            "no companies were named and this installation has no job boards of its own",
            hint="Name companies in the search, or set JOB_BOARDS.",
        )
    async with run.db() as conn:
        await check_searchable(conn, parameters.query)
        standings = await read_units(conn, units, settings)
    standings = await _freshen_all(run, standings, settings)
    _check_any(standings)
    run.progress(percent=ASKED_PERCENT, step="match", detail="Matching postings")
    async with run.db() as conn:
        seen = await _last_seen(conn, run)
        matched = await match(conn, parameters, units, seen=seen, limit=parameters.limit)
    return JobSearchResult(
        found=matched.found,
        new=matched.new,
        posting_ids=matched.ids,
        sources=[_outcome(standing, matched) for standing in standings],
    )


async def _freshen_all(run: Run, standings: Sequence[Standing], settings: JobSearchSettings) -> list[Standing]:
    """The same units, in the same order, after each that may be asked was."""
    stale = [standing.unit for standing in standings if standing.state in {"due", "taken"}]
    room = asyncio.Semaphore(ASKED_AT_ONCE)
    fresh: dict[Unit, Standing] = {}

    async def freshen_one(number: int, unit: Unit) -> None:
        async with room:
            detail = f"Asking {unit.board}, {number} of {len(stale)}"
            run.progress(step="ask", detail=detail, done=len(fresh), total=len(stale))
            fresh[unit] = await freshen(run, unit, settings)
            percent = ASKED_PERCENT * len(fresh) // len(stale)
            run.progress(percent=percent, done=len(fresh), total=len(stale))

    try:
        async with asyncio.TaskGroup() as group:
            for number, unit in enumerate(stale, start=1):
                group.create_task(freshen_one(number, unit))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [fresh.get(standing.unit, standing) for standing in standings]


def _check_any(standings: Sequence[Standing]) -> None:
    """Raise unless something is stored of one of the boards."""
    if any(standing.fetched_at for standing in standings):
        return
    reasons = [_why(standing) or "" for standing in standings]
    named = "; ".join(reasons[:NAMED_FAILURES])
    more = f"; and {len(reasons) - NAMED_FAILURES} more" if len(reasons) > NAMED_FAILURES else ""
    message = named if len(reasons) == 1 else f"none of the {len(reasons)} job boards could be read: {named}{more}"
    waits = [standing.rest_seconds for standing in standings if standing.error_can_pass]
    raise HandlerError(
        message,
        hint="It often passes by itself." if waits else "Check the names of the companies.",
        retry=bool(waits),
        retry_after=min(waits, default=0) or None,
    )


async def _last_seen(conn: AsyncConnection, run: Run) -> list[dict[str, Any]]:
    """The sources of the result of the user's last success with these parameters, if there is one."""
    cursor = await conn.execute(LAST_SUCCESS, {"user_id": run.user_id, "fingerprint": run.fingerprint})
    row = await cursor.fetchone()
    return list(row[0] or []) if row else []


def _why(standing: Standing) -> str | None:
    """What kept the board from being fresh, if anything did."""
    if standing.asked or standing.state == "fresh":
        return None
    return standing.error or f"{standing.board} is still being asked by another run"


def _outcome(standing: Standing, matched: Match) -> SourceOutcome:
    """What the user is told about one board."""
    stored = "stored" if standing.fetched_at else "failed"
    return SourceOutcome(
        source=standing.source,
        board=standing.board,
        outcome="fetched" if standing.asked else stored,
        fetched_at=standing.fetched_at,
        why=_why(standing),
        generation=matched.generation(standing.unit),
        attribution=SOURCES[standing.source].attribution,
    )
