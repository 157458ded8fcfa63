"""How schedules and their slots look in a terminal, times in each schedule's own zone. Text is never read as markup."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.show import COLOURS, table_of
from shared.kinds import Status
from shared.preview import Preview
from shared.schedules import Backfilled, ReadSchedule, Slot

MARKS = {
    "success": "●", "failed": "✗", "cancelled": "○", "pending": "…", "running": "…", "due": "…", "skipped": "·",
}  # fmt: skip
LISTED = 12  # slots below the strip


def schedules(found: Sequence[tuple[str, ReadSchedule]]) -> Table:
    """A table of schedules by owner."""
    table = table_of("user", "key", "what", "next slot", "last success", "result")
    for owner, schedule in found:
        table.add_row(
            Text(owner),
            Text(schedule.key),
            Text(_what(schedule)),
            Text(_next(schedule)),
            Text(_local(schedule.last_success_at, schedule.timetable_zone) or "never"),
            Text(schedule.headline or ""),
        )
    return table


def schedule(found: ReadSchedule, previewed: Preview) -> Group:
    """One schedule: what, when in words, and what came of it last."""
    table = Table.grid(padding=(0, 2, 0, 0))
    rows = {
        "key": found.key,
        "id": str(found.id),
        "what": _what(found),
        "when": f"{previewed.sentence}, {found.timetable_zone}" + (" (your zone)" if found.zone == "user" else ""),
        "crons": "; ".join(found.crons),
        "next slot": _next(found),
        "last success": _local(found.last_success_at, found.timetable_zone) or "never",
        "result": found.headline or "",
        "spread": f"{found.spread_seconds} s" if found.spread_seconds else "",
        "catch up": found.catch_up,
        "note": found.note or "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, "bold"), Text(value))
    return Group(table, *_warnings(previewed))


def preview(found: Preview) -> Group:
    """What times mean."""
    table = table_of("local time", "UTC", "")
    for slot in found.slots:
        local = datetime.fromisoformat(slot.local)
        table.add_row(Text(f"{local:%a %d %b %H:%M %z}"), Text(f"{slot.at:%d %b %H:%M}"), Text(slot.relative))
    return Group(Text(f"{found.sentence}, {found.zone}"), table, *_warnings(found))


def slots(zone: str, found: Sequence[Slot]) -> Group:
    """A strip of the last slots, how many came to what, and the newest of them in words."""
    place = ZoneInfo(zone)
    strip = Text.assemble(*((MARKS.get(slot.outcome, "?"), _colour(slot.outcome)) for slot in found))
    counts = Counter(slot.reason or slot.outcome for slot in found)
    table = table_of("slot", "outcome", "")
    for slot in list(found)[: -LISTED - 1 : -1]:
        table.add_row(
            Text(f"{slot.scheduled_for.astimezone(place):%a %d %b %H:%M}"),
            Text(slot.reason or slot.outcome, _colour(slot.outcome)),
            Text(slot.headline or slot.note or (f"covered by run {slot.run_id}" if slot.reason == "overlap" else "")),
        )
    summary = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return Group(strip, Text(f"{summary} ({zone})"), Text(""), table)


def backfilled(filled: Backfilled, zone: str, *, dry_run: bool) -> str:
    """What a backfill came to, in one sentence."""
    done = "would be made" if dry_run else "made"
    stretch = f", {_local(filled.first, zone)} to {_local(filled.last, zone)}" if filled.first else ""
    return f"{filled.runs} of {filled.slots} slots {done} into runs{stretch}; {filled.settled} were settled already"


def _what(schedule: ReadSchedule) -> str:
    return " ".join([schedule.kind, *(f"{name}={value}" for name, value in schedule.parameters.items())])


def _next(schedule: ReadSchedule) -> str:
    if not schedule.enabled:
        return f"paused: {schedule.pause_note}" if schedule.pause_note else "paused"
    if schedule.dormant:
        return "dormant until its user is back"
    return f"{_local(schedule.next_slot, schedule.timetable_zone)} {schedule.timetable_zone}"


def _warnings(found: Preview) -> list[Text]:
    return [Text(f"note: {warning.text}", "yellow") for warning in found.warnings]


def _colour(outcome: str) -> str:
    return COLOURS.get(Status(outcome), "") if outcome in set(Status) else "dim"


def _local(at: datetime | None, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %H:%M}" if at else ""
