"""The wish: what a user may say of a schedule, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self
from uuid import UUID

from shared.cron import next_slots
from shared.errors import InvalidInputError
from shared.settings import Settings

USER_ZONE = "user"
KEPT = "kept:"
MIN_INTERVAL = timedelta(minutes=5)
LONGEST_KEY = 100
LONGEST_NOTE = 500
DOTS = {".", ".."}  # an address can't end in these
LONGEST_SPREAD = 86_400
SLOTS_COMPARED = 50  # to see how far apart the slots of a timetable are


class CatchUp(StrEnum):
    """What becomes of slots that were missed: only the newest within 24 h, the last 100, or none."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True)
class Wish:
    """What a user wants done, and when: `key` is their own name for it, `parameters` are JSON as the kind has them.

    `crons` are 1 to 10 expressions, `zone` an IANA name, or `user` for wherever the user is. `spread_seconds` lets runs
    start up to that much after their slot, each schedule at a moment of its own.
    """

    key: str
    kind: str
    parameters: Any
    crons: Sequence[str]
    zone: str = USER_ZONE
    spread_seconds: int = 0
    catch_up: CatchUp = CatchUp.LATEST
    enabled: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Rules:
    """What an installation lets schedules be: the zone of users whose own is not known, and how many one may have.

    `at_most` holds for new schedules; None is no limit. `min_interval` is the least time between two slots.
    """

    default_zone: str
    min_interval: timedelta = MIN_INTERVAL
    at_most: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of the settings."""
        return cls(settings.default_zone, at_most=settings.schedules_per_user)


def daily(times: Sequence[str]) -> list[str]:
    """The cron expressions of times of day such as `08:00`."""
    return [f"{int(minute)} {int(hour)} * * *" for hour, minute in (time.split(":") for time in times)]


def check_key(key: str) -> None:
    """Raise `InvalidInputError` for what can't be a key: it stands in addresses, where an id may stand as well."""
    hint = "Choose a short name such as morning."
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable() or "/" in key or key != key.strip() or key in DOTS:
        raise InvalidInputError(
            f"key {key[:LONGEST_KEY]!r} must have 1 to {LONGEST_KEY} printable characters, no slash, not . or ..",
            field="key",
            hint=hint,
        )
    if _parse_id(key):
        raise InvalidInputError(f"key {key!r} looks like an id", field="key", hint=hint)


def check_new_key(key: str) -> None:
    """Raise `InvalidInputError` for a key that only keeping a search may make."""
    if key.startswith(KEPT):
        raise InvalidInputError(
            f"key {key!r} begins with {KEPT}, which is for kept searches",
            field="key",
            hint="Start a run with keep: true to make one.",
        )


def named(name: str) -> dict[str, Any]:
    """The parameters by which a statement finds the schedule of this id or key."""
    return {"schedule_id": _parse_id(name), "key": None if "\x00" in name else name}


def _parse_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def check_wish(wish: Wish) -> None:
    """Raise `InvalidInputError` for a spread or a note that can't be."""
    if not 0 <= wish.spread_seconds <= LONGEST_SPREAD:
        raise InvalidInputError(
            f"spread_seconds {wish.spread_seconds} is not between 0 and {LONGEST_SPREAD}", field="spread_seconds"
        )
    check_note(wish.note)


def check_note(note: str | None) -> None:
    """Raise `InvalidInputError` for a note that can't be kept."""
    if "\x00" in (note or ""):
        raise InvalidInputError("note must not hold NUL", field="note")
    if len(note or "") > LONGEST_NOTE:
        raise InvalidInputError(f"note has {len(note or '')} characters, at most {LONGEST_NOTE} are kept", field="note")


def check_spread(seconds: int, crons: list[str], zone: str, now: datetime) -> None:
    """Raise `InvalidInputError` when a run could start after the next slot is due."""
    if not seconds:
        return
    gap = min(later - slot for slot, later in pairwise(next_slots(crons, zone, now, SLOTS_COMPARED)))
    if timedelta(seconds=seconds) > gap:
        raise InvalidInputError(
            f"spread_seconds {seconds} is more than the {gap.total_seconds():.0f} s between two slots",
            field="spread_seconds",
            hint="Let runs start before the next slot is due.",
        )
