import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import InvalidInputError
from shared.kinds import Lane, Status
from shared.queue import NewRun, enqueue, enqueue_many, find_reusable
from tests.clock import Clock
from tests.shared.queue.support import DEMO, Search, asked, async_test, count, live, read, take
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=3)
HOUR = timedelta(hours=1)


@async_test
async def test_a_request_becomes_a_pending_run_at_the_front(clock: Clock) -> None:
    clock.freeze(NOON)
    rerun_of = uuid4()
    async with connect(clock.url) as conn:
        user = await make_user(conn, org_id="acme")
        new = asked(user, "nurse", org_id="acme", subject="decision 7", client_context={"tab": 1}, retry_of=rerun_of)
        answer = await enqueue(conn, new)
        run = await read(conn, answer.run_id)
    assert (answer.created, answer.promoted, answer.waiting, answer.available_at) == (True, False, None, NOON)
    assert (run.status, run.lane, run.source, run.attempt, run.max_attempts) == (Status.PENDING, 0, "manual", 0, 3)
    assert (run.user_id, run.org_id, run.kind, run.subject) == (user.id, "acme", "demo", "decision 7")
    assert (run.parameters, run.fingerprint) == ({"query": "nurse"}, new.fingerprint)
    assert (run.client_context, run.retry_of, run.schedule_id) == ({"tab": 1}, rerun_of, None)
    assert (run.created_at, run.available_at, run.finished_at, run.expires_at) == (NOON, NOON, None, None)


def test_what_the_kind_cannot_serve_is_no_request() -> None:
    def refuse(parameters: Search) -> None:
        if parameters.query == "nurse":
            raise InvalidInputError("no nurses here", field="parameters.query")

    kind = replace(DEMO, check=refuse)
    assert NewRun.of(kind, Search(query="baker"), user_id=uuid4()).parameters == {"query": "baker"}
    with pytest.raises(InvalidInputError, match="no nurses here"):
        NewRun.of(kind, Search(query="nurse"), user_id=uuid4())


@async_test
async def test_an_empty_client_context_is_kept(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        answer = await enqueue(conn, asked(await make_user(conn), client_context={}))
        assert (await read(conn, answer.run_id)).client_context == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(Search(), Search(query="", limit=10, filters={}), id="defaults spelled out"),
        pytest.param(
            Search(query=unicodedata.normalize("NFC", "José")),
            Search(query=unicodedata.normalize("NFD", "José")),
            id="two spellings of one text",
        ),
        pytest.param(
            Search(filters={"level": "senior", "city": "Bath"}),
            Search(filters={"city": "Bath", "level": "senior"}),
            id="keys in another order",
        ),
    ],
)
@async_test
async def test_the_same_request_again_returns_the_same_run(clock: Clock, first: Search, second: Search) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        one = await enqueue(conn, asked(user, parameters=first))
        two = await enqueue(conn, asked(user, parameters=second))
        assert (one.created, two.created, two.promoted) == (True, False, False)
        assert two.run_id == one.run_id
        assert [await count(conn, table) for table in ("runs", "queue")] == [1, 1]


@async_test
async def test_another_user_org_kind_or_parameters_are_another_run(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        ada, grace = await make_user(conn), await make_user(conn)
        renamed = NewRun.of(replace(DEMO, name="other"), Search(), user_id=ada.id)
        requests = [asked(ada), asked(grace), asked(ada, org_id="acme"), asked(ada, "nurse"), renamed]
        answers = [await enqueue(conn, request) for request in requests]
        assert all(answer.created for answer in answers)
        assert len({answer.run_id for answer in answers}) == len(requests)


@async_test
async def test_a_finished_run_does_not_stand_in_the_way(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        before = await make_run(conn, user, "success", fingerprint=request.fingerprint)
        answer = await enqueue(conn, request)
        assert answer.created
        assert answer.run_id != before.id


@async_test
async def test_a_request_that_is_rolled_back_never_was(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        await conn.commit()
        await enqueue(conn, asked(user))
        await conn.rollback()
        assert [await count(conn, table) for table in ("runs", "queue")] == [0, 0]


# Many ----------------------------------------------------------------------------------------------------------------


@async_test
async def test_a_bulk_is_answered_in_order_and_equal_rows_share_a_run(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        ada, grace = await make_user(conn), await make_user(conn)
        there = await enqueue(conn, asked(ada, "there"))
        bulk = [asked(user, query) for query in ("c", "a", "there", "c", "b") for user in (ada, grace)]
        answers = await enqueue_many(conn, bulk)
        runs = [await read(conn, answer.run_id) for answer in answers]
        assert [(run.user_id, run.parameters) for run in runs] == [(new.user_id, new.parameters) for new in bulk]
        assert answers[4].run_id == there.run_id
        assert [answer.created for answer in answers] == [True] * 4 + [False, True] + [False] * 2 + [True] * 2
        assert await count(conn, "runs") == 8


@async_test
async def test_one_request_twice_in_a_bulk_is_created_once(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        request = asked(await make_user(conn))
        answers = await enqueue_many(conn, [request, request])
        assert [answer.created for answer in answers] == [True, False]


@async_test
async def test_an_empty_bulk_is_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        assert await enqueue_many(conn, []) == []


# Promotion -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [None, "spread", "retry", "snooze"])
@async_test
async def test_run_now_brings_a_waiting_cron_run_to_the_front(clock: Clock, waiting: str | None) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        run = await make_run(
            conn, user, source="cron", fingerprint=request.fingerprint, available_at=LATER, waiting=waiting, attempt=1
        )
        answer = await enqueue(conn, request)
        row = await live(conn, run.id)
    assert answer.run_id == run.id
    assert (answer.created, answer.promoted, answer.waiting, answer.available_at) == (False, True, None, NOON)
    assert (row.lane, row.available_at, row.waiting, row.attempt) == (Lane.MANUAL, NOON, None, 1)


@async_test
async def test_run_now_promotes_a_cron_run_that_is_due_and_keeps_its_place(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        await make_run(conn, user, source="cron", fingerprint=request.fingerprint, available_at=NOON - HOUR)
        answer = await enqueue(conn, request)
    assert (answer.promoted, answer.available_at) == (True, NOON - HOUR)


@async_test
async def test_a_quota_holds_even_what_is_promoted_and_says_until_when(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        run = await make_run(
            conn, user, source="cron", fingerprint=request.fingerprint, available_at=LATER, waiting="quota"
        )
        first, second = await enqueue(conn, request), await enqueue(conn, request)
        row = await live(conn, run.id)
    assert (first.promoted, first.waiting, first.available_at) == (True, "quota", LATER)
    assert (second.promoted, second.waiting, second.available_at) == (False, "quota", LATER)
    assert (row.lane, row.available_at, row.waiting) == (Lane.MANUAL, LATER, "quota")


@async_test
async def test_a_running_run_is_answered_and_not_touched(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        run = await make_run(conn, user, "running", source="cron", fingerprint=request.fingerprint, percent=40)
        before = await live(conn, run.id)
        clock.advance(HOUR)
        answer = await enqueue(conn, request)
        assert answer.run_id == run.id
        assert (answer.created, answer.promoted) == (False, False)
        assert await live(conn, run.id) == before


@async_test
async def test_a_lower_lane_never_moves_a_run_back(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        request = asked(await make_user(conn))
        first = await enqueue(conn, request)
        again = replace(request, lane=Lane.BACKFILL, available_at=LATER)
        answer = await enqueue(conn, again)
        row = await live(conn, first.run_id)
    assert (answer.created, answer.promoted) == (False, False)
    assert (row.lane, row.available_at) == (Lane.MANUAL, NOON)


@async_test
async def test_a_run_can_be_asked_for_at_a_time_and_then_for_now(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        once = await enqueue(conn, asked(user, available_at=LATER))
        assert once.available_at == LATER
        assert await take(conn, worker) == []
        now = await enqueue(conn, asked(user))
        assert (now.run_id, now.created, now.promoted, now.available_at) == (once.run_id, False, True, NOON)
        assert [row.run_id for row in await take(conn, worker)] == [once.run_id]


# Reuse ---------------------------------------------------------------------------------------------------------------

REUSING = replace(DEMO, reuse_for=HOUR)


@async_test
async def test_the_newest_young_success_can_be_reused(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        for minutes in (50, 10, 30):
            at = NOON - timedelta(minutes=minutes)
            await make_run(
                conn, user, "success", fingerprint=request.fingerprint, finished_at=at, headline=f"{minutes}"
            )
        found = await find_reusable(conn, request, REUSING)
        assert found is not None
        assert (await read(conn, found)).headline == "10"
        assert await find_reusable(conn, request, DEMO) is None


@pytest.mark.parametrize(
    ("status", "values"),
    [
        pytest.param("failed", {}, id="failed"),
        pytest.param("success", {"finished_at": NOON - HOUR}, id="too old"),
        pytest.param("success", {"expires_at": NOON}, id="expired"),
        pytest.param("success", {"user_id": uuid4()}, id="another user's"),
        pytest.param("success", {"fingerprint": uuid4().bytes}, id="other work"),
    ],
)
@async_test
async def test_nothing_else_is_reused(clock: Clock, status: str, values: dict[str, Any]) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        request = asked(user)
        await make_run(conn, user, status, **{"fingerprint": request.fingerprint} | values)
        assert await find_reusable(conn, request, REUSING) is None


def test_a_request_takes_what_it_leaves_out_from_the_kind() -> None:
    kind = replace(DEMO, subject=lambda parameters: f"about {parameters.query}")
    user_id = uuid4()
    of_kind = NewRun.of(kind, Search(query="nurse"), user_id=user_id)
    of_caller = NewRun.of(kind, Search(query="nurse"), user_id=user_id, subject="decision 7")
    assert (of_kind.subject, of_caller.subject, of_kind.max_attempts) == ("about nurse", "decision 7", 3)
    assert of_kind.fingerprint == of_caller.fingerprint
