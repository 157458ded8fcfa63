import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from httpx import AsyncClient
from psycopg import AsyncConnection

from api.cursors import encode_cursor
from api.views import retry_after
from shared.models import RunRow
from shared.runs import ReadRun
from tests.api.conftest import Person, on_database
from tests.support import make_run

ECHO = {"kind": "demo", "parameters": {"text": "hi"}}


def given(person: Person, *statuses: str, **values: Any) -> list[RunRow]:
    """Runs of the person in these statuses, made in one moment: their ids are in any order."""
    user = person.user

    async def make(conn: AsyncConnection) -> list[RunRow]:
        return [await make_run(conn, user, status, **values) for status in statuses]

    return on_database(person.database_url, make)


def test_a_finished_run_is_read_whole(ada: Person) -> None:
    (run,) = given(ada, "success", result={"text": "hi"}, headline="One text", client_context={"tab": 1})
    response = ada.get(f"/runs/{run.id}")
    shown = response.json()
    assert (shown["status"], shown["percent"], shown["headline"]) == ("success", 100, "One text")
    assert (shown["result"], shown["client_context"], shown["error"]) == ({"text": "hi"}, {"tab": 1}, None)
    assert "retry-after" not in response.headers


def test_a_failed_run_says_how(ada: Person) -> None:
    error = {"attempt": 1, "at": "2026-06-01T12:00:00Z", "class": "SecretError", "message": "No.", "hint": "Do so."}
    (run,) = given(ada, "failed", errors=[error])
    shown = ada.get(f"/runs/{run.id}").json()
    assert shown["error"] == shown["errors"][0]
    assert shown["error"] == {"attempt": 1, "at": "2026-06-01T12:00:00Z", "message": "No.", "hint": "Do so."}


def test_what_only_the_house_needs_is_not_shown(ada: Person) -> None:
    (run,) = given(ada, "running")
    shown = ada.get(f"/runs/{run.id}").json()
    assert not shown.keys() & {"user_id", "bucket", "fingerprint", "worker_id", "lane"}


def test_nothing_new_is_not_sent_again(ada: Person) -> None:
    (run,) = given(ada, "running", percent=10)
    etag = ada.get(f"/runs/{run.id}").headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = ada.get(f"/runs/{run.id}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert int(again.headers["retry-after"]) >= 1


def test_progress_changes_the_etag(ada: Person) -> None:
    async def advance(conn: AsyncConnection) -> None:
        await conn.execute("update foxtrot.queue set percent = 11 where run_id = %s", [run.id])

    (run,) = given(ada, "running", percent=10)
    etag = ada.get(f"/runs/{run.id}").headers["etag"]
    on_database(ada.database_url, advance)
    again = ada.get(f"/runs/{run.id}", headers={"If-None-Match": etag})
    assert (again.status_code, again.json()["percent"]) == (200, 11)


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/cancel"), ("GET", "/postings")])
def test_another_users_run_is_as_missing_as_a_missing_one(ada: Person, grace: Person, method: str, suffix: str) -> None:
    (hers,) = given(grace, "running")
    answers = [ada.request(method, f"/runs/{run_id}{suffix}") for run_id in (hers.id, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert {key: value for key, value in answers[0].headers.items() if key != "date"} == {
        key: value for key, value in answers[1].headers.items() if key != "date"
    }
    assert grace.get(f"/runs/{hers.id}").json()["status"] == "running"


def test_an_expired_run_is_missing(ada: Person) -> None:
    (run,) = given(ada, "success", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert ada.get(f"/runs/{run.id}").content == ada.get(f"/runs/{uuid4()}").content


@pytest.mark.parametrize("run_id", ["7", "x" * 5000, "%00", "..%2f", f"{UUID(int=7)}x"])
def test_what_is_no_id_is_refused(ada: Person, run_id: str) -> None:
    response = ada.get(f"/runs/{run_id}")
    assert response.status_code in {404, 422}
    assert response.headers["content-type"] == "application/problem+json"


# Lists


def test_the_list_is_the_callers_own_and_newest_first(ada: Person, grace: Person) -> None:
    given(grace, "pending")
    made = given(ada, "pending", "running", "success", "failed", "cancelled")
    page = ada.get("/runs").json()
    assert [run["id"] for run in page["runs"]] == sorted((str(run.id) for run in made), reverse=True)
    assert page["next_cursor"] is None
    assert not page["runs"][0].keys() & {"result", "errors"}


def pages(person: Person, query: str) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        page = person.get(f"/runs?{query}{cursor}").json()
        found.append([run["id"] for run in page["runs"]])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
        person.post("/runs", json={"kind": "demo", "parameters": {"text": str(uuid4())}})


def test_pages_don_t_move_while_runs_are_made(ada: Person) -> None:
    made = sorted((str(run.id) for run in given(ada, *["success"] * 6)), reverse=True)
    assert pages(ada, "limit=2") == [made[:2], made[2:4], made[4:]]


def test_the_list_can_be_held_to_statuses_and_a_kind(ada: Person) -> None:
    made = {run.status or "live": str(run.id) for run in given(ada, "pending", "success", "failed")}
    assert pages(ada, "status=success") == [[made["success"]]]
    newest_first = sorted([made["failed"], made["live"]], reverse=True)
    assert pages(ada, "status=failed&status=pending&limit=1") == [[run_id] for run_id in newest_first]
    assert pages(ada, "kind=reused") == [[]]
    assert {run for page in pages(ada, "kind=demo") for run in page} >= set(made.values())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("status=done", "status.0"),
        ("kind=nope", "kind"),
        ("cursor=x", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        (f"cursor={encode_cursor('no id')}", "cursor"),
        (f"cursor={encode_cursor('é')}", "cursor"),
    ],
)
def test_what_a_list_does_not_understand_is_named(ada: Person, query: str, field: str) -> None:
    response = ada.get(f"/runs?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


# Cancel


async def notices(conn: AsyncConnection) -> AsyncIterator[str]:
    async for notice in conn.notifies(timeout=5, stop_after=1):
        yield notice.payload


def test_a_pending_run_is_cancelled_at_once(ada: Person) -> None:
    run = ada.post("/runs", json=ECHO).json()
    cancelled = ada.post(f"/runs/{run['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert ada.get(f"/runs/{run['id']}").json() == cancelled.json()
    assert ada.post("/runs", json=ECHO).json()["created"]


def test_a_running_run_is_cancelled_at_once_and_its_worker_told(ada: Person) -> None:
    async def main() -> tuple[dict[str, Any], list[str]]:
        async with await psycopg.AsyncConnection.connect(ada.database_url, autocommit=True) as conn:
            await conn.execute("listen foxtrot_cancel")
            async with AsyncClient(base_url=ada.base_url, headers=ada.headers) as client:
                cancelled = await client.post(f"/runs/{run.id}/cancel")
            return cancelled.json(), [payload async for payload in notices(conn)]

    (run,) = given(ada, "running")
    cancelled, told = asyncio.run(main())
    assert (cancelled["status"], cancelled["attempt"]) == ("cancelled", 1)
    assert told == [str(run.id)]


@pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
def test_what_is_over_can_not_be_cancelled(ada: Person, status: str) -> None:
    (run,) = given(ada, status)
    before = ada.get(f"/runs/{run.id}").json()
    response = ada.post(f"/runs/{run.id}/cancel")
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    assert f"its status is {status}" in response.json()["detail"]
    assert ada.get(f"/runs/{run.id}").json() == before


def test_runs_of_a_kind_that_is_gone_can_still_be_cancelled(ada: Person) -> None:
    (run,) = given(ada, "pending", kind="gone")
    assert ada.post(f"/runs/{run.id}/cancel").json()["status"] == "cancelled"


# Retry-After


def read(**values: Any) -> ReadRun:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    known: dict[str, Any] = {
        "status": "running",
        "read_at": now,
        "created_at": now,
        "started_at": None,
        "available_at": None,
    }
    return ReadRun.model_construct(**known | values)


def test_a_client_is_asked_to_wait_longer_and_longer() -> None:
    now = read().read_at
    waits = [retry_after(read(started_at=now - timedelta(seconds=age))) for age in (0, 7, 60, 3600)]
    assert waits == [{"Retry-After": seconds} for seconds in ("1", "2", "12", "30")]


def test_a_client_is_asked_to_wait_until_the_run_is_due() -> None:
    now = read().read_at
    assert retry_after(read(status="pending", available_at=now + timedelta(seconds=9))) == {"Retry-After": "9"}
    assert retry_after(read(status="pending", available_at=now + timedelta(days=9))) == {"Retry-After": "30"}


def test_there_is_nothing_to_wait_for_when_it_is_over() -> None:
    assert retry_after(read(status="failed")) == {}
