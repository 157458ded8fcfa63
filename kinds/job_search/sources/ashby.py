"""Ashby job boards, by their public job posting API (developers.ashbyhq.com/docs/public-job-posting-api)."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
from pydantic import HttpUrl

from kinds.job_search.posting import (
    NAME_LENGTH,
    TITLE_LENGTH,
    URL_LENGTH,
    Posting,
    Salary,
    clean_names,
    clean_tags,
    read_date,
)
from kinds.job_search.salary import make_salary
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.errors import UnknownBoardError
from kinds.job_search.sources.http import get_json
from kinds.job_search.sources.reading import CamelModel, JobId, Maybe, list_in, read_jobs, read_remote
from kinds.job_search.text import clean, html_to_text


class _Place(CamelModel):
    location: str | None = None


class _Component(CamelModel):
    compensation_type: str | None = None
    interval: str | None = None
    currency_code: str | None = None
    min_value: float | None = None
    max_value: float | None = None


class _Tier(CamelModel):
    components: list[_Component] | None = None


class _Compensation(CamelModel):
    summary_components: list[_Component] | None = None
    compensation_tiers: list[_Tier] | None = None


class _Job(CamelModel):
    id: JobId
    title: str
    job_url: HttpUrl
    location: str | None = None
    secondary_locations: list[_Place] | None = None
    department: str | None = None
    team: str | None = None
    employment_type: str | None = None
    is_remote: bool | None = None
    workplace_type: str | None = None
    published_at: Any = None
    description_html: str | None = None
    compensation: Maybe[_Compensation] = None
    should_display_compensation_on_job_postings: Maybe[bool] = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """Every public posting of the board in one answer; raises a `SourceError`."""
    url = settings.url(ASHBY.url, f"/posting-api/job-board/{board}", includeCompensation="true")
    answer = await get_json(http, url, ASHBY.describe(board), settings)
    return await asyncio.to_thread(read_answer, board, answer)


def read_answer(board: str, answer: Any) -> Fetched:
    """The listed postings in an answer's JSON; raises `UnusableAnswerError` when none is of the known form.

    The answer is complete when every listed job could be read; one whose jobs are all unlisted is complete and empty.
    Without any job it raises `UnknownBoardError`, as Ashby may answer so for a board that is gone: nothing closes.
    """
    name = ASHBY.describe(board)
    jobs = list_in(answer, "jobs", name)
    if not jobs:
        raise UnknownBoardError(f"{name} does not exist or lists nothing")
    listed = [job for job in jobs if not (isinstance(job, dict) and job.get("isListed") is False)]
    return read_jobs(listed, _Job, partial(_normalise, board), name, complete=True)


def _normalise(board: str, job: _Job) -> Posting:
    places = clean_names([job.location, *(place.location for place in job.secondary_locations or [])])
    remote = read_remote(places, job.workplace_type)
    return Posting(
        source="ashby",
        board=board,
        external_id=job.id,
        url=clean(str(job.job_url), URL_LENGTH),
        title=clean(job.title, TITLE_LENGTH),
        company=clean(board, NAME_LENGTH),  # which the answer does not name
        departments=clean_names([job.department, job.team]),
        places=places,
        remote=job.is_remote if remote is None else remote or job.is_remote is True,
        text=html_to_text(job.description_html or ""),
        posted_at=read_date(job.published_at),
        salary=_salary(job),
        tags=clean_tags([job.employment_type]),
    )


def _salary(job: _Job) -> Salary | None:
    """From the lowest to the highest salary in the first one's currency and interval: a summary, or all tiers.

    Ashby tells what the company doesn't want shown as well: that is not shown.
    """
    said = job.compensation
    if said is None or job.should_display_compensation_on_job_postings is False:
        return None
    tiers = [part for tier in said.compensation_tiers or [] for part in tier.components or []]
    salaries = _salaries(said.summary_components or []) or _salaries(tiers)
    if not salaries:
        return None
    currency, interval = salaries[0].currency_code, salaries[0].interval
    alike = [part for part in salaries if (part.currency_code, part.interval) == (currency, interval)]
    lows = [part.min_value for part in alike if part.min_value]
    highs = [part.max_value for part in alike if part.max_value]
    return make_salary(min(lows, default=None), max(highs, default=None), currency, interval)


def _salaries(parts: list[_Component]) -> list[_Component]:
    """The salaries that name an amount; the rest is equity, bonuses and the like."""
    return [part for part in parts if part.compensation_type == "Salary" and (part.min_value or part.max_value)]


ASHBY = Source(
    name="ashby",
    title="Ashby",
    url="https://api.ashbyhq.com",
    attribution="Postings by the companies themselves, from their public Ashby job boards.",
    terms="Public API for showing a company's openings; link to the posting.",
    freshness=timedelta(minutes=10),
    fetch=fetch,
)
