from datetime import UTC, datetime

from psycopg import AsyncConnection

from shared.models import Schedule
from tests.api.conftest import Person, on_database
from tests.support import make_run, make_schedule, make_timetable

NOON = datetime(2031, 6, 1, 12, tzinfo=UTC)


def given(person: Person, *keys: str) -> list[Schedule]:
    user = person.user

    async def make(conn: AsyncConnection) -> list[Schedule]:
        timetable = await make_timetable(conn, crons=[f"0 12 * * {user.id}"], next_slot=NOON)
        return [await make_schedule(conn, user, timetable, key=key) for key in keys]

    return on_database(person.database_url, make)


def test_schedules_are_the_callers_own_by_key(ada: Person, grace: Person) -> None:
    given(grace, "hers")
    given(ada, "b", "a")
    schedules = ada.get("/schedules").json()["schedules"]
    assert [(schedule["key"], schedule["next_slot"]) for schedule in schedules] == [
        ("a", "2031-06-01T12:00:00Z"),
        ("b", "2031-06-01T12:00:00Z"),
    ]


def test_a_schedule_shows_its_last_success(ada: Person) -> None:
    async def succeed(conn: AsyncConnection) -> str:
        run = await make_run(
            conn,
            ada.user,
            "success",
            fingerprint=schedule.fingerprint,
            result={"found": 12, "new": 3},
            headline="12 jobs",
        )
        return str(run.id)

    (schedule,) = given(ada, "a")
    run_id = on_database(ada.database_url, succeed)
    (shown,) = ada.get("/schedules").json()["schedules"]
    assert (shown["last_run_id"], shown["found"], shown["new"], shown["headline"]) == (run_id, 12, 3, "12 jobs")


def test_nobody_has_schedules_at_first(ada: Person) -> None:
    assert ada.get("/schedules").json() == {"schedules": []}
