from datetime import datetime
from uuid import uuid4

import pytest

from shared.errors import InvalidZoneError, NotFoundError
from shared.models import User
from shared.schedules import move_user, zone_of_user
from tests.clock import Clock
from tests.scheduler.support import end_runs, on_database, pass_over, rows, slots
from tests.shared.schedules.support import (
    AT,
    DAILY,
    DAY,
    EIGHT,
    HOUR,
    RULES,
    as_user,
    changed,
    new_user,
    pause,
    put,
    shown,
    table,
)

MINE = changed(DAILY, zone="user")


def move(url: str, user: User, zone: str) -> int:
    return as_user(url, user, lambda conn: move_user(conn, user.id, zone, rules=RULES))


def given(clock: Clock, zone: str | None = "UTC") -> User:
    """Somebody with one schedule where they are, and one in Tokyo, wherever they are."""
    clock.freeze(AT)
    user = new_user(clock.url, zone=zone)
    put(clock.url, user, MINE)
    put(clock.url, user, changed(DAILY, key="tokyo", zone="Asia/Tokyo"))
    return user


def where(url: str, user: User, name: str = "mine") -> tuple[str, str, datetime | None]:
    schedule = shown(url, user, name)
    return schedule.zone, schedule.timetable_zone, schedule.next_slot


def test_moving_moves_the_schedules_that_follow_the_user_and_no_others(clock: Clock) -> None:
    user, other = given(clock), new_user(clock.url, zone="UTC")
    put(clock.url, other, MINE)
    clock.advance(HOUR)
    assert move(clock.url, user, "America/New_York") == 1
    assert where(clock.url, user) == ("user", "America/New_York", EIGHT + 4 * HOUR)
    assert where(clock.url, user, "tokyo") == ("Asia/Tokyo", "Asia/Tokyo", EIGHT + 15 * HOUR)
    assert where(clock.url, other) == ("user", "UTC", EIGHT)
    assert shown(clock.url, user).effective_from == AT + HOUR
    assert shown(clock.url, user, "tokyo").effective_from == AT
    assert dict(rows(clock.url, "select id, zone from foxtrot.users")) == {user.id: "America/New_York", other.id: "UTC"}


def test_staying_where_one_is_moves_nothing(clock: Clock) -> None:
    user = given(clock)
    before = table(clock.url, "schedules")
    clock.advance(HOUR)
    assert move(clock.url, user, "UTC") == 0
    assert table(clock.url, "schedules") == before


def test_saying_for_the_first_time_where_one_is_is_a_move(clock: Clock) -> None:
    user = given(clock, zone=None)
    assert where(clock.url, user)[:2] == ("user", "Europe/London")
    assert move(clock.url, user, "Asia/Tokyo") == 1
    assert where(clock.url, user)[:2] == ("user", "Asia/Tokyo")


def test_a_paused_schedule_moves_and_stays_paused(clock: Clock) -> None:
    user = given(clock)
    pause(clock.url, user, "on holiday")
    clock.advance(HOUR)
    assert move(clock.url, user, "Asia/Tokyo") == 1
    schedule = shown(clock.url, user)
    assert (schedule.timetable_zone, schedule.enabled, schedule.pause_note) == ("Asia/Tokyo", False, "on holiday")
    assert schedule.paused_at == AT


def test_whoever_moves_keeps_the_times_of_day_and_no_day_is_repeated(clock: Clock) -> None:
    clock.freeze(EIGHT - HOUR)
    user = new_user(clock.url, zone="UTC")
    put(clock.url, user, MINE)
    for hour in range(48):
        clock.advance(HOUR)
        end_runs(clock.url)
        pass_over(clock.url)
        if hour == 2:
            move(clock.url, user, "America/Los_Angeles")
        if hour == 3:
            move(clock.url, user, "America/New_York")
    assert slots(clock.url, user.id) == [EIGHT, EIGHT + DAY + 4 * HOUR]


def test_a_spread_as_long_as_a_day_moves_too(clock: Clock) -> None:
    clock.freeze(AT)
    user = new_user(clock.url, zone="UTC")
    put(clock.url, user, changed(MINE, spread_seconds=86_400))
    assert move(clock.url, user, "Europe/London") == 1  # where a day of that month has 23 hours


@pytest.mark.parametrize("zone", ["Europe", "EST5EDT-ish", "localtime", "user", "", "a\x00b", "Z" * 300])
def test_there_is_no_moving_to_what_is_no_zone(clock: Clock, zone: str) -> None:
    user = given(clock)
    with pytest.raises(InvalidZoneError) as refused:
        move(clock.url, user, zone)
    assert refused.value.field == "zone"
    assert rows(clock.url, "select zone from foxtrot.users") == [("UTC",)]


def test_nobody_moves_who_is_not_there(clock: Clock) -> None:
    with pytest.raises(NotFoundError):
        on_database(clock.url, lambda conn: move_user(conn, uuid4(), "UTC", rules=RULES))


@pytest.mark.parametrize(
    ("own", "zone", "name"),
    [
        ("Asia/Tokyo", "user", "Asia/Tokyo"),
        (None, "user", "Europe/London"),
        ("Asia/Tokyo", "Asia/Calcutta", "Asia/Calcutta"),
    ],
)
def test_a_zone_stands_for_a_name(clock: Clock, own: str | None, zone: str, name: str) -> None:
    user = new_user(clock.url, zone=own)
    assert as_user(clock.url, user, lambda conn: zone_of_user(conn, user.id, zone, RULES)) == name
