import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import date
from typing import Any

import pytest

from kinds.job_search import board_faults as faults
from kinds.job_search.board_server import BoardServer
from shared.errors import SettingsError


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - loopback
        return json.load(response)


def test_the_samples_are_whole_boards(server: BoardServer) -> None:
    for name, board in server.boards.items():
        answer = get(f"{server.url}/v1/boards/{name}/jobs?content=true")
        assert answer == board
        assert answer["meta"]["total"] == len(answer["jobs"]) >= 12
        assert len({job["id"] for job in answer["jobs"]}) == len(answer["jobs"])
    assert len(server.boards) == 3


def test_without_content_the_answer_is_short(server: BoardServer) -> None:
    jobs = get(f"{server.url}/v1/boards/otterline/jobs")["jobs"]
    assert {"id", "title", "location"} <= jobs[0].keys()
    assert not {"content", "departments", "offices"} & jobs[0].keys()


@pytest.mark.parametrize("path", ["/v1/boards/nowhere/jobs", "/v1/boards/otterline", "/v1/boards/a/b/jobs", "/"])
def test_everything_else_is_404(server: BoardServer, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(server.url + path)
    assert caught.value.code == 404
    assert json.load(caught.value)["status"] == 404
    caught.value.close()


def test_requests_are_counted_by_board(server: BoardServer) -> None:
    server.faults["otterline"] = faults.answers(200, b"{}")
    for _ in range(2):
        get(f"{server.url}/v1/boards/otterline/jobs")
    get(f"{server.url}/v1/boards/bramblewick/jobs")
    assert server.requests == {"otterline": 2, "bramblewick": 1}


def test_boards_answer_side_by_side(server: BoardServer) -> None:
    release = threading.Event()
    server.faults["otterline"] = faults.delayed(release)
    slow = threading.Thread(target=get, args=(f"{server.url}/v1/boards/otterline/jobs",))
    slow.start()
    assert get(f"{server.url}/v1/boards/bramblewick/jobs")["meta"]["total"] == 13
    release.set()
    slow.join(10)
    assert not slow.is_alive()


def test_the_samples_have_no_history(server: BoardServer) -> None:
    with pytest.raises(SettingsError, match="no history"):
        server.day = date(2026, 8, 1)


def test_it_runs_on_its_own_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "kinds.job_search.board_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, _, boards = process.stdout.readline().partition(" has ")
        answer = get(f"{url}/v1/boards/kestrelmoor/jobs")
        process.send_signal(2)
        assert process.wait(10) == 0
    assert boards == "bramblewick, kestrelmoor, otterline\n"
    assert answer["meta"]["total"] == 13
