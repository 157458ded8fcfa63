import json
import signal
import subprocess
import sys
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from kinds.job_search import board_faults as faults
from kinds.job_search.board_server import BoardServer
from kinds.job_search.posting import Posting, split_places
from kinds.job_search.settings import JobSearchSettings
from shared.errors import SettingsError

GREENHOUSE = ["bramblewick", "kestrelmoor", "otterline"]
FEEDS = ["remotive", "arbeitnow", "remoteok"]
ALL = [*GREENHOUSE, "lever:fernhollow", "ashby:quillstone", *FEEDS]
# How each format is asked for everything that a board has.
WHOLE = {
    "otterline": "/v1/boards/otterline/jobs?content=true",
    "lever:fernhollow": "/v0/postings/fernhollow?mode=json",
    "ashby:quillstone": "/posting-api/job-board/quillstone?includeCompensation=true",
    "remotive": "/api/remote-jobs",
    "arbeitnow": "/api/job-board-api",
    "remoteok": "/api",
}
# What a format calls a row's fields where that isn't what Greenhouse calls them.
FIELDS = {
    "lever": {"title": "text"},
    "remotive": {"location": "candidate_required_location"},
    "arbeitnow": {"id": "slug"},
    "remoteok": {"title": "position", "company_name": "company"},
}


def get(server: BoardServer, path: str, **headers: str) -> httpx.Response:
    return httpx.get(server.url + path, headers=headers)


def rows(content: Any) -> list[dict[str, Any]]:
    listed = content if isinstance(content, list) else content.get("jobs", content.get("data"))
    return [row for row in listed if "legal" not in row]


def field(row: dict[str, Any], reference: str, name: str) -> Any:
    return row[FIELDS.get(reference.partition(":")[0], {}).get(name, name)]


# What is asked and answered -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [reference for reference in WHOLE if reference != "arbeitnow"])
def test_a_board_answers_with_all_it_has(server: BoardServer, reference: str) -> None:
    answer = get(server, WHOLE[reference])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == server.boards[reference]
    assert server.requests == {reference: 1}


def test_greenhouse_is_short_unless_it_is_asked_for_content(server: BoardServer) -> None:
    whole = server.boards["otterline"]
    short = get(server, "/v1/boards/otterline/jobs").json()
    left_out = {"content", "departments", "offices"}
    assert [whole["jobs"][0].keys() - job.keys() for job in short["jobs"][:1]] == [left_out]
    assert all(not left_out & job.keys() for job in short["jobs"])
    assert short["meta"] == whole["meta"]


def test_lever_answers_the_part_that_is_asked_for(server: BoardServer) -> None:
    postings = server.boards["lever:fernhollow"]
    path = WHOLE["lever:fernhollow"]
    parts = [get(server, f"{path}&skip={skip}&limit=3").json() for skip in (0, 3, 6, 9)]
    assert parts == [postings[:3], postings[3:6], postings[6:8], []]
    assert get(server, f"{path}&skip=5").json() == postings[5:]
    assert get(server, f"{path}&skip=-1&limit=some").json() == postings
    assert server.requests == {"lever:fernhollow": 6}


@pytest.mark.parametrize(
    ("query", "accept", "is_json"),
    [
        ("?mode=json", "text/html", True),
        ("", "application/json", True),
        ("?mode=html", "application/json", False),
        ("", "*/*", False),
    ],
)
def test_lever_is_a_web_page_unless_json_is_asked_for(
    server: BoardServer, query: str, accept: str, is_json: bool
) -> None:
    answer = get(server, f"/v0/postings/fernhollow{query}", Accept=accept)
    assert (answer.headers["Content-Type"] == "application/json") is is_json
    if not is_json:
        assert answer.text.startswith('<div class="lever">')
        assert all(row["hostedUrl"] in answer.text for row in server.boards["lever:fernhollow"])


def test_ashby_says_what_it_pays_only_when_asked(server: BoardServer) -> None:
    without = get(server, "/posting-api/job-board/quillstone?includeCompensation=false").json()
    assert without["apiVersion"] == "1"
    assert without["jobs"] != server.boards["ashby:quillstone"]["jobs"]
    pay = {"compensation", "shouldDisplayCompensationOnJobPostings"}
    for job, whole in zip(without["jobs"], server.boards["ashby:quillstone"]["jobs"], strict=True):
        assert job == {key: value for key, value in whole.items() if key not in pay}


def test_arbeitnow_answers_the_samples_in_one_page(server: BoardServer) -> None:
    answer, url = get(server, "/api/job-board-api").json(), f"{server.url}/api/job-board-api"
    assert answer["data"] == server.boards["arbeitnow"]["data"]
    assert answer["links"] == {"first": f"{url}?page=1", "last": None, "prev": None, "next": None}
    numbers = {"current_page": 1, "from": 1, "to": 7, "per_page": 100, "path": url}
    assert answer["meta"].items() >= numbers.items()
    assert answer["meta"].keys() - numbers.keys() == {"terms", "info"}


def test_arbeitnow_is_walked_by_its_links(server: BoardServer) -> None:
    listed = [{"slug": str(number)} for number in range(200)]
    server.boards["arbeitnow"] = {"data": listed}
    first = get(server, "/api/job-board-api").json()
    second = httpx.get(first["links"]["next"]).json()
    assert first["data"] + second["data"] == listed
    assert (second["meta"]["from"], second["meta"]["to"]) == (101, 200)
    assert (second["links"]["prev"], second["links"]["next"]) == (first["links"]["first"], None)
    past = get(server, "/api/job-board-api?page=3").json()
    assert (past["data"], past["meta"]["from"], past["links"]["next"]) == ([], None, None)
    assert get(server, "/api/job-board-api?page=0").json() == first
    assert server.requests == {"arbeitnow": 4}


@pytest.mark.parametrize(
    ("path", "reference", "body"),
    [
        ("/v1/boards/nowhere/jobs", "nowhere", '{"status":404,"error":"Board not found"}'),
        ("/v0/postings/nowhere?mode=json", "lever:nowhere", '{"ok":false,"error":"Document not found"}'),
        ("/posting-api/job-board/nowhere", "ashby:nowhere", "Not Found"),
        ("/v1/boards/remotive/jobs", "greenhouse:remotive", '{"status":404,"error":"Board not found"}'),
        ("/v1/boards/lever:fernhollow/jobs", "", '{"status":404,"error":"Board not found"}'),
        *((path, "", '{"status":404,"error":"Board not found"}') for path in ("/v1/boards/otterline", "/", "/api/")),
        ("/v1/boards/a/b/jobs", "", '{"status":404,"error":"Board not found"}'),
    ],
)
def test_everything_else_is_404(server: BoardServer, path: str, reference: str, body: str) -> None:
    answer = get(server, path)
    assert (answer.status_code, answer.text) == (404, body)
    assert server.requests == {reference: 1}


def test_a_fault_is_one_boards_and_its_requests_count(server: BoardServer) -> None:
    with httpx.Client(base_url=server.url) as http:
        for broken in WHOLE:
            server.faults = {broken: faults.throttled("7")}
            assert {name for name, path in WHOLE.items() if http.get(path).status_code == 429} == {broken}
    assert server.requests == dict.fromkeys(WHOLE, len(WHOLE))


def test_a_fault_is_given_the_answer_that_was_due(server: BoardServer) -> None:
    due: list[bytes] = []

    def note(request: BaseHTTPRequestHandler, body: bytes) -> None:
        due.append(body)
        faults.send(request, b"[]")

    server.faults["lever:fernhollow"] = note
    assert get(server, "/v0/postings/fernhollow?mode=json&skip=1&limit=1").json() == []
    assert [json.loads(body) for body in due] == [server.boards["lever:fernhollow"][1:2]]


def test_boards_answer_side_by_side(server: BoardServer) -> None:
    release = threading.Event()
    server.faults["otterline"] = faults.delayed(release)
    slow = threading.Thread(target=get, args=(server, WHOLE["otterline"]))
    slow.start()
    assert get(server, "/v1/boards/bramblewick/jobs").json()["meta"]["total"] == 13
    release.set()
    slow.join(10)
    assert not slow.is_alive()


# The samples ----------------------------------------------------------------------------------------------------------


def test_there_are_samples_of_every_format(server: BoardServer) -> None:
    assert list(server.boards) == ALL
    for reference in GREENHOUSE:
        board = server.boards[reference]
        assert board["meta"]["total"] == len(board["jobs"]) >= 12
    assert server.boards["remotive"]["job-count"] == len(server.boards["remotive"]["jobs"])
    assert all(6 <= len(rows(server.boards[reference])) <= 10 for reference in ALL if reference not in GREENHOUSE)


@pytest.mark.parametrize("reference", ALL)
def test_samples_are_told_apart_by_their_ids(server: BoardServer, reference: str) -> None:
    listed = rows(server.boards[reference])
    assert len({field(row, reference, "id") for row in listed}) == len(listed)


@pytest.mark.parametrize("reference", [reference for reference in ALL if reference not in GREENHOUSE])
@pytest.mark.parametrize("words", [("engineer",), ("data",), ("designer", "product")])
def test_every_source_has_something_for_the_demo(server: BoardServer, reference: str, words: tuple[str, ...]) -> None:
    titles = [field(row, reference, "title").lower().split() for row in rows(server.boards[reference])]
    assert any(word in title for title in titles for word in words)


def test_two_positions_are_on_a_board_and_on_a_feed(server: BoardServer) -> None:
    boards = {position(row, name): row["absolute_url"] for name in GREENHOUSE for row in rows(server.boards[name])}
    feeds = {position(row, name): row["url"] for name in FEEDS for row in rows(server.boards[name])}
    twins = boards.keys() & feeds.keys()
    assert len(twins) == 2
    assert all(boards[twin] != feeds[twin] for twin in twins)


def position(row: dict[str, Any], reference: str) -> int:
    title, company, place = (field(row, reference, name) for name in ("title", "company_name", "location"))
    places = split_places(place["name"] if isinstance(place, dict) else place)
    return Posting("any", "any", "1", "https://example.com", title, company, places=places).twin_key()


def test_the_samples_have_no_history(server: BoardServer) -> None:
    with pytest.raises(SettingsError, match="no history"):
        server.day = date(2026, 8, 1)


# As a process, and for one --------------------------------------------------------------------------------------------


def test_the_environment_asks_for_everything(server: BoardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.environment == {
        "JOB_SOURCES_URL": server.url,
        "JOB_SOURCES": "greenhouse,lever,ashby,remotive,arbeitnow,remoteok",
        "JOB_BOARDS": "bramblewick,kestrelmoor,otterline,lever:fernhollow,ashby:quillstone",
    }
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    settings = JobSearchSettings.load()
    assert settings.job_boards + settings.job_sources[3:] == ALL
    assert settings.url("https://remoteok.com", "/api") == f"{server.url}/api"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_on_its_own_until_it_is_told_to_stop(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "kinds.job_search.board_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, _, boards = process.stdout.readline().partition(" has ")
        answer = httpx.get(f"{url}/v1/boards/kestrelmoor/jobs").json()
        process.send_signal(number)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert boards == f"{', '.join(ALL)}\n"
    assert answer["meta"]["total"] == 13
