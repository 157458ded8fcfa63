"""The board server on loopback, and a client to ask it with."""

from collections.abc import Iterator

import pytest

from kinds.job_search.board_server import BoardServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BoardServer]:
    """A running server with the samples, which every source is asked at; a test names boards and sources itself."""
    with BoardServer() as running:
        monkeypatch.setenv("JOB_SOURCES_URL", running.url)
        yield running
