"""A server on loopback that stands in for every source, for the demo and for tests: real HTTP, the real formats.

`python -m kinds.job_search.board_server --port 8010` serves invented companies and feeds; with `--day 2026-08-01` the
boards recorded in the folder `FOXTROT_DATA`, as they were on that day.
"""

import argparse
import os
import signal
import sys
import threading
from collections import Counter
from contextlib import suppress
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from kinds.job_search.board_contents import recorded_boards, sample_boards
from kinds.job_search.board_faults import Fault, send
from kinds.job_search.board_formats import FEEDS, FORMATS, Asked, find
from shared.errors import SettingsError

__all__ = ["BoardServer", "recorded_boards", "sample_boards"]


class BoardServer:
    """Serves `boards` from a thread of its own; `boards`, `faults` and `day` may be changed while it runs.

    `boards`, `faults` and `requests` go by reference: `otterline` for a Greenhouse board, `lever:fernhollow` for one of
    Lever, its own name for a feed. A board's value is all that its source would list. `requests` counts what each was
    asked, answered or not, and every page; "" stands for the addresses of no source. Without `data` it has the samples;
    with it, the recorded boards of `day`.
    """

    def __init__(self, *, data: Path | None = None, day: date = date.max, port: int = 0) -> None:
        self.data = data
        self.boards: dict[str, Any] = sample_boards() if data is None else recorded_boards(data, day)
        self.faults: dict[str, Fault] = {}
        self.requests: Counter[str] = Counter()
        self.stopping = threading.Event()
        self._day = day
        self._lock = threading.Lock()
        self._http = _Server(port, self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="board-server", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as `JOB_SOURCES_URL` wants it."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that searches everything this server has."""
        return {
            "JOB_SOURCES_URL": self.url,
            "JOB_SOURCES": ",".join(known.source for known in FORMATS),
            "JOB_BOARDS": ",".join(reference for reference in self.boards if reference not in FEEDS),
        }

    @property
    def day(self) -> date:
        """The day as of which recorded boards with a history are shown; setting it takes about a second."""
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

    def count(self, reference: str) -> None:
        """One more request for the board."""
        with self._lock:
            self.requests[reference] += 1


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
        """The answer of the source whose address it is, or the board's fault; 404 for everything else."""
        address, of = urlsplit(self.path), self.server.of
        source, reference = find(address.path)
        of.count(reference)
        content = of.boards.get(reference)
        fault = of.faults.get(reference)
        asked = Asked(dict(parse_qsl(address.query)), self.headers.get("Accept", ""), of.url + address.path)
        answer = source.missing if content is None else source.answer(content, asked)
        if content is not None and fault is not None:
            fault(self, answer.body)
        else:
            send(self, answer.body, status=answer.status, content_type=answer.content_type)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
        """Say nothing: `requests` counts."""


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m kinds.job_search.board_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument(
        "--day", type=date.fromisoformat, help="serve the boards recorded in FOXTROT_DATA as of this day"
    )
    options = parser.parse_args()
    data = None if options.day is None else Path(os.environ["FOXTROT_DATA"])
    for number in (signal.SIGINT, signal.SIGTERM):  # both: a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt), BoardServer(data=data, day=options.day or date.max, port=options.port) as server:
        sys.stdout.write(f"{server.url} has {', '.join(server.boards)}\n")
        sys.stdout.flush()
        server.stopping.wait()


if __name__ == "__main__":
    main()
