"""A system of worker processes on a database of each test's own, and a server that may be stopped."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

import migrations
from cli.postgres import EmbeddedPostgres
from tests.clock import Clock
from tests.faults.support import SHORT, System, set_leases, system


@pytest.fixture
def moved(clock: Clock, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[System]:
    """A system whose database has the clock of the fixture `clock`: no lease ends before the test says so."""
    with system(clock.url, postgres.url, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that may be stopped."""
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-faults-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder), settings={"fsync": "off", "full_page_writes": "off"}) as server,
    ):
        yield server


@pytest.fixture
def stoppable(own_postgres: EmbeddedPostgres, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[System]:
    """A system in real time with short leases, on a server that may be stopped; the ledger is on another one."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(own_postgres.start(), autocommit=True) as conn:
        conn.execute(f"create database {name}")  # it goes with its server
    url = urlsplit(own_postgres.url)._replace(path=f"/{name}").geturl()
    migrations.upgrade(url)
    set_leases(url, SHORT)
    with system(url, postgres.url, tmp_path, pace=SHORT) as made:
        yield made
