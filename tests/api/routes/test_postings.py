from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from shared.models import RunRow, Schedule
from tests.api.conftest import Person, on_database
from tests.support import make_run, make_schedule, make_timetable

NOON = datetime(2031, 6, 1, 12, tzinfo=UTC)
FETCHED = (
    "insert into foxtrot.fetch_units (source, board, generation, fetched_at, complete) values (%s, %s, 1, now(), true)"
)
LISTED = """
insert into foxtrot.postings (
    source, board, external_id, url, title, company, departments, places, places_key, text, content_hash,
    first_seen_at, last_seen_at, opened_generation
)
select 'greenhouse', %(board)s, t, 'https://jobs.example/' || t, t, 'Acme', '{}', '{}', '', '', '', now(), now(), 1
from unnest(%(titles)s::text[]) as t
returning id
"""


@pytest.fixture
def board() -> str:
    return f"board-{uuid4().hex}"


def listed(person: Person, board: str, *titles: str) -> list[UUID]:
    """Stored postings of these titles, in that order."""

    async def store(conn: AsyncConnection) -> list[UUID]:
        await conn.execute(FETCHED, ["greenhouse", board])
        cursor = await conn.execute(LISTED, {"board": board, "titles": list(titles)})
        return [posting_id for (posting_id,) in await cursor.fetchall()]

    return on_database(person.database_url, store)


def searched(person: Person, ids: list[UUID], status: str = "success", kind: str = "job_search") -> RunRow:
    user = person.user
    values: dict[str, Any] = {"kind": kind}
    if status == "success":
        found = {"found": len(ids), "new": 0, "posting_ids": [str(posting_id) for posting_id in ids], "sources": []}
        values["result"] = found
    return on_database(person.database_url, lambda conn: make_run(conn, user, status, **values))


def wished(person: Person, board: str, query: str = "engineer", kind: str = "job_search") -> Schedule:
    user = person.user
    parameters = {"query": query, "companies": [board]}

    async def make(conn: AsyncConnection) -> Schedule:
        timetable = await make_timetable(conn, crons=[f"0 12 * * {uuid4()}"], next_slot=NOON)
        return await make_schedule(conn, user, timetable, kind=kind, parameters=parameters)

    return on_database(person.database_url, make)


def titles(person: Person, path: str) -> list[list[str]]:
    """The titles of every page."""
    found, cursor = [], ""
    while True:
        response = person.get(f"{path}?limit=2{cursor}")
        assert response.status_code == 200, response.text
        page = response.json()
        found.append([posting["title"] for posting in page["postings"]])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_a_runs_postings_come_in_its_order_by_page(ada: Person, board: str) -> None:
    a, b, c = listed(ada, board, "a", "b", "c")
    run = searched(ada, [c, a, b])
    assert titles(ada, f"/runs/{run.id}/postings") == [["c", "a"], ["b"]]
    assert ada.get(f"/runs/{run.id}/postings").json()["total"] == 3


def test_a_search_that_found_nothing_has_an_empty_page(ada: Person) -> None:
    assert titles(ada, f"/runs/{searched(ada, []).id}/postings") == [[]]


@pytest.mark.parametrize("status", ["pending", "running", "failed", "cancelled"])
def test_a_run_that_has_no_result_has_no_postings(ada: Person, status: str) -> None:
    response = ada.get(f"/runs/{searched(ada, [], status).id}/postings")
    assert (response.status_code, response.headers["content-type"]) == (409, "application/problem+json")
    assert f"its status is {status}" in response.json()["detail"]


def test_a_run_of_another_kind_has_no_postings(ada: Person) -> None:
    response = ada.get(f"/runs/{searched(ada, [], kind='demo').id}/postings")
    assert response.status_code == 404
    assert "kind demo has no postings" in response.json()["detail"]


def test_a_schedule_shows_what_matches_now(ada: Person, board: str) -> None:
    schedule = wished(ada, board)
    assert titles(ada, f"/schedules/{schedule.id}/postings") == [[]]
    listed(ada, board, "Baker", "Engineer one", "Engineer two", "Engineer three")
    pages = titles(ada, f"/schedules/{schedule.id}/postings")
    assert [len(page) for page in pages] == [2, 1]
    assert {title for page in pages for title in page} == {"Engineer one", "Engineer two", "Engineer three"}


def test_a_schedule_of_another_kind_has_no_postings(ada: Person, board: str) -> None:
    response = ada.get(f"/schedules/{wished(ada, board, kind='demo').id}/postings")
    assert response.status_code == 404
    assert "kind demo has no postings" in response.json()["detail"]


def test_a_search_for_nothing_says_so(ada: Person, board: str) -> None:
    response = ada.get(f"/schedules/{wished(ada, board, query='the').id}/postings")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "parameters.query")


def test_another_users_schedule_is_as_missing_as_a_missing_one(ada: Person, grace: Person, board: str) -> None:
    answers = [ada.get(f"/schedules/{mark}/postings") for mark in (wished(grace, board).id, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "cursor=-1", "cursor=LTE", "cursor=eA", "cursor=OTk5OTk5OTk5OTk5"]
)
def test_what_a_page_does_not_understand_is_named(ada: Person, query: str) -> None:
    response = ada.get(f"/runs/{searched(ada, []).id}/postings?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == query.partition("=")[0]
