from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from shared.kinds import Status
from shared.models import RunRow, User
from shared.queue import Recorded, Rescued, disagreements, enqueue_many, finish, rescue
from tests.clock import Clock
from tests.shared.queue.support import (
    asked,
    async_test,
    blocked,
    ended,
    fence,
    ids,
    live,
    queue_row,
    read,
    take,
    take_one,
    two,
)
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(seconds=15)
NOBODY = Rescued(given_back=0, failed=0)

# The same as the real one, and as stable, but it stands still while somebody holds the lock.
SLOW_ALIVE = """
create or replace function foxtrot.alive(lease_expires_at timestamptz) returns boolean
language plpgsql stable as $$
begin
    perform pg_advisory_xact_lock_shared(1);
    return lease_expires_at > now();
end $$
"""


async def abandoned(conn: AsyncConnection, user: User, **values: object) -> RunRow:
    """A run that a dead worker holds."""
    dead = await make_worker(conn, lease_expires_at=NOON)
    return await make_run(conn, user, "running", worker=dead, **values)


@async_test
async def test_the_runs_of_dead_workers_are_given_back_and_those_of_live_ones_left_alone(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        lost, kept = [], []
        for _ in range(4):
            lost += [await abandoned(conn, user) for _ in range(2)]
            worker = await make_worker(conn)
            kept += [await make_run(conn, user, "running", worker=worker) for _ in range(2)]
        pending = await make_run(conn, user)
        assert await rescue(conn) == Rescued(given_back=8, failed=0)
        assert [(await live(conn, run.id)).worker_id for run in (*lost, pending)] == [None] * 9
        assert all([(await live(conn, run.id)).worker_id for run in kept])
        assert (await live(conn, pending.id)).rescues == 0
        assert await rescue(conn) == NOBODY


@async_test
async def test_a_rescued_run_keeps_its_place_and_pays_no_attempt(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        run = await abandoned(conn, user, available_at=NOON - MINUTE, attempt=2, percent=30, step="fetch", detail="x")
        await rescue(conn)
        row = await live(conn, run.id)
        assert (row.available_at, row.attempt, row.max_attempts, row.rescues) == (NOON - MINUTE, 2, 4, 1)
        assert (row.percent, row.step, row.detail, row.waiting) == (None, None, None, None)
        again = await take_one(conn, await make_worker(conn))
        assert (again.run_id, again.attempt, again.rescues) == (run.id, 3, 1)


@async_test
async def test_a_worker_whose_row_is_gone_is_dead(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        run = await make_run(conn, await make_user(conn), "running")
        await conn.execute("delete from foxtrot.workers")
        assert await rescue(conn) == Rescued(given_back=1, failed=0)
        assert (await live(conn, run.id)).worker_id is None


@async_test
async def test_the_third_rescue_fails_the_run_and_says_why(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        second = await abandoned(conn, user, rescues=1)
        third = await abandoned(conn, user, rescues=2, attempt=3, started_at=NOON - MINUTE, step="fetch", percent=30)
        assert await rescue(conn, timedelta(days=2)) == Rescued(given_back=1, failed=1)
        assert (await live(conn, second.id)).rescues == 2
        assert await queue_row(conn, third.id) is None
        run = await read(conn, third.id)
    assert (run.status, run.attempt, run.started_at, run.finished_at) == (Status.FAILED, 3, NOON - MINUTE, NOON)
    assert (run.headline, run.expires_at) == ("Stopped its worker three times", NOON + timedelta(days=2))
    assert run.error is not None
    assert (run.error["attempt"], run.error["step"], run.error["percent"]) == (3, "fetch", 30)
    assert run.error["message"] == "The worker died while it ran this, three times."
    assert datetime.fromisoformat(run.error["at"]) == NOON


@async_test
async def test_an_outage_of_postgres_rescues_nobody_alive(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        await abandoned(conn, await make_user(conn))
        await conn.commit()
        clock.server_started(NOON - LEASE + timedelta(seconds=1))
        assert await rescue(conn) == NOBODY
        clock.server_started(NOON - LEASE)
        assert await rescue(conn) == Rescued(given_back=1, failed=0)


@async_test
async def test_at_most_a_thousand_a_call(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user = await make_user(conn)
        await enqueue_many(conn, [asked(user, str(n)) for n in range(1001)])
        half = "case when get_byte(uuid_send(run_id), 15) < 128 then user_id else gen_random_uuid() end"
        await conn.execute(f"update foxtrot.queue set worker_id = {half}".encode())
        assert [(await rescue(conn)).given_back for _ in range(3)] == [1000, 1, 0]


# Races ----------------------------------------------------------------------------------------------------------------


@async_test
async def test_two_rescuers_share_the_work_and_wait_for_nobody(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        run = await abandoned(one, await make_user(one))
        await one.commit()
        assert (await rescue(one)).given_back == 1
        assert await rescue(other) == NOBODY
        await one.commit()
        assert (await live(other, run.id)).rescues == 1


@async_test
async def test_a_finish_that_comes_first_is_left_to_end(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        await make_run(one, await make_user(one))
        claimed = await take_one(one, worker)
        await one.commit()
        assert await finish(one, worker.id, [ended(claimed)]) == {fence(claimed): Recorded.RECORDED}
        clock.advance(MINUTE)
        assert await rescue(other) == NOBODY
        await one.commit()
        assert await rescue(other) == NOBODY
        assert (await read(other, claimed.run_id)).status is Status.SUCCESS


@async_test
async def test_a_finish_that_waited_for_a_rescue_is_refused(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        await make_run(one, await make_user(one))
        claimed = await take_one(one, worker)
        await one.commit()
        clock.advance(MINUTE)
        assert (await rescue(one)).given_back == 1
        clock.advance(-MINUTE)  # the finish began before the lease ended
        waiting = await blocked(other, clock.url, finish(other, worker.id, [ended(claimed)]))
        await one.commit()
        assert await waiting == {fence(claimed): Recorded.REFUSED}
        assert (await read(other, claimed.run_id)).status is Status.PENDING


@async_test
async def test_a_claim_in_flight_is_none_of_its_business(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        worker = await make_worker(one)
        run = await make_run(one, await make_user(one))
        await one.commit()
        await take_one(one, worker)
        assert await rescue(other) == NOBODY
        await one.commit()
        assert await rescue(other) == NOBODY
        assert (await live(other, run.id)).worker_id == worker.id


@async_test
async def test_a_claim_passes_over_what_is_being_rescued(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        run, worker = await abandoned(one, await make_user(one)), await make_worker(one)
        await one.commit()
        await rescue(one)
        assert await take(other, worker) == []
        await one.commit()
        assert ids(await take(other, worker)) == [run.id]


@pytest.mark.parametrize("rescues", [0, 2])
def test_a_run_that_a_live_worker_claimed_after_the_snapshot_is_left_to_it(database_url: str, rescues: int) -> None:
    @async_test
    async def race() -> None:
        async with two(database_url) as (one, other), connect(database_url) as holder:
            await holder.execute(SLOW_ALIVE)
            user, worker = await make_user(holder), await make_worker(holder)
            dead = await make_worker(holder, lease_expires_at=NOON - timedelta(days=9000))
            run = await make_run(holder, user, "running", worker=dead, rescues=rescues)
            await holder.commit()
            await holder.execute("select pg_advisory_xact_lock(1)")
            waiting = await blocked(one, database_url, rescue(one))
            # Meanwhile somebody else rescues it, and a live worker claims it.
            await other.execute("update foxtrot.queue set worker_id = %s, attempt = attempt + 1", [worker.id])
            await other.commit()
            await holder.commit()
            assert await waiting == NOBODY
            await one.commit()
            row = await live(other, run.id)
            assert (row.worker_id, row.attempt, row.rescues) == (worker.id, 2, rescues)
            assert await disagreements(other) == []

    race()
