"""One database for all tests of the verbs, emptied before each: making one takes longer than most of these tests."""

from collections.abc import Iterator

import psycopg
import pytest

from cli.postgres import EmbeddedPostgres
from tests.clock import Clock
from tests.support import database

TABLES = ("queue", "runs", "skips", "run_steps", "schedules", "ticks", "timetables", "users", "workers", "models")
WIPE = f"""
set lock_timeout = '5s';
{" ".join(f"delete from foxtrot.{table};" for table in TABLES)}
update test_clock.state set frozen = null, shift = '0', server_started_at = '-infinity';
"""


@pytest.fixture(scope="session")
def shared_clock(postgres: EmbeddedPostgres, clock_template: str) -> Iterator[Clock]:
    with database(postgres.url, template=clock_template) as url:
        yield Clock(url)


@pytest.fixture
def clock(shared_clock: Clock) -> Clock:
    """An empty migrated database, at `clock.url`, whose `now()` the test sets; its clock runs."""
    with psycopg.connect(shared_clock.url) as conn:
        conn.execute(WIPE.encode())
    return shared_clock
