import asyncio
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from shared.models import Worker
from shared.queue import claim, enqueue_many
from tests.clock import Clock
from tests.shared.queue.support import asked, async_test, blocked, call_off, ids, live, queue_row, take, take_one, two
from tests.support import connect, make_run, make_user, make_worker, wait_for_lock


async def drain(url: str, worker: Worker) -> list[UUID]:
    taken: list[UUID] = []
    async with connect(url) as conn:
        while claimed := await take(conn, worker, free=7):
            taken += ids(claimed)
            await conn.commit()
    return taken


@async_test
async def test_claimers_never_share_a_run_and_leave_none(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        workers = [await make_worker(conn) for _ in range(4)]
        enqueued = await enqueue_many(conn, [asked(user, str(n)) for n in range(1000)])
    taken = await asyncio.gather(*(drain(clock.url, worker) for worker in workers))
    assert sorted(run_id for run_ids in taken for run_id in run_ids) == sorted(answer.run_id for answer in enqueued)
    assert all(taken)


async def queued(conn: AsyncConnection, n: int) -> list[UUID]:
    user = await make_user(conn)
    runs = [await make_run(conn, user) for _ in range(n)]
    await conn.commit()
    return sorted(run.id for run in runs)


@async_test
async def test_two_open_claims_take_different_runs_and_wait_for_nobody(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        mine, yours = await make_worker(one), await make_worker(one)
        runs = await queued(one, 5)
        assert ids(await take(one, mine, free=3)) == runs[:3]
        assert ids(await take(other, yours, free=3)) == runs[3:]
        await one.rollback()
        assert ids(await take(other, yours, free=3)) == runs[:3]


@async_test
async def test_a_cancel_waits_for_a_claim_and_wins(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        (run_id,) = await queued(one, 1)
        user_id = (await live(one, run_id)).user_id
        await one.commit()
        claimed = await take_one(one, worker)
        waiting = await blocked(other, clock.url, call_off(other, run_id, user_id))
        await one.commit()
        cancelled = await waiting
        assert cancelled is not None
        assert (cancelled.run_id, cancelled.worker_id) == (claimed.run_id, worker.id)
        assert await queue_row(other, run_id) is None


@async_test
async def test_a_claim_passes_over_a_run_that_is_being_cancelled(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        first, second = await queued(one, 2)
        user_id = (await live(one, first)).user_id
        await one.commit()
        assert await call_off(one, first, user_id)
        assert ids(await take(other, worker, free=1)) == [second]
        await one.commit()
        assert await take(other, worker) == []


@async_test
async def test_a_worker_that_stops_waits_for_its_claim_in_flight(clock: Clock) -> None:
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        (run_id,) = await queued(one, 1)
        await take_one(one, worker)
        stopping = other.execute("update foxtrot.workers set stopping = true where id = %s", [worker.id])
        waiting = await blocked(other, clock.url, stopping)
        await one.commit()
        await waiting
        assert (await live(other, run_id)).worker_id == worker.id


@async_test
async def test_two_claims_of_a_limited_kind_wait_for_each_other_and_keep_the_limit(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        workers = [await make_worker(conn) for _ in range(2)]
        for _ in range(6):
            await make_run(conn, await make_user(conn))
    async with connect(clock.url) as one, connect(clock.url) as other:
        limits: dict[str, Any] = {"free": 3, "cron_cap": 3, "running_limits": {"demo": 4}}
        first = await claim(one, workers[0].id, {"demo": 3}, **limits)
        second = asyncio.create_task(claim(other, workers[1].id, {"demo": 3}, **limits))
        await wait_for_lock(clock.url, other.info.backend_pid)
        await one.commit()
        assert (len(first), len(await second)) == (3, 1)
        await other.commit()
        assert await claim(one, workers[0].id, {"demo": 3}, **limits) == []


@async_test
async def test_a_limit_is_for_its_kind_alone(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        worker = await make_worker(conn, kinds=["demo", "free"])
        for kind in ("demo", "demo", "free", "free"):
            await make_run(conn, await make_user(conn), kind=kind)
        kinds = {"demo": 4, "free": 4}
        claimed = await claim(conn, worker.id, kinds, free=4, cron_cap=4, running_limits={"demo": 1})
        assert sorted(row.kind for row in claimed) == ["demo", "free", "free"]
