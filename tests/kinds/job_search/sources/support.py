"""What the tests of the sources share: a small server of JSON, and one good job of each source."""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self

import httpx
from pydantic import HttpUrl

from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES, Fetched, arbeitnow, ashby, greenhouse, jobspy, lever, remoteok, remotive
from kinds.job_search.sources.base import NEWEST

Json = dict[str, Any]
Answer = Callable[[httpx.URL], Any]


class JsonServer:
    """Answers each request with what `answer` makes of its address (404 for None); `asked` lists what was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.stopping = threading.Event()
        self._http = _Server(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, of: JsonServer) -> None:
        self.of = of
        super().__init__(("127.0.0.1", 0), _Request)

    def server_bind(self) -> None:
        """Without the look-up of our own name, which can take seconds where there is no name service."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.of.asked.append(self.path)
        answer = self.server.of.answer(httpx.URL(self.path))
        body = json.dumps(answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
        """Say nothing."""


def ask(source: str, board: str, server: JsonServer, **settings: Any) -> Fetched:
    """What the source's adapter fetches from the server."""

    async def fetch() -> Fetched:
        async with httpx.AsyncClient() as http:
            made = JobSearchSettings(job_sources_url=HttpUrl(server.url), **settings)
            return await SOURCES[source].fetch(http, board, made)

    return asyncio.run(fetch())


def words(text: str) -> str:
    """Letters and digits alone: where blanks fall depends on the markup."""
    return re.sub(r"[\W_]+", "", text)


def words_in(html: str) -> str:
    """The words of an HTML text as the standard library's parser finds them."""
    parser = _Words()
    parser.feed(html)
    parser.close()
    return words("".join(parser.found))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@dataclass(frozen=True)
class Case:
    """A source's reader, one good job of it, its fields by what they hold, and how jobs lie in an answer."""

    source: str
    read: Callable[[str, Any], Fetched]
    job: Json
    id: str
    url: str
    title: str
    html: str
    wrap: Callable[[list[Any]], Any]
    move: Json  # what puts the same job in Bergen
    board: str = NEWEST

    def read_jobs(self, *jobs: Any) -> Fetched:
        """What is read of an answer with these jobs."""
        return self.read(self.board, self.wrap(list(jobs)))


GREENHOUSE_JOB = {
    "id": 7,
    "title": "Baker",
    "absolute_url": "https://jobs.example.com/7",
    "company_name": "Rye & Sons",
    "location": {"name": "Oslo"},
    "departments": [{"name": "Kitchen"}],
    "metadata": [{"name": "Workplace Type", "value": "Onsite"}],
    "first_published": "2026-07-01T08:00:00+02:00",
    "language": "nb-NO",
    "content": "&lt;p&gt;Bread.&lt;/p&gt;",
}

LEVER_JOB = {
    "id": "0d1f9c2e-5b7a-4a55-9d0e-3f2f6a1b8c44",
    "text": "Baker",
    "hostedUrl": "https://jobs.lever.co/ryeandsons/0d1f9c2e-5b7a-4a55-9d0e-3f2f6a1b8c44",
    "categories": {
        "location": "Oslo",
        "allLocations": ["Oslo", "Trondheim"],
        "department": "Kitchen",
        "team": "Ovens",
        "commitment": "Full-time",
    },
    "country": "NO",
    "workplaceType": "onsite",
    "createdAt": 1782896400500,
    "description": "<div>We bake <b>bread</b>.</div>",
    "lists": [
        {"text": "What you'll do", "content": "<li>Knead</li><li>Wait</li>"},
        {"text": "Who you are", "content": "<li>Up early</li>"},
    ],
    "additional": "<p>We feed everybody.</p>",
    "salaryRange": {"currency": "NOK", "interval": "per-year-salary", "min": 420000, "max": 510000},
}

ASHBY_JOB = {
    "id": "5d0b0f9a-44f2-4c43-8c57-6a0b2f7f1f10",
    "title": "Baker",
    "department": "Kitchen",
    "team": "Ovens",
    "employmentType": "FullTime",
    "location": "Oslo",
    "secondaryLocations": [{"location": "Trondheim", "address": {"postalAddress": {"addressCountry": "Norway"}}}],
    "publishedAt": "2026-07-01T08:00:00.500+02:00",
    "isListed": True,
    "isRemote": False,
    "workplaceType": "OnSite",
    "jobUrl": "https://jobs.ashbyhq.com/ryeandsons/5d0b0f9a-44f2-4c43-8c57-6a0b2f7f1f10",
    "descriptionHtml": "<h1>Rye &amp; Sons</h1><p>We bake bread.</p>",
    "compensation": {
        "compensationTiers": [],
        "summaryComponents": [
            {"compensationType": "EquityCashValue", "interval": "1 YEAR", "minValue": 1, "maxValue": 9},
            {
                "compensationType": "Salary",
                "interval": "1 YEAR",
                "currencyCode": "NOK",
                "minValue": 420000,
                "maxValue": 510000,
            },
        ],
    },
}

REMOTIVE_JOB = {
    "id": 2099001,
    "url": "https://remotive.com/remote-jobs/all-others/recipe-writer-2099001",
    "title": "Recipe Writer",
    "company_name": "Rye & Sons",
    "category": "Writing",
    "tags": ["bread", "Baking", "baking"],
    "job_type": "part_time",
    "publication_date": "2026-07-01T08:00:00",
    "candidate_required_location": "Americas, Europe, Israel",
    "salary": "$30 - $40 /hour",
    "description": "<p>Write about bread.</p>",
}

ARBEITNOW_JOB = {
    "slug": "baecker-hamburg-berlin-4711",
    "company_name": "Roggen GmbH",
    "title": "Bäcker (m/w/d)",
    "description": "<p>Wir backen Brot.</p>",
    "remote": False,
    "url": "https://www.arbeitnow.com/jobs/companies/roggen-gmbh/baecker-hamburg-berlin-4711",
    "tags": ["Gastronomy"],
    "job_types": ["berufserfahren"],
    "location": "Hamburg, Berlin",
    "created_at": 1782885600,
}

REMOTEOK_NOTICE = {"last_updated": 1782885600, "legal": "Link back, and name us."}
REMOTEOK_JOB = {
    "id": "1199001",
    "slug": "remote-recipe-writer-rye-1199001",
    "epoch": 1782885600,
    "date": "2026-07-01T06:00:00+00:00",
    "company": "Rye & Sons",
    "position": "Recipe Writer",
    "tags": ["writing", "food"],
    "description": "Write about bread.<br>Every day.",
    "location": "Oslo, ",
    "salary_min": 40000,
    "salary_max": 50000,
    "url": "https://remoteok.com/remote-jobs/remote-recipe-writer-rye-1199001",
}

JOBSPY_JOB = {
    "id": "in-77aa",
    "job_url": "https://www.indeed.com/viewjob?jk=77aa",
    "title": "Baker",
    "company": "Rye & Sons",
    "location": "Oslo, Norway",
    "date_posted": "2026-07-01",
    "job_type": "fulltime, contract",
    "interval": "hourly",
    "min_amount": 20.5,
    "max_amount": 25.0,
    "currency": "USD",
    "is_remote": False,
    "description": "<p>We bake bread.</p>",
}
JOBSPY_BOARD = "indeed: baker @ oslo"

CASES = [
    Case(
        source="greenhouse",
        read=greenhouse.read_answer,
        job=GREENHOUSE_JOB,
        id="id",
        url="absolute_url",
        title="title",
        html="content",
        wrap=lambda jobs: {"jobs": jobs, "meta": {"total": len(jobs)}},
        move={"location": {"name": "Bergen"}},
        board="ryeandsons",
    ),
    Case(
        source="lever",
        read=lever.read_answer,
        job=LEVER_JOB,
        id="id",
        url="hostedUrl",
        title="text",
        html="description",
        wrap=lambda jobs: jobs,
        move={"categories": {"location": "Bergen"}},
        board="ryeandsons",
    ),
    Case(
        source="ashby",
        read=ashby.read_answer,
        job=ASHBY_JOB,
        id="id",
        url="jobUrl",
        title="title",
        html="descriptionHtml",
        wrap=lambda jobs: {"apiVersion": "1", "jobs": jobs},
        move={"location": "Bergen"},
        board="ryeandsons",
    ),
    Case(
        source="remotive",
        read=remotive.read_answer,
        job=REMOTIVE_JOB,
        id="id",
        url="url",
        title="title",
        html="description",
        wrap=lambda jobs: {"0-legal-notice": "Name us.", "job-count": len(jobs), "jobs": jobs},
        move={"candidate_required_location": "Bergen"},
    ),
    Case(
        source="arbeitnow",
        read=arbeitnow.read_answer,
        job=ARBEITNOW_JOB,
        id="slug",
        url="url",
        title="title",
        html="description",
        wrap=lambda jobs: {"data": jobs, "links": {"next": None}, "meta": {}},
        move={"location": "Bergen"},
    ),
    Case(
        source="remoteok",
        read=remoteok.read_answer,
        job=REMOTEOK_JOB,
        id="id",
        url="url",
        title="position",
        html="description",
        wrap=lambda jobs: [REMOTEOK_NOTICE, *jobs],
        move={"location": "Bergen"},
    ),
    Case(
        source="jobspy",
        read=jobspy.read_answer,
        job=JOBSPY_JOB,
        id="id",
        url="job_url",
        title="title",
        html="description",
        wrap=lambda jobs: jobs,
        move={"location": "Bergen"},
        board=JOBSPY_BOARD,
    ),
]
