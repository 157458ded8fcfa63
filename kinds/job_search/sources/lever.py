"""Lever job sites, by their public Postings API (github.com/lever/postings-api)."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, Field, HttpUrl

from kinds.job_search.posting import (
    NAME_LENGTH,
    TITLE_LENGTH,
    URL_LENGTH,
    Posting,
    clean_names,
    clean_tags,
    read_epoch,
)
from kinds.job_search.salary import make_salary
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.http import get_json, in_time
from kinds.job_search.sources.reading import MOST_POSTINGS, CamelModel, JobId, Maybe, as_list, read_jobs, read_remote
from kinds.job_search.text import clean, html_to_text

PAGE = 100

_Milliseconds = Annotated[int, Field(ge=0, lt=10**14)]


class _Categories(CamelModel):
    location: str | None = None
    all_locations: list[str | None] | None = None
    department: str | None = None
    team: str | None = None
    commitment: str | None = None


class _Section(BaseModel):
    text: str | None = None
    content: str | None = None


class _Range(BaseModel):
    min: Any = None
    max: Any = None
    currency: Any = None
    interval: Any = None


class _Job(CamelModel):
    id: JobId
    text: str
    hosted_url: HttpUrl
    categories: _Categories | None = None
    workplace_type: Any = None
    description: str | None = None
    lists: list[_Section] | None = None
    additional: str | None = None
    salary_range: Maybe[_Range] = None
    created_at: Maybe[_Milliseconds] = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """Every posting of the site, page by page; raises a `SourceError`."""
    async with in_time(LEVER.describe(board), settings):
        jobs, whole = await _get_pages(http, board, settings)
    return await asyncio.to_thread(read_answer, board, jobs, whole=whole)


async def _get_pages(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> tuple[list[Any], bool]:
    """All jobs, and whether the last page was among them; never more than `MOST_POSTINGS` asks for."""
    name = LEVER.describe(board)
    jobs: list[Any] = []
    page: list[Any] = []
    for skip in range(0, MOST_POSTINGS, PAGE):
        url = settings.url(LEVER.url, f"/v0/postings/{board}", mode="json", skip=str(skip), limit=str(PAGE))
        before, page = page, as_list(await get_json(http, url, name, settings), name)
        if page and page == before:  # `skip` has no effect: the same for ever
            return jobs, False
        jobs += page
        if len(page) != PAGE:
            return jobs, True
    return jobs, False


def read_answer(board: str, answer: Any, *, whole: bool = True) -> Fetched:
    """The postings in the joined pages; raises `UnusableAnswerError` when there is nothing of the known form in them.

    The answer is complete when the `whole` of it was read. An empty one is complete as well: Lever answers 404 for a
    site that is gone.
    """
    name = LEVER.describe(board)
    return read_jobs(as_list(answer, name), _Job, partial(_normalise, board), name, complete=whole)


def _normalise(board: str, job: _Job) -> Posting:
    said = job.categories or _Categories()
    places = clean_names([said.location, *(said.all_locations or [])])
    pay = job.salary_range
    return Posting(
        source="lever",
        board=board,
        external_id=job.id,
        url=clean(str(job.hosted_url), URL_LENGTH),
        title=clean(job.text, TITLE_LENGTH),
        company=clean(board, NAME_LENGTH),  # which the answer does not name
        departments=clean_names([said.department, said.team]),
        places=places,
        remote=read_remote(places, job.workplace_type),
        text=html_to_text(_page(job)),
        posted_at=None if job.created_at is None else read_epoch(job.created_at / 1000),
        salary=make_salary(pay.min, pay.max, pay.currency, pay.interval) if pay else None,
        tags=clean_tags([said.commitment]),
    )


def _page(job: _Job) -> str:
    """The description as Lever's own page shows it: what comes first, the lists under their headings, and the end."""
    lists = [f"<h3>{section.text or ''}</h3><ul>{section.content or ''}</ul>" for section in job.lists or []]
    return "".join([f"<div>{part}</div>" for part in [job.description or "", *lists, job.additional or ""]])


LEVER = Source(
    name="lever",
    title="Lever",
    url="https://api.lever.co",
    attribution="Postings by the companies themselves, from their public Lever job sites.",
    terms="Public API for showing a company's openings; link to the posting.",
    freshness=timedelta(minutes=10),
    fetch=fetch,
)
