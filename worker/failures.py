"""Failures: what a handler's error means, for the user who reads it and for whether another attempt can help."""

import random
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx
import psycopg
from pydantic import ValidationError

from shared.errors import DatabaseError, FoxtrotError, HandlerError
from shared.kinds import HEADLINE_LENGTH, Kind, RetryPolicy, Status
from shared.queue import Claimed, FailedAttempt, Outcome
from shared.retry_after import read_retry_after

MESSAGE_LENGTH = 500
LONGEST_WAIT = 24 * 60 * 60
PASSING: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "Something that was waited for took too long"),
    (psycopg.OperationalError, "The database did not answer"),
    (OSError, "A connection or a file could not be used"),
)


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, in words that may be shown: `name` is the error's class, `retry_after` is in seconds."""

    name: str
    message: str
    hint: str | None = None
    retry: bool = False
    retry_after: float | None = None

    def end(self, kind: Kind[Any, Any], claimed: Claimed) -> FailedAttempt | Outcome:
        """Another attempt, if that can help and one is left; else the end of the run."""
        run_id, bucket, attempt = claimed.run_id, claimed.bucket, claimed.attempt
        message = clean(self.message, MESSAGE_LENGTH)
        error = {"class": self.name, "message": message, "hint": self.hint and clean(self.hint, MESSAGE_LENGTH)}
        if self.retry and attempt < claimed.max_attempts:
            delay = timedelta(seconds=self._wait(kind.retry, claimed))
            return FailedAttempt(run_id, bucket, attempt, delay, error, asked_to_wait=self.retry_after is not None)
        headline = message[:HEADLINE_LENGTH]
        return Outcome(run_id, bucket, attempt, Status.FAILED, kind.retention.failed, headline, error=error)

    def _wait(self, policy: RetryPolicy, claimed: Claimed) -> float:
        """Seconds to the next attempt: what the other side asked for, else exponential backoff with full jitter."""
        if self.retry_after is not None:
            return min(max(self.retry_after, 0), LONGEST_WAIT)
        lent = claimed.max_attempts - policy.attempts  # attempts that were nobody's fault don't lengthen the wait
        doublings = min(max(claimed.attempt - lent - 1, 0), 30)
        longest = min(policy.first.total_seconds() * 2.0**doublings, policy.cap.total_seconds())
        return random.uniform(0, longest)  # noqa: S311 - jitter


class AttemptFailedError(Exception):
    """An attempt failed in a way that is known already: `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def clean(text: str, length: int) -> str:
    """`text` as Postgres takes it (no NUL, no lone surrogates), cut to `length` characters."""
    return text[:length].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def explain(error: BaseException) -> Failure | None:
    """What an error means that handlers are expected to meet; None for any other: a bug.

    Retried by default are network errors, timeouts, 429 and 5xx. No message is taken from an error that
    isn't ours: the addresses and values in it may hold secrets.
    """
    name = type(error).__name__
    match error:
        case HandlerError():
            return Failure(name, error.message, error.hint, retry=error.retry, retry_after=error.retry_after)
        case FoxtrotError():
            return Failure(name, error.message, error.hint, retry=isinstance(error, DatabaseError))
        case httpx.HTTPStatusError():
            return _refused(error)
        case httpx.TransportError():
            return Failure(name, f"{_host(error)} could not be reached, or broke off", retry=True)
        case ValidationError():
            return Failure(name, first_fault(error))
    words = next((words for passing, words in PASSING if isinstance(error, passing)), None)
    return Failure(name, words, retry=True) if words else None


def crashed(kind: str, error: BaseException) -> Failure:
    """A bug in a handler: never retried, and the error's own text stays in the worker's log."""
    name = type(error).__name__
    return Failure(name, f"The handler of {kind!r} broke with {name}", "The worker's log says where.")


def timed_out(kind: Kind[Any, Any]) -> Failure:
    """The attempt took longer than its kind allows."""
    return Failure("TimeoutError", f"Not done within {kind.timeout.total_seconds():g} s", retry=True)


def first_fault(error: ValidationError) -> str:
    """The first wrong field and why, without the value: it may be anything."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ".".join([error.title, *(str(part) for part in first["loc"])]) + f": {first['msg']}"


def _refused(error: httpx.HTTPStatusError) -> Failure:
    status = error.response.status_code
    again = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    wait = read_retry_after(error.response.headers) if again else None
    return Failure("HTTPStatusError", f"{_host(error)} answered HTTP {status}", retry=again, retry_after=wait)


def _host(error: httpx.HTTPError) -> str:
    try:
        return error.request.url.host or "The other side"
    except RuntimeError:  # raised by hand, without a request
        return "The other side"
