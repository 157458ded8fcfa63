"""What a cluster's server leaves to be seen from outside: its pid file, its processes, its socket directory."""

import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from cli.postgres_account import Account
from shared.errors import DatabaseError

NAME = "foxtrot"  # of the superuser and of the database
PORT = 5432  # only part of the socket's file name
SOCKET_PATH_BYTES = 103  # sun_path holds 104 bytes on macOS and 108 on Linux, the last one a zero
STOP_SECONDS = 60.0  # the shutdown checkpoint writes all of shared_buffers
ORPHAN_SECONDS = 0.5  # a backend at rest notices at once that its postmaster is gone
KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Postmaster:
    """A live server: its process, the status it tells (`starting`, `ready`, `stopping`) and its URL."""

    process: psutil.Process
    status: str
    url: str


def find_postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on the cluster, by its postmaster.pid, which may be stale and name any process."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        # The lines are those of LOCK_FILE_LINE_* in miscadmin.h; a server that just begins has written only some.
        pid, _, _, port, sockets, _, _, status = lines[:8]
        process = psutil.Process(int(pid))
    except (FileNotFoundError, NotADirectoryError, ValueError, psutil.NoSuchProcess):
        return None
    if not _belongs(process, cluster):
        return None
    return Postmaster(process, status.strip(), f"postgresql://{NAME}@/{NAME}?host={quote(sockets)}&port={port}")


def mark(cluster: Path) -> str:
    """The name of the cluster that is in the arguments or the title of each of its processes."""
    return f"foxtrot-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]}"


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie doesn't."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def end(server: psutil.Process) -> None:
    """Stop a postmaster by Postgres's fast shutdown, and if it won't, by the immediate one.

    Raises DatabaseError when it outlives even that.
    """
    for how, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, KILL_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        with contextlib.suppress(psutil.NoSuchProcess):
            server.send_signal(how)
        with contextlib.suppress(psutil.TimeoutExpired):
            server.wait(seconds)
            return
    raise DatabaseError(f"The Postgres process {server.pid} does not end", hint="Look at what its disk is doing.")


def clear_leftovers(cluster: Path) -> None:
    """Make way for a new server where none runs: end the backends of a killed one and remove its pid file.

    A busy backend outlives its postmaster and holds the shared memory. To kill it loses nothing: the postmaster's
    death has made recovery due already. Raises DatabaseError when one won't end.
    """
    named = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "postgres"]
    _, busy = psutil.wait_procs([process for process in named if _belongs(process, cluster)], ORPHAN_SECONDS)
    for process in busy:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, stuck = psutil.wait_procs(busy, KILL_SECONDS)
    if stuck:
        raise DatabaseError(f"Processes of a former server in {cluster} do not end: {[it.pid for it in stuck]}")
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def make_socket_directory(cluster: Path, account: Account) -> Path:
    """An empty directory for the server's socket that only we and the server may enter: it stands for a password.

    The name follows from the cluster's, so that the URL stays. Raises DatabaseError when another user has taken it.
    """
    path = _socket_directory(cluster)
    if len(os.fsencode(path / f".s.PGSQL.{PORT}")) > SOCKET_PATH_BYTES:
        raise DatabaseError(f"The socket directory {path} is too long a path", hint="Set TMPDIR to a shorter one.")
    remove_socket_directory(cluster)
    path.mkdir(mode=0o700)
    if account.is_other:
        os.chown(path, -1, account.gid)
        path.chmod(0o770)
    return path


def remove_socket_directory(cluster: Path) -> None:
    """Remove what a server left in its socket directory. Raises DatabaseError when it is another user's."""
    path = _socket_directory(cluster)
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_uid != os.geteuid():
            hint = "Remove it, or set TMPDIR to another directory."
            raise DatabaseError(f"The socket directory {path} belongs to another user", hint=hint)
        shutil.rmtree(path)


def _socket_directory(cluster: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"{mark(cluster)}-{os.geteuid()}"


def _belongs(process: psutil.Process, cluster: Path) -> bool:
    """Whether it is a server process of this cluster; when that can't be known it is somebody else's.

    The working directory also knows a server that others started, but root may not read it in a usual container.
    """
    with contextlib.suppress(psutil.Error, OSError):
        if process.name() != "postgres" or process.uids().real != cluster.stat().st_uid:
            return False
        return mark(cluster) in " ".join(process.cmdline()) or Path(process.cwd()).samefile(cluster)
    return False
