"""What a source of postings is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import httpx

from kinds.job_search.posting import Posting
from kinds.job_search.settings import JobSearchSettings


@dataclass(frozen=True)
class Fetched:
    """One answer of a board. `complete` means that it lists every open posting, so what it lacks has been closed.

    Each `external_id` occurs once.
    """

    postings: tuple[Posting, ...]
    complete: bool


@dataclass(frozen=True)
class Source:
    """A service with job boards: its stable name, its words, its freshness time, and how one of its boards is asked.

    `fetch(http, board, settings)` returns the whole answer or raises a `SourceError`; `attribution` is shown with
    every result.
    """

    name: str
    title: str
    attribution: str
    freshness: timedelta
    fetch: Callable[[httpx.AsyncClient, str, JobSearchSettings], Awaitable[Fetched]]
