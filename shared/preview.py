"""Preview: what a timetable means before it is stored, in words, in its next slots and in what may surprise."""

import calendar
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import chain, islice
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from shared.cron import ClockChange, check_crons, clock_changes, months_too_short, next_slots
from shared.cron_words import explain

_YEAR = timedelta(days=365)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_DATE_FIELDS = (2, 4)
_MOST_WARNINGS = 8
_MOST_NAMED = 3


class WarningCode(StrEnum):
    """What a warning is about, for clients that have their own words."""

    DOM_DOW_OR = "dom_dow_or"
    SPRING_GAP = "spring_gap"
    AUTUMN_FOLD = "autumn_fold"
    WALL_GAP = "wall_gap"
    WALL_FOLD = "wall_fold"
    DATE_SKIPPED = "date_skipped"
    SHORT_MONTH = "short_month"


class Caution(BaseModel):
    """One thing about a timetable that its author may not expect."""

    model_config = ConfigDict(frozen=True)

    code: WarningCode
    text: str


class PreviewedSlot(BaseModel):
    """The instant in UTC, the local time as ISO 8601 with its offset, and how far ahead it is in words."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    local: str
    relative: str


class Preview(BaseModel):
    """A timetable in canonical form, in words, its next slots and its warnings."""

    model_config = ConfigDict(frozen=True)

    crons: tuple[str, ...]
    zone: str
    sentence: str
    slots: tuple[PreviewedSlot, ...]
    warnings: tuple[Caution, ...]


def preview(crons: list[str], zone: str, *, now: datetime, min_interval: timedelta, n: int = 6) -> Preview:
    """Check a timetable and show its next `n` slots after `now`, with warnings about the year that follows.

    Raises what `check_crons` raises: InvalidCronError, InvalidZoneError, and InvalidInputError when `now` is naive.
    """
    canonical = check_crons(crons, zone, min_interval=min_interval, after=now)
    place = ZoneInfo(zone)
    slots = (
        PreviewedSlot(at=slot, local=slot.astimezone(place).isoformat(), relative=_relative(slot - now))
        for slot in next_slots(canonical, zone, now, n)
    )
    return Preview(
        crons=tuple(canonical),
        zone=zone,
        sentence=explain(canonical),
        slots=tuple(slots),
        warnings=tuple(islice(_warnings(canonical, zone, now), _MOST_WARNINGS)),
    )


def _relative(ahead: timedelta) -> str:
    """To the minute within a day, to the hour within two, then in days."""
    hours, minutes = divmod(round(ahead / _MINUTE), 60)
    days, hours = divmod(hours, 24)
    if days > 1:
        return f"in {days} days"
    parts = ((days, "day"), (hours, "h"), (0 if days else minutes, "min"))
    return "in " + (" ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute")


def _warnings(crons: list[str], zone: str, now: datetime) -> Iterator[Caution]:
    changes = clock_changes(crons, zone, now, now + _YEAR)
    about_changes = (caution for change in changes for caution in _about_change(change, zone))
    return chain(_about_either(crons), about_changes, _about_short_months(crons))


def _about_either(crons: list[str]) -> Iterator[Caution]:
    either = [cron for cron in crons if not any(cron.split()[place].startswith("*") for place in _DATE_FIELDS)]
    if either:
        text = f"{_quoted(either)}: with both a day of the month and a day of the week, cron runs on either of them"
        yield Caution(code=WarningCode.DOM_DOW_OR, text=text)


def _about_change(change: ClockChange, zone: str) -> Iterator[Caution]:
    return _about_gap(change, zone) if change.gap else _about_fold(change, zone)


def _about_gap(change: ClockChange, zone: str) -> Iterator[Caution]:
    gone = {at.date() for at in (*change.fixed, *change.wall) if _is_gone(at.date(), change)}
    for day in sorted(gone):
        text = f"{_day(day)} does not exist in {zone}: nothing runs for it"
        yield Caution(code=WarningCode.DATE_SKIPPED, text=text)
    if fixed := [at for at in change.fixed if at.date() not in gone]:
        then = f"{change.end:%H:%M}" + (f" on {_day(change.end)}" if change.end.date() != fixed[-1].date() else "")
        what = _what(fixed, f"does not exist in {zone}: it runs at", f"do not exist in {zone}: they run once, at")
        yield Caution(code=WarningCode.SPRING_GAP, text=f"{what} {then}")
    if wall := [at for at in change.wall if at.date() not in gone]:
        what = _what(wall, f"does not exist in {zone}", f"do not exist in {zone}")
        yield Caution(code=WarningCode.WALL_GAP, text=f"{what}: nothing runs then")


def _about_fold(change: ClockChange, zone: str) -> Iterator[Caution]:
    come = f"comes twice in {zone}: it runs", f"come twice in {zone}: each runs"
    if change.fixed:
        yield Caution(code=WarningCode.AUTUMN_FOLD, text=f"{_what(change.fixed, *come)} the first time")
    if change.wall:
        yield Caution(code=WarningCode.WALL_FOLD, text=f"{_what(change.wall, *come)} both times")


def _is_gone(day: date, change: ClockChange) -> bool:
    midnight = datetime.combine(day, time())
    return change.begin <= midnight and midnight + _DAY <= change.end


def _about_short_months(crons: list[str]) -> Iterator[Caution]:
    by_text: dict[str, list[str]] = {}
    for cron in crons:
        if months := months_too_short(cron, leap=True):
            names = _listing([calendar.month_name[month] for month in months])
            by_text.setdefault(f"nothing in {names}, too short for it (L is the last day of any)", []).append(cron)
        elif months_too_short(cron, leap=False):
            by_text.setdefault("nothing in February except in leap years", []).append(cron)
    for text, those in by_text.items():
        yield Caution(code=WarningCode.SHORT_MONTH, text=f"{_quoted(those)}: {text}")


def _what(times: Sequence[datetime], one: str, several: str) -> str:
    """The times, each date once, and the words that fit their number."""
    named = [
        f"{at:%H:%M}" if place and at.date() == times[place - 1].date() else f"{_day(at)} {at:%H:%M}"
        for place, at in enumerate(times)
    ]
    return f"{_listing(_shortened(named))} {one if len(times) == 1 else several}"


def _day(day: date) -> str:
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"


def _quoted(crons: list[str]) -> str:
    return _listing(_shortened([repr(cron) for cron in crons]))


def _shortened(words: list[str]) -> list[str]:
    more = [f"{len(words) - _MOST_NAMED} more"] if len(words) > _MOST_NAMED else []
    return words[:_MOST_NAMED] + more


def _listing(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
