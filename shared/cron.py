"""Timetables: which cron expressions and zones are accepted, and the slots that they name.

Every instant is computed from stretches of constant UTC offset. Inside one, local time is a plain line of seconds: the
wall rule walks along it, the fixed rule walks only where no earlier stretch has been and looks into the gaps between.
"""

import calendar
import difflib
import zoneinfo
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import pairwise, product
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
_FIRST_SLOT_WITHIN = timedelta(days=5 * 365 + 2)  # five years hold at most two leap days
_LOOK_AHEAD_YEARS = 50

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY = 86_400
_PROBE = 5 * _DAY  # the shortest stay at another offset in tzdata is a week less an hour (Recife in 2000)
# In 28 years every date, 29 February too, falls on every weekday; so every shape of a month occurs as well.
_CYCLE = range(2000, 2028)
_SHAPES = {calendar.monthrange(year, month): (year, month) for year, month in product(_CYCLE, range(1, 13))}
_FIELDS_HINT = (
    "Write minute (0-59), hour (0-23), day of month (1-31 if the month has it, L), month (1-12, JAN-DEC) and day of "
    "week (0-7, SUN-SAT, MON#1, 5L), such as '0 8 * * MON-FRI', or one of " + " ".join(_ALIASES).lower() + "."
)


@dataclass(frozen=True)
class _Rule:
    cron: str
    fixed: bool
    months: frozenset[int]
    times: tuple[int, ...]  # seconds of the local day, ascending
    fields: CronSim


def next_slots(crons: list[str], zone: str, after: datetime, n: int) -> list[datetime]:
    """Return the next `n` slots of a timetable: aware UTC, strictly after `after`, strictly increasing.

    A pure function, so a restart at any instant continues the same sequence. When neither the minute nor the hour
    field begins with `*` the rule is fixed: each local time once, moved to the end of a spring gap, the first pass of
    an autumn fold, nothing on a date that does not exist. Any other rule fires at every real minute whose wall time
    matches. The distinction is that of Debian's cron. Shorter than `n` when fewer slots lie within 50 years. Raises
    InvalidCronError, InvalidZoneError, and InvalidInputError when `after` is naive.
    """
    rules = [_rule(_canonical(cron)) for cron in crons]
    walk = _walk(rules, check_zone(zone), after, _LOOK_AHEAD_YEARS)
    return [_EPOCH + timedelta(seconds=slot) for _, slot in zip(range(n), walk, strict=False)]


def check_crons(crons: list[str], zone: str, *, min_interval: timedelta, after: datetime) -> list[str]:
    """Return the canonical timetable: aliases expanded, whitespace and case folded, sorted, no duplicates.

    Raises InvalidCronError for an expression outside the dialect, for one with no slot within 5 years of `after`, and
    for two slots that ever come less than `min_interval` apart by the local clock (what a clock change alone brings
    closer is accepted). Raises InvalidZoneError for an unknown zone.
    """
    if not 1 <= len(crons) <= MAX_CRONS:
        raise InvalidCronError(f"a timetable has 1 to {MAX_CRONS} cron expressions, not {len(crons)}", field="crons")
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
    # People type the city alone, or misspell it.
    known = {part: zone for zone in sorted(zone_names()) for part in (zone.lower(), zone.lower().rpartition("/")[2])}
    near = difflib.get_close_matches(name[:40].lower().replace(" ", "_"), known, n=1, cutoff=0.7)
    hint = f"Did you mean {known[near[0]]}?" if near else "Use an IANA name such as Europe/London."
    raise InvalidZoneError(f"{_shown(name)} is no zone of tzdata {tzdata_version()}", field="zone", hint=hint)


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return every zone name of the pinned tzdata package, links too, without the names that are no place's time."""
    names = resources.files(tzdata).joinpath("zones").read_text(encoding="ascii").split()
    hidden = {"Factory", "localtime", "posixrules"}
    return frozenset(name for name in names if name not in hidden and not name.startswith(("right/", "posix/")))


def tzdata_version() -> str:
    """Return the IANA version of the pinned tzdata package, such as `2026f`."""
    return str(tzdata.IANA_VERSION)


def _canonical(cron: str) -> str:
    """Five fields in upper case with single spaces; cronsim judges what stands in them."""
    if len(cron) > MAX_CRON_LENGTH:
        raise InvalidCronError(
            f"cron expression {_shown(cron)} has {len(cron)} characters, at most {MAX_CRON_LENGTH} are allowed",
            field="crons",
            hint="Split it into several expressions of one timetable.",
        )
    if not cron.isascii():
        raise InvalidCronError(f"cron expression {_shown(cron)} is not plain ASCII", field="crons", hint=_FIELDS_HINT)
    fields = cron.upper().split()
    if len(fields) == 1:
        fields = _ALIASES.get(fields[0], fields[0]).split()
    if len(fields) != 5:  # noqa: PLR2004 - the dialect; cronsim itself would take six, the first for seconds
        raise InvalidCronError(
            f"cron expression {_shown(cron)} has {len(fields)} fields instead of 5", field="crons", hint=_FIELDS_HINT
        )
    return " ".join(fields)


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_CRON_LENGTH else text[:40] + "…")


@lru_cache(maxsize=1024)
def _rule(cron: str) -> _Rule:
    try:
        fields = CronSim(cron, _EPOCH)
    except CronSimError as error:
        message = f"cron expression {_shown(cron)}: {str(error).lower()}"
        raise InvalidCronError(message, field="crons", hint=_FIELDS_HINT) from error
    minute, hour = cron.split()[:2]
    return _Rule(
        cron=cron,
        fixed=not minute.startswith("*") and not hour.startswith("*"),
        months=frozenset(fields.months),
        times=tuple(h * 3600 + m * 60 for h, m in product(sorted(fields.hours), sorted(fields.minutes))),
        fields=fields,
    )


def _check_fires(rule: _Rule, zone: str, after: datetime) -> None:
    first = next(_walk([rule], zone, after, 5), None)
    if first is None or _EPOCH + timedelta(seconds=first) - after > _FIRST_SLOT_WITHIN:
        raise InvalidCronError(
            f"cron expression {rule.cron!r} has no slot within 5 years of {after:%Y-%m-%d}",
            field="crons",
            hint="Choose a date that comes round sooner.",
        )


def _check_interval(rules: list[_Rule], least: timedelta) -> None:
    # An expression that is too dense by itself is named alone, so those pairs go first.
    pairs = sorted(product(rules, rules), key=lambda pair: pair[0] is not pair[1])
    for (one, other), days in product(pairs, range(least.days + 2)):
        apart = _closest(one, other, days)
        if apart < least.total_seconds() and _calendar(one.cron) & (_calendar(other.cron) >> days):
            names = " and ".join(repr(cron) for cron in dict.fromkeys((one.cron, other.cron)))
            raise InvalidCronError(
                f"slots of {names} come {_minutes(apart)} apart, the least is {_minutes(least.total_seconds())}",
                field="crons",
                hint="Leave more time between two slots.",
            )


def _closest(one: _Rule, other: _Rule, days: int) -> float:
    """Fewest seconds by the local clock from a slot of `one` to a slot of `other`, `days` dates later."""
    if days:
        return days * _DAY + other.times[0] - one.times[-1]
    times = sorted({*one.times, *other.times})
    return min(map(sub, times[1:], times), default=inf)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min"


@lru_cache(maxsize=1024)
def _calendar(cron: str) -> int:
    """Bit i is set when the expression's dates include day i of the 28-year cycle."""
    start = date(_CYCLE[0], 1, 1).toordinal()
    months = ((date(year, month, 1).toordinal() - start, year, month) for year, month in product(_CYCLE, range(1, 13)))
    mask = 0
    for place, year, month in months:
        mask |= _days(_rule(cron), year, month) << place
    return mask


def _days(rule: _Rule, year: int, month: int) -> int:
    """Bit d is set when the rule's dates include day d of this month."""
    return _shape_days(rule.cron, calendar.monthrange(year, month)) if month in rule.months else 0


@lru_cache(maxsize=8192)
def _shape_days(cron: str, shape: tuple[int, int]) -> int:
    """`_days` of any month with this (weekday of the first, length): nothing else decides what cronsim matches."""
    year, month = _SHAPES[shape]
    match = _rule(cron).fields.match_day
    return sum(1 << day for day in range(1, shape[1] + 1) if match(date(year, month, day)))


def _walk(rules: list[_Rule], zone: str, after: datetime, years: int) -> Iterator[int]:
    """Slots after `after` as ascending seconds since the epoch, to the end of the year that lies `years` ahead."""
    if after.tzinfo is None:
        raise InvalidInputError(f"{after.isoformat()} has no time zone: pass an aware instant", field="after")
    last = (after - _EPOCH) // timedelta(seconds=1)
    passed: int | None = None  # local time up to which a fixed rule is settled
    for begin, end, offset in _stretches_from(zone, after.year - 1, years + 2):
        passed = begin + offset if passed is None else passed
        if begin > last and passed < begin + offset and _moves(rules, passed, begin + offset):
            last = begin
            yield begin
        for local in _nominal(rules, max(begin, last + 1) + offset, end + offset, passed):
            last = local - offset
            yield last
        passed = max(passed, end + offset)


def _moves(rules: list[_Rule], low: int, high: int) -> bool:
    """Whether a fixed rule names a local time of the gap [low, high) on a date that exists, before it or after it."""
    fixed = [rule for rule in rules if rule.fixed]
    midnights = (local - local % _DAY for local in _nominal(fixed, low, high, low))
    return any(midnight < low or midnight + _DAY > high for midnight in midnights)


def _nominal(rules: list[_Rule], low: int, high: int, passed: int) -> Iterator[int]:
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


def _dates(rules: list[_Rule], low: int, high: int) -> Iterator[tuple[int, list[_Rule]]]:
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


def _stretches_from(zone: str, year: int, years: int) -> Iterator[tuple[int, int, int]]:
    # The outermost years stay free so that no offset leaves the calendar.
    for each in range(max(year, MINYEAR + 1), min(year + years, MAXYEAR)):
        yield from _stretches(zone, each)


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
