"""What other schedulers make of many due schedules: run by `scheduling.py` with the Python of a venv that has them.

`python scheduling_peers.py PEER URL N` prints JSON. Each peer does as much as it can express, and whatever it would do
once at its start is done before its time begins.
"""

import asyncio
import importlib
import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

# Not imported as usual: they are in no environment of ours.
load = importlib.import_module


def apscheduler(url: str, n: int) -> dict[str, Any]:
    """A job each, due at one instant, from its own store on Postgres; the job itself does nothing."""
    background = load("apscheduler.schedulers.background").BackgroundScheduler
    store = load("apscheduler.jobstores.sqlalchemy").SQLAlchemyJobStore
    events = load("apscheduler.events")
    pool = load("apscheduler.executors.pool").ThreadPoolExecutor
    scheduler = background(
        timezone=UTC,
        jobstores={"default": store(url=url.replace("postgresql://", "postgresql+psycopg://"))},
        executors={"default": pool(10)},
        job_defaults={"misfire_grace_time": None},
    )
    submitted, done = 0, threading.Event()

    def count(_: object) -> None:
        nonlocal submitted
        submitted += 1
        if submitted == n:
            done.set()

    scheduler.add_listener(count, events.EVENT_JOB_SUBMITTED)
    scheduler.start(paused=True)
    due = datetime.now(UTC) - timedelta(seconds=1)
    for number in range(n):
        scheduler.add_job("operator:abs", "interval", days=1, next_run_time=due, args=[number], id=f"user-{number}")
    begun = time.perf_counter()
    scheduler.resume()
    assert done.wait(600)
    seconds = time.perf_counter() - begun
    scheduler.shutdown(wait=False)
    return {"version": load("apscheduler").version, "due": n, "seconds": seconds, "per_second": n / seconds}


def procrastinate(url: str, n: int) -> dict[str, Any]:
    """A periodic task each, registered in code: it has no schedules that users add, so this stands in for them."""
    module = load("procrastinate")
    app = module.App(connector=module.PsycopgConnector(conninfo=url))

    @app.task(name="refresh")  # type: ignore[untyped-decorator,unused-ignore]
    async def refresh(timestamp: int) -> None:
        pass

    registry = load("procrastinate.periodic").PeriodicRegistry()
    for number in range(n):
        registry.register_task(refresh, "* * * * *", f"user-{number}", {})
    deferrer = load("procrastinate.periodic").PeriodicDeferrer(registry)

    async def defer() -> float:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            begun = time.perf_counter()
            await deferrer.defer_jobs(deferrer.get_previous_tasks(time.time()))
            return time.perf_counter() - begun

    seconds = asyncio.run(defer())
    return {"version": module.__version__, "due": n, "seconds": seconds, "per_second": n / seconds} | IN_CODE


def pgqueuer(url: str, n: int) -> dict[str, Any]:
    """An entrypoint each, registered in code, that enqueues a job: it has no schedules that users add either."""
    psycopg = load("psycopg")
    queries_of, manager_of = load("pgqueuer.queries").Queries, load("pgqueuer.sm").SchedulerManager
    driver_of = load("pgqueuer.db").PsycopgDriver

    async def run() -> float:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
            queries = queries_of(driver_of(conn))
            await queries.install()
            manager, done, ran = manager_of(queries), asyncio.Event(), 0

            async def refresh(_: object) -> None:
                nonlocal ran
                await queries.enqueue("refresh", b"{}")
                ran += 1
                if ran == n:
                    done.set()

            for number in range(n):
                manager.schedule(f"user-{number}", "0 0 1 1 *", accepts_context=False)(refresh)
            await queries.insert_schedule({key: timedelta(seconds=-1) for key in manager.registry})
            begun = time.perf_counter()
            running = asyncio.create_task(manager.run())
            async with asyncio.timeout(600):
                await done.wait()
            seconds = time.perf_counter() - begun
            manager.shutdown.set()
            await asyncio.wait([running], timeout=30)
            return seconds

    seconds = asyncio.run(run())
    version = load("importlib.metadata").version("pgqueuer")
    return {"version": version, "due": n, "seconds": seconds, "per_second": n / seconds} | IN_CODE


IN_CODE = {"per_user_schedules": "not expressible: schedules are registered in code, one for each user stands in"}
PEERS = {"apscheduler": apscheduler, "procrastinate": procrastinate, "pgqueuer": pgqueuer}

if __name__ == "__main__":
    print(json.dumps(PEERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
