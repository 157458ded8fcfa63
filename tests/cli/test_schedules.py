"""`foxtrot schedules` as somebody types it, over a real database."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from psycopg import AsyncConnection
from typer.testing import CliRunner

from cli.main import app
from cli.running import console
from shared.errors import ConflictError, FoxtrotError, InvalidInputError, NotFoundError
from shared.tokens import user_id_of
from tests.support import connect, make_run, make_user

Foxtrot = Callable[..., str]
PUT = ("schedules", "put", "morning", "job_search", "--query", "data engineer")


@pytest.fixture
def foxtrot(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Foxtrot:
    """Runs a command as `me` and gives what it prints; what it raises is raised."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(console, "width", 200)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, FoxtrotError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return run


def query(url: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(text.encode()).fetchall()


def test_a_schedule_from_its_first_day_to_its_last(foxtrot: Foxtrot) -> None:
    shown = foxtrot(*PUT, "--at", "08:00", "--at", "16:45", "--zone", "Europe/London", "--note", "for breakfast")
    assert "At 08:00 and 16:45 every day, Europe/London" in shown
    assert "for breakfast" in shown
    assert "job_search query=data engineer" in foxtrot("schedules", "--user", "me")
    assert "At 09:30 every day" in foxtrot("schedules", "edit", "morning", "--at", "09:30")
    assert "query=baker" in foxtrot("schedules", "edit", "morning", "--query", "baker")
    shown = foxtrot("schedules", "show", "morning")
    assert ("At 09:30 every day" in shown, "query=baker" in shown, "for breakfast" in shown) == (True, True, True)
    assert foxtrot("schedules", "pause", "morning", "--note", "on holiday") == "paused\n"
    assert "paused: on holiday" in foxtrot("schedules")
    assert "Europe/London" in foxtrot("schedules", "resume", "morning")
    assert "no slot has come yet" in foxtrot("schedules", "history", "morning")
    assert foxtrot("schedules", "delete", "morning") == "deleted\n"
    assert foxtrot("schedules") == "no schedules yet\n"


def test_running_a_schedule_is_a_manual_run_of_it(foxtrot: Foxtrot, database_url: str) -> None:
    foxtrot(*PUT, "--at", "08:00")
    assert foxtrot("schedules", "run", "morning").startswith("run ")
    assert "joined the run that already does this" in foxtrot("schedules", "run", "morning")
    found = "select r.source, s.key from foxtrot.runs r join foxtrot.schedules s on s.id = r.schedule_id"
    assert query(database_url, found) == [("manual", "morning")]


def test_a_backfill_is_counted_then_done_then_nothing(foxtrot: Foxtrot, database_url: str) -> None:
    foxtrot(*PUT, "--at", "08:00", "--zone", "UTC")
    ((today,),) = query(database_url, "select (now() at time zone 'UTC')::date")
    stretch = ("--from", str(today - timedelta(days=5)), "--to", str(today - timedelta(days=2)))  # type: ignore[operator]
    with psycopg.connect(database_url) as conn:
        conn.execute("select foxtrot.make_run_partition(now() - interval '7 days')")
    assert "3 of 3 slots would be made into runs" in foxtrot("schedules", "backfill", "morning", *stretch, "--dry-run")
    assert query(database_url, "select count(*) from foxtrot.runs") == [(0,)]
    assert "3 of 3 slots made into runs" in foxtrot("schedules", "backfill", "morning", *stretch)
    assert "0 of 3 slots made into runs; 3 were settled already" in foxtrot(
        "schedules", "backfill", "morning", *stretch
    )
    history = foxtrot("schedules", "history", "morning")
    assert "no slot has come yet" in history  # those of the backfill lie before the schedule began


def test_a_search_is_kept_by_the_run_that_asks_for_it(foxtrot: Foxtrot) -> None:
    foxtrot("run", "job_search", "--query", "nurse", "--keep")
    foxtrot("run", "job_search", "--query", "midwife", "--keep")
    shown = foxtrot("schedules", "show", "kept:job_search")
    assert "query=midwife" in shown
    assert "At 08:00, 10:00, 14:00, 16:00, 16:45 and 22:00 every day, Europe/London (your zone)" in shown


def test_enrolling_counts_first(foxtrot: Foxtrot, database_url: str) -> None:
    async def search_by_hand(conn: AsyncConnection) -> None:
        user = await make_user(conn, id=user_id_of("ada"))
        await make_run(conn, user, "success", kind="job_search", parameters={"query": "cook"})
        await make_run(conn, await make_user(conn), "success", kind="job_search", parameters={"no": "more"})

    async def main() -> None:
        async with connect(database_url) as conn:
            await search_by_hand(conn)

    asyncio.run(main())
    assert foxtrot("schedules", "enroll", "job_search", "--dry-run").startswith("1 schedules would be made\n1 left out")
    assert foxtrot("schedules") == "no schedules yet\n"
    assert foxtrot("schedules", "enroll", "job_search").startswith("1 schedules were made\n1 left out")
    assert "query=cook" in foxtrot("schedules", "show", "kept:job_search", "--user", "ada")
    assert foxtrot("schedules", "enroll", "job_search").startswith("0 schedules were made")


def test_a_preview_needs_no_database(foxtrot: Foxtrot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    shown = foxtrot("schedules", "preview", "--at", "01:30", "--cron", "0 8 13 * FRI", "--zone", "Europe/London")
    for words in ("At 01:30 every day", "does not exist in Europe/London", "cron runs on either of them"):
        assert words in shown


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (PUT, InvalidInputError, "no times are given: add --at 08:00"),
        ((*PUT, "--at", "8am"), InvalidInputError, "--at '8am' is no time of day"),
        ((*PUT, "--at", "08:00", "--zone", "EST5EDT-ish"), InvalidInputError, "'EST5EDT-ish' is no zone"),
        ((*PUT, "--cron", "* * * * *"), InvalidInputError, "come 1 min apart"),
        ((*PUT, "--cron", "0 0 12 * * *"), InvalidInputError, "seconds are not supported"),
        ((*PUT, "--cron", "0 0 31 2 *"), InvalidInputError, "never comes in month"),
        ((*PUT, "--at", "08:00", "--spread", "90000"), InvalidInputError, "spread_seconds 90000 is not between"),
        (("schedules", "put", "a/b", *PUT[3:], "--at", "08:00"), InvalidInputError, "key 'a/b' must have"),
        (("schedules", "put", "kept:x", *PUT[3:], "--at", "08:00"), InvalidInputError, "is for kept searches"),
        (("schedules", "show", "nothing"), NotFoundError, "No such schedule"),
        (("schedules", "pause", "nothing"), NotFoundError, "No such schedule"),
        (("schedules", "enroll", "nothing"), InvalidInputError, "kind 'nothing' is unknown"),
    ],
)
def test_a_wrong_word_is_named(
    foxtrot: Foxtrot, arguments: tuple[str, ...], error: type[FoxtrotError], words: str
) -> None:
    with pytest.raises(error, match=words.replace("*", r"\*").replace("(", r"\(")):
        foxtrot(*arguments)


@pytest.mark.parametrize(
    ("stretch", "words"),
    [
        (("--from", "yesterday", "--to", "2026-11-02"), "--from 'yesterday' is no moment"),
        (("--from", "2026-11-03", "--to", "2026-11-02"), "is not after start"),
        (("--from", "2026-11-03", "--to", "2999-01-01"), "is in the future"),
        (("--from", "1999-01-01", "--to", "2026-11-02"), "longer than runs are kept"),
    ],
)
def test_a_stretch_that_cannot_be_filled_is_refused(foxtrot: Foxtrot, stretch: tuple[str, ...], words: str) -> None:
    foxtrot(*PUT, "--at", "08:00")
    with pytest.raises(InvalidInputError, match=words):
        foxtrot("schedules", "backfill", "morning", *stretch)


def test_the_last_schedule_that_one_may_have(foxtrot: Foxtrot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULES_PER_USER", "1")
    foxtrot(*PUT, "--at", "08:00")
    foxtrot(*PUT, "--at", "09:00")
    with pytest.raises(ConflictError, match="1 is the limit"):
        foxtrot("schedules", "put", "evening", *PUT[3:], "--at", "20:00")
