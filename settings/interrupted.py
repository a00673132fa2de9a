"""Refuses an update after one that was interrupted, which would create again what AWS has already made.

The engine itself only warns. https://www.pulumi.com/docs/support/troubleshooting/common-issues/interrupted-updates/
"""

import asyncio
import json
import os

import pulumi

from components.lookups import LookUp

ANSWERS_SECONDS = 30
_FROM_THE_ENGINE = "PULUMI_CONFIG"
"""The environment variable in which the engine hands a program its settings; without one, no engine runs it."""


class Interrupted(pulumi.RunError):
    """An earlier update was interrupted; Pulumi shows the text and no traceback."""

    def __init__(self, stack: str, urns: list[str]) -> None:
        names = [f"{urn.split('::')[2].rpartition(':')[2]} {urn.rpartition('::')[2]}" for urn in urns]
        super().__init__(
            f"An update of {stack} was interrupted while AWS was making {', '.join(names)}. This one might make it a "
            f"second time, so nothing was changed. `make recover STACK={stack}` finds what is there; then again."
        )


def find_interrupted(stack: str) -> LookUp[list[str]]:
    """Look for creations that an earlier update of `stack` had begun and not ended, as the engine notes them.

    There are none in a preview, and where it can't be told.
    """

    async def begun() -> list[str]:
        if pulumi.runtime.is_dry_run() or _FROM_THE_ENGINE not in os.environ:
            return []
        return interrupted(await _exported(stack))

    return LookUp(begun(), missing=f"whether an update of {stack} was interrupted can't be told")


def interrupted(state: str) -> list[str]:
    """Return the URNs of the creations that an exported state has as begun; of the program's, not of the engine's."""
    try:
        pending = json.loads(state)["deployment"].get("pending_operations") or []
        begun = [each["resource"] for each in pending if each["type"] == "creating"]
        return [each["urn"] for each in begun if not each["type"].startswith("pulumi:")]
    except (ValueError, KeyError, TypeError):
        return []


async def _exported(stack: str) -> str:
    """Return the state of `stack`, with what is secret encrypted; nothing where the engine doesn't give it."""
    try:
        process = await asyncio.create_subprocess_exec(
            "pulumi", "stack", "export", "--non-interactive", "--stack", stack,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return ""
    try:
        output, _ = await asyncio.wait_for(process.communicate(), ANSWERS_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return output.decode(errors="replace")
