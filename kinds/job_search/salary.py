"""Salaries as sources write them, in fields or in words, made one `Salary`; what isn't certain is unknown."""

import re
from typing import get_args

from kinds.job_search.posting import Interval, Salary

_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}  # a bare $ is taken for what most boards mean by it
_CODE = re.compile(r"[A-Z]{3}")
_MONEY = re.compile(r"([$€£])?\s?(\d[\d.,]*)\s?([kK])?\b")
_INTERVALS: dict[str, Interval] = {"hr": "hour", "annual": "year", "annum": "year", "daily": "day", "yr": "year"}
_INTERVAL = re.compile(r"hour|hr|day|daily|week|month|year|yr|annum|annual", re.IGNORECASE)
_LEAST_YEARLY = 10_000
_MOST = 100_000_000


def make_salary(minimum: object, maximum: object, currency: object, interval: object) -> Salary | None:
    """A salary from a source's own fields; None when neither bound is a positive number.

    `interval` is any word that names one, such as `per-year-salary` or `1 HOUR`. Bounds in the wrong order are turned.
    """
    low, high = _amount(minimum), _amount(maximum)
    if low is None and high is None:
        return None
    if low is not None and high is not None and low > high:
        low, high = high, low
    code = currency.upper() if isinstance(currency, str) else ""
    return Salary(low, high, code if _CODE.fullmatch(code) else None, read_interval(interval))


def read_salary(text: str | None) -> Salary | None:
    """A salary from words such as `$90 - $150 /hour`, `$150k - $230k` or `€45,000`; None when they name no money.

    Without a word for it, amounts of at least 10,000 are taken as yearly; smaller ones leave the interval unknown.
    """
    found = [match.groups() for match in _MONEY.finditer((text or "")[:200])]
    symbol = next((symbol for symbol, _, _ in found if symbol), None)
    amounts = [_number(digits, thousands=bool(k)) for _, digits, k in found][:2]
    if symbol is None or not amounts:
        return None
    salary = make_salary(amounts[0], amounts[-1] if len(amounts) > 1 else None, _SYMBOLS[symbol], text)
    if salary and salary.interval is None and (salary.minimum or 0) >= _LEAST_YEARLY:
        return Salary(salary.minimum, salary.maximum, salary.currency, "year")
    return salary


def read_interval(text: object) -> Interval | None:
    """The interval that a text names, if it names one."""
    found = _INTERVAL.search(text) if isinstance(text, str) else None
    if found is None:
        return None
    word = found.group().lower()
    return next((name for name in get_args(Interval) if name == word), _INTERVALS.get(word))


def _amount(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < _MOST else None  # type: ignore[arg-type,operator]


def _number(digits: str, *, thousands: bool) -> float | None:
    """`45,000` and `45.000` are forty-five thousand; `22.50` has a fraction."""
    plain = re.sub(r"[.,](?=\d{3}(\D|$))", "", digits.rstrip(".,")).replace(",", ".")
    try:
        return float(plain) * (1000 if thousands else 1)
    except ValueError:
        return None
