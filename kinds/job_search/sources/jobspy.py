"""Sites such as Indeed and LinkedIn, scraped by JobSpy (the optional extra `jobspy`).

These sites forbid scraping in their terms: off unless an installation that may do it turns it on.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import BaseModel, HttpUrl

from kinds.job_search.posting import (
    NAME_LENGTH,
    TITLE_LENGTH,
    URL_LENGTH,
    Posting,
    clean_tags,
    read_date,
    split_places,
)
from kinds.job_search.salary import make_salary
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.base import Fetched, Source
from kinds.job_search.sources.errors import (
    RefusedError,
    SourceError,
    ThrottledError,
    UnavailableError,
    UnknownBoardError,
    UnusableAnswerError,
)
from kinds.job_search.sources.http import in_time
from kinds.job_search.sources.reading import JobId, Maybe, as_list, read_jobs, read_remote
from kinds.job_search.text import clean, html_to_text

if TYPE_CHECKING:
    from pandas import DataFrame

QUERY_LENGTH = 120
PLACE_LENGTH = 50
TROUBLE_LENGTH = 200
# Most sites show 10 to 30 postings a page and JobSpy rests seconds between pages; these two show 100 at once.
RESULTS = 30
RESULTS_OF = {"indeed": 100, "glassdoor": 100}

_BOARD = re.compile(r"([a-z_]+): ([^@]+?)(?: @ ([^@]+))?")
_THROTTLED = re.compile(r"\b429\b|too many requests|rate.?limit", re.IGNORECASE)
_REFUSED = re.compile(r"\b40[13]\b|\bblocked\b|\bcaptcha\b", re.IGNORECASE)

# What JobSpy logs it answers as well; without this it would print it.
logging.getLogger("jobspy").addHandler(logging.NullHandler())


class _Job(BaseModel):
    id: JobId
    job_url: HttpUrl
    title: str
    company: str | None = None
    location: str | None = None
    date_posted: Any = None
    job_type: Maybe[str] = None
    interval: Any = None
    min_amount: Any = None
    max_amount: Any = None
    currency: Any = None
    is_remote: Maybe[bool] = None
    description: str | None = None


def boards(query: str, location: str | None) -> Sequence[str]:
    """A board for each of `JOBSPY_SITES`, such as `indeed: python developer @ berlin`; letter case makes no other."""
    place = _words(location or "", PLACE_LENGTH)
    search = _words(query, QUERY_LENGTH) + (f" @ {place}" if place else "")
    return [f"{site}: {search}" for site in JobSearchSettings.load().jobspy_sites]


def _words(text: str, length: int) -> str:
    return clean(text.lower().replace("@", " "), length)


async def fetch(http: httpx.AsyncClient, board: str, settings: JobSearchSettings) -> Fetched:
    """What the site finds for the board's search; raises a `SourceError`.

    JobSpy can't be stopped: when it takes longer than `job_fetch_seconds` its thread goes on, and what it finds is
    dropped. It has no address that a board server could stand in for, so where there is one it isn't asked.
    """
    del http
    name = JOBSPY.describe(board)
    search = _BOARD.fullmatch(board)
    if search is None:
        raise UnknownBoardError(f"{name} is no search: it has the form 'site: words' or 'site: words @ place'")
    if settings.job_sources_url:
        raise RefusedError(f"{name} is not asked while JOB_SOURCES_URL stands in for all sources")
    site, query, place = search.groups()
    async with in_time(name, settings):
        rows = await asyncio.to_thread(_scrape, site, query, place, name)
    return await asyncio.to_thread(read_answer, board, rows)


def _scrape(site: str, query: str, place: str | None, name: str) -> list[dict[str, Any]]:
    """The rows that JobSpy finds; raises a `SourceError` where it finds none and says that something went wrong."""
    try:
        from jobspy import scrape_jobs  # noqa: PLC0415 - heavy, and not there unless the extra is installed
    except ImportError as error:
        raise RefusedError(f"{name} needs JobSpy: pip install 'python-jobspy>=1.4'") from error
    try:
        found = scrape_jobs(
            site_name=[site],
            search_term=query,
            location=place,
            country_indeed=_country(place),
            results_wanted=RESULTS_OF.get(site, RESULTS),
            description_format="html",
            verbose=0,
        )
    except ValueError as error:
        raise UnknownBoardError(f"{name} can't be searched: {_short(error)}") from error
    except Exception as error:  # other people's pages read by other people's code: it can be anything
        raise UnusableAnswerError(f"{name} can't be read: {_short(error)}") from error
    rows = rows_of(found)
    trouble = found.attrs.get("errors", {}).get(site)
    if trouble and not rows:
        raise _error(name, str(trouble))
    return rows


def _country(place: str | None) -> str:
    """Whose Indeed and Glassdoor to search: the country after the last comma of the place, else the USA's."""
    from jobspy.model import Country  # noqa: PLC0415 - as above

    try:
        return str(Country((place or "").rpartition(",")[2].strip()).value)
    except ValueError:
        return "usa"


def _error(name: str, trouble: str) -> SourceError:
    """What JobSpy's words for a failure mean."""
    if _THROTTLED.search(trouble):
        return ThrottledError(f"{name} was asked too often and wants to be left alone: {_short(trouble)}")
    if _REFUSED.search(trouble):
        return RefusedError(f"{name} refuses to answer: {_short(trouble)}")
    return UnavailableError(f"{name} gives no answer: {_short(trouble)}")


def _short(trouble: object) -> str:
    return clean(str(trouble), TROUBLE_LENGTH)


def rows_of(found: "DataFrame") -> list[dict[str, Any]]:
    """The rows of a frame without what is unknown in it, their days as ISO dates."""
    known = found.astype(object).where(found.notna(), None)
    rows: list[dict[str, Any]] = known.to_dict("records")
    return [
        {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()} for row in rows
    ]


def read_answer(board: str, answer: Any) -> Fetched:
    """The postings in the rows; raises `UnusableAnswerError` when there is nothing of the known form in them.

    A search shows only the best, so it is never complete.
    """
    name = JOBSPY.describe(board)
    return read_jobs(as_list(answer, name), _Job, partial(_normalise, board), name, complete=False)


def _normalise(board: str, job: _Job) -> Posting:
    places = split_places(job.location)
    return Posting(
        source="jobspy",
        board=board,
        external_id=job.id,
        url=clean(str(job.job_url), URL_LENGTH),
        title=clean(job.title, TITLE_LENGTH),
        company=clean(job.company or "", NAME_LENGTH),
        places=places,
        # JobSpy says false where it saw no sign of remote work.
        remote=read_remote(places, "remote" if job.is_remote else None),
        text=html_to_text(job.description or ""),
        posted_at=read_date(job.date_posted, naive=True),
        salary=make_salary(job.min_amount, job.max_amount, job.currency, job.interval),
        tags=clean_tags((job.job_type or "").split(",")),
    )


JOBSPY = Source(
    name="jobspy",
    title="JobSpy",
    url="https://github.com/speedyapply/JobSpy",
    attribution="Postings found by JobSpy on the site that each one links to.",
    terms="The sites it reads forbid scraping in their terms: turn it on only if you may, and link to the posting.",
    freshness=timedelta(hours=1),
    fetch=fetch,
    calls_a_day=200,
    gap=timedelta(seconds=5),
    boards=boards,
)
