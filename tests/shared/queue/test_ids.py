"""The ids that the statements derive in SQL."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.clock import Clock

AT = datetime(2026, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def call(url: str, function: str, *arguments: object, zone: str = "UTC") -> Any:
    query = sql.SQL("select foxtrot.{}({})").format(
        sql.Identifier(function), sql.SQL(", ").join([sql.Placeholder()] * len(arguments))
    )
    with psycopg.connect(url, options=f"-c timezone={zone}") as conn:
        row = conn.execute(query, arguments).fetchone()
    assert row is not None
    return row[0]


def milliseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND


def test_uuid7_is_a_version_7_uuid_that_says_when(clock: Clock) -> None:
    made = [call(clock.url, "uuid7", AT) for _ in range(20)]
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    assert {each.int >> 80 for each in made} == {milliseconds(AT)}
    assert len(set(made)) == 20


def test_uuid7_is_ordered_by_time_to_the_microsecond(clock: Clock) -> None:
    instants = [AT + timedelta(microseconds=n) for n in (0, 1, 2, 543, 544, 876, 877, 1000, 10**6)]
    made = [call(clock.url, "uuid7", at) for at in instants]
    assert made == sorted(made)


def test_a_derived_id_is_a_version_8_uuid_of_the_slot_and_the_schedule(clock: Clock) -> None:
    schedule_id, slot = uuid4(), AT.replace(second=0, microsecond=0)
    derived = call(clock.url, "cron_run_id", schedule_id, slot)
    floor = f"{milliseconds(slot):012x}"
    text = f"{schedule_id}{UUID(floor + 20 * '0')}"
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    assert derived.hex == f"{floor}8{digest[13:16]}8{digest[17:]}"
    assert (derived.version, derived.variant) == (8, "specified in RFC 4122")
    assert derived == call(clock.url, "cron_run_id", schedule_id, slot, zone="Asia/Kolkata")
    assert derived != call(clock.url, "cron_run_id", uuid4(), slot)
    assert derived != call(clock.url, "cron_run_id", schedule_id, slot + timedelta(minutes=1))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Apia"])
def test_the_floor_of_a_millisecond_is_below_every_id_of_it(clock: Clock, zone: str) -> None:
    floor = call(clock.url, "uuid_floor", AT, zone=zone)
    assert floor == UUID(int=milliseconds(AT) << 80)
    before = AT - MILLISECOND
    assert call(clock.url, "uuid7", before) < floor <= call(clock.url, "uuid7", AT)
    assert call(clock.url, "cron_run_id", uuid4(), before) < floor <= call(clock.url, "cron_run_id", uuid4(), AT)


def test_what_claims_to_be_immutable_is_inlined(clock: Clock) -> None:
    query = "explain (verbose) select foxtrot.cron_run_id(id, %s) from foxtrot.schedules"
    with psycopg.connect(clock.url) as conn:
        plan = "\n".join(line for (line,) in conn.execute(query, [AT]).fetchall())
    assert "md5" in plan
    assert "foxtrot.cron_run_id" not in plan
    assert "foxtrot.uuid_floor" not in plan


def test_buckets_are_the_last_six_bits(clock: Clock) -> None:
    users = [UUID(int=(n << 6) + n) for n in range(64)]
    assert [call(clock.url, "bucket_of", user) for user in users] == list(range(64))
    assert {call(clock.url, "bucket_of", uuid4()) for _ in range(10)} <= set(range(64))
