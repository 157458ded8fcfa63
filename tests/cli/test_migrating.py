import asyncio

from cli.migrating import migrate_database
from tests.shared.schedules.test_fingerprints import AFTER, BEFORE, schedules_of


def test_migrating_says_what_it_did_and_which_schedules_no_longer_fit(empty_database_url: str) -> None:
    (applied,) = migrate_database(empty_database_url, BEFORE)
    assert applied.startswith("applied 0001_initial, ")
    _, unfit = asyncio.run(schedules_of(empty_database_url, {"limit": 20}, {"limit": 7}))
    assert list(migrate_database(empty_database_url, BEFORE)) == []
    changed, refused = migrate_database(empty_database_url, AFTER)
    assert changed == "demo takes other parameters now: 1 of 2 schedules have new fingerprints"
    assert refused.startswith(f"demo no longer takes the parameters of 1 of 2 schedules, such as {unfit.id}: ")
