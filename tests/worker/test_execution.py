import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.kinds import Kind
from tests.worker.handlers import ECHO, HOLD, IGNORE_ONCE, MADE, define
from tests.worker.support import add_run, execute, read, row, until, working
from worker.execution import MOST_ABANDONED, Attempt, Ending
from worker.worker import Worker


def once(url: str, kind: Kind[Any, Any], parameters: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """What a run is like after one attempt."""

    async def scenario() -> dict[str, Any]:
        run = await add_run(url, kind.name, parameters=parameters or {}, **values)
        async with working(url, kind) as worker:
            assert await worker.work_once() == 1
        return await read(url, run.id)

    return asyncio.run(scenario())


async def held(worker: Worker) -> Attempt:
    """The attempt of a handler that has begun and said so."""
    await worker.claimer.claim_once()
    await until(lambda: worker.flusher.said)
    return next(iter(worker.attempts.running.values()))


def test_a_handler_returns_its_result(database_url: str) -> None:
    run = once(database_url, ECHO, {"text": "found 3", "number": 3})
    assert (run["status"], run["attempt"], run["percent"]) == ("success", 1, 100)
    assert (run["result"], run["headline"], run["errors"]) == ({"text": "found 3", "number": 3}, "found 3", [])
    assert run["expires_at"] - run["finished_at"] == ECHO.retention.success


def test_a_headline_is_cut_to_what_lists_show(database_url: str) -> None:
    assert once(database_url, ECHO, {"text": "long " * 40})["headline"] == "long " * 24


def test_a_sync_handler_runs_in_a_thread_and_may_say_how_far_it_is(database_url: str) -> None:
    run = once(database_url, define("echo_in_thread"))
    assert run["status"] == "success"
    assert run["result"]["text"] != "MainThread"


def test_a_handler_error_fails_the_run_with_its_words(database_url: str) -> None:
    run = once(database_url, define("fail"), {"text": "no such board"})
    assert (run["status"], run["headline"]) == ("failed", "no such board")
    assert run["error"] | {"class": "HandlerError", "message": "no such board", "hint": "Do otherwise."} == run["error"]


def test_a_failure_that_may_pass_is_tried_again_until_no_attempt_is_left(database_url: str) -> None:
    kind = define("fail_for_now")

    async def scenario() -> None:
        run = await add_run(database_url, kind.name, parameters={"text": "busy"}, max_attempts=2)
        async with working(database_url, kind) as worker:
            await worker.work_once()
            first = await read(database_url, run.id)
            await execute(database_url, "update foxtrot.queue set available_at = now()")
            await worker.work_once()
        last = await read(database_url, run.id)
        assert (first["status"], first["waiting"], first["attempt"]) == ("pending", "retry", 1)
        assert (last["status"], last["attempt"]) == ("failed", 2)
        assert [(error["attempt"], error["message"], error["step"], error["percent"]) for error in last["errors"]] == [
            (1, "busy", "asking", 40),
            (2, "busy", "asking", 40),
        ]

    asyncio.run(scenario())


def test_a_wait_that_the_other_side_asked_for_is_kept_exactly(database_url: str) -> None:
    run = once(database_url, define("fail_for_now"), {"number": 120})
    assert run["waiting"] == "quota"
    assert run["available_at"] - run["updated_at"] == timedelta(seconds=120)


def test_a_snoozed_run_comes_back_at_its_time_with_no_attempt_lost(database_url: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=23)
    run = once(database_url, define("put_off"), {"text": "the report isn't out", "until": until.isoformat()})
    assert (run["status"], run["waiting"], run["detail"]) == ("pending", "snooze", "the report isn't out")
    assert (run["available_at"], run["attempt"], run["max_attempts"]) == (until, 1, 4)


def test_a_run_is_not_put_off_for_more_than_a_day_after_it_first_started(database_url: str) -> None:
    now = datetime.now(UTC)
    wanted = {"text": "not yet", "until": (now + timedelta(hours=2)).isoformat()}
    run = once(database_url, define("put_off"), wanted, started_at=now - timedelta(hours=23))
    assert run["status"] == "failed"
    assert "more than 24 hours after it first started: not yet" in run["error"]["message"]


def test_a_bug_fails_the_run_without_a_second_try_and_without_its_text(database_url: str) -> None:
    with capture_logs() as logs:
        run = once(database_url, define("break_down"), {"text": "secret"})
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert run["error"]["message"] == "The handler of 'break_down' broke with KeyError"
    assert "secret" not in str(run["errors"])
    (entry,) = [entry for entry in logs if entry["event"] == "attempt_failed"]
    assert isinstance(entry["exc_info"], KeyError)
    assert entry["run_id"] == str(run["id"])


@pytest.mark.parametrize("handler", ["quit_process", "cancel_itself"])
def test_nothing_that_a_handler_lets_out_ends_the_worker(database_url: str, handler: str) -> None:
    assert once(database_url, define(handler))["status"] == "failed"


def test_parameters_that_the_kind_does_not_take_fail_the_run(database_url: str) -> None:
    run = once(database_url, ECHO, {"number": "many"})
    assert run["status"] == "failed"
    assert "parameters.number" in run["error"]["message"]


def test_a_result_that_is_not_the_kinds_fails_the_run(database_url: str) -> None:
    run = once(database_url, define("answer_wrongly"), {"text": "x"})
    assert run["status"] == "failed"
    assert "returned a wrong result: Output.text" in run["error"]["message"]


def test_a_handler_that_takes_too_long_is_stopped_and_tried_again(database_url: str) -> None:
    run = once(database_url, define("hold", timeout=timedelta(milliseconds=20)))
    assert (run["status"], run["waiting"]) == ("pending", "retry")
    assert run["error"] | {"class": "TimeoutError", "message": "Not done within 0.02 s"} == run["error"]


def test_a_thread_that_ends_after_its_time_has_its_result_kept(database_url: str) -> None:
    run = once(database_url, define("hold_thread", timeout=timedelta(milliseconds=20)))
    assert (run["status"], run["result"]["text"]) == ("success", "in time")


def test_a_dropped_attempt_is_told_so_and_leaves_no_outcome(database_url: str) -> None:
    async def scenario() -> None:
        await add_run(database_url, HOLD.name)
        async with working(database_url, HOLD) as worker:
            attempt = await held(worker)
            worker.attempts.drop_run(attempt.claimed.run_id)
            await worker.attempts.wait(10)
            assert attempt.run.cancelled
            assert not worker.flusher.pending

    asyncio.run(scenario())


def test_what_a_dropped_attempt_returns_even_so_is_ignored(database_url: str) -> None:
    kind = define("hold_thread")

    async def scenario() -> None:
        await add_run(database_url, kind.name)
        async with working(database_url, kind) as worker:
            worker.attempts.drop_run((await held(worker)).claimed.run_id)
            await worker.attempts.wait(10)
            assert not worker.flusher.pending

    asyncio.run(scenario())


def test_an_attempt_dropped_before_its_handler_began_frees_its_slot(database_url: str) -> None:
    async def scenario() -> None:
        await add_run(database_url, HOLD.name)
        async with working(database_url, HOLD) as worker:
            await worker.claimer.claim_once()
            worker.attempts.drop_all()
            await worker.attempts.wait(10)
            assert not worker.attempts.running
            assert not worker.flusher.pending

    asyncio.run(scenario())


def test_a_timed_out_handler_that_goes_on_is_abandoned_and_its_run_tried_again(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, IGNORE_ONCE.name)
        async with working(database_url, IGNORE_ONCE) as worker:
            attempt = await held(worker)
            worker.attempts.stop(attempt, Ending.TIMED_OUT)
            worker.attempts.abandon(attempt)
            assert not worker.attempts.running
            assert worker.attempts.abandoned == {attempt}
            await worker.flusher.flush_once()
            assert (await read(database_url, run.id))["error"]["class"] == "TimeoutError"
            attempt.task.cancel()
            await asyncio.wait([attempt.task])
            await until(lambda: not worker.attempts.abandoned)
            assert not worker.flusher.pending

    asyncio.run(scenario())


def test_dropping_wins_over_a_timeout(database_url: str) -> None:
    async def scenario() -> None:
        await add_run(database_url, IGNORE_ONCE.name)
        async with working(database_url, IGNORE_ONCE) as worker:
            attempt = await held(worker)
            worker.attempts.stop(attempt, Ending.TIMED_OUT)
            worker.attempts.stop(attempt, Ending.DROPPED)
            worker.attempts.abandon(attempt)
            assert not worker.flusher.pending

    asyncio.run(scenario())


def test_a_worker_with_ten_abandoned_handlers_gives_up(database_url: str) -> None:
    async def scenario() -> None:
        for _ in range(MOST_ABANDONED):
            await add_run(database_url, IGNORE_ONCE.name)
        async with working(database_url, IGNORE_ONCE) as worker:
            await worker.claimer.claim_once()
            await until(lambda: len(worker.flusher.said) == MOST_ABANDONED)
            worker.attempts.drop_all()
            *most, last = worker.attempts.running.values()
            for attempt in most:
                worker.attempts.abandon(attempt)
            assert not worker.stop.is_set()
            worker.attempts.abandon(last)
            assert worker.stop.is_set()
            assert worker.exit_code == 1

    asyncio.run(scenario())


def test_a_handler_writes_in_one_transaction_of_its_own(database_url: str) -> None:
    assert once(database_url, define("write_row"), {"text": "kept"})["status"] == "success"
    assert asyncio.run(row(database_url, "select * from public.written")) == {"text": "kept"}


def test_a_step_is_made_once_for_all_attempts(database_url: str) -> None:
    kind = define("step_then_fail")

    async def scenario() -> None:
        run = await add_run(database_url, kind.name)
        async with working(database_url, kind) as worker:
            await worker.work_once()
            await worker.work_once()
        last = await read(database_url, run.id)
        assert (last["status"], last["attempt"], last["result"]["number"]) == ("success", 2, 1)
        assert MADE.count(run.id) == 1

    asyncio.run(scenario())


def test_a_step_outlives_its_connection(database_url: str) -> None:
    kind = define("step_and_cut")

    async def scenario() -> None:
        run = await add_run(database_url, kind.name)
        async with working(database_url, kind) as worker:
            await worker.claimer.claim_once()
            await worker.attempts.wait()
            await worker.flusher.flush_stubbornly()
        last = await read(database_url, run.id)
        assert (last["status"], last["attempt"], last["result"]["number"]) == ("success", 1, 7)
        assert MADE.count(run.id) == 1

    asyncio.run(scenario())


def test_a_step_of_a_lost_attempt_ends_it(database_url: str) -> None:
    with capture_logs() as logs:
        run = once(database_url, define("lose_step"))
    assert (run["status"], run["result"], run["errors"]) == ("pending", None, [])
    assert [(entry["event"], entry.get("error")) for entry in logs] == [
        ("attempt_failed", "CancelledError"),
        ("outcome_refused", None),
    ]
