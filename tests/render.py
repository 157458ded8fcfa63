"""A little Render: it reads a blueprint, resolves its variables, and builds and runs its services as Render does."""

import base64
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import yaml

from cli.postgres import EmbeddedPostgres
from tests.support import wait_until

ROOT = Path(__file__).parents[1]
DEFAULT_SHUTDOWN_DELAY = 30  # what Render waits between SIGTERM and SIGKILL unless the blueprint says otherwise
PASSED_ON = {"HOME", "LANG", "TMPDIR"}


@dataclass(frozen=True)
class Service:
    """What a blueprint says of one service, its variables resolved."""

    name: str
    type: str
    build: str
    pre_deploy: str | None
    start: str
    health_check: str | None
    shutdown_delay: int
    variables: dict[str, str]


def read_services(blueprint: Path, databases: Mapping[str, str]) -> dict[str, Service]:
    """The blueprint's services by name; `databases` are connection strings by the blueprint's names for them."""
    read = yaml.safe_load(blueprint.read_text())
    assert databases.keys() == {database["name"] for database in read["databases"]}
    groups = {group["name"]: _resolve(group["envVars"], databases, groups={}) for group in read.get("envVarGroups", [])}
    return {
        each["name"]: Service(
            name=each["name"],
            type=each["type"],
            build=each["buildCommand"],
            pre_deploy=each.get("preDeployCommand"),
            start=each["startCommand"],
            health_check=each.get("healthCheckPath"),
            shutdown_delay=each.get("maxShutdownDelaySeconds", DEFAULT_SHUTDOWN_DELAY),
            variables=_resolve(each["envVars"], databases, groups),
        )
        for each in read["services"]
    }


def _resolve(
    variables: list[dict[str, Any]], databases: Mapping[str, str], groups: Mapping[str, dict[str, str]]
) -> dict[str, str]:
    resolved: dict[str, str] = {}
    for variable in variables:
        match variable:
            case {"fromGroup": group}:
                resolved |= groups[group]
            case {"key": key, "value": str(value)}:
                resolved[key] = value
            case {"key": key, "generateValue": True}:
                resolved[key] = base64.b64encode(secrets.token_bytes(32)).decode()
            case {"key": key, "fromDatabase": {"name": name, "property": "connectionString"}}:
                resolved[key] = databases[name]
            case _:
                raise AssertionError(f"this little Render can't resolve {variable}")
    return resolved


@dataclass(frozen=True)
class Build:
    """A checkout of its own and the venv that a build command installed it into."""

    checkout: Path
    programs: Path

    def environment(self, service: Service, port: int, extra: dict[str, str]) -> dict[str, str]:
        """What a command of the service gets to see: nothing of ours but what every process has."""
        kept = {name: value for name, value in os.environ.items() if name in PASSED_ON}
        path = f"{self.programs}:{os.environ['PATH']}"
        renders = {"PATH": path, "RENDER": "true"} | ({"PORT": str(port)} if service.type == "web" else {})
        return kept | renders | service.variables | extra

    def run(
        self, service: Service, command: str, *, port: int = 10000, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """One of the service's commands, to its end."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.checkout,
            env=self.environment(service, port, extra),
            capture_output=True,
            text=True,
            timeout=60,
        )

    @contextmanager
    def start(self, service: Service, log: Path, *, port: int = 10000, **extra: str) -> Iterator[psutil.Popen]:
        """The service by its start command; whatever is left of it at the end of the block is killed."""
        with log.open("a") as output:
            process = psutil.Popen(
                ["bash", "-c", service.start],
                cwd=self.checkout,
                env=self.environment(service, port, extra),
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            left = [process, *process.children(recursive=True)] if process.is_running() else []
            for each in left:
                with suppress(psutil.NoSuchProcess):  # a child ends by itself when its parent is gone
                    each.kill()
            process.wait(10)


def build(folder: Path, command: str) -> Build:
    """Run the build command in a fresh checkout, with a fresh venv first on the path."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    shutil.copytree(ROOT, folder / "src", ignore=shutil.ignore_patterns(".git", *ignored))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    made = Build(folder / "src", folder / "venv" / "bin")
    environment = os.environ | {"PATH": f"{made.programs}:{os.environ['PATH']}", "RENDER": "true"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=made.checkout, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


class HostedPostgres(EmbeddedPostgres):
    """A server that also listens on TCP, where everybody needs a password."""

    def __init__(self, directory: Path, *, binaries: Path | None) -> None:
        super().__init__(directory, binaries=binaries, settings={"fsync": "off", "full_page_writes": "off"})
        self.port = free_port()

    def start(self) -> str:
        url = super().start()
        (self.cluster / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        with psycopg.connect(url) as admin:
            admin.execute("select pg_reload_conf()")
        return url

    def _options(self, sockets: Path) -> list[str]:
        return [*super()._options(sockets), "--listen_addresses=127.0.0.1", f"--port={self.port}"]

    @contextmanager
    def database(self) -> Iterator[str]:
        """The connection string of a new database, as Render makes one: its user owns it and may make roles, no more.

        Dropped at the end with all that was made in it and for it.
        """
        name, password = f"render_{uuid4().hex[:8]}", secrets.token_urlsafe(24)
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(f"create role {name} login createrole createdb password '{password}'")
            admin.execute(f"create database {name} owner {name}")
            try:
                yield f"postgresql://{name}:{password}@127.0.0.1:{self.port}/{name}"
            finally:
                admin.execute(f"drop database {name} with (force)")
                admin.execute(f"drop role if exists foxtrot_api, foxtrot_service, {name}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def stop(process: psutil.Popen, within: float) -> int:
    """SIGTERM, and the exit code; TimeoutExpired when that does not come within so many seconds."""
    process.terminate()
    code: int = process.wait(within)
    return code


def wait_for(process: psutil.Popen, log: Path, words: str, *, within: float = 60) -> None:
    """Return once the log has the words; fails with the log when the process ends before that."""
    wait_until(lambda: words in log.read_text() or process.poll() is not None, within=within)
    assert words in log.read_text(), log.read_text()
