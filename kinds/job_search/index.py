"""Index: job searches answered from memory, so that 10,000 users due at once don't each scan the postings.

Postgres knows which postings have a word; it is asked once for each word and generation of a board, however many users
search for it. What is left for each user is a few operations on sets of bits.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from kinds.job_search.kind import JobSearch
from kinds.job_search.query import Query, look_up, parse_query
from kinds.job_search.ranking import fold_twins, in_order, match_shelf
from kinds.job_search.shelf import NOWHERE, Hits, Shelf
from kinds.job_search.units import Unit, columns
from shared.db import fetch_all, load_sql
from shared.errors import InvalidInputError

READ_SHELVES = load_sql(__file__, "read_shelves")
READ_GENERATIONS = load_sql(__file__, "read_generations")
READ_WORDS = load_sql(__file__, "read_words")
FIND_WORD = load_sql(__file__, "find_word")
FIND_IN_TITLES = load_sql(__file__, "find_in_titles")

MOST_LOOKUPS = 10_000
MOST_SHELVES = 1_000
DAY = 86_400


@dataclass(frozen=True)
class Match:
    """What a search matches: counts, the asked page of ids, best first, and the generation of each unit it saw."""

    found: int
    new: int
    ids: list[UUID]
    generations: list[int]


@dataclass(frozen=True)
class _Lookup:
    words: str
    lookup: str


@dataclass(frozen=True)
class _Found:
    source: str
    board: str
    title: bytes
    anywhere: bytes = b""
    heading: bytes = b""


class Index:
    """The open postings of the units that were searched lately; it loads what a search needs and it doesn't have."""

    def __init__(self) -> None:
        self._shelves: dict[Unit, Shelf] = {}
        self._lookups: dict[str, str] = {}
        self._twins: defaultdict[int, set[Unit]] = defaultdict(set)

    def knows(self, text: str) -> bool:
        """Whether every word of the query was looked up, and it can be searched for."""
        query = parse_query(text)
        return query.lookups <= self._lookups.keys() and look_up(query, self._lookups) is not None

    async def check_searchable(self, conn: AsyncConnection, text: str) -> Query:
        """The query; raises `InvalidInputError` for one without a word to look up, such as `the` or `-python`."""
        query = parse_query(text)
        lookups = {word: self._lookups[word] for word in query.lookups if word in self._lookups}
        if unknown := list(query.lookups - lookups.keys()):
            rows = await fetch_all(conn, READ_WORDS, {"words": unknown}, _Lookup)
            lookups |= {row.words: row.lookup for row in rows}
            self._remember(lookups)
        found = look_up(query, lookups)
        if found is None:
            raise InvalidInputError(
                f"parameters.query: {text!r} has no word to search for",
                field="parameters.query",
                hint="Add a word that isn't too common and isn't excluded.",
            )
        return found

    def _remember(self, lookups: dict[str, str]) -> None:
        if len(self._lookups) > MOST_LOOKUPS:
            self._lookups.clear()
        self._lookups |= lookups

    async def match(
        self,
        conn: AsyncConnection,
        parameters: JobSearch,
        units: Sequence[Unit],
        *,
        seen: Sequence[int] = (),
        generations: Sequence[int] | None = None,
        offset: int = 0,
        limit: int,
    ) -> Match:
        """The open postings of these units that match.

        `generations` are those that the caller knows to be stored: it may be answered from them or from later ones; by
        default they are read.

        `seen` has a generation for each unit; postings opened later, or all if it is empty, are new. They come first,
        then those whose title has all wanted words in a row, then in any order, then those whose company, department
        or place has what the title lacks; among equals the newest. A posting that several units list, by its
        `twin_key`, is counted and listed once. Raises `InvalidInputError` as `check_searchable` does.
        """
        query = await self.check_searchable(conn, parameters.query)
        shelves = await self._current(conn, units, generations or await _read_generations(conn, units))
        hits = await self._find_words(conn, shelves, query)
        after = await _earliest(conn, parameters.posted_within)
        matched = [
            match_shelf(shelf, found, query, parameters, generation, after)
            for shelf, found, generation in zip(shelves, hits, seen or [0] * len(units), strict=True)
            if shelf
        ]
        fold_twins(matched)
        return Match(
            found=sum(each.bits.bit_count() for each in matched),
            new=sum(each.new.bit_count() for each in matched),
            ids=list(islice(in_order(matched, query), offset, offset + limit)),
            generations=[shelf.generation if shelf else 0 for shelf in shelves],
        )

    async def _current(
        self, conn: AsyncConnection, units: Sequence[Unit], generations: Sequence[int]
    ) -> list[Shelf | None]:
        """A shelf of each unit of that generation or a later one; None for one that was never fetched."""
        known = [self._shelves.get(unit) for unit in units]
        stale = [
            unit
            for unit, generation, shelf in zip(units, generations, known, strict=True)
            if generation > (shelf.generation if shelf else 0)
        ]
        if not stale:
            return known
        loaded = await fetch_all(conn, READ_SHELVES, columns(stale), Shelf)
        fresh = {Unit(shelf.source, shelf.board): shelf for shelf in loaded}
        shelves = [fresh.get(unit, shelf) for unit, shelf in zip(units, known, strict=True)]
        self._put([shelf for shelf in shelves if shelf])
        return shelves

    def _put(self, shelves: Sequence[Shelf]) -> None:
        """Have all shelves of a search, in place of older ones, and mark what they share with others."""
        if len(self._shelves) > MOST_SHELVES:
            self._shelves.clear()
            self._twins.clear()
        for shelf in shelves:
            unit = Unit(shelf.source, shelf.board)
            before = self._shelves.get(unit)
            if before is shelf:
                continue
            for twin in set(before.twins) if before else ():
                self._twins[twin].discard(unit)
                if not self._twins[twin]:
                    del self._twins[twin]
            self._shelves[unit] = shelf
            for twin in shelf.twins:
                self._twins[twin].add(unit)
        shared = {twin for shelf in shelves for twin in shelf.twins if twin and len(self._twins[twin]) > 1}
        for unit in {unit for twin in shared for unit in self._twins[twin]}:
            other = self._shelves[unit]
            other.share({twin for twin in other.twins if twin and len(self._twins[twin]) > 1})

    async def _find_words(
        self, conn: AsyncConnection, shelves: Sequence[Shelf | None], query: Query
    ) -> list[dict[str, Hits]]:
        """Where the query's words occur, on each shelf."""
        found: list[dict[str, Hits]] = [{} for _ in shelves]
        statements = {query.phrase: FIND_IN_TITLES} if query.phrase else {}
        statements |= dict.fromkeys(query.words, FIND_WORD)  # of a phrase that is a word too: it knows titles as well
        for key in ((statement, word) for word, statement in statements.items()):
            here = [shelf.words.get(key) if shelf else NOWHERE for shelf in shelves]
            unknown = [shelf for shelf, hits in zip(shelves, here, strict=True) if shelf and hits is None]
            learned = iter(await _find(conn, key, unknown))
            for each, hits in zip(found, here, strict=True):
                each[key[1]] = next(learned) if hits is None else hits
        return found


async def _find(conn: AsyncConnection, key: tuple[bytes, str], shelves: Sequence[Shelf]) -> list[Hits]:
    """Have these shelves learn where a word or phrase occurs, by the statement that finds it."""
    statement, word = key
    if not shelves:
        return []
    units = [Unit(shelf.source, shelf.board) for shelf in shelves]
    rows = await fetch_all(conn, statement, columns(units) | {"word": word}, _Found)
    found = {Unit(row.source, row.board): row for row in rows}
    learned = [_hits(shelf, found.get(unit)) for shelf, unit in zip(shelves, units, strict=True)]
    for shelf, hits in zip(shelves, learned, strict=True):
        shelf.learn(key, hits)
    return learned


async def _read_generations(conn: AsyncConnection, units: Sequence[Unit]) -> list[int]:
    cursor = await conn.execute(READ_GENERATIONS, columns(units))
    return [generation for (generation,) in await cursor.fetchall()]


def _hits(shelf: Shelf, found: _Found | None) -> Hits:
    if found is None:
        return NOWHERE
    return Hits(*(shelf.holding(ids) for ids in (found.anywhere, found.heading, found.title)))


async def _earliest(conn: AsyncConnection, posted_within: int | None) -> float | None:
    """The time before which postings are too old, by the database's clock, in seconds since 1970."""
    if posted_within is None:
        return None
    cursor = await conn.execute("select extract(epoch from now())::float8")
    row: Any = await cursor.fetchone()
    return float(row[0]) - posted_within * DAY
