import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from structlog.testing import capture_logs

from cli.postgres import EmbeddedPostgres
from shared.db import connect, open_pool
from shared.wake import GAP, Channel, Waker, backoff, listen, wake

Wake = tuple[Channel, str]
LISTENING = (Channel.QUEUE, "")
TIMEOUT = 10


@asynccontextmanager
async def hearing(url: str) -> AsyncIterator[asyncio.Queue[Wake]]:
    """What a listener hears; it listens already."""
    heard: asyncio.Queue[Wake] = asyncio.Queue()
    task = asyncio.create_task(listen(url, "ear", lambda channel, payload: heard.put_nowait((channel, payload))))
    try:
        assert await hear(heard) == [LISTENING]
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def hear(heard: asyncio.Queue[Wake], n: int = 1) -> list[Wake]:
    async with asyncio.timeout(TIMEOUT):
        return [await heard.get() for _ in range(n)]


@asynccontextmanager
async def waking(url: str) -> AsyncIterator[tuple[AsyncConnectionPool, Waker]]:
    async with open_pool(url, "mouth", size=1) as pool:
        waker = Waker(pool)
        yield pool, waker
        await waker.close()


def test_a_wake_up_is_heard_with_its_channel_and_payload(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard, waking(postgres.url) as (_, waker):
            waker.wake(Channel.QUEUE, "demo")
            assert await hear(heard) == [(Channel.QUEUE, "demo")]
            waker.wake(Channel.CANCEL, "some-id")
            assert await hear(heard) == [(Channel.CANCEL, "some-id")]

    asyncio.run(main())


def test_an_app_wakes_workers_on_its_own_connection_once_it_has_committed(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard, await connect(postgres.url, "app") as alone:
            async with await AsyncConnection.connect(postgres.url) as conn:
                await wake(conn, "in a transaction")
                await wake(alone, "alone")
                assert await hear(heard) == [(Channel.QUEUE, "alone")]
            assert await hear(heard) == [(Channel.QUEUE, "in a transaction")]

    asyncio.run(main())


def test_the_first_goes_at_once_and_a_burst_behind_it_in_one_statement(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard, waking(postgres.url) as (pool, waker):
            waker.wake(Channel.QUEUE, "first")
            assert await hear(heard) == [(Channel.QUEUE, "first")]
            sent = pool.get_stats()["requests_num"]
            for n in range(100):
                waker.wake(Channel.QUEUE, f"{n % 2}")
            assert sorted(await hear(heard, 2)) == [(Channel.QUEUE, "0"), (Channel.QUEUE, "1")]
            await waker.close()
            assert heard.empty()
            assert pool.get_stats()["requests_num"] == sent + 1

    asyncio.run(main())


def test_statements_are_five_milliseconds_apart(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard, waking(postgres.url) as (_, waker):
            begun = asyncio.get_running_loop().time()
            for n in range(11):
                waker.wake(Channel.QUEUE, f"{n}")
                assert await hear(heard) == [(Channel.QUEUE, f"{n}")]
            assert asyncio.get_running_loop().time() - begun >= 10 * GAP

    asyncio.run(main())


def test_closing_sends_what_is_pending(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard:
            async with waking(postgres.url) as (_, waker):
                waker.wake(Channel.QUEUE, "last")
            assert await hear(heard) == [(Channel.QUEUE, "last")]

    asyncio.run(main())


def test_a_wake_up_that_can_not_be_sent_is_only_logged(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with open_pool(postgres.url, "mouth", size=1) as pool:
            waker = Waker(pool)
        waker.wake(Channel.QUEUE, "demo")
        await waker.close()

    with capture_logs() as logs:
        asyncio.run(main())
    assert [entry["event"] for entry in logs] == ["wake_failed"]


def test_a_listener_comes_back_after_its_connection_broke(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard, waking(postgres.url) as (_, waker):
            with psycopg.connect(postgres.url) as admin:
                admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'foxtrot-ear'"
                )
            assert await hear(heard) == [LISTENING]
            waker.wake(Channel.QUEUE, "demo")
            assert await hear(heard) == [(Channel.QUEUE, "demo")]

    with capture_logs() as logs:
        asyncio.run(main())
    assert [(entry["event"], entry["failures"]) for entry in logs] == [("listen_failed", 1)]


def test_a_notification_without_a_wake_up_changes_nothing(postgres: EmbeddedPostgres) -> None:
    async def main() -> None:
        async with hearing(postgres.url) as heard, waking(postgres.url) as (pool, waker):
            async with pool.connection() as conn:
                await conn.execute("select pg_notify('somebody_elses', 'x')")
            waker.wake(Channel.QUEUE, "demo")
            assert await hear(heard) == [(Channel.QUEUE, "demo")]

    asyncio.run(main())


@pytest.mark.parametrize(("failures", "most"), [(1, 1), (3, 4), (5, 10), (10**6, 10)])
def test_the_wait_before_the_next_try_grows_to_ten_seconds(failures: int, most: float) -> None:
    waits = [backoff(failures) for _ in range(200)]
    assert 0.1 <= min(waits) <= max(waits) <= most
    assert max(waits) > most / 2
