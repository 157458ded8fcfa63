from itertools import pairwise
from uuid import UUID

import pytest

from scheduler.stride import Stride, cut

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)


@pytest.mark.parametrize("held_at", [0, 1, 776, 9_999])
def test_the_stretch_that_is_held_narrows_to_one(held_at: int) -> None:
    stride, position, held, chunks = Stride(10_000), 0, 0, 0
    while (size := stride.size) > 1 or position != held_at:
        chunks += 1
        if position <= held_at < position + size:
            stride.stretch = size
            held += 1
        else:
            stride.passed(size, 1)
            position += size
    assert held <= 4
    assert chunks <= 100
    stride.stretch = 0
    assert stride.size == 10_000


def test_a_stretch_has_an_end_when_others_settle_it_meanwhile() -> None:
    stride = Stride(100, stretch=30)
    for _ in range(10):
        stride.passed(seen=3, ticks=1)
    assert stride.size == 100


def test_a_chunk_takes_as_many_ticks_as_the_last_one_would_have_needed_to_be_full() -> None:
    stride = Stride(10_000)
    assert stride.at_most == 1
    stride.passed(seen=500, ticks=1)
    assert stride.at_most == 20
    stride.passed(seen=10_000, ticks=16)
    assert stride.at_most == 16
    stride.passed(seen=10_000, ticks=1)
    assert stride.at_most == 1
    stride.passed(seen=0, ticks=1)
    assert stride.at_most == 100


def test_a_single_schedule_is_looked_for_in_a_single_tick() -> None:
    assert Stride(10_000, stretch=5, ticks=20).at_most == 1


def test_what_is_left_of_a_big_tick_is_cut_into_eight_parts_that_are_alike() -> None:
    last = UUID(int=2**128 // 100)
    cuts = cut(FIRST, LAST, last=last, seen=10_000, chunk=10_000)
    widths = [later.int - earlier.int for earlier, later in pairwise([last, *cuts, LAST])]
    assert len(widths) == 8
    assert max(widths) - min(widths) <= 1


@pytest.mark.parametrize(
    ("settled", "parts"), [(0.9, 1), (0.5, 1), (0.49, 2), (0.34, 3), (0.2, 5), (0.12, 8), (0.1, 5)]
)
def test_a_part_is_a_little_less_than_some_whole_chunks(settled: float, parts: int) -> None:
    last = UUID(int=int(2**128 * settled))
    assert len(cut(FIRST, LAST, last=last, seen=1_000, chunk=1_000)) == parts - 1
    chunks = (1 - settled) / settled / parts
    assert 0.5 < chunks % 1 < 0.96 or parts == 1
