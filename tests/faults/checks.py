"""What must hold after every fault: a witness in the database writes down what happens to runs, and is heard here."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from shared.queue.disagreements import DISAGREEMENTS

LEDGER = """
create table entry (
    run_id uuid not null, attempt int not null, what text not null, pid int not null,
    at timestamptz not null default clock_timestamp()
)
"""
WITNESS = """
create schema witness;
create table witness.ended (run_id uuid not null, was text, status text);
create table witness.claimed (run_id uuid not null, was int not null, attempt int not null, worker_id uuid);
create table witness.rescued (run_id uuid not null, alive bool not null);

create function witness.of_run() returns trigger language plpgsql security definer as $$
begin
    insert into witness.ended values (old.id, old.status, case when tg_op = 'UPDATE' then new.status end);
    return null;
end $$;
create function witness.of_queue() returns trigger language plpgsql security definer as $$
begin
    insert into witness.claimed values (new.run_id, old.attempt, new.attempt, new.worker_id);
    return null;
end $$;
create function witness.of_rescue() returns trigger language plpgsql security definer as $$
begin
    insert into witness.rescued
    select new.run_id, exists (
        select from foxtrot.workers w where w.id = old.worker_id and foxtrot.alive(w.lease_expires_at)
    );
    return null;
end $$;

create trigger ended after update on foxtrot.runs for each row
    when (old.status is not null or new.status is not null) execute function witness.of_run();
create trigger deleted after delete on foxtrot.runs for each row execute function witness.of_run();
create trigger claimed after update on foxtrot.queue for each row
    when (new.attempt <> old.attempt or new.worker_id is not null and old.worker_id is distinct from new.worker_id)
    execute function witness.of_queue();
create trigger rescued after update on foxtrot.queue for each row
    when (new.rescues > old.rescues) execute function witness.of_rescue();
"""
WRONG = """
with acknowledged as (
    select unnest(%(acknowledged)s::uuid[]) as id
), effect as (
    select * from unnest(%(done)s::uuid[], %(attempts)s::int[]) as e (run_id, attempt)
), hollow as (
    -- Successes of an attempt that had no effect; that of a durable step may be of an attempt before.
    select r.id
    from foxtrot.runs r
    where r.status = 'success' and not exists (
        select from effect e
        where e.run_id = r.id
            and (e.attempt = r.attempt or e.attempt < r.attempt and r.parameters ->> 'act' = 'step')
    )
)
select
    (select count(*) from acknowledged left join foxtrot.runs r using (id) where r.status is null) as lost,
    (select count(*) from acknowledged a where not exists (select from witness.ended e where e.run_id = a.id))
        as never_ended,
    (select count(*) - count(distinct run_id) from witness.ended) as ended_twice,
    (select count(*) from witness.ended where was is not null or status is null) as changed_after_the_end,
    (select count(*) from witness.claimed where attempt <= was) as attempts_that_did_not_rise,
    (select count(*) - count(distinct (run_id, attempt)) from witness.claimed) as attempts_claimed_twice,
    (select count(*) from foxtrot.runs r where r.status is not null and exists (
        select from witness.claimed c where c.run_id = r.id and c.attempt > coalesce(r.attempt, 0)
    )) as ended_by_an_older_attempt,
    (select count(*) from witness.rescued where alive) as rescued_from_the_living,
    (select count(*) from foxtrot.queue) as left_in_the_queue,
    (select count(*) from hollow) as successes_without_effect
"""
STATUSES = "select coalesce(status, 'live') as status, count(*)::int from foxtrot.runs group by 1 order by 1"
EFFECTS = "select run_id, attempt, count(*)::int from entry where what = 'effect' group by 1, 2"
BEGINS = "select run_id, attempt, count(*)::int from entry where what = 'begin' group by 1, 2"
CLAIMS = "select count(*)::int as claims, (count(*) filter (where attempt > 1))::int as again from witness.claimed"


@dataclass(frozen=True)
class Sums:
    """What came of it all."""

    runs: int
    statuses: dict[str, int]
    claims: int
    again: int  # claims that were not a run's first
    effects: int
    repeated_effects: int  # at least once: an attempt that was cut short may have had its effect

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Reader:
    """Asks a database the same again and again, over one connection, and another one after that broke."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._conn: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query, committed."""
        try:
            return self._rows(query, values)
        except psycopg.OperationalError:
            self.close()
            return self._rows(query, values)

    def close(self) -> None:
        """Let go of the connection."""
        if self._conn:
            self._conn.close()
        self._conn = None

    def _rows(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        if self._conn is None:
            self._conn = psycopg.connect(self.url, autocommit=True, prepare_threshold=None, row_factory=dict_row)
        cursor = self._conn.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def watch(url: str) -> None:
    """Let the witness write down every end and every claim from now on."""
    with psycopg.connect(url) as conn:
        conn.execute(WITNESS)


def check(system: Reader, ledger: Reader, acknowledged: Collection[UUID]) -> Sums:
    """Fail unless nothing is lost, doubled, changed, held or told differently; what came of it all."""
    assert faults(system, ledger, acknowledged) == {}
    return sums(system, ledger)


def faults(system: Reader, ledger: Reader, acknowledged: Collection[UUID]) -> dict[str, int]:
    """What is wrong, by name, with how often; empty when nothing is."""
    effects = ledger.rows(EFFECTS)
    done, attempts = [row["run_id"] for row in effects], [row["attempt"] for row in effects]
    with psycopg.connect(system.url, prepare_threshold=None, row_factory=dict_row) as conn:
        values = {"acknowledged": list(acknowledged), "done": done, "attempts": attempts}
        (found,) = conn.execute(WRONG, values).fetchall()
        found["disagreements"] = len(conn.execute(DISAGREEMENTS, {"at_most": 100}).fetchall())
    found["attempts_begun_twice"] = sum(row["count"] > 1 for row in ledger.rows(BEGINS))
    return {name: int(count) for name, count in found.items() if count}


def sums(system: Reader, ledger: Reader) -> Sums:
    """What came of it all, in numbers."""
    statuses = {row["status"]: row["count"] for row in system.rows(STATUSES)}
    effects = [row["run_id"] for row in ledger.rows(EFFECTS)]
    (claims,) = system.rows(CLAIMS)
    repeated = len(effects) - len(set(effects))
    return Sums(sum(statuses.values()), statuses, **claims, effects=len(effects), repeated_effects=repeated)
