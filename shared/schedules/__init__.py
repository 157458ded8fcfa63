"""Schedules, the users' standing wishes: put, edit, keep and read them and their slots, backfill, wake, pause."""

from shared.schedules.backfill import Backfilled, backfill
from shared.schedules.edit import delete_schedule, edit_schedule, pause_schedule, require_stored
from shared.schedules.fingerprints import Followed, follow_models, follow_org
from shared.schedules.kept import Enrolled, enroll_some, keep_search
from shared.schedules.pausing import PausedSchedule, pause_after_failures, pause_failing
from shared.schedules.put import Put, put_schedule
from shared.schedules.read import ReadSchedule, find_schedule, list_schedules
from shared.schedules.slots import Slot, read_slots
from shared.schedules.waking import wake_schedules
from shared.schedules.wish import KEPT, USER_ZONE, CatchUp, Rules, Wish, daily
from shared.schedules.zones import follow_user, move_user, zone_of_user

__all__ = [
    "KEPT",
    "USER_ZONE",
    "Backfilled",
    "CatchUp",
    "Enrolled",
    "Followed",
    "PausedSchedule",
    "Put",
    "ReadSchedule",
    "Rules",
    "Slot",
    "Wish",
    "backfill",
    "daily",
    "delete_schedule",
    "edit_schedule",
    "enroll_some",
    "find_schedule",
    "follow_models",
    "follow_org",
    "follow_user",
    "keep_search",
    "list_schedules",
    "move_user",
    "pause_after_failures",
    "pause_failing",
    "pause_schedule",
    "put_schedule",
    "read_slots",
    "require_stored",
    "wake_schedules",
    "zone_of_user",
]
