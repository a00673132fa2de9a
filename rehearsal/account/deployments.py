"""What a rolling deployment does next: pure functions of what runs.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_PAUSE = 60.0
"""Seconds between two tries to start a task that fails again and again. On AWS the pause grows to 15 minutes and more:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html"""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A task of a service that isn't stopping: whether it is one of the deployment's, healthy, and since when."""

    arn: str
    new: bool
    healthy: bool
    since: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many tasks to start and which to stop, now. Stuck: the percentages allow neither, and tasks are missing."""

    start: int
    stop: tuple[str, ...]
    stuck: bool


def plan(members: Sequence[Member], *, desired: int, minimum: int, maximum: int, no_room: bool) -> Plan:
    """The scheduler's next step of a rolling update.

    Args:
        members: the service's tasks that aren't stopping.
        desired: the service's desired count.
        minimum: minimumHealthyPercent; so many tasks, rounded up, stay healthy.
        maximum: maximumPercent; so many tasks, rounded down, run at most.
        no_room: no instance had room for a new task: old ones make room as far as `minimum` allows.
    """
    new = sorted((each for each in members if each.new), key=lambda each: (each.healthy, -each.since))
    old = sorted((each for each in members if not each.new), key=lambda each: (each.healthy, each.since))
    floor, ceiling = -(-desired * minimum // 100), desired * maximum // 100
    missing = max(0, desired - len(new))
    start = max(0, min(missing, ceiling - len(members)))
    excess = [each.arn for each in new[: max(0, len(new) - desired)]]
    sick = [each.arn for each in old if not each.healthy]
    well = [each.arn for each in old if each.healthy]
    healthy = sum(each.healthy for each in members if each.arn not in excess)
    room = missing if no_room else missing - start
    spare = max(healthy - desired, min(room - len(sick), healthy - floor), 0)
    stop = (*excess, *sick, *well[:spare])
    return Plan(start=start, stop=stop, stuck=missing > 0 and not start and not stop)


def pause(failures: int) -> float:
    """Seconds until the next task is started, after so many in a row failed."""
    return min(2.0 ** (failures - 1), LONGEST_PAUSE) if failures else 0.0
