from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from shared.models import RunStep
from shared.queue import Fence, StepValue, find_step, record_step, release
from tests.clock import Clock
from tests.shared.queue.support import (
    Held,
    async_test,
    blocked,
    call_off,
    commit_after,
    count,
    fence,
    rows_of,
    take_one,
    two,
)
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def key(held: Held, name: str = "fetch") -> tuple[Fence, int, str]:
    return fence(held), held.bucket, name


@pytest.mark.parametrize("value", [None, 0, "", [], {"ids": [1, 2]}, "Zoë"])
@async_test
async def test_a_step_is_recorded_and_found(clock: Clock, value: Any) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        claimed = await take_one(conn, worker)
        assert await find_step(conn, claimed.run_id, claimed.bucket, "fetch") is None
        assert await record_step(conn, worker.id, *key(claimed), value) == StepValue(value)
        assert await find_step(conn, claimed.run_id, claimed.bucket, "fetch") == StepValue(value)
        assert await find_step(conn, claimed.run_id, claimed.bucket, "match") is None
        (row,) = await rows_of(conn, RunStep, "select * from foxtrot.run_steps")
        assert (row.run_id, row.user_id, row.bucket, row.attempt) == (claimed.run_id, user.id, user.bucket, 1)


@async_test
async def test_the_next_attempt_replays_what_the_first_recorded(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        worker = await make_worker(conn)
        await make_run(conn, await make_user(conn))
        first = await take_one(conn, worker)
        await record_step(conn, worker.id, *key(first), "first")
        await release(conn, worker.id, [fence(first)])
        second = await take_one(conn, worker)
        assert await find_step(conn, second.run_id, second.bucket, "fetch") == StepValue("first")
        assert await record_step(conn, worker.id, *key(second), "second") == StepValue("first")
        assert await count(conn, "run_steps") == 1


@async_test
async def test_of_two_at_once_the_first_writer_wins(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        await make_run(one, await make_user(one))
        claimed = await take_one(one, worker)
        await one.commit()
        assert await record_step(one, worker.id, *key(claimed), "first") == StepValue("first")
        waiting = await blocked(other, clock.url, record_step(other, worker.id, *key(claimed), "second"))
        await one.commit()
        assert await waiting == StepValue("first")


@async_test
async def test_who_does_not_hold_the_attempt_records_nothing(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        await make_run(conn, user)
        first = await take_one(conn, worker)
        assert await record_step(conn, uuid4(), *key(first), 1) is None
        await release(conn, worker.id, [fence(first)])
        assert await record_step(conn, worker.id, *key(first), 1) is None
        second = await take_one(conn, worker)
        assert await record_step(conn, worker.id, *key(first), 1) is None
        await call_off(conn, first.run_id, user.id)
        assert await record_step(conn, worker.id, *key(second), 1) is None
        assert await count(conn, "run_steps") == 0


@async_test
async def test_a_step_of_a_run_that_is_being_cancelled_is_not_recorded(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user, worker = await make_user(one), await make_worker(one)
        await make_run(one, user)
        claimed = await take_one(one, worker)
        await one.commit()
        await call_off(one, claimed.run_id, user.id)
        step = commit_after(other, record_step(other, worker.id, *key(claimed), 1))
        waiting = await blocked(other, clock.url, step)
        await one.commit()
        assert await waiting is None


@async_test
async def test_a_step_that_comes_first_lets_the_cancel_wait(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        user, worker = await make_user(one), await make_worker(one)
        await make_run(one, user)
        claimed = await take_one(one, worker)
        await one.commit()
        assert await record_step(one, worker.id, *key(claimed), 1) == StepValue(1)
        waiting = await blocked(other, clock.url, call_off(other, claimed.run_id, user.id))
        await one.commit()
        assert await waiting
