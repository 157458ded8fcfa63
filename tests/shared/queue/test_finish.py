import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from shared.kinds import Progress, Status
from shared.queue import Outcome, Recorded, Said, disagreements, enqueue_many, finish, progress, release, rescue
from tests.clock import Clock
from tests.shared.queue.support import (
    BOOM,
    RETENTION,
    asked,
    async_test,
    blocked,
    call_off,
    commit_after,
    count,
    ended,
    fence,
    live,
    queue_row,
    read,
    run_row,
    take,
    take_one,
    two,
)
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LONG = NOON + timedelta(days=1)


@async_test
async def test_a_success_is_recorded_and_leaves_the_queue(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn, lease_expires_at=LONG)
        await make_run(conn, user)
        claimed = await take_one(conn, worker)
        await conn.commit()
        clock.advance(MINUTE)
        outcome = ended(claimed, headline="3 found", result='{"found": 3}')
        assert await finish(conn, worker.id, [outcome]) == {outcome.fence: Recorded.RECORDED}
        run = await run_row(conn, claimed.run_id)
        assert await queue_row(conn, claimed.run_id) is None
    assert (run.status, run.attempt, run.headline, run.result, run.errors) == (
        "success",
        1,
        "3 found",
        {"found": 3},
        [],
    )
    assert (run.started_at, run.finished_at) == (NOON, NOON + MINUTE)
    assert run.expires_at == NOON + MINUTE + RETENTION


@async_test
async def test_most_ends_take_no_new_index_entries(clock: Clock) -> None:
    moved = "select sum(n_tup_upd - n_tup_hot_upd) from pg_stat_xact_user_tables where relname like 'runs\\_2%'"
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await enqueue_many(conn, [asked(user, f"query {number}") for number in range(300)])
        await conn.commit()
        elsewhere = 0
        while claimed := await take(conn, worker, free=30):
            await finish(conn, worker.id, [ended(row, headline="3 found", result='{"found": 3}') for row in claimed])
            elsewhere += (await (await conn.execute(moved)).fetchone() or [0])[0]
            await conn.commit()
    assert elsewhere < 30


@async_test
async def test_a_failure_says_in_which_attempt_when_and_how_far(clock: Clock) -> None:
    clock.freeze(NOON)
    earlier = {"attempt": 1, "message": "It broke before."}
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(
            conn, user, "running", worker=worker, attempt=2, errors=[earlier], step="match", percent=60
        )
        await finish(conn, worker.id, [ended(await live(conn, run.id), Status.FAILED, error=BOOM)])
        row = await read(conn, run.id)
    first, second = row.errors
    assert (row.status, first, row.error) == (Status.FAILED, earlier, second)
    assert datetime.fromisoformat(second.pop("at")) == NOON
    assert second == {**BOOM, "attempt": 2, "step": "match", "percent": 60}


@async_test
async def test_a_thousand_outcomes_in_one_call(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await enqueue_many(conn, [asked(user, str(n)) for n in range(1000)])
        claimed = await take(conn, worker, free=1000)
        outcomes = [ended(row, result=f'{{"n": {place}}}') for place, row in enumerate(claimed)]
        answers = await finish(conn, worker.id, outcomes)
        assert answers == dict.fromkeys(map(fence, claimed), Recorded.RECORDED)
        assert await count(conn, "queue") == 0
        assert [(await read(conn, row.run_id)).result for row in claimed[::250]] == [
            {"n": n} for n in range(0, 1000, 250)
        ]
        assert await disagreements(conn) == []


@async_test
async def test_nothing_to_record_is_no_mistake(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        assert await finish(conn, (await make_worker(conn)).id, []) == {}


# Refused --------------------------------------------------------------------------------------------------------------


async def refused(conn: AsyncConnection, worker_id: UUID, outcomes: Sequence[Outcome]) -> None:
    """All outcomes are refused, and neither queue nor runs moves."""
    before = [(await queue_row(conn, o.run_id), await run_row(conn, o.run_id)) for o in outcomes]
    answers = await finish(conn, worker_id, outcomes)
    assert answers == {outcome.fence: Recorded.REFUSED for outcome in outcomes}
    assert [(await queue_row(conn, o.run_id), await run_row(conn, o.run_id)) for o in outcomes] == before


@async_test
async def test_a_run_that_was_rescued_is_not_the_old_workers_any_more(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, old, new = await make_user(conn), await make_worker(conn), await make_worker(conn, lease_expires_at=LONG)
        await make_run(conn, user)
        claimed = await take_one(conn, old)
        await conn.commit()
        clock.advance(MINUTE)
        await rescue(conn)
        await refused(conn, old.id, [ended(claimed)])
        again = await take_one(conn, new)
        await refused(conn, old.id, [ended(claimed)])
        assert await finish(conn, new.id, [ended(again)]) == {fence(again): Recorded.RECORDED}


@async_test
async def test_an_older_attempt_of_the_same_worker_is_refused(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        first = await take_one(conn, worker)
        await release(conn, worker.id, [fence(first)])
        second = await take_one(conn, worker)
        await refused(conn, worker.id, [ended(first)])
        assert await finish(conn, worker.id, [ended(second)]) == {fence(second): Recorded.RECORDED}


@async_test
async def test_of_two_attempts_in_one_call_only_the_one_that_is_held_counts(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user, "running", worker=worker, attempt=2)
        current = ended(await live(conn, run.id), headline="current")
        stale = replace(current, attempt=1, status=Status.FAILED, headline="stale", error=BOOM)
        answers = await finish(conn, worker.id, [stale, current, stale])
        assert answers == {stale.fence: Recorded.REFUSED, current.fence: Recorded.RECORDED}
        assert (await read(conn, run.id)).headline == "current"


@async_test
async def test_an_expired_lease_records_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user, "running", worker=worker)
        await conn.commit()
        clock.advance(timedelta(seconds=15))
        await refused(conn, worker.id, [ended(await live(conn, run.id))])


@async_test
async def test_a_worker_without_a_row_records_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        run = await make_run(conn, await make_user(conn), "running")
        await refused(conn, uuid4(), [ended(await live(conn, run.id))])


@async_test
async def test_a_cancelled_run_stays_cancelled(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        claimed = await take_one(conn, worker)
        await call_off(conn, claimed.run_id, user.id)
        await refused(conn, worker.id, [ended(claimed)])


@async_test
async def test_a_run_that_nobody_claimed_is_refused(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user)
        await refused(conn, worker.id, [ended(await live(conn, run.id))])


# Repeated -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED])
@async_test
async def test_a_repeated_finish_is_already_done(clock: Clock, status: Status) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        outcome = ended(await take_one(conn, worker), status, error=BOOM)
        await finish(conn, worker.id, [outcome])
        before = await run_row(conn, outcome.run_id)
        assert await finish(conn, worker.id, [outcome]) == {outcome.fence: Recorded.ALREADY_DONE}
        assert await run_row(conn, outcome.run_id) == before


@async_test
async def test_another_outcome_than_the_one_that_stands_is_refused(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        claimed = await take_one(conn, worker)
        await finish(conn, worker.id, [ended(claimed)])
        await refused(conn, worker.id, [ended(claimed, Status.FAILED, error=BOOM)])


# Together with progress -----------------------------------------------------------------------------------------------


@async_test
async def test_finish_and_progress_of_the_same_runs_wait_for_each_other_without_deadlock(clock: Clock) -> None:
    async with two(clock.url) as (one, other), connect(clock.url) as holder:
        user, worker = await make_user(holder), await make_worker(holder)
        await enqueue_many(holder, [asked(user, str(n)) for n in range(1000)])
        claimed = sorted(await take(holder, worker, free=1000), key=lambda row: row.run_id)
        await holder.commit()
        # Held in the middle, so that both stand there with what comes before it in their order locked.
        await holder.execute("select from foxtrot.queue where run_id = %s for update", [claimed[500].run_id])
        said = [Said(row.run_id, row.bucket, row.attempt, Progress(percent=5)) for row in reversed(claimed)]
        telling = await blocked(one, clock.url, commit_after(one, progress(one, worker.id, said)))
        ending = await blocked(other, clock.url, commit_after(other, finish(other, worker.id, [*map(ended, claimed)])))
        await holder.rollback()
        told, answers = await asyncio.gather(telling, ending)
        assert told == set(map(fence, claimed))
        assert set(answers.values()) == {Recorded.RECORDED}


@async_test
async def test_two_workers_record_a_thousand_runs_each_at_once(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user, mine, yours = await make_user(one), await make_worker(one), await make_worker(one)
        await enqueue_many(one, [asked(user, str(n)) for n in range(2000)])
        claimed = [await take(one, worker, free=1000) for worker in (mine, yours)]
        await one.commit()
        said = [Said(row.run_id, row.bucket, row.attempt, Progress(percent=5)) for row in claimed[1]]
        answers, told = await asyncio.gather(
            commit_after(one, finish(one, mine.id, [*map(ended, claimed[0])])),
            commit_after(other, progress(other, yours.id, said)),
        )
        assert set(answers.values()) == {Recorded.RECORDED}
        assert told == set(map(fence, claimed[1]))
        assert await count(one, "queue") == 1000
