"""Cron in words: a timetable as a sentence.

From what cronsim parsed, but not by its own explain(), which says "22th", "minute 1" for each minute of 1-1/1 and "on
the 13th day of month and on Friday" for either of the two, and lists no more than four times.
"""

import calendar
from collections.abc import Callable, Iterable
from operator import sub

from shared.cron import LAST_DAY, LAST_WEEKDAY, Rule, parse

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_HOURS_OF_DAY = 24
_Weekday = int | tuple[int, int]  # as cronsim has it: (weekday, which one of the month)
_ALL_MONTHS, _ALL_DAYS, _ALL_WEEKDAYS = frozenset(range(1, 13)), frozenset(range(1, 32)), frozenset(range(1, 8))
_LAST_DAYS = {LAST_DAY: "last day", LAST_WEEKDAY: "last weekday"}
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST_DAY: "last"}
_MOST_LISTED, _FEWEST_IN_RHYTHM, _FEWEST_IN_SPAN = 12, 5, 3


def explain(crons: list[str]) -> str:
    """Say in words when a timetable is due by the local clock, such as "At 08:00 and 14:00 on Monday to Friday".

    Expressions that differ only in their times, or only in their dates, share a phrase. Raises InvalidCronError.
    """
    by_dates: dict[str, list[Rule]] = {}
    for rule in sorted(parse(crons), key=lambda rule: (rule.times, rule.cron)):
        by_dates.setdefault(_dates_in_words(rule), []).append(rule)
    by_times: dict[str, list[str]] = {}
    for dates, rules in by_dates.items():
        by_times.setdefault(_times_in_words(rules), []).append(dates)
    sentence = "; ".join(_phrase(times, dates) for times, dates in by_times.items())
    return sentence[:1].upper() + sentence[1:]


def _phrase(times: str, dates: list[str]) -> str:
    round_the_clock = ":" not in times
    return times if round_the_clock and dates == ["every day"] else f"{times} {' and '.join(dates)}"


def _times_in_words(rules: list[Rule]) -> str:
    listed = sorted({time for rule in rules if _is_listed(rule) for time in rule.times})
    phrases = [f"at {_listing([_clock(time) for time in listed])}"] if listed else []
    phrases += [_rhythm(rule) or _minutes_of_hours(rule) for rule in rules if not _is_listed(rule)]
    return _listing(list(dict.fromkeys(phrases)))


def _is_listed(rule: Rule) -> bool:
    return _rhythm(rule) is None and len(rule.times) <= _MOST_LISTED


def _rhythm(rule: Rule) -> str | None:
    """Such as "every 15 minutes from 09:00 to 17:45"; None for few times, and for times at different distances."""
    first, last, steps = rule.times[0], rule.times[-1], set(map(sub, rule.times[1:], rule.times))
    if len(rule.times) < _FEWEST_IN_RHYTHM or len(steps) > 1:
        return None
    step = steps.pop()
    all_day = len(rule.times) * step == _DAY
    if all_day and step == _HOUR and first:
        return f"at {first // _MINUTE} minute{'s' * (first > _MINUTE)} past every hour"
    unit, size = ("minute", _MINUTE) if step % _HOUR else ("hour", _HOUR)
    every = f"every {unit}" if step == size else f"every {step // size} {unit}s"
    return every if all_day and not first and step <= _HOUR else f"{every} from {_clock(first)} to {_clock(last)}"


def _minutes_of_hours(rule: Rule) -> str:
    minutes, hours = _spans(rule.fields.minutes, str), _spans(rule.fields.hours, lambda hour: _clock(hour * _HOUR))
    at = f"at minute{'s' * (len(rule.fields.minutes) > 1)} {_listing(minutes)} of"
    return f"{at} every hour" if len(rule.fields.hours) == _HOURS_OF_DAY else f"{at} the hours {_listing(hours)}"


def _clock(time: int) -> str:
    return f"{time // _HOUR:02}:{time % _HOUR // _MINUTE:02}"


def _dates_in_words(rule: Rule) -> str:
    fields, weekdays = rule.fields, _weekdays(rule)
    any_day, any_weekday = fields.days >= _ALL_DAYS, weekdays >= _ALL_WEEKDAYS
    if any_day and any_weekday if fields.day_and else any_day or any_weekday:
        return "every day" if rule.months == _ALL_MONTHS else f"every day in {_months(rule)}"
    if any_weekday:
        return f"on {_days_of_months(rule)}"
    if any_day:
        return _on_weekdays(rule, weekdays)
    if not fields.day_and:
        return f"on {_days_of_months(rule)} and also {_on_weekdays(rule, weekdays)}"
    return f"on {_days_of_months(rule)} if it is {_listing(_weekday_names(weekdays), 'or')}"


def _on_weekdays(rule: Rule, weekdays: set[_Weekday]) -> str:
    names = f"on {_listing(_weekday_names(weekdays))}"
    if any(isinstance(day, tuple) for day in weekdays):
        return f"{names} of {_months(rule)}"
    return names if rule.months == _ALL_MONTHS else f"{names} in {_months(rule)}"


def _weekdays(rule: Rule) -> set[_Weekday]:
    """As cronsim has them, but with Sunday as 7 only."""
    return {(day[0] or 7, day[1]) if isinstance(day, tuple) else day or 7 for day in rule.fields.weekdays}


def _weekday_names(weekdays: set[_Weekday]) -> list[str]:
    nth = sorted(day for day in weekdays if isinstance(day, tuple))
    names = _spans({day for day in weekdays if isinstance(day, int)}, lambda day: calendar.day_name[day - 1])
    return [*names, *(f"the {_NTH[which]} {calendar.day_name[day - 1]}" for day, which in nth)]


def _days_of_months(rule: Rule) -> str:
    days = sorted(_ALL_DAYS & rule.fields.days)
    ends = [name for day, name in _LAST_DAYS.items() if day in rule.fields.days]
    if len(rule.months) == 1 and not ends:
        return f"{_listing(_spans(days, str))} {_months(rule)}"
    steps = set(map(sub, days[1:], days))
    if len(days) >= _FEWEST_IN_RHYTHM and len(steps) == 1 and steps != {1} and not ends:
        every = f"every {_ordinal(*steps)} day from the {_ordinal(days[0])} to the {_ordinal(days[-1])}"
        return f"{every} of {_months(rule)}"
    return f"the {_listing([*_spans(days, _ordinal), *ends])} of {_months(rule)}"


def _months(rule: Rule) -> str:
    if rule.months == _ALL_MONTHS:
        return "every month"
    return _listing(_spans(rule.months, lambda month: calendar.month_name[month]))


def _ordinal(number: int) -> str:
    teens = number // 10 == 1
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _spans(numbers: Iterable[int], name: Callable[[int], str]) -> list[str]:
    """Names in order; three and more numbers in a row become one span."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return [
        words
        for span in spans
        for words in ([f"{name(span[0])} to {name(span[-1])}"] if len(span) >= _FEWEST_IN_SPAN else map(name, span))
    ]


def _listing(words: list[str], last: str = "and") -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
