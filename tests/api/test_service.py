import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api.service import serve
from shared.errors import SettingsError
from tests.api.conftest import REGISTRY, SECRET, settings

SERVE = """
import asyncio, sys
from api.service import serve
from shared.kinds import load_registry
from shared.logs import configure_logs
from shared.settings import Settings
configure_logs("INFO")
settings = Settings(_env_file=None)
sys.exit(asyncio.run(serve(settings, settings.database_url.get_secret_value(), load_registry(["kinds"]))))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def served(database_url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as a process of its own, listening, and its URL."""
    port = free_port()
    environment = os.environ | {"DATABASE_URL": database_url, "JWT_SECRET": SECRET, "PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", SERVE], env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "api_started" in process.stderr.readline()
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(database_url: str, number: signal.Signals) -> None:
    with served(database_url) as (process, url), httpx.Client(base_url=url) as client:
        assert client.get("/readyz").status_code == 200
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        log = process.stderr.read()
        assert "api_stopped" in log
        assert "readyz" not in log  # requests that went well are not logged


def test_a_port_that_is_taken_is_one_clear_error(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"PORT {port}: can't listen there"):
            asyncio.run(serve(settings(port=port), database_url, REGISTRY))
