"""What the emulated account's service scheduler does next."""

import pytest

from rehearsal.account.deployments import LONGEST_PAUSE, Member, Plan, pause, plan


def member(name: str, *, new: bool = False, healthy: bool = True, since: float = 0.0) -> Member:
    return Member(arn=name, new=new, healthy=healthy, since=since)


def old(*names: str) -> list[Member]:
    return [member(name, since=number) for number, name in enumerate(names)]


def step(members: list[Member], *, desired: int, minimum: int = 100, maximum: int = 200, no_room: bool = False) -> Plan:
    return plan(members, desired=desired, minimum=minimum, maximum=maximum, no_room=no_room)


def test_a_service_starts_what_is_missing() -> None:
    assert step([], desired=3) == Plan(start=3, stop=(), stuck=False)


def test_a_steady_service_is_left_alone() -> None:
    assert step([member("a", new=True)], desired=1) == Plan(start=0, stop=(), stuck=False)


def test_old_tasks_stay_while_new_ones_prove_themselves() -> None:
    assert step([*old("a"), member("b", new=True, healthy=False)], desired=1) == Plan(start=0, stop=(), stuck=False)


def test_old_tasks_go_when_new_ones_are_healthy() -> None:
    assert step([*old("a", "b"), member("c", new=True)], desired=2).stop == ("a",)


def test_the_maximum_rounds_down_and_the_minimum_up() -> None:
    # 3 tasks, 50 and 150 per cent: at least 2, at most 4.
    assert step(old("a", "b", "c"), desired=3, minimum=50, maximum=150) == Plan(start=1, stop=("a",), stuck=False)


def test_one_task_of_50_per_cent_is_one() -> None:
    assert step(old("a"), desired=1, minimum=50, maximum=100).stop == ()


def test_percentages_that_allow_nothing_are_told() -> None:
    assert step(old("a"), desired=1, minimum=100, maximum=100) == Plan(start=0, stop=(), stuck=True)


def test_with_no_room_on_any_instance_old_tasks_make_some_as_far_as_the_minimum_allows() -> None:
    assert step(old("a"), desired=1, minimum=0, no_room=True).stop == ("a",)
    assert step(old("a"), desired=1, minimum=100, no_room=True).stop == ()


def test_the_gap_of_a_fixed_host_port_is_allowed_by_0_and_100() -> None:
    assert step(old("a"), desired=1, minimum=0, maximum=100) == Plan(start=0, stop=("a",), stuck=False)


def test_old_tasks_that_serve_nobody_go_first() -> None:
    assert step([member("a", healthy=False), *old("b")], desired=2).stop == ("a",)


def test_scaling_in_stops_the_newest_task_and_the_unhealthy_one_before_it() -> None:
    tasks = [
        member("a", new=True, since=1),
        member("b", new=True, since=2),
        member("c", new=True, since=3, healthy=False),
    ]
    assert step(tasks, desired=2).stop == ("c",)
    assert step(tasks[:2], desired=1).stop == ("b",)


def test_a_desired_count_of_zero_stops_all() -> None:
    assert set(step([*old("a"), member("b", new=True)], desired=0).stop) == {"a", "b"}


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 1), (2, 2), (3, 4), (100, LONGEST_PAUSE)])
def test_the_pause_between_tries_grows(failures: int, seconds: float) -> None:
    assert pause(failures) == seconds
