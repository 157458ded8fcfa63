from datetime import UTC, datetime, timedelta

from shared.queue import Fence, held_by, release
from tests.clock import Clock
from tests.shared.queue.support import async_test, call_off, fence, ids, live, take, take_one
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@async_test
async def test_what_is_released_keeps_its_place_and_costs_no_attempt(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        first, second = [await make_run(conn, user, available_at=NOON - n * MINUTE) for n in (2, 1)]
        claimed = await take_one(conn, worker)
        assert await release(conn, worker.id, [fence(claimed)]) == {fence(claimed)}
        row = await live(conn, first.id)
        assert (row.worker_id, row.available_at, row.waiting) == (None, NOON - 2 * MINUTE, None)
        assert (row.attempt, row.max_attempts, row.rescues) == (1, 4, 0)
        assert ids(await take(conn, worker)) == [first.id, second.id]


@async_test
async def test_an_expired_lease_may_still_give_back(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn, lease_expires_at=NOON - MINUTE)
        run = await make_run(conn, await make_user(conn), "running", worker=worker, percent=30)
        assert await release(conn, worker.id, [Fence(run.id, 1)]) == {(run.id, 1)}
        row = await live(conn, run.id)
        assert (row.worker_id, row.percent) == (None, None)


@async_test
async def test_only_what_is_held_is_released(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker, other = await make_user(conn), await make_worker(conn), await make_worker(conn)
        await make_run(conn, user)
        first = await take_one(conn, worker)
        assert await release(conn, other.id, [fence(first)]) == set()
        await release(conn, worker.id, [fence(first)])
        second = await take_one(conn, worker)
        assert await release(conn, worker.id, [fence(first)]) == set()
        assert (await live(conn, first.run_id)).worker_id == worker.id
        await call_off(conn, first.run_id, user.id)
        assert await release(conn, worker.id, [fence(second)]) == set()


@async_test
async def test_a_worker_can_be_told_what_it_holds(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker, other = await make_user(conn), await make_worker(conn), await make_worker(conn)
        for holder in (worker, worker, other):
            await make_run(conn, user, "running", worker=holder)
        await make_run(conn, user)
        held = await held_by(conn, worker.id)
        assert len(held) == 2
        await release(conn, worker.id, sorted(held)[:1])
        assert await held_by(conn, worker.id) == set(sorted(held)[1:])
