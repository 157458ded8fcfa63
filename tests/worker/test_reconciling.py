import asyncio
from uuid import uuid4

from structlog.testing import capture_logs

from shared.models import RunRow
from shared.queue import cancel
from shared.settings import LEASE
from shared.wake import Channel
from tests.clock import Clock
from tests.support import connect
from tests.worker.handlers import ECHO, HOLD, IGNORE_ONCE
from tests.worker.support import add_run, execute, read, row, until, working
from worker.execution import Ending


def test_rows_that_nothing_works_on_are_released(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            kept = await add_run(database_url, HOLD.name)
            await worker.claimer.claim_once()
            unknown = await add_run(database_url, HOLD.name)
            take = "update foxtrot.queue set worker_id = %s, attempt = 1 where run_id = %s"
            await execute(database_url, take, worker.me.id, unknown.id)
            await worker.reconciler.reconcile_once()
            found = await read(database_url, unknown.id)
            assert (found["status"], found["attempt"], found["max_attempts"]) == ("pending", 1, 4)
            assert (await read(database_url, kept.id))["status"] == "running"
            assert len(worker.attempts.running) == 1

    asyncio.run(scenario())


def test_attempts_whose_rows_are_gone_are_dropped(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            run = await add_run(database_url, HOLD.name)
            kept = await add_run(database_url, HOLD.name)
            await worker.claimer.claim_once()
            await _cancel(database_url, run)
            await worker.reconciler.reconcile_once()
            await until(lambda: len(worker.attempts.running) == 1)
            assert {fence.run_id for fence in worker.attempts.running} == {kept.id}
            assert not worker.flusher.pending

    asyncio.run(scenario())


def test_an_outcome_that_waits_to_be_written_is_no_unknown_row(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, ECHO) as worker:
            run = await add_run(database_url, ECHO.name)
            await worker.claimer.claim_once()
            await worker.attempts.wait(10)
            await worker.reconciler.reconcile_once()
            await worker.flusher.flush_once()
            assert (await read(database_url, run.id))["status"] == "success"

    asyncio.run(scenario())


def test_a_timed_out_handler_that_still_goes_on_is_no_unknown_row(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, IGNORE_ONCE) as worker:
            run = await add_run(database_url, IGNORE_ONCE.name)
            await worker.claimer.claim_once()
            (attempt,) = worker.attempts.running.values()
            await until(lambda: worker.flusher.said)
            worker.attempts.stop(attempt, Ending.TIMED_OUT)
            await worker.reconciler.reconcile_once()
            assert (await read(database_url, run.id))["status"] == "running"

    asyncio.run(scenario())


def test_a_claim_in_flight_is_no_unknown_row(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, HOLD.name)
        async with working(database_url, HOLD) as worker, connect(database_url) as conn:
            await conn.execute("lock table foxtrot.runs in access exclusive mode")  # the claim joins it at its end
            claim = asyncio.create_task(worker.claimer.claim_once())
            await _wait_for_a_worker(database_url)
            async with worker.pool.connection(), worker.pool.connection():  # all: only then can the queue be asked
                reconcile = asyncio.create_task(worker.reconciler.reconcile_once())
                await asyncio.sleep(0)
                await conn.rollback()
                assert await claim == 1
            await reconcile
            assert len(worker.attempts.running) == 1
            assert (await read(database_url, run.id))["status"] == "running"

    asyncio.run(scenario())


async def _wait_for_a_worker(url: str) -> None:
    """Return once a statement of the worker waits for a lock."""
    waiting = "select 1 from pg_locks join pg_stat_activity using (pid) where not granted and application_name like %s"
    async with asyncio.timeout(10):
        while True:
            async with connect(url) as conn:
                if await (await conn.execute(waiting, ["foxtrot-worker%"])).fetchone():
                    return


def test_a_finish_in_flight_is_no_orphan(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            await add_run(database_url, HOLD.name)
            await worker.claimer.claim_once()
            (attempt,) = worker.attempts.running.values()
            async with connect(database_url) as conn:
                await conn.execute("lock table foxtrot.queue in access exclusive mode")
                reconcile = asyncio.create_task(worker.reconciler.reconcile_once())
                await _wait_for_a_worker(database_url)
                # It ends while the comparison waits, and its row is gone before the comparison reads.
                attempt.task.cancel()
                await worker.attempts.wait(10)
                await conn.execute("delete from foxtrot.queue")
            with capture_logs() as logs:
                await reconcile
            assert "attempt_dropped" not in [entry["event"] for entry in logs]
            assert worker.flusher.pending

    asyncio.run(scenario())


def test_a_cancel_arrives_at_once_by_its_wake_up(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            run = await add_run(database_url, HOLD.name)
            await worker.claimer.claim_once()
            (attempt,) = worker.attempts.running.values()
            await _cancel(database_url, run)
            told = []
            for payload in ("no id", str(uuid4()), str(run.id)):
                worker.heed(Channel.CANCEL, payload)
                told.append(attempt.run.cancelled)
            assert told == [False, False, True]
            await worker.attempts.wait(10)
            await worker.flusher.flush_once()
            assert (await read(database_url, run.id))["status"] == "cancelled"

    asyncio.run(scenario())


def test_a_wake_up_that_was_wrong_gives_the_run_back(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, IGNORE_ONCE) as worker:
            run = await add_run(database_url, IGNORE_ONCE.name)
            await worker.claimer.claim_once()
            await until(lambda: worker.flusher.said)
            worker.heed(Channel.CANCEL, str(run.id))
            await worker.reconciler.reconcile_once()
            assert len(worker.attempts.running) == 1
            assert (await read(database_url, run.id))["status"] == "pending"

    asyncio.run(scenario())


async def _cancel(url: str, run: RunRow) -> None:
    async with connect(url) as conn:
        assert await cancel(conn, run.id, run.user_id, retention=HOLD.retention.cancelled, max_attempts=3)


def test_a_worker_whose_lease_expired_drops_everything_and_starts_anew(clock: Clock) -> None:
    async def scenario() -> None:
        held, ended = await add_run(clock.url, HOLD.name), await add_run(clock.url, ECHO.name)
        async with working(clock.url, HOLD, ECHO) as worker:
            await worker.claimer.claim_once()
            await until(lambda: worker.flusher.pending)
            before = worker.me.id
            clock.advance(LEASE)
            assert await worker.claimer.claim_once() == 0
            await worker.reconciler.start_anew(before, ["hold", "echo"], 10)
            assert worker.me.id != before
            await worker.attempts.wait(10)
            assert worker.flusher.refused == 1
            for run in (held, ended):
                found = await read(clock.url, run.id)
                assert (found["status"], found["attempt"], found["max_attempts"]) == ("pending", 1, 4)
            assert (await row(clock.url, "select id from foxtrot.workers")) == {"id": worker.me.id}
            assert await worker.claimer.claim_once() == 2

    asyncio.run(scenario())


def test_old_news_of_a_lost_lease_changes_nothing(database_url: str) -> None:
    async def scenario() -> None:
        await add_run(database_url, HOLD.name)
        async with working(database_url, HOLD) as worker:
            await worker.claimer.claim_once()
            before = worker.me.id
            await worker.reconciler.start_anew(uuid4(), ["hold"], 10)
            assert worker.me.id == before
            assert [attempt.run.cancelled for attempt in worker.attempts.running.values()] == [False]

    asyncio.run(scenario())
