import asyncio
from datetime import timedelta
from functools import partial

import pytest
from psycopg import OperationalError
from structlog.testing import capture_logs

from scheduler.metronome import Metronome
from shared.clock import utc_now

SOON = timedelta(seconds=0.01)
LONG = timedelta(hours=1)


def test_a_turn_that_fails_is_said_and_taken_again() -> None:
    stop, calls = asyncio.Event(), []

    async def fail() -> None:
        calls.append(1)
        if len(calls) == 3:
            stop.set()
        raise [OperationalError("away"), ValueError("broken"), OperationalError("away")][len(calls) - 1]

    async def scenario() -> None:
        metronome = Metronome(stop)
        metronome.call(fail, name="failing", every=SOON)
        await metronome.run()

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("turn_failed", "warning"),
        ("turn_failed", "error"),
        ("turn_failed", "warning"),
    ]


def test_a_turn_that_is_going_on_ends_before_the_metronome_does_and_is_not_taken_twice() -> None:
    stop, events = asyncio.Event(), []

    async def scenario() -> None:
        others = asyncio.Event()

        async def long_turn() -> None:
            events.append("begins")
            await others.wait()
            stop.set()
            await asyncio.sleep(0)
            events.append("ends")

        async def other() -> None:
            events.append("other")
            if events.count("other") == 3:
                others.set()

        metronome = Metronome(stop)
        metronome.call(long_turn, name="long", every=SOON)
        metronome.call(other, name="other", every=SOON)
        await metronome.run()

    asyncio.run(scenario())
    assert events.count("begins") == events.count("ends") == 1


def test_a_beat_that_falls_on_the_end_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    stop = asyncio.Event()

    async def scenario() -> None:
        metronome = Metronome(stop)

        async def last_turn() -> None:
            stop.set()
            for _ in range(10):  # until the metronome waits for nothing but this
                await asyncio.sleep(0)
            beat = partial(metronome.jobs.modify_job, "other", next_run_time=utc_now())
            asyncio.get_running_loop().call_soon(beat)

        metronome.call(_nothing, name="other", every=LONG)
        metronome.call(last_turn, name="last", every=LONG)
        await metronome.run()
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert caplog.messages == []


def test_beats_are_brought_back_when_the_machines_clock_was_set_back() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        metronome = Metronome(stop)
        metronome.call(_nothing, name="hourly", every=LONG)
        metronome.call(_nothing, name="often", every=timedelta(minutes=1))
        metronome.jobs.start(paused=True)
        ahead = utc_now() + timedelta(minutes=30)
        for job in metronome.jobs.get_jobs():
            job.modify(next_run_time=ahead)
        metronome.recall()
        beats = {job.id: job.next_run_time for job in metronome.jobs.get_jobs()}
        assert beats["hourly"] == ahead
        assert beats["often"] <= utc_now()
        metronome.jobs.shutdown()

    asyncio.run(scenario())


async def _nothing() -> None:
    pass
