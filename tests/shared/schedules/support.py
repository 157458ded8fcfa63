"""What tests of schedules share: somebody's wishes, done as the API does them, and the rows as they are."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from shared.errors import NotFoundError
from shared.models import User
from shared.schedules import Put, ReadSchedule, Rules, Wish, edit_schedule, find_schedule, pause_schedule, put_schedule
from shared.users import act_as
from tests.scheduler.support import REGISTRY, on_database
from tests.support import make_user

T = TypeVar("T")

AT = datetime(2031, 3, 10, 7, 30, tzinfo=UTC)  # no clock changes for weeks before and after
EIGHT = datetime(2031, 3, 10, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEEP = timedelta(days=30)
RULES = Rules("Europe/London")
DAILY = Wish(key="mine", kind="demo", parameters={"query": "python"}, crons=["0 8 * * *"], zone="UTC")


def changed(wish: Wish, **values: Any) -> Wish:
    return Wish(**(vars(wish) | values))


def new_user(url: str, **values: Any) -> User:
    return on_database(url, lambda conn: make_user(conn, **values))


def as_user(url: str, user: User, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do `work` in one transaction that sees the user's rows only, as the API does."""

    async def acting(conn: AsyncConnection) -> T:
        await act_as(conn, user.id)
        return await work(conn)

    return on_database(url, acting)


def as_service(url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do `work` in one transaction, as a worker or a scheduler that is not the owner of the tables."""

    async def serving(conn: AsyncConnection) -> T:
        await conn.execute("set local role foxtrot_service")
        return await work(conn)

    return on_database(url, serving)


def put(url: str, user: User, wish: Wish = DAILY, *, rules: Rules = RULES, new: bool = False) -> Put:
    return as_user(url, user, lambda conn: put_schedule(conn, REGISTRY, user.id, wish, rules=rules, new=new))


def edit(url: str, user: User, changes: Mapping[str, Any], name: str = "mine") -> Put:
    return as_user(url, user, lambda conn: edit_schedule(conn, REGISTRY, user.id, name, changes, rules=RULES))


def pause(url: str, user: User, note: str | None = None) -> Put:
    return as_user(url, user, lambda conn: pause_schedule(conn, REGISTRY, user.id, "mine", note, rules=RULES))


def resume(url: str, user: User) -> Put:
    return edit(url, user, {"enabled": True})


def shown(url: str, user: User, name: str = "mine") -> ReadSchedule:
    return as_user(url, user, lambda conn: find_schedule(conn, user.id, name))


def stored(url: str) -> dict[str, Any]:
    """The one schedule there is, as the table has it."""
    (row,) = table(url, "schedules")
    return row


def table(url: str, name: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as conn:
        return conn.execute(f"select * from foxtrot.{name} order by 1, 2".encode()).fetchall()


def fall_asleep(url: str) -> None:
    """Let every schedule be dormant from now on, as after a month without its user."""
    with psycopg.connect(url) as conn:
        conn.execute("update foxtrot.schedules set dormant = true")
        conn.execute("""
            insert into foxtrot.pauses (schedule_id, since, bucket, user_id, reason)
            select id, now(), bucket, user_id, 'inactive' from foxtrot.schedules
            on conflict do nothing
        """)


class Verb(Protocol):
    """What is done to one schedule of a user."""

    def __call__(self, conn: AsyncConnection, user_id: UUID, name: str) -> Awaitable[Any]: ...


def refuses_others(url: str, user: User, verb: Verb) -> None:
    """The verb finds neither somebody else's schedule, by key or id, nor one that isn't there, whoever it acts as."""
    neighbour = new_user(url, id=UUID(int=user.id.int ^ 1 << 100))
    assert neighbour.bucket == user.bucket
    before = table(url, "schedules")
    words = set()
    for name in ("mine", str(before[0]["id"]), str(uuid4()), "a\x00b"):
        for acting in (True, False):
            with pytest.raises(NotFoundError) as refused:
                _do(url, neighbour, partial(verb, user_id=neighbour.id, name=name), acting=acting)
            words.add((refused.value.message, refused.value.hint))
    assert len(words) == 1
    assert table(url, "schedules") == before


def _do(url: str, user: User, work: Callable[[AsyncConnection], Awaitable[Any]], *, acting: bool) -> None:
    if acting:
        as_user(url, user, work)
    else:
        on_database(url, work)  # row level security doesn't bind the owner, so the statement has to
