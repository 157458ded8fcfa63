"""Outcomes: what an attempt came to, as Postgres can store it."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from shared.errors import HandlerError
from shared.kinds import HEADLINE_LENGTH, Kind, Retention, Snooze, Status
from shared.queue import Claimed, FailedAttempt, Outcome, Snoozed
from worker.failures import MESSAGE_LENGTH, clean, first_fault

log = structlog.get_logger()

Ended = Outcome | FailedAttempt | Snoozed

RESULT_BYTES = 256 * 1024
SNOOZED_AT_MOST = timedelta(hours=24)
ENCODER = json.JSONEncoder(allow_nan=False)
LOSSY = re.compile("null|NaN|Infinity")  # what pydantic writes for a number that JSON can't carry, among other things
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # the escape in JSON, not the six characters spelled out


def conclude(kind: Kind[Any, Any], claimed: Claimed, returned: Any) -> Ended:
    """The outcome of a handler that returned; raises `HandlerError` when what it returned can't be recorded."""
    if isinstance(returned, Snooze):
        return _snoozed(claimed, returned)
    result = _validated(kind, returned)
    return Outcome(
        claimed.run_id,
        claimed.bucket,
        claimed.attempt,
        Status.SUCCESS,
        kind.retention.success,
        headline=_headline(kind, claimed, result),
        result=_document(kind, result),
    )


def unstorable(ended: Ended, error: Exception) -> Outcome:
    """What is recorded instead of an outcome that Postgres refuses."""
    message = "The database refused to store what this attempt came to"
    return Outcome(
        ended.run_id,
        ended.bucket,
        ended.attempt,
        Status.FAILED,
        Retention().failed,
        headline=message,
        error={"class": type(error).__name__, "message": message, "hint": "The worker's log says what it refused."},
    )


def _snoozed(claimed: Claimed, snooze: Snooze) -> Snoozed:
    why = clean(snooze.why, MESSAGE_LENGTH)
    if not isinstance(snooze.until, datetime) or snooze.until.tzinfo is None:
        raise HandlerError(f"Put off until {snooze.until!r}, which is no time with a zone: {why}")
    if snooze.until - claimed.started_at > SNOOZED_AT_MOST:
        until = snooze.until.isoformat(timespec="seconds")
        raise HandlerError(f"Put off until {until}, more than 24 hours after it first started: {why}")
    return Snoozed(claimed.run_id, claimed.bucket, claimed.attempt, snooze.until, why)


def _validated(kind: Kind[Any, Any], returned: Any) -> BaseModel:
    try:
        result: BaseModel = kind.result.model_validate(returned)
    except ValidationError as error:
        raise HandlerError(f"The handler of {kind.name!r} returned a wrong result: {first_fault(error)}") from error
    return result


def _headline(kind: Kind[Any, Any], claimed: Claimed, result: BaseModel) -> str:
    try:
        return clean(kind.headline(result), HEADLINE_LENGTH)
    except Exception:
        # The work is done and its result is good: a broken headline is not worth losing it.
        log.exception("headline_failed", kind=kind.name, run_id=str(claimed.run_id))
        return kind.title[:HEADLINE_LENGTH]


def _document(kind: Kind[Any, Any], result: BaseModel) -> str:
    try:
        text = result.model_dump_json()
        if LOSSY.search(text):
            ENCODER.encode(result.model_dump(mode="json"))
        size = len(text.encode())
    except ValueError as error:
        result.model_dump(mode="json")  # what a serializer of the model's own raises is a bug, and goes on as it is
        raise HandlerError(f"The result of {kind.name!r} has a number or text that JSON can't carry") from error
    if size > RESULT_BYTES:
        raise HandlerError(
            f"The result of {kind.name!r} has {size:,} bytes of JSON, more than {RESULT_BYTES:,}",
            hint="Store the bulk in a table and return what leads to it.",
        )
    if "\\u0000" in text and NUL.search(text):
        raise HandlerError(f"The result of {kind.name!r} has a NUL character in its text, which can't be stored")
    return text
