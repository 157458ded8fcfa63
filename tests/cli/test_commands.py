"""Commands as somebody types them, wrong ones on purpose: one line on stderr and exit code 2, never a stack trace."""

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import jwt
import psycopg
import pytest

ROOT = str(Path(__file__).parents[2])
SECRET = "a secret that is long enough to sign with"


def foxtrot(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": ROOT, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["runs"], {"PORT": "http"}, "PORT: Input should be a valid integer"),
        (["runs"], {"DEFAULT_ZONE": "Europe/Lundon"}, "DEFAULT_ZONE: 'Europe/Lundon' is no zone"),
        (["token"], {"JWT_SECRET": "short"}, "JWT_SECRET: needs at least 32 characters"),
        (["runs"], {}, "no database: DATABASE_URL is not set and no `foxtrot up` runs in this folder."),
        (["runs"], {"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "can't connect to 127.0.0.1:1/none"),
        (["run", "job_serch"], {}, "kind 'job_serch' is unknown; known kinds: job_search"),
        (["run", "job_search"], {}, "parameters.query: Field required"),
        (["run", "job_search", "--query", " "], {}, "parameters.query:"),
        (["run", "job_search", "--qery", "x"], {}, "--qery is no parameter of job_search; it has --query"),
        (["run", "job_search", "query"], {}, "write parameters as --name value"),
        (["worker"], {"FOXTROT_KINDS": "no_such_module"}, "FOXTROT_KINDS: module 'no_such_module' can't be imported"),
        (["worker"], {"FOXTROT_KINDS": "json"}, "FOXTROT_KINDS: module 'json' defines no Kind"),
        (["worker", "--kinds", "nothing"], {}, "kind 'nothing' is unknown"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], line: str
) -> None:
    done = foxtrot(tmp_path, *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr.lower() or "JWT_SECRET" in done.stderr


def test_a_token_speaks_for_the_named_user(tmp_path: Path) -> None:
    done = foxtrot(tmp_path, "token", "--user", "ada", JWT_SECRET=SECRET)
    assert jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"])["sub"] == "ada"


def test_without_a_secret_the_folder_gets_one_of_its_own(tmp_path: Path) -> None:
    first, second = (foxtrot(tmp_path, "token").stdout.strip() for _ in range(2))
    secret = tmp_path / ".foxtrot" / "jwt_secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    for token in (first, second):
        assert jwt.decode(token, secret.read_text(), algorithms=["HS256"])["sub"] == "me"


def test_migrate_twice_and_as_sql(tmp_path: Path, empty_database_url: str) -> None:
    applied, again = (foxtrot(tmp_path, "migrate", DATABASE_URL=empty_database_url) for _ in range(2))
    assert applied.stdout.startswith("applied 0001_initial")
    assert again.stdout == "already up to date\n"
    assert "create table foxtrot.runs" in foxtrot(tmp_path, "migrate", "--sql").stdout.lower()


def test_run_without_watching_enqueues_and_a_repeat_joins_it(tmp_path: Path, database_url: str) -> None:
    first = foxtrot(tmp_path, "run", "job_search", "--query", "nurse", DATABASE_URL=database_url)
    again = foxtrot(tmp_path, "run", "job_search", "--query=nurse", DATABASE_URL=database_url)
    run = first.stdout.removeprefix("run ")
    assert again.stdout == f"joined the run that already does this\nrun {run}"
    listed = foxtrot(tmp_path, "runs", DATABASE_URL=database_url).stdout
    assert run.strip() in listed
    assert "pending" in listed


def test_a_list_parameter_is_given_several_times(tmp_path: Path, database_url: str) -> None:
    words = ["--query", "nurse", "--companies", "two", "--companies", "one", "--limit", "5", "--remote", "true"]
    assert foxtrot(tmp_path, "run", "job_search", *words, DATABASE_URL=database_url).returncode == 0
    with psycopg.connect(database_url) as conn:
        row = conn.execute("select parameters from foxtrot.runs").fetchone()
    assert row == ({"query": "nurse", "companies": ["one", "two"], "limit": 5, "remote": True},)


def test_the_doctor_finds_what_disagrees_and_mends_it_once(tmp_path: Path, database_url: str) -> None:
    foxtrot(tmp_path, "run", "job_search", "--query", "nurse", DATABASE_URL=database_url)
    with psycopg.connect(database_url) as conn:
        conn.execute("delete from foxtrot.queue")
    sick = foxtrot(tmp_path, "doctor", DATABASE_URL=database_url)
    assert sick.returncode == 1
    assert "live in runs, but not in the queue. Mend: put it back into the queue" in sick.stdout
    mended = foxtrot(tmp_path, "doctor", "--repair", DATABASE_URL=database_url)
    assert mended.returncode == 0
    assert "put back into the queue" in mended.stdout
    assert foxtrot(tmp_path, "doctor", DATABASE_URL=database_url).stdout == "queue and runs agree\n"
    with psycopg.connect(database_url) as conn:
        assert conn.execute("select actor, action from foxtrot.audit_log").fetchall() == [
            ("foxtrot doctor", "put back into the queue")
        ]


KINDS = """
from pydantic import BaseModel
from shared.errors import HandlerError
from shared.kinds import Kind


class Say(BaseModel):
    text: str


async def say(run, parameters):
    run.progress(percent=50, detail="clearing my throat")
    if parameters.text == "no":
        raise HandlerError("I won't say that.")
    return Say(text=parameters.text.upper())


SAY = Kind("say", Say, Say, "my_kinds:say", title="Say", headline=lambda said: said.text)
"""


def test_a_handler_in_the_foreground_needs_no_worker_and_shows_its_trace(tmp_path: Path) -> None:
    (tmp_path / "my_kinds.py").write_text(KINDS)
    place = {"FOXTROT_KINDS": "my_kinds", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    said = foxtrot(tmp_path, "run", "say", "--text", "hello", "--inline", **place)
    assert (said.returncode, "clearing my throat" in said.stdout, '"HELLO"' in said.stdout) == (0, True, True)
    refused = foxtrot(tmp_path, "run", "say", "--text", "no", "--inline", **place)
    assert refused.returncode == 1
    assert "my_kinds.py" in refused.stderr
    assert "I won't say that." in refused.stderr


def test_workers_are_listed_and_probed(database_url: str, tmp_path: Path) -> None:
    place = {"DATABASE_URL": database_url}
    assert foxtrot(tmp_path, "workers", **place).stdout == "no worker is running\n"
    assert foxtrot(tmp_path, "worker", "--check", **place).returncode == 1
    insert = """
    insert into foxtrot.workers (host, pid, version, kinds, slots, lease_expires_at)
    values (%s, 7, '1', %s, 10, now() + %s)
    """
    with psycopg.connect(database_url) as conn:
        conn.execute(insert, [socket.gethostname(), ["job_search"], timedelta(minutes=1)])
        conn.execute(insert, ["elsewhere", ["job_search"], -timedelta(days=9000)])
    listed = foxtrot(tmp_path, "workers", **place).stdout
    assert "0 of 10" in listed
    assert "working" in listed
    probe = foxtrot(tmp_path, "worker", "--check", **place)
    assert (probe.returncode, probe.stdout) == (0, f"live workers on {socket.gethostname()}: 1\n")
