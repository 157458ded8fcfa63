"""With the real library: its scrapers are pointed at a closed port, or one made up here takes the place of Indeed's."""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import ClassVar

import httpx
import jobspy
import pytest
from jobspy.model import CompensationInterval, JobPost, JobType, Location, Scraper, ScraperInput, Site
from pydantic import HttpUrl

from kinds.job_search.posting import Salary
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES, Fetched
from kinds.job_search.sources.errors import (
    RefusedError,
    SourceError,
    ThrottledError,
    UnavailableError,
    UnknownBoardError,
    UnusableAnswerError,
)
from kinds.job_search.sources.jobspy import boards

BOARD = "indeed: baker @ oslo, norway"
BREAD = JobPost(
    id="in-77aa",
    job_url="https://www.indeed.com/viewjob?jk=77aa",
    title="Baker",
    company="Rye & Sons",
    location=Location(city="Oslo", country="norway"),
    date_posted=date(2026, 7, 1),
    job_type=[JobType.FULL_TIME, JobType.CONTRACT],
    interval=CompensationInterval.HOURLY,
    min_amount=20.5,
    max_amount=25,
    currency="USD",
    is_remote=True,
    description="<p>We bake <b>bread</b>.</p>",
)
BARE = JobPost(id="in-1", job_url="https://www.indeed.com/viewjob?jk=1", title="Miller")


def ask(board: str = BOARD, settings: JobSearchSettings | None = None) -> Fetched:
    async def fetch() -> Fetched:
        async with httpx.AsyncClient() as http:
            return await SOURCES["jobspy"].fetch(http, board, settings or JobSearchSettings())

    return asyncio.run(fetch())


class MadeUp(Scraper):
    """Finds what the test says, and keeps what it was asked."""

    asked: ClassVar[list[ScraperInput]] = []
    found: ClassVar[list[JobPost]] = []
    trouble: ClassVar[str | None] = None
    first: ClassVar[Callable[[], object]] = lambda: None

    def scrape(self, scraper_input: ScraperInput) -> list[JobPost]:
        type(self).asked.append(scraper_input)
        type(self).first()
        self.error = self.trouble
        return self.found


@pytest.fixture
def indeed(monkeypatch: pytest.MonkeyPatch) -> type[MadeUp]:
    """The scraper that stands where Indeed's does."""

    class Indeed(MadeUp):
        asked: ClassVar[list[ScraperInput]] = []

    monkeypatch.setitem(jobspy.SCRAPER_MAPPING, Site.INDEED, Indeed)
    return Indeed


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request of the process goes to a port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{one.getsockname()[1]}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.lower(), address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


def test_a_posting_is_normalised(indeed: type[MadeUp]) -> None:
    indeed.found = [BREAD]
    fetched = ask()
    [posting] = fetched.postings
    assert not fetched.complete
    assert (posting.source, posting.board, posting.external_id) == ("jobspy", BOARD, "in-77aa")
    assert posting.url == "https://www.indeed.com/viewjob?jk=77aa"
    assert (posting.title, posting.company) == ("Baker", "Rye & Sons")
    assert posting.places == ("Oslo, Norway",)
    assert posting.remote is True
    assert posting.posted_at == datetime(2026, 7, 1, tzinfo=UTC)
    assert posting.salary == Salary(20.5, 25, "USD", "hour")
    assert posting.tags == ("fulltime", "contract")
    assert posting.text == "We bake bread."


@pytest.mark.parametrize("others", [[], [BREAD]], ids=["alone", "beside one that says all"])
def test_what_is_not_in_the_frame_is_unknown(indeed: type[MadeUp], others: list[JobPost]) -> None:
    indeed.found = [*others, BARE]
    [posting] = [posting for posting in ask().postings if posting.external_id == "in-1"]
    assert (posting.company, posting.places, posting.text, posting.tags) == ("", (), "", ())
    assert (posting.remote, posting.posted_at, posting.salary) == (None, None, None)


def test_no_sign_of_remote_work_says_nothing(indeed: type[MadeUp]) -> None:
    indeed.found = [BREAD.model_copy(update={"is_remote": False})]
    assert ask().postings[0].remote is None


def test_nothing_found_is_an_empty_feed(indeed: type[MadeUp]) -> None:
    assert ask() == Fetched((), complete=False)


@pytest.mark.parametrize(
    ("board", "term", "place", "country"),
    [
        ("indeed: python developer", "python developer", None, "usa"),
        ("indeed: c++: the basics", "c++: the basics", None, "usa"),
        ("indeed: baker @ oslo, norway", "baker", "oslo, norway", "norway"),
        ("indeed: baker @ united kingdom", "baker", "united kingdom", "uk"),
        ("indeed: baker @ austin, tx", "baker", "austin, tx", "usa"),
    ],
)
def test_a_board_is_the_search(indeed: type[MadeUp], board: str, term: str, place: str | None, country: str) -> None:
    ask(board)
    [asked] = indeed.asked
    assert (asked.search_term, asked.location, asked.country_indeed.value) == (term, place, country)
    assert (asked.results_wanted, asked.description_format.value) == (100, "html")


@pytest.mark.parametrize(
    ("query", "location", "names"),
    [
        (
            "Python  Developer",
            "Berlin",
            ["indeed: python developer @ berlin", "zip_recruiter: python developer @ berlin"],
        ),
        ("Bäcker", None, ["indeed: bäcker", "zip_recruiter: bäcker"]),
        ("baker @ home", None, ["indeed: baker home", "zip_recruiter: baker home"]),
    ],
)
def test_a_search_has_a_board_on_each_site(
    monkeypatch: pytest.MonkeyPatch, query: str, location: str | None, names: list[str]
) -> None:
    monkeypatch.setenv("JOBSPY_SITES", "indeed,zip_recruiter")
    assert list(boards(query, location)) == names


def test_a_long_search_is_cut(indeed: type[MadeUp]) -> None:
    [board] = boards("bread " * 33, "oslo " * 40)
    assert len(board) <= 200
    ask(board)
    assert indeed.asked[0].location is not None


@pytest.mark.parametrize("board", ["acme", "", "indeed:baker", "indeed: ", "Indeed: baker", "indeed: a @ b @ c"])
def test_a_name_that_is_no_search_is_no_board(indeed: type[MadeUp], board: str) -> None:
    with pytest.raises(UnknownBoardError, match="is no search"):
        ask(board)
    assert indeed.asked == []


def test_a_site_that_jobspy_does_not_know_is_no_board() -> None:
    with pytest.raises(UnknownBoardError, match=r"^JobSpy board 'monster: baker' can't be searched: Invalid site_name"):
        ask("monster: baker")


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ("response status code 429 (blocked: use a proxy)", ThrottledError),
        ("Too Many Requests", ThrottledError),
        ("response status code 403 (blocked: use a proxy)", RefusedError),
        ("unexpected page with no jobs (blocked?)", RefusedError),
        ("response status code 503", UnavailableError),
        ("no answer at /search?q=blockchain, port=42903", UnavailableError),
    ],
)
def test_troubles_are_told_apart(indeed: type[MadeUp], trouble: str, error: type[SourceError]) -> None:
    indeed.trouble = trouble
    with pytest.raises(error, match=r"^JobSpy board 'indeed: baker @ oslo, norway' ") as caught:
        ask()
    assert type(caught.value) is error
    assert trouble in caught.value.message


def test_what_was_found_before_the_trouble_is_kept(indeed: type[MadeUp]) -> None:
    indeed.found, indeed.trouble = [BREAD], "response status code 429 (blocked: use a proxy)"
    assert len(ask().postings) == 1


def test_a_scraper_that_breaks_is_no_bug_of_ours(indeed: type[MadeUp]) -> None:
    def breaks() -> None:
        raise KeyError("results")

    indeed.first = breaks
    with pytest.raises(UnusableAnswerError, match="can't be read: 'results'"):
        ask()


def test_a_slow_scraper_is_left_in_time(indeed: type[MadeUp]) -> None:
    release = threading.Event()

    async def fetch() -> None:
        async with httpx.AsyncClient() as http:
            try:
                await SOURCES["jobspy"].fetch(http, BOARD, JobSearchSettings(job_fetch_seconds=0.2))
            finally:
                release.set()

    indeed.first = lambda: release.wait(60)
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.2 s"):
        asyncio.run(fetch())


@pytest.mark.parametrize("site", [site.value for site in Site])
def test_a_site_that_cannot_be_reached_says_so_and_prints_nothing(
    closed_port: None, capfd: pytest.CaptureFixture[str], site: str
) -> None:
    with pytest.raises(UnavailableError, match=f"^JobSpy board '{site}: baker' gives no answer: ") as caught:
        ask(f"{site}: baker")
    assert len(caught.value.message) < 300
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jobspy", None)
    with pytest.raises(RefusedError, match="pip install 'python-jobspy>=") as caught:
        ask()
    assert not caught.value.retry


def test_where_a_server_stands_in_for_all_sources_no_site_is_asked(indeed: type[MadeUp]) -> None:
    with pytest.raises(RefusedError, match="JOB_SOURCES_URL"):
        ask(settings=JobSearchSettings(job_sources_url=HttpUrl("http://127.0.0.1:1")))
    assert indeed.asked == []


def test_it_is_off_and_not_loaded_until_it_is_asked() -> None:
    assert "jobspy" not in JobSearchSettings().job_sources
    code = "import sys, kinds.job_search.sources; sys.exit('jobspy' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_its_log_is_left_to_whoever_sets_logging_up() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("jobspy").handlers)
