"""A host with a web service and a cron from outside: docs/examples/vercel.json, done as Vercel does it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import yaml

from shared.cron import next_slots
from tests.render import ROOT, free_port, wait_for
from tests.support import connect, db_now, make_run, make_schedule, make_timetable, make_user, wait_until

SECRET = "sixteen-or-more-of-them"
EXAMPLE = ROOT / "docs" / "examples" / "vercel.json"
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
FOXTROT = [sys.executable, "-m", "cli"]
FIELD = r"(\*|\d+(-\d+)?(,\d+(-\d+)?)*)(/\d+)?"  # Vercel takes no names
COUNTS = ("ticks", "runs", "skips", "missed", "given_back", "failed", "expired")
IDLE = {**dict.fromkeys(COUNTS, 0), "more": False, "finished": None}

STUCK = """
import threading
from pydantic import BaseModel
from shared.kinds import Kind, Run

class Nothing(BaseModel): ...

def stay(run: Run, parameters: Nothing) -> Nothing:
    threading.Event().wait()
    return Nothing()

STUCK = Kind("stuck", Nothing, Nothing, "stuck:stay", title="Stuck", headline=str)
"""


def crons() -> list[dict[str, str]]:
    read = json.loads(EXAMPLE.read_text())
    assert read.keys() == {"crons"}
    found: list[dict[str, str]] = read["crons"]
    return found


def environment(port: int, **variables: str) -> dict[str, str]:
    """What a web service gets to see; its kinds are those of the worker's tests."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    ours = {"PORT": str(port), "JWT_SECRET": "x" * 32, "CRON_SECRET": SECRET, "FOXTROT_KINDS": "tests.worker.handlers"}
    return kept | ours | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | variables


@contextmanager
def web_service(folder: Path, database_url: str, **variables: str) -> Iterator[tuple[psutil.Popen, str]]:
    """`foxtrot api` and nothing else, at its URL."""
    port, log = free_port(), folder / "api.log"
    with log.open("w") as output:
        api = psutil.Popen(
            [*FOXTROT, "api"],
            cwd=folder,
            env=environment(port, DATABASE_URL=database_url, **variables),
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(api, log, "api_started")
        yield api, f"http://127.0.0.1:{port}"
    finally:
        with suppress(psutil.NoSuchProcess):
            api.kill()
        api.wait(10)
    assert "Traceback" not in log.read_text()


def add_due_schedules(url: str, n: int) -> None:
    """Schedules of the kind `echo` for so many users, due since this minute began."""

    async def insert() -> None:
        async with connect(url) as conn:
            slot = (await db_now(conn)).astimezone(UTC).replace(second=0, microsecond=0)
            timetable = await make_timetable(conn, crons=[f"{slot:%M %H} * * *"], next_slot=slot)
            for _ in range(n):
                await make_schedule(conn, await make_user(conn), timetable, kind="echo")

    asyncio.run(insert())


def add_run(url: str, kind: str) -> None:
    async def insert() -> None:
        async with connect(url) as conn:
            await make_run(conn, await make_user(conn), kind=kind)

    asyncio.run(insert())


def runs(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute("select source, status, attempt from foxtrot.run_status order by id").fetchall()


def test_the_example_is_what_vercel_takes() -> None:
    [cron] = crons()
    assert cron.keys() == {"path", "schedule"}
    assert cron["path"].startswith("/api/")
    assert not cron["path"].endswith("/")
    fields = cron["schedule"].split(" ")
    assert len(fields) == 5
    assert all(re.fullmatch(FIELD, field) for field in fields)
    slots = next_slots([cron["schedule"]], "UTC", datetime(2031, 1, 1, tzinfo=UTC), 300)
    gaps = {later - earlier for earlier, later in pairwise(slots)}
    assert gaps == {timedelta(minutes=5)}  # well within the 15 minutes after which a slot is missed


def test_what_vercel_does_makes_the_runs_and_with_work_ends_them(tmp_path: Path, database_url: str) -> None:
    add_due_schedules(database_url, 3)
    headers = {"Authorization": f"Bearer {SECRET}", "User-Agent": "vercel-cron/1.0"}
    with (
        web_service(tmp_path, database_url) as (_, url),
        httpx.Client(base_url=url, headers=headers, timeout=60) as vercel,
    ):
        for cron in crons():
            answer = vercel.get(cron["path"])
            assert (answer.status_code, answer.json()) == (200, IDLE | {"ticks": 1, "runs": 3})
            assert vercel.get(cron["path"]).json() == IDLE
            assert runs(database_url) == [("cron", "pending", 0)] * 3
            assert vercel.get(f"{cron['path']}?work=4s").json() == IDLE | {"finished": 3}
            assert vercel.get(cron["path"], headers={"Authorization": ""}).status_code == 401
    assert runs(database_url) == [("cron", "success", 1)] * 3


def test_the_commands_of_the_guide(tmp_path: Path, database_url: str) -> None:
    add_due_schedules(database_url, 2)
    [by_hand] = [block for block in re.findall(r"```sh\n(.*?)```", DEPLOY, re.DOTALL) if "cron/tick" in block]
    [workflow] = [block for block in re.findall(r"```yaml\n(.*?)```", DEPLOY, re.DOTALL) if "cron/tick" in block]
    [step] = yaml.safe_load(workflow)["jobs"]["tick"]["steps"]
    with web_service(tmp_path, database_url) as (_, url):
        variables = os.environ | {"CRON_SECRET": SECRET, "FOXTROT_URL": url}
        finished = []
        for command in (by_hand, step["run"]):
            short = command.replace("25s", "4s")
            done = subprocess.run(["bash", "-c", short], env=variables, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout + done.stderr
            finished.append(json.loads(done.stdout)["finished"])
        wrong = variables | {"CRON_SECRET": "not-that-one-at-all"}
        refused = subprocess.run(["bash", "-c", step["run"]], env=wrong, capture_output=True, text=True, timeout=60)
        assert refused.returncode != 0
        assert "This is not the CRON_SECRET." in refused.stdout
    assert finished == [2, 0]


def test_a_stop_in_the_midst_of_work_gives_back_what_is_in_hand_and_still_answers(
    tmp_path: Path, database_url: str
) -> None:
    add_run(database_url, "hold")
    with (
        web_service(tmp_path, database_url, WORKER_GRACE_SECONDS="1") as (api, url),
        ThreadPoolExecutor(1) as thread,
    ):
        headers = {"Authorization": f"Bearer {SECRET}"}
        tick = thread.submit(httpx.post, f"{url}/api/v1/cron/tick?work=60s", headers=headers, timeout=60)
        wait_until(lambda: runs(database_url) == [("manual", "running", 1)])
        api.send_signal(signal.SIGTERM)
        assert tick.result(30).json() == IDLE | {"finished": 0}
        assert api.wait(10) == 0
    assert runs(database_url) == [("manual", "pending", 1)]


def test_a_handler_that_never_ends_keeps_neither_the_answer_nor_the_process(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    add_run(database_url, "stuck")
    kinds = {"FOXTROT_KINDS": "stuck", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with web_service(tmp_path, database_url, WORKER_GRACE_SECONDS="0", **kinds) as (api, url):
        headers = {"Authorization": f"Bearer {SECRET}"}
        tick = httpx.get(f"{url}/api/v1/cron/tick?work=3s", headers=headers, timeout=60)
        assert tick.json() == IDLE | {"finished": 0}
        assert runs(database_url) == [("manual", "pending", 1)]
        api.send_signal(signal.SIGTERM)
        assert api.wait(10) == 0


@pytest.mark.parametrize("command", ["api", "up"])
@pytest.mark.parametrize("name", ["CRON_SECRET", "CRON_SECRET_PREVIOUS"])
def test_a_short_secret_is_one_line_and_exit_code_2(tmp_path: Path, command: str, name: str) -> None:
    variables = environment(free_port(), DATABASE_URL="postgresql://127.0.0.1:1/none", **{name: "fifteen-letters"})
    refused = subprocess.run(
        [*FOXTROT, command], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"foxtrot: {name}: needs at least 16 characters")
    assert refused.stderr.count("\n") == 1
    assert "fifteen" not in refused.stderr
