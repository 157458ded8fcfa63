import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import psycopg
import pytest
from pydantic import TypeAdapter, ValidationError

from shared.errors import DatabaseError, HandlerError, InvalidInputError
from shared.kinds import RetryPolicy, Status
from shared.queue import Claimed, FailedAttempt, Outcome
from shared.retry_after import read_retry_after
from tests.worker.handlers import define
from worker.failures import Failure, clean, crashed, explain, timed_out

KIND = define("echo", retry=RetryPolicy(attempts=3, first=timedelta(seconds=2), cap=timedelta(seconds=60)))
CLAIMED = Claimed(
    run_id=UUID(int=1),
    bucket=0,
    lane=0,
    available_at=datetime(2026, 1, 1, tzinfo=UTC),
    attempt=1,
    max_attempts=3,
    rescues=0,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    user_id=UUID(int=2),
    org_id=None,
    kind="echo",
    subject=None,
    source="manual",
    parameters={},
    fingerprint=b"1",
    client_context=None,
    schedule_id=None,
    scheduled_for=None,
)
REQUEST = httpx.Request("GET", "https://boards.test/jobs?key=secret")


def answer(status: int, headers: dict[str, str] | None = None) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError(
        "with secret", request=REQUEST, response=httpx.Response(status, headers=headers, request=REQUEST)
    )


def invalid() -> ValidationError:
    try:
        TypeAdapter(int).validate_python("secret")
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (httpx.ConnectError("secret", request=REQUEST), True),
        (httpx.ReadTimeout("secret", request=REQUEST), True),
        (httpx.RemoteProtocolError("secret"), True),
        (answer(429), True),
        (answer(500), True),
        (answer(503), True),
        (answer(400), False),
        (answer(401), False),
        (answer(403), False),
        (answer(404), False),
        (TimeoutError("secret"), True),
        (ConnectionResetError("secret"), True),
        (ssl.SSLError("secret"), True),
        (psycopg.OperationalError("secret"), True),
        (DatabaseError("Postgres did not answer"), True),
        (HandlerError("so it is"), False),
        (HandlerError("for now", retry=True), True),
        (InvalidInputError("parameters.query: empty"), False),
        (invalid(), False),
    ],
)
def test_what_can_pass_is_retried_and_no_secret_is_told(error: Exception, *, retry: bool) -> None:
    failure = explain(error)
    assert failure
    assert failure.retry is retry
    assert failure.name == type(error).__name__
    assert failure.message
    assert "secret" not in failure.message


def test_an_error_that_no_handler_should_let_out_is_a_bug() -> None:
    assert explain(KeyError("secret")) is None
    failure = crashed(KIND.name, KeyError("secret"))
    assert not failure.retry
    assert "secret" not in failure.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60),
        ({"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 20}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(httpx.Headers(headers)) == seconds
    failure = explain(answer(429, headers))
    assert failure
    assert failure.retry_after == seconds


def test_an_asked_wait_wins_and_is_at_most_a_day() -> None:
    def wait(seconds: float) -> FailedAttempt:
        ended = Failure("E", "m", retry=True, retry_after=seconds).end(KIND, CLAIMED)
        assert isinstance(ended, FailedAttempt)
        assert ended.asked_to_wait
        return ended

    assert wait(90).delay == timedelta(seconds=90)
    assert wait(10**9).delay == timedelta(days=1)
    assert wait(-5).delay == timedelta(0)


@pytest.mark.parametrize(("attempt", "max_attempts", "longest"), [(1, 9, 2), (2, 9, 4), (8, 9, 60), (5000, 9999, 60)])
def test_the_wait_doubles_with_each_failure_up_to_the_cap(attempt: int, max_attempts: int, longest: float) -> None:
    kind = define("echo", retry=replace(KIND.retry, attempts=max_attempts))
    waits = _waits(kind, attempt, max_attempts)
    assert max(waits) <= longest
    assert max(waits) > longest * 0.8
    assert min(waits) < longest * 0.2


def test_attempts_that_were_nobodys_fault_do_not_lengthen_the_wait() -> None:
    assert max(_waits(KIND, attempt=6, max_attempts=8)) <= 2


def _waits(kind: object, attempt: int, max_attempts: int) -> list[float]:
    claimed = CLAIMED._replace(attempt=attempt, max_attempts=max_attempts)
    ends = [timed_out(KIND).end(kind, claimed) for _ in range(300)]  # type: ignore[arg-type]
    return [ended.delay.total_seconds() for ended in ends if isinstance(ended, FailedAttempt)]


def test_the_last_attempt_ends_the_run() -> None:
    ended = timed_out(KIND).end(KIND, CLAIMED._replace(attempt=3))
    assert isinstance(ended, Outcome)
    assert (ended.status, ended.retention) == (Status.FAILED, KIND.retention.failed)


def test_words_are_stored_as_postgres_takes_them() -> None:
    assert clean("a\x00b\ud800c", 10) == "a\ufffdb?c"
    assert clean("abc", 2) == "ab"
    ended = Failure("E", "m\x00" + "x" * 1000, "h\x00").end(KIND, CLAIMED)
    assert isinstance(ended, Outcome)
    assert ended.error == {"class": "E", "message": "m\ufffd" + "x" * 498, "hint": "h\ufffd"}
    assert ended.headline == "m\ufffd" + "x" * 118
