"""docs/sources.md says what the code does, and its example is a source that works."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import HttpUrl

from kinds.job_search.posting import Posting
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import SOURCES, Fetched, Source
from kinds.job_search.sources.base import NEWEST
from tests.kinds.job_search.sources.support import JsonServer

PAGE = Path(__file__).parents[4] / "docs" / "sources.md"


def rows() -> dict[str, list[str]]:
    """The cells of the first table, by source."""
    table = PAGE.read_text(encoding="utf-8").partition("## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| `" in line]
    return {row[0].strip("`"): row[1:] for row in cells}


def in_words(time: timedelta) -> str:
    seconds = time.total_seconds()
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def test_the_table_has_every_source_and_its_limits() -> None:
    assert {name: row[1:] for name, row in rows().items()} == {
        name: [
            in_words(source.freshness),
            str(source.calls_a_day or "any"),
            in_words(source.gap),
            "a feed" if source.boards else "complete",
        ]
        for name, source in SOURCES.items()
    }


def test_what_is_on_is_what_the_page_says() -> None:
    named = re.search(r"may be asked; `(\w+)`, `(\w+)` and `(\w+)` if it is not set", PAGE.read_text(encoding="utf-8"))
    assert named is not None
    assert list(named.groups()) == JobSearchSettings.model_fields["job_sources"].default


def test_the_example_is_a_whole_source() -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    made: dict[str, Any] = {"__name__": "breadboard"}
    exec(compile(code, str(PAGE), "exec"), made)  # noqa: S102 - our own page
    source: Source = made["BREADBOARD"]
    jobs = [{"id": 7, "link": "https://breadboard.example/7", "title": "Baker", "town": "Oslo", "html": "<p>Bread"}]

    async def fetch(url: str) -> Fetched:
        async with httpx.AsyncClient() as http:
            return await source.fetch(http, NEWEST, JobSearchSettings(job_sources_url=HttpUrl(url)))

    with JsonServer(lambda url: {"jobs": jobs} if url.path == "/jobs.json" else None) as server:
        fetched = asyncio.run(fetch(server.url))
    assert fetched.postings == (
        Posting(
            source="breadboard",
            board=NEWEST,
            external_id="7",
            url="https://breadboard.example/7",
            title="Baker",
            company="",
            places=("Oslo",),
            text="Bread",
        ),
    )
