"""Ranking: what of each shelf a search matches, twins taken once, best first; all of it on sets of bits."""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from kinds.job_search.kind import JobSearch
from kinds.job_search.query import Query
from kinds.job_search.shelf import ANYWHERE, HEADING, TITLE, Hits, Shelf, places_in
from kinds.job_search.text import fold


@dataclass
class Matched:
    """The postings of one shelf that a search matches, and which of them are new to the user."""

    shelf: Shelf
    hits: dict[str, Hits]
    bits: int
    new: int


def match_shelf(
    shelf: Shelf, hits: dict[str, Hits], query: Query, parameters: JobSearch, seen: int, after: float | None
) -> Matched:
    """What a shelf has for a search: the words, place and kind of work, and dated `after` (seconds since 1970).

    New is what was opened in a generation later than `seen`.
    """
    bits = shelf.having(query.branches, hits, ANYWHERE)
    if parameters.location is not None:
        bits &= shelf.at(fold(parameters.location))
    if parameters.remote is not None:
        bits &= shelf.said_remote() if parameters.remote else ~shelf.said_remote()
    if after is not None:
        bits &= shelf.dated_after(after)
    return Matched(shelf, hits, bits, bits & shelf.opened_after(seen))


def fold_twins(matched: Sequence[Matched]) -> None:
    """Leave one of each posting that several units list: one that isn't new, else one of a board, else the first.

    Where a unit lists several with the same key, the first of them is the twin of another unit's first, and so on.
    """
    same: defaultdict[tuple[int, int], list[tuple[bool, bool, int, int]]] = defaultdict(list)
    for number, each in enumerate(matched):
        times: defaultdict[int, int] = defaultdict(int)
        for at in places_in(each.bits & each.shelf.shared):
            twin = each.shelf.twins[at]
            times[twin] += 1
            same[twin, times[twin]].append((bool(each.new >> at & 1), not each.shelf.complete, number, at))
    for twins in same.values():
        for _, _, number, at in sorted(twins)[1:]:
            matched[number].bits &= ~(1 << at)
            matched[number].new &= ~(1 << at)


def in_order(matched: Sequence[Matched], query: Query) -> Iterator[UUID]:
    """The ids of what matched, best first, made no further than they are asked for."""
    for new in (True, False):
        left = [(each, each.new if new else each.bits & ~each.new) for each in matched]
        for better in (_in_a_row, _in_title, _in_heading, _anywhere):
            left = [(each, bits) for each, bits in left if bits]
            best = [bits & better(each, query) for each, bits in left]
            walks = [_walk(each.shelf, bits) for (each, _), bits in zip(left, best, strict=True) if bits]
            yield from (posting_id for _, posting_id in heapq.merge(*walks))
            left = [(each, bits & ~first) for (each, bits), first in zip(left, best, strict=True)]


def _in_a_row(each: Matched, query: Query) -> int:
    return each.hits[query.phrase].title if query.phrase else 0


def _in_title(each: Matched, query: Query) -> int:
    return each.shelf.having(query.branches, each.hits, TITLE)


def _in_heading(each: Matched, query: Query) -> int:
    return each.shelf.having(query.branches, each.hits, HEADING)


def _anywhere(each: Matched, _query: Query) -> int:
    return each.bits


def _walk(shelf: Shelf, bits: int) -> Iterator[tuple[float, UUID]]:
    return ((-shelf.dated[at], shelf.id(at)) for at in places_in(bits))
