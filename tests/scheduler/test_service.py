import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool

from scheduler.service import PassCounts, pass_once, run_scheduler
from shared.db import connect_arguments, open_pool
from shared.kinds import Registry
from shared.queue import NewRun, disagreements, enqueue
from shared.wake import Channel
from tests.clock import Clock
from tests.scheduler.support import (
    DEMO,
    REGISTRY,
    end_runs,
    holding,
    on_database,
    pass_over,
    rows,
    scheduling,
    settings,
    settled,
    slots,
    subscribe,
    wish,
)
from tests.support import connect, make_run, make_schedule, make_tick, make_timetable, make_user, make_worker

SLOT = datetime(2031, 3, 30, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOLD = """
insert into foxtrot.queue (run_id, bucket, user_id, kind, fingerprint, lane, available_at, max_attempts)
select gen_random_uuid(), bucket, user_id, kind, fingerprint, 0, now(), 3 from foxtrot.schedules where id = %s
"""
EXPANDING = """
select exists (
    select from pg_stat_activity
    where datname = current_database() and application_name = 'foxtrot-scheduler' and wait_event_type = 'Lock'
)
"""
TIDIED = "select to_regclass('foxtrot.runs_20310519') is not null"
ZONES = ("Europe/London", "America/New_York", "Asia/Tokyo")

PROCESS = """
import asyncio, sys
from scheduler.service import run_scheduler
from tests.scheduler.support import REGISTRY, settings
sys.exit(asyncio.run(run_scheduler(settings(scheduler_interval_seconds=0.1, expand_chunk=7), sys.argv[1], REGISTRY)))
"""


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(datetime(2031, 3, 28, 12, tzinfo=UTC), id="London's spring"),
        pytest.param(datetime(2031, 10, 24, 12, tzinfo=UTC), id="London's autumn"),
        pytest.param(datetime(2031, 3, 7, 12, tzinfo=UTC), id="New York's spring"),
        pytest.param(datetime(2031, 10, 31, 12, tzinfo=UTC), id="New York's autumn"),
    ],
)
def test_a_daily_time_comes_once_per_user_and_local_day_over_a_clock_change(clock: Clock, start: datetime) -> None:
    async def put(conn: AsyncConnection) -> dict[UUID, str]:
        return {await wish(conn, ["0 8 * * *"], zone): zone for zone in ZONES for _ in range(2)}

    async def walk(pool: AsyncConnectionPool) -> None:
        for hours in range(73):
            clock.freeze(start + hours * HOUR)
            if (await pass_once(pool, settings(), REGISTRY)).runs:
                end_runs(clock.url)

    clock.freeze(start)
    users = on_database(clock.url, put)
    scheduling(clock.url, walk)
    for user_id, zone in users.items():
        days = [start.date() + timedelta(days=n) for n in range(5)]
        mornings = [datetime(day.year, day.month, day.day, 8, tzinfo=ZoneInfo(zone)) for day in days]
        assert slots(clock.url, user_id) == [at for at in mornings if start < at <= start + 72 * HOUR]


def test_another_pass_adds_nothing_neither_while_the_runs_live_nor_after(clock: Clock) -> None:
    clock.freeze(SLOT - HOUR)
    on_database(clock.url, lambda conn: wish(conn, ["0 8 * * *"], "UTC"))
    assert pass_over(clock.url) == PassCounts()
    clock.freeze(SLOT)
    assert pass_over(clock.url) == PassCounts(ticks=1, runs=1)
    assert pass_over(clock.url) == PassCounts()
    end_runs(clock.url)
    assert pass_over(clock.url) == PassCounts()


def test_a_live_run_of_the_same_work_covers_the_slot(clock: Clock) -> None:
    async def run_now(conn: AsyncConnection) -> UUID:
        user_id = await wish(conn, ["0 8 * * *"], "UTC")
        run = NewRun.of(DEMO, DEMO.parse({}), user_id=user_id)
        return (await enqueue(conn, run)).run_id

    clock.freeze(SLOT - HOUR)
    run_id = on_database(clock.url, run_now)
    clock.freeze(SLOT)
    assert pass_over(clock.url) == PassCounts(ticks=1, skips=1)
    assert rows(clock.url, "select scheduled_for, reason, run_id from foxtrot.skips") == [(SLOT, "overlap", run_id)]


def test_a_schedule_made_in_a_transaction_that_spans_its_slot_is_not_missed(clock: Clock) -> None:
    async def scenario(pool: AsyncConnectionPool) -> UUID:
        async with connect(clock.url) as conn:
            await wish(conn, ["0 8 * * *"], "UTC")
            await conn.commit()
            user_id = await wish(conn, ["0 8 * * *"], "UTC")
            clock.freeze(SLOT)
            assert await pass_once(pool, settings(), REGISTRY) == PassCounts()
            await conn.commit()
            assert await pass_once(pool, settings(), REGISTRY) == PassCounts(ticks=1, runs=2)
            return user_id

    clock.freeze(SLOT - HOUR)
    user_id = scheduling(clock.url, scenario)
    assert slots(clock.url, user_id) == [SLOT]


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("latest", [SLOT]), ("all", [SLOT - HOUR * 2, SLOT - HOUR, SLOT]), ("none", [])],
)
def test_a_scheduler_that_was_down_for_three_hours_catches_up_as_asked(
    clock: Clock, catch_up: str, expected: list[datetime]
) -> None:
    async def put(conn: AsyncConnection) -> UUID:
        timetable = await make_timetable(conn, crons=["0 * * * *"], next_slot=SLOT - HOUR * 2)
        (schedule,) = await subscribe(conn, timetable, 1, catch_up=catch_up)
        return schedule.user_id

    clock.freeze(SLOT + timedelta(minutes=20))
    user_id = on_database(clock.url, put)
    counts = pass_over(clock.url)
    # The slots come in order and share a fingerprint, so all but the first of them would overlap.
    assert (counts.ticks, counts.missed) == (3, 3 - len(expected))
    assert counts.runs + counts.skips == len(expected)
    assert sorted(slot for _, slot, _ in settled(clock.url)) == expected
    assert slots(clock.url, user_id) == expected[:1]


def test_after_an_outage_big_and_many_timetables_catch_up_as_each_schedule_asks(clock: Clock) -> None:
    async def put(conn: AsyncConnection) -> dict[str, set[UUID]]:
        by_policy: dict[str, set[UUID]] = {"latest": set(), "all": set(), "none": set()}
        for minute, schedules in ((0, 20), (5, 2), (10, 1)):
            timetable = await make_timetable(conn, crons=[f"{minute} * * * *"], next_slot=SLOT - HOUR * 2)
            for policy, made in by_policy.items():
                made |= {each.id for each in await subscribe(conn, timetable, schedules, catch_up=policy)}
        return by_policy

    clock.freeze(SLOT + timedelta(minutes=50))
    by_policy = on_database(clock.url, put)
    counts = pass_over(clock.url, expand_chunk=5)
    taken = settled(clock.url)
    assert {count for *_, count in taken} == {1}
    slots_of = {policy: [slot.hour for each, slot, _ in taken if each in made] for policy, made in by_policy.items()}
    assert {policy: sorted(hours) for policy, hours in slots_of.items()} == {
        "latest": [8] * 23, "all": [6] * 23 + [7] * 23 + [8] * 23, "none": []
    }  # fmt: skip
    assert (counts.runs + counts.skips, counts.missed) == (23 * 4, 23 * 5)


@pytest.mark.parametrize("steps", [(2, -2, 1, 1, 1), (-2, 2, 1, 1, 1), (1, 2, -2, -2, 4)])
def test_a_clock_that_steps_by_two_hours_makes_no_second_run_and_loses_no_slot(
    clock: Clock, steps: tuple[int, ...]
) -> None:
    async def put(conn: AsyncConnection) -> None:
        for minute, schedules in ((0, 20), (5, 2), (10, 1)):
            crons, first = [f"{minute} * * * *"], SLOT + timedelta(minutes=minute)
            await subscribe(conn, await make_timetable(conn, crons=crons, next_slot=first), schedules, catch_up="all")

    async def step(pool: AsyncConnectionPool) -> None:
        for hours in steps:
            clock.advance(hours * HOUR)
            await pass_once(pool, settings(expand_chunk=5), REGISTRY)
            end_runs(clock.url)

    clock.freeze(SLOT - timedelta(minutes=30))
    on_database(clock.url, put)
    scheduling(clock.url, step)
    passed = [SLOT + n * HOUR for n in range(3)]
    assert clock.now() == passed[-1] + timedelta(minutes=30)
    expected = {
        slot + timedelta(minutes=minute): schedules
        for slot in passed
        for minute, schedules in ((0, 20), (5, 2), (10, 1))
    }
    taken = settled(clock.url)
    assert {count for *_, count in taken} == {1}
    assert {slot: sum(other == slot for _, other, _ in taken) for _, slot, _ in taken} == expected


def test_the_newest_slot_is_on_time_until_a_quarter_of_an_hour_late(clock: Clock) -> None:
    async def put(conn: AsyncConnection) -> None:
        for minute in (44, 45):
            slot = SLOT - timedelta(minutes=60 - minute)
            timetable = await make_timetable(conn, crons=[f"{minute} * * * *"], next_slot=slot)
            await subscribe(conn, timetable, 1, catch_up="none")

    clock.freeze(SLOT)
    on_database(clock.url, put)
    counts = pass_over(clock.url)
    assert (counts.runs, counts.missed) == (1, 1)


def test_runs_of_a_dead_worker_are_given_back(clock: Clock) -> None:
    async def die(conn: AsyncConnection) -> None:
        worker = await make_worker(conn, lease_expires_at=SLOT)
        await make_run(conn, await make_user(conn), "running", worker=worker)

    clock.freeze(SLOT)
    on_database(clock.url, die)
    assert pass_over(clock.url) == PassCounts(given_back=1)


def test_workers_are_woken_when_a_chunk_is_committed(clock: Clock) -> None:
    async def scenario(pool: AsyncConnectionPool) -> list[str]:
        async with await AsyncConnection.connect(clock.url, autocommit=True) as conn:
            await conn.execute(f'listen "{Channel.QUEUE}"')
            await pass_once(pool, settings(), REGISTRY)
            return [notice.channel async for notice in conn.notifies(timeout=10, stop_after=1)]

    async def put(conn: AsyncConnection) -> None:
        await subscribe(conn, await make_timetable(conn, next_slot=SLOT), 1)

    clock.freeze(SLOT)
    on_database(clock.url, put)
    assert scheduling(clock.url, scenario) == [Channel.QUEUE]


def test_a_pass_whose_time_is_over_says_that_there_is_more(clock: Clock) -> None:
    async def put(conn: AsyncConnection) -> None:
        await subscribe(conn, await make_timetable(conn, next_slot=SLOT), 1)

    clock.freeze(SLOT)
    on_database(clock.url, put)
    assert scheduling(clock.url, lambda pool: pass_once(pool, settings(), REGISTRY, seconds=0)) == PassCounts(more=True)
    assert pass_over(clock.url) == PassCounts(ticks=1, runs=1)


def test_an_idle_pass_costs_the_same_few_statements_however_many_schedules_there_are(clock: Clock) -> None:
    executed: list[Any] = []

    class Counting(AsyncCursor[Any]):
        async def execute(self, query: Any, *args: Any, **values: Any) -> Any:
            executed.append(query)
            return await super().execute(query, *args, **values)

    async def idle() -> int:
        executed.clear()
        arguments = connect_arguments("test") | {"cursor_factory": Counting}
        async with AsyncConnectionPool(clock.url, min_size=1, max_size=2, kwargs=arguments) as pool:
            assert await pass_once(pool, settings(), REGISTRY) == PassCounts()
        return len(executed)

    async def put(conn: AsyncConnection) -> None:
        for minute in range(5):
            timetable = await make_timetable(conn, crons=[f"{minute} 8 * * *"], next_slot=SLOT)
            await subscribe(conn, timetable, 10)

    clock.freeze(SLOT - HOUR)
    before = asyncio.run(idle())
    on_database(clock.url, put)
    assert asyncio.run(idle()) == before == 3


# Processes ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def scheduler_process(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A scheduler of its own, once it has started."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, url, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."}
    )
    try:
        assert process.stdout is not None
        assert b"scheduler_started" in await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(url: str, query: LiteralString) -> None:
    """Return once `query` answers true."""
    async with asyncio.timeout(30), await AsyncConnection.connect(url, autocommit=True) as conn:
        true = False
        while not true:
            (true,) = await (await conn.execute(query)).fetchone()  # type: ignore[misc]


def test_schedulers_in_several_processes_settle_each_slot_once(clock: Clock) -> None:
    async def put(conn: AsyncConnection) -> None:
        users = [await make_user(conn) for _ in range(25)]
        for minute in range(4):
            timetable = await make_timetable(conn, crons=["0 8 * * *", f"{minute} 9 * * *"], next_slot=SLOT)
            for user in users:
                await make_schedule(conn, user, timetable, fingerprint=user.id.bytes)

    async def keep_passing(pool: AsyncConnectionPool) -> None:
        while len(settled(clock.url)) < 100:
            await pass_once(pool, settings(expand_chunk=7), REGISTRY)

    async def scenario() -> None:
        async with (
            scheduler_process(clock.url) as process,
            open_pool(clock.url, "one", size=2) as one,
            open_pool(clock.url, "other", size=2) as other,
        ):
            async with connect(clock.url) as conn:
                await put(conn)
            async with asyncio.timeout(30):
                await asyncio.gather(keep_passing(one), keep_passing(other))
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0

    clock.freeze(SLOT)
    asyncio.run(scenario())
    assert {count for *_, count in settled(clock.url)} == {1}
    assert rows(clock.url, "select sum(runs), sum(skips) from foxtrot.ticks") == [(25, 75)]
    covers = (
        "select count(*) from foxtrot.skips k join foxtrot.queue q on q.run_id = k.run_id and q.user_id = k.user_id"
    )
    assert rows(clock.url, covers) == [(75,)]
    assert on_database(clock.url, disagreements) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signalled_scheduler_finishes_the_pass_in_hand_and_exits_0(clock: Clock, number: signal.Signals) -> None:
    async def put(conn: AsyncConnection) -> UUID:
        (schedule,) = await subscribe(conn, await make_timetable(conn, next_slot=SLOT), 1)
        return schedule.id

    async def scenario(schedule_id: UUID) -> None:
        with holding(clock.url, HOLD, schedule_id) as transaction:
            async with scheduler_process(clock.url) as process:
                await until(clock.url, EXPANDING)
                process.send_signal(number)
                transaction.rollback()
                assert await asyncio.wait_for(process.wait(), 30) == 0

    clock.freeze(SLOT)
    schedule_id = on_database(clock.url, put)
    asyncio.run(scenario(schedule_id))
    assert [slot for _, slot, _ in settled(clock.url)] == [SLOT]


def test_a_scheduler_makes_weeks_of_runs_and_expands_until_it_is_stopped(clock: Clock) -> None:
    async def scenario() -> int:
        async with connect(clock.url) as conn:
            timetable = await make_timetable(conn, next_slot=SLOT)
            await subscribe(conn, timetable, 3)
            absent = await make_user(conn, last_seen_at=SLOT - timedelta(days=31))
            await make_schedule(conn, absent, timetable, effective_from=SLOT)
        stop = asyncio.Event()
        quick = settings(scheduler_interval_seconds=0.1)
        running = asyncio.create_task(run_scheduler(quick, clock.url, REGISTRY, stop=stop, handle_signals=False))
        await until(clock.url, "select count(*) = 3 from foxtrot.runs")
        await until(clock.url, TIDIED)
        await until(clock.url, "select count(*) = 1 from foxtrot.schedules where dormant")
        stop.set()
        return await running

    clock.freeze(SLOT)
    assert asyncio.run(scenario()) == 0


def test_a_scheduler_is_there_when_a_slot_comes_between_two_of_its_beats(clock: Clock) -> None:
    async def scenario() -> timedelta:
        async with connect(clock.url) as conn:
            await subscribe(conn, await make_timetable(conn, next_slot=SLOT), 1)
        stop = asyncio.Event()
        clock.run()
        running = asyncio.create_task(
            run_scheduler(settings(scheduler_interval_seconds=60), clock.url, REGISTRY, stop=stop, handle_signals=False)
        )
        await until(clock.url, "select exists (select from foxtrot.runs)")
        stop.set()
        await running
        return clock.now() - SLOT

    clock.freeze(SLOT - timedelta(seconds=1))
    assert timedelta() < asyncio.run(scenario()) < timedelta(seconds=30)
    ((created_at,),) = rows(clock.url, "select created_at from foxtrot.runs")
    assert created_at >= SLOT


def test_a_scheduler_that_waits_for_a_slot_stops_at_once(clock: Clock) -> None:
    async def scenario() -> int:
        async with connect(clock.url) as conn:
            await subscribe(conn, await make_timetable(conn, next_slot=SLOT), 1)
        async with scheduler_process(clock.url) as process:
            await until(clock.url, TIDIED)
            process.terminate()
            return await asyncio.wait_for(process.wait(), 30)

    clock.freeze(SLOT - timedelta(seconds=0.05))
    assert asyncio.run(scenario()) == 0


def test_a_pass_fails_what_nobody_began_in_time(clock: Clock) -> None:
    async def wait(conn: AsyncConnection) -> None:
        await make_run(conn, await make_user(conn), kind="hurried")

    clock.freeze(SLOT)
    on_database(clock.url, wait)
    clock.advance(timedelta(minutes=2))
    hurried = replace(REGISTRY.get("demo"), name="hurried", start_within=timedelta(minutes=1))
    registry = Registry([hurried])
    passed = scheduling(clock.url, lambda pool: pass_once(pool, settings(), registry))
    assert passed == PassCounts(expired=1)


def test_a_schedule_whose_runs_end_every_worker_is_paused(clock: Clock) -> None:
    async def kill_workers(conn: AsyncConnection) -> None:
        user, timetable = await make_user(conn), await make_timetable(conn)
        schedule = await make_schedule(conn, user, timetable)
        await make_tick(conn, timetable, finished_at=SLOT)
        cursor = await conn.execute("select foxtrot.cron_run_id(%s, %s)", [schedule.id, timetable.next_slot])
        (run_id,) = await cursor.fetchone()  # type: ignore[misc]
        dead = await make_worker(conn, lease_expires_at=SLOT - timedelta(hours=1))
        of_schedule = {"schedule_id": schedule.id, "scheduled_for": timetable.next_slot, "source": "cron"}
        values = of_schedule | {"id": run_id, "rescues": 2, "fingerprint": schedule.fingerprint}
        await make_run(conn, user, "running", worker=dead, **values)

    clock.freeze(SLOT)
    on_database(clock.url, kill_workers)
    assert pass_over(clock.url, failures_before_pause=1).failed == 1
    assert rows(clock.url, "select enabled from foxtrot.schedules") == [(False,)]
    assert "The worker died" in str(rows(clock.url, "select note from foxtrot.pauses"))
