"""Shelf: the open postings of one fetch unit in memory, and sets of them as integers, a bit for each posting."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from kinds.job_search.query import Branch

MOST_WORDS = 2_000
ID = 16  # bytes


class Hits(NamedTuple):
    """The postings of a shelf that have a word: anywhere, in their heading, in their title."""

    anywhere: int
    heading: int
    title: int


ANYWHERE, HEADING, TITLE = range(3)
NOWHERE = Hits(0, 0, 0)


@dataclass
class Shelf:
    """A unit's open postings as of `generation`, newest first: a posting is its place in these lists, a set is bits.

    `ids` has 16 bytes for each: a quarter of what objects take, and read ten times as fast. `dated` is in seconds since
    1970. A twin key of 0 is not known. What is asked of a shelf twice is remembered: a shelf never changes, a new
    generation is a new shelf.
    """

    source: str
    board: str
    generation: int
    complete: bool
    ids: bytes
    opened: list[int]
    dated: list[float]
    remote: list[bool | None]
    places: list[str]
    twins: list[int]
    words: dict[tuple[bytes, str], Hits] = field(default_factory=dict)
    shared: int = 0
    _sets: dict[object, int] = field(default_factory=dict)
    _by_id: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_id = {posting_id: at for at, posting_id in enumerate(_ids(self.ids))}

    @property
    def everything(self) -> int:
        """All of them."""
        return (1 << len(self.dated)) - 1

    def id(self, at: int) -> UUID:
        """The id of one."""
        return UUID(bytes=self.ids[at * ID : (at + 1) * ID])

    def holding(self, ids: bytes) -> int:
        """Those of the ids that are here."""
        known = self._by_id
        return _bits((known[posting_id] for posting_id in _ids(ids) if posting_id in known), len(self.dated))

    def learn(self, word: tuple[bytes, str], hits: Hits) -> None:
        """Remember where a word occurs; it is named with the statement that found it."""
        if len(self.words) >= MOST_WORDS:
            self.words.clear()
        self.words[word] = hits

    def share(self, twins: AbstractSet[int]) -> None:
        """Take which twin keys other shelves have too; one they had may still matter to a search under way."""
        self.shared |= _bits((at for at, twin in enumerate(self.twins) if twin in twins), len(self.dated))

    def opened_after(self, generation: int) -> int:
        """Those opened in a later generation."""
        if generation >= self.generation:
            return 0
        if generation == 0:
            return self.everything
        return self._once(generation, (opened > generation for opened in self.opened))

    def dated_after(self, seconds: float) -> int:
        """Those dated later."""
        return (1 << bisect_left(self.dated, -seconds, key=lambda dated: -dated)) - 1

    def said_remote(self) -> int:
        """Those that say they are remote."""
        return self._once("remote", (bool(remote) for remote in self.remote))

    def at(self, location: str) -> int:
        """Those with a place whose folded name has `location` in it."""
        return self._once(f"at {location}", (location in place for place in self.places))

    def having(self, branches: Sequence[Branch], hits: Mapping[str, Hits], where: int) -> int:
        """Those that one of the branches holds for, its wanted words in the place `where` of their hits."""
        found = 0
        for branch in branches:
            left = self.everything
            for word in branch.wanted:
                left &= hits[word][where]
            for word in branch.unwanted:
                left &= ~hits[word].anywhere
            found |= left
        return found

    def _once(self, name: object, members: Iterable[bool]) -> int:
        if name not in self._sets:
            if len(self._sets) >= MOST_WORDS:
                self._sets.clear()
            self._sets[name] = _bits((at for at, member in enumerate(members) if member), len(self.dated))
        return self._sets[name]


def places_in(bits: int) -> Iterator[int]:
    """The members of a set, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _ids(joined: bytes) -> Iterator[bytes]:
    return (joined[at : at + ID] for at in range(0, len(joined), ID))


def _bits(members: Iterable[int], length: int) -> int:
    buffer = bytearray((length + 7) // 8)
    for at in members:
        buffer[at >> 3] |= 1 << (at & 7)
    return int.from_bytes(buffer, "little")
