"""The newest remote postings of Remote OK, by its public API (remoteok.com/api)."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import httpx
from pydantic import AfterValidator, BaseModel, HttpUrl

from kinds.job_search.posting import (
    NAME_LENGTH,
    TITLE_LENGTH,
    URL_LENGTH,
    Posting,
    clean_tags,
    read_date,
    read_epoch,
    split_places,
)
from kinds.job_search.salary import make_salary
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source, only_newest
from kinds.job_search.sources.http import get_json
from kinds.job_search.sources.reading import JobId, Maybe, as_list, read_jobs
from kinds.job_search.text import clean, html_to_text


def _mend(text: str) -> str:
    """A text whose UTF-8 was taken for Latin-1 as it was meant; any other as it is."""
    for taken_for in ("latin-1", "cp1252"):
        with suppress(UnicodeError):
            return text.encode(taken_for).decode()
    return text


_Text = Annotated[str, AfterValidator(_mend)]


class _Job(BaseModel):
    id: JobId
    url: HttpUrl
    position: _Text
    company: _Text | None = None
    location: _Text | None = None
    tags: Maybe[list[_Text | None]] = None
    salary_min: Any = None
    salary_max: Any = None
    date: Any = None
    epoch: Any = None
    description: _Text | None = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """What the feed shows now; raises a `SourceError`."""
    answer = await get_json(http, settings.url(REMOTEOK.url, "/api"), REMOTEOK.describe(board), settings)
    return await asyncio.to_thread(read_answer, board, answer)


def read_answer(board: str, answer: Any) -> Fetched:
    """The postings in an answer's JSON; raises `UnusableAnswerError` when there is nothing of the known form in it.

    A feed shows only the newest, so it is never complete.
    """
    name = REMOTEOK.describe(board)
    jobs = [job for job in as_list(answer, name) if not _is_notice(job)]
    return read_jobs(jobs, _Job, partial(_normalise, board), name, complete=False)


def _is_notice(job: Any) -> bool:
    """Whether this is the terms of use, which stand among the jobs."""
    return isinstance(job, dict) and "legal" in job and "id" not in job


def _normalise(board: str, job: _Job) -> Posting:
    return Posting(
        source="remoteok",
        board=board,
        external_id=job.id,
        url=clean(str(job.url), URL_LENGTH),
        title=clean(job.position, TITLE_LENGTH),
        company=clean(job.company or "", NAME_LENGTH),
        places=split_places((job.location or "").strip(" ,")),  # `Oslo, ` where a country is missing
        remote=True,
        text=html_to_text(job.description or ""),
        posted_at=read_date(job.date) or read_epoch(job.epoch),
        salary=make_salary(job.salary_min, job.salary_max, "USD", "year"),  # 0 where it is unknown
        tags=clean_tags(job.tags or []),
    )


REMOTEOK = Source(
    name="remoteok",
    title="Remote OK",
    url="https://remoteok.com",
    attribution="Remote postings from Remote OK (remoteok.com).",
    terms="Name Remote OK as the source and link to the posting there with a link that may be followed; no logo.",
    freshness=timedelta(hours=1),
    fetch=fetch,
    gap=timedelta(seconds=1),
    boards=only_newest,
)
