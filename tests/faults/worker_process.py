"""A worker process of the fault tests: as `foxtrot worker`, with these tests' kinds and at their own pace."""

import asyncio
import json
import os
import resource
import sys
from datetime import timedelta

import psutil

import shared.settings

PACE = "FAULTS_PACE"
MEMORY = "FAULTS_MEMORY"


def main() -> int:
    take_pace(json.loads(os.environ[PACE]))
    if room := int(os.environ[MEMORY]):
        limit_memory(room)
    return asyncio.run(work())


def limit_memory(room: int) -> None:
    """Leave so many bytes of address space for what is not there yet."""
    limit = psutil.Process().memory_info().vms + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def take_pace(seconds: dict[str, float]) -> None:
    """Set the constants, before anything that copies them is imported."""
    for name in ("LEASE", "RENEW_EVERY", "RESCUE_EVERY", "RECONCILE_EVERY"):
        setattr(shared.settings, name, timedelta(seconds=seconds[name]))
    from worker import execution, leases  # noqa: PLC0415 - after the constants

    leases.LOOP_STALL = timedelta(seconds=seconds["LOOP_STALL"])
    execution.PATIENCE = seconds["PATIENCE"]


async def work() -> int:
    from shared.kinds import load_registry  # noqa: PLC0415 - after the constants
    from shared.logs import configure_logs  # noqa: PLC0415
    from worker.service import run_worker  # noqa: PLC0415

    settings = shared.settings.Settings.load()
    configure_logs(settings.log_level)
    assert settings.database_url
    url, registry = settings.database_url.get_secret_value(), load_registry(settings.foxtrot_kinds)
    return await run_worker(settings, url, registry, handle_signals=True)


if __name__ == "__main__":
    sys.exit(main())
