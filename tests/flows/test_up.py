"""`foxtrot up` as its user meets it: the README's commands, Ctrl-C, a second start, and kill -9 of everything."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from cli.postgres import EmbeddedPostgres, running_url
from shared.db import describe
from tests.render import free_port
from tests.support import wait_until

README = (Path(__file__).parents[2] / "README.md").read_text()
FOXTROT = [sys.executable, "-m", "cli"]
ROOT = str(Path(__file__).parents[2])

STUCK = """
import asyncio
from pydantic import BaseModel
from shared.kinds import Kind, Run

class Nothing(BaseModel): ...

async def stay(run: Run, parameters: Nothing) -> Nothing:
    await asyncio.Event().wait()
    return Nothing()

STUCK = Kind("stuck", Nothing, Nothing, "stuck:stay", title="Stuck", headline=str)
"""


def _block(language: str, containing: str) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if containing in block)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder to start in, with the README's own kind in it."""
    module = tmp_path / "my_app" / "kinds.py"
    module.parent.mkdir()
    module.write_text(_block("python", "GREET = Kind"))
    return tmp_path


def _environment(home: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    modules = {"FOXTROT_KINDS": "kinds,my_app.kinds", "PYTHONPATH": f"{ROOT}:{home}"}
    return kept | modules | {"PORT": str(port), "COLUMNS": "200"}


@contextmanager
def _up(home: Path, port: int, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`foxtrot up` until the block ends; whatever is left of it is ended too."""
    environment = _environment(home, port) | variables
    with (home / "up.log").open("w") as log:
        up = subprocess.Popen([*FOXTROT, "up", *options], cwd=home, env=environment, stderr=log, text=True)
    family = psutil.Process(up.pid)
    try:
        wait_until(lambda: "Foxtrot is up" in (home / "up.log").read_text() or up.poll() is not None, within=60)
        assert up.poll() is None, (home / "up.log").read_text()
        yield up
    finally:
        left = [family, *family.children(recursive=True)] if family.is_running() else []
        up.send_signal(signal.SIGINT)
        psutil.wait_procs(left, timeout=60)
        _kill(left)
        up.wait()


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        if process.is_running():
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def _foxtrot(home: Path, port: int, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = _environment(home, port) | variables
    return subprocess.run([*FOXTROT, *arguments], cwd=home, env=environment, capture_output=True, text=True, timeout=60)


def _query(home: Path, statement: str) -> list[tuple[object, ...]]:
    url = running_url(home / ".foxtrot")
    assert url is not None
    with psycopg.connect(url) as conn:
        return conn.execute(statement.encode()).fetchall()


def _shell(home: Path, port: int, script: str) -> str:
    """A block of the README in a shell, on the port in use here and with this interpreter's foxtrot."""
    foxtrot = f'foxtrot() {{ {shlex.join(FOXTROT)} "$@"; }}\n'
    script = "set -eu\n" + foxtrot + script.replace("8000", str(port)).replace("source .venv/bin/activate\n", "")
    done = subprocess.run(
        ["bash", "-c", script], cwd=home, env=_environment(home, port), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_from_its_first_command_to_its_last(home: Path) -> None:
    port = free_port()
    with _up(home, port) as up:
        shown = _shell(home, port, _block("sh", "foxtrot schedules"))
        assert "ada@example.org" in shown
        assert re.search(r"success\s+\d+ jobs, \d+ new", shown)
        kept = _shell(home, port, _block("sh", "foxtrot schedules put"))
        assert "At 08:00 and 16:45 every day, Europe/London" in kept
        assert "does not exist in Europe/London: it runs at 02:00" in kept
        assert "paused: on holiday" in _foxtrot(home, port, "schedules", "--user", "me").stdout
        answers = _shell(home, port, _block("sh", "TOKEN="))
        assert '"kind":"job_search"' in answers
        assert '"crons":' in answers
        assert "Hello, Ada!" in _shell(home, port, _block("sh", "run greet").splitlines()[-1])
        wait_until(
            lambda: _query(home, "select from foxtrot.runs where source = 'cron' and status = 'success'"), within=90
        )
        assert _foxtrot(home, port, "doctor").stdout == "queue and runs agree\n"
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    assert running_url(home / ".foxtrot") is None


def test_kill_9_of_everything_and_a_second_start_with_the_data(home: Path) -> None:
    port = free_port()
    with _up(home, port) as up:
        assert "jobs" in _foxtrot(home, port, "run", "job_search", "--query", "engineer", "--watch").stdout
        family = [psutil.Process(up.pid), *psutil.Process(up.pid).children(recursive=True)]
        _kill(family)
    with _up(home, port):
        assert "success" in _foxtrot(home, port, "runs").stdout


def test_services_stop_when_their_parent_is_killed(home: Path) -> None:
    with _up(home, free_port()) as up:
        services = [child for child in psutil.Process(up.pid).children() if "--supervised" in child.cmdline()]
        assert len(services) == 3
        up.kill()
        gone, _ = psutil.wait_procs(services, timeout=30)
        assert len(gone) == 3
    # Postgres goes on for the next start to adopt.
    assert running_url(home / ".foxtrot") is not None
    with EmbeddedPostgres(home / ".foxtrot"):
        pass


def test_a_database_of_ones_own_is_no_place_for_a_demo_unless_that_is_asked_for(home: Path, database_url: str) -> None:
    port, people = free_port(), "select email from foxtrot.users order by email"
    with _up(home, port, DATABASE_URL=database_url), psycopg.connect(database_url) as conn:
        assert conn.execute(people).fetchall() == []
        assert running_url(home / ".foxtrot") is None
        assert f"the data stays in {describe(database_url)}" in (home / "up.log").read_text()
    # What is searched may be chosen, but it is always the demo's own boards that are asked.
    chosen = {
        "DATABASE_URL": database_url,
        "JOB_BOARDS": "otterline",
        "JOB_SOURCES": "greenhouse",
        "JOB_SOURCES_URL": "http://127.0.0.1:1",
    }
    with _up(home, port, "--demo", **chosen), psycopg.connect(database_url, autocommit=True) as conn:
        assert [email.split("@")[0] for (email,) in conn.execute(people)] == ["ada", "grace", "kenji"]
        asked = _foxtrot(home, port, "run", "job_search", "--query", "engineer", "--watch", **chosen)
        assert re.search(r"success\s+\d+ jobs", asked.stdout)
        result = conn.execute("select result from foxtrot.runs where source = 'manual'").fetchone()
        assert result is not None
        assert [board["board"] for board in result[0]["boards"]] == ["otterline"]


def test_what_does_not_stop_in_time_is_killed_by_a_second_signal(home: Path) -> None:
    (home / "stuck.py").write_text(STUCK)
    port, kinds = free_port(), {"FOXTROT_KINDS": "stuck"}
    with _up(home, port, "--live", **kinds) as up:
        family = psutil.Process(up.pid).children(recursive=True)
        _foxtrot(home, port, "run", "stuck", **kinds)
        wait_until(lambda: _query(home, "select from foxtrot.queue where worker_id is not null"))
        up.send_signal(signal.SIGTERM)
        wait_until(lambda: "worker_stopping" in (home / "up.log").read_text())
        assert up.poll() is None
        up.send_signal(signal.SIGTERM)
        assert up.wait(10) == 1
        assert not any(process.is_running() for process in family)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("up", "foxtrot: PORT: 127.0.0.1:{port} can't be used: Address already in use."),
        ("api", "foxtrot: HOST 127.0.0.1, PORT {port}: can't listen there: Address already in use"),
    ],
)
def test_a_port_in_use_is_one_clear_line(home: Path, database_url: str, command: str, line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = _foxtrot(home, port, command, DATABASE_URL=database_url)
    assert refused.returncode == 2
    assert refused.stderr.startswith(line.format(port=port))
    assert refused.stderr.count("\n") == 1
