"""The handler over a real board server and a real database."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg import AsyncConnection

from kinds.job_search import board_faults as faults
from kinds.job_search.board_faults import Fault
from kinds.job_search.board_server import BoardServer
from kinds.job_search.handler import search
from kinds.job_search.kind import BoardOutcome, JobSearch, JobSearchResult
from kinds.job_search.postings import credits_of
from kinds.job_search.sources import SOURCES
from shared.errors import HandlerError, InvalidInputError
from shared.kinds import Progress
from shared.models import User
from tests.clock import Clock
from tests.kinds.job_search.support import Ports, make_handle, with_connection
from tests.support import make_run, make_user

MORNING = datetime(2026, 8, 24, 8, 0, tzinfo=UTC)
ALL = ["bramblewick", "kestrelmoor", "otterline"]
FINGERPRINT = b"f" * 16


def run_search(url: str, parameters: JobSearch, *, user: User | None = None) -> JobSearchResult:
    result, _ = run_and_listen(url, parameters, user=user)
    return result


def run_and_listen(
    url: str, parameters: JobSearch, *, user: User | None = None
) -> tuple[JobSearchResult, list[Progress]]:
    async def attempt() -> tuple[JobSearchResult, list[Progress]]:
        async with httpx.AsyncClient() as http:
            ports = Ports(url, http)
            run = make_handle(ports, user_id=user.id if user else None, fingerprint=FINGERPRINT)
            return await search(run, parameters), ports.said

    return asyncio.run(attempt())


def record_success(url: str, user: User, searched: JobSearchResult, **values: Any) -> None:
    recorded = {"status": "success", "result": searched.model_dump(mode="json"), "fingerprint": FINGERPRINT} | values
    with_connection(url, lambda conn: make_run(conn, user, **recorded))


def jobs(server: BoardServer, board: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = server.boards[board]["jobs"]
    return listed


def relist(server: BoardServer, board: str, listed: list[dict[str, Any]]) -> None:
    server.boards[board] = {"jobs": listed, "meta": {"total": len(listed)}}


def test_boards_are_asked_and_matched(database_url: str, server: BoardServer) -> None:
    result = run_search(database_url, JobSearch(query="python", companies=ALL))
    expected = sum("python" in json.dumps(job).lower() for board in ALL for job in jobs(server, board))
    assert result.found == result.new == len(result.posting_ids) == expected > 5
    assert [(outcome.board, outcome.outcome, outcome.why) for outcome in result.boards] == [
        (board, "fetched", None) for board in ALL
    ]
    assert all(outcome.generation == 1 for outcome in result.boards)
    assert server.requests == dict.fromkeys(ALL, 1)


def test_the_limit_cuts_the_list_and_not_the_count(database_url: str, server: BoardServer) -> None:
    result = run_search(database_url, JobSearch(query="engineer", companies=ALL, limit=3))
    assert len(result.posting_ids) == 3
    assert result.found > 3


def test_progress_names_each_board(database_url: str, server: BoardServer) -> None:
    _, said = run_and_listen(database_url, JobSearch(query="python", companies=ALL))
    details = [word.detail for word in said if word.detail]
    assert details == [
        "Asking bramblewick, 1 of 3",
        "Asking kestrelmoor, 2 of 3",
        "Asking otterline, 3 of 3",
        "Matching postings",
    ]
    percents = [word.percent for word in said if word.percent is not None]
    assert percents == [30, 60, 90, 90]
    assert said[-2].done == said[-2].total == 3


def test_a_fresh_copy_is_used_without_asking(clock: Clock, server: BoardServer) -> None:
    clock.freeze(MORNING)
    search_ = JobSearch(query="python", companies=["otterline"])
    run_search(clock.url, search_)
    clock.advance(timedelta(minutes=9))
    again = run_search(clock.url, search_)
    assert server.requests == {"otterline": 1}
    assert (again.boards[0].outcome, again.boards[0].fetched_at, again.boards[0].why) == ("stored", MORNING, None)
    clock.advance(timedelta(minutes=1))
    assert run_search(clock.url, search_).boards[0].outcome == "fetched"
    assert server.requests == {"otterline": 2}


# What is new to this user --------------------------------------------------------------------------------------------


def test_new_is_what_opened_since_this_users_last_success(clock: Clock, server: BoardServer) -> None:
    clock.freeze(MORNING)
    user, other = with_connection(clock.url, make_user), with_connection(clock.url, make_user)
    parameters = JobSearch(query="engineer", companies=["otterline"])
    late = [job for job in jobs(server, "otterline") if "Engineer" in job["title"]][:2]
    relist(server, "otterline", [job for job in jobs(server, "otterline") if job not in late])

    first = run_search(clock.url, parameters, user=user)
    assert first.new == first.found
    record_success(clock.url, user, first)

    relist(server, "otterline", jobs(server, "otterline") + late)
    clock.advance(timedelta(minutes=10))
    second = run_search(clock.url, parameters, user=user)
    assert (second.found, second.new) == (first.found + 2, 2)
    assert run_search(clock.url, parameters, user=other).new == second.found
    record_success(clock.url, user, second)
    clock.advance(timedelta(minutes=10))
    assert run_search(clock.url, parameters, user=user).new == 0


def test_only_a_success_with_the_same_parameters_that_can_still_be_read_counts(
    clock: Clock, server: BoardServer
) -> None:
    clock.freeze(MORNING)
    parameters = JobSearch(query="engineer", companies=["otterline"])
    result = run_search(clock.url, parameters)
    ended: list[dict[str, Any]] = [
        {"fingerprint": b"g" * 16},
        {"expires_at": MORNING},
        {"result": None},
        {"status": "failed"},
    ]
    for values in ended:
        user = with_connection(clock.url, make_user)
        record_success(clock.url, user, result, **values)
        assert run_search(clock.url, parameters, user=user).new == result.found, values
    user = with_connection(clock.url, make_user)
    record_success(clock.url, user, result)
    assert run_search(clock.url, parameters, user=user).new == 0


# When boards fail ----------------------------------------------------------------------------------------------------


def test_one_board_that_fails_does_not_fail_the_others(database_url: str, server: BoardServer) -> None:
    server.faults["kestrelmoor"] = faults.answers(500)
    result = run_search(database_url, JobSearch(query="engineer", companies=[*ALL, "nowhere"]))
    told = {outcome.board: outcome for outcome in result.boards}
    assert {board: outcome.outcome for board, outcome in told.items()} == {
        "bramblewick": "fetched",
        "kestrelmoor": "failed",
        "nowhere": "failed",
        "otterline": "fetched",
    }
    assert told["kestrelmoor"].why == "Greenhouse board 'kestrelmoor' is out of order (HTTP 500)"
    assert told["nowhere"].why == "Greenhouse board 'nowhere' does not exist"
    assert (told["nowhere"].fetched_at, told["nowhere"].generation) == (None, 0)
    assert result.found > 5


def test_a_board_that_fails_is_searched_in_its_stored_copy(clock: Clock, server: BoardServer) -> None:
    clock.freeze(MORNING)
    parameters = JobSearch(query="engineer", companies=["otterline"])
    first = run_search(clock.url, parameters)
    server.faults["otterline"] = faults.web_page()
    clock.advance(timedelta(hours=2))
    second = run_search(clock.url, parameters)
    outcome = second.boards[0]
    assert second.found == first.found
    assert (outcome.outcome, outcome.fetched_at, outcome.generation) == ("stored", MORNING, 1)
    assert outcome.why == "Greenhouse board 'otterline' answered with a web page instead of postings"


@pytest.mark.parametrize(
    ("fault", "words", "wait"),
    [
        (faults.throttled("7"), "asked too often", 7),
        (faults.answers(500), "out of order", 10),
        (faults.cut_short(), "broke off", 10),
        (faults.web_page(), "web page", None),
        (faults.endless(50), "more than 20 MB", None),
        (faults.redirected("http://127.0.0.2/"), "another host", None),
    ],
)
def test_a_run_fails_when_no_board_can_be_read(
    clock: Clock, server: BoardServer, fault: Fault, words: str, wait: float | None
) -> None:
    clock.freeze(MORNING)
    server.faults["otterline"] = fault
    parameters = JobSearch(query="engineer", companies=["otterline"])
    for _ in range(2):
        with pytest.raises(HandlerError, match=words) as caught:
            run_search(clock.url, parameters)
        assert (caught.value.retry, caught.value.retry_after) == (wait is not None, wait)
    assert server.requests == {"otterline": 1}
    assert with_connection(clock.url, count_postings) == 0


async def count_postings(conn: AsyncConnection) -> int:
    row = await (await conn.execute("select count(*) from foxtrot.postings")).fetchone()
    return int(row[0])  # type: ignore[index]


def test_many_failures_are_told_in_one_sentence(database_url: str, server: BoardServer) -> None:
    server.faults["otterline"] = faults.answers(503, headers={"Retry-After": "7"})
    parameters = JobSearch(query="engineer", companies=["otterline", "a", "b", "c"])
    with pytest.raises(HandlerError) as caught:
        run_search(database_url, parameters)
    assert caught.value.message == (
        "none of the 4 job boards could be read: Greenhouse board 'a' does not exist; "
        "Greenhouse board 'b' does not exist; Greenhouse board 'c' does not exist; and 1 more"
    )
    assert caught.value.retry
    assert 5 < (caught.value.retry_after or 0) <= 7


def test_boards_that_do_not_exist_are_not_asked_for_again(database_url: str, server: BoardServer) -> None:
    with pytest.raises(HandlerError, match="does not exist") as caught:
        run_search(database_url, JobSearch(query="engineer", companies=["nowhere"]))
    assert not caught.value.retry
    assert caught.value.hint == "Check the names of the companies."


def test_an_empty_board_closes_everything_and_is_a_success(clock: Clock, server: BoardServer) -> None:
    clock.freeze(MORNING)
    parameters = JobSearch(query="engineer", companies=["otterline"])
    run_search(clock.url, parameters)
    relist(server, "otterline", [])
    clock.advance(timedelta(minutes=10))
    result = run_search(clock.url, parameters)
    assert (result.found, result.boards[0].outcome, result.boards[0].why) == (0, "fetched", None)


def test_a_query_without_a_word_asks_no_board(database_url: str, server: BoardServer) -> None:
    with pytest.raises(InvalidInputError, match="no word to search for"):
        run_search(database_url, JobSearch(query="the", companies=["otterline"]))
    assert server.requests == {}


def test_a_search_without_any_board_says_what_to_do(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOB_BOARDS", raising=False)
    with pytest.raises(HandlerError, match="no companies were named") as caught:
        run_search(database_url, JobSearch(query="engineer"))
    assert not caught.value.retry
    assert "JOB_BOARDS" in (caught.value.hint or "")


def test_the_largest_result_is_far_below_the_limit() -> None:
    """A hundred boards that fail, in the longest words there are: a setting allows no more, a search names 20."""
    words = f"{max(source.title for source in SOURCES.values())} board '{'b' * 80}' points to another host, {'h' * 253}"
    outcome = BoardOutcome(
        source="greenhouse", board="b" * 80, outcome="stored", fetched_at=MORNING, why=words, resting_seconds=86_400
    )
    searched = JobSearchResult(
        found=10**6,
        new=10**6,
        posting_ids=[uuid4()] * 200,
        boards=[outcome] * 120,
        credits=credits_of(SOURCES),
    )
    assert len(searched.model_dump_json()) < 128 * 1024
