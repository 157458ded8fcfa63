import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from shared.kinds import Lane, Status
from shared.queue import Recorded, enqueue, enqueue_many, finish
from tests.clock import Clock
from tests.shared.queue.support import (
    asked,
    async_test,
    blocked,
    call_off,
    commit_after,
    count,
    ended,
    fence,
    live,
    read,
    take,
    take_one,
    two,
)
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def end(conn: AsyncConnection, how: str) -> None:
    await (conn.commit() if how == "commits" else conn.rollback())


@pytest.mark.parametrize(("how", "created"), [("commits", False), ("rolls back", True)])
@async_test
async def test_against_an_uncommitted_enqueue_of_the_same_work(clock: Clock, how: str, created: bool) -> None:
    async with two(clock.url) as (one, other):
        request = asked(await make_user(one))
        await one.commit()
        first = await enqueue(one, request)
        waiting = await blocked(other, clock.url, enqueue(other, request))
        await end(one, how)
        second = await waiting
        assert second.created == created
        assert (second.run_id == first.run_id) != created
        await other.commit()
        assert [await count(one, table) for table in ("runs", "queue")] == [1, 1]


@async_test
async def test_against_a_finish_that_commits_first(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user, worker = await make_user(one), await make_worker(one)
        request = asked(user)
        await enqueue(one, request)
        claimed = await take_one(one, worker)
        await one.commit()
        await finish(one, worker.id, [ended(claimed)])
        waiting = await blocked(other, clock.url, enqueue(other, request))
        await one.commit()
        answer = await waiting
        assert answer.created
        assert answer.run_id != claimed.run_id
        assert (await read(other, answer.run_id)).status is Status.PENDING


@async_test
async def test_against_a_finish_that_comes_second(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user, worker = await make_user(one), await make_worker(one)
        request = asked(user)
        await enqueue(one, request)
        claimed = await take_one(one, worker)
        await one.commit()
        answer = await enqueue(one, request)
        assert (answer.run_id, answer.created, answer.promoted) == (claimed.run_id, False, False)
        waiting = await blocked(other, clock.url, finish(other, worker.id, [ended(claimed)]))
        await one.commit()
        assert await waiting == {fence(claimed): Recorded.RECORDED}
        assert (await read(other, claimed.run_id)).status is Status.SUCCESS


@pytest.mark.parametrize(("how", "created"), [("commits", True), ("rolls back", False)])
@async_test
async def test_against_a_cancel(clock: Clock, how: str, created: bool) -> None:
    async with two(clock.url) as (one, other):
        user = await make_user(one)
        request = asked(user)
        first = await enqueue(one, request)
        await one.commit()
        assert await call_off(one, first.run_id, user.id)
        waiting = await blocked(other, clock.url, enqueue(other, request))
        await end(one, how)
        second = await waiting
        assert second.created == created
        assert (second.run_id == first.run_id) != created


@async_test
async def test_a_cancel_waits_for_an_enqueue_and_then_ends_the_run_it_was_answered_with(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user = await make_user(one)
        request = asked(user)
        first = await enqueue(one, request)
        await one.commit()
        assert not (await enqueue(one, request)).created
        waiting = await blocked(other, clock.url, call_off(other, first.run_id, user.id))
        await one.commit()
        assert await waiting
        assert (await read(other, first.run_id)).status is Status.CANCELLED


@async_test
async def test_against_a_claim_that_commits_first(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        user, worker = await make_user(one), await make_worker(one)
        request = asked(user)
        run = await make_run(one, user, source="cron", fingerprint=request.fingerprint)
        await one.commit()
        claimed = await take_one(one, worker)
        waiting = await blocked(other, clock.url, enqueue(other, request))
        await one.commit()
        answer = await waiting
        assert (answer.run_id, answer.created, answer.promoted) == (run.id, False, False)
        row = await live(other, run.id)
        assert (row.lane, row.worker_id, row.attempt) == (Lane.CRON, worker.id, claimed.attempt)


@async_test
async def test_a_claim_passes_over_a_run_that_is_being_promoted(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        user, worker = await make_user(one), await make_worker(one)
        request = asked(user)
        later = NOON + timedelta(hours=1)
        run = await make_run(one, user, source="cron", fingerprint=request.fingerprint, available_at=later)
        await one.commit()
        assert (await enqueue(one, request)).promoted
        assert await take(other, worker) == []
        await one.commit()
        (claimed,) = await take(other, worker)
        assert (claimed.run_id, claimed.lane) == (run.id, Lane.MANUAL)


@async_test
async def test_two_bulks_in_opposite_order_do_not_deadlock(clock: Clock) -> None:
    async with two(clock.url) as (one, other), connect(clock.url) as holder:
        user = await make_user(holder)
        await holder.commit()
        bulk = sorted((asked(user, str(n)) for n in range(9)), key=lambda request: request.fingerprint)
        # Held in the middle, so that both have entered what comes before it in their order and want what comes after.
        await enqueue(holder, bulk[4])
        first = await blocked(one, clock.url, commit_after(one, enqueue_many(one, bulk)))
        second = await blocked(other, clock.url, commit_after(other, enqueue_many(other, bulk[::-1])))
        await holder.rollback()
        ours, theirs = await asyncio.gather(first, second)
        assert [answer.run_id for answer in ours] == [answer.run_id for answer in reversed(theirs)]
        assert sum(answer.created for answer in ours + theirs) == len(bulk)
