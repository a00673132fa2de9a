"""What a task needs of the instance that it runs on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Dynamic host ports are the kernel's ephemeral ones.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
DYNAMIC_PORTS = range(32768, 61000)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a task definition takes: CPU units, MiB, and its ports as (container port, host port or 0).

    `security_options`: only where the agent says that it takes them.
    """

    cpu: int
    memory: int
    ports: tuple[tuple[int, int], ...]
    security_options: bool = False


def need(task_definition: Mapping[str, Any]) -> Need:
    """What a task definition takes: its own limits, or the sum of its containers', where a reservation goes first."""
    containers = task_definition.get("containerDefinitions", [])
    ports = (
        (int(mapping["containerPort"]), int(mapping.get("hostPort") or 0))
        for container in containers
        for mapping in container.get("portMappings", [])
    )
    return Need(
        cpu=int(task_definition.get("cpu") or sum(int(each.get("cpu") or 0) for each in containers)),
        memory=int(
            task_definition.get("memory")
            or sum(int(each.get("memoryReservation") or each.get("memory") or 0) for each in containers)
        ),
        security_options=any(each.get("dockerSecurityOptions") for each in containers),
        ports=() if task_definition.get("networkMode") == "awsvpc" else tuple(ports),
    )


def used_ports(tasks: Iterable[Mapping[str, Any]]) -> set[int]:
    """The host ports that tasks hold, by their containers' network bindings."""
    return {
        int(binding["hostPort"])
        for task in tasks
        for container in task.get("containers", [])
        for binding in container.get("networkBindings", [])
        if binding.get("hostPort")
    }


def host_ports(wanted: Need, taken: set[int]) -> dict[int, int] | None:
    """A host port for each container port: the fixed one, or the first dynamic one that is free. None: one is taken."""
    fixed = {host for _, host in wanted.ports if host}
    if fixed & taken:
        return None
    free = (port for port in DYNAMIC_PORTS if port not in taken and port not in fixed)
    return {container: host or next(free) for container, host in wanted.ports}
