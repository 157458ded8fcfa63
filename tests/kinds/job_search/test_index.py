"""The index against brute force over the stored rows, and what it must not forget or keep too long."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection, AsyncCursor

from kinds.job_search import index as index_module
from kinds.job_search import shelf as shelf_module
from kinds.job_search.index import FIND_IN_TITLES, FIND_WORD, Index, Match
from kinds.job_search.kind import JobSearch
from kinds.job_search.posting import Posting
from kinds.job_search.text import fold
from kinds.job_search.units import Unit
from shared.errors import InvalidInputError
from tests.clock import Clock
from tests.kinds.job_search.support import ACME, make_posting, put, rows, with_connection
from tests.support import connect, wait_for_lock

NOW = datetime(2026, 8, 3, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OTHER = Unit("greenhouse", "other")
LEVER = Unit("lever", "acme")
FEED = Unit("arbeitnow", "newest")
NEVER = Unit("ashby", "never")
UNITS = (ACME, OTHER, LEVER, FEED, NEVER)

# Words without stems of their own, so that brute force needs no dictionary; Postgres' own view is in test_query.py.
WORDS = ("baker", "chef", "diver", "pilot")
PLACES = ("Oslo, Norway", "Zürich", "Remote")

exact = settings(derandomize=True, deadline=None, database=None)


async def match(
    conn: AsyncConnection, index: Index, *units: Unit, seen: Sequence[int] = (), limit: int = 200, **asked: Any
) -> Match:
    return await index.match(conn, JobSearch(**({"query": "engineer"} | asked)), units, seen=seen, limit=limit)


async def urls(conn: AsyncConnection, found: Match) -> list[str]:
    """Where the postings that were found are, as `board/id`, in their order."""
    known = dict(await rows(conn, "select id, substr(url, 21) from foxtrot.postings"))
    return [known[posting_id] for posting_id in found.ids]


# Brute force ----------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """An open posting as it is stored."""

    id: UUID
    unit: Unit
    complete: bool
    opened: int
    title: str
    heading: str
    text: str
    places: list[str]
    remote: bool | None
    dated: datetime
    twin: int | None

    @classmethod
    async def read(cls, conn: AsyncConnection, units: Sequence[Unit]) -> "list[Row]":
        """Those of the units, the newest first."""
        found = await rows(
            conn,
            "select p.id, p.source, p.board, u.complete, opened_generation, title, concat_ws(' ', title, company,"
            " array_to_string(departments, ' '), array_to_string(places, ' ')), concat_ws(' ', text,"
            " array_to_string(tags, ' ')), places, remote, coalesce(posted_at, first_seen_at), twin_key"
            " from foxtrot.postings p join foxtrot.fetch_units u using (source, board) where closed_at is null"
            " order by 11 desc, 1",
        )
        known = [cls(row[0], Unit(row[1], row[2]), *row[3:]) for row in found]
        return [row for row in known if row.unit in units]


def words(text: str) -> list[str]:
    return fold(text.replace(",", " ")).split()


@dataclass(frozen=True)
class Asked:
    """A search in parts: alternatives of words that must and must not be there."""

    branches: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    location: str | None
    remote: bool | None
    posted_within: int | None

    @property
    def parameters(self) -> JobSearch:
        query = " or ".join(" ".join([*wanted, *(f"-{word}" for word in not_)]) for wanted, not_ in self.branches)
        return JobSearch(query=query, location=self.location, remote=self.remote, posted_within=self.posted_within)

    def matches(self, row: Row) -> bool:
        return (
            self._holds(row, row.heading + " " + row.text)
            and (self.location is None or any(fold(self.location) in fold(place) for place in row.places))
            and (self.remote is None or self.remote == bool(row.remote))
            and (self.posted_within is None or row.dated > NOW - self.posted_within * DAY)
        )

    def rank(self, row: Row) -> int:
        (wanted, _), title = self.branches[0], words(row.title)
        several = len(self.branches) == 1 and len(wanted) > 1
        if several and list(wanted) in [title[at : at + len(wanted)] for at in range(len(title))]:
            return 0
        return 1 if self._holds(row, row.title) else 2 if self._holds(row, row.heading) else 3

    def _holds(self, row: Row, where: str) -> bool:
        there, anywhere = set(words(where)), set(words(row.heading + " " + row.text))
        return any(there >= set(wanted) and not anywhere & set(not_) for wanted, not_ in self.branches)


def brute_force(stored: list[Row], asked: Asked, units: Sequence[Unit], seen: Sequence[int]) -> tuple[list[UUID], int]:
    """The ids that match, in order, and how many of them are new."""
    since = dict(zip(units, seen or [0] * len(units), strict=True))
    found = [row for row in stored if asked.matches(row)]
    new = {row.id for row in found if row.opened > since[row.unit]}
    same: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    times: defaultdict[tuple[Unit, int], int] = defaultdict(int)
    for row in found:
        if row.twin is not None:
            times[row.unit, row.twin] += 1
            same[row.twin, times[row.unit, row.twin]].append(row)
    for twins in same.values():
        twins.sort(key=lambda row: (row.id in new, not row.complete, units.index(row.unit)))
    left_out = {row.id for twins in same.values() for row in twins[1:]}
    listed = [row for row in found if row.id not in left_out]
    listed.sort(key=lambda row: (row.id not in new, asked.rank(row), -row.dated.timestamp(), row.id))
    return [row.id for row in listed], sum(row.id in new for row in listed)


texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
contents = st.fixed_dictionaries(
    {
        "title": st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
        "company": st.sampled_from(["Acme", "Baker Inc."]),
        "departments": texts.map(lambda text: (text,) if text else ()),
        "places": st.lists(st.sampled_from(PLACES), max_size=2, unique=True).map(tuple),
        "remote": st.sampled_from([None, True, False]),
        "text": texts,
        "tags": texts.map(lambda text: (text,) if text else ()),
        "posted_at": st.sampled_from([None, NOW - DAY, NOW - 2 * DAY, NOW - 2 * DAY + timedelta(microseconds=1)]),
    }
)
# What a unit answers next: up to five postings, each with one of a few contents, so that there are twins; whether that
# is all it lists; and whether the rows are as an older release left them.
answers = st.tuples(
    st.sampled_from(UNITS[:4]),
    st.lists(st.sampled_from([None, 0, 0, 1, 2]), min_size=5, max_size=5),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)
wanted_words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True).map(tuple)
searches = st.builds(
    Asked,
    st.lists(st.tuples(wanted_words, st.lists(st.sampled_from(WORDS), max_size=1).map(tuple)), min_size=1, max_size=2)
    # The second of two equal branches is no alternative, and then there is a phrase: not what this is about.
    .filter(lambda branches: len(branches) == 1 or branches[0] != branches[1])
    .map(tuple),
    st.just(None) | st.sampled_from([None, None, None, "oslo", "ZURICH", "way"]),
    st.just(None) | st.sampled_from([None, None, True, False]),
    st.just(None) | st.sampled_from([None, None, 1, 2]),
)
seens = st.just(()) | st.tuples(*[st.integers(0, 3)] * len(UNITS)) | st.tuples(*[st.integers(0, 1)] * len(UNITS))


def test_whatever_is_stored_and_asked_the_index_finds_what_brute_force_does(clock: Clock) -> None:
    clock.freeze(NOW)
    folded = new_twins = pages = 0

    async def check(known: list[dict[str, Any]], stored: list[Any], asked: list[Any], page: int) -> None:
        nonlocal folded, new_twins, pages
        async with connect(clock.url) as conn:
            index = Index()
            for unit, listed, complete, old in stored:
                postings = [
                    make_posting(str(key), unit, **known[number])
                    for key, number in enumerate(listed)
                    if number is not None
                ]
                await put(conn, *postings, unit=unit, complete=complete)
                if old:
                    await conn.execute(
                        "update foxtrot.postings set twin_key = null where source = %s and board = %s",
                        [unit.source, unit.board],
                    )
                for search, seen, units in asked:
                    there = await Row.read(conn, units)
                    of_units = [seen[UNITS.index(unit)] for unit in units] if seen else ()
                    expected, new = brute_force(there, search, units, of_units)
                    found = await index.match(conn, search.parameters, units, seen=of_units, limit=1000)
                    assert found.ids == expected
                    assert (found.found, found.new) == (len(expected), new)
                    paged = [
                        await index.match(conn, search.parameters, units, seen=of_units, offset=offset, limit=page)
                        for offset in range(0, len(expected) + page, page)
                    ]
                    assert [posting for each in paged for posting in each.ids] == expected
                    matching = [row for row in there if search.matches(row)]
                    folded += len(matching) > len(expected)
                    new_twins += len(matching) > len(expected) and 0 < new < len(expected)
                    pages += len(expected) > page
            await conn.rollback()

    subsets = st.permutations(UNITS).flatmap(lambda order: st.integers(2, 5).map(lambda some: tuple(order[:some])))

    @settings(exact, max_examples=150)
    @given(
        st.lists(contents, min_size=3, max_size=3),
        st.lists(answers, min_size=2, max_size=6),
        st.lists(st.tuples(searches, seens, subsets), min_size=1, max_size=3),
        st.integers(1, 4),
    )
    def examples(known: list[dict[str, Any]], stored: list[Any], asked: list[Any], page: int) -> None:
        asyncio.run(check(known, stored, asked, page))

    examples()
    assert min(folded, new_twins, pages) > 5, "the examples had nothing of what this is about"


# Order ----------------------------------------------------------------------------------------------------------------


def test_the_order_is_new_then_phrase_title_heading_text_then_the_newest_then_the_id(clock: Clock) -> None:
    clock.freeze(NOW)
    old = {
        "row": make_posting("row", title="Senior night baker", posted_at=NOW - 9 * DAY),
        "title": make_posting("title", title="Baker, night", posted_at=NOW - DAY),
        "title old": make_posting("title old", title="Baker, at night", posted_at=NOW - 2 * DAY),
        "heading": make_posting("heading", title="Baker", departments=("Night",), posted_at=NOW),
        "text": make_posting("text", title="Baker", text="the night", posted_at=NOW),
    }

    async def work(conn: AsyncConnection) -> None:
        await put(conn, *old.values())
        new = [make_posting("new text", text="night baker"), make_posting("new row", title="Night baker")]
        await put(conn, *old.values(), *new)
        found = await match(conn, Index(), ACME, seen=[1], query="night baker")
        assert await urls(conn, found) == [f"acme/{key}" for key in ("new row", "new text", *old)]
        assert (found.found, found.new, found.generations) == (7, 2, [2])

    with_connection(clock.url, work)


def test_equals_are_in_the_order_of_their_ids_whatever_board_they_are_on(clock: Clock) -> None:
    clock.freeze(NOW)

    async def work(conn: AsyncConnection) -> None:
        for unit in (ACME, OTHER, LEVER):
            await put(conn, *(make_posting(key, unit, title=f"Engineer {key} {unit}") for key in "123"), unit=unit)
        found = await match(conn, Index(), LEVER, ACME, OTHER)
        assert found.ids == sorted(found.ids)
        assert len(found.ids) == 9

    with_connection(clock.url, work)


# What changes while the index lives -----------------------------------------------------------------------------------


def test_what_opens_closes_and_changes_is_seen_by_the_next_match(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        one, two, three = make_posting("1"), make_posting("2", title="Baker"), make_posting("3", title="Baker")
        await put(conn, one, two)
        assert await urls(conn, await match(conn, index, ACME)) == ["acme/1"]
        assert await urls(conn, await match(conn, index, ACME, query="baker -engineer")) == ["acme/2"]
        await put(conn, replace(one, title="Baker"), replace(two, title="Engineer"), three)
        changed = await match(conn, index, ACME)
        assert (await urls(conn, changed), changed.generations) == (["acme/2"], [2])
        bakers = await match(conn, index, ACME, query="baker -engineer", seen=[1])
        assert (await urls(conn, bakers), bakers.new) == (["acme/3", "acme/1"], 1)
        await put(conn, three)
        assert await urls(conn, await match(conn, index, ACME, query="baker -engineer")) == ["acme/3"]
        assert (await match(conn, index, ACME)).found == 0
        await put(conn)
        emptied = await match(conn, index, ACME, query="baker")
        assert (emptied.found, emptied.generations) == (0, [4])

    with_connection(database_url, work)


def test_a_word_is_asked_for_once_a_generation(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        class Counting(AsyncCursor[Any]):
            async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
                asked.append(query)
                return await super().execute(query, *args, **options)

        asked: list[Any] = []
        index = Index()
        await put(conn, make_posting("1"))
        conn.cursor_factory = Counting
        for _ in range(3):
            assert (await match(conn, index, ACME, query="an engineer -baker")).found == 1
        assert (await match(conn, index, ACME, query="baker or engineer")).found == 1
        assert (asked.count(FIND_WORD), asked.count(FIND_IN_TITLES)) == (2, 0)
        await put(conn, make_posting("1"))
        await match(conn, index, ACME, query="engineer baker")
        assert (asked.count(FIND_WORD), asked.count(FIND_IN_TITLES)) == (4, 1)

    with_connection(database_url, work)


def test_a_match_may_be_told_which_generations_there_are(database_url: str) -> None:
    """It is answered from those or later ones, and nobody is asked."""

    async def work(conn: AsyncConnection) -> None:
        index = Index()
        await put(conn, make_posting("1"))
        told = JobSearch(query="engineer")
        for generation, found in ((1, 1), (2, 2), (1, 2)):
            if generation == 2:
                await put(conn, make_posting("1"), make_posting("2"))
                stale = await index.match(conn, told, [ACME], generations=[1], limit=10)
                assert (stale.found, stale.generations) == (1, [1])
            matched = await index.match(conn, told, [ACME, NEVER], generations=[generation, 0], limit=10)
            assert (matched.found, matched.generations) == (found, [found, 0])

    with_connection(database_url, work)


def test_the_index_knows_what_it_has_looked_up(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        assert not index.knows("night baker")
        for text in ("night baker", "oven", "night -oven"):
            await index.check_searchable(conn, text)
        with pytest.raises(InvalidInputError):
            await index.check_searchable(conn, "the")
        known = {text: index.knows(text) for text in ("night baker", "baker -night", "baker or oven", "baker night")}
        assert known == {"night baker": True, "baker -night": True, "baker or oven": True, "baker night": False}
        assert not any(map(index.knows, ("the", "-night", "baker or -night")))

    with_connection(database_url, work)


def test_new_are_the_postings_opened_after_the_generation_that_was_seen(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        one, two, three = make_posting("1"), make_posting("2"), make_posting("3")
        await put(conn, one, two)
        first = await match(conn, index, ACME)
        assert (first.found, first.new, first.generations) == (2, 2, [1])
        assert (await match(conn, index, ACME, seen=[1])).new == 0
        await put(conn, one, two, three)
        await put(conn, one, three)
        assert (await match(conn, index, ACME, seen=[1])).new == 1
        await put(conn, one, two, three)
        reopened = await match(conn, index, ACME, seen=[3])
        assert (reopened.found, reopened.new, reopened.generations) == (3, 1, [4])

    with_connection(database_url, work)


def test_all_of_a_board_that_was_not_seen_is_new_and_one_never_fetched_has_nothing(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        await put(conn, make_posting("1"))
        nothing = await match(conn, index, NEVER)
        assert nothing == Match(found=0, new=0, ids=[], generations=[0])
        await put(conn, make_posting("1", OTHER), make_posting("2", OTHER), unit=OTHER)
        both = await match(conn, index, ACME, OTHER, NEVER, seen=[1, 0, 0])
        assert (both.found, both.new, both.generations) == (3, 2, [1, 1, 0])
        await put(conn, make_posting("1", NEVER), unit=NEVER)
        assert (await match(conn, index, NEVER)).found == 1

    with_connection(database_url, work)


def test_a_fetch_that_commits_meanwhile_is_neither_seen_nor_lost(database_url: str) -> None:
    """What a match did not see is new to the next one: the generation that it names is that of its postings."""

    async def race() -> None:
        index = Index()
        async with connect(database_url) as reader, connect(database_url) as writer:
            await put(writer, make_posting("1"))
            await writer.commit()
            await put(writer, make_posting("1"), make_posting("2"))
            before = await match(reader, index, ACME)
            await writer.commit()
            after = await match(reader, index, ACME, seen=before.generations)
            assert (before.found, before.generations) == (1, [1])
            assert (after.found, after.new, after.generations) == (2, 1, [2])

    asyncio.run(race())


def test_a_match_waits_for_no_fetch(database_url: str) -> None:
    async def work() -> None:
        async with connect(database_url) as reader, connect(database_url) as writer, connect(database_url) as other:
            await put(writer, make_posting("1"))
            blocked = asyncio.create_task(put(other, make_posting("1")))
            await wait_for_lock(database_url, other.info.backend_pid)
            assert (await match(reader, Index(), ACME)).found == 0
            await writer.commit()
            await blocked

    asyncio.run(work())


def test_one_index_serves_many_at_once(database_url: str) -> None:
    """Twenty searches over boards that change meanwhile: each finds what its generations had, or a new index does."""
    listed = [make_posting(str(number), title=f"Engineer {WORDS[number % 4]}") for number in range(12)]

    async def read(index: Index, number: int) -> tuple[int, list[int]]:
        async with connect(database_url) as conn:
            found = await match(conn, index, ACME, OTHER, query=f"engineer {WORDS[number % 4]}")
            return found.found, found.generations

    async def work() -> None:
        index = Index()
        async with connect(database_url) as conn:
            await put(conn, *listed)
            await conn.commit()
            searching = [asyncio.create_task(read(index, number)) for number in range(20)]
            other = [replace(posting, board="other", company="Other") for posting in listed]
            await put(conn, *other, unit=OTHER)
            await conn.commit()
            for found, generations in await asyncio.gather(*searching):
                assert (found, generations) in [(3, [1, 0]), (6, [1, 1])]
            assert [await read(index, number) for number in range(4)] == [(6, [1, 1])] * 4

    asyncio.run(work())


# The same posting on several boards -----------------------------------------------------------------------------------

SAME: dict[str, Any] = {"title": "Engineer (m/f/d)", "company": "Acme Inc.", "places": ("Oslo, Norway",)}


def twin(external_id: str, unit: Unit, **fields: Any) -> Posting:
    return make_posting(external_id, unit, **(SAME | fields))


def test_a_posting_on_two_boards_is_counted_and_listed_once(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await put(conn, twin("1", ACME))
        await put(conn, twin("9", LEVER, title="Engineer", company="ACME", places=("Oslo",)), unit=LEVER)
        await put(conn, twin("8", OTHER, places=("Bergen",)), twin("7", OTHER, title="Engineer II"), unit=OTHER)
        found = await match(conn, Index(), LEVER, ACME, OTHER)
        assert (found.found, found.new) == (3, 3)
        assert set(await urls(conn, found)) == {"acme/9", "other/8", "other/7"}

    with_connection(database_url, work)


def test_of_twins_the_one_that_is_not_new_is_listed_else_the_boards_that_lists_everything(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        await put(conn, twin("feed", FEED), unit=FEED, complete=False)
        await put(conn, twin("board", ACME))
        for units in ((FEED, ACME), (ACME, FEED)):
            found = await match(conn, index, *units)
            assert (await urls(conn, found), found.new) == (["acme/board"], 1)
            known_feed = [1 if unit == FEED else 0 for unit in units]
            found = await match(conn, index, *units, seen=known_feed)
            assert (await urls(conn, found), found.new) == (["newest/feed"], 0)

    with_connection(database_url, work)


def test_equal_postings_of_one_board_are_all_listed(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await put(conn, *(twin(str(number), ACME) for number in range(3)))
        assert (await match(conn, Index(), ACME)).found == 3
        await put(conn, *(twin(str(number), LEVER) for number in range(2)), unit=LEVER)
        both = await match(conn, Index(), ACME, LEVER)
        assert both.found == 3, "the first is the first's twin, and the second the second's"
        assert set(await urls(conn, both)) == {"acme/0", "acme/1", "acme/2"}

    with_connection(database_url, work)


def test_a_twin_that_closes_leaves_the_other_and_comes_back_as_a_twin(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        await put(conn, twin("1", ACME))
        await put(conn, twin("1", LEVER), unit=LEVER)
        assert (await match(conn, index, ACME, LEVER)).found == 1
        await put(conn)
        alone = await match(conn, index, ACME, LEVER)
        assert await urls(conn, alone) == ["acme/1"]
        assert await rows(conn, "select source from foxtrot.postings where closed_at is null") == [("lever",)]
        await put(conn, twin("1", ACME))
        assert (await match(conn, index, ACME, LEVER)).found == 1
        await put(conn, twin("1", LEVER, title="Engineer II"), unit=LEVER)
        assert (await match(conn, index, ACME, LEVER)).found == 2

    with_connection(database_url, work)


def test_rows_of_an_older_release_are_nobodys_twins(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        await put(conn, twin("1", ACME))
        await put(conn, twin("1", LEVER), unit=LEVER)
        await put(conn, twin("1", FEED), unit=FEED)
        await conn.execute("update foxtrot.postings set twin_key = null where source <> 'arbeitnow'")
        assert (await match(conn, Index(), ACME, LEVER, FEED)).found == 3

    with_connection(database_url, work)


def test_a_twin_outside_the_search_leaves_the_other_in(database_url: str) -> None:
    async def work(conn: AsyncConnection) -> None:
        index = Index()
        await put(conn, twin("1", ACME, remote=True))
        await put(conn, twin("1", LEVER, remote=False), unit=LEVER)
        assert (await match(conn, index, ACME, LEVER)).found == 1
        assert await urls(conn, await match(conn, index, LEVER)) == ["acme/1"]
        assert (await match(conn, index, ACME, LEVER, remote=True)).found == 1
        assert (await match(conn, index, ACME, LEVER, remote=False)).found == 1

    with_connection(database_url, work)


# Bounds of memory -----------------------------------------------------------------------------------------------------


def test_a_search_is_the_same_when_the_index_overflows(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MOST_SHELVES", 1)
    monkeypatch.setattr(index_module, "MOST_LOOKUPS", 1)
    monkeypatch.setattr(shelf_module, "MOST_WORDS", 1)
    units = (ACME, OTHER, LEVER, FEED)

    async def work(conn: AsyncConnection) -> None:
        index = Index()
        for number, unit in enumerate(units):
            own = make_posting("own", unit, title=f"Engineer {WORDS[number]}", text="night baker", places=("Oslo",))
            await put(conn, own, twin("shared", unit), unit=unit)
            for some in (units[: number + 1], units[number::-1]):
                for asked in ({}, {"query": "night baker -pilot"}, {"location": "oslo"}, {"remote": False}):
                    found = await match(conn, index, *some, **asked)
                    assert found == await match(conn, Index(), *some, **asked), (some, asked)
            assert (await match(conn, index, *units)).found == number + 2

    with_connection(database_url, work)


# Plans ----------------------------------------------------------------------------------------------------------------

FILL = """
insert into foxtrot.postings (
    source, board, external_id, url, title, company, departments, places, places_key, text, content_hash,
    first_seen_at, last_seen_at, opened_generation
)
select
    'greenhouse', 'board' || n % 20, n, '', case n % 5 when 0 then 'Engineer' else 'Cook' end, '', '{}', '{}', '',
    repeat(md5(n::text) || ' ', 100) || ' experience', '', now(), now(), 1
from generate_series(1, 4000) as n
"""


@pytest.mark.parametrize(
    ("statement", "word", "index"),
    [
        (FIND_WORD, "'engin'", "postings_search"),
        (FIND_WORD, "'experi'", "postings_search"),
        (FIND_IN_TITLES, "'senior' <-> 'engin'", "postings_heading"),
    ],
)
def test_words_are_looked_up_in_the_index_however_common(
    database_url: str, statement: bytes, word: str, index: str
) -> None:
    async def work(conn: AsyncConnection) -> str:
        await conn.execute(FILL)
        await conn.execute("analyze foxtrot.postings")
        values = {"sources": ["greenhouse"] * 20, "boards": [f"board{number}" for number in range(20)], "word": word}
        cursor = await conn.execute(b"explain " + statement, values)
        return "\n".join(row[0] for row in await cursor.fetchall())

    plan = with_connection(database_url, work)
    assert f"Bitmap Index Scan on {index}" in plan
    assert "Seq Scan on postings" not in plan
