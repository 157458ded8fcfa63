"""PgBouncer in transaction mode, as Debian packages it and as it comes: it refuses libpq's `options`."""

import getpass
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support import wait_until

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 100
{more}
"""


@contextmanager
def pgbouncer(upstream: str, folder: Path, more: str = "") -> Iterator[str]:
    """The URL of the same database through a PgBouncer of the test's own; skips where it is not installed.

    `more` are further lines of its configuration.
    """
    if PROGRAM is None:
        pytest.skip("pgbouncer is not here: apt-get install pgbouncer")
    own, parts = _free_port(), urlsplit(upstream)
    file = folder / "pgbouncer.ini"
    values = {"host": parts.hostname, "port": parts.port, "user": parts.username, "own": own, "more": more}
    file.write_text(CONFIGURATION.format(**values))
    other = ["-u", "nobody"] if getpass.getuser() == "root" else []  # which it refuses to be
    with (folder / "pgbouncer.log").open("wb") as log, subprocess.Popen([PROGRAM, *other, file], stderr=log) as process:
        url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{own}").geturl()
        try:
            wait_until(lambda: _answers(url))
            yield url
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
