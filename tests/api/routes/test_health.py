import httpx
import psycopg
import pytest

from api.app import create_app
from shared.cron import tzdata_version
from tests.api.conftest import OF_API, REGISTRY, running, settings


def check_unready(api: str, *words: str) -> None:
    response = httpx.get(f"{api}/readyz")
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    assert "retry-after" in response.headers
    for word in words:
        assert word in response.json()["detail"]
    assert httpx.get(f"{api}/healthz").status_code == 200


def test_alive(api: str) -> None:
    response = httpx.get(f"{api}/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "tzdata": tzdata_version()})


def test_ready(api: str) -> None:
    response = httpx.get(f"{api}/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "tzdata": tzdata_version()})


def test_a_database_that_is_not_migrated_is_not_ready(empty_database_url: str) -> None:
    with running(create_app(settings(), empty_database_url, REGISTRY)) as api:
        check_unready(api, "not migrated", "0001", "foxtrot migrate")


@pytest.mark.parametrize(("dropped", "words"), [(7, "for 1 weeks ahead"), (9, "for 0 weeks ahead")])
def test_too_few_weeks_ahead_are_not_ready(database_url: str, dropped: int, words: str) -> None:
    latest = "select inhrelid::regclass::text from pg_inherits where inhparent = 'foxtrot.runs'::regclass"
    with running(create_app(settings(), database_url, REGISTRY)) as api, psycopg.connect(database_url) as conn:
        names = sorted(name for (name,) in conn.execute(latest))
        for name in names[-dropped:]:
            conn.execute(f"drop table {name}")
        conn.commit()
        check_unready(api, words)


def test_a_start_makes_the_weeks_that_are_missing(database_url: str) -> None:
    latest = "select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'foxtrot.runs'::regclass"
    with psycopg.connect(database_url) as conn:
        (before,) = conn.execute(latest).fetchone() or ("",)
        conn.execute(f"drop table {before}")
        conn.commit()
        with running(create_app(settings(), database_url, REGISTRY)) as api:
            assert httpx.get(f"{api}/healthz").status_code == 200
            assert conn.execute(latest).fetchone() == (before,)


def test_no_postgres_is_not_ready(database_url: str) -> None:
    app = create_app(settings(request_timeout_seconds=1), database_url, REGISTRY)
    with running(app) as api, psycopg.connect(database_url, autocommit=True) as conn:
        assert httpx.get(f"{api}/readyz").status_code == 200
        conn.execute("do $$ begin execute format('alter database %I connection limit 0', current_database()); end $$")
        conn.execute(f"select pg_terminate_backend(pid) {OF_API}")
        check_unready(api)
