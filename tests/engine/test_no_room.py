"""Deployments whose tasks find no instance: something else takes the room, and no instance may be added."""

from collections.abc import Iterator

import pytest

from rehearsal import surroundings
from rehearsal.account.instances import VCPU_QUOTA
from rehearsal.surroundings import Account, Outcome, Stack, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import (
    ZONE,
    adjust,
    advice,
    deploy,
    fails_while_another_serves,
    prepare_live,
    service,
    version,
)
from tests.waiting import until

TAGS = ("v1.0.0", "v1.1.0", "v1.2.0")
BOUND = 150


@pytest.fixture(scope="module")
def account(tools: Tools) -> Iterator[Account]:  # noqa: ARG001 - it needs Docker
    """An account that may run one t3.small, and no second."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(VCPU_QUOTA, "3")
        with surroundings.account() as started:
            surroundings.seed(started, zone=ZONE, secrets={"live1/postgres": "{}"})
            yield started


@pytest.fixture(scope="module")
def live(workspace: Workspace, account: Account, tools: Tools) -> Stack:
    one = {"min": 1, "max": 1}
    settings = {"promotedOnly": False, "service": one, "capacity": one}
    stack = prepare_live(workspace, account, tools, dict.fromkeys(TAGS, ""), settings)
    deploy(stack, TAGS[0])
    adjust(workspace, "live", {"service": {"deploymentTimeout": 60}})
    return stack


@pytest.fixture(scope="module")
def occupied(live: Stack) -> Iterator[str]:
    """Somebody's own task, which takes the memory that the deployment needs; its ARN."""
    ecs, outputs = live.workspace.account.client("ecs"), live.outputs()
    container = {"name": "other", "image": outputs["image"], "memory": 1500}
    execution = ecs.describe_task_definition(taskDefinition=outputs["taskDefinition"])["taskDefinition"]
    definition = ecs.register_task_definition(
        family="other", containerDefinitions=[container], executionRoleArn=execution["executionRoleArn"]
    )["taskDefinition"]["taskDefinitionArn"]
    [task] = ecs.run_task(cluster=outputs["cluster"], taskDefinition=definition, launchType="EC2")["tasks"]
    arn = str(task["taskArn"])

    def runs() -> bool:
        [found] = ecs.describe_tasks(cluster=outputs["cluster"], tasks=[arn])["tasks"]
        return bool(found["lastStatus"] == "RUNNING")

    until("it runs", runs, seconds=30)
    yield arn
    ecs.stop_task(cluster=outputs["cluster"], task=arn)


def failing(live: Stack, tag: str) -> Outcome:
    """Deploy what fails, since its time is over before its task has an instance."""
    outcome = fails_while_another_serves(live, tag, seconds=BOUND)
    assert (
        "Reason: it was not complete after 60 s (service.deploymentTimeout); ECS was told to go back" in outcome.output
    )
    assert [each["rolloutState"] for each in service(live)["deployments"]] == ["COMPLETED"], "ECS has gone back"
    return outcome


@pytest.mark.usefixtures("occupied")
def test_without_room_for_its_memory_it_goes_back_and_says_what_is_short(live: Stack) -> None:
    outcome = failing(live, TAGS[1])
    assert "was unable to place a task because no container instance met all of its requirements." in outcome.output
    assert advice(outcome) == (
        "What to do: no instance has room for the task's memory beside what runs there; raise capacity.max, take a "
        "larger capacity.instanceType, or lower container.memory; other tasks in the cluster take room too"
    )


@pytest.mark.usefixtures("occupied")
def test_where_the_quota_allows_no_further_instance_it_says_so(live: Stack) -> None:
    adjust(live.workspace, "live", {"capacity": {"max": 2}})
    outcome = failing(live, TAGS[2])
    assert "An instance could not be launched: You have requested more vCPU capacity than your" in outcome.output
    assert advice(outcome) == (
        "What to do: the account's quota of vCPUs is used up: `aws service-quotas get-service-quota --service-code ec2 "
        "--quota-code L-1216C47A` shows the limit; ask AWS for more, or end what runs"
    )


def test_once_there_is_room_the_next_good_one_mends_it(live: Stack, occupied: str) -> None:
    account, outputs = live.workspace.account, live.outputs()
    account.client("ecs").stop_task(cluster=outputs["cluster"], task=occupied)
    adjust(live.workspace, "live", {"service": {"deploymentTimeout": None}})
    deploy(live, TAGS[2], "--refresh")
    assert version(live) == TAGS[2]
    live.run("preview", "--expect-no-changes")
