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
    "insert into foxtrot.fetch_units as known (source, board, generation, fetched_at, complete)"
    " values (%s, %s, 1, now(), true) on conflict (source, board) do update set generation = known.generation + 1"
)
LISTED = """
insert into foxtrot.postings (
    source, board, external_id, url, title, company, departments, places, places_key, text, content_hash,
    first_seen_at, last_seen_at, opened_generation, twin_key
)
select
    %(source)s, %(board)s, t, 'https://' || %(source)s || '.example/' || t, t, 'Acme', '{}', '{}', '', '', '', now(),
    now(), 1, hashtextextended(%(board)s || t, 0)
from unnest(%(titles)s::text[]) as t
returning id
"""


@pytest.fixture
def board() -> str:
    return f"board-{uuid4().hex}"


def listed(person: Person, board: str, *titles: str, source: str = "greenhouse") -> list[UUID]:
    """Postings of these titles, in that order, that a fetch has just stored; two sources' of a board are twins."""

    async def store(conn: AsyncConnection) -> list[UUID]:
        await conn.execute(FETCHED, [source, board])
        cursor = await conn.execute(LISTED, {"source": source, "board": board, "titles": list(titles)})
        return [posting_id for (posting_id,) in await cursor.fetchall()]

    return on_database(person.database_url, store)


def searched(
    person: Person, ids: list[UUID], status: str = "success", kind: str = "job_search", new: int = 0
) -> RunRow:
    user = person.user
    values: dict[str, Any] = {"kind": kind}
    if status == "success":
        listed = [str(posting_id) for posting_id in ids]
        values["result"] = {"found": len(ids), "new": new, "posting_ids": listed, "boards": [], "credits": []}
    return on_database(person.database_url, lambda conn: make_run(conn, user, status, **values))


def wished(
    person: Person, board: str, query: str = "engineer", kind: str = "job_search", companies: list[str] | None = None
) -> Schedule:
    user = person.user
    parameters = {"query": query, "companies": companies or [board]}

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


def test_a_page_says_how_many_are_new_and_what_is_due_to_its_sources(ada: Person, board: str) -> None:
    ids = listed(ada, board, "a", "b") + listed(ada, board, "c", source="remotive")
    path = f"/runs/{searched(ada, ids, new=2).id}/postings"
    whole = ada.get(path).json()
    assert (whole["new"], whole["total"], whole["next_cursor"]) == (2, 3, None)
    assert [credit["source"] for credit in whole["credits"]] == ["greenhouse", "remotive"]
    assert all(credit.keys() == {"source", "title", "attribution", "terms"} for credit in whole["credits"])
    first = ada.get(f"{path}?limit=2").json()
    assert (first["new"], [credit["title"] for credit in first["credits"]]) == (2, ["Greenhouse"])
    assert ada.get(f"/runs/{searched(ada, ids[:1], new=500).id}/postings").json()["new"] == 1, "of those it lists"


def test_a_posting_says_where_else_it_is_open(ada: Person, board: str) -> None:
    ids = listed(ada, board, "a", "b") + listed(ada, board, "a", source="lever")
    path = f"/runs/{searched(ada, ids[:2]).id}/postings"
    page = ada.get(path).json()
    assert [posting["also"] for posting in page["postings"]] == [
        [{"source": "lever", "url": "https://lever.example/a"}],
        [],
    ]
    assert [credit["source"] for credit in page["credits"]] == ["greenhouse", "lever"]
    close = "update foxtrot.postings set closed_at = now() where id = %s"
    on_database(ada.database_url, lambda conn: conn.execute(close, [ids[2]]))
    assert [posting["also"] for posting in ada.get(path).json()["postings"]] == [[], []]


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


def test_a_schedule_shows_what_was_stored_since_the_last_look(ada: Person, board: str) -> None:
    """The process keeps what it read, and reads again what was fetched anew."""
    path = f"/schedules/{wished(ada, board, companies=[board, f'lever:{board}']).id}/postings"
    (one,) = listed(ada, board, "Engineer one")
    assert titles(ada, path) == [["Engineer one"]]
    listed(ada, board, "Engineer one", "Engineer two", source="lever")
    (page,) = titles(ada, path)
    assert set(page) == {"Engineer one", "Engineer two"}
    first = next(each for each in ada.get(path).json()["postings"] if each["title"] == "Engineer one")
    assert (first["id"], [link["source"] for link in first["also"]]) == (str(one), ["lever"])
    listed(ada, board, "Engineer three")
    assert sum(len(page) for page in titles(ada, path)) == 3
    answer = ada.get(path).json()
    assert (answer["total"], answer["new"]) == (3, None)
    assert [credit["source"] for credit in answer["credits"]] in (["greenhouse", "lever"], ["lever", "greenhouse"])


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
