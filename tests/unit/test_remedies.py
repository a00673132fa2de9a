"""What to do, by what ECS says: in the words of the agent on EC2, of older ones, and of Fargate."""

import pytest

from components.remedies import remedy

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:pre1/postgres-AbCdEf"
SDK = "operation error Secrets Manager: GetSecretValue, https response error StatusCode: 400, RequestID: 1-2"
FARGATE = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable "
    "to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret"
)


def denial(action: str, resource: str) -> str:
    return (
        "User: arn:aws:sts::123456789012:assumed-role/backend-execution-1a/0a1b is not authorized to perform: "
        f"{action} on resource: {resource} because no identity-based policy allows the {action} action"
    )


def of(ending: str) -> str:
    return remedy(endings=[ending], words=[], exit_codes=[])


@pytest.mark.parametrize(
    "reason",
    [
        f"Secret {SECRET}: {SDK}, api error AccessDeniedException: {denial('secretsmanager:GetSecretValue', SECRET)}",
        f"Fetching secret data from AWS Secrets Manager in region eu-central-1: secret {SECRET}: "
        "AccessDeniedException: "
        f"{denial('secretsmanager:GetSecretValue', SECRET)} status code: 400, request id: 1-2",
        f"{FARGATE} {SECRET} from secrets manager: AccessDeniedException: "
        f"{denial('secretsmanager:GetSecretValue', SECRET)}",
    ],
)
def test_a_denied_secret_names_role_action_and_secret(reason: str) -> None:
    assert of(reason) == (
        f"the role backend-execution-1a may not do secretsmanager:GetSecretValue on {SECRET}; `pulumi up --refresh` "
        "gives back what somebody took away"
    )


def test_an_explicit_denial_is_another_policys() -> None:
    reason = denial("ecr:BatchGetImage", "arn:repository").replace("because no", "with an explicit deny in an")
    assert of(reason).startswith("a policy denies the role backend-execution-1a ecr:BatchGetImage on arn:repository: ")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            f"Secret {SECRET}: {SDK}, api error AccessDeniedException: Access to KMS is not allowed",
            "may not use the KMS key",
        ),
        (
            "Retrieved secret from Secrets Manager did not contain json key password",
            "has no JSON key password: correct",
        ),
        (
            f"{FARGATE} x: retrieved secret from Secrets Manager did not contain json key a;b",
            "has no JSON key a: correct",
        ),
        ("Invalid character 'h' looking for beginning of value", "holds no JSON"),
        (
            f"Secret {SECRET}: {SDK}, InvalidRequestException: You can't perform this operation on the secret because "
            "it was marked for deletion.",
            f"`aws secretsmanager restore-secret --secret-id {SECRET}` brings it back",
        ),
        (
            f"ResourceNotFoundException: The task can't retrieve the secret with ARN '{SECRET}' from AWS Secrets "
            "Manager. "
            f"Check whether: {SDK}, ResourceNotFoundException: Secrets Manager can't find the specified secret.",
            f"the secret {SECRET} is gone",
        ),
        (
            f"Fetching secret data from AWS Secrets Manager in region eu-central-1: secret {SECRET}: "
            "ResourceNotFoundException: Secrets Manager can't find the specified secret.",
            f"the secret {SECRET} is gone",
        ),
        (
            "Fetching secret data from SSM Parameter Store in eu-central-1: invalid parameters: /a/b",
            "no SSM parameter /a/b",
        ),
        ("ResourceInitializationError: failed to configure the volume", "most often a secret"),
        (
            "CannotStartContainerError: Error response from daemon: failed to create Cloudwatch log stream: "
            "ResourceNotFoundException: The specified log group does not exist.",
            "`pulumi up --refresh` makes it again",
        ),
        (
            "CannotPullContainerError: Error response from daemon: manifest for r@sha256:1 not found: manifest "
            "unknown: Requested image not found",
            "the registry hasn't got it any more",
        ),
        ("CannotPullContainerError: request canceled while waiting for connection", "have no way to the registry"),
        (
            'CannotStartContainerError: Error response from daemon: exec: "x": executable file not found in $PATH: '
            "unknown",
            "see container.command",
        ),
        (
            "Essential container in task exited OutOfMemoryError: Container killed due to memory usage",
            "container.memory",
        ),
        ("Task failed container health checks", "health.command doesn't end with 0"),
        ("Task failed ELB health checks in (target-group arn)", "doesn't answer health.path"),
    ],
)
def test_each_reason_has_its_remedy(reason: str, words: str) -> None:
    assert words in of(reason)


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ("The closest matching (container-instance a) has insufficient memory available.", "lower container.memory"),
        ("The closest matching (container-instance a) has insufficient CPU units available.", "lower container.cpu"),
        ("is already using a port required by your task.", "container.hostPort"),
        ("Reason: No Container Instances were found in your cluster.", "no instance has joined the cluster"),
        ("unable to place a task. is missing an attribute required by your task.", "the event above says of what"),
    ],
)
def test_a_task_without_a_place_says_what_is_short(words: str, setting: str) -> None:
    event = f"(service s) was unable to place a task because no container instance met all of its requirements. {words}"
    assert setting in remedy(endings=[], words=["it was not complete after 60 s", event], exit_codes=[])


def test_why_a_task_stopped_tells_more_than_that_another_found_no_place() -> None:
    events = ["(service s) was unable to place a task because x has insufficient memory available."]
    assert "has no JSON key a" in remedy(endings=["did not contain json key a"], words=events, exit_codes=[])


def test_an_instance_that_cant_be_launched_tells_more_than_that_there_is_no_room() -> None:
    events = ["(service s) was unable to place a task because x has insufficient memory available."]
    launch = "You have requested more vCPU capacity than your current vCPU limit of 0 allows"
    assert "quota of vCPUs" in remedy(endings=[], words=events, exit_codes=[], failed_launches=[launch])
