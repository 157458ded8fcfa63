"""The commands of somebody who operates an installation: tokens, runs, schedules, and the doctor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import typer
from psycopg import AsyncConnection
from rich.console import Console

from cli import show
from cli.local import database_url, jwt_secret
from cli.parameters import read_parameters
from kinds.job_search.postings import read_postings
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.source_report import SourceReport, report_sources
from shared.db import connect, fetch_all
from shared.errors import InvalidInputError
from shared.kinds import Kind, Status, load_registry
from shared.queue import NewRun, disagreements, enqueue, find_reusable, repair
from shared.runs import ReadRun, find_run, list_runs
from shared.schedules import ReadSchedule, list_schedules
from shared.settings import Settings
from shared.tokens import issue_token, user_id_of
from shared.users import upsert_user
from shared.wake import NOTIFY, Channel

WATCH_EVERY = 0.2
FAILED = 1

OWNERS = b"""
select u.id, coalesce(u.email, u.id::text) as name
from foxtrot.users u
where exists (select from foxtrot.schedules s where s.user_id = u.id and s.bucket = u.bucket)
order by u.created_at, u.id
limit 20
"""

console = Console()


@dataclass(frozen=True)
class Owner:
    """A user who has schedules."""

    id: UUID
    name: str


User = Annotated[str, typer.Option("--user", envvar="FOXTROT_USER", help="A user's UUID, or any name.")]


def token(user: User = "me") -> None:
    """Print a token for the API that speaks for a user, good for twelve hours."""
    typer.echo(issue_token(jwt_secret(Settings.load()), user))


def run(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="What to run, such as job_search.")],
    user: User = "me",
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show how it goes and what came of it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run even if there is a result of a moment ago.")] = False,
) -> None:
    """Run a kind now. Its parameters are options: `foxtrot run job_search --query engineer --remote true`."""
    settings = Settings.load()
    definition = load_registry(settings.foxtrot_kinds).get(kind)
    parameters, url = read_parameters(definition, context.args), database_url(settings)
    new = NewRun.of(definition, parameters, user_id=user_id_of(user))
    status = asyncio.run(_run(url, definition, new, watch=watch, fresh=fresh))
    if status in {Status.FAILED, Status.CANCELLED}:
        raise typer.Exit(FAILED)


def runs(
    user: User = "me", limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20
) -> None:
    """List a user's runs, newest first."""
    found = asyncio.run(_list_runs(database_url(Settings.load()), user_id_of(user), limit))
    console.print(show.runs(found) if found else f"{user} has no runs yet")


def schedules(
    user: Annotated[str | None, typer.Option("--user", help="Only this user's: a UUID, or any name.")] = None,
) -> None:
    """List schedules, of the first 20 users or of one: what is due when, and what came of it last."""
    found = asyncio.run(_list_schedules(database_url(Settings.load()), user))
    console.print(show.schedules(found) if found else "no schedules yet")


def sources() -> None:
    """List the sources of job postings: which are on, what was asked of them today, and which rest and why."""
    found = asyncio.run(_report_sources(database_url(Settings.load())))
    console.print(show.sources(found, JobSearchSettings.load().job_sources))


def doctor(
    mend: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, and write it to the audit log.")
    ] = False,
) -> None:
    """Check that queue and runs tell the same story; exits 1 when they do not and nothing mended it."""
    sick = asyncio.run(_examine(database_url(Settings.load()), mend=mend))
    if sick and not mend:
        raise typer.Exit(FAILED)


async def _run(url: str, kind: Kind[Any, Any], new: NewRun, *, watch: bool, fresh: bool) -> str:
    async with _connection(url) as conn:
        async with conn.transaction():
            await upsert_user(conn, new.user_id)
            run_id = None if fresh else await find_reusable(conn, new, kind)
            if run_id is None:
                enqueued = await enqueue(conn, new)
                run_id = enqueued.run_id
                if not enqueued.created:
                    console.print("joined the run that already does this")
            else:
                console.print(
                    f"a result of less than {kind.reuse_for.total_seconds():g} s ago will do (--fresh runs anew)"
                )
        await conn.execute(NOTIFY, {"channels": [Channel.QUEUE], "payloads": [kind.name]})
        if not watch:
            console.print(f"run {run_id}")
            return Status.PENDING
        ended = await _watch(conn, kind, run_id, new.user_id)
        console.print(show.outcome(ended))
        ids = [UUID(text) for text in (ended.result or {}).get("posting_ids", [])]
        if ids:
            page = await read_postings(conn, ids, offset=0, limit=len(ids))
            console.print(show.postings(page, new=(ended.result or {}).get("new", 0)))
        return ended.status


async def _watch(conn: AsyncConnection, kind: Kind[Any, Any], run_id: UUID, user_id: UUID) -> ReadRun:
    with show.progress_bar(console, kind) as follow:
        while True:
            read = await find_run(conn, run_id, user_id)
            if read is None:
                raise InvalidInputError(f"run {run_id} is gone: it has expired")
            follow(read)
            if not read.live:
                return read
            await asyncio.sleep(WATCH_EVERY)


async def _list_runs(url: str, user_id: UUID, limit: int) -> list[ReadRun]:
    async with _connection(url) as conn:
        return await list_runs(conn, user_id, limit=limit)


async def _list_schedules(url: str, user: str | None) -> list[tuple[str, ReadSchedule]]:
    async with _connection(url) as conn:
        owners = [Owner(user_id_of(user), user)] if user else await fetch_all(conn, OWNERS, {}, Owner)
        return [(owner.name, schedule) for owner in owners for schedule in await list_schedules(conn, owner.id)]


async def _report_sources(url: str) -> list[SourceReport]:
    async with _connection(url) as conn:
        return await report_sources(conn)


async def _examine(url: str, *, mend: bool) -> bool:
    async with _connection(url) as conn:
        found = await disagreements(conn)
        for fault in found:
            console.print(f"{fault.fault}: run {fault.run_id} is {fault.what}. Mend: {fault.remedy}", highlight=False)
        for done in await repair(conn) if mend else []:
            console.print(f"run {done.run_id}: {done.action}", highlight=False)
        if not found:
            console.print("queue and runs agree")
        return bool(found)


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[AsyncConnection]:
    async with await connect(url, "cli") as conn:
        yield conn
