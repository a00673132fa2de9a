"""Deployments whose tasks never start: an image that can't be pulled, secrets that can't be read."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rehearsal.surroundings import Account, Outcome, Stack, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import (
    PROJECT,
    advice,
    deploy,
    fails_while_another_serves,
    prepare_live,
    service,
    version,
)
from tests.waiting import until

SECRET = "live1/postgres"
TAGS = [f"v1.{number}.0" for number in range(6)]
BOUND = 120
"""Seconds within which `pulumi up` must have failed."""


@pytest.fixture(scope="module")
def live(workspace: Workspace, account: Account, tools: Tools) -> Stack:
    settings: dict[str, Any] = {
        "promotedOnly": False,
        "container": {"secrets": {"INJECTED": f"{SECRET}:password::"}},
        "service": {"min": 1, "max": 1, "deploymentTimeout": BOUND},
        "capacity": {"min": 1, "max": 1},
    }
    stack = prepare_live(workspace, account, tools, dict.fromkeys(TAGS, ""), settings)
    deploy(stack, TAGS[0])
    return stack


def failing(live: Stack, tag: str) -> Outcome:
    """Deploy what fails, since its tasks don't start."""
    outcome = fails_while_another_serves(live, tag, seconds=BOUND)
    assert re.search(r"Deployment: ecs-svc/\S+ of service booklink-backend-live", outcome.output)
    assert "Reason: ECS deployment circuit breaker: tasks failed to start." in outcome.output
    assert "once it is mended: pulumi up --refresh" in outcome.output
    return outcome


def execution_role(live: Stack) -> str:
    """The name of the role that the running task definition starts its tasks with."""
    ecs = live.workspace.account.client("ecs")
    definition = ecs.describe_task_definition(taskDefinition=live.outputs()["taskDefinition"])["taskDefinition"]
    return str(definition["executionRoleArn"]).rsplit("/", 1)[1]


def take_away(live: Stack, action: str) -> tuple[str, Callable[[], None]]:
    """Take a right from the execution role, as somebody does in the console; the role, and what gives it back."""
    iam, role = live.workspace.account.client("iam"), execution_role(live)
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]

    def put(document: dict[str, Any]) -> None:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    before = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    kept = [
        {**each, "Action": actions}
        for each in before["Statement"]
        if (actions := [given for given in each["Action"] if given != action])
    ]
    assert kept != before["Statement"], "the role has this right"
    put({**before, "Statement": kept})
    return role, lambda: put(before)


def test_an_image_that_may_not_be_pulled_names_role_action_and_repository(live: Stack) -> None:
    role, give_back = take_away(live, "ecr:BatchGetImage")
    outcome = failing(live, TAGS[1])
    assert re.search(r"Task \S+ stopped, and 2 more like it: CannotPullContainerError: ", outcome.output)
    assert advice(outcome) == (
        f"What to do: the role {role} may not do ecr:BatchGetImage on "
        f"arn:aws:ecr:eu-central-1:123456789012:repository/{PROJECT}; `pulumi up --refresh` gives back what somebody "
        "took away"
    )
    give_back()


@contextmanager
def after_the_look_up(live: Stack, act: Callable[[], object]) -> Iterator[None]:
    """Do something while `pulumi up` runs: what it needs has been found, and no instance has asked for it."""
    ecs = live.workspace.account.client("ecs")

    def newest() -> str:
        found = ecs.list_task_definitions(familyPrefix="booklink-backend-live", sort="DESC")["taskDefinitionArns"]
        return str(found[0])

    before = newest()

    def wait() -> None:
        until("a revision is registered", lambda: newest() != before, seconds=BOUND, every=0.05)
        act()

    waiting = threading.Thread(target=wait)
    waiting.start()
    yield
    waiting.join()


def test_an_image_that_is_gone_says_so(live: Stack) -> None:
    ecr = live.workspace.account.client("ecr")
    [image] = ecr.describe_images(repositoryName=PROJECT, imageIds=[{"imageTag": TAGS[2]}])["imageDetails"]
    identity = {"imageDigest": image["imageDigest"]}
    with after_the_look_up(live, lambda: ecr.batch_delete_image(repositoryName=PROJECT, imageIds=[identity])):
        outcome = failing(live, TAGS[2])
    assert re.search(r"Task \S+ stopped, and 2 more like it: CannotPullContainerError: .*not found", outcome.output)
    assert advice(outcome) == (
        "What to do: the image can't be pulled: the registry hasn't got it any more; deploy another tag, or where this "
        "stack builds, change something in build.context"
    )


def test_a_json_key_that_a_secret_hasnt_is_named(live: Stack, password: str) -> None:
    manager = live.workspace.account.client("secretsmanager")
    manager.put_secret_value(SecretId=SECRET, SecretString=json.dumps({"username": "backend"}))
    outcome = failing(live, TAGS[3])
    assert "did not contain json key password" in outcome.output
    assert advice(outcome) == (
        "What to do: a secret in container.secrets has no JSON key password: correct the setting, or put the key into "
        "the secret with `aws secretsmanager put-secret-value`"
    )
    manager.put_secret_value(SecretId=SECRET, SecretString=json.dumps({"password": password}))


def test_a_secret_that_was_deleted_says_how_it_comes_back(live: Stack, password: str) -> None:
    manager = live.workspace.account.client("secretsmanager")
    arn = manager.describe_secret(SecretId=SECRET)["ARN"]
    with after_the_look_up(live, lambda: manager.delete_secret(SecretId=SECRET)):
        outcome = failing(live, TAGS[4])
    assert f"What to do: somebody deleted the secret; `aws secretsmanager restore-secret --secret-id {arn}`" in (
        outcome.output
    )
    assert password not in outcome.output
    manager.restore_secret(SecretId=SECRET)


def test_a_secret_that_may_not_be_read_names_role_action_and_secret(live: Stack) -> None:
    role, _ = take_away(live, "secretsmanager:GetSecretValue")
    arn = live.workspace.account.client("secretsmanager").describe_secret(SecretId=SECRET)["ARN"]
    outcome = failing(live, TAGS[5])
    assert re.search(rf"Task \S+ stopped, and 2 more like it: Secret {arn}: operation error", outcome.output)
    assert advice(outcome) == (
        f"What to do: the role {role} may not do secretsmanager:GetSecretValue on {arn}; `pulumi up --refresh` gives "
        "back what somebody took away"
    )


def test_the_next_good_one_mends_it_all(live: Stack) -> None:
    """A refresh gives back the right that the test before took away."""
    deploy(live, TAGS[5], "--refresh")
    assert version(live) == TAGS[5]
    assert [each["rolloutState"] for each in service(live)["deployments"]] == ["COMPLETED"]
    live.run("preview", "--expect-no-changes")
