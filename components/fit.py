"""Whether an environment's tasks fit on its instances, in steady state and while a deployment rolls.

ECS places a task where enough memory, CPU units and host ports are left, counting `memoryReservation` where it is given
and `memory` otherwise; what can't be placed waits, without an end and without an error.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
"""

from dataclasses import dataclass

from components.instances import InstanceType


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked of the instances: the size of one task, and how many there are of both at least and at most."""

    cpu: int
    memory: int
    memory_reservation: int | None
    host_port: int
    min_tasks: int
    max_tasks: int
    max_instances: int

    @property
    def reserved_memory(self) -> int:
        """MiB that ECS sets aside for one task when it places it."""
        return self.memory if self.memory_reservation is None else self.memory_reservation


@dataclass(frozen=True, kw_only=True)
class DeploymentBounds:
    """How many of the desired tasks, in per cent, must stay healthy and may exist while a deployment rolls.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    """

    minimum_healthy_percent: int
    maximum_percent: int

    @property
    def has_gap(self) -> bool:
        """Whether there may be a moment without any running task."""
        return self.minimum_healthy_percent == 0


WITHOUT_GAP = DeploymentBounds(minimum_healthy_percent=100, maximum_percent=200)
ONE_HALF_AT_A_TIME = DeploymentBounds(minimum_healthy_percent=50, maximum_percent=100)
STOP_BEFORE_START = DeploymentBounds(minimum_healthy_percent=0, maximum_percent=100)


def tasks_per_instance(demand: Demand, instance: InstanceType) -> int:
    """Return how many tasks ECS places on one instance."""
    slots = min(instance.registered_memory // demand.reserved_memory, instance.cpu // demand.cpu)
    return min(slots, 1) if demand.host_port else slots


def deployment_bounds(demand: Demand, instance: InstanceType) -> DeploymentBounds:
    """Return bounds within which a deployment can roll: without a gap wherever there is room for one task more.

    A fixed host port that all instances have in use leaves no such room: half of the tasks make way, or the only one.
    """
    spare = tasks_per_instance(demand, instance) * demand.max_instances - demand.max_tasks
    if spare >= 1 or not demand.host_port:
        return WITHOUT_GAP
    return STOP_BEFORE_START if demand.min_tasks == 1 else ONE_HALF_AT_A_TIME


def misfits(demand: Demand, instance: InstanceType) -> list[str]:
    """Return what does not fit, each as one sentence that names the setting to change; empty where all does."""
    slots = tasks_per_instance(demand, instance)
    shape = f"{instance.name} has {instance.registered_memory} MiB and {instance.cpu} CPU units for tasks"
    if demand.memory > instance.registered_memory:
        return [
            f"container.memory: {demand.memory} MiB is more than an instance has ({shape}); "
            f"use at most {instance.registered_memory}, or a larger capacity.instanceType"
        ]
    if demand.cpu > instance.cpu:
        return [
            f"container.cpu: {demand.cpu} CPU units are more than an instance has ({shape}); "
            f"use at most {instance.cpu}, or a larger capacity.instanceType"
        ]
    room = slots * demand.max_instances
    limit = _limit(demand, instance, slots)
    if room < demand.max_tasks:
        return [
            f"service.max: {demand.max_tasks} tasks don't fit on capacity.max = {demand.max_instances} instance(s), "
            f"which have room for {room} ({limit}); set capacity.max to {-(-demand.max_tasks // slots)} or more, "
            f"or service.max to {room} or less"
        ]
    if room == demand.max_tasks and not demand.host_port:
        return [
            f"capacity.max: {demand.max_instances} instance(s) have room for {room} task(s) ({limit}), all of which "
            f"service.max = {demand.max_tasks} needs, so a deployment could never start its first new task; "
            f"set capacity.max to {demand.max_instances + 1} or more"
            + (f", or service.max to {room - 1} or less" if room > 1 else "")
            + (", or set container.memoryReservation" if demand.memory_reservation is None else "")
        ]
    return []


def _limit(demand: Demand, instance: InstanceType, slots: int) -> str:
    if demand.host_port:
        return f"one task an instance, since container.hostPort is fixed at {demand.host_port}"
    by_memory = instance.registered_memory // demand.reserved_memory
    what = f"memory: {demand.reserved_memory} MiB each" if by_memory == slots else f"CPU: {demand.cpu} units each"
    return f"{slots} task(s) an instance by {what}"
