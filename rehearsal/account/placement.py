"""Where a task runs: which container instance has the CPU units, the memory and the host ports that it needs.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.account import instances
from rehearsal.account.instances import ContainerInstance
from rehearsal.account.needs import Need, host_ports, need, used_ports

_ADVICE = " For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
_NOTHING_FITS = "was unable to place a task because no container instance met all of its requirements."
_SPREAD = ({"type": "spread", "field": "attribute:ecs.availability-zone"}, {"type": "spread", "field": "instanceId"})


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a task runs, and on which host port each of its container ports is reached."""

    container_instance_arn: str
    instance_id: str
    availability_zone: str
    host_ports: dict[int, int]


@dataclass(frozen=True, kw_only=True)
class NoRoom:
    """Why no instance takes the task: a service event after its `(service NAME) `, and RunTask's reason of a failure.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
    """

    message: str
    reason: str


def obstacle(wanted: Need, instance: ContainerInstance, tasks: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """What keeps a task from an instance that runs these tasks: an event's words and RunTask's reason, or None."""
    if wanted.security_options and not instance.security_options:
        return "is missing an attribute required by your task.", "ATTRIBUTE"
    needs = [need(instances.task_definition(task)) for task in tasks]
    if wanted.cpu > instance.cpu - sum(each.cpu for each in needs):
        return "has insufficient CPU units available.", "RESOURCE:CPU"
    if wanted.memory > instance.memory - sum(each.memory for each in needs):
        return "has insufficient memory available.", "RESOURCE:MEMORY"
    if host_ports(wanted, used_ports(tasks)) is None:
        return "is already using a port required by your task.", "RESOURCE:PORTS"
    return None


def order(
    candidates: Iterable[ContainerInstance],
    strategy: Iterable[Mapping[str, Any]],
    like: Sequence[Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]],
) -> list[ContainerInstance]:
    """Instances, best first, by a placement strategy. `like` are the tasks to spread from, `tasks` all that run.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-strategies.html
    """
    ordered = sorted(candidates, key=lambda instance: instance.arn)
    at_zone: Counter[str] = Counter(instance.zone for instance in ordered for task in like if _on(task, instance))

    def key(instance: ContainerInstance, step: Mapping[str, Any]) -> int:
        here = [task for task in tasks if _on(task, instance)]
        if step["type"] == "binpack":
            remaining = {
                "cpu": instance.cpu - sum(need(instances.task_definition(task)).cpu for task in here),
                "memory": instance.memory - sum(need(instances.task_definition(task)).memory for task in here),
            }
            return remaining[str(step["field"]).lower()]
        if step["type"] == "spread" and step["field"] in ("instanceId", "host"):
            return sum(_on(task, instance) for task in like)
        if step["type"] == "spread" and step["field"] == "attribute:ecs.availability-zone":
            return at_zone[instance.zone]
        return 0

    steps = list(strategy) or _SPREAD
    return sorted(ordered, key=lambda instance: [key(instance, step) for step in steps])


def _on(task: Mapping[str, Any], instance: ContainerInstance) -> bool:
    return bool(task.get("containerInstanceArn") == instance.arn)


def place(
    cluster: str,
    task_definition: dict[str, Any],
    running: list[dict[str, Any]],
    strategy: list[dict[str, Any]],
) -> Placement | NoRoom:
    """Place a task.

    Args:
        cluster: the cluster's name.
        task_definition: as ECS describes it.
        running: all tasks of the cluster that hold something of an instance, as ECS describes them.
        strategy: the placement strategy; empty: spread over zones, then instances.
    """
    active = [each for each in instances.container_instances(cluster) if each.status == "ACTIVE"]
    if not active:
        none = "No Container Instances were found in your cluster."
        return NoRoom(message=f"{_NOTHING_FITS} Reason: {none}{_ADVICE}", reason=none)
    wanted = need(task_definition)
    like = [task for task in running if _family(task.get("taskDefinitionArn", "")) == task_definition.get("family")]
    ordered = order(active, strategy, like, running)
    obstacles = []
    for instance in ordered:
        here = [task for task in running if _on(task, instance)]
        found = obstacle(wanted, instance, here)
        if found is None:
            return Placement(
                container_instance_arn=instance.arn,
                instance_id=instance.instance_id,
                availability_zone=instance.zone,
                host_ports=host_ports(wanted, used_ports(here)) or {},
            )
        obstacles.append((instance, *found))
    closest, words, reason = obstacles[0]
    identity = closest.arn.rsplit("/", 1)[1]
    message = f"{_NOTHING_FITS} The closest matching (container-instance {identity}) {words}{_ADVICE}"
    return NoRoom(message=message, reason=reason)


def _family(task_definition_arn: str) -> str:
    return task_definition_arn.rsplit("/", 1)[-1].partition(":")[0]
