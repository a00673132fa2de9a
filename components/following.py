"""Follows something in AWS to its end, and shows its progress in Pulumi's display meanwhile."""

import asyncio
from typing import Protocol

import pulumi

from components.deployment import State


class Watched(Protocol):
    """What is looked at again and again; `progress` says in words how it stood at the last look."""

    progress: str

    def look(self) -> State:
        """Return how it stands now."""
        ...


async def follow(watched: Watched, resource: pulumi.Resource, *, interval: float) -> State:
    """Look every `interval` seconds until it no longer runs, and return how it ended; progress shows at `resource`."""
    told = ""
    while (state := await asyncio.to_thread(watched.look)) == "running":
        if watched.progress != told:
            told = watched.progress
            pulumi.log.info(told, resource, ephemeral=True)
        await asyncio.sleep(interval)
    return state
