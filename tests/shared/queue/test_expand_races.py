from uuid import UUID

import pytest
from psycopg import AsyncConnection
from psycopg.errors import SerializationFailure

from shared.models import RunRow, Schedule
from shared.queue import disagreements, finish
from tests.clock import Clock
from tests.shared.queue.support import async_test, blocked, call_off, came_to, count, ended, live, rows_of, two, unfold
from tests.shared.queue.test_expand import NOON, due, expanded, ids, owner, skips, the_tick
from tests.support import connect, make_run, make_tick, make_worker


async def cover(conn: AsyncConnection, schedule: Schedule, status: str = "pending") -> UUID:
    """A manual run that does the work of the schedule."""
    return (await make_run(conn, await owner(conn, schedule), status, fingerprint=schedule.fingerprint)).id


async def of_slot(conn: AsyncConnection) -> list[RunRow]:
    return await rows_of(conn, RunRow, "select * from foxtrot.runs where source = 'cron'")


@async_test
async def test_a_second_scheduler_waits_for_the_chunk_and_goes_on_behind_it(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, schedules = await due(one, 5)
        await one.commit()
        assert (await unfold(one, timetable, 3)).runs == 3
        waiting = await blocked(other, clock.url, unfold(other, timetable, 3))
        await one.commit()
        assert came_to(await waiting) == (2, 2, 0, 0, [], True)
        await other.commit()
        assert await expanded(one) == ids(schedules)
        assert (await the_tick(one)).runs == 5


@async_test
async def test_a_second_scheduler_takes_the_chunk_that_the_first_rolled_back(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, schedules = await due(one, 5)
        await one.commit()
        await unfold(one, timetable, 3)
        waiting = await blocked(other, clock.url, unfold(other, timetable, 3))
        await one.rollback()
        assert came_to(await waiting) == (3, 3, 0, 0, [], False)
        assert await expanded(other) == ids(schedules[:3])


@async_test
async def test_a_second_scheduler_finds_the_tick_done(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, _ = await due(one, 2)
        await one.commit()
        await unfold(one, timetable)
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        await one.commit()
        assert came_to(await waiting) == (0, 0, 0, 0, [], True)
        assert await count(other, "runs") == 2


@async_test
async def test_a_run_that_was_still_uncommitted_covers_the_slot_and_is_named(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        await one.commit()
        run_id = await cover(one, schedule)
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        await one.commit()
        assert (await waiting).covered == [schedule.id]
        assert await skips(other) == [(schedule.id, "overlap", run_id)]


@async_test
async def test_a_run_that_is_rolled_back_covers_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        await one.commit()
        await cover(one, schedule)
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        await one.rollback()
        assert (await waiting).runs == 1
        assert await skips(other) == []


@async_test
async def test_a_run_whose_finish_commits_first_covers_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        worker = await make_worker(one)
        run = await make_run(
            one, await owner(one, schedule), "running", worker=worker, fingerprint=schedule.fingerprint
        )
        await one.commit()
        await finish(one, worker.id, [ended(await live(one, run.id))])
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        await one.commit()
        assert (await waiting).runs == 1
        assert await disagreements(other) == []


@async_test
async def test_a_run_that_is_cancelled_first_covers_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        run_id = await cover(one, schedule)
        await one.commit()
        assert await call_off(one, run_id, schedule.user_id)
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        await one.commit()
        assert (await waiting).runs == 1
        assert await skips(other) == []


@async_test
async def test_a_cancel_waits_for_the_skip_that_names_its_run_and_turns_it_into_a_run(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        run_id = await cover(one, schedule)
        await one.commit()
        assert (await unfold(one, timetable)).covered == [schedule.id]
        waiting = await blocked(other, clock.url, call_off(other, run_id, schedule.user_id))
        await one.commit()
        assert await waiting
        (run,) = await of_slot(other)
        assert (run.schedule_id, run.scheduled_for) == (schedule.id, NOON)
        assert await skips(other) == []
        assert await disagreements(other) == []


@pytest.mark.parametrize("status", ["pending", "running"])
@async_test
async def test_a_chunk_is_to_be_repeated_when_a_run_that_covered_a_slot_ended_meanwhile(
    clock: Clock, status: str
) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        run_id = await cover(one, schedule, status)
        await one.commit()
        # A row that is only locked still covers the slot; the skip then waits to name it.
        await one.execute("select from foxtrot.queue for update")
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        assert await call_off(one, run_id, schedule.user_id)
        await one.commit()
        with pytest.raises(SerializationFailure, match="1 runs that covered a slot ended meanwhile"):
            await waiting
        await other.rollback()
        assert (await unfold(other, timetable)).runs == 1
        assert await disagreements(other) == []


@async_test
async def test_two_rows_of_a_tick_that_have_a_schedule_in_common_settle_it_once(clock: Clock) -> None:
    clock.freeze(NOON)
    async with two(clock.url) as (one, other):
        timetable, (schedule,) = await due(one)
        await make_tick(one, timetable, through=schedule.id)
        await one.commit()
        assert (await unfold(one, timetable, through=schedule.id)).runs == 1
        waiting = await blocked(other, clock.url, unfold(other, timetable))
        await one.commit()
        with pytest.raises(SerializationFailure, match="the slot's own"):
            await waiting
        await other.rollback()
        assert came_to(await unfold(other, timetable)) == (1, 0, 0, 0, [], True)
        assert await skips(other) == []


@async_test
async def test_a_cancelled_run_frees_only_what_it_covered_once(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn)
        run_id = await cover(conn, schedule)
        await unfold(conn, timetable)
        await call_off(conn, run_id, schedule.user_id)
        (run,) = await of_slot(conn)
        await conn.execute("update foxtrot.ticks set finished_at = null, cursor = %s", [UUID(int=0)])
        assert came_to(await unfold(conn, timetable)) == (1, 0, 0, 0, [], True)
        assert await of_slot(conn) == [run]
