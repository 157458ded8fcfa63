import json
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from kinds.job_search.sources.arbeitnow import MOST_PAGES, read_answer
from kinds.job_search.sources.base import NEWEST
from kinds.job_search.sources.errors import UnavailableError, UnusableAnswerError
from tests.kinds.job_search.sources.support import ARBEITNOW_JOB, JsonServer, ask, words, words_in

RECORDED = Path("jobs", "recorded", "lcarlini", "raw_arbeitnow.json")


def page(*slugs: str, to: object = None) -> dict[str, Any]:
    """One page of the feed, with a link to the next."""
    return {"data": [ARBEITNOW_JOB | {"slug": slug} for slug in slugs], "links": {"next": to}, "meta": {}}


def slugs_of(server: JsonServer) -> list[str]:
    return [posting.external_id for posting in ask("arbeitnow", NEWEST, server).postings]


def test_a_posting_is_normalised() -> None:
    with JsonServer(lambda url: {"data": [ARBEITNOW_JOB]}) as server:
        fetched = ask("arbeitnow", NEWEST, server)
    [posting] = fetched.postings
    assert server.asked == ["/api/job-board-api?page=1"]
    assert not fetched.complete
    assert (posting.source, posting.board, posting.external_id) == ("arbeitnow", "newest", ARBEITNOW_JOB["slug"])
    assert posting.url == ARBEITNOW_JOB["url"]
    assert (posting.title, posting.company) == ("Bäcker (m/w/d)", "Roggen GmbH")
    assert posting.departments == ()
    assert posting.places == ("Hamburg, Berlin",)
    assert posting.remote is None
    assert posting.posted_at == datetime(2026, 7, 1, 6, tzinfo=UTC)
    assert posting.salary is None
    assert posting.tags == ("Gastronomy", "berufserfahren")
    assert posting.text == "Wir backen Brot."


@pytest.mark.parametrize(
    ("place", "flag", "remote"),
    [("Berlin", True, True), ("Berlin", False, None), ("Berlin", None, None), ("Remote", False, True)],
)
def test_a_posting_nobody_marked_as_remote_may_still_be(place: str, flag: bool | None, remote: bool | None) -> None:
    answer = {"data": [ARBEITNOW_JOB | {"location": place, "remote": flag}]}
    assert read_answer(NEWEST, answer).postings[0].remote is remote


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Brot &amp; Salz</p>", "Brot & Salz"),
        ("&lt;p&gt;Brot &amp;amp; Salz&lt;/p&gt;", "Brot & Salz"),
        (" \n&lt;p&gt;Brot&lt;br&gt;Salz&lt;/p&gt;", "Brot\nSalz"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;&lt;p&gt;Brot&lt;/p&gt;", "Brot"),
        ("<p>Eine List&lt;Brot&gt;</p>", "Eine List<Brot>"),
    ],
)
def test_a_description_may_be_escaped_once_more(html: str, text: str) -> None:
    assert read_answer(NEWEST, {"data": [ARBEITNOW_JOB | {"description": html}]}).postings[0].text == text


def test_pages_are_followed_to_the_last() -> None:
    def answer(url: httpx.URL) -> Any:
        number = int(url.params["page"])
        return page(f"job-{number}", to=f"{server.url}/api/job-board-api?page={number + 1}" if number < 3 else None)

    with JsonServer(answer) as server:
        assert slugs_of(server) == ["job-1", "job-2", "job-3"]
    assert server.asked == [f"/api/job-board-api?page={number}" for number in (1, 2, 3)]


def test_a_link_may_be_relative() -> None:
    def answer(url: httpx.URL) -> Any:
        return page("a", to="?page=2") if url.params["page"] == "1" else page("b")

    with JsonServer(answer) as server:
        assert slugs_of(server) == ["a", "b"]


def test_no_more_than_ten_pages_are_read() -> None:
    def answer(url: httpx.URL) -> Any:
        number = int(url.params["page"])
        return page(f"job-{number}", to=f"?page={number + 1}")

    with JsonServer(answer) as server:
        assert len(slugs_of(server)) == MOST_PAGES == len(server.asked) == 10


def test_a_circle_of_pages_ends() -> None:
    def answer(url: httpx.URL) -> Any:
        return page("a", to="?page=2") if url.params["page"] == "1" else page("b", to="?page=1")

    with JsonServer(answer) as server:
        assert slugs_of(server) == ["a", "b"]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "to",
    [
        "https://elsewhere.example/api/job-board-api?page=2",
        "http://127.0.0.2/api/job-board-api?page=2",
        "http://127.0.0.1:1/api/job-board-api?page=2",
        "//elsewhere.example/api/job-board-api?page=2",
        "file:///etc/passwd",
    ],
)
def test_a_link_to_another_host_is_not_followed(to: str) -> None:
    with (
        JsonServer(lambda url: page("a", to=to)) as server,
        pytest.raises(UnusableAnswerError, match=r"^Arbeitnow points to another host"),
    ):
        ask("arbeitnow", NEWEST, server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("to", ["http://127.0.0.1:port/", "?page=\0", "?page=\ud800"])
def test_a_link_that_is_no_address_is_not_followed(to: str) -> None:
    with (
        JsonServer(lambda url: page("a", to=to)) as server,
        pytest.raises(UnusableAnswerError, match="no address"),
    ):
        ask("arbeitnow", NEWEST, server)


def test_all_pages_together_have_the_time_of_one_board() -> None:
    def slowly(url: httpx.URL) -> Any:
        server.stopping.wait(0.4)
        return page(url.params["page"], to=f"?page={url.params['page']}1")

    with (
        JsonServer(slowly) as server,
        pytest.raises(UnavailableError, match=r"^Arbeitnow did not answer within 1 s"),
    ):
        ask("arbeitnow", NEWEST, server, job_fetch_seconds=1)
    assert len(server.asked) > 1


@pytest.mark.parametrize("links", [None, [], {}, {"next": None}, {"next": 2}, {"next": ""}, "next"])
def test_without_a_link_the_page_is_the_last(links: object) -> None:
    with JsonServer(lambda url: page("a") | {"links": links}) as server:
        assert slugs_of(server) == ["a"]
    assert len(server.asked) == 1


def test_recorded_postings_say_what_the_raw_ones_do(data: Path) -> None:
    recorded = json.loads((data / RECORDED).read_text())
    fetched = read_answer(NEWEST, recorded)
    for raw, posting in zip(recorded["data"], fetched.postings, strict=True):
        assert (posting.external_id, posting.url, posting.title) == (raw["slug"], raw["url"], raw["title"])
        assert posting.company == raw["company_name"]
        assert posting.places == (raw["location"],)
        assert posting.remote is None
        assert posting.posted_at is not None
        assert posting.posted_at.timestamp() == raw["created_at"]
        assert posting.tags == (*raw["tags"], *raw["job_types"])
        html = unescape(raw["description"]) if raw["description"].startswith("&lt;") else raw["description"]
        assert words(posting.text) == words_in(html)
        assert not any(mark in posting.text for mark in ("<p>", "</", "&lt;", "&amp;", "&nbsp;"))
