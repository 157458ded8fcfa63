"""The board server on loopback, and a client to ask it with."""

from collections.abc import Iterator

import pytest

from kinds.job_search.board_server import BoardServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BoardServer]:
    """A running server with the sample boards, which is also what the environment names."""
    with BoardServer() as running:
        monkeypatch.setenv("GREENHOUSE_URL", running.url)
        yield running
