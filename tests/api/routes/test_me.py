from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import Person

DAILY = {"kind": "demo", "parameters": {"text": "hi"}, "crons": ["0 8 * * *"]}


def zones(person: Person) -> dict[str, tuple[str, str]]:
    """What was asked for and what it stands for, by key."""
    schedules = person.get("/schedules").json()["schedules"]
    return {each["key"]: (each["zone"], each["timetable_zone"]) for each in schedules}


def test_somebody_reads_who_they_are(person: Callable[..., Person]) -> None:
    ada = person(org_id="acme", email="ada@example.org", zone="Asia/Tokyo")
    me = ada.get("/me").json()
    seen = datetime.fromisoformat(me.pop("last_seen_at"))
    assert me == {"id": str(ada.id), "org_id": "acme", "email": "ada@example.org", "zone": "Asia/Tokyo"}
    assert abs(datetime.now(UTC) - seen) < timedelta(minutes=1)


def test_nobody_knows_where_they_are_until_they_say_so(ada: Person) -> None:
    assert ada.get("/me").json()["zone"] is None
    moved = ada.put("/me", json={"zone": "Asia/Calcutta"}).json()
    assert (moved["zone"], moved["moved"]) == ("Asia/Calcutta", 0)
    assert ada.get("/me").json() == {name: moved[name] for name in moved if name != "moved"}


def test_moving_moves_the_schedules_that_follow_and_no_others(ada: Person, grace: Person) -> None:
    for who in (ada, grace):
        who.put("/schedules/follows", json=DAILY)
        who.put("/schedules/stays", json=DAILY | {"zone": "Europe/London"})
    assert ada.put("/me", json={"zone": "Asia/Tokyo"}).json()["moved"] == 1
    assert zones(ada) == {"follows": ("user", "Asia/Tokyo"), "stays": ("Europe/London", "Europe/London")}
    assert zones(grace) == {"follows": ("user", "Europe/London"), "stays": ("Europe/London", "Europe/London")}
    before = ada.get("/schedules").json()
    assert ada.put("/me", json={"zone": "Asia/Tokyo"}).json()["moved"] == 0
    assert ada.get("/schedules").json() == before


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"zone": "EST5EDT-ish"}, "zone", "Did you mean EST5EDT?"),
        ({"zone": "Europe"}, "zone", "Name a place too"),
        ({"zone": "Z" * 300}, "zone", "Use an IANA name"),
        ({"zone": "UTC\x00"}, "zone", "U+0000"),
        ({"zone": "localtime"}, "zone", "is no zone"),
        ({"zone": "user"}, "zone", "is no zone"),
        ({"zone": None}, "zone", "string"),
        ({}, "zone", "required"),
        ({"zone": "UTC", "role": "admin"}, "role", "not permitted"),
    ],
)
def test_what_is_wrong_is_named_and_nobody_moves(ada: Person, body: dict[str, object], field: str, words: str) -> None:
    response = ada.put("/me", json=body)
    problem = response.json()
    assert (response.status_code, [error["field"] for error in problem["errors"]]) == (422, [field])
    assert words in problem["errors"][0]["message"] + problem.get("hint", "")
    assert ada.get("/me").json()["zone"] is None
