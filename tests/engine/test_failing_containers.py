"""Deployments whose containers run, and fail: killed for memory, never healthy, too slow, deaf to SIGTERM.

Those that crash, and those that the load balancer finds unwell, are in test_live.
"""

import re
from typing import Any

import pytest

from rehearsal.surroundings import Account, Prober, Stack, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import (
    QUICK_HEALTH,
    adjust,
    advice,
    deploy,
    fails_while_another_serves,
    prepare_live,
    service,
    version,
)

FAULTS = {
    "v1.0.0": "",
    "v1.1.0": "eat-memory",
    "v1.2.0": "slow-start",
    "v1.3.0": "ignore-sigterm",
    "v1.4.0": "",
}
BOUND = 150
"""Seconds within which `pulumi up` must have failed."""


@pytest.fixture(scope="module")
def live(workspace: Workspace, account: Account, tools: Tools) -> Stack:
    settings: dict[str, Any] = {
        "promotedOnly": False,
        "container": {"memory": 256, "memoryReservation": None, "stopTimeout": 5},
        "service": {"min": 1, "max": 1, "deploymentTimeout": BOUND},
        "capacity": {"min": 1, "max": 1},
    }
    stack = prepare_live(workspace, account, tools, FAULTS, settings)
    deploy(stack, "v1.0.0")
    return stack


def test_one_that_needs_too_much_memory_names_the_setting(live: Stack) -> None:
    # So little that it ends before it answers: ECS takes one that answers once for a healthy one.
    adjust(live.workspace, "live", {"container": {"memory": 32}})
    outcome = fails_while_another_serves(live, "v1.1.0", seconds=BOUND)
    adjust(live.workspace, "live", {"container": {"memory": 256}})
    assert "Container: exit code 137, OutOfMemoryError: Container killed due to memory usage" in outcome.output
    assert advice(outcome) == (
        "What to do: the container needed more memory than container.memory allows; raise it, or have it use less"
    )


def test_one_that_starts_too_slowly_goes_back_when_its_time_is_over(live: Stack) -> None:
    adjust(
        live.workspace,
        "live",
        {
            "health": {"gracePeriod": 300},
            "container": {"environment": {"SAMPLE_START_SECONDS": 600}},
            "service": {"deploymentTimeout": 60},
        },
    )
    outcome = fails_while_another_serves(live, "v1.2.0", seconds=BOUND)
    assert (
        "Reason: it was not complete after 60 s (service.deploymentTimeout); ECS was told to go back" in outcome.output
    )
    assert re.search(r"Task \S+ was RUNNING when the time was over\.", outcome.output)
    assert advice(outcome) == (
        "What to do: the container runs, but was not healthy in time; its last log lines above say how far it came; "
        "where it needs longer, raise health.gracePeriod and service.deploymentTimeout"
    )
    assert [each["rolloutState"] for each in service(live)["deployments"]] == ["COMPLETED"], "ECS has gone back"


def test_one_whose_own_health_command_fails_names_the_command(live: Stack) -> None:
    check = {**QUICK_HEALTH, "command": ["CMD-SHELL", "exit 1"]}
    adjust(live.workspace, "live", {"health": check, "service": {"deploymentTimeout": BOUND}})
    outcome = fails_while_another_serves(live, "v1.4.0", seconds=BOUND)
    assert re.search(r"Task \S+ stopped.*: Task failed container health checks", outcome.output)
    assert advice(outcome).startswith("What to do: the container runs, but health.command doesn't end with 0 in it; ")


def test_a_good_one_mends_it_all_and_ends_one_that_ignores_sigterm(live: Stack) -> None:
    adjust(
        live.workspace,
        "live",
        {"health": {"command": None}, "container": {"environment": {"SAMPLE_START_SECONDS": None}}},
    )
    deploy(live, "v1.3.0", "--refresh")
    assert version(live) == "v1.3.0"
    with Prober(live.workspace.account, live.outputs()["url"]) as prober:
        deploy(live, "v1.4.0")
    assert prober.lost == [], prober.summary()
    assert version(live) == "v1.4.0"
    live.run("preview", "--expect-no-changes")
