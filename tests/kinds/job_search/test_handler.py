"""The handler over a real board server and a real database."""

import asyncio
import html
import json
import re
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
from kinds.job_search.postings import credits_of, read_postings
from kinds.job_search.sources import SOURCES
from kinds.job_search.sources.base import NEWEST
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


# Several sources ------------------------------------------------------------------------------------------------------

COMPANIES = [*ALL, "lever:fernhollow", "ashby:quillstone"]
FEEDS = ["remotive", "arbeitnow", "remoteok"]
ANYTHING = "engineer or designer or manager or data or support"


@pytest.fixture
def six(server: BoardServer, monkeypatch: pytest.MonkeyPatch) -> BoardServer:
    """The server, in an installation that searches everything it has."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def named(outcome: BoardOutcome) -> str:
    """As the board server has it."""
    if outcome.board == NEWEST:
        return outcome.source
    return outcome.board if outcome.source == "greenhouse" else f"{outcome.source}:{outcome.board}"


def sources_of(url: str, result: JobSearchResult) -> set[str]:
    page = with_connection(url, lambda conn: read_postings(conn, result.posting_ids, limit=200))
    return {posting.source for posting in page.postings}


def test_all_sources_are_searched_together(database_url: str, six: BoardServer) -> None:
    result = run_search(database_url, JobSearch(query=ANYTHING, limit=200))
    assert [(named(outcome), outcome.outcome) for outcome in result.boards] == [
        (name, "fetched") for name in [*COMPANIES, *FEEDS]
    ]
    assert six.requests == dict.fromkeys([*COMPANIES, *FEEDS], 1)
    assert sources_of(database_url, result) == {"greenhouse", "lever", "ashby", *FEEDS}
    assert [credit.source for credit in result.credits] == ["greenhouse", "lever", "ashby", *FEEDS]
    assert all(credit.title and credit.attribution and credit.terms for credit in result.credits)
    # Two postings of the feeds are on their companies' own boards as well.
    count = "select count(*), count(distinct twin_key) from foxtrot.postings where search @@ foxtrot.search_query(%s)"
    everything, different = with_connection(database_url, lambda conn: read_counts(conn, count, ANYTHING))
    assert (result.found, len(result.posting_ids)) == (different, different)
    assert everything == different + 2


async def read_counts(conn: AsyncConnection, query: str, *values: Any) -> Any:
    return await (await conn.execute(query.encode(), values)).fetchone()


def test_a_search_is_narrowed_to_the_sources_that_it_names(database_url: str, six: BoardServer) -> None:
    result = run_search(database_url, JobSearch(query=ANYTHING, sources=["remotive", "lever"]))
    assert [named(outcome) for outcome in result.boards] == ["lever:fernhollow", "remotive"]
    assert six.requests == {"lever:fernhollow": 1, "remotive": 1}
    assert sources_of(database_url, result) == {"lever", "remotive"}
    assert [credit.source for credit in result.credits] == ["lever", "remotive"]


def test_companies_and_sources_together_are_both_kept_to(database_url: str, six: BoardServer) -> None:
    companies = ["otterline", "lever:fernhollow", "ashby:quillstone"]
    result = run_search(database_url, JobSearch(query=ANYTHING, companies=companies, sources=["ashby", "greenhouse"]))
    assert [named(outcome) for outcome in result.boards] == ["ashby:quillstone", "otterline"]


def test_a_search_that_names_companies_asks_no_feed(database_url: str, six: BoardServer) -> None:
    result = run_search(database_url, JobSearch(query=ANYTHING, companies=["otterline"]))
    assert six.requests == {"otterline": 1}
    assert sources_of(database_url, result) == {"greenhouse"}


def test_sources_that_no_board_of_the_installation_is_on_are_named(
    database_url: str, six: BoardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_BOARDS", "otterline")
    with pytest.raises(HandlerError, match="no board of this search is on ashby or lever") as caught:
        run_search(database_url, JobSearch(query=ANYTHING, sources=["lever", "ashby"]))
    assert not caught.value.retry
    assert six.requests == {}


def test_a_board_that_is_named_in_two_ways_is_searched_once(
    database_url: str, server: BoardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_BOARDS", "otterline,greenhouse:otterline")
    result = run_search(database_url, JobSearch(query=ANYTHING))
    assert [outcome.board for outcome in result.boards] == ["otterline"]
    assert result.found == len(set(result.posting_ids))


@pytest.mark.parametrize(
    ("parameters", "boards"),
    [
        ({"companies": ["otterline", "lever:fernhollow"]}, ["otterline", "lever:fernhollow"]),
        ({"sources": ["greenhouse", "remotive"]}, ["otterline", "remotive"]),
        ({"sources": ["greenhouse", "lever"]}, ["otterline", "lever:fernhollow"]),
    ],
)
def test_a_source_that_was_switched_off_is_named_and_the_others_go_on(
    database_url: str,
    server: BoardServer,
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, Any],
    boards: list[str],
) -> None:
    monkeypatch.setenv("JOB_SOURCES", "greenhouse")
    monkeypatch.setenv("JOB_BOARDS", "otterline,lever:fernhollow")
    result = run_search(database_url, JobSearch(query=ANYTHING, **parameters))
    assert [named(outcome) for outcome in result.boards] == boards
    on, off = result.boards
    assert (on.outcome, on.why) == ("fetched", None)
    assert (off.outcome, off.why) == (
        "failed",
        f"{SOURCES[off.source].title} is switched off in this installation",
    )
    assert result.headline().endswith("; 1 of 2 boards failed")
    assert server.requests == {"otterline": 1}
    assert [credit.source for credit in result.credits] == ["greenhouse"]


@pytest.mark.parametrize(
    "parameters", [{"companies": ["lever:fernhollow"]}, {"sources": ["lever"]}, {"sources": ["remotive"]}]
)
def test_a_search_of_nothing_but_what_is_switched_off_fails_for_good(
    database_url: str, server: BoardServer, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    monkeypatch.setenv("JOB_SOURCES", "greenhouse")
    monkeypatch.setenv("JOB_BOARDS", "otterline,lever:fernhollow")
    with pytest.raises(HandlerError, match=r"^(Lever|Remotive) is switched off in this installation$") as caught:
        run_search(database_url, JobSearch(query=ANYTHING, **parameters))
    assert not caught.value.retry
    assert "JOB_SOURCES" in (caught.value.hint or "")
    assert server.requests == {}


def test_a_feed_never_closes_a_posting(clock: Clock, six: BoardServer) -> None:
    clock.freeze(MORNING)
    parameters = JobSearch(query=ANYTHING, sources=["remotive"])
    first = run_search(clock.url, parameters)
    six.boards["remotive"] = six.boards["remotive"] | {"jobs": []}
    clock.advance(timedelta(hours=6))
    second = run_search(clock.url, parameters)
    assert (second.boards[0].outcome, second.boards[0].generation) == ("fetched", 2)
    assert second.posting_ids == first.posting_ids
    assert second.found > 2


def test_a_source_that_was_asked_enough_for_today_is_searched_in_its_stored_copy(
    clock: Clock, six: BoardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_FRESHNESS_SECONDS", "3600")
    clock.freeze(MORNING)
    parameters = JobSearch(query=ANYTHING, sources=["remotive"])
    for _ in range(4):
        assert run_search(clock.url, parameters).boards[0].outcome == "fetched"
        clock.advance(timedelta(hours=1))
    result = run_search(clock.url, parameters)
    (outcome,) = result.boards
    assert (outcome.outcome, outcome.fetched_at) == ("stored", MORNING + timedelta(hours=3))
    assert outcome.why == "Remotive may be asked 4 times a day, and was; tomorrow (UTC) again"
    assert (result.found > 2, result.headline()) == (
        True,
        f"{result.found} jobs, {result.found} new; 1 of 1 boards failed",
    )
    assert six.requests == {"remotive": 4}
    clock.freeze(MORNING.replace(hour=0) + timedelta(days=1))
    assert run_search(clock.url, parameters).boards[0].outcome == "fetched"


def test_a_source_that_was_asked_enough_and_never_answered_is_told_and_not_retried(
    clock: Clock, six: BoardServer
) -> None:
    clock.freeze(MORNING)
    six.faults["remotive"] = faults.answers(500)
    parameters = JobSearch(query=ANYTHING, sources=["remotive"])
    for _ in range(4):
        with pytest.raises(HandlerError, match="out of order") as caught:
            run_search(clock.url, parameters)
        assert caught.value.retry
        clock.advance(timedelta(minutes=1))
    with pytest.raises(HandlerError, match="may be asked 4 times a day, and was") as caught:
        run_search(clock.url, parameters)
    assert (caught.value.retry, caught.value.hint) == (False, "It often passes by itself.")
    assert six.requests == {"remotive": 4}


@pytest.mark.parametrize(
    ("fault", "seconds", "words"),
    [
        (faults.throttled("7"), 7, "was asked too often and wants to be left alone (HTTP 429)"),
        (faults.answers(403, headers={"Retry-After": "7"}), 7, "refuses to answer (HTTP 403)"),
        (faults.answers(403), 900, "refuses to answer (HTTP 403)"),
    ],
)
def test_a_source_that_wants_to_be_left_alone_is_and_the_others_go_on(
    clock: Clock, six: BoardServer, fault: Fault, seconds: int, words: str
) -> None:
    clock.freeze(MORNING)
    everything = JobSearch(query=ANYTHING, companies=COMPANIES)
    run_search(clock.url, JobSearch(query=ANYTHING, companies=["bramblewick"]))
    six.faults["otterline"] = fault
    with pytest.raises(HandlerError, match=re.escape(words)):
        run_search(clock.url, JobSearch(query=ANYTHING, companies=["otterline"]))
    six.faults.clear()
    clock.advance(timedelta(minutes=10) if seconds > 600 else timedelta(seconds=seconds - 1))
    left = seconds - 600 if seconds > 600 else 1
    told = {named(outcome): outcome for outcome in run_search(clock.url, everything).boards}
    assert {name: outcome.outcome for name, outcome in told.items()} == {
        "bramblewick": "stored",
        "kestrelmoor": "failed",
        "otterline": "failed",
        "lever:fernhollow": "fetched",
        "ashby:quillstone": "fetched",
    }
    why = f"Greenhouse board 'otterline' {words}"
    resting = {"kestrelmoor", "otterline"} | ({"bramblewick"} if seconds > 600 else set())
    assert {name: (outcome.why, outcome.resting_seconds) for name, outcome in told.items()} == {
        name: (why, left) if name in resting else (None, None) for name in told
    }
    assert (six.requests["kestrelmoor"], six.requests["otterline"]) == (0, 1)
    clock.advance(timedelta(seconds=left))
    outcomes = {named(outcome): outcome.outcome for outcome in run_search(clock.url, everything).boards}
    assert (outcomes["kestrelmoor"], outcomes["otterline"]) == ("fetched", "fetched")


def test_boards_of_a_resting_source_say_why_once(clock: Clock, server: BoardServer) -> None:
    clock.freeze(MORNING)
    server.faults["otterline"] = faults.throttled("7")
    for companies in (["otterline"], ["bramblewick", "kestrelmoor", "otterline", "lever:nowhere"]):
        with pytest.raises(HandlerError) as caught:
            run_search(clock.url, JobSearch(query=ANYTHING, companies=companies))
    assert caught.value.message == (
        "none of the 4 job boards could be read: Greenhouse board 'otterline' was asked too often and wants to be left "
        "alone (HTTP 429); Lever board 'nowhere' does not exist"
    )
    assert (caught.value.retry, caught.value.retry_after) == (True, 7)


def test_the_script_in_a_description_is_text(database_url: str, server: BoardServer) -> None:
    job = jobs(server, "otterline")[0]
    script = "<p>Own the ledger<script>alert('zeppelin')</script> &amp; <b onclick='go()'>grow</b> it</p>"
    relist(server, "otterline", [job | {"content": html.escape(script)}])
    assert run_search(database_url, JobSearch(query="zeppelin or onclick", companies=["otterline"])).found == 0
    result = run_search(database_url, JobSearch(query='"own the ledger"', companies=["otterline"]))
    page = with_connection(database_url, lambda conn: read_postings(conn, result.posting_ids))
    assert [posting.excerpt for posting in page.postings] == ["Own the ledger & grow it"]


def test_what_an_older_releases_result_saw_is_not_new(clock: Clock, six: BoardServer) -> None:
    """It has its boards under another name, and of fewer sources."""
    clock.freeze(MORNING)
    parameters = JobSearch(query=ANYTHING, companies=["otterline", "kestrelmoor", "lever:fernhollow"])
    result = run_search(clock.url, parameters)
    of_lever = run_search(clock.url, JobSearch(query=ANYTHING, companies=["lever:fernhollow"]))
    user = with_connection(clock.url, make_user)
    old = result.model_dump(mode="json", exclude={"boards", "credits"}) | {
        "sources": [
            {"source": "greenhouse", "board": board, "outcome": "fetched", "generation": 1, "attribution": "by them"}
            for board in ("otterline", "kestrelmoor")
        ]
    }
    values: dict[str, Any] = {"status": "success", "result": old, "fingerprint": FINGERPRINT}
    with_connection(clock.url, lambda conn: make_run(conn, user, **values))
    again = run_search(clock.url, parameters, user=user)
    assert (again.found, again.new) == (result.found, of_lever.found)
    assert 0 < again.new < again.found
    record_success(clock.url, user, again, finished_at=MORNING + timedelta(seconds=1))
    assert run_search(clock.url, parameters, user=user).new == 0


@pytest.mark.parametrize("odd", [None, [], [{}], [{"source": "greenhouse", "board": "otterline"}]])
def test_a_success_that_says_nothing_of_a_board_saw_nothing_of_it(clock: Clock, server: BoardServer, odd: Any) -> None:
    clock.freeze(MORNING)
    parameters = JobSearch(query=ANYTHING, companies=["otterline"])
    user = with_connection(clock.url, make_user)
    values: dict[str, Any] = {
        "status": "success",
        "result": {"boards": odd} if odd is not None else {},
        "fingerprint": FINGERPRINT,
    }
    with_connection(clock.url, lambda conn: make_run(conn, user, **values))
    found = run_search(clock.url, parameters, user=user)
    assert found.new == found.found > 2


# Size -----------------------------------------------------------------------------------------------------------------


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
