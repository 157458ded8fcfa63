from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from shared.models import Worker
from shared.queue import leave, mark_stopping, register, renew
from shared.settings import LEASE
from tests.clock import Clock
from tests.shared.queue.support import async_test, count, rows_of
from tests.support import connect, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def row(conn: AsyncConnection, worker_id: UUID) -> Worker:
    (worker,) = await rows_of(conn, Worker, "select * from foxtrot.workers where id = %s", worker_id)
    assert isinstance(worker, Worker)
    return worker


@async_test
async def test_a_process_registers_under_a_new_id_with_a_fresh_lease(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        first, second = [await register(conn, ["demo", "other"], 10) for _ in range(2)]
        assert first != second
        worker = await row(conn, first)
    assert (worker.kinds, worker.slots, worker.stopping) == (["demo", "other"], 10, False)
    assert (worker.started_at, worker.lease_expires_at) == (NOON, NOON + LEASE)
    assert worker.pid > 0
    assert worker.host
    assert worker.version


@async_test
async def test_a_lease_is_renewed_while_it_lives_and_never_afterwards(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn, lease_expires_at=NOON + LEASE)
        await conn.commit()
        clock.advance(LEASE - SECOND)
        assert await renew(conn, worker.id)
        assert (await row(conn, worker.id)).lease_expires_at == NOON + 2 * LEASE - SECOND
        await conn.commit()
        clock.advance(LEASE)
        assert not await renew(conn, worker.id)
        assert (await row(conn, worker.id)).lease_expires_at == NOON + 2 * LEASE - SECOND
        assert not await renew(conn, uuid4())


@async_test
async def test_an_outage_of_postgres_ends_no_lease(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn, lease_expires_at=NOON - timedelta(hours=1))
        await conn.commit()
        clock.server_started(NOON - LEASE + SECOND)
        assert await renew(conn, worker.id)


@async_test
async def test_a_worker_that_stops_keeps_its_lease_until_it_leaves(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker, other = await make_worker(conn), await make_worker(conn)
        await mark_stopping(conn, worker.id)
        assert [(await row(conn, each.id)).stopping for each in (worker, other)] == [True, False]
        assert await renew(conn, worker.id)
        await leave(conn, worker.id)
        assert await count(conn, "workers") == 1
        assert (await row(conn, other.id)).id == other.id
