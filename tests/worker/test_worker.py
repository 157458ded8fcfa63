import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.db import open_pool
from shared.errors import SettingsError, UnknownKindError
from shared.kinds import Kind, Registry
from shared.queue import cancel
from shared.wake import Channel, Waker
from tests.clock import Clock
from tests.support import connect, make_run, make_user, make_worker
from tests.worker.handlers import ECHO, HOLD, define
from tests.worker.support import SETTINGS, add_run, becomes, becomes_true, execute, read, row, working
from worker.service import run_worker
from worker.worker import open_worker


@asynccontextmanager
async def service(url: str, *kinds: Kind[Any, Any], **settings: Any) -> AsyncIterator[tuple[asyncio.Event, Any]]:
    """A whole worker with its loops; the event stops it, the task's result is its exit code."""
    stop = asyncio.Event()
    chosen = SETTINGS.model_copy(update={"worker_poll_interval_seconds": 60} | settings)
    task = asyncio.create_task(run_worker(chosen, url, Registry(kinds), stop=stop))
    try:
        yield stop, task
    finally:
        stop.set()
        await task


async def wake(url: str, channel: Channel, payload: str) -> None:
    async with open_pool(url, "test", size=1) as pool:
        waker = Waker(pool)
        waker.wake(channel, payload)
        await waker.close()


def test_a_worker_works_off_what_it_finds_and_what_it_is_woken_for(database_url: str) -> None:
    async def scenario() -> None:
        before = await add_run(database_url, ECHO.name)
        async with service(database_url, ECHO):
            await becomes(database_url, before, "success")
            after = await add_run(database_url, ECHO.name)
            await wake(database_url, Channel.QUEUE, ECHO.name)
            await becomes(database_url, after, "success")

    asyncio.run(scenario())


def test_without_wake_ups_a_worker_finds_runs_by_itself(database_url: str) -> None:
    async def scenario() -> None:
        async with service(database_url, ECHO, worker_poll_interval_seconds=0.01):
            await becomes(database_url, await add_run(database_url, ECHO.name), "success")

    asyncio.run(scenario())


def test_a_cancelled_run_is_dropped_by_its_wake_up(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, HOLD.name)
        async with service(database_url, HOLD, worker_slots=1):
            await becomes(database_url, run, "running")
            async with connect(database_url) as conn:
                assert await cancel(conn, run.id, run.user_id, retention=timedelta(days=1), max_attempts=3)
            await wake(database_url, Channel.CANCEL, str(run.id))
            following = await add_run(database_url, HOLD.name)
            await wake(database_url, Channel.QUEUE, HOLD.name)
            await becomes(database_url, following, "running")

    asyncio.run(scenario())


def test_a_stopped_worker_gives_back_what_it_has_not_done_and_leaves(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, HOLD.name)
        async with service(database_url, HOLD) as (stop, task):
            await becomes(database_url, run, "running")
            stop.set()
            assert await task == 0
        found = await read(database_url, run.id)
        assert (found["status"], found["max_attempts"]) == ("pending", 4)
        assert await row(database_url, "select count(*) from foxtrot.workers") == {"count": 0}

    asyncio.run(scenario())


def test_a_stopped_worker_goes_on_for_its_grace_but_claims_nothing(database_url: str) -> None:
    slow = define("hold_thread", timeout=timedelta(milliseconds=300))

    async def scenario() -> None:
        run = await add_run(database_url, slow.name)
        async with service(database_url, slow, ECHO, worker_grace_seconds=30) as (stop, task):
            await becomes(database_url, run, "running")
            stop.set()
            await becomes_true(database_url, "select stopping from foxtrot.workers")
            later = await add_run(database_url, ECHO.name)
            await wake(database_url, Channel.QUEUE, ECHO.name)
            assert await task == 0
        assert (await read(database_url, run.id))["status"] == "success"
        assert (await read(database_url, later.id))["status"] == "pending"

    asyncio.run(scenario())


def test_a_worker_rescues_the_runs_of_a_dead_one(clock: Clock) -> None:
    async def scenario() -> None:
        async with connect(clock.url) as conn:
            user, dead = await make_user(conn), await make_worker(conn)
            run = await make_run(conn, user, "running", kind=ECHO.name, worker=dead)
        async with working(clock.url, ECHO) as worker:
            await worker.rescue_once()
            assert (await read(clock.url, run.id))["status"] == "running"
            clock.advance(timedelta(seconds=10))
            await execute(clock.url, "update foxtrot.workers set lease_expires_at = now() where id = %s", dead.id)
            with capture_logs() as logs:
                await worker.rescue_once()
            assert [(entry["event"], entry["given_back"]) for entry in logs] == [("runs_rescued", 1)]
            assert await worker.work_once() == 1
        assert ((await read(clock.url, run.id))["status"], run.id) == ("success", run.id)

    asyncio.run(scenario())


def test_a_worker_whose_lease_expired_registers_anew_and_works_on(clock: Clock) -> None:
    async def scenario() -> None:
        async with working(clock.url, ECHO) as worker:
            before = worker.me.id
            worker.lose(before)
            await worker.start_anew_once()
            assert worker.me.id != before
            await add_run(clock.url, ECHO.name)
            assert await worker.work_once() == 1

    asyncio.run(scenario())


def test_a_worker_that_has_given_up_exits_with_a_code(database_url: str) -> None:
    async def scenario() -> int:
        async with working(database_url, ECHO) as worker:
            worker.give_up()
            return await worker.run(database_url)

    assert asyncio.run(scenario()) == 1


def test_a_kind_that_is_not_there_stops_the_worker_before_it_registers(database_url: str) -> None:
    missing = define("missing")

    async def scenario() -> None:
        with pytest.raises(UnknownKindError, match="'other' is unknown"):
            await run_worker(SETTINGS, database_url, Registry([ECHO]), kinds=["other"])
        with pytest.raises(SettingsError, match="missing"):
            await run_worker(SETTINGS, database_url, Registry([missing]))
        assert await row(database_url, "select count(*) from foxtrot.workers") == {"count": 0}

    asyncio.run(scenario())


def test_a_worker_says_which_kinds_it_works(database_url: str) -> None:
    async def scenario() -> None:
        async with open_worker(SETTINGS, database_url, Registry([ECHO, HOLD]), kinds=["hold"], slots=7):
            found = await row(database_url, "select kinds, slots, stopping from foxtrot.workers")
        assert found == {"kinds": ["hold"], "slots": 7, "stopping": False}

    asyncio.run(scenario())


def test_handlers_that_keep_connections_do_not_hold_up_the_worker(database_url: str) -> None:
    kind = define("hold_connection")
    count = (
        "select count(*) from pg_stat_activity"
        " where application_name like 'foxtrot-%%' and datname = current_database()"
    )

    async def scenario() -> None:
        for _ in range(3):
            await add_run(database_url, kind.name)
        async with service(database_url, kind, ECHO):
            last = await add_run(database_url, ECHO.name)
            await wake(database_url, Channel.QUEUE, ECHO.name)
            await becomes(database_url, last, "success")
            assert (await row(database_url, count))["count"] <= 5

    asyncio.run(scenario())
