from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.kinds import Status
from shared.queue import Snoozed, release, snooze
from tests.clock import Clock
from tests.shared.queue.support import Held, async_test, call_off, fence, live, read, take, take_one
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LONG = NOON + timedelta(days=1)


def off(held: Held, until: datetime = NOON + MINUTE, why: str = "The board opens later.") -> Snoozed:
    return Snoozed(held.run_id, held.bucket, held.attempt, until, why)


@async_test
async def test_a_snooze_puts_the_run_off_and_costs_no_attempt(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn, lease_expires_at=LONG)
        run = await make_run(conn, await make_user(conn), "running", worker=worker, step="fetch", percent=20, done=2)
        assert await snooze(conn, worker.id, [off(await live(conn, run.id))]) == {(run.id, 1)}
        row, pending = await live(conn, run.id), await read(conn, run.id)
        assert (row.worker_id, row.available_at, row.waiting) == (None, NOON + MINUTE, "snooze")
        assert (row.attempt, row.max_attempts) == (1, 4)
        assert (row.step, row.percent, row.done, row.detail) == (None, None, None, "The board opens later.")
        assert (pending.status, pending.errors) == (Status.PENDING, [])
        assert await take(conn, worker) == []
        await conn.commit()
        clock.advance(MINUTE)
        assert (await take_one(conn, worker)).attempt == 2


@async_test
async def test_a_repeated_snooze_finds_the_run_put_off(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn)
        run = await make_run(conn, await make_user(conn), "running", worker=worker)
        asked = off(await live(conn, run.id))
        assert await snooze(conn, worker.id, [asked]) == {asked.fence}
        before = await live(conn, run.id)
        assert await snooze(conn, worker.id, [asked]) == {asked.fence}
        assert await snooze(conn, worker.id, [replace(asked, until=asked.until + MINUTE)]) == set()
        assert await live(conn, run.id) == before


@async_test
async def test_each_run_until_its_own_time(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        runs = [await make_run(conn, user, "running", worker=worker) for _ in range(3)]
        asked = [off(await live(conn, run.id), NOON + n * MINUTE, f"{n}") for n, run in enumerate(runs)]
        assert await snooze(conn, worker.id, asked[::-1]) == {(run.id, 1) for run in runs}
        rows = [await live(conn, run.id) for run in runs]
        assert [(row.available_at, row.detail) for row in rows] == [(NOON + n * MINUTE, f"{n}") for n in range(3)]


@async_test
async def test_only_who_holds_the_attempt_under_a_live_lease_puts_it_off(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        user, worker, other = await make_user(conn), await make_worker(conn), await make_worker(conn)
        await make_run(conn, user)
        first = await take_one(conn, worker)
        assert await snooze(conn, other.id, [off(first)]) == set()
        await release(conn, worker.id, [fence(first)])
        second = await take_one(conn, worker)
        assert await snooze(conn, worker.id, [off(first)]) == set()
        await conn.commit()
        clock.advance(MINUTE)
        assert await snooze(conn, worker.id, [off(second)]) == set()
        await call_off(conn, first.run_id, user.id)
        assert await snooze(conn, worker.id, [off(second)]) == set()


@async_test
async def test_of_two_attempts_in_one_call_only_the_one_that_is_held_counts(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        run = await make_run(conn, user, "running", worker=worker, attempt=2)
        current = off(await live(conn, run.id))
        stale = replace(current, attempt=1, why="stale")
        assert await snooze(conn, worker.id, [stale, current, stale]) == {(run.id, 2)}
        assert (await live(conn, run.id)).detail == current.why
