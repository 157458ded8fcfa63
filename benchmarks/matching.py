"""Matching: what the worker's index answers a search in, and what Postgres alone would, over the same postings."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import psutil
import psycopg
from psycopg import AsyncConnection

from benchmarks.invented import board_name, invent_postings, invent_searches, rare_words
from kinds.job_search.index import Index
from kinds.job_search.kind import JobSearch
from kinds.job_search.query import parse_query
from kinds.job_search.units import Unit

LISTED = 50
FIRST_SEEN = "2026-11-26T00:00:00Z"

# As it was before the index: the planner is not told the words, since it would then read each posting's TOAST.
BY_SQL = b"""
with matching as materialized (
    select
        id,
        ts_rank(heading, foxtrot.search_query(%(query)s)) as rank,
        coalesce(posted_at, first_seen_at) as dated_at
    from foxtrot.postings
    where closed_at is null
        and source = 'greenhouse'
        and board = any(%(boards)s::text[])
        and search @@ (select foxtrot.search_query(%(query)s))
        and (%(location)s::text is null or strpos(places_key, %(location)s) > 0)
)
select
    (select count(*) from matching)::int as found,
    array(select id from matching order by rank desc, dated_at desc, id limit %(limit)s) as ids
"""


def store_postings(url: str, boards: int, each: int) -> None:
    """Fill a migrated database's store, as if every board had just been fetched."""
    with psycopg.connect(url) as conn:
        columns: list[str] = []
        for number in range(boards):
            rows = [posting.columns() for posting in invent_postings(range(number, number + 1), each)]
            columns = columns or list(rows[0])
            copy = f"copy foxtrot.postings (source, board, {', '.join(columns)}, first_seen_at, last_seen_at,"
            with conn.cursor().copy(f"{copy} opened_generation) from stdin".encode()) as lines:
                for row in rows:
                    own = [row[column] for column in columns]
                    lines.write_row(["greenhouse", board_name(number), *own, FIRST_SEEN, FIRST_SEEN, 1])
        conn.execute(
            "insert into foxtrot.fetch_units (source, board, generation, fetched_at, complete)"
            " select 'greenhouse', board, 1, now(), true from unnest(%s::text[]) as board",
            [[board_name(number) for number in range(boards)]],
        )
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("vacuum analyze foxtrot.postings")


def measure_matching(url: str, *, boards: int, users: int, by_sql: int) -> dict[str, Any]:
    """Figures of the index, and of Postgres alone for the first `by_sql` of the users' searches.

    For a process of its own: what the index takes is what the process grows by.
    """
    return asyncio.run(_measure(url, [board_name(number) for number in range(boards)], users, by_sql))


async def _measure(url: str, boards: list[str], users: int, by_sql: int) -> dict[str, Any]:
    searches = [JobSearch.model_validate(parameters) for parameters in invent_searches(users)]
    units = [Unit("greenhouse", board) for board in boards]
    async with await AsyncConnection.connect(url, prepare_threshold=None, autocommit=True) as conn:
        figures: dict[str, Any] = {"open_postings": await _count(conn), "boards": len(boards)}
        figures |= await _measure_index(conn, searches, units)
        fresh = _with(conn, Index(), units)
        [figures["load_ms"]] = await _time_all([JobSearch(query="zebra")], fresh)
        figures["new_words"] = _spread(await _time_all(_new_words(searches), fresh))

        async def ask_postgres(search: JobSearch) -> int:
            return await _ask_postgres(conn, search, boards)

        sample = searches[:by_sql]
        index = Index()
        figures["by_sql"] = _spread(await _time_all(sample, ask_postgres))
        for search in sample:
            ours = (await index.match(conn, search, units, limit=LISTED)).found
            theirs = await ask_postgres(search)
            assert ours == theirs, f"{search.query!r}: {ours} by the index, {theirs} by Postgres alone"
    figures["by_sql_over_index"] = figures["by_sql"]["mean_ms"] / figures["users"]["mean_ms"]
    return figures


async def _measure_index(conn: AsyncConnection, searches: Sequence[JobSearch], units: list[Unit]) -> dict[str, Any]:
    """All users' searches with an index that begins empty, what it takes then, and searches that were just made."""
    gc.collect()
    before, index = psutil.Process().memory_info().rss, Index()
    match = _with(conn, index, units)
    users = await _time_all(searches, match)
    memory = psutil.Process().memory_info().rss - before
    distinct = {search.model_dump_json(): search for search in searches[:1000]}.values()
    again = [(await _time_all([search, search], match))[1] for search in distinct]
    return {"users": _spread(users), "known_words": _spread(again), "index_mb": round(memory / 2**20, 1)}


def _with(conn: AsyncConnection, index: Index, units: list[Unit]) -> Callable[[JobSearch], Awaitable[object]]:
    return lambda search: index.match(conn, search, units, limit=LISTED)


def _new_words(searches: Iterable[JobSearch]) -> list[JobSearch]:
    """Searches none of whose words an earlier one has."""
    met: set[str] = set()
    chosen: list[JobSearch] = []
    for search in [*searches, *(JobSearch(query=word) for word in rare_words(30))]:
        words = parse_query(search.query).words
        if not words & met:
            chosen.append(search)
            met |= words
    return chosen


async def _time_all(searches: Iterable[JobSearch], answer: Callable[[JobSearch], Awaitable[object]]) -> list[float]:
    """Milliseconds of each."""
    times: list[float] = []
    for search in searches:
        begun = time.perf_counter()
        await answer(search)
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def _ask_postgres(conn: AsyncConnection, search: JobSearch, boards: list[str]) -> int:
    values = {"query": search.query, "location": search.location, "boards": boards, "limit": LISTED}
    row: Any = await (await conn.execute(BY_SQL, values)).fetchone()
    return int(row[0])


async def _count(conn: AsyncConnection) -> int:
    row: Any = await (await conn.execute("select count(*) from foxtrot.postings where closed_at is null")).fetchone()
    return int(row[0])


def _spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    at = {name: ordered[int(share * (len(ordered) - 1))] for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1))}
    return {"searches": len(ordered), "mean_ms": sum(ordered) / len(ordered)} | {f"{k}_ms": v for k, v in at.items()}
