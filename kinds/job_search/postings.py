"""Reading the stored postings: which match a search now, and those of a result, a page at a time."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection
from pydantic import BaseModel, Field

from kinds.job_search.index import Index
from kinds.job_search.kind import Credit, JobSearch
from kinds.job_search.posting import Interval
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES
from kinds.job_search.units import units_of
from shared.db import fetch_all, load_sql

__all__ = ["FoundPosting", "Index", "PostingPage", "credits_of", "match_postings", "read_postings"]

READ_POSTINGS = load_sql(__file__, "read_postings")

EXCERPT_LENGTH = 300


class Link(BaseModel):
    """Where else a posting is listed."""

    source: str
    url: str


class FoundPosting(BaseModel):
    """A posting as readers get it: plain text throughout, to be escaped in HTML. `closed_at` is set once it is gone.

    What its source doesn't say is null or empty. `also` are open postings of the same position on other boards.
    """

    id: UUID
    source: str
    board: str
    url: str
    title: str
    company: str
    departments: list[str]
    places: list[str]
    remote: bool | None
    salary_min: float | None
    salary_max: float | None
    salary_currency: str | None = Field(examples=["EUR"])
    salary_interval: Interval | None
    tags: list[str]
    language: str | None = Field(examples=["de"])
    posted_at: datetime | None
    first_seen_at: datetime
    closed_at: datetime | None
    excerpt: str
    also: list[Link]


class PostingPage(BaseModel):
    """A page of postings, how many there are in all, and what the sources on it ask of those who show them."""

    postings: list[FoundPosting]
    total: int
    credits: list[Credit]


def credits_of(sources: Iterable[str]) -> list[Credit]:
    """What is due to each of these sources, in their order."""
    named = [SOURCES[name] for name in dict.fromkeys(sources) if name in SOURCES]
    return [Credit(source=s.name, title=s.title, attribution=s.attribution, terms=s.terms) for s in named]


async def match_postings(
    conn: AsyncConnection, index: Index, parameters: JobSearch, *, offset: int = 0, limit: int = 50
) -> PostingPage:
    """A page of what a search matches now among the stored postings, without asking any board.

    Raises `InvalidInputError` for a query without a word to look up.
    """
    settings = JobSearchSettings.load()
    units = [unit for unit in units_of(parameters, settings) if unit.source in settings.job_sources]
    matched = await index.match(conn, parameters, units, offset=offset, limit=limit)
    return _page(await _read(conn, matched.ids), matched.found)


async def read_postings(conn: AsyncConnection, ids: Sequence[UUID], *, offset: int = 0, limit: int = 50) -> PostingPage:
    """A page of the postings with these ids (a result's `posting_ids`), in their order, closed ones too."""
    return _page(await _read(conn, ids[offset : offset + limit]), len(ids))


async def _read(conn: AsyncConnection, ids: Sequence[UUID]) -> list[FoundPosting]:
    return await fetch_all(conn, READ_POSTINGS, {"ids": list(ids), "excerpt": EXCERPT_LENGTH}, FoundPosting)


def _page(postings: list[FoundPosting], total: int) -> PostingPage:
    named = [name for posting in postings for name in (posting.source, *(link.source for link in posting.also))]
    return PostingPage(postings=postings, total=total, credits=credits_of(named))
