import random

from shared.queue import disagreements
from tests.clock import Clock
from tests.faults.killed_schedulers import Chaos
from tests.scheduler.support import on_database


def test_schedulers_that_are_killed_at_random_settle_every_slot_once(clock: Clock) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    came_to = Chaos(clock, seed, schedules=5_000, rounds=2, kills=3).run()
    assert came_to["wrong"] == dict.fromkeys(came_to["wrong"], 0)
    assert came_to["runs"] + came_to["skips"] == 2 * 5_000
    assert min(came_to["runs"], came_to["skips"]) > 0
    assert on_database(clock.url, disagreements) == []
