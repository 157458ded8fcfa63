import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.models import RunRow
from shared.queue import cancel
from shared.settings import LEASE
from tests.clock import Clock
from tests.support import connect
from tests.worker.handlers import ECHO, HOLD, define
from tests.worker.support import add_run, becomes, becomes_true, read, row, working

WORKER = """
import asyncio, sys
from shared.kinds import Registry
from shared.settings import Settings
from tests.worker.handlers import define
from worker.service import run_worker

url, grace, *handlers = sys.argv[1:]
settings = Settings(_env_file=None, worker_grace_seconds=float(grace))
registry = Registry([define(handler) for handler in handlers])
sys.exit(asyncio.run(run_worker(settings, url, registry, handle_signals=True)))
"""
STUCK = define("ignore_always")


@contextmanager
def process(url: str, *handlers: str, grace: float = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, killed at the end if it still runs."""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", WORKER, url, str(grace), *handlers], cwd=root) as worker:
        try:
            yield worker
        finally:
            worker.kill()


async def has_begun(url: str, run: RunRow) -> None:
    await becomes_true(url, "select step = 'holding' from foxtrot.queue where run_id = %s", run.id)


def test_a_worker_told_to_stop_gives_back_its_work_and_exits_with_0(database_url: str) -> None:
    async def scenario() -> None:
        done, held = await add_run(database_url, ECHO.name), await add_run(database_url, HOLD.name)
        with process(database_url, "echo", "hold") as worker:
            await becomes(database_url, done, "success")
            await has_begun(database_url, held)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        assert (await read(database_url, held.id))["status"] == "pending"
        assert await row(database_url, "select count(*) from foxtrot.workers") == {"count": 0}
        async with working(database_url, HOLD) as another:
            assert await another.claimer.claim_once() == 1

    asyncio.run(scenario())


def test_the_runs_of_a_killed_worker_start_again_elsewhere(clock: Clock) -> None:
    async def scenario() -> None:
        run = await add_run(clock.url, HOLD.name)
        with process(clock.url, "hold") as worker:
            await has_begun(clock.url, run)
            worker.kill()
            worker.wait(20)
        async with working(clock.url, HOLD) as another:
            clock.advance(LEASE)
            await another.rescue_once()
        found = await read(clock.url, run.id)
        assert (found["status"], found["attempt"], found["max_attempts"]) == ("pending", 1, 4)
        async with working(clock.url, HOLD) as another:
            assert await another.claimer.claim_once() == 1

    asyncio.run(scenario())


def test_the_same_signal_once_more_ends_the_worker_at_once(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, HOLD.name)
        with process(database_url, "hold", grace=600) as worker:
            await has_begun(database_url, run)
            worker.send_signal(signal.SIGTERM)
            await becomes_true(database_url, "select stopping from foxtrot.workers")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 128 + signal.SIGTERM

    asyncio.run(scenario())


def test_one_signal_of_each_sort_is_one_wish(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, HOLD.name)
        with process(database_url, "hold", grace=600) as worker:
            await has_begun(database_url, run)
            worker.send_signal(signal.SIGINT)
            await becomes_true(database_url, "select stopping from foxtrot.workers")
            worker.send_signal(signal.SIGTERM)
            async with connect(database_url) as conn:
                await cancel(conn, run.id, run.user_id, retention=HOLD.retention.cancelled, max_attempts=3)
            assert worker.wait(20) == 0

    asyncio.run(scenario())


def test_a_handler_that_never_ends_does_not_keep_its_process(database_url: str) -> None:
    async def scenario() -> None:
        run = await add_run(database_url, STUCK.name)
        with process(database_url, "ignore_always") as worker:
            await has_begun(database_url, run)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        assert (await read(database_url, run.id))["status"] == "pending"

    asyncio.run(scenario())
