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

import migrations
from cli import demo
from cli.local import HOME, jwt_secret
from cli.postgres import EmbeddedPostgres
from kinds.job_search.board_server import BoardServer
from shared.errors import SettingsError
from shared.kinds import load_registry
from shared.settings import Settings

SERVICES = ("api", "scheduler", "worker")
STOP_PATIENCE = 30.0

console = Console(stderr=True, highlight=False)


def up(
    live: Annotated[
        bool, typer.Option("--live", help="Ask the real job boards; no demo users, no sample board.")
    ] = False,
) -> None:
    """Start everything: Postgres (unless DATABASE_URL is set), API, scheduler and worker. Ctrl-C stops it all."""
    settings = Settings.load()
    load_registry(settings.foxtrot_kinds)
    _check_port(settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # both: a shell starts background jobs with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        with ExitStack() as stack:
            _run_all(stack, settings, live=live)
    except KeyboardInterrupt:
        console.print("stopped")


def _run_all(stack: ExitStack, settings: Settings, *, live: bool) -> None:
    url = _database(stack, settings)
    migrations.upgrade(url)
    environment = {**os.environ, "DATABASE_URL": url, "JWT_SECRET": jwt_secret(settings)}
    if not live:
        board = stack.enter_context(BoardServer())
        environment["GREENHOUSE_URL"] = board.url
        environment.setdefault("JOB_BOARDS", ",".join(board.boards))
        demo.seed(settings, url)
    services = [stack.enter_context(_service(name, environment)) for name in SERVICES]
    _await_api(settings, services)
    _say_where_to_look(settings, live=live)
    _watch(services)


def _database(stack: ExitStack, settings: Settings) -> str:
    if settings.database_url:
        return settings.database_url.get_secret_value()
    console.print("starting Postgres in .foxtrot/")
    return stack.enter_context(EmbeddedPostgres(HOME)).url


@contextmanager
def _service(name: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches only us and we stop the children in order."""
    command = [sys.executable, "-m", "cli", name, "--supervised"]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _check_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"PORT: {settings.host}:{settings.port} can't be used: {error.strerror}.",
                hint=f"Choose another, such as PORT={settings.port + 1}.",
            ) from error


def _await_api(settings: Settings, services: list[subprocess.Popen[bytes]]) -> None:
    while True:
        _check_alive(services)
        try:
            socket.create_connection((settings.host, settings.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _watch(services: list[subprocess.Popen[bytes]]) -> None:
    while True:
        _check_alive(services)
        time.sleep(0.5)


def _check_alive(services: list[subprocess.Popen[bytes]]) -> None:
    for name, child in zip(SERVICES, services, strict=True):
        code = child.poll()
        if code is not None:
            console.print(f"[red]{name} ended with exit code {code}: stopping the rest")
            raise typer.Exit(1)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say_where_to_look(settings: Settings, *, live: bool) -> None:
    where = f"http://{settings.host}:{settings.port}"
    console.print(f"\n[bold]Foxtrot is up.[/bold]  API and its documentation: {where}/docs")
    if not live:
        console.print(demo.introduction())
    console.print("Ctrl-C stops everything; the data stays in .foxtrot/\n")
