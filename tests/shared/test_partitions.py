import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from shared.partitions import make_partitions, weeks_ahead
from tests.clock import Clock
from tests.support import connect

SUNDAY = datetime(2031, 3, 30, 23, 59, 59, tzinfo=UTC)


def make(url: str, keep: timedelta) -> list[str]:
    async def run() -> list[str]:
        async with asyncio.timeout(10), connect(url) as conn:
            return await make_partitions(conn, keep)

    return asyncio.run(run())


def ahead(url: str) -> int:
    async def run() -> int:
        async with connect(url) as conn:
            return await weeks_ahead(conn)

    return asyncio.run(run())


def test_what_is_missing_is_made_once(clock: Clock) -> None:
    clock.freeze(SUNDAY)  # the fixture makes this week and both neighbours
    assert make(clock.url, timedelta(days=14)) == [
        "runs_20310310", "runs_20310407", "runs_20310414", "runs_20310421", "runs_20310428", "runs_20310505",
        "runs_20310512", "runs_20310519",
    ]  # fmt: skip
    assert make(clock.url, timedelta(days=14)) == []


def test_weeks_ahead_count_up_to_the_first_gap(clock: Clock) -> None:
    clock.freeze(SUNDAY)
    assert ahead(clock.url) == 1
    make(clock.url, timedelta(0))
    assert ahead(clock.url) == 8
    clock.freeze(SUNDAY + timedelta(seconds=1))
    assert ahead(clock.url) == 7
    with psycopg.connect(clock.url) as conn:
        conn.execute("drop table foxtrot.runs_20310414")
    assert ahead(clock.url) == 1


def test_no_weeks_are_ahead_when_this_week_has_none(clock: Clock) -> None:
    clock.freeze(SUNDAY)
    with psycopg.connect(clock.url) as conn:
        conn.execute("drop table foxtrot.runs_20310324")
    assert ahead(clock.url) == 0


def test_a_run_can_be_made_in_each_of_the_weeks(clock: Clock) -> None:
    clock.freeze(SUNDAY)
    make(clock.url, timedelta(days=30))
    with psycopg.connect(clock.url) as conn:
        made = conn.execute(
            """
            insert into foxtrot.runs (id, bucket, user_id, kind, source, parameters, fingerprint)
            select foxtrot.uuid7(now() + n * interval '1 day'), 0, gen_random_uuid(), 'demo', 'cron', '{}', ''
            from generate_series(-30, 56) as n
            """
        )
        assert made.rowcount == 87


def test_a_lock_is_not_waited_for_for_ever(clock: Clock) -> None:
    clock.freeze(SUNDAY)
    with psycopg.connect(clock.url) as conn:
        conn.execute("lock table foxtrot.runs in share update exclusive mode")
        with pytest.raises(LockNotAvailable):
            make(clock.url, timedelta(0))
