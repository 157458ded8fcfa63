"""The commands of somebody who operates an installation: tokens, runs, sources, and the doctor."""

import asyncio
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from cli import show
from cli.database import connection, transact
from cli.inline import run_inline
from cli.local import database_url, jwt_secret
from cli.parameters import read_parameters
from cli.running import Asked, console, start
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.source_report import SourceReport, report_sources
from shared.kinds import Status, load_registry
from shared.queue import NewRun, disagreements, list_workers, repair
from shared.runs import ReadRun, list_runs
from shared.schedules import Rules, daily, keep_search
from shared.settings import Settings
from shared.tokens import issue_token, user_id_of

WATCH_EVERY = 0.2
FAILED = 1


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
    keep: Annotated[bool, typer.Option("--keep", help="Keep this search fresh from now on.")] = False,
    inline: Annotated[
        bool, typer.Option("--inline", help="Call the handler right here, record nothing, show its trace.")
    ] = False,
) -> None:
    """Run a kind now. Its parameters are options: `foxtrot run job_search --query engineer --remote true`."""
    settings = Settings.load()
    definition = load_registry(settings.foxtrot_kinds).get(kind)
    parameters = read_parameters(definition, context.args)
    if inline:
        asyncio.run(run_inline(settings, definition, parameters, user_id_of(user)))
        return
    url = database_url(settings)
    new = NewRun.of(definition, parameters, user_id=user_id_of(user))
    keeping = partial(
        keep_search,
        user_id=new.user_id,
        kind=definition,
        parameters=parameters,
        crons=daily(settings.refresh_times),
        rules=Rules.of(settings),
    )
    asked = Asked(definition, new, watch=watch, fresh=fresh, keep=keeping if keep else None)
    status = asyncio.run(start(url, asked, notify=settings.foxtrot_notify))
    if status in {Status.FAILED, Status.CANCELLED}:
        raise typer.Exit(FAILED)


def runs(
    user: User = "me", limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20
) -> None:
    """List a user's runs, newest first."""
    found = asyncio.run(_list_runs(database_url(Settings.load()), user_id_of(user), limit))
    console.print(show.runs(found) if found else f"{user} has no runs yet")


def sources() -> None:
    """List the sources of job postings: which are on, what was asked of them today, and which rest and why."""
    found = asyncio.run(_report_sources(database_url(Settings.load())))
    console.print(show.sources(found, JobSearchSettings.load().job_sources))


def workers() -> None:
    """List workers: who they are, what they run, and how they are."""
    found = transact(Settings.load(), list_workers)
    console.print(show.workers(found) if found else "no worker is running")


def doctor(
    mend: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, and write it to the audit log.")
    ] = False,
) -> None:
    """Check that queue and runs tell the same story; exits 1 when they do not and nothing mended it."""
    sick = asyncio.run(_examine(database_url(Settings.load()), mend=mend))
    if sick and not mend:
        raise typer.Exit(FAILED)


async def _list_runs(url: str, user_id: UUID, limit: int) -> list[ReadRun]:
    async with connection(url) as conn:
        return await list_runs(conn, user_id, limit=limit)


async def _report_sources(url: str) -> list[SourceReport]:
    async with connection(url) as conn:
        return await report_sources(conn)


async def _examine(url: str, *, mend: bool) -> bool:
    async with connection(url) as conn:
        found = await disagreements(conn)
        for fault in found:
            console.print(f"{fault.fault}: run {fault.run_id} is {fault.what}. Mend: {fault.remedy}", highlight=False)
        for done in await repair(conn) if mend else []:
            console.print(f"run {done.run_id}: {done.action}", highlight=False)
        if not found:
            console.print("queue and runs agree")
        return bool(found)
