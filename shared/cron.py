"""Timetables: which cron expressions and zones are accepted, and the slots that they name.

Every instant is computed from stretches of constant UTC offset. Inside one, local time is a plain line of seconds: the
wall rule walks along it, the fixed rule walks only where no earlier stretch has been and looks into the gaps between.
"""

import calendar
import difflib
import re
import zoneinfo
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import islice, pairwise, product
from math import inf
from operator import sub

import tzdata  # type: ignore[import-untyped]  # it ships data, no types
from cronsim import CronSim, CronSimError

from shared.errors import InvalidCronError, InvalidInputError, InvalidZoneError

# An older system copy must never win over the pinned package.
zoneinfo.reset_tzpath(to=[])
zoneinfo.ZoneInfo.clear_cache()

_ALIASES = {
    "@HOURLY": "0 * * * *",
    "@DAILY": "0 0 * * *",
    "@WEEKLY": "0 0 * * 0",
    "@MONTHLY": "0 0 1 * *",
    "@YEARLY": "0 0 1 1 *",
}
MAX_CRONS = 10
MAX_CRON_LENGTH = 100
_FIELDS = 5
_HOURS_OF_DAY = 24
_LONGEST_GUESS = 40

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_SECOND = timedelta(seconds=1)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_FIRST_SLOT_WITHIN = (5 * 365 + 2) * _DAY  # five years hold at most two leap days
_LOOK_AHEAD = (50 * 365 + 13) * _DAY
_PROBE = 5 * _DAY  # the shortest stay at another offset in tzdata is a week less an hour (Recife in 2000)
_LEAP_YEAR, _COMMON_YEAR = 2000, 2001
# In 28 years every date, 29 February too, falls on every weekday; so every shape of a month occurs as well.
_CYCLE = range(2000, 2028)
_SHAPES = {calendar.monthrange(year, month): (year, month) for year, month in product(_CYCLE, range(1, 13))}


_ALIASES_HINT = "Use " + ", ".join(_ALIASES).lower() + " or five fields such as '0 8 * * MON-FRI'."
_FIELDS_HINT = (
    "Write minute (0-59), hour (0-23), day of month (1-31 if the month has it, L), month (1-12, JAN-DEC) and day of "
    "week (0-7, SUN-SAT, MON#1, 5L), such as '0 8 * * MON-FRI', or one of " + " ".join(_ALIASES).lower() + "."
)


LAST_DAY, LAST_WEEKDAY = CronSim.LAST, CronSim.LAST_WEEKDAY  # among a rule's days


@dataclass(frozen=True)
class Rule:
    """A parsed expression: `times` are seconds of the local day, ascending; `fields` are the rest as cronsim has it."""

    cron: str
    fixed: bool
    months: frozenset[int]
    times: tuple[int, ...]
    fields: CronSim


@dataclass(frozen=True)
class ClockChange:
    """Clocks that jump at `at`: local times of [begin, end) do not exist (a gap) or come twice (a fold).

    `fixed` are the local times among them that run once, at the end of the gap or in the first pass of the fold; `wall`
    those that run never or twice, without the rules that run in every hour, to which such a change means little.
    """

    at: datetime
    begin: datetime
    end: datetime
    gap: bool
    fixed: tuple[datetime, ...]
    wall: tuple[datetime, ...]


def next_slots(crons: list[str], zone: str, after: datetime, n: int) -> list[datetime]:
    """Return the next `n` slots of a timetable: aware UTC, strictly after `after`, strictly increasing.

    A pure function, so a restart at any instant continues the same sequence. When neither the minute nor the hour
    field begins with `*` the rule is fixed: each local time once, moved to the end of a spring gap, the first pass of
    an autumn fold, nothing on a date that does not exist. Any other rule fires at every real minute whose wall time
    matches. The distinction is that of Debian's cron. Shorter than `n` when fewer slots lie within 50 years. Raises
    InvalidCronError, InvalidZoneError, and InvalidInputError when `after` is naive.
    """
    last = _until(after, "after")
    return [_instant(slot) for slot in islice(_walk(parse(crons), check_zone(zone), last, last + _LOOK_AHEAD), n)]


def slots_between(crons: list[str], zone: str, start: datetime, end: datetime, at_most: int) -> list[datetime]:
    """Return the first `at_most` slots of [start, end), the same that `next_slots` would give one after the other.

    Raises InvalidCronError, InvalidZoneError, and InvalidInputError when an instant is naive.
    """
    walk = _walk(parse(crons), check_zone(zone), _before(start, "start"), _before(end, "end") + 1)
    return [_instant(slot) for slot in islice(walk, at_most)]


def last_slots(crons: list[str], zone: str, since: datetime, until: datetime, n: int) -> list[datetime]:
    """Return the last `n` slots of [since, until], oldest first; `next_slots` after `until` goes on with them.

    Looks further and further back, so months are not walked through slot by slot. Raises what `slots_between` raises.
    """
    rules, first, last = parse(crons), _before(since, "since"), _until(until, "until")
    check_zone(zone)
    look_back = _HOUR
    while True:
        after = max(first, last - look_back)
        found = list(_walk(rules, zone, after, last + 1))
        if after == first or len(found) >= n:
            return [_instant(slot) for slot in found[max(len(found) - n, 0) :]]
        look_back *= 2


def once_a_day(crons: list[str]) -> bool:
    """Whether a local date has at most one slot, for every rule is fixed and all name one and the same time."""
    rules = parse(crons)
    return all(rule.fixed for rule in rules) and len({time for rule in rules for time in rule.times}) <= 1


def clock_changes(crons: list[str], zone: str, start: datetime, end: datetime) -> list[ClockChange]:
    """Return the changes of [start, end) that touch a local time of the timetable, in order.

    Raises what `slots_between` raises.
    """
    rules, last, stop = parse(crons), _before(start, "start"), _before(end, "end") + 1
    changes = (
        _clock_change(rules, at, before, after)
        for (_, _, before), (at, _, after) in pairwise(_stretches_between(check_zone(zone), last, stop))
        if before != after and last < at < stop
    )
    return [change for change in changes if change.fixed or change.wall]


def months_too_short(cron: str, *, leap: bool) -> list[int]:
    """Return the months of an expression that end before the first of its days of the month, by the kind of year."""
    rule = _rule(_canonical(cron))
    year = _LEAP_YEAR if leap else _COMMON_YEAR
    if not rule.fields.day_and:
        return []
    return sorted(month for month in rule.months if calendar.monthrange(year, month)[1] < min(rule.fields.days))


def check_crons(crons: list[str], zone: str, *, min_interval: timedelta, after: datetime) -> list[str]:
    """Return the canonical timetable: aliases expanded, whitespace and case folded, sorted, no duplicates.

    Raises InvalidCronError for an expression outside the dialect, for one with no slot within 5 years of `after`, and
    for two slots that ever come less than `min_interval` apart by the local clock (what a clock change alone brings
    closer is accepted). Raises InvalidZoneError for an unknown zone.
    """
    if not 1 <= len(crons) <= MAX_CRONS:
        raise InvalidCronError(
            f"a timetable has 1 to {MAX_CRONS} cron expressions, not {len(crons)}",
            field="crons",
            hint="Times of the same dates fit in one expression, such as '0 8,10,14 * * *'.",
        )
    check_zone(zone)
    rules = [_rule(cron) for cron in sorted({_canonical(cron) for cron in crons})]
    for rule in rules:
        _check_fires(rule, zone, after)
    _check_interval(rules, min_interval)
    return [rule.cron for rule in rules]


def check_zone(name: str) -> str:
    """Return `name` as typed when the pinned tzdata lists it, links too; raises InvalidZoneError with a near match."""
    if name in zone_names():
        return name
    message = f"{_shown(name)} is no zone of tzdata {tzdata_version()}"
    raise InvalidZoneError(message, field="zone", hint=_zone_hint(name[:_LONGEST_GUESS].replace(" ", "_")))


def _zone_hint(typed: str) -> str:
    if cities := [zone for zone in sorted(zone_names()) if zone.lower().startswith(typed.lower().rstrip("/") + "/")]:
        return f"Name a place too, such as {cities[0]}."
    if re.search(r"[+-]\d", typed):
        return "An offset knows no summer time: use the name of a place, such as Europe/London."
    if re.fullmatch("[A-Z]{2,5}", typed):
        return "An abbreviation can mean several zones: use the name of a place, such as Europe/London."
    places = _places()
    near = difflib.get_close_matches(typed.lower(), places, n=1, cutoff=0.7)
    return f"Did you mean {places[near[0]]}?" if near else "Use an IANA name such as Europe/London."


@lru_cache(maxsize=1)
def _places() -> dict[str, str]:
    """Zones by their names and by the city alone, which people type, both in lower case."""
    return {part: zone for zone in sorted(zone_names()) for part in (zone.lower(), zone.lower().rpartition("/")[2])}


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return every zone name of the pinned tzdata package, links too, without the names that are no place's time."""
    names = resources.files(tzdata).joinpath("zones").read_text(encoding="ascii").split()
    hidden = {"Factory", "localtime", "posixrules"}
    return frozenset(name for name in names if name not in hidden and not name.startswith(("right/", "posix/")))


def tzdata_version() -> str:
    """Return the IANA version of the pinned tzdata package, such as `2026f`."""
    return str(tzdata.IANA_VERSION)


def parse(crons: Iterable[str]) -> list[Rule]:
    """The rules of expressions, aliases included; raises InvalidCronError for one outside the dialect."""
    return [_rule(_canonical(cron)) for cron in crons]


def _canonical(cron: str) -> str:
    """Five fields in upper case with single spaces; cronsim judges what stands in them."""
    if len(cron) > MAX_CRON_LENGTH:
        raise _refused(
            cron,
            f" has {len(cron)} characters, at most {MAX_CRON_LENGTH} are allowed",
            "Split it into several expressions of one timetable.",
        )
    if not cron.isascii():
        raise _refused(cron, " is not plain ASCII", "Write digits as 0-9 and separate the fields by spaces.")
    fields = cron.upper().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        if fields[0] not in _ALIASES:
            raise _refused(cron, " is no alias that is known here", _ALIASES_HINT)
        fields = _ALIASES[fields[0]].split()
    if len(fields) != _FIELDS:
        count = f" has {len(fields)} field{'s' * (len(fields) != 1)} instead of {_FIELDS}"
        if len(fields) == _FIELDS + 1:  # cronsim itself would take them
            raise _refused(cron, f"{count}: seconds are not supported", "Leave out the first field. " + _FIELDS_HINT)
        raise _refused(cron, count, _FIELDS_HINT)
    return " ".join(fields)


def _refused(cron: str, what: str, hint: str) -> InvalidCronError:
    return InvalidCronError(f"cron expression {_shown(cron)}{what}", field="crons", hint=hint)


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_CRON_LENGTH else text[:40] + "…")


@lru_cache(maxsize=1024)
def _rule(cron: str) -> Rule:
    try:
        fields = CronSim(cron, _EPOCH)
    except CronSimError as error:
        raise _bad_field(cron, str(error)) from error
    minute, hour = cron.split()[:2]
    return Rule(
        cron=cron,
        fixed=not minute.startswith("*") and not hour.startswith("*"),
        months=frozenset(fields.months),
        times=tuple(h * 3600 + m * 60 for h, m in product(sorted(fields.hours), sorted(fields.minutes))),
        fields=fields,
    )


def _bad_field(cron: str, error: str) -> InvalidCronError:
    fields = dict(zip(("minute", "hour", "day-of-month", "month", "day-of-week"), cron.split(), strict=True))
    name = error.lower().removeprefix("bad ")
    if name == "day-of-month" and _parses(" ".join((fields | {"month": "*"}).values())):
        what = f": day-of-month {fields[name]!r} never comes in month {fields['month']!r}"
        return _refused(cron, what, "Choose a date that exists; L is the last day of any month.")
    hint = "A range ends on Sunday as 7, such as FRI-7." if "-SUN" in fields[name] else _FIELDS_HINT
    return _refused(cron, f": bad {name} {fields[name]!r}", hint)


def _parses(cron: str) -> bool:
    try:
        CronSim(cron, _EPOCH)
    except CronSimError:
        return False
    return True


def _check_fires(rule: Rule, zone: str, after: datetime) -> None:
    last = _until(after, "after")
    if next(_walk([rule], zone, last, last + _FIRST_SLOT_WITHIN + 1), None) is None:
        raise InvalidCronError(
            f"cron expression {rule.cron!r} has no slot within 5 years of {after:%Y-%m-%d}",
            field="crons",
            hint="Choose a date that comes round sooner.",
        )


def _check_interval(rules: list[Rule], least: timedelta) -> None:
    times = sorted({time for rule in rules for time in rule.times})
    if min(map(sub, [*times[1:], times[0] + _DAY], times)) >= least.total_seconds():
        return  # on whatever dates
    # An expression that is too dense by itself is named alone, so those pairs go first.
    pairs = sorted(product(rules, rules), key=lambda pair: pair[0] is not pair[1])
    for (one, other), days in product(pairs, range(least.days + 2)):
        if not days and other.cron < one.cron:
            continue  # on one date the pair is the same the other way round
        apart = _closest(one, other, days)
        if apart < least.total_seconds() and _calendar(one.cron) & (_calendar(other.cron) >> days):
            names = " and ".join(repr(cron) for cron in dict.fromkeys((one.cron, other.cron)))
            raise InvalidCronError(
                f"slots of {names} come {_minutes(apart)} apart, the least is {_minutes(least.total_seconds())}",
                field="crons",
                hint=_apart_hint(least),
            )


def _apart_hint(least: timedelta) -> str:
    seconds = least.total_seconds()
    steps_fit = _MINUTE <= seconds < _HOUR and seconds % _MINUTE == 0 and _HOUR % seconds == 0
    example = f", as '*/{seconds / _MINUTE:g} * * * *' does" if steps_fit else ""
    return f"Leave at least {_minutes(seconds)} between two slots{example}."


def _closest(one: Rule, other: Rule, days: int) -> float:
    """Fewest seconds by the local clock from a slot of `one` to a slot of `other`, `days` dates later."""
    if days:
        return days * _DAY + other.times[0] - one.times[-1]
    times = sorted({*one.times, *other.times})
    return min(map(sub, times[1:], times), default=inf)


def _minutes(seconds: float) -> str:
    return f"{seconds / _MINUTE:g} min"


@lru_cache(maxsize=1024)
def _calendar(cron: str) -> int:
    """Bit i is set when the expression's dates include day i of the 28-year cycle."""
    start = date(_CYCLE[0], 1, 1).toordinal()
    months = ((date(year, month, 1).toordinal() - start, year, month) for year, month in product(_CYCLE, range(1, 13)))
    mask = 0
    for place, year, month in months:
        mask |= _days(_rule(cron), year, month) << place
    return mask


def _days(rule: Rule, year: int, month: int) -> int:
    """Bit d is set when the rule's dates include day d of this month."""
    return _shape_days(rule.cron, calendar.monthrange(year, month)) if month in rule.months else 0


@lru_cache(maxsize=8192)
def _shape_days(cron: str, shape: tuple[int, int]) -> int:
    """`_days` of any month with this (weekday of the first, length): nothing else decides what cronsim matches."""
    year, month = _SHAPES[shape]
    match = _rule(cron).fields.match_day
    return sum(1 << day for day in range(1, shape[1] + 1) if match(date(year, month, day)))


def _walk(rules: list[Rule], zone: str, last: int, stop: int) -> Iterator[int]:
    """Slots of (last, stop), ascending, all in seconds since the epoch."""
    passed: int | None = None  # local time up to which a fixed rule is settled
    for begin, end, offset in _stretches_between(zone, last, stop):
        passed = begin + offset if passed is None else passed
        if last < begin < stop and passed < begin + offset and _moves(rules, passed, begin + offset):
            last = begin
            yield begin
        for local in _nominal(rules, max(begin, last + 1) + offset, min(end, stop) + offset, passed):
            last = local - offset
            yield last
        passed = max(passed, end + offset)


def _moves(rules: list[Rule], low: int, high: int) -> bool:
    """Whether a fixed rule names a local time of the gap [low, high) on a date that exists, before it or after it."""
    fixed = [rule for rule in rules if rule.fixed]
    midnights = (local - local % _DAY for local in _nominal(fixed, low, high, low))
    return any(midnight < low or midnight + _DAY > high for midnight in midnights)


def _nominal(rules: list[Rule], low: int, high: int, passed: int) -> Iterator[int]:
    """Local times of [low, high) that the rules name, ascending; of fixed rules only those from `passed` on."""
    for midnight, due in _dates(rules, low, high):
        yield from sorted(
            {
                midnight + time
                for rule in due
                for time in rule.times
                if (max(low, passed) if rule.fixed else low) <= midnight + time < high
            }
        )


def _dates(rules: list[Rule], low: int, high: int) -> Iterator[tuple[int, list[Rule]]]:
    """Local midnights of the dates that [low, high) touches and a rule includes, with those rules."""
    place, end = low // _DAY, -(-high // _DAY)
    while place < end:
        day = date.fromordinal(_EPOCH_DAY + place)
        rest = calendar.monthrange(day.year, day.month)[1] - day.day + 1
        month = [(rule, days >> day.day) for rule in rules if (days := _days(rule, day.year, day.month))]
        for ahead in range(min(rest, end - place) if month else 0):
            due = [rule for rule, days in month if days >> ahead & 1]
            if due:
                yield (place + ahead) * _DAY, due
        place += rest


def _clock_change(rules: list[Rule], at: int, before: int, after: int) -> ClockChange:
    begin, end, gap = min(at + before, at + after), max(at + before, at + after), before < after

    def named(chosen: Callable[[Rule], bool]) -> set[int]:
        return set(_nominal([rule for rule in rules if chosen(rule)], begin, end, begin))

    fixed, wall = named(lambda rule: rule.fixed), named(lambda rule: not rule.fixed)
    in_some_hours = named(lambda rule: not rule.fixed and len(rule.fields.hours) < _HOURS_OF_DAY)
    # What both kinds name is moved out of a gap, and runs in both passes of a fold.
    fixed, wall = (fixed, in_some_hours - fixed) if gap else (fixed - wall, in_some_hours)
    return ClockChange(
        at=_instant(at),
        begin=_local(begin),
        end=_local(end),
        gap=gap,
        fixed=tuple(map(_local, sorted(fixed))),
        wall=tuple(map(_local, sorted(wall))),
    )


def _stretches_between(zone: str, last: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of (last, stop) and of the year before, in which a repeated hour may have begun."""
    # The outermost years stay free so that no offset leaves the calendar.
    for year in range(max(_year(last) - 1, MINYEAR + 1), min(_year(stop) + 1, MAXYEAR)):
        yield from _stretches(zone, year)


def _year(instant: int) -> int:
    return date.fromordinal(min(max(_EPOCH_DAY + instant // _DAY, 1), date.max.toordinal())).year


@lru_cache(maxsize=4096)
def _stretches(zone: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """Cut the UTC year where the zone's offset changes: (begin, end, offset) in seconds, the first two of the epoch."""
    first, last = ((date(each, 1, 1).toordinal() - _EPOCH_DAY) * _DAY for each in (year, year + 1))
    place = zoneinfo.ZoneInfo(zone)
    probes = [(instant, _offset(place, instant)) for instant in (*range(first, last, _PROBE), last)]
    changes = [_change(place, low, high) for (low, before), (high, after) in pairwise(probes) if before != after]
    return tuple((begin, end, _offset(place, begin)) for begin, end in pairwise(sorted({first, *changes, last})))


def _change(zone: zoneinfo.ZoneInfo, low: int, high: int) -> int:
    """First instant of (low, high] whose offset is no longer that of `low`."""
    before = _offset(zone, low)
    return low + bisect_left(range(low, high), True, key=lambda instant: _offset(zone, instant) != before)


def _offset(zone: zoneinfo.ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset() or timedelta()
    return offset // timedelta(seconds=1)


def _until(instant: datetime, name: str) -> int:
    """The last whole second that is not after the instant."""
    if instant.tzinfo is None:
        raise InvalidInputError(f"{instant.isoformat()} has no time zone: pass an aware instant", field=name)
    return (instant - _EPOCH) // _SECOND


def _before(instant: datetime, name: str) -> int:
    """The last whole second before the instant."""
    whole = _until(instant, name)
    return whole if _instant(whole) < instant else whole - 1


def _instant(seconds: int) -> datetime:
    return _EPOCH + seconds * _SECOND


def _local(seconds: int) -> datetime:
    return _instant(seconds).replace(tzinfo=None)
