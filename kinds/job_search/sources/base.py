"""What a source of postings is, and what one answer of it is."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx

from kinds.job_search.posting import Posting
from kinds.job_search.settings import JobSearchSettings

NEWEST = "newest"


@dataclass(frozen=True)
class Fetched:
    """One answer of a board. `complete` means that it lists every open posting, so what it lacks has been closed.

    Each `external_id` occurs once.
    """

    postings: tuple[Posting, ...]
    complete: bool


@dataclass(frozen=True)
class Source:
    """A service that lists postings: its words, how often it may be asked, and how one of its boards is asked.

    `fetch(http, board, settings)` returns the whole answer or raises a `SourceError`. `url` is where it is asked.
    `attribution` and `terms` (what the source asks of those who show its postings) go with every result. A stored copy
    is good for `freshness`; all boards of the source together are asked at most `calls_a_day` times (None: no limit)
    and at least `gap` apart.

    `boards(query, location)` names the boards of any search, for a source without boards of companies: a feed has one,
    `newest`. It is None where boards are companies'.
    """

    name: str
    title: str
    url: str
    attribution: str
    terms: str
    freshness: timedelta
    fetch: Callable[[httpx.AsyncClient, str, JobSearchSettings], Awaitable[Fetched]]
    calls_a_day: int | None = None
    gap: timedelta = timedelta(milliseconds=100)
    boards: Callable[[str, str | None], Sequence[str]] | None = None

    def describe(self, board: str) -> str:
        """A board in words: `Lever board 'acme'`; a feed is named by its source alone."""
        return self.title if board == NEWEST else f"{self.title} board {board!r}"


def only_newest(query: str, location: str | None) -> Sequence[str]:
    """`boards` of a feed: one, whatever is searched for."""
    del query, location
    return (NEWEST,)
