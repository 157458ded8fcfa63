from datetime import UTC, datetime, timedelta

from psycopg import AsyncConnection

from shared.kinds import Progress
from shared.queue import Said, progress, release
from tests.clock import Clock
from tests.shared.queue.support import Held, async_test, call_off, fence, live, read, take_one
from tests.support import connect, make_run, make_user, make_worker

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
EVERYTHING = Progress(percent=40, step="fetch", detail="acme", done=4, total=10)


def says(held: Held, word: Progress) -> Said:
    return Said(held.run_id, held.bucket, held.attempt, word)


async def durability(conn: AsyncConnection) -> str:
    row = await (await conn.execute("show synchronous_commit")).fetchone()
    assert row is not None
    return str(row[0])


@async_test
async def test_a_word_is_written_and_what_it_leaves_out_stays(clock: Clock) -> None:
    clock.freeze(NOON)
    async with connect(clock.url) as conn:
        worker = await make_worker(conn)
        await make_run(conn, await make_user(conn))
        claimed = await take_one(conn, worker)
        await conn.commit()
        clock.advance(timedelta(seconds=1))
        assert await progress(conn, worker.id, [says(claimed, EVERYTHING)]) == {fence(claimed)}
        run = await read(conn, claimed.run_id)
        assert (run.percent, run.step, run.detail, run.done, run.total) == (40, "fetch", "acme", 4, 10)
        assert run.updated_at == NOON + timedelta(seconds=1)
        await progress(conn, worker.id, [says(claimed, Progress(done=5))])
        run = await read(conn, claimed.run_id)
        assert (run.percent, run.step, run.detail, run.done, run.total) == (40, "fetch", "acme", 5, 10)


@async_test
async def test_each_run_gets_its_own_word(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker = await make_user(conn), await make_worker(conn)
        rows = [await live(conn, (await make_run(conn, user, "running", worker=worker)).id) for _ in range(3)]
        said = [says(row, Progress(percent=percent)) for percent, row in enumerate(rows)]
        assert await progress(conn, worker.id, said[::-1]) == set(map(fence, rows))
        assert [(await live(conn, row.run_id)).percent for row in rows] == [0, 1, 2]


@async_test
async def test_an_attempt_that_was_lost_says_nothing_any_more(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        user, worker, other = await make_user(conn), await make_worker(conn), await make_worker(conn)
        await make_run(conn, user)
        first = await take_one(conn, worker)
        assert await progress(conn, other.id, [says(first, EVERYTHING)]) == set()
        await release(conn, worker.id, [fence(first)])
        assert await progress(conn, worker.id, [says(first, EVERYTHING)]) == set()
        second = await take_one(conn, worker)
        word = Progress(percent=1)
        assert await progress(conn, worker.id, [says(first, EVERYTHING), says(second, word)]) == {fence(second)}
        assert (await live(conn, first.run_id)).percent == 1
        await call_off(conn, first.run_id, user.id)
        assert await progress(conn, worker.id, [says(second, EVERYTHING)]) == set()


@async_test
async def test_only_its_own_transaction_may_be_lost(clock: Clock) -> None:
    async with connect(clock.url) as conn:
        worker = await make_worker(conn)
        before = await durability(conn)
        await progress(conn, worker.id, [])
        assert await durability(conn) == "off"
        await conn.commit()
        assert await durability(conn) == before == "on"
