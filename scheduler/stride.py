"""Strides: how much of the open ticks the next chunk takes, and where a big tick is cut."""

from dataclasses import dataclass
from math import ceil
from uuid import UUID

NARROWER = 10  # an attempt that is held costs a second, one that isn't costs milliseconds: so not by half
MOST_TICKS = 100  # in one chunk: what is sorted when all of them turn out to be big
MOST_PARTS = 8
FULL = 0.95  # of a chunk: room for a part that holds more than was guessed


@dataclass
class Stride:
    """How many schedules to take at once: `full`, or a part of the stretch in which one is known to be held.

    `ticks` is how many it takes to fill a chunk, by what the last chunk saw.
    """

    full: int
    stretch: int = 0
    ticks: int = 1

    @property
    def size(self) -> int:
        """The size of the next chunk."""
        return max(1, self.stretch // NARROWER) if self.stretch else self.full

    @property
    def at_most(self) -> int:
        """How many ticks the next chunk may take; a single schedule is looked for in a single tick."""
        return min(self.ticks, self.size)

    def passed(self, seen: int, ticks: int) -> None:
        """So many schedules of so many ticks are settled; after the whole stretch chunks are full again."""
        self.stretch = max(0, self.stretch - seen)
        self.ticks = min(MOST_TICKS, max(1, self.full * ticks // max(1, seen)))


def cut(begin: UUID, end: UUID, *, last: UUID, seen: int, chunk: int) -> list[UUID]:
    """Where to cut what is left of a tick into parts alike, each a little less than some whole chunks; or nowhere.

    `seen` schedules lie between `begin` and `last`. Ids are random, so as many to the step lie between there and `end`.
    """
    left, full = (end.int - last.int) * seen / (last.int - begin.int), chunk * FULL
    if left <= chunk:
        return []
    chunks = ceil(left / full / MOST_PARTS)
    parts = ceil(left / full / chunks)
    return [UUID(int=last.int + (end.int - last.int) * part // parts) for part in range(1, parts)]
