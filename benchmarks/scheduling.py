"""Scheduling: a million schedules due at once, a herd on time, manual runs meanwhile, and nothing to do at all.

`python -m benchmarks.scheduling` prints JSON; `--quick` takes a minute or two and says less. Each expansion is measured
beside the two bare inserts of the same rows, again and again in turn. `--peers PYTHON` names the Python of a venv with
benchmarks/requirements-peers.txt, and runs other schedulers in the same run. It starts all that it needs on this
machine, in a temporary folder, and leaves nothing behind.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID

import psutil
import psycopg
from psycopg import AsyncConnection

import migrations
from benchmarks.figures import cpu_seconds, describe_machine, peak_mb, percentiles, read, rounded
from benchmarks.many_schedules import ManySchedules
from benchmarks.processes import ROOT, migrated, services
from cli.postgres import EmbeddedPostgres
from kinds.job_search.kind import JOB_SEARCH
from scheduler.service import PassCounts, pass_once
from shared.clock import utc_now
from shared.db import connect_arguments, open_pool
from shared.kinds import Registry
from shared.queue import NewRun, claim, enqueue
from shared.settings import Settings
from shared.wake import Channel, Waker
from tests import clock as clocks
from tests.support import database, wait_until

CHUNK = Settings.model_fields["expand_chunk"].default
MINUTE = timedelta(minutes=1)
BEFORE = timedelta(seconds=1.3)  # how long before its slot a herd is looked at
CONNECTED = """
select count(*) from pg_stat_activity where datname = current_database() and application_name = 'foxtrot-scheduler'
"""
OLDEST = """
select coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0)::float8 from pg_stat_activity
where datname = current_database() and application_name = 'foxtrot-scheduler' and state <> 'idle'
"""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what it started, as Ctrl-C does
    options = _options()
    figures: dict[str, Any] = {"at": utc_now().isoformat(timespec="seconds"), "options": vars(options)}
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-benchmark-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder)) as postgres,
    ):
        figures["machine"] = describe_machine(postgres.url) | {"load_before": load}
        parts = {
            "expansion": measure_expansion,
            "on_time": measure_on_time,
            "idle": measure_idle,
            "manual_meanwhile": measure_manual,
            "peers": measure_peers,
        }
        for name in options.only or parts:
            print(f"{name} …", file=sys.stderr)
            figures[name] = parts[name](postgres.url, options)
    figures["machine"]["load_after"] = os.getloadavg()[0]
    print(json.dumps(rounded(figures), indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quick = "--quick" in sys.argv
    parser.add_argument("--quick", action="store_true", help="smaller defaults for everything")
    parser.add_argument("--only", nargs="+", help="some of expansion, on_time, idle, manual_meanwhile, peers")
    parser.add_argument("--schedules", type=int, default=100_000 if quick else 1_000_000)
    parser.add_argument("--timetables", type=int, nargs="+", default=[1, 200] if quick else [1, 2_000])
    parser.add_argument("--rounds", type=int, default=2 if quick else 3, help="of each expansion")
    parser.add_argument("--herd", type=int, default=20_000 if quick else 100_000, help="users due at one instant")
    parser.add_argument("--slots", type=int, default=3 if quick else 10, help="of the herd")
    parser.add_argument(
        "--idle", type=int, nargs="+", default=[1_000, 100_000] if quick else [1_000, 100_000, 1_000_000]
    )
    parser.add_argument("--idle-seconds", type=float, default=10 if quick else 30)
    parser.add_argument("--peers", help="the Python of a venv with benchmarks/requirements-peers.txt")
    parser.add_argument("--due", type=int, default=2_000 if quick else 10_000, help="jobs of each peer")
    return parser.parse_args()


# Expansion ------------------------------------------------------------------------------------------------------------


def measure_expansion(server: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """For each number of timetables: the bare inserts, one scheduler process, two of them, in turn."""
    return [_expansion(server, options, timetables) for timetables in options.timetables]


def _expansion(server: str, options: argparse.Namespace, timetables: int) -> dict[str, Any]:
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        many = ManySchedules(conn, options.schedules, timetables)
        rounds = [_expansion_round(many, url) for _ in range(options.rounds)]
    rates = {name: statistics.median(each[name]["per_second"] for each in rounds) for name in rounds[0]}
    ratios = [each["one_process"]["per_second"] / each["bare_inserts"]["per_second"] for each in rounds]
    return {
        "schedules": options.schedules,
        "timetables": timetables,
        "median_per_second": rates,
        "one_process_over_bare_inserts": statistics.median(ratios),
        "one_process_over_inserts_of_ready_rows": rates["one_process"] / rates["inserts_of_ready_rows"],
        "two_processes_over_one": rates["two_processes"] / rates["one_process"],
        "longest_transaction_seconds": max(
            each[name]["longest_transaction_seconds"] for each in rounds for name in OURS
        ),
        "peak_mb": max(each[name]["peak_mb"] for each in rounds for name in OURS),
        "rounds": rounds,
    }


OURS = ("one_process", "two_processes")


def _expansion_round(many: ManySchedules, url: str) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    for name, insert in (("bare_inserts", many.insert_bare), ("inserts_of_ready_rows", many.insert_ready)):
        many.clear()
        figures[name] = {"per_second": many.schedules / insert(CHUNK)}
    for processes, name in enumerate(OURS, start=1):
        many.clear()
        figures[name] = _expand(many, url, processes)
    print({name: round(each["per_second"]) for name, each in figures.items()}, file=sys.stderr)
    return figures


def _expand(many: ManySchedules, url: str, processes: int) -> dict[str, Any]:
    """Let that many scheduler processes expand everything; they have started, and look ten times a second."""
    with _schedulers(url, processes, SCHEDULER_INTERVAL_SECONDS="0.1") as started, _watching(url) as watched:
        begun = time.perf_counter()
        many.make_due()
        many.wait_until_expanded()
        seconds = time.perf_counter() - begun
        peaks = [peak_mb(process) for process in started]
    assert read(many.conn, "select count(*) from foxtrot.runs") == many.schedules
    return {
        "seconds": seconds,
        "per_second": many.schedules / seconds,
        "peak_mb": max(peaks),
        "longest_transaction_seconds": max(watched),
    }


@contextmanager
def _watching(url: str) -> Iterator[list[float]]:
    """The ages of the schedulers' open transactions, looked at fifty times a second."""
    seen, stop = [0.0], Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while not stop.wait(0.02):
                seen.append(read(conn, OLDEST))

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


# A herd on time -------------------------------------------------------------------------------------------------------


def measure_on_time(server: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """How long after its slot the last run of a herd is there, with one scheduler as shipped and with two."""
    with database(server) as url:
        clocks.install(url)
        migrations.upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            many = ManySchedules(conn, options.herd, 1)
            return [_on_time(many, clocks.Clock(url), options, processes) for processes in (1, 2)]


def _on_time(many: ManySchedules, clock: clocks.Clock, options: argparse.Namespace, processes: int) -> dict[str, Any]:
    after: list[float] = []
    with _schedulers(clock.url, processes):
        for _ in range(options.slots):
            many.clear()
            slot = read(many.conn, "select date_trunc('minute', now())") + 10 * MINUTE
            many.make_due(slot)
            clock.advance(slot - BEFORE - clock.now())
            wait_until(lambda: clock.now() >= slot, within=60)  # noqa: B023 - waited for here
            many.wait_until_expanded()
            after.append((clock.now() - slot).total_seconds())
    after.sort()
    return {
        "herd": options.herd,
        "processes": processes,
        "last_run_seconds_after_slot": {"p50": statistics.median(after), "p99": after[-1]},
        "of_each_slot": after,
    }


# Nothing to do --------------------------------------------------------------------------------------------------------


def measure_idle(server: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a scheduler process as shipped uses while nothing is due, by the number of schedules."""
    return [_idle(server, schedules, options) for schedules in options.idle]


def _idle(server: str, schedules: int, options: argparse.Namespace) -> dict[str, Any]:
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        timetables = max(options.timetables)
        ManySchedules(conn, schedules, timetables)
        with _schedulers(url, 1) as (process,):
            time.sleep(5)  # it tidies as it starts
            backends = [psutil.Process(pid) for (pid,) in conn.execute(CONNECTED.replace("count(*)", "pid").encode())]
            before = [cpu_seconds([process]), cpu_seconds(backends)]
            time.sleep(options.idle_seconds)
            used = [cpu_seconds([process]) - before[0], cpu_seconds(backends) - before[1]]
            peak = peak_mb(process)
        passes = asyncio.run(_time_passes(url))
    return {
        "schedules": schedules,
        "timetables": timetables,
        "cpu_percent_of_a_core": 100 * used[0] / options.idle_seconds,
        "postgres_cpu_percent_of_a_core": 100 * used[1] / options.idle_seconds,
        "peak_mb": peak,
        "pass_ms": passes,
    }


async def _time_passes(url: str, n: int = 200) -> dict[str, float]:
    async with open_pool(url, "scheduler", size=2) as pool:
        took = []
        for _ in range(n):
            begun = time.perf_counter()
            assert await pass_once(pool, Settings(), Registry([JOB_SEARCH])) == PassCounts()
            took.append(1000 * (time.perf_counter() - begun))
    return percentiles(took)


# Manual runs meanwhile ------------------------------------------------------------------------------------------------


def measure_manual(server: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """How soon a waiting worker holds a manual run after its commit: with nothing else going on, and amid expansion."""
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        many = ManySchedules(conn, options.schedules, max(options.timetables))
        calm = {"meanwhile": "nothing"} | asyncio.run(_manual(url, lambda done: done >= 200))  # noqa: PLR2004
        many.clear()
        with _schedulers(url, 1, SCHEDULER_INTERVAL_SECONDS="0.1"):
            many.make_due()
            wait_until(lambda: read(conn, "select exists (select from foxtrot.runs)"), within=60)
            busy = asyncio.run(_manual(url, lambda _: bool(read(conn, EXPANDED))))
            runs = read(conn, "select count(*) from foxtrot.runs where source = 'cron'")
    return [calm, {"meanwhile": f"{runs} cron runs are expanded"} | busy]


EXPANDED = "select not exists (select from foxtrot.ticks where finished_at is null)"


async def _manual(url: str, over: Any) -> dict[str, Any]:
    """Enqueue a run, wake, and claim it as a worker does whose places for cron are taken; again until `over`."""
    took: dict[str, list[float]] = {"enqueued_ms": [], "claimed_ms": []}
    async with (
        open_pool(url, "api", size=2) as pool,
        await AsyncConnection.connect(url, autocommit=True, **connect_arguments("worker")) as listening,
        await AsyncConnection.connect(url, **connect_arguments("worker-claim", planned_once=True)) as claiming,
    ):
        await listening.execute(f'listen "{Channel.QUEUE}"')
        worker_id = await _register(claiming)
        waker = Waker(pool)
        users = await (await claiming.execute("select id from foxtrot.users limit 5000")).fetchall()
        await claiming.commit()
        while not over(len(took["claimed_ms"])):
            (user_id,) = users[len(took["claimed_ms"]) % len(users)]
            begun = time.perf_counter()
            async with pool.connection() as conn:
                run = NewRun.of(JOB_SEARCH, JOB_SEARCH.parse({"query": str(begun)}), user_id=user_id)
                run_id = (await enqueue(conn, run)).run_id
            committed = time.perf_counter()
            waker.wake(Channel.QUEUE, JOB_SEARCH.name)
            async for _ in listening.notifies():
                claimed = await claim(claiming, worker_id, {JOB_SEARCH.name: 2}, free=2, cron_cap=0)
                await claiming.commit()
                if run_id in {each.run_id for each in claimed}:
                    break
            took["enqueued_ms"].append(1000 * (committed - begun))
            took["claimed_ms"].append(1000 * (time.perf_counter() - committed))
            await asyncio.sleep(0.01)
        await waker.close()
    return {"runs": len(took["claimed_ms"])} | {name: percentiles(each) for name, each in took.items()}


async def _register(conn: AsyncConnection) -> UUID:
    cursor = await conn.execute(
        "insert into foxtrot.workers (host, pid, version, kinds, slots, lease_expires_at)"
        " values ('here', 1, '0', %s, 10, now() + interval '1 day') returning id",
        [[JOB_SEARCH.name]],
    )
    ((worker_id,),) = await cursor.fetchall()
    await conn.commit()
    return UUID(str(worker_id))


# Peers ----------------------------------------------------------------------------------------------------------------


def measure_peers(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """As many due jobs for each: from the moment they are looked at until all are on their way."""
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        many = ManySchedules(conn, options.due, 1 + options.due // 100)
        rates = []
        for _ in range(3):
            many.clear()
            many.make_due()
            rates.append(options.due / asyncio.run(_pass_all(url)))
    figures: dict[str, Any] = {"foxtrot": {"due": options.due, "per_second": statistics.median(rates)}}
    if not options.peers:
        return figures | {"others": "not run: --peers names no Python that has them"}
    for name in ("apscheduler", "procrastinate", "pgqueuer"):
        with database(server) as url:
            command: Sequence[str] = [options.peers, str(ROOT / "benchmarks/scheduling_peers.py"), name, url]
            answered = subprocess.run([*command, str(options.due)], check=True, stdout=subprocess.PIPE, timeout=1200)
        figures[name] = json.loads(answered.stdout)
        figures[name]["foxtrot_over_it"] = figures["foxtrot"]["per_second"] / figures[name]["per_second"]
    return figures


async def _pass_all(url: str) -> float:
    async with open_pool(url, "scheduler", size=2) as pool:
        begun = time.perf_counter()
        while (await pass_once(pool, Settings(), Registry([JOB_SEARCH]))).more:
            pass
        return time.perf_counter() - begun


# Processes ------------------------------------------------------------------------------------------------------------


@contextmanager
def _schedulers(url: str, n: int, **settings: str) -> Iterator[list[psutil.Process]]:
    with services(url, n, ["scheduler"], CONNECTED, **settings) as started:
        time.sleep(2)  # they tidy as they start
        yield started


if __name__ == "__main__":
    main()
