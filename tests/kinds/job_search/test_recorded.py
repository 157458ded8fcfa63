"""The adapter and the store over the boards recorded in FOXTROT_DATA, against the raw JSON."""

import asyncio
import json
import tarfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from kinds.job_search.board_server import RECORDED, BoardServer
from kinds.job_search.fetching import freshen
from kinds.job_search.postings import Unit
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources.greenhouse import read_answer
from tests.kinds.job_search.support import Ports, make_handle
from tests.support import connect

BOARDS = ("airbnb", "elastic", "gitlab", "reddit", "riotgames", "stripe")
EVERY = 8
WITH_CONTENT = Path("jobs", "recorded", "aws-job-streamer", "greenhouse_jobs.json")


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
            read.append(posting.remote)
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


@pytest.mark.parametrize("days", [(date(2026, 7, 21), date(2026, 8, 22))])
def test_what_opens_and_closes_is_the_difference_of_the_raw_answers(
    database_url: str, data: Path, monkeypatch: pytest.MonkeyPatch, days: tuple[date, date]
) -> None:
    monkeypatch.setenv("JOB_FRESHNESS_SECONDS", "0")
    with BoardServer(data=data, day=days[0]) as server:
        monkeypatch.setenv("GREENHOUSE_URL", server.url)
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
    return {(board, str(job["id"])) for board, answer in server.boards.items() for job in answer["jobs"]}


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
