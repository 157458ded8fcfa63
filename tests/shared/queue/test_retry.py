from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.kinds import Status
from shared.queue import release, retry
from tests.clock import Clock
from tests.shared.queue.support import BOOM, async_test, call_off, failed, fence, live, read, run_row, take, take_one
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LONG = NOON + timedelta(days=1)


@pytest.mark.parametrize(("asked_to_wait", "waiting"), [(False, "retry"), (True, "quota")])
@async_test
async def test_a_failed_attempt_waits_for_the_next_and_its_error_is_kept(
    clock: Clock, asked_to_wait: bool, waiting: str
) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn)
        run = await make_run(
            conn, await make_user(conn), "running", worker=worker, step="fetch", percent=20, detail="x"
        )
        failure = failed(await live(conn, run.id), asked_to_wait=asked_to_wait)
        assert await retry(conn, worker.id, [failure]) == {(run.id, 1)}
        row, pending = await live(conn, run.id), await read(conn, run.id)
    assert (row.worker_id, row.available_at, row.waiting) == (None, NOON + MINUTE, waiting)
    assert (row.attempt, row.max_attempts, row.started_at) == (1, 3, NOON)
    assert (row.step, row.percent, row.detail) == (None, None, None)
    (error,) = pending.errors
    assert datetime.fromisoformat(error.pop("at")) == NOON
    assert error == {**BOOM, "attempt": 1, "step": "fetch", "percent": 20}
    assert (pending.status, pending.waiting) == (Status.PENDING, waiting)


@async_test
async def test_attempts_count_up_and_their_errors_add_up_until_none_is_left(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn, lease_expires_at=LONG)
        run = await make_run(conn, user)
        await conn.commit()
        for attempt in (1, 2):
            claimed = await take_one(conn, worker)
            assert claimed.attempt == attempt
            assert await retry(conn, worker.id, [failed(claimed)]) == {fence(claimed)}
            await conn.commit()
            clock.advance(MINUTE)
        last = await take_one(conn, worker)
        before = await run_row(conn, run.id)
        assert await retry(conn, worker.id, [failed(last)]) == set()
        assert await run_row(conn, run.id) == before
        assert [error["attempt"] for error in before.errors] == [1, 2]
        assert (await live(conn, run.id)).worker_id == worker.id


@async_test
async def test_a_repeated_retry_finds_the_failure_kept(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn, lease_expires_at=LONG)
        run = await make_run(conn, await make_user(conn), "running", worker=worker)
        failure = failed(await live(conn, run.id))
        assert await retry(conn, worker.id, [failure]) == {failure.fence}
        before = await run_row(conn, run.id)
        assert await retry(conn, worker.id, [failure]) == {failure.fence}
        assert await retry(conn, worker.id, [replace(failure, error={**BOOM, "message": "Another."})]) == set()
        assert await run_row(conn, run.id) == before


@async_test
async def test_each_run_waits_for_its_own_time(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        runs = [await make_run(conn, user, "running", worker=worker) for _ in range(3)]
        failures = [
            failed(await live(conn, run.id), delay=n * MINUTE, error={"message": f"{n}"}) for n, run in enumerate(runs)
        ]
        assert await retry(conn, worker.id, failures[::-1]) == {(run.id, 1) for run in runs}
        rows = [(await live(conn, run.id), await run_row(conn, run.id)) for run in runs]
        assert [row.available_at for row, _ in rows] == [NOON + n * MINUTE for n in range(3)]
        assert [run.errors[0]["message"] for _, run in rows] == ["0", "1", "2"]


@async_test
async def test_only_who_holds_the_attempt_under_a_live_lease_gives_it_back(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker, other = await make_user(conn), await make_worker(conn), await make_worker(conn)
        await make_run(conn, user)
        first = await take_one(conn, worker)
        assert await retry(conn, other.id, [failed(first)]) == set()
        await release(conn, worker.id, [fence(first)])
        second = await take_one(conn, worker)
        assert await retry(conn, worker.id, [failed(first)]) == set()
        await conn.commit()
        clock.advance(MINUTE)
        assert await retry(conn, worker.id, [failed(second)]) == set()
        await call_off(conn, first.run_id, user.id)
        assert await retry(conn, worker.id, [failed(second)]) == set()
        assert (await run_row(conn, first.run_id)).errors == []


@async_test
async def test_of_two_attempts_in_one_call_only_the_one_that_is_held_counts(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user, "running", worker=worker, attempt=2)
        current = failed(await live(conn, run.id))
        stale = replace(current, attempt=1)
        assert await retry(conn, worker.id, [stale, current, stale]) == {(run.id, 2)}
        assert [error["attempt"] for error in (await run_row(conn, run.id)).errors] == [2]


@async_test
async def test_a_run_that_waits_is_not_claimed_before_its_time(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn)
        await make_run(conn, await make_user(conn))
        await retry(conn, worker.id, [failed(await take_one(conn, worker), delay=timedelta(seconds=5))])
        assert await take(conn, worker) == []
        await conn.commit()
        clock.advance(timedelta(seconds=5))
        assert (await take_one(conn, worker)).attempt == 2
