"""What a pass asks again and again is answered from an index, however much history there is."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from scheduler.expansion import OPEN_TICKS
from scheduler.service import OUTLOOK
from scheduler.ticks import DUE
from tests.clock import Clock

NOW = datetime(2031, 3, 30, 8, tzinfo=UTC)
FILL = """
insert into foxtrot.timetables (crons, zone, next_slot, tzdata)
select array[n::text], 'UTC', now() + n * interval '1 minute', '2026a' from generate_series(1, 2000) as n;
insert into foxtrot.ticks (timetable_id, scheduled_for, newest, finished_at)
select id, now() - n * interval '1 hour', true, now() from foxtrot.timetables, generate_series(1, 10) as n;
insert into foxtrot.ticks (timetable_id, scheduled_for, newest) select id, now(), true from foxtrot.timetables;
analyze;
"""


@pytest.mark.parametrize(
    ("statement", "values", "index", "absent"),
    [
        (DUE, {"tzdata": "2026b", "at_most": 500}, "timetables_due", {"Seq Scan"}),
        (
            OPEN_TICKS,
            {"timetable_ids": [], "slots": [], "throughs": [], "at_most": 100},
            "ticks_open",
            {"Seq Scan", "Sort"},
        ),
        (OUTLOOK, {}, "timetables_due", {"Seq Scan", "Sort"}),
    ],
    ids=["due timetables", "open ticks", "outlook"],
)
def test_a_pass_looks_at_what_is_due_only(
    clock: Clock, statement: bytes, values: Mapping[str, Any], index: str, absent: set[str]
) -> None:
    clock.freeze(NOW)
    with psycopg.connect(clock.url) as conn:
        conn.execute(FILL)
        plan = "\n".join(line for (line,) in conn.execute(b"explain " + statement, values))
    assert f"using {index}" in plan
    assert {node for node in absent if node in plan} == set()
