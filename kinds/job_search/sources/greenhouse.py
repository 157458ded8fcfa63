"""Greenhouse job boards, by their public Job Board API (developers.greenhouse.io/job-board.html)."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
from pydantic import BaseModel, HttpUrl, ValidationError

from kinds.job_search.posting import (
    NAME_LENGTH,
    TITLE_LENGTH,
    URL_LENGTH,
    Posting,
    read_date,
    says_remote,
    split_places,
)
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.errors import UnusableAnswerError
from kinds.job_search.sources.http import get_json
from kinds.job_search.text import HTML_LENGTH, clean, html_to_text, unescape_entities

# Fields of their own that companies use for the same thing; the first two are on recorded boards.
_WORKPLACE_FIELDS = frozenset({"workplace type", "location type", "work model", "workplace"})
_WORKPLACES = {"remote": True, "hybrid": False, "onsite": False, "on-site": False, "in office": False}


class _Named(BaseModel):
    name: str | None = None


class _Field(BaseModel):
    name: str | None = None
    value: Any = None


class _Job(BaseModel):
    """The fields that are read; `updated_at` is not, as it moves without any other change."""

    id: int
    title: str
    absolute_url: HttpUrl
    company_name: str | None = None
    location: _Named | None = None
    departments: list[_Named] | None = None
    metadata: list[_Field] | None = None
    first_published: Any = None
    content: str | None = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """Every posting of the board in one answer; raises a `SourceError`."""
    base = str(settings.greenhouse_url).rstrip("/")
    url = httpx.URL(f"{base}/v1/boards/{board}/jobs", params={"content": "true"})
    answer = await get_json(http, url, _name(board), settings)
    return await asyncio.to_thread(read_answer, board, answer)


def read_answer(board: str, answer: Any) -> Fetched:
    """The postings in an answer's JSON; raises `UnusableAnswerError` when there is nothing of the known form in it.

    The answer is complete when each of `meta.total` jobs is there and could be read. An empty list that says
    `"total": 0` is complete as well: Greenhouse answers 404 for a board that is gone, so a board that says it has
    nothing open is believed, and everything on it closes. Without that word nothing closes.
    """
    jobs = answer.get("jobs") if isinstance(answer, dict) else None
    if not isinstance(jobs, list):
        raise UnusableAnswerError(f"{_name(board)} answered with JSON that has no list of jobs")
    postings = _read_all(board, jobs)
    if jobs and not postings:
        raise UnusableAnswerError(f"{_name(board)} answered with {len(jobs)} jobs in a form that is not known")
    return Fetched(
        postings=tuple({posting.external_id: posting for posting in postings}.values()),
        complete=len(postings) == len(jobs) == _total(answer),
    )


def _name(board: str) -> str:
    return f"Greenhouse board {board!r}"


def _total(answer: dict[str, Any]) -> int | None:
    meta = answer.get("meta")
    return meta.get("total") if isinstance(meta, dict) else None


def _read_all(board: str, jobs: Sequence[Any]) -> list[Posting]:
    """What can be read of a list of jobs; one that can't be doesn't take the others with it."""
    postings = []
    for raw in jobs:
        try:
            postings.append(_normalise(board, _Job.model_validate(raw)))
        except ValidationError:
            continue
    return postings


def _normalise(board: str, job: _Job) -> Posting:
    location = job.location.name if job.location else None
    places = split_places(location)
    departments = (clean(department.name or "", NAME_LENGTH) for department in job.departments or [])
    return Posting(
        source="greenhouse",
        board=board,
        external_id=str(job.id),
        url=clean(str(job.absolute_url), URL_LENGTH),
        title=clean(job.title, TITLE_LENGTH),
        company=clean(job.company_name or board, NAME_LENGTH),
        departments=tuple(dict.fromkeys(department for department in departments if department)),
        places=places,
        remote=_remote(places, job.metadata or []),
        # The content is HTML that was escaped once more.
        text=html_to_text(unescape_entities((job.content or "")[:HTML_LENGTH])),
        posted_at=read_date(job.first_published),
    )


def _remote(places: Sequence[str], fields: Sequence[_Field]) -> bool | None:
    """True when a place or the company's own field says so; False only when the field names another way to work."""
    if any(says_remote(place) for place in places):
        return True
    for field in fields:
        if (field.name or "").strip().lower() in _WORKPLACE_FIELDS and isinstance(field.value, str):
            return _WORKPLACES.get(field.value.strip().lower())
    return None


GREENHOUSE = Source(
    name="greenhouse",
    title="Greenhouse",
    attribution="Postings by the companies themselves, from their public Greenhouse job boards.",
    freshness=timedelta(minutes=10),
    fetch=fetch,
)
