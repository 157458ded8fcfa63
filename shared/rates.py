"""Rates: all workers together call a provider only so often."""

from dataclasses import dataclass
from datetime import timedelta

from psycopg import AsyncConnection

from shared.db import fetch_one, load_sql

TAKE_TURN = load_sql(__file__, "take_turn")


@dataclass(frozen=True)
class Turn:
    """How long to wait before the call that was granted."""

    wait: timedelta


async def take_turn(conn: AsyncConnection, provider: str, calls_a_minute: float) -> timedelta:
    """Take the next call to the provider, in the caller's transaction; returns how long to wait before making it.

    Calls are spread evenly. Commit before waiting, or everybody waits for you.
    """
    values = {"provider": provider, "every": timedelta(minutes=1) / calls_a_minute}
    turn = await fetch_one(conn, TAKE_TURN, values, Turn)
    assert turn is not None  # noqa: S101 - the row is made or moved
    return turn.wait
