"""The newest postings of Arbeitnow, most of them in Germany, by its public API (arbeitnow.com/api)."""

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
    clean_tags,
    read_epoch,
    split_places,
)
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source, only_newest
from kinds.job_search.sources.errors import UnusableAnswerError
from kinds.job_search.sources.http import check_same_origin, get_json, in_time
from kinds.job_search.sources.reading import JobId, Maybe, list_in, read_jobs, read_remote
from kinds.job_search.text import HTML_LENGTH, clean, html_to_text, unescape_entities

MOST_PAGES = 10


class _Job(BaseModel):
    slug: JobId
    url: HttpUrl
    title: str
    company_name: str | None = None
    location: str | None = None
    remote: bool | None = None
    tags: Maybe[list[str | None]] = None
    job_types: Maybe[list[str | None]] = None
    created_at: Any = None
    description: str | None = None


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """The first `MOST_PAGES` pages of the feed; raises a `SourceError`."""
    name = ARBEITNOW.describe(board)
    url: httpx.URL | None = settings.url(ARBEITNOW.url, "/api/job-board-api", page="1")
    jobs: list[Any] = []
    seen: set[httpx.URL] = set()
    async with in_time(name, settings):
        while url and url not in seen and len(seen) < MOST_PAGES:
            seen.add(url)
            answer = await get_json(http, url, name, settings)
            jobs += list_in(answer, "data", name)
            url = _next_page(answer, url, name)
    return await asyncio.to_thread(read_answer, board, {"data": jobs})


def _next_page(answer: dict[str, Any], asked: httpx.URL, name: str) -> httpx.URL | None:
    """The page that the answer names as the next, on the server that was asked; raises `UnusableAnswerError`."""
    links = answer.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    if not isinstance(link, str):
        return None
    try:
        url = asked.join(link)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UnusableAnswerError(f"{name} names a next page that is no address") from error
    check_same_origin(url, asked, name)
    return url


def read_answer(board: str, answer: Any) -> Fetched:
    """The postings in an answer's JSON; raises `UnusableAnswerError` when there is nothing of the known form in it.

    A feed shows only the newest, so it is never complete.
    """
    name = ARBEITNOW.describe(board)
    return read_jobs(list_in(answer, "data", name), _Job, partial(_normalise, board), name, complete=False)


def _normalise(board: str, job: _Job) -> Posting:
    places = split_places(job.location)
    return Posting(
        source="arbeitnow",
        board=board,
        external_id=job.slug,
        url=clean(str(job.url), URL_LENGTH),
        title=clean(job.title, TITLE_LENGTH),
        company=clean(job.company_name or "", NAME_LENGTH),
        places=places,
        # Every posting that nobody marked as remote says false, hybrid ones too: it means that nothing was said.
        remote=read_remote(places, "remote" if job.remote else None),
        text=html_to_text(_html(job.description or "")),
        posted_at=read_epoch(job.created_at),
        tags=clean_tags([*(job.tags or []), *(job.job_types or [])]),
    )


def _html(description: str) -> str:
    """HTML, which some companies' postings have escaped once more."""
    escaped = description.lstrip().startswith("&lt;")
    return unescape_entities(description[:HTML_LENGTH]) if escaped else description


ARBEITNOW = Source(
    name="arbeitnow",
    title="Arbeitnow",
    url="https://www.arbeitnow.com",
    attribution="Postings from Arbeitnow (arbeitnow.com).",
    terms="Free to use; a link back to Arbeitnow is welcome.",
    freshness=timedelta(hours=1),
    fetch=fetch,
    gap=timedelta(seconds=1),
    boards=only_newest,
)
