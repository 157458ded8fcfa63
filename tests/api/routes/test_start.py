import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from shared.fingerprint import fingerprint
from shared.kinds import Source
from shared.models import RunRow
from shared.queue import NewRun, enqueue
from shared.tokens import issue_token
from shared.users import act_as
from tests.api.conftest import OF_API, REGISTRY, SECRET, Echo, Person, on_database
from tests.support import connect, make_run

ECHO = {"kind": "demo", "parameters": {"text": "hi"}}


def new_run(person: Person, kind: str = "demo", **values: Any) -> NewRun:
    return NewRun.of(REGISTRY.get(kind), Echo(text="hi"), user_id=person.id, **values)


def given(person: Person, status: str = "pending", kind: str = "demo", **values: Any) -> RunRow:
    """A run of the person that does the same work as ECHO."""
    user = person.user
    mark = fingerprint(kind, None, Echo(text="hi"))
    return on_database(
        person.database_url, lambda conn: make_run(conn, user, status, kind=kind, fingerprint=mark, **values)
    )


def test_a_run_is_started(ada: Person) -> None:
    response = ada.post("/runs", json=ECHO | {"subject": "doc-7", "client_context": {"tab": 1}})
    run = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert response.headers["retry-after"] == "1"
    assert (run["created"], run["promoted"], run["reused"], run["waiting_until"]) == (True, False, False, None)
    assert (run["status"], run["source"], run["subject"]) == ("pending", "manual", "doc-7")
    assert (run["parameters"], run["client_context"]) == ({"text": "hi"}, {"tab": 1})
    assert ada.get(response.headers["location"].removeprefix("/api/v1")).json().items() <= run.items()


def test_the_same_work_is_the_same_run(ada: Person) -> None:
    first = ada.post("/runs", json=ECHO).json()
    second = ada.post("/runs", json={"kind": "demo", "parameters": {"times": 1, "text": "hi"}, "fresh": True})
    assert second.status_code == 202
    assert (second.json()["id"], second.json()["created"], second.json()["promoted"]) == (first["id"], False, False)


def test_another_org_is_other_work(ada: Person) -> None:
    first = ada.post("/runs", json=ECHO).json()
    ada.headers["Authorization"] = f"Bearer {issue_token(SECRET, str(ada.id), org_id='acme')}"
    second = ada.post("/runs", json=ECHO).json()
    assert second["created"]
    assert first["id"] != second["id"]


def test_two_at_once_share_a_run(ada: Person) -> None:
    async def main() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=ada.base_url, headers=ada.headers) as client:
            responses = await asyncio.gather(*(client.post("/runs", json=ECHO) for _ in range(4)))
        return [response.json() for response in responses]

    runs = asyncio.run(main())
    assert len({run["id"] for run in runs}) == 1
    assert sorted(run["created"] for run in runs) == [False, False, False, True]


async def api_waits_for_lock(url: str) -> None:
    async with asyncio.timeout(5), await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        while not (await conn.execute(f"select {OF_API} and wait_event_type = 'Lock'")).rowcount:
            pass


@pytest.mark.parametrize("kept", [True, False])
def test_a_request_waits_for_the_same_request_in_flight(ada: Person, *, kept: bool) -> None:
    async def main() -> tuple[dict[str, Any], str]:
        async with (
            connect(ada.database_url) as conn,
            httpx.AsyncClient(base_url=ada.base_url, headers=ada.headers) as client,
        ):
            await act_as(conn, ada.id)
            first = await enqueue(conn, new_run(ada))
            request = asyncio.create_task(client.post("/runs", json=ECHO))
            await api_waits_for_lock(ada.database_url)
            await (conn.commit() if kept else conn.rollback())
            return (await request).json(), str(first.run_id)

    answer, first_id = asyncio.run(main())
    assert (answer["id"] == first_id) is kept
    assert answer["created"] is not kept


def test_a_pending_refresh_is_promoted(ada: Person) -> None:
    later = datetime.now(UTC) + timedelta(minutes=10)
    refresh = given(ada, source=Source.CRON, available_at=later, waiting="spread")
    run = ada.post("/runs", json=ECHO).json()
    assert (run["id"], run["source"]) == (str(refresh.id), "cron")
    assert (run["created"], run["promoted"], run["waiting"], run["waiting_until"]) == (False, True, None, None)
    assert datetime.fromisoformat(run["available_at"]) < later


def test_what_a_quota_holds_says_until_when(ada: Person) -> None:
    later = datetime.now(UTC) + timedelta(minutes=10)
    given(ada, source=Source.CRON, available_at=later, waiting="quota")
    response = ada.post("/runs", json=ECHO)
    run = response.json()
    assert (run["promoted"], run["waiting"]) == (True, "quota")
    assert datetime.fromisoformat(run["waiting_until"]) == later
    assert response.headers["retry-after"] == "30"


def test_a_running_run_is_returned_as_it_is(ada: Person) -> None:
    running = given(ada, "running", source=Source.CRON, percent=40)
    run = ada.post("/runs", json=ECHO).json()
    assert (run["id"], run["created"], run["promoted"]) == (str(running.id), False, False)
    assert (run["status"], run["percent"]) == ("running", 40)


def test_a_young_success_stands_in_where_the_kind_allows_it(ada: Person) -> None:
    done = given(ada, "success", kind="reused", result={"text": "hi"})
    response = ada.post("/runs", json=ECHO | {"kind": "reused"})
    run = response.json()
    assert (response.status_code, response.headers["location"]) == (200, f"/api/v1/runs/{done.id}")
    assert "retry-after" not in response.headers
    assert (run["id"], run["reused"], run["created"], run["result"]) == (str(done.id), True, False, {"text": "hi"})


def test_a_fresh_one_can_be_asked_for(ada: Person) -> None:
    given(ada, "success", kind="reused")
    response = ada.post("/runs", json=ECHO | {"kind": "reused", "fresh": True})
    assert (response.status_code, response.json()["created"]) == (202, True)


def test_an_old_success_does_not_stand_in(ada: Person) -> None:
    given(ada, "success", kind="reused", finished_at=datetime.now(UTC) - timedelta(hours=2))
    assert ada.post("/runs", json=ECHO | {"kind": "reused"}).json()["created"]


def test_nothing_is_reused_by_default(ada: Person) -> None:
    given(ada, "success")
    assert ada.post("/runs", json=ECHO).json()["created"]


def test_a_search_is_kept_with_the_run_and_follows_the_last_one(person: Callable[..., Person]) -> None:
    ada = person(zone="Asia/Tokyo")
    first = ada.post("/runs", json=ECHO | {"keep": True})
    assert (first.status_code, first.json()["created"], first.json()["schedule_id"]) == (202, True, None)
    (kept,) = ada.get("/schedules").json()["schedules"]
    times = ["0 10 * * *", "0 14 * * *", "0 16 * * *", "0 22 * * *", "0 8 * * *", "45 16 * * *"]
    assert (kept["key"], kept["parameters"], kept["crons"]) == ("kept:demo", {"text": "hi"}, times)
    assert (kept["zone"], kept["timetable_zone"]) == ("user", "Asia/Tokyo")
    ada.post("/schedules/kept:demo/pause", json={"note": "on holiday"})
    ada.patch("/schedules/kept:demo", json={"crons": ["0 9 * * *"], "zone": "UTC"})
    ada.post("/runs", json=ECHO | {"parameters": {"text": "ho"}, "keep": True})
    (again,) = ada.get("/schedules").json()["schedules"]
    assert (again["id"], again["parameters"]) == (kept["id"], {"text": "ho"})
    assert (again["crons"], again["zone"], again["pause_note"]) == (["0 9 * * *"], "UTC", "on holiday")


def test_nothing_is_kept_unless_it_is_asked_for(ada: Person) -> None:
    ada.post("/runs", json=ECHO | {"keep": True})
    before = ada.get("/schedules").json()
    for values in ({}, {"keep": False}):
        ada.post("/runs", json=ECHO | {"parameters": {"text": "ho"}} | values)
    assert ada.get("/schedules").json() == before


def test_each_kind_has_a_kept_search_of_its_own(ada: Person) -> None:
    for kind in ("demo", "reused"):
        ada.post("/runs", json=ECHO | {"kind": kind, "keep": True})
    keys = [schedule["key"] for schedule in ada.get("/schedules").json()["schedules"]]
    assert keys == ["kept:demo", "kept:reused"]


def test_a_search_that_a_finished_run_answers_is_kept_too(ada: Person) -> None:
    given(ada, "success", kind="reused")
    response = ada.post("/runs", json=ECHO | {"kind": "reused", "keep": True})
    assert (response.status_code, response.json()["reused"]) == (200, True)
    assert [schedule["key"] for schedule in ada.get("/schedules").json()["schedules"]] == ["kept:reused"]


def test_what_is_refused_is_not_kept(ada: Person) -> None:
    changes: list[dict[str, Any]] = [{"parameters": {}}, {"keep": "perhaps"}, {"keep": None}]
    for change in changes:
        assert ada.post("/runs", json=ECHO | {"keep": True} | change).status_code == 422
    assert ada.get("/schedules").json() == {"schedules": []}


def test_workers_are_woken_after_the_commit(ada: Person) -> None:
    async def main() -> str:
        async with await psycopg.AsyncConnection.connect(ada.database_url, autocommit=True) as conn:
            await conn.execute("listen foxtrot_queue")
            async with httpx.AsyncClient(base_url=ada.base_url, headers=ada.headers) as client:
                await client.post("/runs", json=ECHO)
            async for notice in conn.notifies(timeout=5):
                return notice.payload
        return "nobody was woken"

    assert asyncio.run(main()) == "demo"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"kind": "nope"}, "kind", "'nope' is unknown; known kinds: demo, job_search, reused"),
        ({"kind": "x" * 1000}, "kind", "is unknown"),
        ({"kind": 7}, "kind", "'7' is unknown"),
        ({"kind": None}, "kind", ""),
        ({"parameters": {}}, "parameters.text", "required"),
        ({"parameters": {"text": ""}}, "parameters.text", "at least 1"),
        ({"parameters": {"text": "x" * 101}}, "parameters.text", "at most 100"),
        ({"parameters": {"text": "a", "times": "often"}}, "parameters.times", "integer"),
        ({"parameters": {"text": "a", "times": 10**400}}, "parameters.times", ""),
        ({"parameters": []}, "parameters", ""),
        ({"parameters": None}, "parameters", ""),
        ({"subject": ""}, "subject", "at least 1"),
        ({"subject": "x" * 201}, "subject", "at most 200"),
        ({"fresh": "perhaps"}, "fresh", "boolean"),
        ({"client_context": []}, "client_context", "dictionary"),
        ({"client_context": {"a": "x" * 4096}}, "client_context", "4096 bytes"),
        ({"unknown": 1}, "unknown", "not permitted"),
    ],
)
def test_what_is_wrong_is_named(ada: Person, change: dict[str, Any], field: str, words: str) -> None:
    response = ada.post("/runs", json=ECHO | change)
    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert words in problem["errors"][0]["message"]
    assert problem["detail"] == f"{field}: {problem['errors'][0]['message']}"
    assert len(response.content) < 1000
    assert ada.get("/runs").json()["runs"] == []


@pytest.mark.parametrize("body", [None, [], "text", 7, {}, {"kind": "demo"}])
def test_what_is_no_request_at_all_is_refused(ada: Person, body: Any) -> None:
    response = ada.post("/runs", json=body)
    assert response.status_code == 422
    assert response.json()["errors"]


def test_an_empty_body_is_refused(ada: Person) -> None:
    response = ada.post("/runs")
    assert (response.status_code, response.json()["detail"]) == (422, "body: Field required")


def test_every_wrong_field_is_named(ada: Person) -> None:
    errors = ada.post("/runs", json={"kind": "demo", "parameters": {"times": 11}}).json()["errors"]
    assert {error["field"] for error in errors} == {"parameters.text", "parameters.times"}


@pytest.mark.parametrize(
    ("parameters", "field"),
    [({"sources": ["lever", "remotive"]}, "sources"), ({"companies": ["acme", "lever:acme"]}, "companies")],
)
def test_a_source_that_is_switched_off_is_refused_by_its_field(
    ada: Person, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], field: str
) -> None:
    monkeypatch.setenv("JOB_SOURCES", "greenhouse,lever" if field == "sources" else "greenhouse")
    response = ada.post("/runs", json={"kind": "job_search", "parameters": {"query": "baker"} | parameters})
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert response.json()["errors"][0]["field"] == f"parameters.{field}"
    assert "is switched off in this installation" in response.json()["detail"]
    assert ada.get("/runs").json()["runs"] == []
