"""What storing a board's answer writes, opens and closes, and who may do it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege

from kinds.job_search.posting import Posting, Salary
from kinds.job_search.postings import read_postings
from kinds.job_search.units import Unit
from tests.clock import Clock
from tests.kinds.job_search.support import make_posting, put, rows, with_connection

MORNING = datetime(2026, 8, 3, 8, 0, tzinfo=UTC)


def test_the_same_answer_again_writes_no_posting(clock: Clock) -> None:
    clock.freeze(MORNING)
    listed = [make_posting(str(number), text="words " * 500) for number in range(20)]
    versions = "select external_id, ctid, xmin, xmax from foxtrot.postings order by 1"

    async def twice(conn: AsyncConnection) -> None:
        first = await put(conn, *listed)
        await conn.commit()
        before = await rows(conn, versions)
        again = await put(conn, *reversed(listed))
        await conn.commit()
        assert (first.written, first.opened, first.closed) == (20, 20, 0)
        assert (again.generation, again.written, again.opened, again.closed) == (2, 0, 0, 0)
        assert await rows(conn, versions) == before

    with_connection(clock.url, twice)


def test_only_what_changed_is_written_and_a_change_opens_nothing(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        before = make_posting("1", title="Baker"), make_posting("2", title="Miller")
        await put(conn, *before)
        stored = await put(conn, replace(before[0], title="Head Baker", remote=True, places=("Oslo",)), before[1])
        assert (stored.written, stored.opened, stored.closed) == (1, 0, 0)
        found = await rows(
            conn, "select title, remote, places, places_key, opened_generation from foxtrot.postings order by 1"
        )
        assert found == [("Head Baker", True, ["Oslo"], "oslo", 1), ("Miller", None, [], "", 1)]

    with_connection(database_url, work)


def test_last_seen_is_kept_to_the_day(clock: Clock) -> None:
    clock.freeze(MORNING)

    async def work(conn: AsyncConnection) -> int:
        stored = await put(conn, make_posting())
        await conn.commit()
        return stored.written

    assert with_connection(clock.url, work) == 1
    clock.advance(timedelta(hours=23))
    assert with_connection(clock.url, work) == 0
    clock.advance(timedelta(hours=1))
    assert with_connection(clock.url, work) == 1
    seen = with_connection(
        clock.url,
        lambda conn: rows(conn, "select first_seen_at, last_seen_at, opened_generation from foxtrot.postings"),
    )
    assert seen == [(MORNING, MORNING + timedelta(days=1), 1)]


def test_a_posting_closes_only_when_a_complete_answer_lacks_it(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        one, two = make_posting("1"), make_posting("2")
        other = Unit("greenhouse", "other")
        await put(conn, one, two)
        await put(conn, make_posting("1", other), unit=other)
        assert (await put(conn, one, complete=False)).closed == 0
        assert (await put(conn, one)).closed == 1
        assert (await put(conn, one)).closed == 0
        still_open = "select board, external_id from foxtrot.postings where closed_at is null order by 1"
        assert await rows(conn, still_open) == [("acme", "1"), ("other", "1")]
        assert (await put(conn)).closed == 1
        assert await rows(conn, still_open) == [("other", "1")]

    with_connection(database_url, work)


def test_what_is_listed_again_opens_again_under_its_old_id(clock: Clock) -> None:
    clock.freeze(MORNING)
    posting = make_posting("1")
    read = "select id, first_seen_at, closed_at, opened_generation from foxtrot.postings"

    async def work(conn: AsyncConnection) -> None:
        await put(conn, posting)
        ((id_, *_),) = await rows(conn, read)
        await put(conn)
        assert await rows(conn, read) == [(id_, MORNING, MORNING, 1)]
        stored = await put(conn, posting)
        assert (stored.generation, stored.opened) == (3, 1)
        assert await rows(conn, read) == [(id_, MORNING, None, 3)]

    with_connection(clock.url, work)


def test_text_that_fills_the_limits_can_be_stored(database_url: str) -> None:
    words = " ".join(f"wörd{number}x" for number in range(3000))[:30_000]
    places = tuple(f"Place {number} {'x' * 190}" for number in range(50))
    posting = make_posting(title="t" * 300, company="c" * 200, places=places, text=words)
    assert with_connection(database_url, lambda conn: put(conn, posting)).written == 1


OPEN = "select external_id, closed_at is null from foxtrot.postings where board = 'acme' order by 1"


@pytest.mark.parametrize("complete", [True, False])
def test_what_was_not_listed_for_sixty_days_is_dropped(clock: Clock, *, complete: bool) -> None:
    clock.freeze(MORNING)
    kept, gone, other = make_posting("kept"), make_posting("gone"), Unit("greenhouse", "other")

    async def answer(conn: AsyncConnection, *listed: Posting) -> None:
        await put(conn, *listed, complete=complete)
        await conn.commit()

    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting("elsewhere", other), unit=other)
        await answer(conn, kept, gone)
        ((gone_id,),) = await rows(conn, "select id from foxtrot.postings where external_id = 'gone'")
        clock.advance(timedelta(days=1))
        await conn.commit()
        await answer(conn, kept)
        clock.advance(timedelta(days=58))
        await conn.commit()
        # What a result of then lists can still be read.
        await answer(conn, kept)
        page = await read_postings(conn, [gone_id])
        assert [(posting.id, posting.closed_at is None) for posting in page.postings] == [(gone_id, not complete)]
        clock.advance(timedelta(days=1) - timedelta(seconds=1))
        await conn.commit()
        await answer(conn, kept)
        assert await rows(conn, OPEN) == [("gone", not complete), ("kept", True)]
        clock.advance(timedelta(seconds=1))
        await conn.commit()
        await answer(conn, kept)
        assert await rows(conn, OPEN) == [("kept", True)]
        assert (await read_postings(conn, [gone_id])).postings == []
        assert await rows(conn, "select board from foxtrot.postings where external_id = 'elsewhere'") == [("other",)]

    with_connection(clock.url, work)


def test_what_is_listed_again_after_sixty_days_is_kept_under_its_id(clock: Clock) -> None:
    clock.freeze(MORNING)
    read = "select id, closed_at, opened_generation from foxtrot.postings"

    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting("1"))
        ((id_, *_),) = await rows(conn, read)
        await conn.commit()
        clock.advance(timedelta(days=100))
        assert (await put(conn, make_posting("1"))).written == 1
        assert await rows(conn, read) == [(id_, None, 1)]

    with_connection(clock.url, work)


def test_a_row_of_an_older_release_gets_its_twin_key_with_the_next_fetch(clock: Clock) -> None:
    clock.freeze(MORNING)

    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting("1"))
        await conn.execute("update foxtrot.postings set twin_key = null, content_hash = 'of another form'")
        await conn.commit()
        stored = await put(conn, make_posting("1"))
        assert (stored.written, stored.opened) == (1, 0)
        assert await rows(conn, "select twin_key from foxtrot.postings") == [(make_posting("1").twin_key(),)]

    with_connection(clock.url, work)


def test_all_that_a_posting_says_is_stored(database_url: str) -> None:
    said: dict[str, Any] = {
        "salary": Salary(1000.5, 2000, "EUR", "month"),
        "tags": ("Rust", "SQL"),
        "language": "de",
        "remote": True,
    }

    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting("1", **said))
        ((id_,),) = await rows(conn, "select id from foxtrot.postings")
        [posting] = (await read_postings(conn, [id_])).postings
        assert (posting.salary_min, posting.salary_max) == (1000.5, 2000)
        assert (posting.salary_currency, posting.salary_interval) == ("EUR", "month")
        assert (posting.tags, posting.language, posting.remote) == (["Rust", "SQL"], "de", True)

    with_connection(database_url, work)


@pytest.mark.parametrize("table", ["fetch_units", "fetch_sources", "postings"])
def test_the_api_reads_and_does_not_write(database_url: str, table: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await put(conn, make_posting())
        await conn.execute("set local role foxtrot_api")
        assert len(await rows(conn, f"select from foxtrot.{table}")) == 1
        with pytest.raises(InsufficientPrivilege):
            await conn.execute(f"delete from foxtrot.{table}")
        await conn.rollback()

    with_connection(database_url, work)


def test_the_service_does_all_of_it(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await conn.execute("set local role foxtrot_service")
        await put(conn, make_posting("1"))
        assert (await put(conn, make_posting("2"))).closed == 1

    with_connection(database_url, work)
