"""One database for all tests of schedules, emptied before each."""

from collections.abc import Iterator

import psycopg
import pytest

from cli.postgres import EmbeddedPostgres
from tests.clock import Clock
from tests.shared.queue.conftest import WIPE
from tests.support import database


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
