"""`foxtrot up`: everything on one machine. Postgres, migration, demo, then a process for each service."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from cli import demo
from cli.local import DEMO, HOME, demo_environment, jwt_secret
from cli.migrating import migrate_database
from cli.postgres import EmbeddedPostgres
from kinds.job_search.board_server import BoardServer
from kinds.job_search.settings import JobSearchSettings
from shared.db import describe
from shared.errors import SettingsError
from shared.kinds import Registry, load_registry
from shared.settings import Settings

SERVICES = ("api", "scheduler", "worker")
STOPPING_ORDER = ("scheduler", "worker", "api")  # no more slots, then no more claims, then no more requests
STOP_MARGIN = 10.0
FAILED = 1

Services = dict[str, subprocess.Popen[bytes]]

console = Console(stderr=True, highlight=False)


def up(
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--demo",
            help="Ask the real job boards, or show sample boards and three demo users. "
            "Unless told, the demo is only shown on the Postgres of this folder.",
        ),
    ] = None,
) -> None:
    """Start everything: Postgres (unless DATABASE_URL is set), API, scheduler and worker. Ctrl-C stops it all."""
    settings = Settings.load()
    registry = load_registry(settings.foxtrot_kinds)
    secret = jwt_secret(settings)
    _check_port(settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # both: a shell starts background jobs with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        with ExitStack() as stack:
            _run_all(stack, settings, registry, secret, live=bool(settings.database_url) if live is None else live)
    except KeyboardInterrupt:
        console.print("stopped")


def _run_all(stack: ExitStack, settings: Settings, registry: Registry, secret: str, *, live: bool) -> None:
    url = _database(stack, settings)
    for line in migrate_database(url, registry):
        console.print(line)
    environment = {**os.environ, "DATABASE_URL": url, "JWT_SECRET": secret}
    DEMO.unlink(missing_ok=True)  # one that was killed leaves it
    if not live:
        searched = _sample_boards(stack.enter_context(BoardServer()))
        stack.enter_context(demo_environment(searched))
        environment |= searched
        demo.seed(settings, url)
    services = stack.enter_context(_services(settings, environment))
    _await_api(settings, services)
    _say_where_to_look(settings, live=live)
    _watch(services)


def _database(stack: ExitStack, settings: Settings) -> str:
    if settings.database_url:
        return settings.database_url.get_secret_value()
    console.print("starting Postgres in .foxtrot/")
    return stack.enter_context(EmbeddedPostgres(HOME)).url


def _sample_boards(server: BoardServer) -> dict[str, str]:
    """The board server's environment, less what the user has chosen: what is searched, but not where it is asked."""
    chosen = {name.upper() for name in JobSearchSettings.load().model_fields_set} - {"JOB_SOURCES_URL"}
    return {name: value for name, value in server.environment.items() if name not in chosen}


@contextmanager
def _services(settings: Settings, environment: Mapping[str, str]) -> Iterator[Services]:
    """The services, running; they are stopped at the end, and if that does not go well the exit code is 1."""
    services: Services = {}
    try:
        for name in SERVICES:
            services[name] = _start(name, environment)
        yield services
    finally:
        _stop(services, max(settings.worker_grace_seconds, settings.request_timeout_seconds) + STOP_MARGIN)


def _start(name: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that Ctrl-C reaches only us and we stop the children in order."""
    command = [sys.executable, "-m", "cli", name, "--supervised"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603


def _stop(services: Services, patience: float) -> None:
    """Tell all to stop and wait for them together, so that it takes no longer than the slowest, a worker's grace.

    What is left after `patience` seconds, or when the signal comes again, is killed.
    """
    for name in STOPPING_ORDER:
        if name in services:
            services[name].terminate()
    deadline = time.monotonic() + patience
    try:
        for child in services.values():
            child.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        for child in services.values():
            child.kill()
    # SIGTERM ends a service that has not yet come to listen to it: that is a clean stop too.
    if any(child.wait() not in {0, -signal.SIGTERM} for child in services.values()):
        raise typer.Exit(FAILED)


def _check_port(settings: Settings) -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"PORT: {settings.host}:{settings.port} can't be used: {error.strerror}.",
                hint=f"Choose another, such as PORT={settings.port + 1}.",
            ) from error


def _await_api(settings: Settings, services: Services) -> None:
    while True:
        _check_alive(services)
        try:
            socket.create_connection((settings.host, settings.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _watch(services: Services) -> None:
    while True:
        _check_alive(services)
        time.sleep(0.5)


def _check_alive(services: Services) -> None:
    """End with exit code 1 when a service has ended, whatever its own: a host then starts everything again."""
    for name, child in services.items():
        code = child.poll()
        if code is not None:
            console.print(f"[red]{name} ended with exit code {code}: stopping the rest")
            raise typer.Exit(FAILED)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say_where_to_look(settings: Settings, *, live: bool) -> None:
    where = f"http://{settings.host}:{settings.port}"
    console.print(f"\n[bold]Foxtrot is up.[/bold]  API and its documentation: {where}/docs")
    if not live:
        console.print(demo.introduction())
    data = describe(settings.database_url.get_secret_value()) if settings.database_url else ".foxtrot/"
    console.print(f"Ctrl-C stops everything; the data stays in {data}\n", markup=False)
