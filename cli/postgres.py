"""The Postgres that `foxtrot up` starts when DATABASE_URL is not set: one cluster in a directory, one supervisor."""

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from psycopg import sql

from cli.postgres_account import choose_account, grant_way
from cli.postgres_cluster import (
    NAME,
    PORT,
    clear_leftovers,
    end,
    find_postmaster,
    is_alive,
    make_socket_directory,
    mark,
    remove_socket_directory,
)
from cli.postgres_initdb import choose_binaries, initialise
from shared.errors import DatabaseError

START_SECONDS = 120.0  # recovery after a crash replays up to max_wal_size
CONNECT_SECONDS = 10
POLL_SECONDS = 0.01
LOG_LINES = 20
SETTINGS = {"max_connections": "100", "shared_buffers": "128MB", "timezone": "UTC", "log_timezone": "UTC"}


class EmbeddedPostgres:
    """The supervisor of the cluster in `directory`/postgres; every error it raises is a DatabaseError.

    `major` (16 or 18) is for a new cluster, an existing one keeps its own; `binaries` is a bin folder to use instead of
    the installed wheel's; `settings` are server settings that win over ours, such as {"fsync": "off"} for tests.
    Not for two threads at once.
    """

    def __init__(
        self,
        directory: Path,
        *,
        major: int | None = None,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.cluster = self.directory / "postgres"
        self.log = self.directory / "postgres.log"
        self.major = major
        self.binaries = binaries
        self.settings = dict(settings or {})
        self._lock: int | None = None
        self._server: psutil.Process | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The URL of the running server's database, over a unix socket, as a superuser."""
        if self._url is None:
            raise DatabaseError(f"Postgres in {self.directory} is not running", hint="Call start() first.")
        return self._url

    def start(self) -> str:
        """Make the cluster if there is none, start its server or take over the one that runs; its URL once it answers.

        A call while it runs returns the URL, a call after it died starts it again.
        """
        if self._url is not None and self._server is not None and is_alive(self._server):
            return self._url
        self.stop()
        try:
            with contextlib.ExitStack() as on_failure:
                on_failure.callback(self.stop)
                self._hold_lock()
                url = self._adopt() or self._launch()
                on_failure.pop_all()
        except (OSError, psutil.Error, psycopg.Error, subprocess.SubprocessError) as error:
            raise DatabaseError(f"Postgres in {self.directory} can't start: {error}") from error
        self._url = url
        return url

    def stop(self) -> None:
        """Shut the server down: sessions end at once, committed data is safe. Without a server it does nothing."""
        if self._lock is None:
            return
        if self._server is not None:
            end(self._server)
        with contextlib.suppress(DatabaseError, OSError):
            remove_socket_directory(self.cluster)
        os.close(self._lock)
        self._lock = self._server = self._url = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _hold_lock(self) -> None:
        """Be the only supervisor: the kernel takes the lock back however this process ends."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.directory / "postgres.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            hint = "Stop the other `foxtrot up`, or give this one another directory."
            raise DatabaseError(f"Postgres in {self.directory} is already running", hint=hint) from error
        self._lock = lock

    def _adopt(self) -> str | None:
        """Take over the server that a killed supervisor left behind; None when there is none that goes on."""
        found = find_postmaster(self.cluster)
        if found is None:
            return None
        self._server = found.process
        if found.status != "stopping":
            # It can be in the middle of dying, from the same kill -9 that its supervisor got.
            with contextlib.suppress(DatabaseError, psycopg.OperationalError):
                return self._url_once_ready(found.process)
        end(found.process)
        self._server = None
        return None

    def _launch(self) -> str:
        """Start a server, in a session of its own: Ctrl-C in the terminal reaches only us, and we stop it in order.

        It outlives a killed supervisor, for the next to adopt. PR_SET_PDEATHSIG would end it together with the thread
        that started it, not the process.
        """
        clear_leftovers(self.cluster)
        binaries, major = choose_binaries(self.cluster, self.binaries, self.major)
        account = choose_account(self.cluster)
        sockets = make_socket_directory(self.cluster, account)
        account = grant_way(account, self.directory, (self.directory, binaries / "postgres", sockets))
        if not self.cluster.exists():
            initialise(self.cluster, account, binaries, major, sync=self.settings.get("fsync") != "off")
        command: list[str | Path] = [binaries / "postgres", "-D", self.cluster, *self._options(sockets)]
        log = self._open_log()
        try:
            self._server = account.launch(psutil.Popen, command, cwd=self.cluster, stdout=log, stderr=log)
        finally:
            os.close(log)
        return self._url_once_ready(self._server)

    def _options(self, sockets: Path) -> list[str]:
        ours = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": f'"{sockets}"',
            "cluster_name": mark(self.cluster),
        }
        settings = SETTINGS | self.settings | ours
        return [f"--{name}={value}" for name, value in settings.items()]

    def _open_log(self) -> int:
        """A new, empty log; the last one is kept beside it."""
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def _url_once_ready(self, server: psutil.Process) -> str:
        """Its URL once it takes connections and has our database."""
        deadline = time.monotonic() + START_SECONDS
        while is_alive(server) and time.monotonic() < deadline:
            found = find_postmaster(self.cluster)
            if found is not None and found.process.pid == server.pid and found.status == "ready":
                _create_database(found.url)
                return found.url
            time.sleep(POLL_SECONDS)
        what = f"was not ready within {START_SECONDS:.0f} s" if is_alive(server) else "ended as it started"
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        raise DatabaseError("\n".join([f"Postgres in {self.directory} {what}:", *lines[-LOG_LINES:]]))


def running_url(directory: Path) -> str | None:
    """The URL of the server that runs on that directory, for commands beside `foxtrot up`; None when none is ready.

    Raises DatabaseError when the cluster is another user's, who alone may look.
    """
    cluster = directory.resolve() / "postgres"
    try:
        found = find_postmaster(cluster)
    except PermissionError as error:
        raise DatabaseError(f"{cluster} belongs to another user", hint="Run as that user.") from error
    return found.url if found is not None and found.status == "ready" else None


def _create_database(url: str) -> None:
    with psycopg.connect(url, dbname="postgres", autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
        exists = connection.execute("select from pg_database where datname = %s", [NAME]).fetchone()
        if exists is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(NAME)))
