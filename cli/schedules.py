"""`foxtrot schedules`: list them, put one, edit, pause, run or backfill it, and see what became of its slots."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from psycopg import AsyncConnection

from cli import show_schedules
from cli.database import connection, transact
from cli.local import database_url
from cli.parameters import read_parameters
from cli.running import Asked, console, start
from shared.clock import utc_now
from shared.db import fetch_all
from shared.errors import InvalidInputError
from shared.kinds import Kind, Status, load_registry
from shared.preview import Preview, preview
from shared.queue import NewRun
from shared.schedules import (
    USER_ZONE,
    Backfilled,
    CatchUp,
    Enrolled,
    ReadSchedule,
    Rules,
    Wish,
    backfill,
    daily,
    delete_schedule,
    edit_schedule,
    enroll_some,
    find_schedule,
    list_schedules,
    pause_schedule,
    put_schedule,
    read_slots,
)
from shared.settings import Settings
from shared.tokens import user_id_of
from shared.users import upsert_user

FAILED = 1
FIRST = UUID(int=0)
OWNERS = b"""
select u.id, coalesce(u.email, u.id::text) as name
from foxtrot.users u
where exists (select from foxtrot.schedules s where s.user_id = u.id and s.bucket = u.bucket)
order by u.created_at, u.id
limit 20
"""
AS_PARAMETERS = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(help="Schedules: what users want kept fresh, and when.", invoke_without_command=True)

User = Annotated[str, typer.Option("--user", envvar="FOXTROT_USER", help="A user's UUID, or any name.")]
Name = Annotated[str, typer.Argument(metavar="KEY", help="The schedule's key, or its id.")]
At = Annotated[list[str] | None, typer.Option("--at", help="A time of every day, such as 08:00; may be repeated.")]
Cron = Annotated[list[str] | None, typer.Option("--cron", help="A cron expression; may be repeated.")]
Zone = Annotated[str | None, typer.Option(help="An IANA zone, or `user` for wherever the user is.")]
Spread = Annotated[int | None, typer.Option(help="Let runs start up to that many seconds after their slot.")]
Catch = Annotated[CatchUp | None, typer.Option("--catch-up", help="Which missed slots run late.")]
Note = Annotated[str | None, typer.Option(help="A word of your own.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@dataclass(frozen=True)
class Owner:
    """A user who has schedules."""

    id: UUID
    name: str


@app.callback()
def schedules(
    context: typer.Context,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's: a UUID, or any name.")] = None,
) -> None:
    """List schedules, of the first 20 users or of one: what is due when, and what came of it last."""
    if context.invoked_subcommand is None:
        found = transact(Settings.load(), partial(_list, user=user))
        console.print(show_schedules.schedules(found) if found else "no schedules yet")


@app.command(context_settings=AS_PARAMETERS)
def put(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Your own name for it, such as morning.")],
    kind: Annotated[str, typer.Argument(help="What to run, such as job_search.")],
    user: User = "me",
    at: At = None,
    cron: Cron = None,
    zone: Zone = USER_ZONE,
    spread: Spread = 0,
    catch_up: Catch = CatchUp.LATEST,
    note: Note = None,
) -> None:
    """Add a schedule, or make the one of that key say this. The kind's parameters are options, as in `foxtrot run`."""
    settings = Settings.load()
    registry = load_registry(settings.foxtrot_kinds)
    definition = registry.get(kind)
    parameters = read_parameters(definition, context.args)
    wish = Wish(
        key=key,
        kind=kind,
        parameters=parameters,
        crons=_crons(at, cron),
        zone=zone or USER_ZONE,
        spread_seconds=spread or 0,
        catch_up=catch_up or CatchUp.LATEST,
        note=note,
    )

    async def store(conn: AsyncConnection) -> ReadSchedule:
        await upsert_user(conn, user_id_of(user))
        await put_schedule(conn, registry, user_id_of(user), wish, rules=Rules.of(settings))
        return await find_schedule(conn, user_id_of(user), key)

    _show(transact(settings, store))


@app.command(context_settings=AS_PARAMETERS)
def edit(
    context: typer.Context,
    key: Name,
    user: User = "me",
    at: At = None,
    cron: Cron = None,
    zone: Zone = None,
    spread: Spread = None,
    catch_up: Catch = None,
    note: Note = None,
) -> None:
    """Change what is named and leave the rest. Parameters, when there are any, replace all of them."""
    settings = Settings.load()
    changes: dict[str, Any] = {"zone": zone, "spread_seconds": spread, "catch_up": catch_up, "note": note}
    changes |= {"crons": _crons(at, cron)} if at or cron else {}
    changes = {name: value for name, value in changes.items() if value is not None}

    async def change(conn: AsyncConnection) -> ReadSchedule:
        registry = load_registry(settings.foxtrot_kinds)
        found = await find_schedule(conn, user_id_of(user), key)
        parameters = read_parameters(registry.get(found.kind), context.args) if context.args else None
        asked = changes if parameters is None else {**changes, "parameters": parameters}
        await edit_schedule(conn, registry, user_id_of(user), key, asked, rules=Rules.of(settings))
        return await find_schedule(conn, user_id_of(user), key)

    _show(transact(settings, change))


@app.command("show")
def show_one(key: Name, user: User = "me") -> None:
    """Show one schedule: what, when in words, and what came of it last."""
    _show(transact(Settings.load(), partial(find_schedule, user_id=user_id_of(user), name=key)))


@app.command()
def delete(key: Name, user: User = "me") -> None:
    """Delete a schedule. Its runs stay."""
    transact(Settings.load(), partial(delete_schedule, user_id=user_id_of(user), name=key))
    console.print("deleted")


@app.command()
def pause(key: Name, user: User = "me", note: Note = None) -> None:
    """Let no slot become a run until it is resumed."""
    settings = Settings.load()
    registry = load_registry(settings.foxtrot_kinds)
    who, rules = user_id_of(user), Rules.of(settings)
    transact(settings, lambda conn: pause_schedule(conn, registry, who, key, note, rules=rules))
    console.print("paused")


@app.command()
def resume(key: Name, user: User = "me") -> None:
    """Let slots count again from now."""
    settings = Settings.load()
    registry = load_registry(settings.foxtrot_kinds)
    who, rules = user_id_of(user), Rules.of(settings)
    transact(settings, lambda conn: edit_schedule(conn, registry, who, key, {"enabled": True}, rules=rules))
    _show(transact(settings, partial(find_schedule, user_id=who, name=key)))


@app.command()
def run(
    key: Name,
    user: User = "me",
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show how it goes and what came of it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run even if there is a result of a moment ago.")] = False,
) -> None:
    """Run now what the schedule runs. Its slots stay where they are."""
    settings = Settings.load()
    who = user_id_of(user)
    found = transact(settings, partial(find_schedule, user_id=who, name=key))
    kind = load_registry(settings.foxtrot_kinds).get(found.kind)
    new = NewRun.of(kind, kind.parse(found.parameters), user_id=who, subject=found.subject, schedule_id=found.id)
    status = asyncio.run(
        start(database_url(settings), Asked(kind, new, watch=watch, fresh=fresh), notify=settings.foxtrot_notify)
    )
    if status in {Status.FAILED, Status.CANCELLED}:
        raise typer.Exit(FAILED)


@app.command("preview")
def preview_times(at: At = None, cron: Cron = None, zone: Zone = None) -> None:
    """Say what times mean: in words, as the next slots, and what to look out for. Needs no database."""
    console.print(show_schedules.preview(_preview(_crons(at, cron), zone or Settings.load().default_zone)))


@app.command()
def history(key: Name, user: User = "me") -> None:
    """Show what became of the last 60 slots, and why those without a run have none."""
    settings = Settings.load()
    timed, slots = transact(settings, lambda conn: read_slots(conn, user_id_of(user), key, keep=settings.keep))
    console.print(show_schedules.slots(timed.zone, slots) if slots else "no slot has come yet")


@app.command("backfill")
def backfill_slots(
    key: Name,
    start: Annotated[str, typer.Option("--from", help="The first moment, such as 2026-11-01 or 2026-11-01T08:00.")],
    end: Annotated[str, typer.Option("--to", help="The moment after the last.")],
    user: User = "me",
    dry_run: DryRun = False,
) -> None:
    """Run the slots of the past that became no run; moments without an offset are in the schedule's zone."""
    settings = Settings.load()
    registry = load_registry(settings.foxtrot_kinds)
    who = user_id_of(user)

    async def fill(conn: AsyncConnection) -> tuple[Backfilled, str]:
        zone = (await find_schedule(conn, who, key)).timetable_zone
        stretch = _moment(start, zone, "--from"), _moment(end, zone, "--to")
        return await backfill(conn, registry, who, key, *stretch, keep=settings.keep, dry_run=dry_run), zone

    filled, zone = transact(settings, fill)
    console.print(show_schedules.backfilled(filled, zone, dry_run=dry_run), highlight=False)


@app.command()
def enroll(
    kind: Annotated[str, typer.Argument(help="The kind whose users are enrolled, such as job_search.")],
    dry_run: DryRun = False,
) -> None:
    """Keep the last search of everybody who has only ever run the kind by hand, at REFRESH_TIMES in their own zone."""
    settings = Settings.load()
    definition = load_registry(settings.foxtrot_kinds).get(kind)
    done = asyncio.run(_enroll(settings, definition, dry_run=dry_run))
    console.print(f"{done.schedules} schedules {'would be' if dry_run else 'were'} made", highlight=False)
    if done.refused:
        console.print(f"{len(done.refused)} left out: {kind} doesn't take the parameters of their last run any more")


async def _enroll(settings: Settings, kind: Kind[Any, Any], *, dry_run: bool) -> Enrolled:
    total, some = Enrolled(), Enrolled(last=FIRST)
    async with connection(database_url(settings)) as conn:
        while some.last is not None:
            async with conn.transaction():
                some = await enroll_some(
                    conn,
                    kind,
                    crons=daily(settings.refresh_times),
                    rules=Rules.of(settings),
                    dry_run=dry_run,
                    after=some.last,
                )
            total.schedules += some.schedules
            total.refused += some.refused
    return total


async def _list(conn: AsyncConnection, user: str | None) -> list[tuple[str, ReadSchedule]]:
    owners = [Owner(user_id_of(user), user)] if user else await fetch_all(conn, OWNERS, {}, Owner)
    return [(owner.name, schedule) for owner in owners for schedule in await list_schedules(conn, owner.id)]


def _show(found: ReadSchedule) -> None:
    console.print(show_schedules.schedule(found, _preview(found.crons, found.timetable_zone)))


def _preview(crons: list[str], zone: str) -> Preview:
    return preview(crons, zone, now=utc_now(), min_interval=Rules(zone).min_interval)


def _crons(at: list[str] | None, cron: list[str] | None) -> list[str]:
    for time in at or []:
        try:
            datetime.strptime(time, "%H:%M")  # noqa: DTZ007 - a time of day has no zone
        except ValueError:
            raise InvalidInputError(f"--at {time!r} is no time of day: write it as 08:00") from None
    if not at and not cron:
        raise InvalidInputError("no times are given: add --at 08:00, or --cron with an expression")
    return [*daily(at or []), *(cron or [])]


def _moment(text: str, zone: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{option} {text!r} is no moment: write it as 2026-11-01 or 2026-11-01T08:00") from None
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
