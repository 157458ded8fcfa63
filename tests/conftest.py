"""A real Postgres for the session, a fresh database for each test."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from cli.postgres import EmbeddedPostgres
from tests import clock as clocks
from tests.support import database

# Nothing outlives the session, so nothing has to be on disk.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The session's server: the wheel's, or that of the bin folder FOXTROT_TEST_BINARIES."""
    binaries = os.environ.get("FOXTROT_TEST_BINARIES")
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-tests-") as directory,
        EmbeddedPostgres(Path(directory), binaries=Path(binaries) if binaries else None, settings=SETTINGS) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> Iterator[str]:
    with database(postgres.url) as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def clock_template(postgres: EmbeddedPostgres) -> Iterator[str]:
    with database(postgres.url) as url:
        clocks.install(url)
        migrations.upgrade(url)
        yield url


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own with nothing in it."""
    with database(postgres.url) as url:
        yield url


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """A migrated database of the test's own, dropped afterwards whoever is still connected."""
    with database(postgres.url, template=migrated_template) as url:
        yield url


@pytest.fixture
def clock(postgres: EmbeddedPostgres, clock_template: str) -> Iterator[clocks.Clock]:
    """A migrated database of the test's own, at `clock.url`, whose `now()` the test sets."""
    with database(postgres.url, template=clock_template) as url:
        yield clocks.Clock(url)


@pytest.fixture
def data() -> Path:
    """The folder of recorded data."""
    folder = os.environ.get("FOXTROT_DATA")
    if not folder:
        pytest.skip("FOXTROT_DATA is not set: recorded data is not here")
    return Path(folder)
