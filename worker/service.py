"""Service: a worker process, from its start to its exit code."""

import asyncio
import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import structlog

from shared.kinds import Registry
from shared.settings import Settings
from worker.execution import MOST_ABANDONED
from worker.worker import open_worker

log = structlog.get_logger()


async def run_worker(
    settings: Settings,
    url: str,
    registry: Registry,
    *,
    kinds: list[str] | None = None,
    slots: int | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
) -> int:
    """Work until `stop` is set; returns the exit code: 0, or 1 when not everything was recorded or handlers hang.

    `handle_signals` is for a process of the worker's own: SIGTERM and SIGINT set `stop`, the same signal once more ends
    the process at once, and so does the end of the work when a handler is still stuck.
    """
    loop, stop = asyncio.get_running_loop(), stop or asyncio.Event()
    if handle_signals:
        _handle_signals(loop, stop)
    async with open_worker(settings, url, registry, kinds=kinds, slots=slots, stop=stop) as worker:
        threads = ThreadPoolExecutor((slots or settings.worker_slots) + MOST_ABANDONED, thread_name_prefix="handler")
        loop.set_default_executor(threads)
        gc.freeze()  # what was imported stays: to look through it again stops all runs for 60 ms, twice a second
        gc.set_threshold(50_000)  # a claim of 500 makes thousands of objects, hardly any of which refer to each other
        log.info("worker_started", worker_id=str(worker.me.id), kinds=kinds or sorted(registry.kinds))
        exit_code = await worker.run(url)
    if handle_signals and (worker.attempts.running or worker.attempts.abandoned):
        sys.stderr.flush()
        os._exit(exit_code)  # the usual way out waits for every task and thread
    return exit_code


def _handle_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    seen: set[int] = set()

    def on_signal(number: int) -> None:
        # Counted by signal: Ctrl-C reaches the whole process group, and a parent may add its SIGTERM to that.
        if number in seen:
            os._exit(128 + number)
        seen.add(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
