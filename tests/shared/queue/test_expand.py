from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from shared.kinds import Lane
from shared.models import QueueRow, RunRow, Schedule, Skip, Tick, Timetable, User
from shared.queue import disagreements
from tests.clock import Clock
from tests.shared.queue.support import async_test, came_to, count, live, rows_of, unfold
from tests.support import connect, make_run, make_schedule, make_tick, make_timetable, make_user

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DONE: tuple[Any, ...] = (0, 0, 0, 0, [], True)

END_ALL = """
with ended as (delete from foxtrot.queue returning run_id)
update foxtrot.runs set status = 'success', finished_at = now(), expires_at = now() + interval '1 day'
from ended where id = run_id
"""
REOPEN = "update foxtrot.ticks set finished_at = null, cursor = '00000000-0000-0000-0000-000000000000'"


async def due(conn: AsyncConnection, schedules: int = 1, **values: Any) -> tuple[Timetable, list[Schedule]]:
    """A tick at noon and schedules of one user each, in the order in which they are settled."""
    timetable = await make_timetable(conn, next_slot=NOON)
    await make_tick(conn, timetable)
    made = [await make_schedule(conn, await make_user(conn), timetable, **values) for _ in range(schedules)]
    return timetable, sorted(made, key=lambda schedule: schedule.id)


async def owner(conn: AsyncConnection, schedule: Schedule) -> User:
    (user,) = await rows_of(conn, User, "select * from foxtrot.users where id = %s", schedule.user_id)
    assert isinstance(user, User)
    return user


async def the_tick(conn: AsyncConnection) -> Tick:
    (tick,) = await rows_of(conn, Tick, "select * from foxtrot.ticks")
    assert isinstance(tick, Tick)
    return tick


async def expanded(conn: AsyncConnection) -> list[UUID]:
    """The schedules whose slot became a run."""
    runs = await rows_of(conn, RunRow, "select * from foxtrot.runs where source = 'cron' order by schedule_id")
    return [run.schedule_id for run in runs]


async def skips(conn: AsyncConnection) -> list[tuple[UUID, str, UUID | None]]:
    rows = await rows_of(conn, Skip, "select * from foxtrot.skips order by schedule_id")
    return [(row.schedule_id, row.reason, row.run_id) for row in rows]


def ids(schedules: Sequence[Schedule]) -> list[UUID]:
    return [schedule.id for schedule in schedules]


@async_test
async def test_a_due_schedule_becomes_a_run_with_the_derived_id(clock: Clock) -> None:
    clock.freeze(NOON + MINUTE)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn, org_id="acme", subject="decision 7", parameters={"query": "nurse"})
        assert came_to(await unfold(conn, timetable)) == (1, 1, 0, 0, [], True)
        (run,) = await rows_of(conn, RunRow, "select * from foxtrot.runs")
        row = await live(conn, run.id)
        (derived,) = await rows_of(
            conn, RunRow, "select foxtrot.cron_run_id(%s, %s) as id, 0::smallint as bucket", schedule.id, NOON
        )
        assert run.id == derived.id
    assert (run.user_id, run.bucket, run.org_id) == (schedule.user_id, schedule.bucket, "acme")
    assert (run.kind, run.source, run.subject, run.parameters) == ("demo", "cron", "decision 7", {"query": "nurse"})
    assert (run.schedule_id, run.scheduled_for, run.created_at) == (schedule.id, NOON, NOON + MINUTE)
    assert (row.user_id, row.bucket, row.org_id, row.subject) == (run.user_id, run.bucket, "acme", "decision 7")
    assert (row.kind, row.lane, row.available_at, row.waiting, row.max_attempts) == ("demo", Lane.CRON, NOON, None, 3)
    assert row.fingerprint == run.fingerprint == schedule.fingerprint


@async_test
async def test_a_tick_is_settled_in_chunks_and_says_when_it_is_done(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, schedules = await due(conn, 6)
        for chunk in (schedules[:3], schedules[3:]):
            assert came_to(await unfold(conn, timetable, 3)) == (3, 3, 0, 0, [], False)
            assert (await the_tick(conn)).cursor == chunk[-1].id
        assert came_to(await unfold(conn, timetable, 3)) == DONE
        tick = await the_tick(conn)
        assert (tick.runs, tick.skips, tick.missed, tick.finished_at) == (6, 0, 0, NOON)
        assert await expanded(conn) == ids(schedules)


@async_test
async def test_a_tick_that_is_finished_or_was_never_made_is_done(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn)
        await unfold(conn, timetable)
        assert came_to(await unfold(conn, timetable)) == DONE
        assert came_to(await unfold(conn, await make_timetable(conn, zone="Europe/London", next_slot=NOON))) == DONE
        assert await count(conn, "runs") == 1


@async_test
async def test_after_a_crash_between_chunks_another_scheduler_goes_on_from_the_cursor(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, schedules = await due(conn, 8)
        await unfold(conn, timetable, 3)
        await conn.commit()
        await unfold(conn, timetable, 3)
        await conn.rollback()
    async with connect(clock.url) as conn:
        assert await expanded(conn) == ids(schedules[:3])
        assert [(await unfold(conn, timetable, 3)).runs for _ in range(2)] == [3, 2]
        assert await expanded(conn) == ids(schedules)
        assert (await the_tick(conn)).runs == 8


@async_test
async def test_expanding_again_from_the_start_after_all_its_runs_ended_adds_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, schedules = await due(conn, 4)
        covering = await make_run(conn, await owner(conn, schedules[0]), fingerprint=schedules[0].fingerprint)
        await unfold(conn, timetable)
        before = await skips(conn)
        assert before == [(schedules[0].id, "overlap", covering.id)]
        for end in ("select 1", END_ALL):
            await conn.execute(end.encode())
            await conn.execute(REOPEN)
            assert came_to(await unfold(conn, timetable)) == (4, 0, 0, 0, [], True)
        assert await expanded(conn) == ids(schedules[1:])
        assert await skips(conn) == before
        assert await count(conn, "queue") == 0


@async_test
async def test_a_part_of_a_split_tick_settles_its_own_schedules(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, schedules = await due(conn, 4)
        part = schedules[1].id
        await make_tick(conn, timetable, through=part)
        assert (await unfold(conn, timetable, through=part)).runs == 2
        assert await expanded(conn) == ids(schedules[:2])
        assert (await unfold(conn, timetable)).runs == 2
        assert await expanded(conn) == ids(schedules)


# Several ticks --------------------------------------------------------------------------------------------------------


async def due_at(conn: AsyncConnection, slot: datetime, schedules: int) -> tuple[Timetable, list[Schedule]]:
    """A tick of a timetable of its own, and its schedules."""
    timetable = await make_timetable(conn, crons=[f"0 8 * * {schedules}"], next_slot=slot)
    await make_tick(conn, timetable)
    made = [await make_schedule(conn, await make_user(conn), timetable) for _ in range(schedules)]
    return timetable, sorted(made, key=lambda schedule: schedule.id)


async def cursors(conn: AsyncConnection, *timetables: Timetable) -> list[UUID | None]:
    """Where the next chunk of each tick begins, None when it is done."""
    ticks = {row.timetable_id: row for row in await rows_of(conn, Tick, "select * from foxtrot.ticks")}
    told = [ticks[timetable.id] for timetable in timetables]
    return [None if tick.finished_at else tick.cursor for tick in told]


@async_test
async def test_a_chunk_takes_one_tick_after_the_other_whatever_their_slots(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        one, of_one = await due_at(conn, NOON, 2)
        other, of_other = await due_at(conn, NOON - MINUTE, 3)
        last, of_last = await due_at(conn, NOON, 1)
        answer = await unfold(conn, one, 4, others=[other, last])
        assert (answer.seen, answer.runs, answer.left, answer.last) == (4, 4, 2, of_other[1].id)
        assert await cursors(conn, one, other, last) == [None, of_other[1].id, UUID(int=0)]
        answer = await unfold(conn, other, 4, others=[last])
        assert (answer.seen, answer.runs, answer.left, answer.last) == (2, 2, 0, of_last[0].id)
        assert await cursors(conn, other, last) == [None, None]
        runs = await rows_of(conn, RunRow, "select * from foxtrot.runs")
        slots = {run.schedule_id: run.scheduled_for for run in runs}
        derived = "select count(*) from foxtrot.runs where id = foxtrot.cron_run_id(schedule_id, scheduled_for)"
        assert await (await conn.execute(derived)).fetchone() == (6,)
    assert slots == dict.fromkeys(ids(of_one + of_last), NOON) | dict.fromkeys(ids(of_other), NOON - MINUTE)


@async_test
async def test_each_tick_keeps_its_own_counts(clock: Clock) -> None:
    clock.freeze(NOON + HOUR)
    async with connect(clock.url) as conn:
        late, (schedule, _) = await due_at(conn, NOON, 2)
        on_time, of_on_time = await due_at(conn, NOON + HOUR, 3)
        await conn.execute("update foxtrot.schedules set catch_up = 'none' where id = %s", [schedule.id])
        await conn.execute("update foxtrot.schedules set kind = 'unknown' where id = %s", [of_on_time[0].id])
        await make_run(conn, await owner(conn, of_on_time[1]), fingerprint=of_on_time[1].fingerprint)
        assert came_to(await unfold(conn, late, others=[on_time])) == (5, 2, 2, 1, [of_on_time[1].id], True)
        ticks = await rows_of(conn, Tick, "select * from foxtrot.ticks order by scheduled_for")
    assert [(tick.runs, tick.skips, tick.missed) for tick in ticks] == [(1, 0, 1), (1, 2, 0)]


@async_test
async def test_ticks_without_a_schedule_are_done_and_those_after_a_full_chunk_are_not(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetables = [(await due_at(conn, NOON, schedules))[0] for schedules in (0, 2)]
        empty, of_two = timetables
        last = await make_timetable(conn, zone="Europe/London", next_slot=NOON)
        await make_tick(conn, last)
        assert (await unfold(conn, empty, 2, others=[of_two, last])).left == 2
        assert None not in (await cursors(conn, empty, of_two, last))[1:]
        assert await cursors(conn, empty) == [None]
        assert came_to(await unfold(conn, of_two, 2, others=[last])) == DONE


@async_test
async def test_of_two_slots_of_a_schedule_the_older_becomes_a_run_that_covers_the_other(clock: Clock) -> None:
    clock.freeze(NOON + HOUR)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn, catch_up="all")
        later = timetable.model_copy(update={"next_slot": NOON + HOUR})
        await make_tick(conn, later)
        assert came_to(await unfold(conn, later, others=[timetable])) == (2, 1, 1, 0, [schedule.id], True)
        (run,) = await rows_of(conn, RunRow, "select * from foxtrot.runs")
        assert run.scheduled_for == NOON
        (skip,) = await rows_of(conn, Skip, "select * from foxtrot.skips")
        assert (skip.scheduled_for, skip.run_id) == (NOON + HOUR, run.id)


@async_test
async def test_a_slot_is_missed_when_a_later_one_of_its_timetable_came(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn, 4)
        assert (await unfold(conn, timetable, 2)).runs == 2
        await make_tick(conn, timetable, scheduled_for=NOON + 5 * MINUTE)
        other, _ = await due_at(conn, NOON, 1)
        assert came_to(await unfold(conn, timetable, others=[other])) == (3, 1, 0, 2, [], True)
        ticks = await rows_of(
            conn, Tick, "select * from foxtrot.ticks where timetable_id = %s order by 2", timetable.id
        )
        assert [(tick.newest, tick.runs, tick.missed) for tick in ticks] == [(False, 2, 2), (True, 0, 0)]


# Which schedules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"enabled": False, "paused_at": NOON - HOUR}, id="paused"),
        pytest.param({"dormant": True}, id="dormant"),
        pytest.param({"effective_from": NOON}, id="in effect from the slot on"),
    ],
)
@async_test
async def test_a_schedule_that_rests_has_no_slot(clock: Clock, values: dict[str, Any]) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn, **values)
        assert came_to(await unfold(conn, timetable)) == DONE


@async_test
async def test_a_schedule_in_effect_just_before_the_slot_has_it(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn, effective_from=NOON - timedelta(microseconds=1))
        assert (await unfold(conn, timetable)).runs == 1


@async_test
async def test_another_timetables_schedules_are_left_alone(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, schedules = await due(conn, 2)
        other = await make_timetable(conn, zone="Europe/London", next_slot=NOON)
        await make_schedule(conn, await make_user(conn), other)
        await unfold(conn, timetable)
        assert await expanded(conn) == ids(schedules)


@pytest.mark.parametrize(
    ("catch_up", "newest", "late", "runs"),
    [
        ("none", True, timedelta(0), 1),
        ("none", True, HOUR, 0),
        ("none", False, timedelta(0), 0),
        ("latest", True, timedelta(0), 1),
        ("latest", True, HOUR, 1),
        ("latest", True, timedelta(hours=24), 0),
        ("latest", False, timedelta(0), 0),
        ("latest", False, HOUR, 0),
        ("all", True, timedelta(hours=24), 1),
        ("all", False, HOUR, 1),
    ],
)
@async_test
async def test_a_missed_slot_is_up_to_catch_up(
    clock: Clock, catch_up: str, newest: bool, late: timedelta, runs: int
) -> None:
    clock.freeze(NOON + late)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn, catch_up=catch_up)
        await conn.execute("update foxtrot.ticks set newest = %s", [newest])
        assert came_to(await unfold(conn, timetable)) == (1, runs, 0, 1 - runs, [], True)
        assert (await the_tick(conn)).missed == 1 - runs
        assert await skips(conn) == []


@pytest.mark.parametrize(("late", "runs"), [(15 * MINUTE, 1), (15 * MINUTE + timedelta(seconds=1), 0)])
@async_test
async def test_late_is_when_the_tick_was_made(clock: Clock, late: timedelta, runs: int) -> None:
    clock.freeze(NOON + late)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn, catch_up="none")
        await conn.commit()
        clock.advance(HOUR)
        assert (await unfold(conn, timetable)).runs == runs


@async_test
async def test_a_kind_that_is_not_configured_is_skipped(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn, kind="unknown")
        assert came_to(await unfold(conn, timetable)) == (1, 0, 1, 0, [], True)
        assert await skips(conn) == [(schedule.id, "not_configured", None)]
        assert await count(conn, "runs") == 0


# Overlap --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["manual", "cron", "backfill"])
@pytest.mark.parametrize("status", ["pending", "running"])
@async_test
async def test_a_live_run_of_the_same_work_covers_the_slot_and_is_named(clock: Clock, source: str, status: str) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn)
        neighbour = await make_user(conn, id=UUID(int=schedule.user_id.int ^ 1 << 64))
        assert neighbour.bucket == schedule.bucket
        for user in (neighbour, await owner(conn, schedule)):
            run = await make_run(conn, user, status, source=source, fingerprint=schedule.fingerprint)
        before = await live(conn, run.id)
        assert came_to(await unfold(conn, timetable)) == (1, 0, 1, 0, [schedule.id], True)
        assert await skips(conn) == [(schedule.id, "overlap", run.id)]
        assert await live(conn, run.id) == before
        assert (await the_tick(conn)).skips == 1
        assert await disagreements(conn) == []


@async_test
async def test_a_finished_run_and_another_users_run_cover_nothing(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn)
        await make_run(conn, await owner(conn, schedule), "success", fingerprint=schedule.fingerprint)
        await make_run(conn, await make_user(conn), fingerprint=schedule.fingerprint)
        assert (await unfold(conn, timetable)).runs == 1


@async_test
async def test_of_two_schedules_for_the_same_work_one_covers_the_other(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, (schedule,) = await due(conn)
        await make_schedule(conn, await owner(conn, schedule), timetable, fingerprint=schedule.fingerprint)
        answer = await unfold(conn, timetable)
        assert (answer.seen, answer.runs, answer.skips) == (2, 1, 1)
        (run,) = await rows_of(conn, RunRow, "select * from foxtrot.runs")
        assert await skips(conn) == [(answer.covered[0], "overlap", run.id)]


# Spread ---------------------------------------------------------------------------------------------------------------


async def offsets(conn: AsyncConnection, timetable: Timetable) -> dict[bytes, timedelta]:
    """By fingerprint, how long after the slot its runs are due."""
    await make_tick(conn, timetable)
    await unfold(conn, timetable)
    rows = await rows_of(conn, QueueRow, "select * from foxtrot.queue")
    assert {row.waiting for row in rows} == {"spread"}
    runs = await rows_of(conn, RunRow, "select * from foxtrot.runs join foxtrot.queue on id = run_id")
    assert {run.scheduled_for for run in runs} == {timetable.next_slot}
    await conn.execute(END_ALL.encode())
    return {row.fingerprint: row.available_at - timetable.next_slot for row in rows}


@async_test
async def test_spread_is_stable_and_stays_within_its_window(clock: Clock) -> None:
    clock.freeze(NOON + HOUR)
    window = 600
    async with connect(clock.url) as conn:
        timetable = await make_timetable(conn, next_slot=NOON)
        for _ in range(50):
            await make_schedule(conn, await make_user(conn), timetable, spread_seconds=window)
        first = await offsets(conn, timetable)
        timetable.next_slot = NOON + HOUR
        assert await offsets(conn, timetable) == first
        assert all(timedelta(0) <= offset < timedelta(seconds=window) for offset in first.values())
        assert len(set(first.values())) > 25


@async_test
async def test_it_waits_a_second_for_a_lock_at_most(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        timetable, _ = await due(conn)
        await unfold(conn, timetable)
        assert await (await conn.execute("show lock_timeout")).fetchone() == ("1s",)
        await conn.commit()
        assert await (await conn.execute("show lock_timeout")).fetchone() == ("0",)
