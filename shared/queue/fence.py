"""The fence: what a worker must still hold of a run for its word to count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID


class Fence(NamedTuple):
    """An attempt by its key: the queue has each number of a run at most once."""

    run_id: UUID
    attempt: int


@dataclass(frozen=True)
class Held:
    """What a worker says of an attempt that it holds."""

    run_id: UUID
    bucket: int
    attempt: int

    @property
    def fence(self) -> Fence:
        """The attempt that this is about."""
        return Fence(self.run_id, self.attempt)


def fence_columns(held: Sequence[Held]) -> dict[str, list[Any]]:
    """The three arrays that find the rows of `held`; give them in run_id order, in which rows are locked."""
    return {
        "run_ids": [one.run_id for one in held],
        "buckets": [one.bucket for one in held],
        "attempts": [one.attempt for one in held],
    }
