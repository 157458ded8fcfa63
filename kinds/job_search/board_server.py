"""A Greenhouse job board server on loopback, for the demo and for tests: real HTTP, the real format.

`python -m kinds.job_search.board_server --port 8010` serves three invented companies; with `--day 2026-08-01` the
boards recorded in the folder `FOXTROT_DATA`, as they were on that day.
"""

import argparse
import json
import os
import re
import sys
import tarfile
import threading
from collections import Counter
from contextlib import suppress
from datetime import date
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kinds.job_search.board_faults import Fault, send
from shared.errors import SettingsError

SAMPLES = Path(__file__).with_name("samples")
RECORDED = Path("jobs", "greenhouse_history", "boards.tar.xz")
CONTENT_FIELDS = ("content", "departments", "offices")
_JOBS = re.compile(r"/v1/boards/([^/]+)/jobs")

Board = dict[str, Any]


def sample_boards() -> dict[str, Board]:
    """The hand-written boards, by name: `{"jobs": [...], "meta": {"total": N}}` each."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(SAMPLES.glob("*.json"))}


def recorded_boards(data: Path, day: date) -> dict[str, Board]:
    """Every recorded board as its last snapshot of that day or an earlier one has it; `data` is `FOXTROT_DATA`."""
    newest: dict[str, tuple[str, bytes]] = {}
    with tarfile.open(data / RECORDED) as archive:
        for member in archive:
            board, _, name = member.name.partition("/")
            content = archive.extractfile(member)
            if content is not None and newest.get(board, ("", b""))[0] < name[:19] and name[:10] <= day.isoformat():
                newest[board] = (name[:19], content.read())
    return {board: json.loads(body) for board, (_, body) in newest.items()}


class BoardServer:
    """Serves `boards` from a thread of its own; `boards`, `faults` and `day` may be changed while it runs.

    `requests` counts what each board was asked, answered or not. Without `data` it has the sample boards; with it, the
    recorded ones of `day`.
    """

    def __init__(self, *, data: Path | None = None, day: date = date.max, port: int = 0) -> None:
        self.data = data
        self.boards = sample_boards() if data is None else recorded_boards(data, day)
        self.faults: dict[str, Fault] = {}
        self.requests: Counter[str] = Counter()
        self.stopping = threading.Event()
        self._day = day
        self._lock = threading.Lock()
        self._http = _Server(port, self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="board-server", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as `GREENHOUSE_URL` wants it."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def day(self) -> date:
        """The day as of which the recorded boards are shown; setting it takes about a second."""
        return self._day

    @day.setter
    def day(self, day: date) -> None:
        if self.data is None:
            raise SettingsError("the sample boards have no history", hint="Give BoardServer the folder FOXTROT_DATA.")
        self.boards, self._day = recorded_boards(self.data, day), day

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and free the port; safe to repeat."""
        self.stopping.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def count(self, board: str) -> None:
        """One more request for the board."""
        with self._lock:
            self.requests[board] += 1


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, port: int, boards: BoardServer) -> None:
        self.of = boards
        super().__init__(("127.0.0.1", port), _Request)

    def server_bind(self) -> None:
        """Without the look-up of our own name, which can take seconds where there is no name service."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up in mid-answer are what this server is for; anything else is a bug to be seen."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """`/v1/boards/{board}/jobs`, with `?content=true` or without; 404 for everything else."""
        address = urlsplit(self.path)
        path = _JOBS.fullmatch(address.path)
        name = path.group(1) if path else ""
        self.server.of.count(name)
        board = self.server.of.boards.get(name)
        if board is None:
            send(self, b'{"status":404,"error":"Board not found"}', status=HTTPStatus.NOT_FOUND)
            return
        content = parse_qs(address.query).get("content") == ["true"]
        body = json.dumps(board if content else _without_content(board)).encode()
        self.server.of.faults.get(name, send)(self, body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
        """Say nothing: `requests` counts."""


def _without_content(board: Board) -> Board:
    jobs = [{key: value for key, value in job.items() if key not in CONTENT_FIELDS} for job in board["jobs"]]
    return {**board, "jobs": jobs}


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m kinds.job_search.board_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument(
        "--day", type=date.fromisoformat, help="serve the boards recorded in FOXTROT_DATA as of this day"
    )
    options = parser.parse_args()
    data = None if options.day is None else Path(os.environ["FOXTROT_DATA"])
    with BoardServer(data=data, day=options.day or date.max, port=options.port) as server:
        sys.stdout.write(f"{server.url} has {', '.join(server.boards)}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.stopping.wait()


if __name__ == "__main__":
    main()
