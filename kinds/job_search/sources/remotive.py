"""The newest remote postings of Remotive, by its public API (remotive.com/api-documentation)."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
from pydantic import BaseModel, HttpUrl

from kinds.job_search.posting import (
    NAME_LENGTH,
    TITLE_LENGTH,
    URL_LENGTH,
    Posting,
    clean_names,
    clean_tags,
    read_date,
)
from kinds.job_search.salary import read_salary
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source, only_newest
from kinds.job_search.sources.http import get_json
from kinds.job_search.sources.reading import JobId, Maybe, list_in, read_jobs
from kinds.job_search.text import clean, html_to_text


class _Job(BaseModel):
    id: JobId
    url: HttpUrl
    title: str
    company_name: str | None = None
    category: str | None = None
    job_type: str | None = None
    tags: Maybe[list[str | None]] = None
    publication_date: Any = None
    candidate_required_location: str | None = None
    salary: Maybe[str] = None
    description: str | None = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """What the feed shows now; raises a `SourceError`."""
    answer = await get_json(http, settings.url(REMOTIVE.url, "/api/remote-jobs"), REMOTIVE.describe(board), settings)
    return await asyncio.to_thread(read_answer, board, answer)


def read_answer(board: str, answer: Any) -> Fetched:
    """The postings in an answer's JSON; raises `UnusableAnswerError` when there is nothing of the known form in it.

    A feed shows only the newest, so it is never complete.
    """
    name = REMOTIVE.describe(board)
    return read_jobs(list_in(answer, "jobs", name), _Job, partial(_normalise, board), name, complete=False)


def _normalise(board: str, job: _Job) -> Posting:
    return Posting(
        source="remotive",
        board=board,
        external_id=job.id,
        url=clean(str(job.url), URL_LENGTH),
        title=clean(job.title, TITLE_LENGTH),
        company=clean(job.company_name or "", NAME_LENGTH),
        departments=clean_names([job.category]),
        places=clean_names(
            (job.candidate_required_location or "").split(",")
        ),  # countries and regions, never `City, ST`
        remote=True,
        text=html_to_text(job.description or ""),
        posted_at=read_date(job.publication_date, naive=True),
        salary=read_salary(job.salary),
        tags=clean_tags([*(job.tags or []), job.job_type]),
    )


REMOTIVE = Source(
    name="remotive",
    title="Remotive",
    url="https://remotive.com",
    attribution="Remote postings by Remotive (remotive.com), shown there 24 hours earlier.",
    terms=(
        "Name Remotive and link to the posting there; don't pass postings on to other job sites (Jooble, Google Jobs, "
        "LinkedIn and the like) or ask for a sign-up before showing one."
    ),
    freshness=timedelta(hours=6),
    fetch=fetch,
    calls_a_day=4,
    gap=timedelta(seconds=30),
    boards=only_newest,
)
