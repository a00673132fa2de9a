"""The migration of a new image, which must end well before the service has it."""

import re
from typing import Any

import pytest

from rehearsal.surroundings import Account, Outcome, Stack, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import (
    SERVICE_ALONE,
    adjust,
    changes,
    deploy,
    fails,
    prepare_live,
    service,
    state,
    version,
)

FAULTS = {"v1.0.0": "", "v1.1.0": "migration", "v1.2.0": "", "v1.3.0": "crash"}
"""The releases, each with what is wrong with it."""

TIMEOUT = 10
"""Seconds that a migration gets which never ends."""


@pytest.fixture(scope="module")
def live(workspace: Workspace, account: Account, tools: Tools) -> Stack:
    settings = {
        "promotedOnly": False,
        "migration": {"command": ["migrate"], "timeout": 120},
        "service": {"min": 1, "max": 1, "deploymentTimeout": 180},
    }
    return prepare_live(workspace, account, tools, FAULTS, settings)


def migrations(live: Stack) -> list[dict[str, Any]]:
    """The tasks that migrated, the oldest first."""
    ecs = live.workspace.account.client("ecs")
    arns = [
        arn
        for cluster in ecs.list_clusters()["clusterArns"]
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=cluster, startedBy="migration", desiredStatus=status)["taskArns"]
    ]
    if not arns:
        return []
    found = ecs.describe_tasks(cluster=arns[0].split("/")[1], tasks=arns)["tasks"]
    return sorted(found, key=lambda task: str(task["createdAt"]))


@pytest.fixture(scope="module")
def previewed(live: Stack) -> Outcome:
    return live.run("preview", "--config", "tag=v1.0.0")


def test_a_preview_runs_none(previewed: Outcome, live: Stack) -> None:
    assert "Migration" in previewed.output
    assert migrations(live) == []


@pytest.fixture(scope="module")
def up(live: Stack, previewed: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    return deploy(live, "v1.0.0")


def test_the_first_deployment_migrates_once_before_there_is_a_service(live: Stack, up: Outcome) -> None:
    (task,) = migrations(live)
    assert (task["containers"][0]["exitCode"], task["stopCode"]) == (0, "EssentialContainerExited")
    assert task["taskDefinitionArn"] == live.outputs()["taskDefinition"]
    assert task["stoppedAt"] < service(live)["createdAt"], "the service came after its end"
    assert "ended well" in up.output
    assert version(live) == "v1.0.0"


@pytest.mark.usefixtures("up")
def test_the_state_has_nothing_of_it(live: Stack) -> None:
    (component,) = [each for each in state(live) if each["type"] == "booklink:backend:Migration"]
    assert "outputs" not in component
    live.run("preview", "--expect-no-changes")


@pytest.mark.usefixtures("up")
def test_an_update_without_a_new_image_runs_none(live: Stack) -> None:
    adjust(live.workspace, "live", {"health": {"gracePeriod": 6}})
    assert changes(live) == {"aws:ecs/service:Service": "update"}
    deploy(live, "v1.0.0")
    deploy(live, "v1.0.0")
    assert len(migrations(live)) == 1


@pytest.fixture(scope="module")
def failed(live: Stack, up: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    return deploy(live, "v1.1.0", check=False)


def test_one_that_fails_says_why(live: Stack, failed: Outcome) -> None:
    fails(failed)
    task = migrations(live)[-1]["taskArn"].rsplit("/", 1)[-1]
    told = [line.strip() for line in failed.output.partition("Diagnostics:")[2].splitlines()]
    begin = next(n for n, line in enumerate(told) if line.startswith("error: The migration of "))
    assert re.search(r"booklink-backend-live:\d+ failed\.$", told[begin])
    assert told[begin + 1 : begin + 10] == [
        "Reason: its command ended with exit code 1",
        f"Task {task} stopped: Essential container in task exited",
        "Container: exit code 1",
        "Its last log lines:",
        "| migrating to version v1.1.0",
        "| ERROR column users.email is there already (SAMPLE_FAULT=migration)",
        f"Nothing was switched: 1 task(s) of {serving(live)} serve on",
        "What to do: the container ended by itself; its last log lines above say why",
        "Once it is mended, `pulumi up` runs the migration again.",
    ]


def serving(live: Stack) -> str:
    return str(service(live)["taskDefinition"].rsplit("/", 1)[-1])


@pytest.mark.usefixtures("failed")
def test_and_switches_nothing(live: Stack) -> None:
    assert version(live) == "v1.0.0"
    assert serving(live) == live.outputs()["taskDefinition"].rsplit("/", 1)[-1], "nor do the outputs name another"
    assert [each["rolloutState"] for each in service(live)["deployments"]] == ["COMPLETED"]
    assert changes(live)["aws:ecs/service:Service"] == "update", "a preview says that it is still to be done"


@pytest.mark.usefixtures("failed")
def test_the_next_update_runs_it_again(live: Stack) -> None:
    before = migrations(live)[-1]
    fails(deploy(live, "v1.1.0", check=False))
    again = migrations(live)[-1]
    assert again["taskArn"] != before["taskArn"]
    assert again["taskDefinitionArn"] == before["taskDefinitionArn"], "it is the same task definition"


@pytest.fixture(scope="module")
def late(live: Stack, failed: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    """A good image, with a command that never ends: the sample takes it for none, and serves."""
    adjust(live.workspace, "live", {"migration": {"command": ["serve"], "timeout": TIMEOUT}})
    return deploy(live, "v1.2.0", check=False)


def test_one_that_takes_too_long_is_stopped(live: Stack, late: Outcome) -> None:
    fails(late)
    task = migrations(live)[-1]
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
    assert task["containers"][0]["exitCode"] == 0, "it ended well when it was told to, which is no success"
    assert f"Reason: it had not ended after {TIMEOUT} s (migration.timeout), and was stopped" in late.output
    assert "What to do: raise migration.timeout" in late.output
    assert version(live) == "v1.0.0"


@pytest.fixture(scope="module")
def mended(live: Stack, late: Outcome) -> str:  # noqa: ARG001 - it comes first
    """The good image with a good command, whose task runs already, as after an update that was killed; its ARN."""
    adjust(live.workspace, "live", {"migration": {"command": ["migrate"], "timeout": 120}})
    outputs, pending = live.outputs(), migrations(live)[-1]
    slow = {"SAMPLE_FAULT": "slow-start", "SAMPLE_START_SECONDS": "40"}
    override = {
        "name": "backend",
        "command": ["migrate"],
        "environment": [{"name": name, "value": value} for name, value in slow.items()],
    }
    [started] = live.workspace.account.client("ecs").run_task(
        cluster=outputs["cluster"],
        taskDefinition=pending["taskDefinitionArn"],
        capacityProviderStrategy=[{"capacityProvider": pending["capacityProviderName"], "weight": 1}],
        overrides={"containerOverrides": [override]},
        startedBy="migration",
    )["tasks"]
    deploy(live, "v1.2.0")
    return str(started["taskArn"])


def test_the_task_of_an_update_that_was_killed_is_waited_for(live: Stack, mended: str) -> None:
    task = migrations(live)[-1]
    assert task["taskArn"] == mended, "no second one was started"
    assert task["stoppedAt"] < service(live)["deployments"][0]["createdAt"]


@pytest.mark.usefixtures("mended")
def test_a_good_image_mends_it(live: Stack) -> None:
    assert version(live) == "v1.2.0"
    assert migrations(live)[-1]["taskDefinitionArn"] == service(live)["taskDefinition"]
    live.run("preview", "--expect-no-changes")
    assert changes(live, "--config", "tag=v1.3.0") == SERVICE_ALONE


@pytest.mark.usefixtures("mended")
def test_one_from_which_ecs_went_back_is_not_run_again(live: Stack) -> None:
    fails(deploy(live, "v1.3.0", check=False))
    task = migrations(live)[-1]
    assert task["containers"][0]["exitCode"] == 0, "it migrated, and then its deployment failed"
    assert task["taskDefinitionArn"] != service(live)["taskDefinition"], "ECS has gone back"
    fails(deploy(live, "v1.3.0", check=False))
    assert migrations(live)[-1]["taskArn"] == task["taskArn"]
    assert version(live) == "v1.2.0"
