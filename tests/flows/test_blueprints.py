"""Both blueprints, built, migrated, started and stopped by their own words, on a Postgres such as Render gives."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psycopg
import pytest

from kinds.job_search.board_faults import delayed
from kinds.job_search.board_server import BoardServer
from shared.db import connect
from shared.kinds import load_registry
from shared.schedules import Rules, Wish, put_schedule
from shared.tokens import user_id_of
from tests.render import ROOT, Build, HostedPostgres, Service, build, free_port, read_services, stop, wait_for
from tests.support import wait_until

MEMORY = 512 * 2**20  # of Render's free and starter instances
ADA = user_id_of("ada")


@pytest.fixture(scope="module")
def server() -> Iterator[HostedPostgres]:
    binaries = os.environ.get("FOXTROT_TEST_BINARIES")
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-render-") as directory,
        HostedPostgres(Path(directory), binaries=Path(binaries) if binaries else None) as server,
    ):
        yield server


@pytest.fixture
def database(server: HostedPostgres) -> Iterator[str]:
    with server.database() as url:
        yield url


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    """Builds by a build command; what the blueprints have in common is built once."""
    known: dict[str, Build] = {}

    def by(command: str) -> Build:
        if command not in known:
            known[command] = build(tmp_path_factory.mktemp("render"), command)
        return known[command]

    return by


@pytest.fixture
def boards() -> Iterator[BoardServer]:
    with BoardServer() as running:
        yield running


class Client:
    """The API of a running web service, asked as ada."""

    def __init__(self, build: Build, web: Service, port: int) -> None:
        self.port = port
        token = build.run(web, "foxtrot token --user ada", port=port)
        assert token.returncode == 0, token.stderr
        self._headers = {"Authorization": f"Bearer {token.stdout.strip()}"}

    def run(self, board: str, query: str = "engineer") -> str:
        """A run of job_search on one board: its path."""
        body = {"kind": "job_search", "parameters": {"query": query, "companies": [board]}}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/api/v1/runs", json=body, headers=self._headers)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def read(self, path: str) -> dict[str, Any]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=self._headers)
        read: dict[str, Any] = answer.raise_for_status().json()
        return read

    def wait(self, path: str, status: str) -> dict[str, Any]:
        """The run, once it has that status."""
        wait_until(lambda: self.read(path)["status"] == status, within=30)
        return self.read(path)


def healthy(web: Service, port: int) -> bool:
    """As Render's own health check sees it."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{web.health_check}", timeout=5)
    except httpx.TransportError:
        return False
    return answer.status_code < 400


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement.encode()).fetchall()


async def _missed_slot(url: str, board: str) -> datetime:
    """A schedule of ada's whose daily slot was two minutes ago, as if no scheduler had run since yesterday."""
    slot = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
    wish = Wish("daily", "job_search", {"query": "designer", "companies": [board]}, [f"{slot:%M %H} * * *"], zone="UTC")
    async with await connect(url, "test", autocommit=False) as conn:
        await put_schedule(conn, load_registry(["kinds"]), ADA, wish, rules=Rules("UTC"))
        await conn.execute("update foxtrot.timetables set next_slot = %s", [slot])
        await conn.execute("update foxtrot.schedules set effective_from = %s", [slot - timedelta(hours=1)])
    return slot


def test_the_blueprint_from_build_to_upgrade(
    tmp_path: Path, built: Callable[[str], Build], database: str, boards: BoardServer
) -> None:
    services = read_services(ROOT / "render.yaml", {"foxtrot-db": database})
    web, worker, scheduler = (services[f"foxtrot-{name}"] for name in ("api", "worker", "scheduler"))
    [command] = {service.build for service in services.values()}
    build, port, log = built(command), free_port(), tmp_path / "log"

    # A deploy starts the services side by side: those that have no pre-deploy command wait for the one that has.
    with ExitStack() as stack:
        working = stack.enter_context(build.start(worker, log, JOB_SOURCES_URL=boards.url))
        scheduling = stack.enter_context(build.start(scheduler, log))
        assert web.pre_deploy is not None
        migrated = build.run(web, web.pre_deploy)
        assert (migrated.returncode, migrated.stdout[:8]) == (0, "applied "), migrated.stderr
        serving = stack.enter_context(build.start(web, log, port=port))
        wait_until(lambda: healthy(web, port) or serving.poll() is not None, within=60)
        for process, words in ((serving, "api_started"), (working, "worker_started"), (scheduling, "scheduler_star")):
            wait_for(process, log, words)

        client = Client(build, web, port)
        assert client.wait(client.run("otterline"), "success")["result"]["posting_ids"]

        # The scheduler is away while a slot comes due, and an upgrade with nothing to migrate goes over it.
        assert stop(scheduling, scheduler.shutdown_delay) == 0
        slot = asyncio.run(_missed_slot(database, "otterline"))
        assert build.run(web, web.pre_deploy).stdout == "already up to date\n"
        scheduling = stack.enter_context(build.start(scheduler, log))
        of_the_slot = "select status, scheduled_for from foxtrot.runs where source = 'cron'"
        wait_until(lambda: query(database, of_the_slot) == [("success", slot)], within=30)

        # What a worker has in hand gets its grace.
        boards.faults["kestrelmoor"] = delayed(until := Event())
        run = client.run("kestrelmoor")
        client.wait(run, "running")
        working.terminate()
        wait_for(working, log, "worker_stopping")
        until.set()
        assert working.wait(worker.shutdown_delay) == 0
        assert client.read(run)["status"] == "success"

        assert stop(scheduling, scheduler.shutdown_delay) == 0
        assert stop(serving, web.shutdown_delay) == 0
    assert query(database, of_the_slot) == [("success", slot)]
    assert "Traceback" not in log.read_text()


def test_the_free_blueprint_and_a_second_start_beside_it(
    tmp_path: Path, built: Callable[[str], Build], database: str, boards: BoardServer
) -> None:
    [web] = read_services(ROOT / "render.free.yaml", {"foxtrot-free-db": database}).values()
    build, ports, logs = built(web.build), (free_port(), free_port()), (tmp_path / "one", tmp_path / "two")

    # Both find an empty database: one migrates it, the other waits for that.
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(build.start(web, log, port=port, JOB_SOURCES_URL=boards.url))
            for port, log in zip(ports, logs, strict=True)
        )
        for process, log, port in zip((one, two), logs, ports, strict=True):
            wait_for(process, log, "Foxtrot is up")
            wait_for(process, log, "worker_started")
            assert healthy(web, port)
        assert sorted("applied 0001" in log.read_text() for log in logs) == [False, True]
        assert query(database, "select from foxtrot.schedules") == []  # it is no demo
        family = [two, *two.children(recursive=True)]
        assert len(family) == 4
        assert sum(process.memory_info().rss for process in family) < MEMORY

        # When a child dies, all of it ends in a way that Render answers with a new start.
        [child] = [process for process in family[1:] if "worker" in process.cmdline()]
        child.kill()
        assert two.wait(20) == 1
        assert "worker ended with exit code -9" in logs[1].read_text()
        assert not any(process.is_running() for process in family)

        client = Client(build, web, ports[0])
        assert client.wait(client.run("otterline"), "success")["result"]["posting_ids"]

        # A run that is still in hand when its grace is over is given back, before Render's patience is.
        boards.faults["kestrelmoor"] = delayed(until := Event())
        stack.callback(until.set)
        client.wait(client.run("kestrelmoor"), "running")
        children = one.children(recursive=True)
        assert stop(one, web.shutdown_delay) == 0
        assert not any(process.is_running() for process in children)
    pending = (
        "select r.status, q.worker_id, q.attempt from foxtrot.queue q join foxtrot.run_status r on r.id = q.run_id"
    )
    assert query(database, pending) == [("pending", None, 1)]
    assert "Traceback" not in logs[0].read_text()


@pytest.mark.parametrize("blueprint", ["render.yaml", "render.free.yaml"])
@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"JWT_SECRET": None}, "JWT_SECRET is not set, and with DATABASE_URL and HOST 0.0.0.0 none is made up."),
        ({"PORT": "http"}, "PORT: Input should be a valid integer"),
        ({"DATABASE_URL": "postgresql://user:hidden@127.0.0.1:1/none"}, "can't connect to 127.0.0.1:1/none"),
        ({"DATABASE_URL": "mysql://user:hidden@127.0.0.1/none"}, "DATABASE_URL is not a URL like postgresql://"),
    ],
)
def test_a_wrong_variable_is_one_line_and_exit_code_2(
    built: Callable[[str], Build], blueprint: str, variables: dict[str, str | None], line: str
) -> None:
    name = {"render.yaml": "foxtrot-db", "render.free.yaml": "foxtrot-free-db"}[blueprint]
    services = read_services(ROOT / blueprint, {name: "postgresql://user:hidden@127.0.0.1:1/none"})
    [web] = [service for service in services.values() if service.type == "web"]
    wrong = {key: value for key, value in (web.variables | variables).items() if value is not None}
    refused = built(web.build).run(replace(web, variables=wrong), web.start, port=free_port())
    assert (refused.returncode, refused.stdout) == (2, "")
    assert line in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "hidden" not in refused.stderr
