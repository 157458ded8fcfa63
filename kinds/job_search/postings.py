"""Reading the stored postings: which match a search now, and those of a result, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from kinds.job_search.kind import JobSearch
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.text import fold
from shared.db import fetch_all, load_sql
from shared.errors import InvalidInputError

MATCH = load_sql(__file__, "match")
READ_POSTINGS = load_sql(__file__, "read_postings")
SEARCHABLE = load_sql(__file__, "searchable")

EXCERPT_LENGTH = 300


@dataclass(frozen=True)
class Unit:
    """A fetch unit: what is asked, and stored, as one."""

    source: str
    board: str


@dataclass(frozen=True)
class Match:
    """What a search matches: counts, the asked page of ids, best first, and the generation of each board it saw."""

    found: int
    new: int
    ids: list[UUID]
    generations: list[dict[str, Any]]

    def generation(self, unit: Unit) -> int:
        """The state of the unit that was matched; 0 when nothing of it is stored."""
        return next((g["generation"] for g in self.generations if Unit(g["source"], g["board"]) == unit), 0)


class FoundPosting(BaseModel):
    """A posting as readers get it: plain text throughout, to be escaped in HTML. `closed_at` is set once it is gone."""

    id: UUID
    source: str
    board: str
    url: str
    title: str
    company: str
    departments: list[str]
    places: list[str]
    remote: bool | None
    posted_at: datetime | None
    first_seen_at: datetime
    closed_at: datetime | None
    excerpt: str


class PostingPage(BaseModel):
    """A page of postings, and how many there are in all."""

    postings: list[FoundPosting]
    total: int


def units_of(parameters: JobSearch) -> list[Unit]:
    """The boards of a search: its companies, or the installation's `JOB_BOARDS`."""
    boards = parameters.companies or JobSearchSettings.load().job_boards
    return [Unit("greenhouse", board) for board in boards]


async def check_searchable(conn: AsyncConnection, query: str) -> None:
    """Raises `InvalidInputError` for a query that has no word to look up, such as `the` or `-python`."""
    cursor = await conn.execute(SEARCHABLE, {"query": query})
    row = await cursor.fetchone()
    if row is None or not row[0]:
        raise InvalidInputError(
            f"parameters.query: {query!r} has no word to search for",
            field="parameters.query",
            hint="Add a word that isn't too common and isn't excluded.",
        )


async def match(
    conn: AsyncConnection,
    parameters: JobSearch,
    units: Sequence[Unit],
    *,
    seen: Sequence[dict[str, Any]] = (),
    offset: int = 0,
    limit: int,
) -> Match:
    """The open postings of these units that match, by rank, then by date.

    `new` counts those opened after the generation that `seen` has for their board (rows of source, board,
    generation); all of them where it has none. Raises `InvalidInputError` as `check_searchable` does.
    """
    await check_searchable(conn, parameters.query)
    values = {
        "query": parameters.query,
        "location": None if parameters.location is None else fold(parameters.location),
        "remote": parameters.remote,
        "posted_within": parameters.posted_within,
        "sources": [unit.source for unit in units],
        "boards": [unit.board for unit in units],
        "seen": Jsonb(list(seen)),
        "offset": offset,
        "limit": limit,
    }
    [matched] = await fetch_all(conn, MATCH, values, Match)
    return matched


async def match_postings(
    conn: AsyncConnection, parameters: JobSearch, *, offset: int = 0, limit: int = 50
) -> PostingPage:
    """A page of what a search matches now among the stored postings, without asking any board.

    Raises `InvalidInputError` as `check_searchable` does.
    """
    matched = await match(conn, parameters, units_of(parameters), offset=offset, limit=limit)
    return PostingPage(postings=await _read(conn, matched.ids), total=matched.found)


async def read_postings(conn: AsyncConnection, ids: Sequence[UUID], *, offset: int = 0, limit: int = 50) -> PostingPage:
    """A page of the postings with these ids (a result's `posting_ids`), in their order, closed ones too."""
    return PostingPage(postings=await _read(conn, ids[offset : offset + limit]), total=len(ids))


async def _read(conn: AsyncConnection, ids: Sequence[UUID]) -> list[FoundPosting]:
    return await fetch_all(conn, READ_POSTINGS, {"ids": list(ids), "excerpt": EXCERPT_LENGTH}, FoundPosting)
