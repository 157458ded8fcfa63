from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import AsyncConnection

from api.app import create_app
from api.auth import HOUR, MOST_VISITS, Visits
from shared.errors import SettingsError
from shared.settings import Settings
from shared.tokens import Claims, issue_token
from tests.api.conftest import REGISTRY, SECRET, Person, on_database
from tests.support import make_run

ANY = UUID(int=7)
PATHS = [
    "/runs",
    f"/runs/{ANY}",
    f"/runs/{ANY}/postings",
    "/schedules",
    f"/schedules/{ANY}/postings",
    "/kinds",
]


def users(person: Person) -> list[tuple[Any, ...]]:
    async def read(conn: AsyncConnection) -> list[tuple[Any, ...]]:
        cursor = await conn.execute(
            "select org_id, email, zone, last_seen_at is not null from foxtrot.users where id = %s", [person.id]
        )
        return await cursor.fetchall()

    return on_database(person.database_url, read)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("header", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}])
def test_without_a_token_nothing_is_told(api: str, path: str, header: dict[str, str]) -> None:
    response = httpx.get(f"{api}/api/v1{path}", headers=header)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        issue_token(SECRET.upper(), "ada"),
        issue_token(SECRET, "ada", lifetime=timedelta(minutes=-5)),
        issue_token(SECRET, "ada")[:-5],
    ],
)
def test_a_token_that_is_worth_nothing_lets_nobody_in(api: str, token: str) -> None:
    response = httpx.get(f"{api}/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert response.json()["title"] == "Unauthorized"


def test_the_first_request_adds_the_user(person: Callable[..., Person]) -> None:
    ada = person(org_id="acme", email="ada@example.org", zone="Asia/Tokyo")
    assert users(ada) == []
    assert ada.get("/runs").status_code == 200
    assert users(ada) == [("acme", "ada@example.org", "Asia/Tokyo", True)]


def test_a_poll_has_not_seen_the_user(ada: Person) -> None:
    user = ada.user
    run = on_database(ada.database_url, lambda conn: make_run(conn, user))
    assert ada.get(f"/runs/{run.id}").status_code == 200
    assert users(ada) == [(None, None, None, False)]
    assert ada.get("/runs").status_code == 200
    assert users(ada) == [(None, None, None, True)]


def test_a_request_that_is_refused_leaves_nothing_behind(ada: Person) -> None:
    assert ada.get(f"/runs/{uuid4()}").status_code == 404
    assert users(ada) == []


def test_a_second_request_within_the_hour_writes_nothing(ada: Person) -> None:
    async def forget(conn: AsyncConnection) -> None:
        await conn.execute("delete from foxtrot.users where id = %s", [ada.id])

    ada.get("/runs")
    on_database(ada.database_url, forget)
    ada.get("/runs")
    assert users(ada) == []


def test_new_claims_are_written_at_once(ada: Person) -> None:
    ada.get("/runs")
    ada.headers["Authorization"] = f"Bearer {issue_token(SECRET, str(ada.id), email='new@example.org')}"
    ada.get("/runs")
    assert users(ada) == [(None, "new@example.org", None, True)]


def test_a_visit_is_new_again_after_an_hour() -> None:
    now = 0.0
    visits, ada = Visits(lambda: now), Claims(uuid4())
    assert visits.is_new(ada, seen=True)
    visits.remember(ada, seen=True)
    assert not visits.is_new(ada, seen=True)
    assert visits.is_new(ada, seen=False)
    assert visits.is_new(Claims(ada.user_id, "acme"), seen=True)
    now = HOUR
    assert visits.is_new(ada, seen=True)


def test_a_visit_from_an_org_that_was_left_meanwhile_is_new() -> None:
    visits, acme = Visits(), Claims(uuid4(), "acme")
    visits.remember(acme, seen=True)
    visits.remember(Claims(acme.user_id, "initech"), seen=False)
    assert visits.is_new(acme, seen=True)
    visits.remember(acme, seen=True)
    assert not visits.is_new(acme, seen=True)


def test_the_memory_of_visits_is_bounded() -> None:
    visits = Visits()
    known = [Claims(uuid4()) for _ in range(MOST_VISITS + 1)]
    for claims in known:
        visits.remember(claims, seen=True)
    assert visits.is_new(known[0], seen=True)
    assert not visits.is_new(known[-1], seen=True)


def test_a_token_can_not_make_an_administrator(person: Callable[..., Person]) -> None:
    async def role(conn: AsyncConnection) -> Any:
        return await (await conn.execute("select role from foxtrot.users where id = %s", [ada.id])).fetchone()

    ada = person()
    ada.get("/runs")
    assert on_database(ada.database_url, role) == ("user",)


def test_without_a_secret_the_api_does_not_start() -> None:
    with pytest.raises(SettingsError, match="JWT_SECRET is not set"):
        create_app(Settings(_env_file=None, jwt_secret=None), "postgresql://", REGISTRY)
