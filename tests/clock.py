"""A database with a clock of its own: what Postgres calls `now()` there is what the test says."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

# Names are looked up here before pg_catalog, so that every plain now() written in a migration or a statement is ours.
# Keywords such as current_timestamp are not looked up and must not be used.
INSTALL = """
create schema test_clock;
create table test_clock.state (
    frozen timestamptz, shift interval not null, server_started_at timestamptz not null
);
insert into test_clock.state values (null, '0', '-infinity');
create sequence test_clock.calls;

create function test_clock.now() returns timestamptz language sql stable parallel safe
return (select coalesce(frozen, pg_catalog.now() + shift) from test_clock.state);

-- Never the same twice, even when frozen: statements mark rows with it.
create function test_clock.clock_timestamp() returns timestamptz language sql volatile
return (
    select coalesce(
        frozen + nextval('test_clock.calls') * interval '1 microsecond', pg_catalog.clock_timestamp() + shift
    )
    from test_clock.state
);

create function test_clock.pg_postmaster_start_time() returns timestamptz language sql stable parallel safe
return (select server_started_at from test_clock.state);

grant usage on schema test_clock to public;
grant select on test_clock.state to public;
grant usage on sequence test_clock.calls to public;
"""
# A setting of the database, so a clone of a template doesn't have it.
USE = """
do $$ begin
    execute format('alter database %I set search_path = test_clock, pg_catalog, public', current_database());
end $$
"""
WEEKS = "select foxtrot.make_run_partition(now() + n * interval '168 hours') from generate_series(-1, 1) as n"


def install(url: str) -> None:
    """Give an empty database the clock, before it is migrated."""
    with psycopg.connect(url) as conn:
        conn.execute(INSTALL)
        conn.execute(USE)


class Clock:
    """The clock of the database at `url`, the same for every connection to it; it runs until it is frozen.

    Each change makes the partitions of runs for the week it arrives in and both neighbours.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url) as conn:
            conn.execute(USE)

    def now(self) -> datetime:
        """What `now()` answers."""
        with psycopg.connect(self.url) as conn:
            return conn.execute("select now()").fetchone()[0]  # type: ignore[index,no-any-return]

    def freeze(self, at: datetime) -> None:
        """Stand still at `at` (aware)."""
        self._set("frozen = %s", [at])

    def advance(self, by: timedelta) -> None:
        """Go on by that much at once, or back when it is negative; what stands still stays frozen."""
        self._set("frozen = frozen + %s, shift = shift + %s", [by, by])

    def run(self) -> None:
        """Flow on from where it stands."""
        self._set("shift = coalesce(frozen - pg_catalog.clock_timestamp(), shift), frozen = null")

    def server_started(self, at: datetime) -> None:
        """Let the server have started at `at` (aware), as after an outage; before, it has been up for ever."""
        self._set("server_started_at = %s", [at])

    def _set(self, assignment: str, values: Sequence[Any] = ()) -> None:
        with psycopg.connect(self.url) as conn:
            conn.execute(f"update test_clock.state set {assignment}", values)
            conn.execute(WEEKS)
