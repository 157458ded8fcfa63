"""Greenhouse job boards, by their public Job Board API (developers.greenhouse.io/job-board.html)."""

import asyncio
from collections.abc import Sequence
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
    read_date,
    read_language,
    split_places,
)
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.http import get_json
from kinds.job_search.sources.reading import JobId, list_in, read_jobs, read_remote
from kinds.job_search.text import HTML_LENGTH, clean, html_to_text, unescape_entities

# Fields of their own that companies use for the same thing; the first two are on recorded boards.
_WORKPLACE_FIELDS = frozenset({"workplace type", "location type", "work model", "workplace"})


class _Named(BaseModel):
    name: str | None = None


class _Field(BaseModel):
    name: str | None = None
    value: Any = None


class _Job(BaseModel):
    """The fields that are read; `updated_at` is not, as it moves without any other change."""

    id: JobId
    title: str
    absolute_url: HttpUrl
    company_name: str | None = None
    location: _Named | None = None
    departments: list[_Named] | None = None
    metadata: list[_Field] | None = None
    first_published: Any = None
    language: Any = None
    content: str | None = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """Every posting of the board in one answer; raises a `SourceError`."""
    url = settings.url(GREENHOUSE.url, f"/v1/boards/{board}/jobs", content="true")
    answer = await get_json(http, url, GREENHOUSE.describe(board), settings)
    return await asyncio.to_thread(read_answer, board, answer)


def read_answer(board: str, answer: Any) -> Fetched:
    """The postings in an answer's JSON; raises `UnusableAnswerError` when there is nothing of the known form in it.

    The answer is complete when each of `meta.total` jobs is there and could be read. An empty list that says
    `"total": 0` is complete as well: Greenhouse answers 404 for a board that is gone, so a board that says it has
    nothing open is believed, and everything on it closes. Without that word nothing closes.
    """
    name = GREENHOUSE.describe(board)
    jobs = list_in(answer, "jobs", name)
    return read_jobs(jobs, _Job, partial(_normalise, board), name, complete=len(jobs) == _total(answer))


def _total(answer: dict[str, Any]) -> int | None:
    meta = answer.get("meta")
    return meta.get("total") if isinstance(meta, dict) else None


def _normalise(board: str, job: _Job) -> Posting:
    location = job.location.name if job.location else None
    places = split_places(location)
    return Posting(
        source="greenhouse",
        board=board,
        external_id=job.id,
        url=clean(str(job.absolute_url), URL_LENGTH),
        title=clean(job.title, TITLE_LENGTH),
        company=clean(job.company_name or board, NAME_LENGTH),
        departments=clean_names(department.name for department in job.departments or []),
        places=places,
        remote=read_remote(places, _workplace(job.metadata or [])),
        # The content is HTML that was escaped once more.
        text=html_to_text(unescape_entities((job.content or "")[:HTML_LENGTH])),
        posted_at=read_date(job.first_published),
        language=read_language(job.language),
    )


def _workplace(fields: Sequence[_Field]) -> str | None:
    """The company's own field for where work is done."""
    for field in fields:
        if (field.name or "").strip().lower() in _WORKPLACE_FIELDS and isinstance(field.value, str):
            return field.value
    return None


GREENHOUSE = Source(
    name="greenhouse",
    title="Greenhouse",
    url="https://boards-api.greenhouse.io",
    attribution="Postings by the companies themselves, from their public Greenhouse job boards.",
    terms="Public API for showing a company's openings; link to the posting.",
    freshness=timedelta(minutes=10),
    fetch=fetch,
)
