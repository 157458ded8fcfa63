import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import SettingsError
from shared.kinds import Kind
from shared.rates import take_turn
from tests.clock import Clock
from tests.shared.queue.support import DEMO, async_test
from tests.support import connect, wait_for_lock
from tests.worker.handlers import define
from tests.worker.support import add_run, read, working

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@async_test
async def test_calls_are_spread_over_the_minute(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        assert [await take_turn(conn, "here", 30) for _ in range(3)] == [0 * SECOND, 2 * SECOND, 4 * SECOND]
        assert await take_turn(conn, "elsewhere", 30) == timedelta(0)
        await conn.commit()
        clock.advance(5 * SECOND)
        assert await take_turn(conn, "here", 30) == SECOND
        await conn.commit()
        clock.advance(timedelta(hours=1))
        assert await take_turn(conn, "here", 30) == timedelta(0)


@async_test
async def test_two_at_once_take_two_turns(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as one, connect(clock.url) as other:
        first = await take_turn(one, "here", 60)
        second = asyncio.create_task(take_turn(other, "here", 60))
        await wait_for_lock(clock.url, other.info.backend_pid)
        await one.commit()
        assert (first, await second) == (timedelta(0), SECOND)


@async_test
async def test_a_handler_waits_for_its_turn(database_url: str) -> None:
    runs = [await add_run(database_url, "call", parameters={"text": "here"}) for _ in range(3)]
    async with working(database_url, define("call", rates={"here": 300})) as worker:
        began = asyncio.get_running_loop().time()
        await worker.work_once()
        assert asyncio.get_running_loop().time() - began >= 0.4  # three calls, 0.2 s apart
    assert {(await read(database_url, run.id))["status"] for run in runs} == {"success"}


@async_test
async def test_a_provider_that_the_kind_does_not_name_is_an_error_that_says_so(database_url: str) -> None:
    run = await add_run(database_url, "call", parameters={"text": "there"}, max_attempts=1)
    async with working(database_url, define("call", rates={"here": 300})) as worker:
        await worker.work_once()
    assert "has no rate for 'there'" in (await read(database_url, run.id))["error"]["message"]


@pytest.mark.parametrize(("name", "value"), [("rates", {"here": 0}), ("running_limit", 0)])
def test_limits_that_would_let_nothing_run_are_refused(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match="kind 'demo'"):
        Kind(**vars(DEMO) | {name: value})
