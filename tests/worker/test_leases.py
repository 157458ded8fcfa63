import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from shared.queue import register
from shared.settings import LEASE
from tests.clock import Clock
from tests.support import connect
from tests.worker.support import execute, row
from worker.leases import LOOP_STALL, STALLED, Lease, Me


async def registered(url: str) -> Me:
    async with connect(url) as conn:
        return Me(await register(conn, ["hold"], 1))


@asynccontextmanager
async def leasing(url: str, me: Me, lost: list[UUID]) -> AsyncIterator[Lease]:
    lease = Lease(url, me, lost.append)
    try:
        yield lease
    finally:
        await lease.close()


def test_renewing_extends_the_lease(clock: Clock) -> None:
    async def scenario() -> None:
        me, lost = await registered(clock.url), list[UUID]()
        async with leasing(clock.url, me, lost) as lease:
            clock.freeze(clock.now())
            clock.advance(LEASE - timedelta(seconds=5))
            await lease.renew_once()
            (expires,) = (await row(clock.url, "select lease_expires_at from foxtrot.workers")).values()
        assert expires == clock.now() + LEASE
        assert lost == []

    asyncio.run(scenario())


def test_an_expired_lease_is_never_renewed(clock: Clock) -> None:
    async def scenario() -> None:
        me, lost = await registered(clock.url), list[UUID]()
        async with leasing(clock.url, me, lost) as lease:
            clock.advance(LEASE)
            await lease.renew_once()
        assert lost == [me.id]
        (alive,) = (await row(clock.url, "select foxtrot.alive(lease_expires_at) from foxtrot.workers")).values()
        assert alive is False

    asyncio.run(scenario())


def test_a_connection_that_broke_is_replaced_at_once(database_url: str) -> None:
    async def scenario() -> None:
        me, lost = await registered(database_url), list[UUID]()
        async with leasing(database_url, me, lost) as lease:
            await lease.renew_once()
            before = await row(database_url, "select lease_expires_at from foxtrot.workers")
            await execute(
                database_url,
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'foxtrot-lease'",
            )
            with capture_logs() as logs:
                await lease.renew_once()
            assert before != await row(database_url, "select lease_expires_at from foxtrot.workers")
            assert (logs, lost) == ([], [])

    asyncio.run(scenario())


def test_a_server_that_is_away_costs_no_lease(database_url: str) -> None:
    async def scenario() -> None:
        lost = list[UUID]()
        async with leasing("postgresql://127.0.0.1:1/nowhere", Me(uuid4()), lost) as lease:
            with capture_logs() as logs:
                await lease.renew_once()
        assert [entry["event"] for entry in logs] == ["renew_failed"]
        assert lost == []

    asyncio.run(scenario())


def test_the_thread_renews_whatever_the_loop_does(clock: Clock) -> None:
    me, lost = asyncio.run(registered(clock.url)), threading.Event()
    clock.advance(LEASE)
    with Lease(clock.url, me, lambda _: lost.set(), every=timedelta(milliseconds=1)):
        assert lost.wait(10)


def test_a_loop_that_has_stalled_ends_the_process_with_all_stacks(capfd: pytest.CaptureFixture[str]) -> None:
    ends = list[int]()
    lease = Lease("", Me(uuid4()), print, every=LOOP_STALL / 4, end_process=ends.append)
    for _ in range(3):
        lease.watch_once()
    assert ends == []
    lease.watch_once()
    assert ends == [STALLED]
    assert "test_a_loop_that_has_stalled" in capfd.readouterr().err


def test_a_loop_that_moves_has_not_stalled() -> None:
    ends = list[int]()
    lease = Lease("", Me(uuid4()), print, every=LOOP_STALL / 4, end_process=ends.append)
    for _ in range(3):
        lease.watch_once()
    lease.beat += 1
    for _ in range(4):
        lease.watch_once()
    assert ends == []


def test_nothing_that_goes_wrong_in_a_turn_ends_the_thread(clock: Clock) -> None:
    me, told, twice = asyncio.run(registered(clock.url)), list[UUID](), threading.Event()

    def fail(lost: UUID) -> None:
        told.append(lost)
        if len(told) > 1:
            twice.set()
        raise MemoryError

    clock.advance(LEASE)
    with Lease(clock.url, me, fail, every=timedelta(milliseconds=1)):
        assert twice.wait(10)
