"""The worker: a drain beside bare statements and other queues, latency, manual runs under load, many handlers at once.

`python -m benchmarks.worker` prints JSON; `--quick` takes a few minutes and says less. `--peers PYTHON` names that
of a venv with benchmarks/requirements-peers.txt, `--graphile FOLDER` one where `npm install graphile-worker` was run:
they work in the same run, on the same server. It starts all that it needs on this machine, in a temporary folder, and
leaves nothing behind.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import AsyncConnection

from benchmarks.figures import (
    cpu_seconds,
    describe_machine,
    peak_mb,
    percentiles,
    postgres_cpu_seconds,
    read,
    rounded,
)
from benchmarks.processes import ROOT, migrated
from benchmarks.worker_kinds import NOOP, TIMED, Number
from benchmarks.worker_load import (
    BATCH,
    HISTORY,
    SECONDS,
    drain_bare,
    fill,
    settle,
    wait_until_done,
    workers,
)
from cli.postgres import EmbeddedPostgres
from shared.clock import utc_now
from shared.db import connect, connect_arguments
from shared.kinds import Lane, Status
from shared.queue import NewRun, Outcome, Watermark, claim, enqueue, enqueue_many, finish
from shared.wake import wake
from tests.support import database

SLOTS = 1000
POLL = 5.0
ROUND = 2000  # runs that are enqueued together


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what it started, as Ctrl-C does
    options = _options()
    figures: dict[str, Any] = {"at": utc_now().isoformat(timespec="seconds"), "options": vars(options)}
    load = os.getloadavg()[0]
    parts: dict[str, Callable[[str, argparse.Namespace], Any]] = {
        "drain": measure_drain,
        "latency": measure_latency,
        "manual": measure_manual,
        "concurrent": measure_concurrent,
        "enqueue": measure_enqueue,
        "idle": measure_idle,
        "sick": measure_sick,
    }
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-benchmark-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder)) as postgres,
    ):
        figures["machine"] = describe_machine(postgres.url) | {"load_before": load}
        for name in options.only or parts:
            print(f"{name} …", file=sys.stderr)
            figures[name] = parts[name](postgres.url, options)
    figures["machine"]["load_after"] = os.getloadavg()[0]
    print(json.dumps(rounded(figures), indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quick = "--quick" in sys.argv
    parser.add_argument("--quick", action="store_true", help="smaller defaults for everything")
    parser.add_argument("--only", nargs="+", help="some of drain, latency, manual, concurrent, enqueue, idle, sick")
    parser.add_argument("--runs", type=int, default=30_000 if quick else 100_000, help="of a drain")
    parser.add_argument("--rounds", type=int, default=1 if quick else 3, help="of each drain and of the latency")
    parser.add_argument("--pending", type=int, default=100_000 if quick else 1_000_000, help="other runs that are due")
    parser.add_argument("--history", type=int, default=300_000 if quick else 3_000_000, help="finished runs")
    parser.add_argument("--asked", type=int, default=100 if quick else 300, help="runs whose latency is measured")
    parser.add_argument("--handlers", type=int, default=2_000 if quick else 10_000, help="that wait at once")
    parser.add_argument("--seconds", type=int, default=20 if quick else 60, help="of an idle worker")
    parser.add_argument("--peers", help="the Python of a venv with benchmarks/requirements-peers.txt")
    parser.add_argument("--graphile", help="a folder where graphile-worker is installed")
    return parser.parse_args()


# A drain --------------------------------------------------------------------------------------------------------------


def measure_drain(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """No-op runs that are all due, history kept: the bare statements, one worker, two, and the peers, in turn."""
    rounds = [_drain_round(server, options) for _ in range(options.rounds)]
    rates = {name: statistics.median(each[name]["per_second"] for each in rounds) for name in rounds[0]}
    ratios = {
        f"one_worker_over_{name}": statistics.median(
            each["one_worker"]["per_second"] / each[name]["per_second"] for each in rounds
        )
        for name in rates
        if name != "one_worker"
    }
    return {"median_per_second": rates, **ratios, "missing": _missing(options), "rounds": rounds}


def _drain_round(server: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        for name, overlapping in (("bare_one_by_one", False), ("bare_overlapping", True)):
            _refill(conn, options.runs)
            figures[name] = {"per_second": asyncio.run(drain_bare(url, overlapping=overlapping))}
        for n, name in enumerate(("one_worker", "two_workers"), start=1):
            _refill(conn, options.runs)
            figures[name] = _drain(conn, url, options.runs, n)
        _refill(conn, options.runs, history=options.history)
        figures["with_history"] = _drain(conn, url, options.runs)
        _refill(conn, options.runs, pending=options.pending)
        figures["behind_others"] = _drain(conn, url, options.runs)
    return figures | _peers(server, options, "drain", options.runs)


def _refill(conn: psycopg.Connection, runs: int, *, history: int = 0, pending: int = 0) -> None:
    conn.execute("truncate foxtrot.queue, foxtrot.runs")
    if history:
        conn.execute(HISTORY.encode(), [history])
    if pending:
        fill(conn, pending, "other")
    fill(conn, runs, NOOP.name)
    settle(conn)


def _drain(conn: psycopg.Connection, url: str, runs: int, n: int = 1) -> dict[str, Any]:
    """From the first claim to the last finish, by the database's clock."""
    before = postgres_cpu_seconds(conn)
    with workers(url, n, SLOTS, NOOP.name) as started:
        used = cpu_seconds(started)  # to start; it claims from now on
        wait_until_done(conn)
        seconds = read(conn, SECONDS)
        used = cpu_seconds(started) - used
    done = read(conn, "select count(*) from foxtrot.runs where kind = 'noop' and status = 'success'")
    assert done == runs, f"{done} of {runs} runs succeeded"
    return {
        "per_second": runs / seconds,
        "worker_cpu_us_per_run": 1e6 * used / runs,
        "postgres_cpu_us_per_run": 1e6 * (postgres_cpu_seconds(conn) - before) / runs,
    }


# Latency --------------------------------------------------------------------------------------------------------------


def measure_latency(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """Of an idle worker, one run at a time: from just before the enqueueing call to the first line of the handler."""
    rounds = [
        {"foxtrot": {"ms": _latency(server, options.asked)}} | _peers(server, options, "latency", options.asked)
        for _ in range(options.rounds)
    ]
    medians = {
        name: {cut: statistics.median(each[name]["ms"][cut] for each in rounds) for cut in ("p50", "p99")}
        for name in rounds[0]
    }
    without_notify = _latency(server, 5 if options.quick else 20, notify=False)
    return {"median_ms": medians, "without_notify": {"ms": without_notify}, "rounds": rounds}


def _latency(server: str, asked: int, *, notify: bool = True) -> dict[str, float]:
    with migrated(server) as url, workers(url, 1, 10, TIMED.name, WORKER_POLL_INTERVAL_SECONDS=str(POLL)):
        return percentiles(asyncio.run(_ask(url, asked, notify=notify)))


async def _ask(url: str, n: int, *, notify: bool = True) -> list[float]:
    """Milliseconds to the start of each of `n` manual runs, asked one after another on an open connection."""
    took = []
    async with await connect(url, "app") as conn:
        for number in range(n):
            begun = time.time()
            new = NewRun.of(TIMED, Number(number=number), user_id=uuid4())
            run_id = (await enqueue(conn, new)).run_id
            if notify:
                await wake(conn, TIMED.name)
            await asyncio.sleep(random.uniform(0.03, 0.07))  # to ask at once would be work beside what is measured
            took.append(1000 * (await _began(conn, run_id) - begun))
    return took


async def _began(conn: AsyncConnection, run_id: UUID) -> float:
    query = "select (result ->> 'at')::float8 from foxtrot.runs where id = %s and status is not null"
    async with asyncio.timeout(60):
        while (row := await (await conn.execute(query, [run_id])).fetchone()) is None:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
    return float(row[0])


# Manual runs under load -----------------------------------------------------------------------------------------------


def measure_manual(server: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same beside due cron runs: while a worker as shipped works them off, and while ten-minute ones fill it."""
    figures = []
    for meanwhile, kind in (
        ("cron runs are worked off", NOOP.name),
        ("long cron runs fill all but the reserve", "long"),
    ):
        with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
            fill(conn, options.pending, kind, number=600)
            settle(conn)
            with workers(url, 1, 10, kind, TIMED.name, WORKER_GRACE_SECONDS="0") as (worker,):
                time.sleep(2)
                used = cpu_seconds([worker])
                ms = percentiles(asyncio.run(_ask(url, options.asked)))
                used = cpu_seconds([worker]) - used
            left = read(conn, "select count(*) from foxtrot.queue where lane = 1")
        assert left, "the cron runs did not last"
        figures.append({"pending": options.pending, "meanwhile": meanwhile, "left": left, "ms": ms})
    return figures


# Many handlers --------------------------------------------------------------------------------------------------------


def measure_concurrent(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """Handlers that wait, all in one process, each of which says how far it is once a second."""
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        fill(conn, options.handlers, "long", Lane.MANUAL, number=600)
        settle(conn)
        with workers(url, 1, options.handlers, "long", WORKER_GRACE_SECONDS="0") as (worker,):
            while read(conn, "select count(*) from foxtrot.queue where worker_id is not null") < options.handlers:
                time.sleep(0.5)
            time.sleep(3)
            before, begun = (postgres_cpu_seconds(conn), cpu_seconds([worker])), time.perf_counter()
            lags = []
            for _ in range(10):
                time.sleep(1)
                lags.append(
                    read(conn, "select extract(epoch from clock_timestamp() - min(updated_at)) from foxtrot.queue")
                )
            seconds = time.perf_counter() - begun
            return {
                "handlers": options.handlers,
                "peak_mb": peak_mb(worker),
                "oldest_progress_seconds": float(max(lags)),
                "postgres_cpu_percent_of_a_core": 100 * (postgres_cpu_seconds(conn) - before[0]) / seconds,
                "worker_cpu_percent_of_a_core": 100 * (cpu_seconds([worker]) - before[1]) / seconds,
            }


# Enqueue --------------------------------------------------------------------------------------------------------------

BARE_ENQUEUE = """
with asked as (
    select foxtrot.uuid7(now()) as id, u.user_id, foxtrot.bucket_of(u.user_id) as bucket, u.fingerprint, u.parameters
    from unnest(%(users)b::uuid[], %(fingerprints)b::bytea[], %(parameters)b::jsonb[])
        as u (user_id, fingerprint, parameters)
), queued as (
    insert into foxtrot.queue (run_id, bucket, user_id, kind, fingerprint, lane, available_at, max_attempts)
    select id, bucket, user_id, 'noop', fingerprint, 0, now(), 3 from asked
)
insert into foxtrot.runs (id, bucket, user_id, kind, source, parameters, fingerprint)
select id, bucket, user_id, 'noop', 'manual', parameters, fingerprint from asked
returning id
"""


def measure_enqueue(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """The verb beside the two bare inserts of the same rows, on one connection: one at a time, and in bulk."""
    with migrated(server) as url:
        rounds = [asyncio.run(_enqueue_round(url)) for _ in range(2 + 3 * options.rounds)]
    rates = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return {
        "median_per_second": rates,
        "one_over_bare": statistics.median(each["one"] / each["bare_one"] for each in rounds),
        "bulk_over_bare": statistics.median(each["bulk"] / each["bare_bulk"] for each in rounds),
    }


async def _enqueue_round(url: str) -> dict[str, float]:
    async with await connect(url, "api", autocommit=False) as conn:
        await conn.execute("truncate foxtrot.queue, foxtrot.runs")
        await conn.commit()
        singles = ROUND // 4
        return {
            "bare_one": await _timed(conn, [[run] for run in _new(singles)], _bare),
            "one": await _timed(conn, [[run] for run in _new(singles)], enqueue_many),
            "bare_bulk": await _timed(conn, [_new(ROUND) for _ in range(3)], _bare),
            "bulk": await _timed(conn, [_new(ROUND) for _ in range(3)], enqueue_many),
        }


def _new(n: int) -> list[NewRun]:
    return [NewRun.of(NOOP, Number(number=number), user_id=uuid4()) for number in range(n)]


async def _bare(conn: AsyncConnection, runs: list[NewRun]) -> None:
    values = {
        "users": [run.user_id for run in runs],
        "fingerprints": [run.fingerprint for run in runs],
        "parameters": [json.dumps(run.parameters) for run in runs],
    }
    await (await conn.execute(BARE_ENQUEUE.encode(), values, prepare=len(runs) == 1)).fetchall()


async def _timed(conn: AsyncConnection, batches: list[list[NewRun]], put: Callable[..., Any]) -> float:
    begun = time.perf_counter()
    for batch in batches:
        await put(conn, batch)
        await conn.commit()
    return sum(map(len, batches)) / (time.perf_counter() - begun)


# Nothing to do --------------------------------------------------------------------------------------------------------


def measure_idle(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a worker as shipped uses while nothing is due."""
    with (
        migrated(server) as url,
        psycopg.connect(server, autocommit=True) as conn,
        workers(url, 1, 10, NOOP.name) as (it,),
    ):
        time.sleep(5)
        before = (cpu_seconds([it]), _transactions(conn, url))
        time.sleep(options.seconds)
        cpu, asked = cpu_seconds([it]) - before[0], _transactions(conn, url) - before[1]
        return {
            "cpu_percent_of_a_core": 100 * cpu / options.seconds,
            "transactions_per_second": asked / options.seconds,
            "peak_mb": peak_mb(it),
        }


def _transactions(conn: psycopg.Connection, url: str) -> int:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    time.sleep(1.5)  # backends say how many at most once a second
    query = "select xact_commit + xact_rollback from pg_stat_database where datname = %s"
    return int(read(conn, query, name))


# A sick database ------------------------------------------------------------------------------------------------------


def measure_sick(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """How long a claim takes, and how long with a transaction held open, for which no dead row may go."""
    with migrated(server) as url, psycopg.connect(url, autocommit=True) as conn:
        figures = {}
        for name in ("healthy", "held_open"):
            _refill(conn, options.runs)
            with psycopg.connect(url) as holding:
                if name == "held_open":
                    holding.execute("set transaction isolation level repeatable read")
                    holding.execute("select txid_current(), count(*) from foxtrot.workers")
                figures[name] = percentiles(asyncio.run(_time_claims(url)))
    return {"claim_ms": figures, "p99_over_healthy": figures["held_open"]["p99"] / figures["healthy"]["p99"]}


async def _time_claims(url: str) -> list[float]:
    """Milliseconds of each claim of a drain by the verbs, with marks that last a second, as a worker's do."""
    took = list[float]()
    marks, since = dict[tuple[Lane, str], Watermark](), time.perf_counter()
    arguments = connect_arguments("worker-claim", planned_once=True)
    async with (
        await connect(url, "worker") as conn,
        await AsyncConnection.connect(url, autocommit=True, **arguments) as claiming,
    ):
        worker_id = await _register(conn)
        while True:
            begun = time.perf_counter()
            if begun - since >= 1:
                marks, since = {}, begun
            rows = await claim(claiming, worker_id, {NOOP.name: BATCH}, free=BATCH, cron_cap=BATCH, watermarks=marks)
            if not rows:
                return took
            took.append(1000 * (time.perf_counter() - begun))
            marks[Lane.CRON, NOOP.name] = (rows[-1].available_at, rows[-1].run_id)
            period = NOOP.retention.success
            ended = [Outcome(row.run_id, row.bucket, row.attempt, Status.SUCCESS, period, "", "{}") for row in rows]
            await finish(conn, worker_id, ended)


async def _register(conn: AsyncConnection) -> UUID:
    cursor = await conn.execute(
        "insert into foxtrot.workers (host, pid, version, kinds, slots, lease_expires_at)"
        " values ('here', 1, '0', %s, 10, now() + interval '1 day') returning id",
        [[NOOP.name]],
    )
    ((worker_id,),) = await cursor.fetchall()
    return UUID(str(worker_id))


# Peers ----------------------------------------------------------------------------------------------------------------

SLOW = 20  # Procrastinate gets a part of the jobs


def _peers(server: str, options: argparse.Namespace, question: str, n: int) -> dict[str, dict[str, Any]]:
    python, folder = options.peers, options.graphile
    script = str(ROOT / "benchmarks/worker_peers.py")
    commands: dict[str, list[str]] = {}
    if python:
        commands["pgqueuer"] = [python, script, "pgqueuer", question]
        commands["procrastinate"] = [python, script, "procrastinate", question]
    if python and question == "drain":
        commands["pgqueuer_as_shipped"] = [python, script, "pgqueuer_as_shipped", question]
    if folder:
        commands["graphile"] = ["node", str(ROOT / "benchmarks/worker_graphile.cjs"), question]
    figures = {}
    for name, command in commands.items():
        jobs = n // SLOW if name == "procrastinate" and question == "drain" else n
        with database(server) as url:
            environment = os.environ | {"NODE_PATH": f"{folder}/node_modules"}
            answered = subprocess.run(
                [*command, url, str(jobs)], env=environment, check=True, stdout=subprocess.PIPE, timeout=900
            )
        figures[name] = json.loads(answered.stdout)
    return figures


def _missing(options: argparse.Namespace) -> dict[str, str]:
    missing = {"oban": "no registry here has Oban for Python"}
    if not options.peers:
        missing |= dict.fromkeys(("pgqueuer", "procrastinate"), "--peers names no Python that has it")
    if not options.graphile:
        missing["graphile"] = "--graphile names no folder that has it"
    return missing


if __name__ == "__main__":
    main()
