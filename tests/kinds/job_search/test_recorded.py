"""The board server, the adapter and the store over what is recorded in FOXTROT_DATA, against the raw JSON."""

import asyncio
import json
import tarfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from kinds.job_search.board_contents import RECORDED
from kinds.job_search.board_server import BoardServer, recorded_boards, sample_boards
from kinds.job_search.fetching import freshen
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.greenhouse import read_answer
from kinds.job_search.units import Unit
from tests.kinds.job_search.support import Ports, make_handle
from tests.support import connect

BOARDS = ("airbnb", "elastic", "gitlab", "reddit", "riotgames", "stripe")
EVERY = 8
WITH_CONTENT = Path("jobs", "recorded", "aws-job-streamer", "greenhouse_jobs.json")
# What has no history: how it is asked for, and the files that its rows are in.
ONCE = {
    "lever:spotify": ("/v0/postings/spotify?mode=json", ["aws-job-streamer/lever_postings.json"]),
    "ashby:ramp": ("/posting-api/job-board/ramp?includeCompensation=true", ["aws-job-streamer/ashby_jobs.json"]),
    "ashby:truelogic": ("/posting-api/job-board/truelogic?includeCompensation=true", ["lcarlini/raw_ashby.json"]),
    "remotive": ("/api/remote-jobs", ["aws-job-streamer/remotive_jobs.json", "lcarlini/raw_remotive.json"]),
    "arbeitnow": ("/api/job-board-api", ["lcarlini/raw_arbeitnow.json"]),
    "remoteok": ("/api", ["lcarlini/raw_remoteok.json"]),
}
# What an answer has beside its rows, whether it was kept or not.
AROUND: dict[str, dict[str, Any]] = {
    "ashby": {"apiVersion": "1"},
    "remotive": {"0-legal-notice": "Remotive API attribution notice", "job-count": 9},
    "arbeitnow": {},
}
# What Lever answers only where it applies, and was not recorded (github.com/lever/postings-api has it).
UNRECORDED = {
    "salaryRange",
    "salaryDescription",
    "salaryDescriptionPlain",
    *(f"salaryRange.{name}" for name in ("currency", "interval", "min", "max")),
}


def snapshots(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every eighth recorded answer with its board, oldest first within a board."""
    with tarfile.open(data / RECORDED) as archive:
        for number, member in enumerate(archive):
            content = archive.extractfile(member)
            if number % EVERY == 0 and content is not None:
                yield member.name.partition("/")[0], json.load(content)


def test_every_recorded_answer_is_complete_and_normalised(data: Path) -> None:
    boards = set()
    for board, answer in snapshots(data):
        fetched = read_answer(board, answer)
        boards.add(board)
        assert fetched.complete
        for raw, posting in zip(answer["jobs"], fetched.postings, strict=True):
            assert posting.external_id == str(raw["id"])
            assert posting.url == raw["absolute_url"]
            assert posting.title == " ".join(raw["title"].split())
            assert posting.company == raw["company_name"].strip()
            assert posting.posted_at is not None
            assert posting.posted_at.isoformat() == raw["first_published"]
            assert all(place in " ".join(raw["location"]["name"].split()) for place in posting.places)
            assert "remote" not in raw["location"]["name"].lower() or posting.remote
    assert boards == set(BOARDS)


def test_the_hash_changes_exactly_when_something_read_does(data: Path) -> None:
    known: dict[tuple[str, str], tuple[str, Any]] = {}
    touched = changed = 0
    for board, answer in snapshots(data):
        for raw, posting in zip(answer["jobs"], read_answer(board, answer).postings, strict=True):
            key = board, posting.external_id
            read = [raw[name] for name in ("absolute_url", "title", "company_name", "location", "first_published")]
            read += [raw.get("language"), posting.remote]
            before = known.get(key)
            known[key] = posting.content_hash(), [*read, raw["updated_at"]]
            if before is None:
                continue
            touched += raw["updated_at"] != before[1][-1]
            changed += posting.content_hash() != before[0]
            if read == before[1][:-1]:
                assert posting.content_hash() == before[0]
    assert touched > 5 * changed > 0


def test_descriptions_become_plain_text(data: Path) -> None:
    answer = json.loads((data / WITH_CONTENT).read_text())
    for posting in read_answer("recorded", answer).postings:
        assert len(posting.text) > 2000
        assert not any(mark in posting.text for mark in ("<p>", "</", "&lt;", "&amp;", "&nbsp;", "\N{NO-BREAK SPACE}"))
        assert posting.departments
    remotes = [posting.remote for posting in read_answer("recorded", answer).postings]
    assert remotes == [True, False, True, None]


def raw_rows(content: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = content if isinstance(content, list) else content.get("jobs", content.get("data"))
    return rows


@pytest.fixture
def recorded(data: Path) -> Iterator[BoardServer]:
    with BoardServer(data=data, day=date(2026, 7, 21)) as server:
        yield server


@pytest.mark.parametrize("reference", ONCE)
def test_recorded_rows_are_served_as_they_are(data: Path, recorded: BoardServer, reference: str) -> None:
    path, names = ONCE[reference]
    raw = [json.loads((data / "jobs" / "recorded" / name).read_text()) for name in names]
    answer = httpx.get(recorded.url + path).json()
    assert raw_rows(answer) == [row for content in raw for row in raw_rows(content)]
    if isinstance(answer, dict):
        assert answer.items() >= AROUND[reference.partition(":")[0]].items()
    assert recorded.boards.keys() == {*BOARDS, *ONCE}


def test_a_day_moves_only_what_has_a_history(data: Path) -> None:
    early, late = (recorded_boards(data, day) for day in (date(2026, 7, 21), date(2026, 8, 22)))
    assert early.keys() == late.keys()
    assert {reference for reference, content in early.items() if content != late[reference]} == set(BOARDS)


@pytest.mark.parametrize(
    ("sample", "reference"),
    [
        ("lever:fernhollow", "lever:spotify"),
        ("ashby:quillstone", "ashby:ramp"),
        *((feed, feed) for feed in ("remotive", "arbeitnow", "remoteok")),
    ],
)
def test_the_samples_have_exactly_the_fields_of_real_answers(
    recorded: BoardServer, sample: str, reference: str
) -> None:
    assert set(fields(sample_boards()[sample])) - UNRECORDED == set(fields(recorded.boards[reference]))


def fields(content: Any, at: str = "") -> Iterator[str]:
    """The name of every field, with those of the objects that it is in."""
    if isinstance(content, list):
        for item in content:
            yield from fields(item, at)
    elif isinstance(content, dict):
        for name, value in content.items():
            yield at + name
            yield from fields(value, f"{at}{name}.")


@pytest.mark.parametrize("days", [(date(2026, 7, 21), date(2026, 8, 22))])
def test_what_opens_and_closes_is_the_difference_of_the_raw_answers(
    database_url: str, data: Path, monkeypatch: pytest.MonkeyPatch, days: tuple[date, date]
) -> None:
    monkeypatch.setenv("JOB_FRESHNESS_SECONDS", "0")
    with BoardServer(data=data, day=days[0]) as server:
        monkeypatch.setenv("JOB_SOURCES_URL", server.url)
        before = raw_ids(server)
        asyncio.run(fetch_all_boards(database_url))
        server.day = days[1]
        after = raw_ids(server)
        asyncio.run(fetch_all_boards(database_url))
        assert server.requests == dict.fromkeys(BOARDS, 2)
    opened = asyncio.run(stored_ids(database_url, "opened_generation = 2"))
    closed = asyncio.run(stored_ids(database_url, "closed_at is not null"))
    still_open = asyncio.run(stored_ids(database_url, "closed_at is null"))
    assert opened == after - before
    assert closed == before - after
    assert still_open == after
    assert min(len(opened), len(closed)) > 100


def raw_ids(server: BoardServer) -> set[tuple[str, str]]:
    return {(board, str(job["id"])) for board in BOARDS for job in server.boards[board]["jobs"]}


async def fetch_all_boards(url: str) -> None:
    settings = JobSearchSettings()
    async with httpx.AsyncClient() as http:
        run = make_handle(Ports(url, http))
        standings = await asyncio.gather(*(freshen(run, Unit("greenhouse", board), settings) for board in BOARDS))
    assert all(standing.asked for standing in standings)


async def stored_ids(url: str, condition: str) -> set[tuple[str, str]]:
    async with connect(url) as conn:
        cursor = await conn.execute(f"select board, external_id from foxtrot.postings where {condition}")
        return {(board, external_id) for board, external_id in await cursor.fetchall()}
