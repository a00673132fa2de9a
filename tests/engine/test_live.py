"""The environment that finds its image by its tag: releases, and deployments that fail."""

import re

import pytest

from components.failure_report import NOT_SERVED
from rehearsal.surroundings import Account, Outcome, Prober, Stack, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import (
    SERVICE_ALONE,
    adjust,
    changes,
    deploy,
    fails,
    has_served,
    prepare_live,
    push,
    pushed,
    service,
    state,
    version,
)
from tests.waiting import until

FAULTS = {"v1.0.0": "", "v1.1.0": "crash", "v1.2.0": "", "v1.3.0": "unhealthy"}
"""The releases, each with what is wrong with it."""

NEVER_SERVED = "v9.9.9"


@pytest.fixture(scope="module")
def live(workspace: Workspace, account: Account, tools: Tools) -> Stack:
    stack = prepare_live(workspace, account, tools, FAULTS, {"service": {"deploymentTimeout": 180}})
    has_served(account, *FAULTS)
    push(account, NEVER_SERVED, base=tools.base_image)
    return stack


@pytest.fixture(scope="module")
def up(live: Stack) -> Outcome:
    return deploy(live, "v1.0.0")


@pytest.mark.usefixtures("up")
def test_a_release_serves(live: Stack) -> None:
    assert version(live) == "v1.0.0"
    assert service(live)["runningCount"] == 2


@pytest.mark.usefixtures("up")
def test_another_tag_changes_task_definition_and_service_alone(live: Stack) -> None:
    assert changes(live, "--config", "tag=v1.2.0") == SERVICE_ALONE


@pytest.mark.usefixtures("up")
def test_it_runs_the_digest_that_has_the_versions_label(live: Stack) -> None:
    assert live.outputs()["image"].endswith(f"@{pushed(live.workspace.account, 'v1.0.0').digest}")


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        (NEVER_SERVED, f"tag: {NEVER_SERVED} is an image that pre has never served; `make release VERSION=...` gives"),
        (
            "v0.0.1",
            "tag: there is no image v0.0.1 in the ECR repository booklink-backend; `aws ecr list-images ",
        ),
        ("master", "tag: master is no release, and may be another image tomorrow"),
    ],
)
@pytest.mark.usefixtures("up")
def test_what_is_no_release_of_pres_is_refused_before_any_change(live: Stack, tag: str, problem: str) -> None:
    before = state(live)
    # As people do it: the preview that comes first is what refuses.
    outcome = live.run("up", "--yes", "--config", f"tag={tag}", check=False)
    fails(outcome)
    assert problem in outcome.output
    assert "nothing was changed" in outcome.output
    assert state(live) == before, "nor is anything in the state another"
    assert version(live) == "v1.0.0"


@pytest.fixture(scope="module")
def crashed(live: Stack, up: Outcome) -> tuple[Outcome, Prober]:  # noqa: ARG001 - it comes first
    with Prober(live.workspace.account, live.outputs()["url"]) as prober:
        outcome = deploy(live, "v1.1.0", check=False)
    return outcome, prober


def test_a_deployment_that_crashes_fails_and_says_why(crashed: tuple[Outcome, Prober]) -> None:
    outcome, _ = crashed
    fails(outcome)
    assert re.search(r"The deployment of booklink-backend-live:\d+ failed\.", outcome.output)
    assert re.search(r"Deployment: ecs-svc/\S+ of service booklink-backend-live", outcome.output)
    assert "Reason: ECS deployment circuit breaker: tasks failed to start." in outcome.output
    assert "Container: exit code 1" in outcome.output
    assert "ERROR cannot reach database: connection refused" in outcome.output, "the container's last log line"
    assert "What to do: the container ended by itself; its last log lines above say why" in outcome.output


def test_the_one_before_serves_on(live: Stack, crashed: tuple[Outcome, Prober]) -> None:
    outcome, prober = crashed
    assert re.search(r"Serving now: \d task\(s\) of booklink-backend-live:\d+", outcome.output)
    assert prober.lost == [], prober.summary()
    assert version(live) == "v1.0.0"


@pytest.mark.usefixtures("crashed")
def test_the_same_again_fails_again_and_says_that_it_did(live: Stack) -> None:
    again = deploy(live, "v1.1.0", check=False)
    fails(again)
    assert re.search(
        r"the state has booklink-backend-live:\d+, which it never got, or from which ECS went back, or which",
        again.output,
    )
    assert version(live) == "v1.0.0"


@pytest.mark.usefixtures("crashed")
def test_a_preview_in_between_says_what_is_wrong(live: Stack) -> None:
    preview = live.run("preview")
    assert NOT_SERVED in preview.output
    assert "ERROR cannot reach database: connection refused" in preview.output, "and why, as long as ECS knows it"
    assert "What to do: the container ended by itself; its last log lines above say why" in preview.output


@pytest.fixture(scope="module")
def mended(live: Stack, crashed: tuple[Outcome, Prober]) -> Outcome:  # noqa: ARG001 - it comes first
    """A good release after one that crashed, while scaling has set another count than the settings."""
    running = service(live)
    ecs = live.workspace.account.client("ecs")
    ecs.update_service(cluster=running["clusterArn"], service=running["serviceName"], desiredCount=3)
    until("the third task runs", lambda: service(live)["runningCount"] == 3, seconds=60)
    return deploy(live, "v1.2.0")


@pytest.mark.usefixtures("mended")
def test_a_good_one_mends_it(live: Stack) -> None:
    assert version(live) == "v1.2.0"
    assert [each["rolloutState"] for each in service(live)["deployments"]] == ["COMPLETED"]
    live.run("preview", "--expect-no-changes")


@pytest.mark.usefixtures("mended")
def test_a_deployment_leaves_the_count_that_scaling_set(live: Stack) -> None:
    left = service(live)
    assert (left["desiredCount"], left["runningCount"]) == (3, 3)


@pytest.mark.usefixtures("mended")
def test_one_that_is_unhealthy_fails_and_names_the_health_check(live: Stack) -> None:
    outcome = deploy(live, "v1.3.0", check=False)
    fails(outcome)
    assert outcome.seconds < 180, "ECS gave up before the deployment's own time limit"
    assert "Task failed ELB health checks" in outcome.output
    assert "due to (reason Health checks failed with these codes: [503])" in outcome.output, "told before the rollback"
    assert "doesn't answer health.path with a code of health.matcher" in outcome.output
    assert version(live) == "v1.2.0"


@pytest.mark.usefixtures("mended")
def test_a_health_check_that_nothing_answers_fails_though_the_image_is_good(live: Stack) -> None:
    adjust(live.workspace, "live", {"health": {"path": "/nobody-answers-here"}})
    outcome = deploy(live, "v1.2.0", check=False)
    fails(outcome)
    assert "doesn't answer health.path with a code of health.matcher" in outcome.output
    adjust(live.workspace, "live", {"health": {"path": "/actuator/health"}})
    deploy(live, "v1.2.0")
    assert version(live) == "v1.2.0", "the right path again mends it"
