"""Whether tasks fit, held against a simulation that knows none of the formulas."""

from itertools import product
from math import ceil, floor

import pytest

from components.fit import (
    ONE_HALF_AT_A_TIME,
    STOP_BEFORE_START,
    WITHOUT_GAP,
    Demand,
    DeploymentBounds,
    deployment_bounds,
    misfits,
    tasks_per_instance,
)
from components.instances import InstanceType, instance_type

SMALL = InstanceType(name="small", architecture="x86_64", cpu=4, memory=154)
"""An instance that registers 4 of both, so that all small cases can be tried."""


def demand(
    *,
    cpu: int = 512,
    memory: int = 512,
    reservation: int | None = None,
    host_port: int = 0,
    tasks: tuple[int, int] = (1, 1),
    instances: int = 1,
) -> Demand:
    return Demand(
        cpu=cpu,
        memory=memory,
        memory_reservation=reservation,
        host_port=host_port,
        min_tasks=tasks[0],
        max_tasks=tasks[1],
        max_instances=instances,
    )


class Instances:
    """Instances on which tasks are placed one by one, as ECS does it."""

    def __init__(self, wanted: Demand, instance: InstanceType) -> None:
        self._wanted, self._instance = wanted, instance
        self._placed: list[list[str]] = [[] for _ in range(wanted.max_instances)]

    def place(self, task: str) -> bool:
        for tasks in self._placed:
            if self._has_room(len(tasks) + 1):
                tasks.append(task)
                return True
        return False

    def stop(self, task: str) -> None:
        next(tasks for tasks in self._placed if task in tasks).remove(task)

    def count(self, task: str) -> int:
        return sum(tasks.count(task) for tasks in self._placed)

    def _has_room(self, tasks: int) -> bool:
        wanted, instance = self._wanted, self._instance
        memory = wanted.memory if wanted.memory_reservation is None else wanted.memory_reservation
        return (
            tasks * memory <= instance.registered_memory
            and tasks * wanted.cpu <= instance.cpu
            and (tasks <= 1 or not wanted.host_port)
        )


def test_the_small_instance_registers_what_it_is_for() -> None:
    assert (SMALL.registered_memory, SMALL.cpu) == (4, 4), "or every small case would be refused"


def rolls(wanted: Demand, instance: InstanceType, bounds: DeploymentBounds, desired: int) -> bool:
    """Whether `desired` tasks can be placed, and then all be replaced by new ones without ever getting stuck."""
    instances = Instances(wanted, instance)
    if not all(instances.place("old") for _ in range(desired)):
        return False
    at_least = ceil(desired * bounds.minimum_healthy_percent / 100)
    at_most = floor(desired * bounds.maximum_percent / 100)
    while instances.count("new") < desired:
        running = instances.count("old") + instances.count("new")
        started = running < at_most and instances.place("new")
        stopped = instances.count("old") > 0 and instances.count("old") + instances.count("new") > at_least
        if stopped:
            instances.stop("old")
        if not started and not stopped:
            return False
    return True


def small_demands() -> list[Demand]:
    """Every demand of small numbers whose memory limit an instance has."""
    memories = [(memory, reservation) for memory in range(1, 5) for reservation in [None, *range(1, memory + 1)]]
    tasks = [(low, high) for high in range(1, 5) for low in range(1, high + 1)]
    return [
        demand(cpu=cpu, memory=memory, reservation=reservation, host_port=port, tasks=bounds, instances=instances)
        for (memory, reservation), cpu, port, bounds, instances in product(
            memories, range(1, 6), (0, 8888), tasks, range(1, 4)
        )
    ]


def can_be_run(wanted: Demand) -> bool:
    bounds = deployment_bounds(wanted, SMALL)
    return all(rolls(wanted, SMALL, bounds, desired) for desired in range(wanted.min_tasks, wanted.max_tasks + 1))


def test_what_is_called_fitting_can_be_placed_and_rolled_and_what_is_refused_cannot() -> None:
    demands = small_demands()
    wrong = [wanted for wanted in demands if (misfits(wanted, SMALL) == []) != can_be_run(wanted)]
    assert wrong == []
    accepted = sum(misfits(wanted, SMALL) == [] for wanted in demands)
    assert 0 < accepted < len(demands), "or one half of the claim is about nothing"


def test_the_simulation_itself_gets_stuck_where_it_must() -> None:
    wanted = demand(cpu=1, memory=4, tasks=(1, 1), instances=1)
    assert not rolls(wanted, SMALL, WITHOUT_GAP, 1), "the instance is full with the old task"
    assert rolls(wanted, SMALL, STOP_BEFORE_START, 1)


def test_no_deployment_has_a_gap_where_there_is_room() -> None:
    gaps = [
        wanted
        for wanted in small_demands()
        if misfits(wanted, SMALL) == []
        and deployment_bounds(wanted, SMALL).has_gap
        and all(rolls(wanted, SMALL, WITHOUT_GAP, n) for n in range(wanted.min_tasks, wanted.max_tasks + 1))
    ]
    assert gaps == []


@pytest.mark.parametrize(
    ("wanted", "slots"),
    [
        (demand(memory=512), 1),
        (demand(memory=512, reservation=256), 3),
        (demand(memory=256, cpu=1024), 2),
        (demand(memory=64, host_port=8888), 1),
        (demand(memory=1024, host_port=8888), 0),
    ],
)
def test_tasks_share_an_instance_by_the_scarcest(wanted: Demand, slots: int) -> None:
    assert tasks_per_instance(wanted, instance_type("t3.micro")) == slots


@pytest.mark.parametrize(
    ("wanted", "bounds"),
    [
        (demand(instances=2), WITHOUT_GAP),
        (demand(host_port=8888, instances=2), WITHOUT_GAP),
        (demand(host_port=8888, instances=1), STOP_BEFORE_START),
        (demand(host_port=8888, tasks=(2, 2), instances=2), ONE_HALF_AT_A_TIME),
        (demand(host_port=8888, tasks=(1, 2), instances=2), STOP_BEFORE_START),
    ],
)
def test_deployments_roll_without_a_gap_wherever_they_can(wanted: Demand, bounds: DeploymentBounds) -> None:
    assert deployment_bounds(wanted, instance_type("t3.micro")) == bounds


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (
            demand(memory=900),
            "container.memory: 900 MiB is more than an instance has (t3.micro has 870 MiB and 2048 CPU units for "
            "tasks); use at most 870, or a larger capacity.instanceType",
        ),
        (
            demand(cpu=4096),
            "container.cpu: 4096 CPU units are more than an instance has (t3.micro has 870 MiB and 2048 CPU units for "
            "tasks); use at most 2048, or a larger capacity.instanceType",
        ),
        (
            demand(reservation=256, tasks=(1, 7), instances=2),
            "service.max: 7 tasks don't fit on capacity.max = 2 instance(s), which have room for 6 (3 task(s) an "
            "instance by memory: 256 MiB each); set capacity.max to 3 or more, or service.max to 6 or less",
        ),
        (
            demand(host_port=8888, tasks=(1, 3), instances=2),
            "service.max: 3 tasks don't fit on capacity.max = 2 instance(s), which have room for 2 (one task an "
            "instance, since container.hostPort is fixed at 8888); set capacity.max to 3 or more, or service.max to 2 "
            "or less",
        ),
        (
            demand(memory=512),
            "capacity.max: 1 instance(s) have room for 1 task(s) (1 task(s) an instance by memory: 512 MiB each), all "
            "of which service.max = 1 needs, so a deployment could never start its first new task; set capacity.max to "
            "2 or more, or set container.memoryReservation",
        ),
        (
            demand(cpu=1024, memory=256, reservation=128, tasks=(1, 4), instances=2),
            "capacity.max: 2 instance(s) have room for 4 task(s) (2 task(s) an instance by CPU: 1024 units each), all "
            "of which service.max = 4 needs, so a deployment could never start its first new task; set capacity.max to "
            "3 or more, or service.max to 3 or less",
        ),
    ],
)
def test_what_does_not_fit_names_the_number_to_change(wanted: Demand, problem: str) -> None:
    assert misfits(wanted, instance_type("t3.micro")) == [problem]


def test_the_mend_that_a_refusal_names_does_mend() -> None:
    refused = demand(reservation=256, tasks=(1, 7), instances=2)
    assert misfits(refused, instance_type("t3.micro"))
    assert misfits(demand(reservation=256, tasks=(1, 7), instances=3), instance_type("t3.micro")) == []
