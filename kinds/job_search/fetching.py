"""Fetching: a board is asked once for everybody who needs it, by the one worker that holds its lease.

No transaction is open while a board is asked. A worker that dies holding a lease is followed by another when the lease
has expired, and what it might still bring is refused. All boards of a source share its daily budget, its rate, and the
rest that it asks for.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES, Fetched
from kinds.job_search.sources.errors import RefusedError, SourceError, ThrottledError
from kinds.job_search.units import Unit, columns
from shared.db import fetch_all, fetch_one, load_sql
from shared.kinds import Run

READ_UNITS = load_sql(__file__, "read_units")
LOCK_SOURCE = load_sql(__file__, "lock_source")
LEASE_UNIT = load_sql(__file__, "lease_unit")
RELEASE_UNIT = load_sql(__file__, "release_unit")
REST_SOURCE = load_sql(__file__, "rest_source")
STORE = load_sql(__file__, "store")

STORE_SECONDS = 60  # beyond the time to ask: the longest that storing an answer may take
POLL_SECONDS = 0.25
KEPT = timedelta(days=60)  # without being listed; results, which name postings, are kept for 30


# Its copy is good, it must not be asked yet, its source was asked as often as it may be today, somebody is asking it
# now, or it may be asked.
State = Literal["fresh", "resting", "spent", "taken", "due"]


@dataclass(frozen=True)
class Standing:
    """A unit as the database knows it; `fetched_at` is None while nothing is stored.

    `error` is of the last time it was asked, or its source's, and `error_can_pass` says whether asking again can help;
    `rest_seconds` are left until it may be asked; `asked` is true when it has just been fetched.
    """

    source: str
    board: str
    state: State
    generation: int
    fetched_at: datetime | None
    error: str | None
    error_can_pass: bool
    rest_seconds: float
    asked: bool = False

    @property
    def unit(self) -> Unit:
        """What this is the standing of."""
        return Unit(self.source, self.board)

    @property
    def why(self) -> str | None:
        """What kept the unit from being fresh, if anything did."""
        source = SOURCES[self.source]
        if self.asked or self.state == "fresh":
            return None
        if self.state == "spent":
            return f"{source.title} may be asked {source.calls_a_day} times a day, and was; tomorrow (UTC) again"
        return self.error or f"{source.describe(self.board)} is still being asked by another run"


@dataclass(frozen=True)
class Stored:
    """What storing an answer did: its generation, and how many postings were written, (re)opened and closed."""

    generation: int
    fetched_at: datetime
    written: int
    opened: int
    closed: int


async def freshen(run: Run, unit: Unit, settings: JobSearchSettings) -> Standing:
    """Have the unit fetched within its freshness time, by this run or by the one that is at it already.

    Waits for another worker as long as asking may take, and answers with how the unit stands then.
    """
    loop = asyncio.get_running_loop()
    patience = loop.time() + settings.job_fetch_seconds
    while True:
        standing = await freshen_once(run, unit, settings)
        if standing.asked or standing.state in {"fresh", "resting", "spent"} or loop.time() > patience:
            return standing
        await asyncio.sleep(POLL_SECONDS)


async def freshen_once(run: Run, unit: Unit, settings: JobSearchSettings) -> Standing:
    """Ask the unit if it is due and nobody else is asking it; how it stands afterwards."""
    owner = uuid4()
    async with run.db() as conn:
        [standing] = await read_units(conn, [unit], settings)
        if standing.state != "due":
            return standing
        turn = await lease_unit(conn, unit, owner, settings)
        if turn is None:
            return replace(standing, state="taken")
    asked = await _ask(run, unit, owner, settings, turn)
    async with run.db() as conn:
        [standing] = await read_units(conn, [unit], settings)
    return replace(standing, asked=asked)


async def _ask(run: Run, unit: Unit, owner: UUID, settings: JobSearchSettings, turn: float) -> bool:
    """Whether the board answered, `turn` seconds from now, and its answer was stored; the lease is over in any case."""
    try:
        await asyncio.sleep(turn)
        fetched = await SOURCES[unit.source].fetch(run.http, unit.board, settings)
        async with run.db() as conn:
            return await store(conn, unit, owner, fetched) is not None
    except SourceError as error:
        run.log.warning("board_failed", source=unit.source, board=unit.board, error=error.message)
        async with run.db() as conn:
            await release_unit(conn, unit, owner, error)
        return False
    except BaseException:
        # Cancelled, say. Nobody need wait for the lease to expire; but if this fails too, it does expire.
        with suppress(Exception):
            async with run.db() as conn:
                await release_unit(conn, unit, owner)
        raise


async def read_units(conn: AsyncConnection, units: Sequence[Unit], settings: JobSearchSettings) -> list[Standing]:
    """How the units stand, in their order; one never heard of is due."""
    values = columns(units) | {
        "freshness": [settings.freshness(SOURCES[unit.source].freshness) for unit in units],
        "calls_a_day": [SOURCES[unit.source].calls_a_day for unit in units],
    }
    return await fetch_all(conn, READ_UNITS, values, Standing)


async def lease_unit(conn: AsyncConnection, unit: Unit, owner: UUID, settings: JobSearchSettings) -> float | None:
    """In how many seconds `owner` may ask the unit, which is its own until then; None if it may not.

    It may when the unit is due, no other's lease on it lives, and its source has a turn left today, and one soon. The
    source stays locked until the transaction ends.
    """
    source = SOURCES[unit.source]
    values = {
        "source": unit.source,
        "board": unit.board,
        "owner": owner,
        "lease": timedelta(seconds=settings.job_fetch_seconds + STORE_SECONDS),
        "freshness": settings.freshness(source.freshness),
        "calls_a_day": source.calls_a_day,
        "gap": source.gap,
        "patience": timedelta(seconds=settings.job_fetch_seconds),
    }
    await conn.execute(LOCK_SOURCE, {"source": unit.source})
    cursor = await conn.execute(LEASE_UNIT, values)
    row = await cursor.fetchone()
    return None if row is None else float(row[0])


async def release_unit(conn: AsyncConnection, unit: Unit, owner: UUID, error: SourceError | None = None) -> None:
    """End the owner's lease without postings; after an error the unit rests for the error's `retry_after` seconds.

    All of the source rests when it wants to be left alone or refuses to serve us.
    """
    values = {
        "source": unit.source,
        "board": unit.board,
        "owner": owner,
        "error": None if error is None else error.message,
        "error_can_pass": None if error is None else error.retry,
        "rest": None if error is None else timedelta(seconds=error.retry_after or error.rest),
    }
    await conn.execute(RELEASE_UNIT, values)
    if isinstance(error, ThrottledError | RefusedError):
        await conn.execute(REST_SOURCE, values)


async def store(conn: AsyncConnection, unit: Unit, owner: UUID, fetched: Fetched) -> Stored | None:
    """Store an answer and end the owner's lease, in one statement; None when the lease is another's by now.

    A posting that is listed again after it was closed opens again; one that a complete answer lacks is closed; one that
    was not listed for `KEPT` is dropped.
    """
    values = {
        "source": unit.source,
        "board": unit.board,
        "owner": owner,
        "complete": fetched.complete,
        "kept": KEPT,
        "postings": Jsonb([posting.columns() for posting in fetched.postings]),
    }
    return await fetch_one(conn, STORE, values, Stored)
