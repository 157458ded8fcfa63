import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import class_row

from shared.models import RunStatus
from tests.clock import Clock
from tests.support import (
    connect,
    make_run,
    make_schedule,
    make_tick,
    make_timetable,
    make_user,
    make_worker,
    wait_for_lock,
)

AT = datetime(2031, 3, 30, 0, 59, 59, tzinfo=UTC)
OTHER_PROCESS = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as conn:
    print(conn.execute("select now()").fetchone()[0].isoformat())
"""


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_each_test_has_a_database_of_its_own(database_url: str, clock: Clock) -> None:
    assert ask(database_url, "select current_database()") != ask(clock.url, "select current_database()")
    with psycopg.connect(database_url) as conn, pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("select from runs")


# The clock -----------------------------------------------------------------------------------------------------------


def test_clock_runs_until_it_is_frozen(clock: Clock) -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.now() < clock.now()


def test_frozen_clock_is_the_same_for_connections_roles_and_processes(clock: Clock) -> None:
    clock.freeze(AT)
    with psycopg.connect(clock.url) as one, psycopg.connect(clock.url) as other:
        other.execute("set role foxtrot_api")
        assert [conn.execute("select now()").fetchone() for conn in (one, other)] == [(AT,), (AT,)]
    told = subprocess.run([sys.executable, "-c", OTHER_PROCESS, clock.url], check=True, capture_output=True, text=True)
    assert datetime.fromisoformat(told.stdout.strip()) == AT


def test_clock_advances_frozen_and_flows_on_from_there(clock: Clock) -> None:
    clock.freeze(AT)
    clock.advance(timedelta(hours=2))
    assert clock.now() == AT + timedelta(hours=2)
    clock.run()
    later = clock.now()
    assert timedelta(hours=2) < later - AT < timedelta(hours=2, seconds=5)
    clock.advance(timedelta(days=-1))
    assert timedelta(0) < clock.now() - later + timedelta(days=1) < timedelta(seconds=5)


def test_clock_timestamp_is_never_the_same_twice(clock: Clock) -> None:
    clock.freeze(AT)
    stamps = [ask(clock.url, "select clock_timestamp()") for _ in range(2)]
    assert AT < stamps[0] < stamps[1] < AT + timedelta(seconds=1)


def test_defaults_ids_and_views_follow_the_clock(clock: Clock) -> None:
    async def scenario() -> None:
        async with connect(clock.url) as conn:
            user = await make_user(conn)
            run = await make_run(conn, user, "success")
            assert user.created_at == run.created_at == AT
            assert run.id.int >> 80 == int(AT.timestamp() * 1000)

    clock.freeze(AT)
    asyncio.run(scenario())
    readable = "select count(*) from foxtrot.run_status"
    clock.advance(timedelta(days=30, microseconds=-1))
    assert ask(clock.url, readable) == 1
    clock.advance(timedelta(microseconds=1))
    assert ask(clock.url, readable) == 0


def test_leases_follow_the_clock_and_the_servers_start(clock: Clock) -> None:
    async def scenario() -> None:
        async with connect(clock.url) as conn:
            await make_worker(conn)

    clock.freeze(AT)
    asyncio.run(scenario())
    alive = "select foxtrot.alive(lease_expires_at) from foxtrot.workers"
    assert ask(clock.url, alive)
    clock.advance(timedelta(seconds=15))
    assert not ask(clock.url, alive)
    clock.server_started(AT + timedelta(seconds=1))
    assert ask(clock.url, alive)


# Locks and rows ------------------------------------------------------------------------------------------------------


def test_wait_for_lock_returns_when_the_backend_waits_and_fails_when_it_does_not(database_url: str) -> None:
    async def scenario() -> None:
        async with connect(database_url) as holder, connect(database_url) as waiter:
            user = await make_user(holder)
            await holder.commit()
            touch = "update foxtrot.users set zone = 'UTC' where id = %s"
            await holder.execute(touch, [user.id])
            with pytest.raises(TimeoutError):
                await wait_for_lock(database_url, waiter.info.backend_pid, within=0.1)
            task = asyncio.create_task(waiter.execute(touch, [user.id]))
            await wait_for_lock(database_url, waiter.info.backend_pid)
            assert not task.done()
            await holder.commit()
            await task

    asyncio.run(scenario())


@pytest.mark.parametrize("status", ["pending", "running", "success", "failed", "cancelled"])
def test_make_run_makes_what_readers_see_as_that_status(database_url: str, status: str) -> None:
    async def scenario() -> RunStatus:
        async with connect(database_url) as conn:
            run = await make_run(conn, await make_user(conn), status, source="cron", kind="other", attempt=2)
            cursor = conn.cursor(row_factory=class_row(RunStatus))
            await cursor.execute("select * from foxtrot.run_status where id = %s", [run.id])
            row = await cursor.fetchone()
            assert row is not None
            return row

    seen = asyncio.run(scenario())
    assert (seen.status, seen.kind, seen.attempt, seen.source) == (status, "other", 2, "cron")
    assert (seen.worker_id is not None) == (status == "running")
    assert seen.lane == (1 if status in {"pending", "running"} else None)
    assert (seen.error is not None) == (status == "failed")


@pytest.mark.parametrize("status", ["pending", "success"])
def test_make_run_refuses_what_is_no_column(database_url: str, status: str) -> None:
    async def scenario() -> None:
        async with connect(database_url) as conn:
            await make_run(conn, await make_user(conn), status, colour="red")

    with pytest.raises((AssertionError, KeyError), match="colour"):
        asyncio.run(scenario())


def test_a_schedule_and_a_tick_belong_to_their_timetable(database_url: str) -> None:
    async def scenario() -> None:
        async with connect(database_url) as conn:
            timetable = await make_timetable(conn, zone="Asia/Tokyo")
            schedule = await make_schedule(conn, await make_user(conn, org_id="acme"), timetable, note="daily")
            tick = await make_tick(conn, timetable)
            assert (schedule.timetable_id, schedule.zone, schedule.org_id) == (timetable.id, "Asia/Tokyo", "acme")
            assert (tick.scheduled_for, tick.finished_at) == (timetable.next_slot, None)

    asyncio.run(scenario())
