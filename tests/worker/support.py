"""A worker to test with, and runs for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from shared.kinds import Kind, Registry
from shared.models import RunRow
from shared.settings import Settings
from tests.support import connect, make_run, make_user
from worker.tasks import end_tasks
from worker.worker import Worker, open_worker

SETTINGS = Settings(_env_file=None, worker_grace_seconds=0)


@asynccontextmanager
async def working(url: str, *kinds: Kind[Any, Any], slots: int = 10, **settings: Any) -> AsyncIterator[Worker]:
    """A registered worker whose loops don't run; at the end it drops what it still has in hand.

    No callback of its loop may fail meanwhile: asyncio itself would only print that.
    """
    chosen, faults = SETTINGS.model_copy(update=settings), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with open_worker(chosen, url, Registry(kinds), slots=slots) as worker:
        yield worker
        worker.attempts.drop_all()
        for attempt in [*worker.attempts.running.values(), *worker.attempts.abandoned]:
            attempt.task.cancel()
        await worker.attempts.wait(10)
    assert faults == []


@asynccontextmanager
async def going(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run loops meanwhile."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        await end_tasks(tasks)


async def add_run(url: str, kind: str, status: str = "pending", **values: Any) -> RunRow:
    """A run of a new user."""
    async with connect(url) as conn:
        return await make_run(conn, await make_user(conn), status, kind=kind, **values)


async def read(url: str, run: UUID) -> dict[str, Any]:
    """The run as every reader sees it."""
    return await row(url, "select * from foxtrot.run_status where id = %s", run)


async def row(url: str, query: str, *values: Any) -> dict[str, Any]:
    """The first row of a query."""
    async with connect(url) as conn:
        cursor = await conn.execute(query.encode(), values)
        assert cursor.description
        return dict(zip([column.name for column in cursor.description], await cursor.fetchone() or (), strict=True))


async def execute(url: str, query: str, *values: Any) -> None:
    """One statement, committed."""
    async with connect(url) as conn:
        await conn.execute(query.encode(), values)


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition` holds; TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)


async def becomes(url: str, run: RunRow, status: str) -> None:
    """Return once the run has that status."""
    await becomes_true(url, "select status = %s from foxtrot.run_status where id = %s", status, run.id)


async def becomes_true(url: str, query: str, *values: Any) -> None:
    """Return once the first column of the first row is true; TimeoutError after 20 s."""
    async with asyncio.timeout(20), connect(url) as conn:
        await conn.set_autocommit(True)
        while (await (await conn.execute(query.encode(), values)).fetchone() or [False])[0] is not True:
            pass
