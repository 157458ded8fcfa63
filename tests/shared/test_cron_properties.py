"""What must hold for every zone and rule; the oracle walks every UTC minute and knows nothing of stretches."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import groupby, pairwise, product
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cron import check_crons, clock_changes, last_slots, next_slots, slots_between, zone_names
from shared.cron_words import explain
from shared.errors import InvalidCronError

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
AROUND = timedelta(hours=8)
exact = settings(derandomize=True, deadline=None, database=None)

MINUTES = {
    "*": range(60),
    "*/7": range(0, 60, 7),
    "*/30": range(0, 60, 30),
    "0": [0],
    "30": [30],
    "15,45": [15, 45],
    "0-59/10": range(0, 60, 10),
    "5,*/30": [0, 5, 30],
}
HOURS = {
    "*": range(24),
    "*/2": range(0, 24, 2),
    "0": [0],
    "1": [1],
    "2": [2],
    "23": [23],
    "0-23": range(24),
    "22-23": [22, 23],
    "0-3": range(4),
    "1,*/3": [0, 1, 3, 6, 9, 12, 15, 18, 21],
}


def last_of_month(day: date) -> bool:
    return (day + DAY).month != day.month


DATES: dict[str, Callable[[date], bool]] = {
    "* * *": lambda day: True,
    "* * 1-5": lambda day: day.isoweekday() <= 5,
    "* * SUN": lambda day: day.isoweekday() == 7,
    "* * 6,7": lambda day: day.isoweekday() >= 6,
    "* * 0L": lambda day: day.isoweekday() == 7 and (day + 7 * DAY).month != day.month,
    "* * WED#2": lambda day: day.isoweekday() == 3 and 8 <= day.day <= 14,
    "L * *": last_of_month,
    "1 * *": lambda day: day.day == 1,
    "29 2 *": lambda day: (day.month, day.day) == (2, 29),
    "13 * 5": lambda day: day.day == 13 or day.isoweekday() == 5,
    "*/2 MAR-nov 6": lambda day: day.day % 2 == 1 and 3 <= day.month <= 11 and day.isoweekday() == 6,
}


@dataclass(frozen=True)
class Rule:
    minute: str
    hour: str
    dates: str

    @property
    def cron(self) -> str:
        return f"{self.minute} {self.hour} {self.dates}"

    @property
    def fixed(self) -> bool:
        return self.minute[0] != "*" and self.hour[0] != "*"

    def times(self, day: date) -> list[datetime]:
        """Naive local times, ascending."""
        if not DATES[self.dates](day):
            return []
        return [datetime(day.year, day.month, day.day, h, m) for h in HOURS[self.hour] for m in MINUTES[self.minute]]  # noqa: DTZ001 - local


rules = st.lists(
    st.builds(Rule, *(st.sampled_from(sorted(names)) for names in (MINUTES, HOURS, DATES))), min_size=1, max_size=4
)
instants = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)).map(lambda naive: naive.replace(tzinfo=UTC))  # noqa: DTZ001


@lru_cache(maxsize=1)
def canonical_zones() -> list[str]:
    """One name for each different file of the tzdata package."""
    files = resources.files("tzdata").joinpath("zoneinfo")
    return sorted({files.joinpath(*name.split("/")).read_bytes(): name for name in sorted(zone_names())}.values())


@lru_cache(maxsize=1)
def changes() -> list[tuple[str, datetime]]:
    """(zone, last minute of the old offset) for every change in 2026-2028."""
    found = []
    for zone in canonical_zones():
        place = ZoneInfo(zone)
        probes = [BEGIN + step * DAY for step in range((END - BEGIN).days + 1)]
        offsets = [probe.astimezone(place).utcoffset() for probe in probes]
        for low, before, after in zip(probes, offsets, offsets[1:], strict=False):
            if before != after:
                found.append((zone, last_minute(place, low)))
    return found


def last_minute(place: ZoneInfo, low: datetime) -> datetime:
    before = low.astimezone(place).utcoffset()
    steps = range(DAY // MINUTE)
    changed = bisect_left(steps, True, key=lambda step: (low + step * MINUTE).astimezone(place).utcoffset() != before)
    return low + (changed - 1) * MINUTE


@lru_cache(maxsize=1)
def minutes(zone: str, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """(instant, naive local time) of every minute of (begin, end]."""
    place = ZoneInfo(zone)
    walk = [begin + step * MINUTE for step in range(1, (end - begin) // MINUTE + 1)]
    return [(instant, instant.astimezone(place).replace(tzinfo=None)) for instant in walk]


def oracle(several: Iterable[Rule], walk: list[tuple[datetime, datetime]]) -> list[datetime]:
    dates = {local.date() for _, local in walk}
    first: dict[datetime, datetime] = {}
    for instant, local in walk:
        first.setdefault(local, instant)
    slots: set[datetime] = set()
    for rule in several:
        times = {nominal for day in dates for nominal in rule.times(day)}
        if not rule.fixed:
            slots |= {instant for instant, local in walk if local in times}
            continue
        inside = {nominal for nominal in times if walk[0][1] <= nominal <= walk[-1][1]}
        slots |= {first[nominal] for nominal in inside & first.keys()}
        slots |= {next(instant for instant, local in walk if local > lost) for lost in inside - first.keys()}
    return sorted(slots)


def assert_agrees(several: list[Rule], zone: str, change: datetime) -> None:
    walk = minutes(zone, change - AROUND, change + AROUND)
    expected = oracle(several, walk)
    found = next_slots([rule.cron for rule in several], zone, change - AROUND, len(expected) + 1)
    assert [slot for slot in found if slot <= change + AROUND] == expected


def test_every_change_of_every_zone_agrees_with_the_walk_over_its_minutes() -> None:
    assert (len(canonical_zones()), len(changes())) > (330, 600)
    fixed = [Rule("15,45", "0-3", "* * *"), Rule("0", "0", "* * *"), Rule("30", "23", "* * 6,7")]
    wall = [Rule("*/30", "*", "* * *"), Rule("*/7", "22-23", "* * *"), Rule("30", "*/2", "* * SUN")]
    for zone, change in changes():
        assert_agrees(fixed, zone, change)
        assert_agrees([*fixed[1:], *wall], zone, change)


@settings(exact, max_examples=200)
@given(st.data(), rules)
def test_any_timetable_agrees_with_the_walk_around_any_change(data: st.DataObject, several: list[Rule]) -> None:
    zone, change = data.draw(st.sampled_from(changes()))
    assert_agrees(several, zone, change)


@settings(exact, max_examples=150)
@given(st.data(), rules, instants)
def test_any_timetable_agrees_with_the_walk_at_any_instant_of_any_zone(
    data: st.DataObject, several: list[Rule], instant: datetime
) -> None:
    assert_agrees(several, data.draw(st.sampled_from(canonical_zones())), instant.replace(second=0, microsecond=0))


@settings(exact, max_examples=300)
@given(st.data(), rules, instants)
def test_slots_rise_from_after_and_a_restart_at_any_instant_goes_on_with_the_same(
    data: st.DataObject, several: list[Rule], after: datetime
) -> None:
    zone = data.draw(st.sampled_from(canonical_zones()))
    crons = [rule.cron for rule in several]
    found = next_slots(crons, zone, after, 30)
    assert all(one < other for one, other in pairwise([after, *found]))
    assert all(slot.tzinfo is UTC for slot in found)
    restart = data.draw(st.datetimes(after.replace(tzinfo=None), found[-2].replace(tzinfo=None))).replace(tzinfo=UTC)
    rest = [slot for slot in found if slot > restart]
    assert next_slots(crons, zone, restart, len(rest)) == rest


@settings(exact, max_examples=300)
@given(st.data(), rules)
def test_a_restart_around_a_change_goes_on_with_the_same(data: st.DataObject, several: list[Rule]) -> None:
    zone, change = data.draw(st.sampled_from(changes()))
    crons = [rule.cron for rule in several]
    restart = change + data.draw(st.integers(-90, 90)) * MINUTE
    begin = change - timedelta(hours=3)
    found = next_slots(crons, zone, begin, 400)
    assert next_slots(crons, zone, restart, 20) == [slot for slot in found if slot > restart][:20]


def assert_once_for_every_date(zone: str, hour: int, minute: int) -> None:
    place = ZoneInfo(zone)
    dates = [BEGIN.date() + step * DAY for step in range((END - BEGIN).days)]
    nominal = [datetime(day.year, day.month, day.day, hour, minute) for day in dates]  # noqa: DTZ001 - local
    start = nominal[0].replace(tzinfo=place).astimezone(UTC) - MINUTE
    found = next_slots([f"{minute} {hour} * * *"], zone, start, len(dates))
    local = [slot.astimezone(place).replace(tzinfo=None) for slot in found]
    assert all(one < other for one, other in pairwise(found))
    for slot, at, wanted in zip(found, local, nominal, strict=True):
        if at != wanted:  # then the time does not exist, and the gap around it ends at the slot
            assert (slot - MINUTE).astimezone(place).replace(tzinfo=None) < wanted < at


def touched(zone: str, last: datetime) -> tuple[datetime, datetime]:
    """The local times that a change leaves out or repeats: the first, and the one after the last."""
    out, into = (at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in (last, last + MINUTE))
    return min(out + MINUTE, into), max(out + MINUTE, into)


def test_a_fixed_daily_time_fires_once_for_every_date_of_every_zone() -> None:
    for zone in canonical_zones():
        assert_once_for_every_date(zone, 0, 0)
    for zone, those in groupby(changes(), key=lambda change: change[0]):
        firsts = {touched(zone, last)[0] for _, last in those}
        for hour, minute in {(2, 30), *((first.hour, first.minute) for first in firsts)}:
            assert_once_for_every_date(zone, hour, minute)


# Parts of the sequence


@settings(exact, max_examples=200)
@given(st.data(), rules)
def test_slots_between_and_the_last_slots_are_parts_of_the_sequence(data: st.DataObject, several: list[Rule]) -> None:
    zone, change = data.draw(st.sampled_from(changes()))
    crons = [rule.cron for rule in several]
    sequence = next_slots(crons, zone, change - 2 * DAY, 400)
    spots = st.sampled_from(sequence) | st.integers(-1500, 1500).map(lambda minutes: change + minutes * MINUTE)
    moved = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1), DAY / 7])
    begin, end = sorted(min(data.draw(spots) + data.draw(moved), sequence[-1]) for _ in range(2))
    n = data.draw(st.integers(0, 60))
    inside = [slot for slot in sequence if begin <= slot <= end]
    assert last_slots(crons, zone, begin, end, n) == inside[max(len(inside) - n, 0) :]
    assert slots_between(crons, zone, begin, end, n) == [slot for slot in inside if slot < end][:n]


@settings(exact, max_examples=100)
@given(st.data(), rules, instants, st.integers(1, 1000))
def test_the_last_slots_of_years_are_the_end_of_the_sequence(
    data: st.DataObject, several: list[Rule], until: datetime, days: int
) -> None:
    zone = data.draw(st.sampled_from(canonical_zones()))
    crons = [rule.cron for rule in several]
    found = last_slots(crons, zone, until - days * DAY, until, 7)
    before = found[0] - timedelta(microseconds=1) if found else until - days * DAY
    assert [slot for slot in next_slots(crons, zone, before, 8) if slot <= until] == found
    if len(found) < 7:
        assert next_slots(crons, zone, until - days * DAY - timedelta(microseconds=1), 1)[0] == (
            found[0] if found else next_slots(crons, zone, until, 1)[0]
        )


def named(several: list[Rule], begin: datetime, end: datetime) -> set[datetime]:
    days = {begin.date(), end.date()}
    return {time for rule in several for day in days for time in rule.times(day) if begin <= time < end}


@settings(exact, max_examples=300)
@given(st.data(), rules)
def test_a_clock_change_tells_what_runs_otherwise(data: st.DataObject, several: list[Rule]) -> None:
    zone, last = data.draw(st.sampled_from(changes()))
    crons = [rule.cron for rule in several]
    begin, end = touched(zone, last)
    fixed = named([rule for rule in several if rule.fixed], begin, end)
    wall = named([rule for rule in several if not rule.fixed], begin, end)
    some_hours = named([rule for rule in several if not rule.fixed and len(HOURS[rule.hour]) < 24], begin, end)
    gap = last.astimezone(ZoneInfo(zone)).replace(tzinfo=None) < begin
    fixed, wall = (fixed, some_hours - fixed) if gap else (fixed - wall, some_hours)
    found = clock_changes(crons, zone, last, last + 2 * MINUTE)
    assert [(change.at, change.begin, change.end, change.gap) for change in found] == (
        [(last + MINUTE, begin, end, gap)] if fixed or wall else []
    )
    assert [(set(change.fixed), set(change.wall)) for change in found] == [(fixed, wall)] * len(found)
    slots = set(next_slots(crons, zone, last - AROUND, 2000))
    assert last + MINUTE in slots or not (gap and fixed)
    for local in () if gap else fixed | wall:
        passes = [local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
        assert [at in slots for at in passes] == [True, local in wall]


def test_the_same_words_mean_the_same_slots() -> None:
    by_words: dict[str, set[tuple[datetime, ...]]] = {}
    for minute, hour, dates in product(MINUTES, HOURS, DATES):
        cron = Rule(minute, hour, dates).cron
        by_words.setdefault(explain([cron]), set()).add(tuple(next_slots([cron], "UTC", BEGIN, 40)))
    assert {words for words, those in by_words.items() if len(those) > 1} == set()
    assert len(by_words) < len(MINUTES) * len(HOURS) * len(DATES)


@settings(exact, max_examples=60)
@given(st.sampled_from(sorted(DATES)), instants)
def test_date_fields_mean_what_the_calendar_says(dates: str, after: datetime) -> None:
    days = [after.date() + step * DAY for step in range(1, 800)]
    expected = [day for day in days if DATES[dates](day)]
    found = next_slots([f"59 23 {dates}"], "UTC", after.replace(hour=23, minute=59, second=59), len(expected) + 1)
    assert [slot.date() for slot in found][: len(expected)] == expected
    assert all((slot.hour, slot.minute) == (23, 59) for slot in found)
    assert found[len(expected)].date() > days[-1]


def accepted(crons: list[str], least: timedelta) -> list[str] | None:
    try:
        return check_crons(crons, "Europe/London", min_interval=least, after=BEGIN)
    except InvalidCronError:
        return None


@lru_cache(maxsize=16)
def cycle(dates: str) -> list[date]:
    """What the date fields include in 28 years, which show every date on every weekday."""
    days = [date(2000, 1, 1) + step * DAY for step in range(28 * 365 + 7)]
    return [day for day in days if DATES[dates](day)]


near_midnight = st.builds(
    Rule, st.sampled_from(["0", "5,*/30", "30"]), st.sampled_from(["0", "23"]), st.sampled_from(sorted(DATES))
)


@settings(exact, max_examples=250)
@given(st.lists(near_midnight, min_size=1, max_size=3), st.sampled_from([5, 10, 35, 90]))
def test_the_least_interval_is_that_of_the_calendar(several: list[Rule], least: int) -> None:
    nominal = sorted({time for rule in several for day in cycle(rule.dates) for time in rule.times(day)})
    close_together = any(other - one < least * MINUTE for one, other in pairwise(nominal))
    crons = [rule.cron for rule in several]
    assert (accepted(crons, least * MINUTE) is None) == close_together


fields = st.text("0123456789*,-/#L ", max_size=12) | st.sampled_from(
    [*MINUTES, *HOURS, "MON", "JAN-MAR", "5L", "LW", "@"]
)


@settings(exact, max_examples=600)
@given(st.lists(fields, min_size=5, max_size=5).map(" ".join) | st.text(max_size=120))
def test_any_text_is_refused_or_accepted_for_good(cron: str) -> None:
    canonical = accepted([cron], MINUTE)
    if canonical is None:
        return
    assert check_crons(canonical, "Asia/Tokyo", min_interval=MINUTE, after=BEGIN) == canonical
    assert next_slots([cron], "Asia/Tokyo", BEGIN, 3) == next_slots(canonical, "Asia/Tokyo", BEGIN, 3) != []
