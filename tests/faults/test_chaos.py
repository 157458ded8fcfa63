import json

import pytest

from cli.postgres import EmbeddedPostgres
from tests.faults.chaos import Chaos, chaotic
from tests.faults.proxy import Proxy
from tests.faults.support import SHORT, System, seed


def survive(system: System, server: EmbeddedPostgres, seconds: float) -> None:
    system.pace = chaotic(SHORT)
    with Proxy(system.url) as proxy:
        system.reached_at = proxy.url
        came_to = Chaos(system, server, proxy, seed(), seconds).run()
    print(json.dumps(came_to))  # noqa: T201 - for who has to understand it
    assert came_to["wrong"] == {}
    assert came_to["statuses"]["success"] > 3 * seconds


def test_half_a_minute_of_everything(stoppable: System, own_postgres: EmbeddedPostgres) -> None:
    survive(stoppable, own_postgres, 17)  # and until all of it has ended


@pytest.mark.slow
def test_two_minutes_of_everything(stoppable: System, own_postgres: EmbeddedPostgres) -> None:
    survive(stoppable, own_postgres, 110)
