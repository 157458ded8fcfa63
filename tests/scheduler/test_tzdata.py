"""Newer tzdata: a process that has it beside this one, whose slots for Vancouver and London lie elsewhere."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tzdata  # type: ignore[import-untyped]  # it ships data, no types
from psycopg import AsyncConnection

from shared.cron import tzdata_version
from shared.models import Timetable
from tests.clock import Clock
from tests.scheduler.support import on_database, pass_over, rows, settled, subscribe
from tests.support import make_tick, make_timetable

ROOT = Path(__file__).parents[2]
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)

# Eight in the morning of a summer's day, by this process's tzdata and by the newer one.
VANCOUVER, VANCOUVER_MOVED = datetime(2031, 6, 2, 15, tzinfo=UTC), datetime(2031, 6, 2, 14, tzinfo=UTC)
LONDON, LONDON_MOVED = datetime(2031, 6, 2, 7, tzinfo=UTC), datetime(2031, 6, 2, 8, tzinfo=UTC)
MOVES = {"America/Vancouver": "America/Denver", "Europe/London": "Atlantic/Azores"}

TIDY = """
import asyncio, sys
from scheduler.maintenance import Maintenance
from tests.scheduler.support import REGISTRY, scheduling, settings
scheduling(sys.argv[1], lambda pool: Maintenance(pool, settings(), REGISTRY, asyncio.Event(), at_once=2).tidy_once())
"""
PASS = """
import sys
from tests.scheduler.support import pass_over
pass_over(sys.argv[1])
"""


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tzdata of another year, in which two zones keep the time of others."""
    folder = tmp_path_factory.mktemp("newer") / "tzdata"
    shutil.copytree(Path(tzdata.__file__).parent, folder)
    for zone, other in MOVES.items():
        shutil.copy(folder / "zoneinfo" / other, folder / "zoneinfo" / zone)
    (folder / "__init__.py").write_text('IANA_VERSION = "9999a"\n')
    return folder.parent


def with_newer(code: str, newer: Path, clock: Clock) -> None:
    """Let a process that has the newer tzdata do that."""
    environment = os.environ | {"PYTHONPATH": f"{newer}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", code, clock.url], env=environment, check=True, capture_output=True, timeout=60
    )


async def daily(
    conn: AsyncConnection, zone: str, next_slot: datetime, newest: datetime | None = None, crons: str = "0 8 * * *"
) -> Timetable:
    """A timetable as this process computed it, with one schedule and the tick that it passed last."""
    timetable = await make_timetable(conn, crons=[crons], zone=zone, next_slot=next_slot, tzdata=tzdata_version())
    await subscribe(conn, timetable, 1)
    if newest:
        await make_tick(conn, timetable, scheduled_for=newest, finished_at=newest)
    return timetable


def state(clock: Clock) -> list[tuple[datetime, str]]:
    return rows(clock.url, "select next_slot, tzdata from foxtrot.timetables order by zone, crons")


def taken(clock: Clock) -> list[datetime]:
    """The slots that became runs or skips."""
    return sorted(slot for _, slot, _ in settled(clock.url))


def test_next_slots_are_computed_again_and_who_has_older_tzdata_refuses(clock: Clock, newer: Path) -> None:
    async def three(conn: AsyncConnection) -> None:
        await daily(conn, "America/Vancouver", VANCOUVER, VANCOUVER - DAY)
        await daily(conn, "Europe/London", LONDON, LONDON - DAY)
        await daily(conn, "Asia/Tokyo", LONDON + 16 * HOUR, LONDON - 8 * HOUR)

    clock.freeze(LONDON - HOUR)
    on_database(clock.url, three)
    with_newer(TIDY, newer, clock)
    assert state(clock) == [(VANCOUVER_MOVED, "9999a"), (LONDON + 16 * HOUR, "9999a"), (LONDON_MOVED, "9999a")]
    clock.freeze(VANCOUVER)
    assert pass_over(clock.url).ticks == 0
    with_newer(PASS, newer, clock)
    assert taken(clock) == [LONDON_MOVED, VANCOUVER_MOVED]


@pytest.mark.parametrize("newest", [VANCOUVER - DAY, None], ids=["after its last slot", "before its first"])
@pytest.mark.parametrize("code", [TIDY, PASS], ids=["tidied first", "met when due"])
def test_a_slot_that_moved_into_the_past_is_taken_up_once(
    clock: Clock, newer: Path, code: str, newest: datetime | None
) -> None:
    clock.freeze(VANCOUVER - DAY + HOUR)
    on_database(clock.url, lambda conn: daily(conn, "America/Vancouver", VANCOUVER, newest))
    clock.freeze(VANCOUVER)
    with_newer(code, newer, clock)
    with_newer(PASS, newer, clock)
    assert taken(clock) == [VANCOUVER_MOVED]
    assert state(clock) == [(VANCOUVER_MOVED + DAY, "9999a")]


@pytest.mark.parametrize("code", [TIDY, PASS], ids=["tidied first", "met when due"])
def test_a_slot_that_moved_into_the_future_waits_for_it(clock: Clock, newer: Path, code: str) -> None:
    clock.freeze(LONDON)
    on_database(clock.url, lambda conn: daily(conn, "Europe/London", LONDON, LONDON - DAY))
    with_newer(code, newer, clock)
    assert (taken(clock), state(clock)) == ([], [(LONDON_MOVED, "9999a")])
    clock.freeze(LONDON_MOVED)
    with_newer(PASS, newer, clock)
    assert taken(clock) == [LONDON_MOVED]


def test_a_day_that_had_its_one_slot_gets_no_second_one(clock: Clock, newer: Path) -> None:
    async def two(conn: AsyncConnection) -> None:
        await daily(conn, "Europe/London", LONDON + DAY, LONDON)
        await daily(conn, "Europe/London", LONDON + 12 * HOUR, LONDON, crons="0 8,20 * * *")

    clock.freeze(LONDON + 30 * MINUTE)
    on_database(clock.url, two)
    with_newer(TIDY, newer, clock)
    assert [slot for slot, _ in state(clock)] == [LONDON_MOVED + DAY, LONDON_MOVED]


def test_after_an_outage_the_slots_since_the_last_one_are_those_of_the_newer_data(clock: Clock, newer: Path) -> None:
    clock.freeze(VANCOUVER - 3 * DAY)
    on_database(clock.url, lambda conn: daily(conn, "America/Vancouver", VANCOUVER - 2 * DAY, VANCOUVER - 3 * DAY))
    rows(clock.url, "update foxtrot.schedules set catch_up = 'all' returning 1")
    clock.freeze(VANCOUVER)
    with_newer(PASS, newer, clock)
    assert taken(clock) == [VANCOUVER_MOVED - 2 * DAY, VANCOUVER_MOVED - DAY, VANCOUVER_MOVED]


def test_many_timetables_are_computed_again_in_batches(clock: Clock, newer: Path) -> None:
    async def five(conn: AsyncConnection) -> None:
        for minute in range(5):
            await daily(conn, "UTC", VANCOUVER + DAY, VANCOUVER, crons=f"{minute} 15 * * *")

    clock.freeze(VANCOUVER + HOUR)
    on_database(clock.url, five)
    with_newer(TIDY, newer, clock)
    assert [slot for slot, _ in state(clock)] == [VANCOUVER + DAY + minute * MINUTE for minute in range(5)]
    assert {version for _, version in state(clock)} == {"9999a"}
