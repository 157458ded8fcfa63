from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from shared.errors import InvalidCronError, InvalidInputError, InvalidZoneError, UnknownKindError
from shared.fingerprint import fingerprint
from shared.kinds import Registry
from shared.models import User
from shared.schedules import Put, delete_schedule, edit_schedule, pause_schedule
from tests.clock import Clock
from tests.scheduler.support import DEMO, REGISTRY, Search, end_runs, pass_over, rows, slots
from tests.shared.schedules.support import (
    AT,
    DAILY,
    DAY,
    EIGHT,
    HOUR,
    RULES,
    as_user,
    changed,
    edit,
    new_user,
    pause,
    put,
    refuses_others,
    resume,
    shown,
    stored,
    table,
)

PYTHON = Search(query="python")


def given(clock: Clock, **values: Any) -> User:
    """Somebody with the daily schedule since 7:30; now it is 8:30."""
    clock.freeze(AT)
    user = new_user(clock.url)
    put(clock.url, user, changed(DAILY, **values))
    clock.advance(HOUR)
    return user


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("changes", [{}, {"crons": [" 0  8 * * * "]}, {"parameters": {"query": "python"}}])
def test_an_edit_that_changes_nothing_changes_nothing(clock: Clock, changes: dict[str, Any]) -> None:
    user = given(clock)
    before = stored(clock.url)
    assert edit(clock.url, user, changes) == Put(before["id"], created=False, changed=False)
    assert stored(clock.url) == before


NOW = {"effective_from", "timed_from", "timetable_id", "updated_at"}


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"note": "first thing"}, {"note", "updated_at"}),
        ({"parameters": {"query": "sql"}}, {"parameters", "fingerprint", "updated_at"}),
        ({"spread_seconds": 60}, {"spread_seconds", "updated_at"}),
        ({"catch_up": "none"}, {"catch_up", "updated_at"}),
        ({"crons": ["0 9 * * *"]}, NOW),
        ({"zone": "Asia/Tokyo"}, {"zone", *NOW}),
        ({"enabled": False}, {"enabled", "paused_at", "effective_from", "updated_at"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_named_moves_and_nothing_else(clock: Clock, changes: dict[str, Any], moved: set[str]) -> None:
    user = given(clock)
    before = stored(clock.url)
    assert edit(clock.url, user, changes).changed
    after = stored(clock.url)
    assert differing(before, after) == moved
    assert {after[name] for name in moved if isinstance(after[name], datetime)} == {AT + HOUR}


def test_a_schedule_is_named_by_its_id_too(clock: Clock) -> None:
    user = given(clock)
    put(clock.url, user, changed(DAILY, key="other"))
    edited = edit(clock.url, user, {"note": "this one"}, str(shown(clock.url, user).id))
    assert (shown(clock.url, user).note, shown(clock.url, user, "other").note) == ("this one", None)
    assert edited.id == shown(clock.url, user).id


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"parameters": {"query": {}}}, InvalidInputError, "parameters.query"),
        ({"crons": []}, InvalidCronError, "crons"),
        ({"crons": ["0 8 * * *", "2 8 * * *"]}, InvalidCronError, "crons"),
        ({"zone": "Europe"}, InvalidZoneError, "zone"),
        ({"note": "n" * 501}, InvalidInputError, "note"),
        ({"spread_seconds": 86_401}, InvalidInputError, "spread_seconds"),
        ({"crons": ["0 * * * *"], "spread_seconds": 3601}, InvalidInputError, "spread_seconds"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(
    clock: Clock, changes: dict[str, Any], error: type[InvalidInputError], field: str
) -> None:
    user = given(clock)
    before = stored(clock.url)
    with pytest.raises(error) as refused:
        edit(clock.url, user, {"note": "new"} | changes)
    assert refused.value.field == field
    assert stored(clock.url) == before


def test_a_schedule_of_a_kind_that_is_gone_can_be_edited_but_for_its_parameters(clock: Clock) -> None:
    def edit_without_kinds(changes: dict[str, Any]) -> Put:
        return as_user(
            clock.url, user, lambda conn: edit_schedule(conn, Registry([]), user.id, "mine", changes, rules=RULES)
        )

    user = given(clock)
    assert edit_without_kinds({"enabled": False}).changed
    with pytest.raises(UnknownKindError):
        edit_without_kinds({"parameters": {}})


def test_what_the_kind_cannot_serve_is_refused_and_only_asked_of_new_parameters(clock: Clock) -> None:
    def refuse(parameters: Search) -> None:
        raise InvalidInputError(f"no {parameters.query} here", field="parameters.query")

    def edit_refusing(changes: dict[str, Any]) -> Put:
        return as_user(clock.url, user, lambda conn: edit_schedule(conn, kinds, user.id, "mine", changes, rules=RULES))

    user, kinds = given(clock), Registry([replace(DEMO, check=refuse)])
    with pytest.raises(InvalidInputError, match="no sql here"):
        edit_refusing({"parameters": {"query": "sql"}})
    assert edit_refusing({"note": "no python either"}).changed


def test_the_org_moves_with_the_parameters_whose_fingerprint_it_is_part_of(clock: Clock) -> None:
    user = given(clock)
    rows(clock.url, "update foxtrot.users set org_id = 'acme' returning id")
    edit(clock.url, user, {"note": "still theirs alone"})
    schedule = stored(clock.url)
    assert (schedule["org_id"], schedule["fingerprint"]) == (None, fingerprint("demo", None, PYTHON))
    edit(clock.url, user, {"parameters": {"query": "python"}})
    schedule = stored(clock.url)
    assert (schedule["org_id"], schedule["fingerprint"]) == ("acme", fingerprint("demo", "acme", PYTHON))


def test_a_spread_that_was_accepted_is_not_refused_when_clocks_are_about_to_change(clock: Clock) -> None:
    clock.freeze(AT - 60 * DAY)
    user = new_user(clock.url)
    whole_day = changed(DAILY, zone="Europe/London", spread_seconds=86_400)
    put(clock.url, user, whole_day)
    clock.freeze(AT)
    assert edit(clock.url, user, {"note": "any time"}).changed
    with pytest.raises(InvalidInputError, match="82800 s between two slots"):
        put(clock.url, user, changed(whole_day, key="another"))


# Pause and resume -----------------------------------------------------------------------------------------------------


def test_no_slot_becomes_a_run_while_paused_and_resuming_starts_from_now(clock: Clock) -> None:
    user = given(clock)
    pause(clock.url, user, "on holiday")
    assert shown(clock.url, user).next_slot is None
    clock.freeze(EIGHT + DAY)
    assert pass_over(clock.url).runs == 0
    clock.freeze(EIGHT + 2 * DAY)
    resume(clock.url, user)
    assert pass_over(clock.url).runs == 0
    clock.freeze(EIGHT + 3 * DAY)
    assert pass_over(clock.url).runs == 1
    assert slots(clock.url, user.id) == [EIGHT + 3 * DAY]
    assert shown(clock.url, user).next_slot == EIGHT + 4 * DAY


def test_a_pause_keeps_its_beginning_and_the_last_note(clock: Clock) -> None:
    user = given(clock)
    for note, kept in (("away", "away"), (None, "away"), ("longer", "longer")):
        pause(clock.url, user, note)
        assert (shown(clock.url, user).paused_at, shown(clock.url, user).pause_note) == (AT + HOUR, kept)
        clock.advance(HOUR)
    resume(clock.url, user)
    (over,) = table(clock.url, "pauses")
    assert (over["since"], over["until"], over["note"]) == (AT + HOUR, AT + 4 * HOUR, "longer")
    assert (shown(clock.url, user).paused_at, shown(clock.url, user).pause_note) == (None, None)


def test_a_second_pause_is_another_one(clock: Clock) -> None:
    user = given(clock)
    for note in ("first", None):
        pause(clock.url, user, note)
        clock.advance(HOUR)
        resume(clock.url, user)
        clock.advance(HOUR)
    assert [(each["since"], each["note"]) for each in table(clock.url, "pauses")] == [
        (AT + HOUR, "first"),
        (AT + 3 * HOUR, None),
    ]


@pytest.mark.parametrize("note", ["a\x00b", "n" * 501])
def test_a_note_that_cannot_be_kept_pauses_nothing(clock: Clock, note: str) -> None:
    user = given(clock)
    with pytest.raises(InvalidInputError, match="note") as refused:
        pause(clock.url, user, note)
    assert refused.value.field == "note"
    assert shown(clock.url, user).enabled


# Delete ---------------------------------------------------------------------------------------------------------------


def delete(url: str, user: User) -> Any:
    return as_user(url, user, lambda conn: delete_schedule(conn, user.id, "mine"))


def test_a_deleted_schedule_makes_no_more_runs_and_those_it_made_stay(clock: Clock) -> None:
    user = given(clock)
    pass_over(clock.url)
    pause(clock.url, user, "with a pause to go as well")
    assert delete(clock.url, user) == rows(clock.url, "select schedule_id from foxtrot.runs")[0][0]
    assert (table(clock.url, "schedules"), table(clock.url, "pauses")) == ([], [])
    clock.advance(DAY)
    assert pass_over(clock.url).runs == 0
    assert rows(clock.url, "select status from foxtrot.run_status") == [("pending",)]
    assert put(clock.url, user).created


def test_one_that_is_deleted_while_its_slot_is_under_way_makes_no_run(clock: Clock) -> None:
    user = given(clock)
    other = new_user(clock.url)
    clock.freeze(AT)
    put(clock.url, other)
    clock.freeze(EIGHT)
    delete(clock.url, user)
    assert pass_over(clock.url).runs == 1
    assert slots(clock.url, other.id) == [EIGHT]


async def _edit(conn: AsyncConnection, user_id: Any, name: str) -> Put:
    return await edit_schedule(conn, REGISTRY, user_id, name, {"note": "theirs"}, rules=RULES)


async def _pause(conn: AsyncConnection, user_id: Any, name: str) -> Put:
    return await pause_schedule(conn, REGISTRY, user_id, name, None, rules=RULES)


@pytest.mark.parametrize("verb", [_edit, _pause, delete_schedule])
def test_another_users_schedule_is_not_found(clock: Clock, verb: Any) -> None:
    refuses_others(clock.url, given(clock), verb)


def test_a_day_that_is_left_out_after_a_move_stays_so_over_a_pause(clock: Clock) -> None:
    user = given(clock)
    pass_over(clock.url)
    edit(clock.url, user, {"zone": "America/Los_Angeles"})
    pause(clock.url, user)
    clock.advance(timedelta(minutes=1))
    resume(clock.url, user)
    for hours in range(48):
        clock.freeze(EIGHT + hours * HOUR)
        end_runs(clock.url)
        pass_over(clock.url)
    assert slots(clock.url, user.id) == [EIGHT, EIGHT + DAY + 7 * HOUR]
