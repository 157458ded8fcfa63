"""What a user is shown before a timetable is stored."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.cron import next_slots
from shared.errors import InvalidCronError, InvalidInputError, InvalidZoneError
from shared.preview import Preview, preview

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def show(crons: str | list[str], zone: str = "Europe/London", *, now: datetime = NOW, n: int = 6) -> Preview:
    found = [crons] if isinstance(crons, str) else crons
    return preview(found, zone, now=now, min_interval=FIVE_MINUTES, n=n)


def warnings(crons: str | list[str], zone: str = "Europe/London", *, now: datetime = NOW) -> list[tuple[str, str]]:
    return [(warning.code.value, warning.text) for warning in show(crons, zone, now=now).warnings]


# The whole


def test_a_preview_as_its_clients_read_it() -> None:
    shown = show(["30  1 * * mon-7", "30 1 * * MON-7"], now=utc("2026-03-28T22:10"), n=2)
    assert shown.model_dump(mode="json") == {
        "crons": ["30 1 * * MON-7"],
        "zone": "Europe/London",
        "sentence": "At 01:30 every day",
        "slots": [
            {"at": "2026-03-29T01:00:00Z", "local": "2026-03-29T02:00:00+01:00", "relative": "in 2 h 50 min"},
            {"at": "2026-03-30T00:30:00Z", "local": "2026-03-30T01:30:00+01:00", "relative": "in 1 day 2 h"},
        ],
        "warnings": [
            {
                "code": "spring_gap",
                "text": "29 March 2026 01:30 does not exist in Europe/London: it runs at 02:00",
            },
            {
                "code": "autumn_fold",
                "text": "25 October 2026 01:30 comes twice in Europe/London: it runs the first time",
            },
            {
                "code": "spring_gap",
                "text": "28 March 2027 01:30 does not exist in Europe/London: it runs at 02:00",
            },
        ],
    }


def test_a_preview_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        show("0 8 * * *").zone = "UTC"  # type: ignore[misc]  # which is what is refused


@settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(
    st.lists(st.sampled_from(["0 8 * * *", "30 1 * * *", "*/30 1 * * *", "0 0 29 2 *", "15 9-17 13 * 5"]), min_size=1),
    st.sampled_from(["Europe/London", "Africa/Casablanca", "Australia/Lord_Howe", "America/Nuuk", "UTC"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)).map(lambda naive: naive.replace(tzinfo=UTC)),  # noqa: DTZ001
    st.integers(0, 8),
)
def test_the_slots_are_the_next_ones(crons: list[str], zone: str, now: datetime, n: int) -> None:
    shown = show(crons[:10], zone, now=now, n=n)
    assert [slot.at for slot in shown.slots] == next_slots(list(shown.crons), zone, now, n)
    assert [datetime.fromisoformat(slot.local) for slot in shown.slots] == [slot.at for slot in shown.slots]
    assert all(slot.relative.startswith("in ") for slot in shown.slots)


@pytest.mark.parametrize(
    ("now", "relative"),
    [
        ("2026-01-02T11:59:31", "in less than a minute"),
        ("2026-01-02T11:59:29", "in 1 min"),
        ("2026-01-02T11:01", "in 59 min"),
        ("2026-01-02T11:00:20", "in 1 h"),
        ("2026-01-02T08:40", "in 3 h 20 min"),
        ("2026-01-01T12:01", "in 23 h 59 min"),
        ("2026-01-01T12:00", "in 1 day"),
        ("2026-01-01T09:10", "in 1 day 2 h"),
        ("2025-12-31T12:00:10", "in 2 days"),
        ("2025-12-30T13:00", "in 2 days"),
        ("2025-01-02T12:01", "in 364 days"),
    ],
)
def test_how_far_ahead_a_slot_is(now: str, relative: str) -> None:
    [slot] = show("0 12 2 1 *", "UTC", now=utc(now), n=1).slots
    assert (slot.at, slot.relative) == (utc("2026-01-02T12:00"), relative)


# What may surprise


def test_nothing_surprising() -> None:
    assert warnings(["0 8,10,14,16,22 * * *", "45 16 * * *"]) == []
    assert warnings(["*/5 * * * *", "15 * * * MON-FRI"]) == []
    assert warnings("30 1 * * *", "UTC") == []
    assert warnings("30 1 * * MON-SAT") == []


@pytest.mark.parametrize(
    ("cron", "zone", "texts"),
    [
        (
            "30 1 * * *",
            "Europe/London",
            ["spring_gap 29 March 2026 01:30 does not exist in Europe/London: it runs at 02:00"],
        ),
        (
            "15,45 1 * * *",
            "Europe/London",
            ["spring_gap 29 March 2026 01:15 and 01:45 do not exist in Europe/London: they run once, at 02:00"],
        ),
        (
            "0-59/5 1 * * *",
            "GB",
            ["spring_gap 29 March 2026 01:00, 01:05, 01:10 and 9 more do not exist in GB: they run once, at 02:00"],
        ),
        (
            "30 2 * * *",
            "America/New_York",
            ["spring_gap 8 March 2026 02:30 does not exist in America/New_York: it runs at 03:00"],
        ),
        (
            "0 0 * * *",
            "Africa/Cairo",
            ["spring_gap 24 April 2026 00:00 does not exist in Africa/Cairo: it runs at 01:00"],
        ),
        (
            "15 23 * * *",
            "America/Nuuk",
            ["spring_gap 28 March 2026 23:15 does not exist in America/Nuuk: it runs at 00:00 on 29 March 2026"],
        ),
        (
            "*/30 1 * * *",
            "Europe/London",
            ["wall_gap 29 March 2026 01:00 and 01:30 do not exist in Europe/London: nothing runs then"],
        ),
        (
            "*/15 2 * * *",
            "Australia/Lord_Howe",
            ["wall_gap 4 October 2026 02:00 and 02:15 do not exist in Australia/Lord_Howe: nothing runs then"],
        ),
    ],
)
def test_a_time_that_does_not_exist(cron: str, zone: str, texts: list[str]) -> None:
    assert [" ".join(warning) for warning in warnings(cron, zone) if "gap" in warning[0]] == texts


@pytest.mark.parametrize(
    ("cron", "zone", "texts"),
    [
        (
            "30 1 * * *",
            "Europe/London",
            ["autumn_fold 25 October 2026 01:30 comes twice in Europe/London: it runs the first time"],
        ),
        (
            "0,30 1 * * *",
            "America/New_York",
            ["autumn_fold 1 November 2026 01:00 and 01:30 come twice in America/New_York: each runs the first time"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            ["autumn_fold 5 April 2026 01:45 comes twice in Australia/Lord_Howe: it runs the first time"],
        ),
        ("30 1 * * *", "America/Vancouver", []),
        (
            "*/60 1 * * *",
            "Europe/London",
            ["wall_fold 25 October 2026 01:00 comes twice in Europe/London: it runs both times"],
        ),
        (
            "*/30 2 * * *",
            "Africa/Casablanca",
            [
                "wall_fold 15 February 2026 02:00 and 02:30 come twice in Africa/Casablanca: each runs both times",
            ],
        ),
    ],
)
def test_a_time_that_comes_twice(cron: str, zone: str, texts: list[str]) -> None:
    assert [" ".join(warning) for warning in warnings(cron, zone) if "fold" in warning[0]] == texts


def test_times_around_midnight_have_their_own_dates() -> None:
    # St John's went from 00:01 on Sunday back to 23:01 on Saturday
    [_, (code, text)] = warnings("0,30 0,23 * * *", "America/St_Johns", now=utc("2010-01-01"))
    assert code == "autumn_fold"
    assert text.startswith("6 November 2010 23:30 and 7 November 2010 00:00 come twice in America/St_Johns")


def test_both_kinds_of_rule_agree_on_one_time() -> None:
    assert [code for code, _ in warnings(["30 1 * * *", "*/30 1 * * *"])] == ["spring_gap", "wall_gap", "wall_fold"]
    assert [code for code, _ in warnings(["30 1 * * *", "*/30 * * * *"])] == ["spring_gap"]


def test_a_date_that_does_not_exist_is_told_once() -> None:
    [skipped] = warnings(["0 8,9 * * *", "*/30 10 * * *"], "Pacific/Apia", now=utc("2011-12-29"))
    assert skipped == ("date_skipped", "30 December 2011 does not exist in Pacific/Apia: nothing runs for it")


def test_the_warnings_are_those_of_the_coming_year() -> None:
    assert warnings("30 1 * * *", now=utc("2026-03-29T01:00"))[0][1].startswith("29 March 2026")
    assert warnings("30 1 * * *", now=utc("2026-03-29T01:01"))[0][1].startswith("25 October 2026")
    assert len(warnings("30 1 * * *", now=utc("2026-03-29T01:01"))) == 2


@pytest.mark.parametrize("cron", ["0 8 13 * 5", "0 8 1-31 * MON", "0 8 L * 0-6"])
def test_two_day_fields_are_either(cron: str) -> None:
    text = f"'{cron}': with both a day of the month and a day of the week, cron runs on either of them"
    assert warnings(cron) == [("dom_dow_or", text)]


def test_one_day_field_with_a_star_is_no_surprise() -> None:
    assert warnings(["0 8 */2 * MON", "0 9 13 * *", "0 10 13 * */2"]) == []


@pytest.mark.parametrize(
    ("crons", "texts"),
    [
        (["0 8 31 4-6 *"], ["'0 8 31 4-6 *': nothing in April and June, too short for it (L is the last day of any)"]),
        (["0 8 30 * *"], ["'0 8 30 * *': nothing in February, too short for it (L is the last day of any)"]),
        (
            ["0 8 29 * *", "0 9 29 2 *", "0 10 28,29 * *"],
            ["'0 8 29 * *' and '0 9 29 2 *': nothing in February except in leap years"],
        ),
        (
            [f"0 {hour} 29 2 *" for hour in range(10)],
            ["'0 0 29 2 *', '0 1 29 2 *', '0 2 29 2 *' and 7 more: nothing in February except in leap years"],
        ),
    ],
)
def test_months_without_the_day(crons: list[str], texts: list[str]) -> None:
    assert warnings(crons, "UTC") == [("short_month", text) for text in texts]


def test_at_most_eight_warnings_the_rarest_surprise_last() -> None:
    months = ["1", "2,3", "4", "6", "9", "11", "1,4", "2,4,5", "1,6", "1,9"]
    crons = [f"{'0' if each % 2 else '*/30'} 1 31 {month},12 *" for each, month in enumerate(months)]
    codes = [code for code, _ in warnings([*crons[1:], "30 1 29 3 0"])]
    assert codes[:2] == ["dom_dow_or", "spring_gap"]
    assert codes[2:] == ["short_month"] * 6


# What is refused

HOSTILE = [
    [],
    ["0 8 * * *"] * 11,
    ["0 8 * * *"] * 100_000,
    ["0 0 8 * * *"],
    ["0 8 30 2 *"],
    ["0 0 */31 * 1#5"],
    ["* * * * *"],
    ["*/1,*/1,*/1,*/1,*/1,*/1 * * * *"],
    ["@reboot"],
    ["\u0660-\u0665 * * * *"],
    [",".join(["0-59"] * 120) + " * * * *"],
    ["1-99999999 * * * *"],
    ["0 8 * * *\x00"],
    ["* " * 50_000],
    [f"*/5 {hour}-23 * * *" for hour in range(9)] + ["1-59/5 8 29 2 *"],
]


@pytest.mark.parametrize("crons", HOSTILE, ids=lambda crons: f"{len(crons)}x{''.join(crons[-1:])[:20]!r}")
def test_hostile_expressions_are_refused_with_a_way_out(crons: list[str]) -> None:
    with pytest.raises(InvalidCronError) as caught:
        show(crons)
    assert caught.value.field == "crons"
    assert caught.value.hint
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    "zone", ["Mars", "EST5EDT-ish", "Europe", "x" * 300, "localtime", "", "Europe/London\x00", "PST"]
)
def test_a_zone_that_is_none_is_refused_with_a_way_out(zone: str) -> None:
    with pytest.raises(InvalidZoneError) as caught:
        show("0 8 * * *", zone)
    assert caught.value.field == "zone"
    assert caught.value.hint


def test_a_naive_now_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="2026-01-01T00:00:00 has no time zone"):
        show("0 8 * * *", now=NOW.replace(tzinfo=None))
