"""Retry-After: how long the other side asks to be left alone."""

import re
from email.utils import parsedate_to_datetime

import httpx


def read_retry_after(headers: httpx.Headers) -> float | None:
    """The wait in seconds that `Retry-After` asks for (RFC 9110 §10.2.3); None without one that can be read.

    A date counts from the answer's own `Date`, so that no clock of ours has a part in it.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        until, since = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("Date", ""))
        return (until - since).total_seconds()
    except (ValueError, TypeError):  # TypeError: one of the two names no offset
        return None
