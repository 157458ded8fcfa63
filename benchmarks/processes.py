"""Processes: a migrated database, and services as deployed over it, for as long as a measurement takes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

import migrations
from benchmarks.figures import read
from tests.support import database, wait_until

ROOT = Path(__file__).parents[1]


@contextmanager
def migrated(server: str) -> Iterator[str]:
    """A database of its own."""
    with database(server) as url:
        migrations.upgrade(url)
        yield url


@contextmanager
def services(url: str, n: int, command: Sequence[str], ready: str, **settings: str) -> Iterator[list[psutil.Process]]:
    """So many `foxtrot` of that command, once the query `ready` counts them all; they must stop with exit code 0."""
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"} | settings
    started = [subprocess.Popen([sys.executable, "-m", "cli", *command], env=environment) for _ in range(n)]
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            wait_until(lambda: read(conn, ready) >= n, within=60)
        yield [psutil.Process(process.pid) for process in started]
        for process in started:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in started] == [0] * n
    finally:
        for process in started:
            process.kill()
            process.wait()
