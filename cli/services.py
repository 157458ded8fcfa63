"""The commands that start one service each, and the migration that they wait for."""

import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
import uvloop
from pydantic import SecretStr

import migrations
from cli.database import transact
from cli.local import database_url, jwt_secret
from cli.migrating import migrate_database
from shared.errors import DatabaseError
from shared.kinds import Registry, load_registry
from shared.logs import configure_logs
from shared.queue import list_workers
from shared.settings import Settings

if TYPE_CHECKING:
    from api.deps import OutsideCron

log = structlog.get_logger()

MIGRATION_PATIENCE = 120.0
STINT = "stint"  # the thread in which a tick of an outside cron works

Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Stop when stdin closes.")]


def api(supervised: Supervised = False) -> None:
    """Serve the HTTP API on HOST and PORT."""
    from api.service import serve

    settings, registry = _begin("api", supervised=supervised)
    settings = settings.model_copy(update={"jwt_secret": SecretStr(jwt_secret(settings))})
    url = _migrated_database(settings)
    exit_code = uvloop.run(serve(settings, url, registry, _outside_cron(settings, url, registry)))
    if any(thread.name == STINT for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(exit_code)  # a handler of a tick never ends; the usual way out would wait for it
    raise typer.Exit(exit_code)


def worker(
    slots: Annotated[int | None, typer.Option(min=1, help="How many runs at once (WORKER_SLOTS).")] = None,
    kinds: Annotated[str | None, typer.Option(help="Only these kinds, separated by commas.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Start nothing; exit 0 if one lives on this host.")] = False,
    supervised: Supervised = False,
) -> None:
    """Claim and execute runs."""
    if check:
        _probe(Settings.load())
        return
    from worker.service import run_worker

    settings, registry = _begin("worker", supervised=supervised)
    names = [registry.get(name.strip()).name for name in kinds.split(",")] if kinds else None
    url = _migrated_database(settings)
    raise typer.Exit(uvloop.run(run_worker(settings, url, registry, kinds=names, slots=slots, handle_signals=True)))


def _probe(settings: Settings) -> None:
    host = socket.gethostname()
    here = [worker for worker in transact(settings, list_workers) if worker.host == host and worker.state != "lost"]
    typer.echo(f"live workers on {host}: {len(here)}")
    if not here:
        raise typer.Exit(1)


def scheduler(supervised: Supervised = False) -> None:
    """Turn the slots that come due into runs."""
    from scheduler.service import run_scheduler

    settings, registry = _begin("scheduler", supervised=supervised)
    raise typer.Exit(uvloop.run(run_scheduler(settings, _migrated_database(settings), registry)))


def migrate(
    sql: Annotated[bool, typer.Option("--sql", help="Print the schema for a hosted SQL editor instead.")] = False,
) -> None:
    """Bring the database to the newest schema and models, and make its next weeks of partitions."""
    if sql:
        sys.stdout.write(migrations.script())
        return
    settings = Settings.load()
    nothing = True
    for line in migrate_database(database_url(settings), load_registry(settings.foxtrot_kinds)):
        nothing = False
        typer.echo(line)
    if nothing:
        typer.echo("already up to date")


def _begin(service: str, *, supervised: bool) -> tuple[Settings, Registry]:
    settings = Settings.load()
    configure_logs(settings.log_level)
    structlog.contextvars.bind_contextvars(service=service)
    if supervised:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    return settings, load_registry(settings.foxtrot_kinds)


def _outside_cron(settings: Settings, url: str, registry: Registry) -> "OutsideCron | None":
    """What a host's own cron may have done by the API; without `CRON_SECRET` none of it is even loaded."""
    if settings.cron_secret is None:
        return None
    from cli.outside_cron import lend

    return lend(settings, url, registry)


def _stop_with_parent() -> None:
    """`foxtrot up` holds the other end of stdin: when it is gone, however it went, this service stops too."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _migrated_database(settings: Settings) -> str:
    """The database's URL, once it is migrated: a deploy starts services and migration side by side.

    Raises `DatabaseError` after two minutes.
    """
    url = database_url(settings)
    deadline = time.monotonic() + MIGRATION_PATIENCE
    while migrations.pending(url):
        if time.monotonic() > deadline:
            raise DatabaseError("the database is not migrated.", hint="Run `foxtrot migrate` with this version first.")
        log.info("waiting_for_migration")
        time.sleep(1)
    return url
