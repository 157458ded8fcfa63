"""The work of `job_search`: have each board read, then match the search against what is stored."""

import asyncio
from collections.abc import Sequence
from functools import partial
from math import ceil

from psycopg import AsyncConnection

from kinds.job_search.fetching import Standing, freshen, read_units
from kinds.job_search.index import Match
from kinds.job_search.kind import BoardOutcome, JobSearch, JobSearchResult
from kinds.job_search.postings import credits_of
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sharing import Desk, desk_of
from kinds.job_search.sources import SOURCES
from kinds.job_search.sources.base import NEWEST
from kinds.job_search.units import Unit, columns, units_of
from shared.db import load_sql
from shared.errors import HandlerError
from shared.kinds import Run

LAST_SUCCESS = load_sql(__file__, "last_success")

ASKED_AT_ONCE = 8
ASKED_PERCENT = 90
NAMED_FAILURES = 3
STANDS = 1.0  # seconds for which one reading of how the units stand does for all runs of a slot

JobSearchSettings.load()  # a wrong setting stops the worker when it starts, not its first run


async def search(run: Run, parameters: JobSearch) -> JobSearchResult:
    """One attempt. A board that can't be read is named in the result, and its stored copy is used if there is one.

    Raises `HandlerError` when no board could be read and nothing of any is stored, and `InvalidInputError` for a query
    without a word to search for.
    """
    desk = desk_of(run)
    settings = desk.settings
    asked = units_of(parameters, settings)
    units = [unit for unit in asked if unit.source in settings.job_sources]
    off = [unit for unit in asked if unit.source not in settings.job_sources]
    _check_boards(parameters, units, off)
    if not desk.index.knows(parameters.query):
        async with run.db() as conn:
            await desk.index.check_searchable(conn, parameters.query)
    herd = (run.scheduled_for, *units)
    standings = await desk.once(herd, partial(_read_all, run, units, settings), keep=STANDS)
    standings = await _freshen_all(run, desk, standings, settings)
    _check_any(standings)
    run.progress(percent=ASKED_PERCENT, step="match", detail="Matching postings")
    async with run.db() as conn:
        seen = await _last_seen(conn, run, units)
        generations = [standing.generation for standing in standings]
        matched = await desk.index.match(
            conn, parameters, units, seen=seen, generations=generations, limit=parameters.limit
        )
    return JobSearchResult(
        found=matched.found,
        new=matched.new,
        posting_ids=matched.ids,
        boards=[*_outcomes(standings, matched), *(_switched_off(unit) for unit in off)],
        credits=credits_of(unit.source for unit in units),
    )


def _check_boards(parameters: JobSearch, units: Sequence[Unit], off: Sequence[Unit]) -> None:
    """Raise unless there is a board that may be asked."""
    if units:
        return
    if off:
        raise HandlerError(_switched_off(off[0]).why or "", hint="JOB_SOURCES names the sources that are on.")
    if parameters.sources:
        raise HandlerError(
            f"no board of this search is on {' or '.join(parameters.sources)}",
            hint="Name other sources, or boards of theirs.",
        )
    raise HandlerError(
        "no companies were named and this installation has no job boards of its own",
        hint="Name companies in the search, or set JOB_BOARDS.",
    )


async def _read_all(run: Run, units: Sequence[Unit], settings: JobSearchSettings) -> list[Standing]:
    async with run.db() as conn:
        return await read_units(conn, units, settings)


async def _freshen_all(
    run: Run, desk: Desk, standings: Sequence[Standing], settings: JobSearchSettings
) -> list[Standing]:
    """The same units, in the same order, after each that may be asked was."""
    stale = [standing.unit for standing in standings if standing.state in {"due", "taken"}]
    room = asyncio.Semaphore(ASKED_AT_ONCE)
    fresh: dict[Unit, Standing] = {}

    async def freshen_one(number: int, unit: Unit) -> None:
        async with room:
            asking = SOURCES[unit.source].title if unit.board == NEWEST else unit.board
            detail = f"Asking {asking}, {number} of {len(stale)}"
            run.progress(step="ask", detail=detail, done=len(fresh), total=len(stale))
            fresh[unit] = await desk.once(unit, partial(freshen, run, unit, settings))
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
    reasons = list(dict.fromkeys(standing.why or "" for standing in standings))  # boards of a resting source share one
    named = "; ".join(reasons[:NAMED_FAILURES])
    more = f"; and {len(reasons) - NAMED_FAILURES} more" if len(reasons) > NAMED_FAILURES else ""
    message = named if len(standings) == 1 else f"none of the {len(standings)} job boards could be read: {named}{more}"
    waits = [standing.rest_seconds for standing in standings if standing.error_can_pass and standing.state != "spent"]
    spent = any(standing.state == "spent" for standing in standings)
    raise HandlerError(
        message,
        hint="It often passes by itself." if waits or spent else "Check the names of the companies.",
        retry=bool(waits),
        retry_after=min(waits, default=0) or None,
    )


async def _last_seen(conn: AsyncConnection, run: Run, units: Sequence[Unit]) -> list[int]:
    """The generation of each unit in the result of the user's last success with these parameters; 0 without one."""
    values = {"user_id": run.user_id, "fingerprint": run.fingerprint} | columns(units)
    cursor = await conn.execute(LAST_SUCCESS, values)
    row = await cursor.fetchone()
    return list(row[0]) if row else []


def _outcomes(standings: Sequence[Standing], matched: Match) -> list[BoardOutcome]:
    """What the user is told about each board."""
    return [
        BoardOutcome(
            source=standing.source,
            board=standing.board,
            outcome="fetched" if standing.asked else "stored" if standing.fetched_at else "failed",
            fetched_at=standing.fetched_at,
            why=standing.why,
            resting_seconds=ceil(standing.rest_seconds) if standing.why and standing.rest_seconds else None,
            generation=generation,
        )
        for standing, generation in zip(standings, matched.generations, strict=True)
    ]


def _switched_off(unit: Unit) -> BoardOutcome:
    why = f"{SOURCES[unit.source].title} is switched off in this installation"
    return BoardOutcome(source=unit.source, board=unit.board, outcome="failed", why=why)
