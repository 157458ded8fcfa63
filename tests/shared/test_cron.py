"""Named cases of the scheduling semantics, with the instants written by hand from the zones' published rules."""

import subprocess
import sys
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.cron import (
    check_crons,
    check_zone,
    clock_changes,
    last_slots,
    months_too_short,
    next_slots,
    once_a_day,
    slots_between,
    tzdata_version,
    zone_names,
)
from shared.cron_words import explain
from shared.errors import InvalidCronError, InvalidInputError, InvalidZoneError

NOW = datetime(2026, 8, 1, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(crons: str | list[str], zone: str, after: str, n: int) -> list[str]:
    found = next_slots([crons] if isinstance(crons, str) else crons, zone, utc(after), n)
    return [slot.strftime("%m-%d %H:%M") for slot in found]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


def check(crons: str | list[str], *, min_interval: timedelta = FIVE_MINUTES, after: datetime = NOW) -> list[str]:
    found = [crons] if isinstance(crons, str) else crons
    return check_crons(found, "Europe/London", min_interval=min_interval, after=after)


def refusal(crons: str | list[str], *, min_interval: timedelta = FIVE_MINUTES) -> InvalidCronError:
    with pytest.raises(InvalidCronError) as caught:
        check(crons, min_interval=min_interval)
    return caught.value


# The fixed rule


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # 01:30 does not exist on 29 March: 02:00 BST instead
        ("30 1 * * *", "Europe/London", "2026-03-28", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        # 01:30 comes twice on 25 October: BST only
        ("30 1 * * *", "Europe/London", "2026-10-24", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("30 2 * * *", "America/New_York", "2026-03-07", ["03-07 07:30", "03-08 07:00", "03-09 06:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31", ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
        # Lord Howe moves by half an hour: 02:00 becomes 02:30, which exists itself
        ("0 2 * * *", "Australia/Lord_Howe", "2026-10-02", ["10-02 15:30", "10-03 15:30", "10-04 15:00"]),
        ("30 2 * * *", "Australia/Lord_Howe", "2026-10-02", ["10-02 16:00", "10-03 15:30", "10-04 15:30"]),
        # and 02:00 becomes 01:30, so that 01:30 comes at 14:30 and again at 15:00, UTC
        ("30 1 * * *", "Australia/Lord_Howe", "2026-04-03", ["04-03 14:30", "04-04 14:30", "04-05 15:00"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03", ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
        # Morocco goes back for Ramadan and forward after it
        ("30 2 * * *", "Africa/Casablanca", "2026-02-14", ["02-14 01:30", "02-15 01:30", "02-16 02:30"]),
        ("30 2 * * *", "Africa/Casablanca", "2026-03-21", ["03-21 02:30", "03-22 02:00", "03-23 01:30"]),
        # no midnight: once, at 01:00
        ("0 0 * * *", "Africa/Cairo", "2026-04-22", ["04-22 22:00", "04-23 22:00", "04-24 21:00"]),
        ("0 0 * * *", "America/Santiago", "2026-09-05", ["09-05 04:00", "09-06 04:00", "09-07 03:00"]),
        ("0 0 * * *", "America/Havana", "2026-03-07", ["03-07 05:00", "03-08 05:00", "03-09 04:00"]),
        ("0 0 * * *", "Asia/Beirut", "2026-03-27", ["03-27 22:00", "03-28 22:00", "03-29 21:00"]),
        ("0 0 * * *", "Atlantic/Azores", "2026-03-28", ["03-28 01:00", "03-29 01:00", "03-30 00:00"]),
        # two midnights, or two 23:30s before one: the first
        ("0 0 * * *", "America/Havana", "2025-11-01", ["11-01 04:00", "11-02 04:00", "11-03 05:00"]),
        ("30 23 * * *", "Asia/Beirut", "2026-10-23", ["10-23 20:30", "10-24 20:30", "10-25 21:30"]),
        ("30 23 * * *", "America/Santiago", "2026-04-04", ["04-04 02:30", "04-05 02:30", "04-06 03:30"]),
        ("0 0 * * *", "Atlantic/Azores", "2026-10-23T12:00", ["10-24 00:00", "10-25 00:00", "10-26 01:00"]),
        # St John's went from 00:01 on Sunday back to 23:01 on Saturday
        ("0 0 * * *", "America/St_Johns", "2010-11-06", ["11-06 02:30", "11-07 02:30", "11-08 03:30"]),
        # 23:00-24:00 does not exist on that Saturday: the first instant of Sunday, still Saturday's slot
        ("15 23 * * *", "America/Nuuk", "2026-03-27", ["03-27 01:15", "03-28 01:15", "03-29 01:00", "03-30 00:15"]),
        ("15 23 * * SAT", "America/Nuuk", "2026-03-27", ["03-29 01:00", "04-05 00:15"]),
        # 29 September 1969 ended, 30 September came twice: 05:30 of the first
        ("30 5 * * *", "Pacific/Kwajalein", "1969-09-28T18:30", ["09-29 18:30", "10-01 17:30"]),
    ],
)
def test_a_fixed_time_fires_once_per_date(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert slots(cron, zone, after, len(expected)) == expected


def test_several_fixed_times_in_one_gap_become_one_instant() -> None:
    assert slots("0,15,30,45 1 * * *", "Europe/London", "2026-03-29T00:30", 2) == ["03-29 01:00", "03-30 00:00"]
    crons = ["10 1 * * *", "50 1 * * *", "0 2 * * *"]
    assert slots(crons, "Europe/London", "2026-03-29T00:30", 2) == ["03-29 01:00", "03-30 00:10"]
    assert slots(["15 23 * * *", "0 0 * * *"], "America/Nuuk", "2026-03-29", 2) == ["03-29 01:00", "03-30 00:15"]


def test_a_slot_moved_by_a_gap_is_not_given_twice_after_a_restart() -> None:
    assert slots("30 1 * * *", "Europe/London", "2026-03-29T00:59:59.999999", 1) == ["03-29 01:00"]
    assert slots("30 1 * * *", "Europe/London", "2026-03-29T01:00", 1) == ["03-30 00:30"]


def test_a_restart_inside_a_repeated_hour_does_not_repeat_a_fixed_time() -> None:
    assert slots("30 1 * * *", "Europe/London", "2026-10-25T01:05", 1) == ["10-26 01:30"]


def test_a_repetition_around_the_new_year_is_remembered() -> None:
    # Inuvik went back eight hours at the first instant of 1953, UTC; São Tomé an hour and some half an hour before 1884
    assert slots("0 20 * * *", "America/Inuvik", "1953-01-01T01:00", 1) == ["01-02 04:00"]
    assert slots("45 23 * * *", "Africa/Sao_Tome", "1883-12-31", 2) == ["12-31 23:18", "01-02 00:21"]


# The wall rule


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("*/30 * * * *", "Europe/London", "2026-10-25T00:10", ["10-25 00:30", "10-25 01:00", "10-25 01:30"]),
        ("*/30 * * * *", "Europe/London", "2026-03-29T00:10", ["03-29 00:30", "03-29 01:00", "03-29 01:30"]),
        ("*/30 1 * * *", "Europe/London", "2026-03-29", ["03-30 00:00", "03-30 00:30"]),
        ("*/15 1 * * *", "Europe/London", "2026-10-25T00:30", ["10-25 00:45", "10-25 01:00", "10-25 01:15"]),
        ("30 * * * *", "America/New_York", "2026-11-01T05:00", ["11-01 05:30", "11-01 06:30", "11-01 07:30"]),
        ("*/20 2 * * *", "America/New_York", "2026-03-08T05:00", ["03-09 06:00"]),
        ("*/15 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:40", ["04-04 14:45", "04-04 15:00", "04-04 15:15"]),
        ("*/15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["10-03 15:30", "10-03 15:45", "10-04 15:00"]),
        ("30 */1 * * *", "Australia/Lord_Howe", "2026-04-04T14:10", ["04-04 14:30", "04-04 15:00", "04-04 16:00"]),
        ("15 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00", ["10-03 14:45", "10-03 16:15"]),
        ("*/30 2 * * *", "Africa/Casablanca", "2026-02-15T01:20", ["02-15 01:30", "02-15 02:00", "02-15 02:30"]),
        ("*/30 0 * * *", "Asia/Beirut", "2026-03-28T12:00", ["03-29 21:00"]),
        ("*/30 23 * * SAT", "Asia/Beirut", "2026-10-24", ["10-24 20:00", "10-24 20:30", "10-24 21:00", "10-24 21:30"]),
        ("*/30 0 * * SUN", "Atlantic/Azores", "2026-10-25", ["10-25 00:30", "10-25 01:00", "10-25 01:30"]),
        ("*/15 23 * * *", "America/Nuuk", "2026-03-28T12:00", ["03-30 00:00"]),
        # Sunday's first minute comes between Saturday's two passes
        ("*/30 0,23 * * *", "America/St_Johns", "2010-11-07T02:00", ["11-07 02:30", "11-07 03:00", "11-07 03:30"]),
        ("*/30 5 * * *", "Pacific/Kwajalein", "1969-09-29T18:00", ["09-29 18:30", "09-30 17:00", "09-30 17:30"]),
    ],
)
def test_a_wall_rule_fires_at_every_real_minute_that_matches(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    assert slots(cron, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "repeats"),
    [
        ("30 0-23 * * *", False),
        ("0-59/30 1 * * *", False),
        ("5,*/30 1 * * *", False),
        ("30 0,*/1 * * *", False),
        ("*/30 1 * * *", True),
        ("*,30 1 * * *", True),
        ("30 */1 * * *", True),
        ("30 *,1 * * *", True),
    ],
)
def test_only_a_star_that_begins_the_minute_or_hour_makes_a_wall_rule(cron: str, repeats: bool) -> None:
    second_pass = next_slots([cron], "Europe/London", utc("2026-10-25T01:29"), 1) == [utc("2026-10-25T01:30")]
    assert second_pass == repeats


def test_every_hour_of_the_fixed_rule_is_given_once() -> None:
    assert slots("30 0-23 * * *", "Australia/Lord_Howe", "2026-04-04T14:00", 3) == [
        "04-04 14:30",
        "04-04 16:00",
        "04-04 17:00",
    ]


def test_a_star_in_a_date_field_does_not_make_a_wall_rule() -> None:
    assert slots("30 1 */1 */1 */1", "Europe/London", "2026-10-25", 2) == ["10-25 00:30", "10-26 01:30"]


# Dates


def test_a_date_that_does_not_exist_is_skipped() -> None:
    assert slots("0 8 * * *", "Pacific/Apia", "2011-12-29", 3) == ["12-29 18:00", "12-30 18:00", "12-31 18:00"]
    assert next_slots(["0 8 30 12 *"], "Pacific/Apia", utc("2011-12-01"), 1) == [utc("2012-12-29T18:00")]
    assert slots("*/30 0,23 * * *", "Pacific/Apia", "2011-12-30T09:00", 4) == [
        "12-30 09:30",
        "12-30 10:00",
        "12-30 10:30",
        "12-31 09:00",
    ]


@pytest.mark.parametrize(
    ("zone", "after", "expected"),
    [
        ("Pacific/Kwajalein", "1993-08-20", ["08-20 12:00", "08-21 12:00", "08-22 12:00"]),
        ("Pacific/Kiritimati", "1994-12-30", ["12-30 10:00", "12-31 10:00", "01-01 10:00"]),
    ],
)
def test_the_midnight_after_a_missing_date_is_one_slot(zone: str, after: str, expected: list[str]) -> None:
    assert slots("0 0 * * *", zone, after, 3) == expected


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ("* * 0", ["08-02", "08-09"]),
        ("* * 7", ["08-02", "08-09"]),
        ("* * sun", ["08-02", "08-09"]),
        ("* * FRI-7", ["08-01", "08-02", "08-07"]),
        ("* * 5-7", ["08-01", "08-02", "08-07"]),
        ("* * MON-wed", ["08-03", "08-04", "08-05", "08-10"]),
        ("* feb,APR *", ["02-01", "02-02"]),
        ("L * *", ["08-31", "09-30", "10-31"]),
        ("L 2 *", ["02-28", "02-29"]),
        ("* * 5L", ["08-28", "09-25"]),
        ("* * MON#1", ["08-03", "09-07"]),
        ("* * 1#5", ["08-31", "11-30"]),
        ("15 * 1", ["08-03", "08-10", "08-15", "08-17"]),  # both restricted: either
        ("*/15 * 1", ["08-31", "11-16"]),  # one begins with `*`: both
        ("1-10/3 * *", ["08-01", "08-04", "08-07", "08-10", "09-01"]),
        ("29 2 *", ["02-29", "02-29"]),
    ],
)
def test_date_fields(dates: str, expected: list[str]) -> None:
    # 1 August 2026 is a Saturday; 29 February next comes in 2028
    found = next_slots([f"0 8 {dates}"], "UTC", NOW, len(expected))
    assert [slot.strftime("%m-%d") for slot in found if slot.hour == 8] == expected[: len(found)]
    assert len(found) == len(expected)


# The next slot


def test_slots_are_the_set_union_of_the_expressions_in_utc() -> None:
    found = next_slots(["0 8 * * *", "0 8,10 * * *", "45 16 * * *"], "Europe/London", NOW, 4)
    assert found == [utc("2026-08-01T07:00"), utc("2026-08-01T09:00"), utc("2026-08-01T15:45"), utc("2026-08-02T07:00")]
    assert all(slot.tzinfo is UTC for slot in found)


def test_a_slot_is_strictly_after_the_instant_whatever_its_zone_and_fraction() -> None:
    in_tokyo = utc("2026-08-01T07:00").astimezone(timezone(timedelta(hours=9)))
    assert next_slots(["0 8 * * *"], "Europe/London", in_tokyo, 1) == [utc("2026-08-02T07:00")]
    just_before = in_tokyo - timedelta(microseconds=1)
    assert next_slots(["0 8 * * *"], "Europe/London", just_before, 1) == [utc("2026-08-01T07:00")]


def test_a_sparse_rule_reaches_over_the_century_without_a_leap_day() -> None:
    found = next_slots(["0 0 29 2 *"], "Asia/Tokyo", utc("2094-01-01"), 3)
    assert [slot.year for slot in found] == [2096, 2104, 2108]


def test_fewer_slots_when_the_next_fifty_years_hold_no_more() -> None:
    assert len(next_slots(["0 0 29 2 *"], "UTC", NOW, 100)) == 13
    assert next_slots(["0 8 * * *"], "UTC", NOW, 0) == []


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Midway"])
def test_the_ends_of_the_calendar_are_no_error(zone: str) -> None:
    assert next_slots(["0 8 * * *"], zone, datetime.max.replace(tzinfo=UTC), 1) == []
    assert next_slots(["0 8 * * *"], zone, utc("9998-12-01"), 1)[0].year == 9998
    assert next_slots(["0 8 * * *"], zone, datetime.min.replace(tzinfo=UTC), 1)[0] > datetime.min.replace(tzinfo=UTC)


def test_a_week_of_another_offset_is_seen() -> None:
    # Recife tried summer time from 8 to 15 October 2000
    assert slots("0 12 * * SUN", "America/Recife", "2000-10-01", 3) == ["10-01 15:00", "10-08 14:00", "10-15 15:00"]


def test_the_clock_is_never_read() -> None:
    # In a process of its own: a frozen clock would also stop the event loops of servers that other tests share.
    script = """
from datetime import UTC, datetime
from freezegun import freeze_time
from shared.cron import next_slots
with freeze_time("2040-10-28 01:30"):
    print(next_slots(["*/30 * * * *"], "Europe/London", datetime(2026, 10, 25, tzinfo=UTC), 4))
"""
    frozen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert frozen.stderr == ""
    assert frozen.stdout.strip() == str(next_slots(["*/30 * * * *"], "Europe/London", utc("2026-10-25"), 4))


def test_a_naive_instant_is_refused() -> None:
    naive = utc("2026-08-01").replace(tzinfo=None)
    with pytest.raises(InvalidInputError, match="2026-08-01T00:00:00 has no time zone"):
        next_slots(["0 8 * * *"], "UTC", naive, 1)


def test_next_slots_refuses_what_the_check_refuses() -> None:
    with pytest.raises(InvalidCronError, match="bad minute"):
        next_slots(["61 8 * * *"], "UTC", NOW, 1)
    with pytest.raises(InvalidZoneError, match="'Mars'"):
        next_slots(["0 8 * * *"], "Mars", NOW, 1)


# Parts of the sequence


def test_slots_between_are_those_from_the_start_on_and_before_the_end() -> None:
    noon, next_noon = utc("2026-08-01T11:00"), utc("2026-08-02T11:00")
    assert slots_between(["0 12 * * *"], "Europe/London", noon, next_noon, 9) == [noon]
    just_after, just_later = (at + timedelta(microseconds=1) for at in (noon, next_noon))
    assert slots_between(["0 12 * * *"], "Europe/London", just_after, just_later, 9) == [next_noon]
    assert slots_between(["0 12 * * *"], "Europe/London", next_noon, noon, 9) == []


def test_slots_between_are_the_first_ones() -> None:
    start = utc("2026-03-29")
    assert slots_between(["30 * * * *"], "UTC", start, utc("2030-01-01"), 3) == next_slots(
        ["30 * * * *"], "UTC", start, 3
    )
    assert slots_between(["30 * * * *"], "UTC", start, utc("2030-01-01"), 0) == []


def test_the_last_slots_go_up_to_the_instant_and_following_ones_go_on() -> None:
    until = utc("2026-08-03T07:00")
    found = last_slots(["0 8,10 * * *"], "Europe/London", NOW, until, 3)
    assert found == [utc("2026-08-02T07:00"), utc("2026-08-02T09:00"), until]
    assert next_slots(["0 8,10 * * *"], "Europe/London", until, 1) == [utc("2026-08-03T09:00")]
    just_before = until - timedelta(microseconds=1)
    assert last_slots(["0 8,10 * * *"], "Europe/London", NOW, just_before, 1) == [utc("2026-08-02T09:00")]


def test_the_last_slots_are_fewer_when_there_were_no_more() -> None:
    eight = utc("2026-08-01T07:00")
    assert last_slots(["0 8 * * *"], "Europe/London", eight, eight, 5) == [eight]
    assert last_slots(["0 8 * * *"], "Europe/London", eight, utc("2026-08-02"), 0) == []
    assert last_slots(["0 8 * * *"], "Europe/London", utc("2026-08-02"), eight, 5) == []
    leap_days = last_slots(["0 0 29 2 *"], "UTC", utc("1895-01-01"), utc("1910-01-01"), 5)
    assert [slot.year for slot in leap_days] == [1896, 1904, 1908]


def test_the_last_slots_of_two_thousand_years_of_minutes() -> None:
    found = last_slots(["* * * * *"], "Europe/London", utc("0026-01-01"), NOW, 2)
    assert found == [NOW - timedelta(minutes=1), NOW]


@pytest.mark.parametrize(
    ("crons", "expected"),
    [
        (["0 8 * * *"], True),
        (["0 8 * * MON", "0 8 1 * *"], True),
        (["@daily"], True),
        (["0 8 * * MON", "0 9 * * TUE"], False),
        (["0 8,9 * * *"], False),
        (["*/60 8 * * *"], False),  # a wall rule: twice where 08:00 comes twice
        (["0 * * * *"], False),
    ],
)
def test_once_a_day_is_one_fixed_time(crons: list[str], expected: bool) -> None:
    assert once_a_day(crons) == expected


@pytest.mark.parametrize("part", [slots_between, last_slots, clock_changes])
@pytest.mark.parametrize("field", ["start", "end"])
def test_a_part_between_naive_instants_is_refused(part: Callable[..., object], field: str) -> None:
    bounds = {"start": NOW, "end": NOW} | {field: NOW.replace(tzinfo=None)}
    with pytest.raises(InvalidInputError, match="2026-08-01T00:00:00 has no time zone"):
        part(["0 8 * * *"], "UTC", *bounds.values(), *([] if part is clock_changes else [1]))


# Clock changes


def test_a_clock_change_names_what_runs_otherwise() -> None:
    crons = ["30 1 * * *", "*/20 1 * * *", "45 * * * *"]
    gap, fold = clock_changes(crons, "Europe/London", utc("2026-01-01"), utc("2027-01-01"))
    assert (gap.at, gap.begin, gap.end, gap.gap) == (
        utc("2026-03-29T01:00"),
        local("2026-03-29T01:00"),
        local("2026-03-29T02:00"),
        True,
    )
    assert gap.fixed == (local("2026-03-29T01:30"),)
    assert gap.wall == tuple(local(f"2026-03-29T01:{minute}") for minute in ("00", "20", "40"))
    assert (fold.at, fold.begin, fold.end, fold.gap) == (
        utc("2026-10-25T01:00"),
        local("2026-10-25T01:00"),
        local("2026-10-25T02:00"),
        False,
    )
    assert fold.fixed == (local("2026-10-25T01:30"),)
    assert fold.wall == tuple(local(f"2026-10-25T01:{minute}") for minute in ("00", "20", "40"))


def test_what_a_rule_of_every_hour_names_too_is_no_wonder_in_a_fold() -> None:
    [gap] = clock_changes(["30 1 * * *", "*/30 * * * *"], "Europe/London", utc("2026-01-01"), utc("2027-01-01"))
    assert (gap.gap, gap.fixed, gap.wall) == (True, (local("2026-03-29T01:30"),), ())


def test_a_clock_change_that_touches_nothing_is_left_out() -> None:
    year = utc("2026-01-01"), utc("2027-01-01")
    assert clock_changes(["0 8 * * *", "*/5 * * * *", "30 1 * * MON"], "Europe/London", *year) == []
    assert clock_changes(["30 1 * * *"], "UTC", *year) == []
    assert clock_changes(["30 1 * * *"], "Europe/London", utc("2026-03-29T01:01"), utc("2026-10-25T01:00")) == []
    both = clock_changes(["30 1 * * *"], "Europe/London", utc("2026-03-29T01:00"), utc("2026-10-25T01:01"))
    assert [change.gap for change in both] == [True, False]


@pytest.mark.parametrize(
    ("cron", "always", "mostly"),
    [
        ("0 8 31 * *", [2, 4, 6, 9, 11], [2, 4, 6, 9, 11]),
        ("0 8 30,31 1-3 *", [2], [2]),
        ("0 8 29 * *", [], [2]),
        ("0 8 29 2 *", [], [2]),
        ("0 8 28-31 * *", [], []),
        ("0 8 L * *", [], []),
        ("0 8 31,L * *", [], []),
        ("0 8 31 * FRI", [], []),  # every Friday of those months
        ("0 8 * * *", [], []),
    ],
)
def test_months_without_the_day(cron: str, always: list[int], mostly: list[int]) -> None:
    assert months_too_short(cron, leap=True) == always
    assert months_too_short(cron, leap=False) == mostly


# Words


@pytest.mark.parametrize(
    ("crons", "sentence"),
    [
        ("0 8 * * *", "At 08:00 every day"),
        ("@daily", "At 00:00 every day"),
        ("0 8,10,14 * * *", "At 08:00, 10:00 and 14:00 every day"),
        (
            "0 8 * * *|0 10 * * *|0 14 * * *|0 16 * * *|45 16 * * *|0 22 * * *",
            "At 08:00, 10:00, 14:00, 16:00, 16:45 and 22:00 every day",
        ),
        ("0 8 * * 1-5", "At 08:00 on Monday to Friday"),
        ("30 7 * * MON-FRI|0 9 * * 1-5", "At 07:30 and 09:00 on Monday to Friday"),
        ("0 10 * * SAT,SUN|0 8 * * 1-5", "At 08:00 on Monday to Friday; at 10:00 on Saturday and Sunday"),
        ("0 8 * * MON|0 8 1 * *", "At 08:00 on Monday and on the 1st of every month"),
        ("0 8 * * 0", "At 08:00 on Sunday"),
        ("0 8 * * 5-7", "At 08:00 on Friday to Sunday"),
        ("0 8 * * 0-6", "At 08:00 every day"),
        ("0 8 * * MON,WED,FRI", "At 08:00 on Monday, Wednesday and Friday"),
        ("0 8 * * MON#1", "At 08:00 on the first Monday of every month"),
        ("0 8 * 3,6 5L", "At 08:00 on the last Friday of March and June"),
        ("0 8 * * 1,0#2", "At 08:00 on Monday and the second Sunday of every month"),
        ("0 8 * 6-8 *", "At 08:00 every day in June to August"),
        ("0 8 * JAN,JUL MON", "At 08:00 on Monday in January and July"),
        ("0 8 1,15 * *", "At 08:00 on the 1st and 15th of every month"),
        (
            "0 8 2,3,11,12,13,21,22,23,31 * *",
            "At 08:00 on the 2nd, 3rd, 11th to 13th, 21st to 23rd and 31st of every month",
        ),
        ("0 8 1-7 5 *", "At 08:00 on 1 to 7 May"),
        ("0 8 */5 * *", "At 08:00 on every 5th day from the 1st to the 31st of every month"),
        ("0 8 L * *", "At 08:00 on the last day of every month"),
        ("0 8 15,LW * *", "At 08:00 on the 15th and last weekday of every month"),
        ("0 8 29 2 *", "At 08:00 on 29 February"),
        ("0 8 13 * 5", "At 08:00 on the 13th of every month and also on Friday"),
        ("0 8 1-31 * 5", "At 08:00 every day"),
        (
            "0 8 */2 * MON,TUE",
            "At 08:00 on every 2nd day from the 1st to the 31st of every month if it is Monday or Tuesday",
        ),
        ("0 8 1-7 * */2", "At 08:00 on the 1st to 7th of every month if it is Tuesday, Thursday, Saturday or Sunday"),
        ("@hourly", "Every hour"),
        ("0 0-23 * * *", "Every hour"),
        ("30 * * * *", "At 30 minutes past every hour"),
        ("1 * * * 6", "At 1 minute past every hour on Saturday"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("*/5 * * * *|0 8 * * *", "At 08:00 and every 5 minutes every day"),
        ("* 8 * * *", "Every minute from 08:00 to 08:59 every day"),
        ("*/15 9-17 * * 1-5", "Every 15 minutes from 09:00 to 17:45 on Monday to Friday"),
        ("0 9-17 * * *", "Every hour from 09:00 to 17:00 every day"),
        ("0 */2 * * *", "Every 2 hours from 00:00 to 22:00 every day"),
        ("5/15 * * * *", "Every 15 minutes from 00:05 to 23:50 every day"),
        ("1-1/10 * * * *", "Every 10 minutes from 00:01 to 23:51 every day"),
        ("*/30 */12 * * *", "At 00:00, 00:30, 12:00 and 12:30 every day"),
        ("*/90 8 * * *", "At 08:00 every day"),
        ("*/7 * * * *", "At minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("3,17 8-14,20 * * *", "At minutes 3 and 17 of the hours 08:00 to 14:00 and 20:00 every day"),
        ("7 0-9,12-20 * * *", "At minute 7 of the hours 00:00 to 09:00 and 12:00 to 20:00 every day"),
    ],
)
def test_a_timetable_in_words(crons: str, sentence: str) -> None:
    assert explain(crons.split("|")) == explain(crons.split("|")[::-1]) == sentence


# The dialect


@pytest.mark.parametrize(
    ("alias", "canonical"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        (" @Yearly ", "0 0 1 1 *"),
    ],
)
def test_an_alias_is_five_fields(alias: str, canonical: str) -> None:
    assert check(alias) == [canonical]
    assert next_slots([alias], "Asia/Gaza", NOW, 3) == next_slots([canonical], "Asia/Gaza", NOW, 3)


def test_equal_timetables_have_one_canonical_list() -> None:
    typed = ["0  8\t* * mon", "@daily", "0 0 * * *", "0 8 * * MON "]
    assert check(typed) == check(typed[::-1]) == ["0 0 * * *", "0 8 * * MON"]


@pytest.mark.parametrize(
    ("cron", "words", "hint"),
    [
        ("0 8 * *", "has 4 fields instead of 5", "Write minute (0-59), hour (0-23)"),
        ("*", "has 1 field instead of 5", "Write minute"),
        ("", "has 0 fields", "Write minute"),
        ("0 0 8 * * *", "has 6 fields instead of 5: seconds are not supported", "Leave out the first field."),
        ("0 0 8 * * ? 2027", "has 7 fields", "Write minute"),
        ("@reboot", "is no alias that is known here", "Use @hourly, @daily, @weekly, @monthly, @yearly or five fields"),
        ("@daily * * * *", "bad minute '@DAILY'", "Write minute"),
        ("@every 5m", "has 2 fields", "or one of @hourly @daily"),
        ("\u0660 \u0668 * * *", "not plain ASCII", "Write digits as 0-9"),
        ("0 8 * *\u2003*", "not plain ASCII", "separate the fields by spaces"),
        ("0 8 * * *\x00", r"bad day-of-week '*\x00'", "day of week (0-7, SUN-SAT, MON#1, 5L)"),
        ("1-99999999 * * * *", "bad minute '1-99999999'", "minute (0-59)"),
        ("0 0-100000000 * * *", "bad hour '0-100000000'", "hour (0-23)"),
        ("*/0 * * * *", "bad minute '*/0'", "Write minute"),
        ("50-10 * * * *", "bad minute '50-10'", "Write minute"),
        ("0 24 * * *", "bad hour '24'", "Write minute"),
        ("0 8 0 * *", "bad day-of-month '0'", "day of month (1-31 if the month has it, L)"),
        ("0 8 * 13 *", "bad month '13'", "month (1-12, JAN-DEC)"),
        ("0 8 * * 8", "bad day-of-week '8'", "Write minute"),
        ("0 8 * * sat-sun", "bad day-of-week 'SAT-SUN'", "A range ends on Sunday as 7, such as FRI-7."),
        ("0 8 * * MON#6", "bad day-of-week 'MON#6'", "Write minute"),
        ("0 8 30 2 *", "day-of-month '30' never comes in month '2'", "L is the last day of any month"),
        ("0 8 31 feb,4 *", "day-of-month '31' never comes in month 'FEB,4'", "Choose a date that exists"),
        ("0 8 32 2 *", "bad day-of-month '32'", "Write minute"),
        ("0 8 30 13 *", "bad month '13'", "Write minute"),
        ("0 8 ? * *", "bad day-of-month '?'", "Write minute"),
        (",".join(["1"] * 300) + " * * * *", "has 607 characters, at most 100 are allowed", "Split it into several"),
        ("0 8 * * *" + " " * 92, "has 101 characters", "Split it into several"),
        (",".join(["0-59"] * 120) + " * * * *", "has 607 characters", "Split it into several"),
        ("* " * 50_000, "has 100000 characters", "Split it into several"),
        ("0/" + "9" * 90 + " * * * x", "bad day-of-week 'X'", "Write minute"),
    ],
)
def test_outside_the_dialect(cron: str, words: str, hint: str) -> None:
    error = refusal(["0 10 * * *", cron])
    assert words in error.message
    assert repr(cron[:40]).upper()[:-1] in error.message.upper()
    assert len(error.message) < 250
    assert error.field == "crons"
    assert hint in (error.hint or "")


def test_a_hundred_characters_are_accepted() -> None:
    assert check("0 8 * * *" + " " * 91) == ["0 8 * * *"]


@pytest.mark.parametrize("count", [0, 11])
def test_a_timetable_has_one_to_ten_expressions(count: int) -> None:
    error = refusal(["0 8 * * *"] * count)
    assert error.message == f"a timetable has 1 to 10 cron expressions, not {count}"
    assert error.hint == "Times of the same dates fit in one expression, such as '0 8,10,14 * * *'."
    assert check(["0 8 * * *"] * 10) == ["0 8 * * *"]


@pytest.mark.parametrize("cron", ["0 0 */31 * 1#5", "0 0 * 2 MON#5"])
def test_what_never_fires_within_five_years_is_refused(cron: str) -> None:
    error = refusal(["0 8 * * *", cron])
    assert error.message == f"cron expression {cron!r} has no slot within 5 years of 2026-08-01"
    assert error.hint == "Choose a date that comes round sooner."


def test_five_years_are_counted_to_the_instant() -> None:
    leap_day = utc("2104-02-29")  # the one before is in 2096
    assert check("0 0 29 2 *", after=leap_day - timedelta(days=1826)) == ["0 0 29 2 *"]
    with pytest.raises(InvalidCronError, match="no slot within 5 years of 2099-02-26"):
        check("0 0 29 2 *", after=leap_day - timedelta(days=1828))


# The smallest interval


@pytest.mark.parametrize(
    ("crons", "apart"),
    [
        (["* * * * *"], "1 min"),
        (["*/7 * * * *"], "4 min"),
        (["0,58 8-9 * * *"], "2 min"),
        (["0 8 * * *", "1 8 * * *"], "1 min"),
        (["58 23 * * *", "0 0 * * *"], "2 min"),
        (["58 23 * * SUN", "1 0 * * MON"], "3 min"),
        (["58 23 L * *", "1 0 1 * *"], "3 min"),
        (["0,58 23 * * *", "1,30 0 * * *"], "3 min"),
        (["58 23 31 12 *", "0 0 * 1 *"], "2 min"),
        (["0 8 29 2 *", "2 8 * * MON"], "2 min"),
        (["0 8 13 * *", "4 8 * * FRI"], "4 min"),
        (["59 23 28 2 *", "0 0 1 3 *"], "1 min"),
        (["59 23 28 2 *", "0 0 29 2 *"], "1 min"),
    ],
)
def test_more_often_than_the_least_interval_is_refused(crons: list[str], apart: str) -> None:
    error = refusal(crons)
    assert f"come {apart} apart, the least is 5 min" in error.message
    assert all(repr(cron) in error.message for cron in crons)


@pytest.mark.parametrize(
    "crons",
    [
        ["*/5 * * * *"],
        ["*/5 * * * *", "*/10 8 * * *", "30 1 * * *"],
        ["0 8 * * MON", "1 8 * * TUE"],
        ["58 23 * * MON", "1 0 * * MON"],
        ["58 23 30 4 *", "1 0 30 4 *", "1 0 2 5 *"],
        ["0 8 1 1 *", "1 8 2 * *"],
        ["0 1 * * *", "45 0 * * *", "0 2 * * *"],  # one instant and 15 min on the day the clocks go forward
    ],
)
def test_far_enough_apart(crons: list[str]) -> None:
    assert check(crons) == sorted(crons)


def test_an_expression_too_dense_by_itself_is_named_alone() -> None:
    assert refusal(["*/5 * * * *", "* 8 * * *"]).message.startswith("slots of '* 8 * * *' come 1 min apart")


@pytest.mark.parametrize(
    ("least", "hint"),
    [
        (FIVE_MINUTES, "Leave at least 5 min between two slots, as '*/5 * * * *' does."),
        (timedelta(minutes=7), "Leave at least 7 min between two slots."),
        (timedelta(hours=1), "Leave at least 60 min between two slots."),
        (timedelta(hours=2), "Leave at least 120 min between two slots."),
    ],
)
def test_the_way_out_of_too_often(least: timedelta, hint: str) -> None:
    assert refusal("* * * * *", min_interval=least).hint == hint


@pytest.mark.parametrize("cron", ["*/1,*/1,*/1,*/1,*/1,*/1 * * * *", "0-59 0-23 1-31 1-12 0-7", "*/4 8 29 2 *"])
def test_every_minute_is_too_often_however_it_is_written(cron: str) -> None:
    assert "apart, the least is 5 min" in refusal(cron).message


def test_a_least_interval_of_days() -> None:
    day = timedelta(days=1)
    assert check(["0 8 * * *"], min_interval=day) == ["0 8 * * *"]
    assert "1439 min apart" in refusal(["0 8 * * MON", "59 7 * * TUE"], min_interval=day).message
    assert "2879 min apart" in refusal(["0 8 * * MON", "59 7 * * WED"], min_interval=2 * day).message
    assert check(["0 8 * * MON", "0 8 * * WED"], min_interval=2 * day) == ["0 8 * * MON", "0 8 * * WED"]


# Zones


def test_an_old_system_copy_never_wins() -> None:
    assert zoneinfo.TZPATH == ()
    # British Columbia stays at -7 after the summer of 2026, which older copies do not know
    assert tzdata_version() >= "2026f"
    assert slots("0 8 * * *", "America/Vancouver", "2026-10-31", 3) == ["10-31 15:00", "11-01 15:00", "11-02 15:00"]
    assert slots("*/30 1 * * *", "America/Vancouver", "2026-11-01", 3) == ["11-01 08:00", "11-01 08:30", "11-02 08:00"]
    assert slots("0 8 * * *", "America/Vancouver", "2027-01-15", 1) == ["01-15 15:00"]


@pytest.mark.parametrize("name", ["Europe/London", "America/Vancouver", "GB", "Asia/Calcutta", "UTC", "EST5EDT"])
def test_a_listed_zone_is_kept_as_typed(name: str) -> None:
    assert check_zone(name) == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Londn", "Did you mean Europe/London?"),
        ("europe/rome", "Did you mean Europe/Rome?"),
        ("New York", "Did you mean America/New_York?"),
        ("Paris", "Did you mean Europe/Paris?"),
        ("Tokio", "Did you mean Asia/Tokyo?"),
        ("London, UK", "Did you mean Europe/London?"),
        ("EST5EDT-ish", "Did you mean EST5EDT?"),
        ("Europe", "Name a place too, such as Europe/Amsterdam."),
        ("america/argentina/", "Name a place too, such as America/Argentina/Buenos_Aires."),
        ("PST", "An abbreviation can mean several zones: use the name of a place, such as Europe/London."),
        ("CEST", "An abbreviation can mean several zones: use the name of a place, such as Europe/London."),
        ("UTC+2", "An offset knows no summer time: use the name of a place, such as Europe/London."),
        ("+02:00", "An offset knows no summer time: use the name of a place, such as Europe/London."),
        ("Europe/London\x00", "Did you mean Europe/London?"),
        ("a/" * 150, "Use an IANA name such as Europe/London."),
        ("america/" * 100_000, "Use an IANA name such as Europe/London."),
        ("Factory", "Use an IANA name such as Europe/London."),
        ("localtime", "Use an IANA name such as Europe/London."),
        ("../../etc/passwd", "Use an IANA name such as Europe/London."),
        ("", "Use an IANA name such as Europe/London."),
        ("x" * 100_000, "Use an IANA name such as Europe/London."),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(InvalidZoneError) as caught:
        check_zone(name)
    assert repr(name[:40])[:-1] in caught.value.message
    assert len(caught.value.message) < 100
    assert (caught.value.field, caught.value.hint) == ("zone", hint)


@pytest.mark.parametrize("zone", ["Mars", "Factory"])
def test_the_check_refuses_an_unknown_zone(zone: str) -> None:
    with pytest.raises(InvalidZoneError, match=zone):
        check_crons(["0 8 * * *"], zone, min_interval=FIVE_MINUTES, after=NOW)


def test_zone_names_are_those_of_places() -> None:
    names = zone_names()
    assert {"Europe/London", "GB", "Europe/Kyiv", "Etc/UTC"} <= names
    assert not names & {"Factory", "localtime", "posixrules"}
    assert not [name for name in names if name.startswith(("right/", "posix/"))]
    assert all(next_slots(["0 8 * * *"], name, NOW, 1) for name in names)
