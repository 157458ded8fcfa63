"""The outside cron as its caller meets it: who gets in, what a pass does, and what `work` does."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from typing import Any, LiteralString, TypeVar

import httpx
import psycopg
import pytest
from fastapi.security import HTTPAuthorizationCredentials
from psycopg import AsyncConnection
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api.app import create_app
from api.deps import OutsideCron
from api.guard import extend_deadline
from api.routes.cron import Bucket, Gate
from cli.outside_cron import MOST_STUCK, Housekeeping, lend
from scheduler.service import SWEEP_EVERY, TIDY_EVERY
from shared.db import open_pool
from shared.errors import InvalidTokenError, NotFoundError
from shared.kinds import Registry
from shared.models import RunRow
from shared.queue import cancel
from shared.settings import Settings
from tests.api.conftest import REGISTRY, SECRET, on_database, running, settings
from tests.api.test_guard import ask, fine
from tests.support import db_now, make_run, make_schedule, make_timetable, make_user, make_worker, wait_until
from tests.worker.handlers import ECHO, HOLD, define

E = TypeVar("E", bound=Exception)

TICK = "/api/v1/cron/tick"
RIGHT, PREVIOUS = "the-secret-of-the-cron", "the-secret-it-had-before"
STUCK = define("ignore_always")
WORKED = Registry([ECHO, HOLD, STUCK])
IDLE = dict.fromkeys(("ticks", "runs", "skips", "missed", "given_back", "failed", "expired"), 0) | {
    "more": False,
    "finished": None,
}
DEAD_FOR_DAYS = timedelta(days=2)
HEAVY = """
import sys
from pydantic import SecretStr
from cli.services import _outside_cron
from shared.kinds import Registry
from shared.settings import Settings
assert _outside_cron(Settings(_env_file=None), "postgresql://", Registry([])) is None
print([name for name in sys.modules if name.split(".")[0] in {"worker", "scheduler", "apscheduler"}])
"""


def of_cron(**values: Any) -> Settings:
    return settings(cron_secret=SecretStr(RIGHT), cron_secret_previous=SecretStr(PREVIOUS), **values)


@contextmanager
def serving(url: str, *, seconds: float | None = None, **values: Any) -> Iterator[httpx.Client]:
    """A client with the right secret of an API that has an outside cron, whose passes take so many seconds."""
    with running(app_of(url, seconds, **values)) as api, client_of(api) as client:
        yield client


def app_of(url: str, seconds: float | None = None, **values: Any) -> Any:
    chosen = of_cron(**values)
    lent = lend(chosen, url, WORKED)
    outside = OutsideCron(lambda pool, usual: lent.tick(pool, usual if seconds is None else seconds), lent.work)
    return create_app(chosen, url, WORKED, outside)


def client_of(api: str, secret: str = RIGHT, timeout: float = 60) -> httpx.Client:
    return httpx.Client(base_url=api, headers={"Authorization": f"Bearer {secret}"}, timeout=timeout)


def query(url: str, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement, values).fetchall()


def add_due_schedules(url: str, n: int) -> None:
    """Schedules of `n` users, all due since the minute began."""

    async def add(conn: AsyncConnection) -> None:
        slot = (await db_now(conn)).astimezone(UTC).replace(second=0, microsecond=0)
        timetable = await make_timetable(conn, crons=[f"{slot:%M %H} * * *"], next_slot=slot)
        for _ in range(n):
            await make_schedule(conn, await make_user(conn), timetable, kind="echo")

    on_database(url, add)


def add_run(url: str, kind: str) -> RunRow:
    async def add(conn: AsyncConnection) -> RunRow:
        return await make_run(conn, await make_user(conn), kind=kind)

    return on_database(url, add)


async def cancel_run(conn: AsyncConnection, run: RunRow) -> None:
    await cancel(conn, run.id, run.user_id, retention=HOLD.retention.cancelled, max_attempts=3)


def add_dead_worker(url: str, dead_for: timedelta = DEAD_FOR_DAYS) -> None:
    async def add(conn: AsyncConnection) -> None:
        await make_worker(conn, lease_expires_at=await db_now(conn) - dead_for)

    on_database(url, add)


def status_of(url: str, run: RunRow) -> tuple[Any, ...]:
    return query(url, "select status, attempt from foxtrot.run_status where id = %s", run.id)[0]


def workers(url: str) -> int:
    (count,) = query(url, "select count(*) from foxtrot.workers")[0]
    assert isinstance(count, int)
    return count


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


# Who gets in ----------------------------------------------------------------------------------------------------------


def test_without_a_secret_the_answer_says_how_to_switch_it_on(api: str) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, api + TICK, headers={"Authorization": f"Bearer {RIGHT}"})
        assert problem_of(answer) == (404, "The outside cron is off.")
        assert "Set CRON_SECRET" in answer.json()["hint"]


def test_a_previous_secret_alone_opens_nothing() -> None:
    gate = Gate(settings(cron_secret_previous=SecretStr(PREVIOUS)))
    with pytest.raises(NotFoundError):
        gate.check(bearing(PREVIOUS))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_both_secrets_open_it_by_both_methods(database_url: str, method: str) -> None:
    with running(app_of(database_url)) as api:
        for secret in (RIGHT, PREVIOUS):
            with client_of(api, secret) as client:
                answer = client.request(method, TICK)
            assert (answer.status_code, answer.json()) == (200, IDLE)
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, "Bearer"),
        ({"Authorization": f"Basic {RIGHT}"}, "Bearer"),
        ({"Authorization": RIGHT}, "Bearer"),
        ({"Authorization": f"Bearer {RIGHT}x"}, 'Bearer error="invalid_token"'),
        ({"Authorization": f"Bearer {RIGHT[:-1]}"}, 'Bearer error="invalid_token"'),
        ({"Authorization": f"Bearer {SECRET.replace(' ', '-')}"}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Bearer sécrèt"}, 'Bearer error="invalid_token"'),
    ],
)
def test_nobody_else_gets_in_and_nothing_is_done(database_url: str, headers: dict[str, str], challenge: str) -> None:
    add_due_schedules(database_url, 1)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    with running(app_of(database_url)) as api:
        answer = httpx.get(f"{api}{TICK}?work=nonsense", headers=raw)
    assert problem_of(answer)[0] == 401
    assert answer.headers["www-authenticate"] == challenge
    assert query(database_url, "select from foxtrot.ticks") == []


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def bearing(secret: str) -> HTTPAuthorizationCredentials:
    return HTTPAuthorizationCredentials(scheme="Bearer", credentials=secret)


def refused(attempt: Callable[[], object], error: type[E]) -> E:
    with pytest.raises(error) as raised:
        attempt()
    return raised.value


def test_a_bucket_lets_some_through_at_once_and_then_one_at_a_time() -> None:
    clock = Clock()
    bucket = Bucket(3, every=2, clock=clock)
    assert [bucket.wait() for _ in range(5)] == [0, 0, 0, 2, 2]
    clock.now += 1
    assert bucket.wait() == 1
    clock.now += 1
    assert [bucket.wait(), bucket.wait()] == [0, 2]
    clock.now += 3600
    assert [bucket.wait() for _ in range(4)] == [0, 0, 0, 2]


def test_guessing_has_a_limit_that_keeps_out_only_those_who_guess() -> None:
    clock = Clock()
    gate = Gate(of_cron(), clock)
    for _ in range(10):
        refused(lambda: gate.check(bearing("wrong")), InvalidTokenError)
    limited = refused(lambda: gate.check(bearing("wrong")), HTTPException)
    assert (limited.status_code, limited.headers) == (429, {"Retry-After": "6"})
    gate.check(bearing(RIGHT))
    gate.check(bearing(PREVIOUS))
    with gate.one_at_a_time(5):
        pass
    clock.now += 6
    refused(lambda: gate.check(bearing("wrong")), InvalidTokenError)


def test_ticks_have_a_rate(database_url: str) -> None:
    with serving(database_url) as client:
        answers = [client.get(TICK) for _ in range(20)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers[:10]] == [200] * 10
    assert limited
    assert problem_of(limited[0]) == (429, "Too many ticks.")
    assert limited[0].headers["retry-after"] in {"1", "2"}


def test_a_second_tick_at_the_same_time_is_told_when_to_come_back(database_url: str) -> None:
    run = add_run(database_url, "hold")
    with serving(database_url, worker_grace_seconds=0) as client, ThreadPoolExecutor(1) as thread:
        first = thread.submit(client.get, f"{TICK}?work=4s")
        wait_until(lambda: status_of(database_url, run) == ("running", 1))
        second = client.get(TICK)
        assert problem_of(second) == (429, "Another tick is at work in this process.")
        assert 1 <= int(second.headers["retry-after"]) <= 8
        on_database(database_url, lambda conn: cancel_run(conn, run))
        assert first.result().json() == IDLE | {"finished": 0}  # what was cancelled was not finished by it
        assert client.get(TICK).status_code == 200


# The pass -------------------------------------------------------------------------------------------------------------


def test_a_tick_makes_the_runs_that_are_due_once(database_url: str) -> None:
    add_due_schedules(database_url, 3)
    with serving(database_url) as client:
        assert client.get(TICK).json() == IDLE | {"ticks": 1, "runs": 3}
        assert client.post(TICK).json() == IDLE
    assert query(database_url, "select source, status from foxtrot.run_status") == [("cron", "pending")] * 3


def test_a_pass_that_is_cut_short_says_that_there_is_more_and_the_next_goes_on(database_url: str) -> None:
    add_due_schedules(database_url, 3)
    with serving(database_url, seconds=0) as client:
        assert client.get(TICK).json() == IDLE | {"more": True}
    with serving(database_url) as client:
        assert client.get(TICK).json() == IDLE | {"ticks": 1, "runs": 3}


def test_a_tick_gives_back_the_runs_of_dead_workers(database_url: str) -> None:
    async def add(conn: AsyncConnection) -> RunRow:
        dead = await make_worker(conn, lease_expires_at=await db_now(conn) - DEAD_FOR_DAYS)
        return await make_run(conn, await make_user(conn), "running", worker=dead)

    run = on_database(database_url, add)
    with serving(database_url) as client:
        # Nobody is taken for dead in the first seconds of a server.
        wait_until(lambda: client.get(TICK).json().get("given_back") == 1, within=30)
    assert status_of(database_url, run) == ("pending", 1)


def test_a_tick_makes_partitions_and_keeps_house_when_that_is_due(database_url: str) -> None:
    last = "select max(relname) from pg_class where relname ~ '^runs_[0-9]+$'"
    [(week,)] = query(database_url, last)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"drop table foxtrot.{week}".encode())
    with serving(database_url) as client:
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(f"drop table if exists foxtrot.{week}".encode())  # the API's start makes it too
        add_dead_worker(database_url)
        assert client.get(TICK).status_code == 200
        assert query(database_url, last) == [(week,)]
        wait_until(lambda: workers(database_url) == 0)
        add_dead_worker(database_url)
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(f"drop table foxtrot.{week}".encode())
        assert client.get(TICK).status_code == 200
        assert workers(database_url) == 1
        assert query(database_url, last) == [(week,)]


def test_housekeeping_without_time_ends_after_its_statement_and_is_still_due(database_url: str) -> None:
    clock = Clock()

    async def main() -> list[int]:
        house, left = Housekeeping(of_cron(), WORKED, clock), list[int]()
        async with open_pool(database_url, "test", size=2) as pool:
            with psycopg.connect(database_url) as conn:
                conn.execute("lock table foxtrot.ticks")
                await house.keep(pool, 0)
            await house.keep(pool, 10)  # waits for what was begun
            for wait in (0.0, 0.0, TIDY_EVERY.total_seconds()):
                clock.now += wait
                await asyncio.to_thread(add_dead_worker, database_url)
                await house.keep(pool, 10)
                left.append(workers(database_url))
        return left

    assert asyncio.run(main()) == [0, 1, 0]
    assert SWEEP_EVERY > TIDY_EVERY


# Work -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["", "0", "0s", "61s", "-1", "1.5", "25 s", "1m", "25S", "PT25S", "٢٥", "1" * 400])
def test_a_duration_that_is_none_is_a_422(database_url: str, work: str) -> None:
    add_due_schedules(database_url, 1)
    with serving(database_url) as client:
        answer = client.get(TICK, params={"work": work})
    assert problem_of(answer) == (422, "work: write the seconds, from 1s to 60s, such as 25s")
    assert query(database_url, "select from foxtrot.ticks") == []


@pytest.mark.parametrize("work", ["4", "4s"])
def test_with_work_what_is_due_is_also_finished(database_url: str, work: str) -> None:
    add_due_schedules(database_url, 3)
    asked = add_run(database_url, "echo")
    # The guard's own deadline is far shorter than that.
    with serving(database_url, request_timeout_seconds=0.5, worker_grace_seconds=1) as client:
        answer = client.post(TICK, params={"work": work})
    assert answer.json() == IDLE | {"ticks": 1, "runs": 3, "finished": 4}
    assert status_of(database_url, asked) == ("success", 1)
    assert query(database_url, "select distinct status from foxtrot.run_status") == [("success",)]
    assert workers(database_url) == 0


@pytest.mark.parametrize("grace", [0, 600])
def test_what_is_in_hand_at_the_end_goes_back_and_counts_as_no_failure(database_url: str, grace: int) -> None:
    run = add_run(database_url, "hold")
    with serving(database_url, worker_grace_seconds=grace) as client:
        assert client.get(f"{TICK}?work=2s").json() == IDLE | {"finished": 0}
    assert status_of(database_url, run) == ("pending", 1)
    assert query(database_url, "select attempt, max_attempts, worker_id from foxtrot.queue") == [(1, 4, None)]
    assert workers(database_url) == 0


def test_a_client_that_goes_away_breaks_nothing(database_url: str) -> None:
    app = app_of(database_url, worker_grace_seconds=0, worker_poll_interval_seconds=0.1)
    with running(app) as api, client_of(api) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{TICK}?work=3s", timeout=0.5)
        run = add_run(database_url, "echo")
        wait_until(lambda: status_of(database_url, run) == ("success", 1))
        wait_until(lambda: workers(database_url) == 0)
        wait_until(lambda: client.get(TICK).status_code == 200)


def test_a_handler_that_never_ends_holds_up_neither_the_answer_nor_the_requests(database_url: str) -> None:
    with serving(database_url, worker_grace_seconds=0) as client:
        for _ in range(MOST_STUCK):
            add_run(database_url, STUCK.name)
            assert client.get(f"{TICK}?work=1s").status_code == 200
            assert client.get("/healthz").status_code == 200
        assert problem_of(client.get(f"{TICK}?work=1s")) == (409, "Handlers of earlier ticks never end.")
        assert client.get(TICK).status_code == 200
    assert workers(database_url) == 0


# Around it ------------------------------------------------------------------------------------------------------------


def test_a_deadline_may_be_extended_until_it_is_over() -> None:
    heard: list[str] = []

    async def slow(scope: Scope, _receive: Receive, send: Send) -> None:
        extend_deadline(Request(scope), 5)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()
        await fine(scope, _receive, send)

    async def too_late(scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            extend_deadline(Request(scope), 5)
            heard.append("nothing happens")

    async def main() -> list[int]:
        statuses = [(await ask(app, deadline=0.01))[0]["status"] for app in (slow, too_late)]
        await asyncio.sleep(0)
        return statuses

    assert (asyncio.run(main()), heard) == ([200, 503], ["nothing happens"])


def test_openapi_documents_it() -> None:
    described = create_app(settings(), "postgresql://", REGISTRY).openapi()
    assert described["components"]["securitySchemes"]["CronSecret"]["scheme"] == "bearer"
    ids = set()
    for operation in described["paths"][TICK].values():
        ids.add(operation["operationId"])
        assert operation["security"] == [{"CronSecret": []}]
        assert operation["responses"].keys() == {"200", "401", "404", "409", "422", "429", "503"}
        [work] = operation["parameters"]
        assert (work["name"], work["required"]) == ("work", False)
        assert "60s" in work["description"]
    assert (described["paths"][TICK].keys(), len(ids)) == ({"get", "post"}, 2)
    assert described["components"]["schemas"]["Ticked"]["properties"].keys() == IDLE.keys()


def test_without_a_secret_neither_scheduler_nor_worker_is_loaded() -> None:
    found = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
