"""The herd: many users due at one instant, one worker process, and a board server that takes its time."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from benchmarks.figures import read
from benchmarks.invented import board_name, greenhouse_answer, invent_postings, invent_searches
from kinds.job_search.board_faults import delayed
from kinds.job_search.board_server import BoardServer
from kinds.job_search.kind import JOB_SEARCH
from scheduler.service import pass_once
from shared.cron import tzdata_version
from shared.db import open_pool
from shared.fingerprint import fingerprint
from shared.kinds import Registry
from shared.settings import Settings

LONGEST = 900.0  # seconds that a slot may take
POLL = 0.2

# One slot a day each, so that the second can be due as soon as the first is done.
SLOTS = (timedelta(minutes=2), timedelta(minutes=1))

FIGURES = """
select
    count(*)::int as runs,
    count(*) filter (where status is distinct from 'success')::int as failures,
    count(*) filter (where attempt > 1)::int as attempted_again,
    extract(epoch from max(finished_at) - %(due)s)::float8 as all_fresh_seconds,
    percentile_cont(array[0.5, 0.95, 1]) within group (order by 1000 * extract(epoch from finished_at - started_at))
        as run_ms,
    percentile_cont(array[0.5, 0.95, 1]) within group (order by extract(epoch from started_at - %(due)s))
        as waited_seconds,
    avg((result ->> 'found')::int)::float8 as found_on_average
from foxtrot.runs
where scheduled_for = %(slot)s
"""


class Boards:
    """A board server in a process of its own: its Python takes nothing from the worker's."""

    def __init__(self, boards: int, postings: int, delay: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, boards, postings, delay), daemon=True)
        self._process.start()
        theirs.close()
        self.names = [board_name(number) for number in range(boards)]
        self.url: str = self._ours.recv()

    def environment(self) -> dict[str, str]:
        """What makes a worker search these boards."""
        return {"JOB_SOURCES_URL": self.url, "JOB_SOURCES": "greenhouse", "JOB_BOARDS": ",".join(self.names)}

    def requests(self) -> dict[str, int]:
        """How often each board was asked until now."""
        self._ours.send("requests")
        counted: dict[str, int] = self._ours.recv()
        return counted

    def close(self) -> None:
        """End the server, which ends its process."""
        self._ours.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _serve(parent: Connection, boards: int, postings: int, delay: float) -> None:
    with BoardServer() as server:
        by_board = groupby(invent_postings(range(boards), postings), key=lambda posting: posting.board)
        server.boards = {board: greenhouse_answer(list(listed)) for board, listed in by_board}
        server.faults = dict.fromkeys(server.boards, delayed(Event(), delay))
        parent.send(server.url)
        try:
            while parent.recv():
                parent.send(dict(server.requests))
        except EOFError:
            return


def measure_herd(url: str, boards: Boards, folder: Path, *, users: int, slots: int) -> dict[str, Any]:
    """Two slots of all users, one worker process with so many slots: the first finds nothing stored, the second does.

    `url` is a migrated database of its own.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        _add_users(conn, users)
        with _worker(url, boards, folder, slots) as worker:
            figures: dict[str, Any] = {"slots": slots}
            for name, ago in zip(("first", "second"), SLOTS, strict=True):
                figures[name] = _measure_slot(conn, url, boards, worker, ago)
            status = Path(f"/proc/{worker.pid}/status").read_text(encoding="utf-8")
            figures["worker_peak_mb"] = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    return figures


def _add_users(conn: psycopg.Connection, users: int) -> None:
    """Users who each have a schedule of the same timetable."""
    searches = [JOB_SEARCH.parse(parameters) for parameters in invent_searches(users)]
    conn.execute(
        "insert into foxtrot.timetables (crons, zone, next_slot, tzdata)"
        " values ('{0 0 1 1 *}', 'UTC', now() + interval '1 day', %s)",
        [tzdata_version()],
    )
    conn.execute(
        "insert into foxtrot.users (id, bucket)"
        " select id, foxtrot.bucket_of(id) from (select gen_random_uuid() as id from generate_series(1, %s)) as made",
        [users],
    )
    conn.execute(
        """
        insert into foxtrot.schedules (
            bucket, user_id, key, kind, parameters, fingerprint, timetable_id, zone, effective_from
        )
        select owner.bucket, owner.id, 'jobs', 'job_search', wish.parameters, wish.fingerprint, timetable.id, 'UTC',
            now() - interval '1 day'
        from (select *, row_number() over (order by id) as place from foxtrot.users) as owner
        join unnest(%s::jsonb[], %s::bytea[]) with ordinality as wish (parameters, fingerprint, place) using (place)
        cross join foxtrot.timetables timetable
        """,
        [
            [Jsonb(search.model_dump(mode="json", exclude_defaults=True)) for search in searches],
            [fingerprint(JOB_SEARCH.name, None, search) for search in searches],
        ],
    )
    conn.execute("analyze")


@contextmanager
def _worker(url: str, boards: Boards, folder: Path, slots: int) -> Iterator[psutil.Process]:
    """`foxtrot worker`, registered; at the end it is told to stop and must do so with exit code 0."""
    environment = os.environ | boards.environment() | {"DATABASE_URL": url, "WORKER_SLOTS": str(slots)}
    with (folder / f"worker-{slots}.log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "cli", "worker"], env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            with psycopg.connect(url, autocommit=True) as conn:
                _wait(conn, "select exists (select from foxtrot.workers)", 30)
            yield psutil.Process(worker.pid)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0, f"the worker exited with {worker.returncode}"
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def _measure_slot(
    conn: psycopg.Connection, url: str, boards: Boards, worker: psutil.Process, ago: timedelta
) -> dict[str, Any]:
    asked, used = boards.requests(), _cpu_seconds(conn, worker)
    slot = _make_due(conn, ago)
    due = read(conn, "select clock_timestamp()")
    expanding = time.perf_counter()
    asyncio.run(_expand(url))
    expanded = time.perf_counter() - expanding
    _wait(conn, "select not exists (select from foxtrot.queue)", LONGEST)
    with conn.cursor(row_factory=dict_row) as cursor:
        figures = cursor.execute(FIGURES, {"due": due, "slot": slot}).fetchone()
        assert figures is not None
    stored = read(conn, "select extract(epoch from max(fetched_at) - %s)::float8 from foxtrot.fetch_units", due)
    for name in ("run_ms", "waited_seconds"):
        figures[name] = dict(zip(("p50", "p95", "max"), figures[name], strict=True))
    requests = {board: count - asked.get(board, 0) for board, count in boards.requests().items()}
    assert requests == dict.fromkeys(boards.names, 1), f"not every board was asked once: {requests}"
    assert not figures["failures"], f"{figures['failures']} runs failed"
    spent = {f"{name}_cpu_seconds": seconds - used[name] for name, seconds in _cpu_seconds(conn, worker).items()}
    rate = figures["runs"] / figures["all_fresh_seconds"]
    return (
        figures
        | spent
        | {
            "expand_seconds": expanded,
            "boards_stored_seconds": stored,
            "requests_per_board": 1,
            "runs_per_second": rate,
        }
    )


def _make_due(conn: psycopg.Connection, ago: timedelta) -> datetime:
    """Have the timetable's slot be a minute that has begun, and the stored copies be old; returns the slot."""
    slot: datetime = read(conn, "select date_trunc('minute', now()) - %s", ago)
    conn.execute("update foxtrot.fetch_units set fetched_at = fetched_at - interval '1 day'")
    crons = [f"{slot.minute} {slot.hour} * * *"]
    conn.execute("update foxtrot.timetables set crons = %s, next_slot = %s", [crons, slot])
    return slot


async def _expand(url: str) -> None:
    registry = Registry([JOB_SEARCH])
    async with open_pool(url, "scheduler", size=2) as pool:
        while (await pass_once(pool, Settings(), registry)).more:
            pass


def _cpu_seconds(conn: psycopg.Connection, worker: psutil.Process) -> Mapping[str, float]:
    """What the worker and Postgres, with all of its processes, have used until now."""
    times = worker.cpu_times()
    postmaster = psutil.Process(psutil.Process(conn.info.backend_pid).ppid())
    postgres = sum(postmaster.cpu_times()[:4])  # those that have ended too
    for process in postmaster.children():
        postgres += sum(process.cpu_times()[:2])
    return {"worker": times.user + times.system, "postgres": postgres}


def _wait(conn: psycopg.Connection, until: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not read(conn, until):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {until}")
        time.sleep(POLL)
