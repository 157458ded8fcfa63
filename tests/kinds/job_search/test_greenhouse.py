import asyncio
import gzip
import json
import threading
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import HttpUrl

from kinds.job_search import board_faults as faults
from kinds.job_search.board_faults import Fault
from kinds.job_search.board_server import BoardServer
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

ONE = {"id": 1, "title": "Baker", "absolute_url": "https://example.com/1", "location": {"name": "Oslo"}}


def fetch(board: str, settings: JobSearchSettings | None = None) -> Fetched:
    async def ask() -> Fetched:
        async with httpx.AsyncClient(follow_redirects=True) as http:
            return await SOURCES["greenhouse"].fetch(http, board, settings or JobSearchSettings())

    return asyncio.run(ask())


def answer_json(value: Any) -> Fault:
    return faults.answers(200, json.dumps(value).encode())


def test_a_posting_is_normalised(server: BoardServer) -> None:
    fetched = fetch("otterline")
    posting = next(posting for posting in fetched.postings if posting.title.startswith("Engineering Manager"))
    assert fetched.complete
    assert len(fetched.postings) == 14
    assert (posting.source, posting.board, posting.external_id) == ("greenhouse", "otterline", "520377")
    assert posting.url == "https://jobs.otterline.example/openings?gh_jid=520377"
    assert posting.company == "Otterline"
    assert posting.departments == ("Engineering",)
    assert posting.places == ("Chicago, IL", "Remote, United States")
    assert posting.remote is True
    assert posting.posted_at == datetime(2026, 8, 8, 18, 14, 14, tzinfo=UTC)
    assert posting.text.splitlines()[1:3] == [
        "The role",
        "Seven engineers build what forty others stand on. You will lead the seven.",
    ]


@pytest.mark.parametrize(
    ("place", "field", "remote"),
    [
        ("Remote in the US", None, True),
        ("Remote in the US", "Onsite", True),
        ("Austin, TX", "Remote", True),
        ("Austin, TX", "Hybrid", False),
        ("Austin, TX", " on-site ", False),
        ("Austin, TX", "Ask us", None),
        ("Austin, TX", None, None),
    ],
)
def test_remote_is_known_only_when_said(
    server: BoardServer, place: str, field: str | None, remote: bool | None
) -> None:
    metadata = [{"name": "Pay band", "value": ["7"]}, {"name": "Workplace Type", "value": field}]
    job = ONE | {"location": {"name": place}, "metadata": metadata}
    server.boards["otterline"] = {"jobs": [job], "meta": {"total": 1}}
    assert fetch("otterline").postings[0].remote is remote


def test_what_a_board_leaves_out_is_unknown(server: BoardServer) -> None:
    job = {"id": 1, "title": "Baker", "absolute_url": "https://example.com/1", "location": None, "metadata": None}
    server.boards["otterline"] = {"jobs": [job], "meta": {"total": 1}}
    posting = fetch("otterline").postings[0]
    assert (posting.company, posting.text, posting.places, posting.posted_at) == ("otterline", "", (), None)


def test_an_empty_list_that_says_so_is_complete(server: BoardServer) -> None:
    server.boards["otterline"] = {"jobs": [], "meta": {"total": 0}}
    assert fetch("otterline") == Fetched((), complete=True)


@pytest.mark.parametrize("meta", [{"total": 2}, {}, None, "two"])
def test_without_the_right_total_nothing_is_complete(server: BoardServer, meta: object) -> None:
    server.boards["otterline"] = {"jobs": [ONE], "meta": meta}
    fetched = fetch("otterline")
    assert [posting.external_id for posting in fetched.postings] == ["1"]
    assert not fetched.complete


@pytest.mark.parametrize(
    "broken",
    [
        "not even an object",
        {"id": 2},
        ONE | {"id": 2, "absolute_url": "javascript:alert(1)"},
        ONE | {"id": 2, "title": None},
        ONE | {"id": 2, "location": "Oslo"},
    ],
)
def test_one_job_that_cannot_be_read_does_not_take_the_others_with_it(server: BoardServer, broken: object) -> None:
    server.faults["otterline"] = answer_json({"jobs": [ONE, broken], "meta": {"total": 2}})
    fetched = fetch("otterline")
    assert [posting.external_id for posting in fetched.postings] == ["1"]
    assert not fetched.complete


def test_an_id_listed_twice_is_one_posting_of_a_complete_answer(server: BoardServer) -> None:
    server.boards["otterline"] = {"jobs": [ONE, ONE | {"title": "Miller"}], "meta": {"total": 2}}
    fetched = fetch("otterline")
    assert [posting.title for posting in fetched.postings] == ["Miller"]
    assert fetched.complete


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (faults.answers(403), RefusedError, "refuses to answer"),
        (faults.answers(500), UnavailableError, "out of order"),
        (faults.answers(503), UnavailableError, "out of order"),
        (faults.answers(410), UnknownBoardError, "does not exist"),
        (faults.answers(204, b""), UnusableAnswerError, "unexpected HTTP 204"),
        (faults.answers(304, b""), UnusableAnswerError, "unexpected HTTP 304"),
        (faults.web_page(), UnusableAnswerError, "web page"),
        (faults.answers(200, b"sorry"), UnusableAnswerError, "not JSON"),
        (faults.answers(200, b""), UnusableAnswerError, "not JSON"),
        (faults.cut_short(), UnavailableError, "broke off"),
        (faults.half_json(), UnavailableError, "broke off"),
        (faults.answers(200, b"[" * 200_000), UnavailableError, "broke off"),
        (faults.answers(200, b"{}", headers={"Content-Encoding": "gzip"}), UnavailableError, "broke off"),
        (faults.endless(50), UnusableAnswerError, "more than 20 MB"),
        (faults.redirected("http://127.0.0.2/v1/boards/otterline/jobs"), UnusableAnswerError, "another host"),
        (faults.redirected("https://127.0.0.1/v1/boards/otterline/jobs"), UnusableAnswerError, "another host"),
        (faults.redirected("/v1/boards/otterline/jobs"), UnusableAnswerError, "in circles"),
        (answer_json([ONE]), UnusableAnswerError, "no list of jobs"),
        (answer_json({"jobs": {"1": ONE}}), UnusableAnswerError, "no list of jobs"),
        (answer_json({"jobs": [{"offer": "Baker"}]}), UnusableAnswerError, "in a form that is not known"),
    ],
)
def test_bad_answers_are_told_apart(server: BoardServer, fault: Fault, error: type[SourceError], words: str) -> None:
    server.faults["otterline"] = fault
    with pytest.raises(error, match=rf"^Greenhouse board 'otterline' .*{words}"):
        fetch("otterline")


def test_a_bomb_is_refused_by_its_size_once_unpacked(server: BoardServer) -> None:
    bomb = gzip.compress(b" " * (50 * 2**20))
    server.faults["otterline"] = faults.answers(200, bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(UnusableAnswerError, match="more than 20 MB"):
        fetch("otterline")


def test_a_board_nobody_has_does_not_exist_and_asking_again_is_no_use(server: BoardServer) -> None:
    with pytest.raises(UnknownBoardError, match="board 'nowhere' does not exist") as caught:
        fetch("nowhere")
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "999999999"}, 86_400),
        ({"Retry-After": "Wed, 21 Oct 2015 07:30:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 120),
        ({"Retry-After": "soon"}, 60),
        ({}, 60),
    ],
)
def test_a_throttled_board_says_when_it_may_be_asked_again(
    server: BoardServer, headers: dict[str, str], seconds: float
) -> None:
    server.faults["otterline"] = faults.answers(429, headers=headers)
    with pytest.raises(ThrottledError) as caught:
        fetch("otterline")
    assert caught.value.retry
    assert caught.value.retry_after == seconds


def test_a_slow_board_is_left_in_time(server: BoardServer) -> None:
    server.faults["otterline"] = faults.delayed(server.stopping)
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.2 s"):
        fetch("otterline", JobSearchSettings(job_fetch_seconds=0.2))


def test_a_board_that_drips_is_left_in_time_too(server: BoardServer) -> None:
    def drip(request: Any, body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        for byte in body:
            request.wfile.write(bytes([byte]))
            server.stopping.wait(0.01)

    server.faults["otterline"] = drip
    with pytest.raises(UnavailableError, match="did not answer within"):
        fetch("otterline", JobSearchSettings(job_fetch_seconds=0.3))


def test_a_closed_port_cannot_be_reached(server: BoardServer) -> None:
    server.stop()
    with pytest.raises(UnavailableError, match="can't be reached"):
        fetch("otterline")


def test_a_redirect_on_the_same_host_is_followed(server: BoardServer) -> None:
    server.boards["renamed"] = server.boards["otterline"]
    server.faults["otterline"] = faults.redirected("/v1/boards/renamed/jobs?content=true")
    assert len(fetch("otterline").postings) == 14


def test_the_request_says_who_asks_and_asks_for_descriptions(server: BoardServer) -> None:
    asked: list[tuple[str, str]] = []
    arrived = threading.Event()

    def note(request: Any, body: bytes) -> None:
        asked.append((request.path, request.headers["User-Agent"]))
        arrived.set()
        faults.send(request, body)

    server.faults["otterline"] = note
    fetch("otterline")
    assert arrived.is_set()
    assert asked == [("/v1/boards/otterline/jobs?content=true", "foxtrot (job search)")]


def test_a_base_address_may_have_a_path(server: BoardServer) -> None:
    with pytest.raises(UnknownBoardError):
        fetch("otterline", JobSearchSettings(job_sources_url=HttpUrl(f"{server.url}/mirror/")))
    assert server.requests[""] == 1
