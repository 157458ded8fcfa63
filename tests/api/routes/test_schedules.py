import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import AsyncConnection

from api.app import create_app
from cli.postgres import EmbeddedPostgres
from scheduler.service import pass_once
from shared.fingerprint import fingerprint
from shared.models import RunRow, Schedule
from tests.api.conftest import REGISTRY, Echo, Person, on_database, running, settings
from tests.clock import Clock
from tests.scheduler.support import scheduling
from tests.support import database, make_run, make_schedule, make_timetable

NOON = datetime(2031, 6, 1, 12, tzinfo=UTC)
DAILY = {"kind": "demo", "parameters": {"text": "hi"}, "crons": ["0 8 * * *"]}
MISSING = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "No such schedule.",
    "hint": "Look for its key in the list of your schedules.",
}


def given(person: Person, *keys: str, **values: Any) -> list[Schedule]:
    user = person.user

    async def make(conn: AsyncConnection) -> list[Schedule]:
        timetable = await make_timetable(conn, crons=[f"0 12 * * {user.id}"], next_slot=NOON)
        return [await make_schedule(conn, user, timetable, key=key, **values) for key in keys]

    return on_database(person.database_url, make)


def made(person: Person, key: str = "mine", **values: Any) -> dict[str, Any]:
    """A new schedule of the person, as the API shows it."""
    response = person.put(f"/schedules/{quote(key)}", json=DAILY | values)
    assert response.status_code == 201, response.text
    shown: dict[str, Any] = response.json()
    return shown


def ran(person: Person, status: str, kind: str = "demo", **values: Any) -> RunRow:
    """A run of the person that does the same work as DAILY."""
    user, mark = person.user, fingerprint(kind, None, Echo(text="hi"))
    return on_database(
        person.database_url, lambda conn: make_run(conn, user, status, kind=kind, fingerprint=mark, **values)
    )


def refused(response: httpx.Response, field: str, words: str) -> None:
    """It was a 422 in the form of every problem, and says so much."""
    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert words in problem["errors"][0]["message"] + (problem.get("hint") or "")
    assert len(response.content) < 1500


# Reading --------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("key", ["mine", "früh morgens", "preview", "50% a?b#c+d"])
def test_a_schedule_is_read_by_its_id_and_by_its_key(ada: Person, key: str) -> None:
    shown = made(ada, key)
    assert shown["key"] == key
    assert ada.get(f"/schedules/{shown['id']}").json() == ada.get(f"/schedules/{quote(key)}").json() == shown


# Writing --------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_created(ada: Person) -> None:
    wish = DAILY | {"key": "mine", "zone": "Asia/Tokyo", "spread_seconds": 60, "catch_up": "all", "note": "first"}
    response = ada.post("/schedules", json=wish)
    shown = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/schedules/{shown['id']}"
    assert shown.items() >= (wish | {"timetable_zone": "Asia/Tokyo", "enabled": True, "dormant": False}).items()
    next_slot = datetime.fromisoformat(shown["next_slot"])
    assert (next_slot.hour, next_slot.minute) == (23, 0)
    assert ada.get(response.headers["location"].removeprefix("/api/v1")).json() == shown


def test_a_key_is_made_up_when_it_is_left_out(ada: Person) -> None:
    keys = [ada.post("/schedules", json=DAILY).json()["key"] for _ in range(2)]
    assert all(key.startswith("demo-") for key in keys)
    assert len(set(keys)) == 2


def test_a_schedule_is_created_once(ada: Person, grace: Person) -> None:
    wish = DAILY | {"key": "mine"}
    assert [who.post("/schedules", json=wish).status_code for who in (ada, grace)] == [201, 201]
    again = ada.post("/schedules", json=wish | {"note": "second"})
    assert again.status_code == 409
    assert "There is a schedule 'mine' already" in again.json()["detail"]
    assert ada.get("/schedules/mine").json()["note"] is None


def test_two_at_once_create_one(ada: Person) -> None:
    async def main() -> list[int]:
        async with httpx.AsyncClient(base_url=ada.base_url, headers=ada.headers) as client:
            wishes = [client.post("/schedules", json=DAILY | {"key": "mine", "note": str(n)}) for n in range(3)]
            return sorted(response.status_code for response in await asyncio.gather(*wishes))

    assert asyncio.run(main()) == [201, 409, 409]


def test_a_put_adds_then_changes_then_changes_nothing(ada: Person) -> None:
    first = ada.put("/schedules/mine", json=DAILY)
    changed = ada.put("/schedules/mine", json=DAILY | {"parameters": {"text": "ho"}})
    same = ada.put("/schedules/mine", json=DAILY | {"parameters": {"text": "ho", "times": 1}})
    assert [response.status_code for response in (first, changed, same)] == [201, 200, 200]
    assert first.headers["location"] == f"/api/v1/schedules/{first.json()['id']}"
    assert "location" not in same.headers
    assert (changed.json()["id"], changed.json()["parameters"]) == (first.json()["id"], {"text": "ho"})
    assert same.json() == changed.json()
    assert changed.json()["updated_at"] > first.json()["updated_at"]


def test_a_patch_changes_what_it_names(ada: Person) -> None:
    before = made(ada, note="mine")
    for change in ({"parameters": {"text": "ho"}}, {"crons": ["0 9 * * *"]}, {"note": None}, {"enabled": False}):
        after = ada.patch("/schedules/mine", json=change).json()
        moved = {name for name in before if before[name] != after[name]} - {"updated_at", "next_slot", "paused_at"}
        assert {name: after[name] for name in moved} == change
        before = after
    assert (before["next_slot"], before["enabled"]) == (None, False)
    assert ada.patch("/schedules/mine", json={}).json() == before


def test_what_is_deleted_is_gone(ada: Person) -> None:
    shown = made(ada)
    response = ada.delete("/schedules/mine")
    assert (response.status_code, response.content) == (204, b"")
    assert ada.get("/schedules").json() == {"schedules": []}
    assert [ada.delete(f"/schedules/{name}").status_code for name in ("mine", shown["id"])] == [404, 404]


def test_a_schedule_is_paused_with_a_note_and_resumed(ada: Person) -> None:
    made(ada)
    paused = ada.post("/schedules/mine/pause", json={"note": "on holiday"}).json()
    assert (paused["enabled"], paused["pause_note"], paused["next_slot"]) == (False, "on holiday", None)
    assert ada.post("/schedules/mine/pause").json() == paused
    resumed = ada.post("/schedules/mine/resume").json()
    assert (resumed["enabled"], resumed["pause_note"], resumed["paused_at"]) == (True, None, None)
    assert resumed["next_slot"] is not None


def test_fifty_schedules_are_enough(ada: Person) -> None:
    given(ada, *map(str, range(49)))
    made(ada, "fiftieth")
    one_more = ada.post("/schedules", json=DAILY)
    assert (one_more.status_code, one_more.json()["detail"]) == (409, "You have 50 schedules, and 50 is the limit.")
    assert ada.put("/schedules/mine", json=DAILY).status_code == 409
    assert ada.put("/schedules/fiftieth", json=DAILY).status_code == 200


# Run now --------------------------------------------------------------------------------------------------------------


def test_run_now_starts_what_the_schedule_runs_and_moves_no_slot(ada: Person) -> None:
    shown = made(ada)
    response = ada.post("/schedules/mine/run")
    run = response.json()
    assert (response.status_code, response.headers["location"]) == (202, f"/api/v1/runs/{run['id']}")
    assert (run["created"], run["source"], run["schedule_id"], run["scheduled_for"]) == (
        True,
        "manual",
        shown["id"],
        None,
    )
    assert (run["kind"], run["parameters"]) == ("demo", {"text": "hi"})
    assert ada.get("/schedules/mine").json() == shown


def test_run_now_joins_the_run_that_does_the_same_work(ada: Person) -> None:
    made(ada)
    first = ada.post("/runs", json={"kind": "demo", "parameters": {"text": "hi"}}).json()
    second = ada.post("/schedules/mine/run", params={"fresh": "true"})
    assert (second.status_code, second.json()["id"], second.json()["created"]) == (202, first["id"], False)


def test_run_now_promotes_the_refresh_that_waits(ada: Person) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    refresh = ran(ada, "pending", source="cron", available_at=later)
    made(ada)
    run = ada.post("/schedules/mine/run").json()
    assert (run["id"], run["created"], run["promoted"]) == (str(refresh.id), False, True)


def test_a_paused_schedule_can_be_run_now_and_stays_paused(ada: Person) -> None:
    made(ada, enabled=False)
    assert ada.post("/schedules/mine/run").json()["created"]
    assert ada.get("/schedules/mine").json()["enabled"] is False


def test_run_now_is_answered_with_a_young_success_unless_it_is_to_be_fresh(ada: Person) -> None:
    done = ran(ada, "success", kind="reused")
    made(ada, kind="reused")
    young = ada.post("/schedules/mine/run")
    assert (young.status_code, young.json()["id"], young.json()["reused"]) == (200, str(done.id), True)
    assert ada.post("/schedules/mine/run?fresh=true").status_code == 202


def test_what_no_kind_runs_any_more_cannot_be_run_now(ada: Person) -> None:
    given(ada, "old", kind="gone")
    refused(ada.post("/schedules/old/run"), "kind", "'gone' is unknown")


# Preview --------------------------------------------------------------------------------------------------------------


def test_times_are_previewed_where_the_user_is(person: Callable[..., Person]) -> None:
    ada = person(zone="Asia/Tokyo")
    shown = ada.post("/schedules/preview", json={"crons": ["0 8 * * mon-fri", "@daily"]}).json()
    assert (shown["crons"], shown["zone"]) == (["0 0 * * *", "0 8 * * MON-FRI"], "Asia/Tokyo")
    assert shown["sentence"] == "At 00:00 every day; at 08:00 on Monday to Friday"
    assert len(shown["slots"]) == 6
    assert all(slot["local"].endswith("+09:00") for slot in shown["slots"])
    elsewhere = ada.post("/schedules/preview", json={"crons": ["30 2 * * *"], "zone": "Europe/Paris"}).json()
    assert {warning["code"] for warning in elsewhere["warnings"]} == {"spring_gap", "autumn_fold"}
    assert ada.get("/schedules").json() == {"schedules": []}


# Slots and backfill, by a clock that stands still ---------------------------------------------------------------------


class Dated(Person):
    """A person of the database whose clock the test sets."""

    clock: Clock


@pytest.fixture(scope="module")
def dated(postgres: EmbeddedPostgres, clock_template: str) -> Iterator[tuple[Clock, str]]:
    with database(postgres.url, template=clock_template) as url:
        clock = Clock(url)
        with running(create_app(settings(), url, REGISTRY)) as api:
            yield clock, api


@pytest.fixture
def eve(dated: tuple[Clock, str]) -> Iterator[Dated]:
    """Somebody new at 7:30 in UTC, days after all that others did."""
    clock, api = dated
    clock.freeze((clock.now() + timedelta(days=3)).replace(hour=7, minute=30, second=0, microsecond=0))
    with Dated(api, clock.url, str(uuid4())) as person:
        person.clock = clock
        yield person


def pass_at(person: Dated, hour: int, minute: int = 0) -> datetime:
    """Let a scheduler pass at that time of the day."""
    person.clock.freeze(at := person.clock.now().replace(hour=hour, minute=minute))
    scheduling(person.database_url, lambda pool: pass_once(pool, settings(), REGISTRY))
    return at


def test_the_strip_shows_each_slot_with_its_run_or_the_reason_why_there_is_none(eve: Dated) -> None:
    shown = made(eve, crons=["0 * * * *"], zone="Asia/Kolkata")
    eve.patch("/schedules/mine", json={"zone": "UTC"})
    first = pass_at(eve, 8)
    pass_at(eve, 9)
    eve.post("/schedules/mine/pause", json={"note": "on holiday"})
    pass_at(eve, 10)
    eve.post("/schedules/mine/resume")
    eve.clock.advance(timedelta(hours=1))
    strip = eve.get("/schedules/mine/slots").json()
    run = eve.get("/runs").json()["runs"][-1]
    assert (run["schedule_id"], datetime.fromisoformat(run["scheduled_for"])) == (shown["id"], first)
    assert [(slot["outcome"], slot["reason"], slot["run_id"], slot["note"]) for slot in strip["slots"]] == [
        ("pending", None, run["id"], None),
        ("skipped", "overlap", run["id"], None),
        ("skipped", "paused", None, "on holiday"),
        ("due", None, None, None),
    ]
    assert (strip["zone"], strip["counts"]) == ("UTC", {"pending": 1, "overlap": 1, "paused": 1, "due": 1})
    assert eve.get(f"/schedules/{shown['id']}/slots").json() == strip


def test_slots_are_shown_by_the_schedules_own_clock(eve: Dated) -> None:
    made(eve, crons=["30 * * * *"], zone="Asia/Kolkata")
    eve.clock.advance(timedelta(hours=1))
    (slot,) = eve.get("/schedules/mine/slots").json()["slots"]
    assert (slot["scheduled_for"][10:], slot["local"][10:]) == ("T08:00:00Z", "T13:30:00+05:30")


def test_a_backfill_counts_and_then_runs_what_became_no_run(eve: Dated) -> None:
    made(eve)
    today = pass_at(eve, 8)
    eve.clock.advance(timedelta(minutes=1))
    stretch = {"start": (today - timedelta(days=2)).isoformat(), "end": (today + timedelta(minutes=1)).isoformat()}
    counted = eve.post("/schedules/mine/backfill", json=stretch | {"dry_run": True}).json()
    assert (counted["slots"], counted["settled"], counted["runs"]) == (3, 1, 2)
    assert datetime.fromisoformat(counted["last"]) == today - timedelta(days=1)
    assert len(eve.get("/runs").json()["runs"]) == 1
    assert eve.post("/schedules/mine/backfill", json=stretch).json() == counted
    runs = eve.get("/runs").json()["runs"]
    assert [run["source"] for run in runs] == ["cron", "backfill", "backfill"]
    again = eve.post("/schedules/mine/backfill", json=stretch).json()
    assert again == {"slots": 3, "settled": 3, "runs": 0, "first": None, "last": None}


@pytest.mark.parametrize(
    ("start", "end", "field", "words"),
    [
        ("2026-01-01T08:00:00", 0, "start", "timezone"),
        (-3600, "2026-01-01T08:00:00", "end", "timezone"),
        (-3600, "x", "end", "datetime"),
        (-3600, -3600, "end", "is not after start"),
        (-3600, 60, "end", "in the future"),
        (-31 * 86_400, 0, "start", "more than 30 days ago"),
        (-300 * 10**6, 0, "start", "more than 30 days ago"),
        (-300 * 1001, 0, "end", "more than 1,000 slots"),
        ("0001-01-01T00:00:00+14:00", 0, "start", "more than 30 days ago"),
        (0, "9999-12-31T23:59:59-14:00", "end", "in the future"),
        (None, 0, "start", "datetime"),
    ],
)
def test_a_stretch_that_cannot_be_is_refused(eve: Dated, start: Any, end: Any, field: str, words: str) -> None:
    def moment(value: Any) -> Any:
        return (now + timedelta(seconds=value)).isoformat() if isinstance(value, int) else value

    now = eve.clock.now()
    made(eve, crons=["*/5 * * * *"])
    for dry_run in (True, False):
        body = {"start": moment(start), "end": moment(end), "dry_run": dry_run}
        refused(eve.post("/schedules/mine/backfill", json=body), field, words)
    assert eve.get("/runs").json()["runs"] == []


# What is wrong --------------------------------------------------------------------------------------------------------

NUL = "must not contain the character U+0000"
HALF = "must not contain half a surrogate pair"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"zone": "EST5EDT-ish"}, "zone", "Did you mean EST5EDT?"),
        ({"zone": "CST"}, "zone", "An abbreviation can mean several zones"),
        ({"zone": "Europe"}, "zone", "Name a place too"),
        ({"zone": "Z" * 300}, "zone", "Use an IANA name"),
        ({"zone": "Europe/London\x00"}, "zone", NUL),
        ({"zone": "localtime"}, "zone", "is no zone"),
        ({"zone": ""}, "zone", "is no zone"),
        ({"zone": None}, "zone", "string"),
        ({"zone": "\ud800"}, "zone", HALF),
        ({"crons": []}, "crons", "a timetable has 1 to 10 cron expressions, not 0"),
        ({"crons": [f"{5 * n} 8 * * *" for n in range(11)]}, "crons", "1 to 10 cron expressions, not 11"),
        ({"crons": ["0 0 8 * * *"]}, "crons", "seconds are not supported"),
        ({"crons": ["0 0 30 2 *"]}, "crons", "never comes in month"),
        ({"crons": ["* * * * *"]}, "crons", "the least is 5 min"),
        ({"crons": ["0 8 * * *", "4 8 * * *"]}, "crons", "come 4 min apart"),
        ({"crons": ["0 8 * * *\x00"]}, "crons.0", NUL),
        ({"crons": ["0 8 * * * " * 100]}, "crons", "at most 100"),
        ({"crons": "0 8 * * *"}, "crons", "list"),
        ({"crons": [None]}, "crons.0", "string"),
        ({"spread_seconds": -1}, "spread_seconds", "is not between 0 and 86400"),
        ({"spread_seconds": 10**30}, "spread_seconds", "is not between 0 and 86400"),
        ({"crons": ["0 8,9 * * *"], "spread_seconds": 3601}, "spread_seconds", "3600 s between two slots"),
        ({"catch_up": "some"}, "catch_up", "'latest', 'all' or 'none'"),
        ({"note": "n" * 501}, "note", "at most 500"),
        ({"note": "\x00"}, "note", NUL),
        ({"note": "\ud800"}, "note", HALF),
        ({"enabled": None}, "enabled", "boolean"),
        ({"unknown": 1}, "unknown", "not permitted"),
        ({"parameters": {}}, "parameters.text", "required"),
        ({"parameters": {"text": ""}}, "parameters.text", "at least 1"),
        ({"parameters": {"text": "a", "times": "often"}}, "parameters.times", "integer"),
        ({"parameters": None}, "parameters", "dictionary"),
    ],
)
def test_what_is_wrong_is_named_with_a_way_out(ada: Person, change: dict[str, Any], field: str, words: str) -> None:
    made(ada)
    before = ada.get("/schedules").json()
    for response in (
        send(ada, "POST", "/schedules", DAILY | change),
        send(ada, "PUT", "/schedules/other", DAILY | change),
        send(ada, "PUT", "/schedules/mine", DAILY | change),
        send(ada, "PATCH", "/schedules/mine", change),
    ):
        refused(response, field, words)
    assert ada.get("/schedules").json() == before


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"kind": "nope"}, "kind", "'nope' is unknown; known kinds: demo, job_search, reused"),
        ({"key": ""}, "key", "1 to 100 printable characters"),
        ({"key": "k" * 101}, "key", "1 to 100 printable characters"),
        ({"key": "a/b"}, "key", "no slash"),
        ({"key": ".."}, "key", "no slash"),
        ({"key": "a\x00b"}, "key", NUL),
        ({"key": "a\nb"}, "key", "printable"),
        ({"key": str(UUID(int=7))}, "key", "looks like an id"),
        ({"key": "kept:demo"}, "key", "keep: true"),
    ],
)
def test_what_a_new_schedule_cannot_be_is_named(ada: Person, change: dict[str, Any], field: str, words: str) -> None:
    refused(send(ada, "POST", "/schedules", DAILY | change), field, words)
    assert ada.get("/schedules").json() == {"schedules": []}


@pytest.mark.parametrize("key", ["%00", "a%00b", "k" * 101, "%0A", str(UUID(int=7)), "kept:demo"])
def test_nothing_can_be_put_under_what_is_no_key(ada: Person, key: str) -> None:
    refused(ada.put(f"/schedules/{key}", json=DAILY), "key", "key")
    assert ada.get("/schedules").json() == {"schedules": []}


def test_an_address_with_one_slash_more_is_none(ada: Person) -> None:
    assert ada.put("/schedules/a%2Fb", json=DAILY).status_code == 404


def test_times_that_cannot_be_are_not_previewed(ada: Person) -> None:
    refused(ada.post("/schedules/preview", json={"crons": ["0 8 * *"]}), "crons", "4 fields instead of 5")
    refused(ada.post("/schedules/preview", json={"crons": ["0 8 * * *"], "zone": "Europe"}), "zone", "Name a place")
    refused(ada.post("/schedules/preview", json={}), "crons", "required")


@pytest.mark.parametrize("note", ["n" * 501, "\x00", 7])
def test_a_note_that_cannot_be_kept_pauses_nothing(ada: Person, note: Any) -> None:
    made(ada)
    refused(send(ada, "POST", "/schedules/mine/pause", {"note": note}), "note", "")
    assert ada.get("/schedules/mine").json()["enabled"]


def send(person: Person, method: str, address: str, body: Any) -> httpx.Response:
    """As ASCII, so that half a surrogate pair gets there."""
    return person.request(method, address, content=json.dumps(body), headers={"Content-Type": "application/json"})


# Whose they are -------------------------------------------------------------------------------------------------------

ON_ONE: dict[tuple[str, str], Any] = {
    ("GET", ""): None,
    ("PATCH", ""): {"note": "theirs"},
    ("DELETE", ""): None,
    ("POST", "/pause"): {"note": "theirs"},
    ("POST", "/resume"): None,
    ("POST", "/run"): None,
    ("GET", "/slots"): None,
    ("GET", "/postings"): None,
    ("POST", "/backfill"): None,  # with a stretch of this hour
}


def on_one(person: Person, name: str) -> dict[tuple[str, str], httpx.Response]:
    """What each route answers about the schedule of that name."""
    now = datetime.now(UTC)
    stretch = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now - timedelta(minutes=1)).isoformat()}
    bodies = ON_ONE | {("POST", "/backfill"): stretch}
    return {
        (method, rest): person.request(method, f"/schedules/{name}{rest}", json=body)
        for (method, rest), body in bodies.items()
    }


def test_another_users_schedule_is_missing_on_every_route(ada: Person, grace: Person) -> None:
    hers = made(grace, "hers")
    for name in ("hers", hers["id"], "nobodys", str(uuid4()), "a%00b"):
        answers = on_one(ada, name)
        assert {answer.status_code for answer in answers.values()} == {404}
        assert [answer.json() for answer in answers.values()] == [MISSING] * len(answers)
    assert grace.get("/schedules/hers").json() == hers
    assert ada.put("/schedules/hers", json=DAILY | {"note": "mine"}).status_code == 201
    assert grace.get("/schedules").json() == {"schedules": [hers]}
    assert grace.get("/runs").json()["runs"] == []


def test_these_are_all_the_routes_there_are(ada: Person) -> None:
    paths = httpx.get(f"{ada.base_url.copy_with(path='/openapi.json')}").json()["paths"]
    of_one = {
        (method.upper(), path.removeprefix("/api/v1/schedules/{schedule}"))
        for path, methods in paths.items()
        if path.startswith("/api/v1/schedules/{schedule}")
        for method in methods
    }
    assert of_one - {("PUT", "")} == ON_ONE.keys()


def test_nobody_gets_in_without_a_token(ada: Person) -> None:
    made(ada)
    del ada.headers["Authorization"]
    assert {answer.status_code for answer in on_one(ada, "mine").values()} == {401}
    assert ada.put("/schedules/mine", json=DAILY).status_code == 401


def test_a_name_that_is_too_long_is_no_name(ada: Person) -> None:
    for answer in on_one(ada, "k" * 101).values():
        refused(answer, "schedule", "at most 100")
