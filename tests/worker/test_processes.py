"""Handlers in processes of their own: what they return, say and raise reaches the worker; their end does not."""

import asyncio
import os
from datetime import timedelta
from typing import Any

import psutil

from shared.kinds import RetryPolicy
from tests.shared.queue.support import async_test
from tests.worker.handlers import define
from tests.worker.support import add_run, read, until, working
from worker.execution import Ending

IN_PROCESS: dict[str, Any] = {"process": True, "retry": RetryPolicy(attempts=1)}


@async_test
async def test_a_handler_in_a_process_returns_its_result(database_url: str) -> None:
    kind = define("where", **IN_PROCESS)
    run = await add_run(database_url, "where", parameters={"text": "sheep"})
    async with working(database_url, kind) as worker:
        await worker.work_once()
    ended = await read(database_url, run.id)
    assert (ended["status"], ended["result"]["text"]) == ("success", str(run.id))
    assert ended["result"]["number"] != os.getpid()


@async_test
async def test_a_handler_that_kills_its_process_fails_and_its_neighbours_do_not(database_url: str) -> None:
    dying = [await add_run(database_url, name, max_attempts=1) for name in ("die", "exit_at_once")]
    others = [await add_run(database_url, "where") for _ in range(6)]
    kinds = [define(name, **IN_PROCESS) for name in ("die", "exit_at_once", "where")]
    async with working(database_url, *kinds) as worker:
        assert await worker.work_once() == 8
    failed = [await read(database_url, run.id) for run in dying]
    assert [run["status"] for run in failed] == ["failed", "failed"]
    assert "died with signal SIGKILL" in failed[0]["error"]["message"]
    assert "died with exit code 7" in failed[1]["error"]["message"]
    assert [(await read(database_url, run.id))["status"] for run in others] == ["success"] * 6


@async_test
async def test_what_it_raises_there_is_told_in_the_same_words_as_here(database_url: str) -> None:
    names = ("ask_for_a_connection", "break_in_process")
    runs = [await add_run(database_url, name) for name in names]
    async with working(database_url, *(define(name, **IN_PROCESS) for name in names)) as worker:
        await worker.work_once()
    asked, broken = [(await read(database_url, run.id))["error"] for run in runs]
    assert (asked["class"], asked["message"]) == ("HandlerError", "run.db() is not there in a process of its own")
    assert (broken["class"], broken["message"]) == ("KeyError", "The handler of 'break_in_process' broke with KeyError")


@async_test
async def test_a_handler_says_how_far_it_is_and_is_killed_when_it_is_told_to_stop(database_url: str) -> None:
    run = await add_run(database_url, "tell_and_spin", max_attempts=1)
    async with working(database_url, define("tell_and_spin", **IN_PROCESS)) as worker:
        await worker.claimer.claim_once()
        await until(lambda: worker.flusher.said)
        (said,) = worker.flusher.said.values()
        child = psutil.Process(said.progress.done)
        (attempt,) = worker.attempts.running.values()
        worker.attempts.stop(attempt, Ending.TIMED_OUT)
        await worker.attempts.wait(10)
        assert not worker.attempts.abandoned
        await asyncio.to_thread(child.wait, 10)
        await worker.flusher.flush_once()
    assert "Not done within" in (await read(database_url, run.id))["error"]["message"]


@async_test
async def test_no_child_outlives_its_worker(database_url: str) -> None:
    await add_run(database_url, "where")
    before = set(psutil.Process().children(recursive=True))
    async with working(database_url, define("where", timeout=timedelta(minutes=1), **IN_PROCESS)) as worker:
        await worker.work_once()
        assert set(psutil.Process().children(recursive=True)) - before
    left = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs(left, timeout=10)
    assert len(alive) <= 1  # what multiprocessing keeps to clean up after a spawn
