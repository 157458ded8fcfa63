"""Matching a search against the stored postings, and reading them a page at a time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from kinds.job_search.kind import JobSearch
from kinds.job_search.posting import Posting
from kinds.job_search.postings import Index, match_postings, read_postings
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.units import Unit, units_of
from shared.errors import InvalidInputError
from tests.clock import Clock
from tests.kinds.job_search.support import ACME, make_posting, put, with_connection

NOW = datetime(2026, 8, 3, 8, 0, tzinfo=UTC)
OTHER = Unit("greenhouse", "other")


def found(url: str, *postings: Posting, **parameters: Any) -> list[str]:
    """The external ids that match, in order, when these are on the board."""

    async def work(conn: AsyncConnection) -> list[str]:
        await put(conn, *postings)
        page = await match_postings(conn, Index(), JobSearch(companies=["acme"], **parameters))
        assert page.total == len(page.postings)
        return [posting.url.rpartition("/")[2] for posting in page.postings]

    result: list[str] = with_connection(url, work)
    return result


# What matches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("baker", {"title", "text", "department", "place", "company"}),
        ("bakers", {"title", "text", "department", "place", "company"}),
        ("head baker", {"title"}),
        ('"night baker"', {"text"}),
        ("baker -head", {"text", "department", "place", "company"}),
        ("head or oven", {"title", "text"}),
        ("zeppelin", set()),
        ("'; drop table foxtrot.postings; --baker", set()),
        ("50% baker_%s", set()),
    ],
)
def test_words_are_looked_for_in_every_field(database_url: str, query: str, ids: set[str]) -> None:
    postings = [
        make_posting("title", title="Head Baker"),
        make_posting("text", text="You are a night baker at our oven"),
        make_posting("department", departments=("Sales", "Bakers")),
        make_posting("place", places=("Baker Street, London",)),
        make_posting("company", company="Baker & Sons"),
        make_posting("none", title="Miller"),
    ]
    assert set(found(database_url, *postings, query=query)) == ids


@pytest.mark.parametrize("query", ["api", "backend", "backend/api", "vue", "vue.js", '"vue js"', "senior -chef"])
def test_what_people_join_by_a_slash_or_a_dot_are_words_of_their_own(database_url: str, query: str) -> None:
    assert found(database_url, make_posting("1", title="Senior/Staff Backend/API Engineer (Vue.js)"), query=query) == [
        "1"
    ]


@pytest.mark.parametrize(
    ("location", "ids"),
    [("zurich", ["1"]), ("ZÜRICH", ["1"]), ("SWITZ", ["1"]), ("oslo", ["2"]), ("%", []), ("oslo berlin", [])],
)
def test_a_location_is_part_of_a_places_name(database_url: str, location: str, ids: list[str]) -> None:
    postings = [
        make_posting("1", places=("Zürich, Switzerland",)),
        make_posting("2", places=("Oslo", "Berlin")),
        make_posting("3"),
    ]
    if location == "%":
        with pytest.raises(ValueError, match="letter or digit"):
            found(database_url, *postings, query="engineer", location=location)
    else:
        assert found(database_url, *postings, query="engineer", location=location) == ids


@pytest.mark.parametrize(("remote", "ids"), [(None, {"1", "2", "3"}), (True, {"1"}), (False, {"2", "3"})])
def test_remote_leaves_in_only_what_says_so_and_its_opposite_all_the_rest(
    database_url: str, remote: bool | None, ids: set[str]
) -> None:
    postings = [make_posting("1", remote=True), make_posting("2", remote=False), make_posting("3", remote=None)]
    assert set(found(database_url, *postings, query="engineer", remote=remote)) == ids


def test_age_counts_from_the_posting_or_else_from_when_it_was_first_seen(clock: Clock) -> None:
    clock.freeze(NOW - timedelta(days=7))
    old = make_posting("seen long ago")
    with_connection(clock.url, lambda conn: put(conn, old))
    clock.freeze(NOW)
    postings = [
        old,
        make_posting("seen now"),
        make_posting("posted just within", posted_at=NOW - timedelta(days=7) + timedelta(seconds=1)),
        make_posting("posted a week ago", posted_at=NOW - timedelta(days=7)),
    ]
    ids = found(clock.url, *postings, query="engineer", posted_within=7)
    assert ids == ["seen now", "posted just within"]


def test_only_open_postings_of_the_asked_boards_match(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> list[str]:
        await put(conn, make_posting("open"), make_posting("closed"))
        await put(conn, make_posting("open"))
        await put(conn, make_posting("elsewhere", OTHER), unit=OTHER)
        page = await match_postings(conn, Index(), JobSearch(query="engineer", companies=["acme", "unheard-of"]))
        return [posting.url for posting in page.postings]

    assert with_connection(database_url, work) == ["https://example.com/acme/open"]


def test_a_search_without_companies_is_over_the_installations_boards(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_BOARDS", "acme,other")
    assert units_of(JobSearch(query="x"), JobSearchSettings()) == [ACME, OTHER]

    async def work(conn: AsyncConnection) -> int:
        await put(conn, make_posting("1"))
        await put(conn, make_posting("1", OTHER), unit=OTHER)
        return (await match_postings(conn, Index(), JobSearch(query="engineer"))).total

    assert with_connection(database_url, work) == 2
    monkeypatch.delenv("JOB_BOARDS")
    assert with_connection(database_url, work) == 0


@pytest.mark.parametrize("query", ["the", "The AND of", "-python", "it", '"to be or not to be"'])
def test_a_query_without_a_word_to_look_up_is_invalid(database_url: str, query: str) -> None:
    with pytest.raises(InvalidInputError, match="no word to search for") as caught:
        found(database_url, query=query)
    assert caught.value.field == "parameters.query"


# Order and pages -----------------------------------------------------------------------------------------------------


def test_titles_come_before_places_before_text_and_the_newest_first(database_url: str) -> None:
    old, new = NOW - timedelta(days=30), NOW - timedelta(days=1)
    postings = [
        make_posting("text", title="Cook", text="baker " * 50, posted_at=new),
        make_posting("place", title="Cook", places=("Baker Street",), posted_at=new),
        make_posting("old title", title="Baker", posted_at=old),
        make_posting("new title", title="Baker", posted_at=new),
    ]
    assert found(database_url, *postings, query="baker") == ["new title", "old title", "place", "text"]


def test_pages_are_stable_and_whole(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> tuple[list[UUID], list[UUID], list[int]]:
        await put(conn, *(make_posting(str(number), posted_at=NOW) for number in range(25)))
        search = JobSearch(query="engineer", companies=["acme"])
        pages = [await match_postings(conn, Index(), search, offset=offset, limit=10) for offset in (0, 10, 20, 30)]
        whole = await match_postings(conn, Index(), search, limit=100)
        listed = [posting.id for page in pages for posting in page.postings]
        return listed, [posting.id for posting in whole.postings], [page.total for page in pages]

    listed, whole, totals = with_connection(database_url, work)
    assert listed == whole
    assert len(set(listed)) == 25
    assert totals == [25] * 4


def test_postings_are_read_in_the_order_of_their_ids_closed_ones_too(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await put(conn, *(make_posting(number, text="t" * 1000, remote=True, places=("Oslo",)) for number in "1234"))
        cursor = await conn.execute("select id from foxtrot.postings order by external_id")
        one, two, three, four = [row[0] for row in await cursor.fetchall()]
        await put(conn, make_posting("1"), make_posting("2"), make_posting("3"))
        ids = [four, two, uuid4(), one, three]
        page = await read_postings(conn, ids)
        assert [posting.id for posting in page.postings] == [four, two, one, three]
        assert [posting.closed_at is None for posting in page.postings] == [False, True, True, True]
        assert page.postings[0].excerpt == "t" * 300
        assert (page.postings[0].remote, page.postings[0].places) == (True, ["Oslo"])
        second = await read_postings(conn, ids, offset=1, limit=1)
        assert ([posting.id for posting in second.postings], second.total) == ([two], 5)

    with_connection(database_url, work)
