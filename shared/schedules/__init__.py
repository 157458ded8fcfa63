"""Schedules, the users' standing wishes: put one, read them with their last success and next slot."""

from shared.schedules.put import USER_ZONE, CatchUp, Put, Wish, put_schedule
from shared.schedules.read import ReadSchedule, find_schedule, list_schedules

__all__ = [
    "USER_ZONE",
    "CatchUp",
    "Put",
    "ReadSchedule",
    "Wish",
    "find_schedule",
    "list_schedules",
    "put_schedule",
]
