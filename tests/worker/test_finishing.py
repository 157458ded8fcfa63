import asyncio
from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from shared.kinds import Progress, Status
from shared.models import RunRow
from shared.queue import FailedAttempt, Outcome, Said, Snoozed
from tests.worker.handlers import HOLD
from tests.worker.support import add_run, execute, going, read, until, working
from worker.worker import Worker

DAY = timedelta(days=1)


async def claimed(worker: Worker, url: str, count: int = 1) -> list[RunRow]:
    """Runs in the worker's hands, their handlers gone so that the test can say how they end."""
    runs = [await add_run(url, HOLD.name) for _ in range(count)]
    assert await worker.claimer.claim_once() == count
    worker.attempts.drop_all()
    await worker.attempts.wait(10)
    worker.flusher.said.clear()
    return runs


def success(run: RunRow, **values: Any) -> Outcome:
    return Outcome(run.id, run.bucket, 1, Status.SUCCESS, DAY, **{"headline": "done", "result": "{}"} | values)


def said(run: RunRow, attempt: int = 1, **values: Any) -> Said:
    return Said(run.id, run.bucket, attempt, Progress(**values))


def test_outcomes_of_all_sorts_are_written_together(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            one, two, three = await claimed(worker, database_url, 3)
            worker.flusher.add(success(one))
            worker.flusher.add(FailedAttempt(two.id, two.bucket, 1, DAY, {"class": "E", "message": "m", "hint": None}))
            until = (await read(database_url, three.id))["created_at"] + DAY
            worker.flusher.add(Snoozed(three.id, three.bucket, 1, until, "why"))
            await worker.flusher.flush_once()
            found = [await read(database_url, run.id) for run in (one, two, three)]
            assert [run["status"] for run in found] == ["success", "pending", "pending"]
            assert [run["waiting"] for run in found] == [None, "retry", "snooze"]
            assert (worker.flusher.pending, worker.flusher.refused) == ({}, 0)

    asyncio.run(scenario())


def test_what_the_fence_refuses_is_counted_and_logged_once(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            lost, kept = await claimed(worker, database_url, 2)
            await execute(database_url, "update foxtrot.queue set attempt = 2 where run_id = %s", lost.id)
            with capture_logs() as logs:
                worker.flusher.add(success(lost))
                worker.flusher.add(success(kept))
                await worker.flusher.flush_once()
                await worker.flusher.flush_once()
            refused = [entry for entry in logs if entry["event"] == "outcome_refused"]
            assert [entry["run_id"] for entry in refused] == [str(lost.id)]
            assert worker.flusher.refused == 1
            assert (await read(database_url, lost.id))["status"] == "running"
            assert (await read(database_url, kept.id))["status"] == "success"

    asyncio.run(scenario())


def test_an_outcome_whose_answer_was_lost_is_written_once_more_without_harm(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            for _ in range(2):
                worker.flusher.add(success(run))
                await worker.flusher.flush_once()
            assert worker.flusher.refused == 0

    asyncio.run(scenario())


def test_an_outcome_that_postgres_refuses_fails_its_run_and_no_other(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            runs = await claimed(worker, database_url, 3)
            worker.flusher.add(success(runs[0]))
            worker.flusher.add(success(runs[1], result='{"text": "a\\u0000"}'))
            worker.flusher.add(success(runs[2], headline="\ud800"))
            with capture_logs() as logs:
                await worker.flusher.flush_once()
            found = [await read(database_url, run.id) for run in runs]
            assert [run["status"] for run in found] == ["success", "failed", "failed"]
            assert found[1]["error"]["message"] == "The database refused to store what this attempt came to"
            assert [entry["event"] for entry in logs] == ["outcome_poisoned", "outcome_poisoned"]

    asyncio.run(scenario())


def test_outcomes_outlast_a_postgres_that_drops_its_connections(database_url: str) -> None:
    drop = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'foxtrot-worker'"

    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            worker.flusher.add(success(run))
            with capture_logs() as logs:
                await execute(database_url, drop)
                await worker.flusher.flush_stubbornly()
            assert "flush_failed" in [entry["event"] for entry in logs]
            assert (await read(database_url, run.id))["status"] == "success"
            assert worker.flusher.pending == {}

    asyncio.run(scenario())


def test_outcomes_are_kept_while_postgres_takes_none(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker, going(worker.flusher.run()):
            (run,) = await claimed(worker, database_url)
            await execute(database_url, "alter table foxtrot.runs rename to hidden")
            with capture_logs() as logs:
                worker.flusher.add(success(run))
                await until(lambda: "flush_failed" in [entry["event"] for entry in logs])
            assert len(worker.flusher.pending) == 1
            await execute(database_url, "alter table foxtrot.hidden rename to runs")
            await until(lambda: not worker.flusher.pending)
            assert (await read(database_url, run.id))["status"] == "success"

    asyncio.run(scenario())


def test_the_loop_writes_outcomes_and_progress_as_they_come(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker, going(worker.flusher.run()):
            one, two = await claimed(worker, database_url, 2)
            worker.flusher.add(success(one))
            worker.flusher.say(said(two, percent=7))
            await until(lambda: not worker.flusher.pending and not worker.flusher.said)
            assert (await read(database_url, one.id))["status"] == "success"
            assert (await read(database_url, two.id))["percent"] == 7

    asyncio.run(scenario())


def test_the_latest_word_of_progress_wins_field_by_field(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            worker.flusher.say(said(run, percent=1, step="ask", detail="a"))
            worker.flusher.say(said(run, percent=2, done=3))
            await worker.flusher.flush_progress_once()
            found = await read(database_url, run.id)
            assert [found[name] for name in ("percent", "step", "detail", "done", "total")] == [2, "ask", "a", 3, None]
            assert worker.flusher.said == {}

    asyncio.run(scenario())


def test_no_progress_is_too_odd_to_be_written(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            worker.flusher.say(said(run, step="a\x00\ud800", detail="x" * 1000, done=10**12, total=-(10**12)))
            await worker.flusher.flush_progress_once()
            found = await read(database_url, run.id)
            assert (found["step"], len(found["detail"])) == ("a\ufffd?", 500)
            assert (found["done"], found["total"]) == (2**31 - 1, 1 - 2**31)

    asyncio.run(scenario())


def test_progress_of_an_attempt_that_was_lost_is_forgotten(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            worker.flusher.say(said(run, attempt=7, percent=1))
            await worker.flusher.flush_progress_once()
            assert worker.flusher.said == {}
            assert (await read(database_url, run.id))["percent"] is None

    asyncio.run(scenario())


def test_progress_that_a_success_overtook_is_not_written(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            worker.flusher.say(said(run, percent=1))
            worker.flusher.add(success(run))
            assert worker.flusher.said == {}

    asyncio.run(scenario())


def test_outcomes_of_a_lost_lease_are_discarded_and_counted(database_url: str) -> None:
    async def scenario() -> None:
        async with working(database_url, HOLD) as worker:
            (run,) = await claimed(worker, database_url)
            worker.flusher.add(success(run))
            worker.flusher.discard()
            assert (worker.flusher.pending, worker.flusher.refused) == ({}, 1)

    asyncio.run(scenario())
