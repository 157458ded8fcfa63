"""Migrating: the schema to head, then what is stored of schedules to the models of this release."""

import asyncio
from collections.abc import Iterator

import migrations
from shared.db import open_pool
from shared.kinds import Registry
from shared.schedules import Followed, follow_models


def migrate_database(url: str, registry: Registry) -> Iterator[str]:
    """Do it, and yield a line for each thing that was done or that somebody should look at."""
    applied = migrations.upgrade(url)
    if applied:
        yield f"applied {', '.join(applied)}"
    for kind, seen, changed, unfit in asyncio.run(_follow(url, registry)):
        if changed:
            yield f"{kind} takes other parameters now: {changed:,} of {seen:,} schedules have new fingerprints"
        if unfit:
            yield (
                f"{kind} no longer takes the parameters of {len(unfit):,} of {seen:,} schedules, such as {unfit[0]}:"
                " their runs fail until somebody puts others"
            )


async def _follow(url: str, registry: Registry) -> list[Followed]:
    async with open_pool(url, "migrate", size=1) as pool:
        return await follow_models(pool, registry)
