"""IAM policies: no more than their holders need."""

from typing import Any

import pytest

from components.policies import execution_policy, instance_policy, task_policy, task_trust, trust

CLUSTER = "arn:aws:ecs:eu-central-1:123456789012:cluster/pre"
REPOSITORY = "arn:aws:ecr:eu-central-1:123456789012:repository/backend"
LOG = "arn:aws:logs:eu-central-1:123456789012:log-group:/backend/pre"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/a"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"

WITHOUT_RESOURCES = {
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "ec2:DescribeTags",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
"""Actions that AWS checks against no resource, or, for ssm:UpdateInstanceInformation, against one not known before.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""


def execution(**changes: Any) -> dict[str, object]:
    args: dict[str, Any] = {
        "repository_arn": REPOSITORY,
        "log_group_arn": LOG,
        "secret_arns": [SECRET],
        "parameter_arns": [PARAMETER],
        "key_arns": [KEY],
    }
    return execution_policy(**{**args, **changes})


POLICIES = {
    "instance": instance_policy(CLUSTER),
    "execution": execution(),
    "task": task_policy(secret_arns=[SECRET], key_arns=[KEY]),
}


def statements(policy: dict[str, object]) -> list[dict[str, Any]]:
    found: Any = policy["Statement"]
    return list(found)


def rights(policy: dict[str, object]) -> dict[str, list[str]]:
    """Return, for each action, the resources that it is allowed on."""
    return {action: statement["Resource"] for statement in statements(policy) for action in statement["Action"]}


@pytest.mark.parametrize("name", POLICIES)
def test_only_actions_without_resources_are_allowed_on_all_of_them(name: str) -> None:
    everywhere = {action for action, resources in rights(POLICIES[name]).items() if "*" in resources}
    assert everywhere <= WITHOUT_RESOURCES


@pytest.mark.parametrize("name", POLICIES)
def test_no_action_is_a_pattern(name: str) -> None:
    assert not [action for action in rights(POLICIES[name]) if "*" in action or "?" in action]


@pytest.mark.parametrize("name", POLICIES)
def test_everything_is_an_allowance_and_no_statement_is_empty(name: str) -> None:
    for statement in statements(POLICIES[name]):
        assert statement["Effect"] == "Allow"
        assert statement["Action"]
        assert statement["Resource"], "AWS refuses a statement without resources"


@pytest.mark.parametrize("action", ["ecs:RegisterContainerInstance", "ecs:SubmitTaskStateChange"])
def test_an_instance_registers_with_its_cluster_alone(action: str) -> None:
    assert rights(POLICIES["instance"])[action] == [CLUSTER]


@pytest.mark.parametrize("action", ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"])
def test_an_instance_acts_on_instances_of_its_cluster_alone(action: str) -> None:
    (statement,) = [s for s in statements(POLICIES["instance"]) if action in s["Action"]]
    assert statement["Resource"] == ["arn:aws:ecs:eu-central-1:123456789012:container-instance/pre/*"]
    assert statement["Condition"] == {"ArnEquals": {"ecs:cluster": CLUSTER}}


def test_an_instance_tags_itself_when_it_registers_and_never_else() -> None:
    (statement,) = [s for s in statements(POLICIES["instance"]) if "ecs:TagResource" in s["Action"]]
    assert statement["Condition"] == {"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}}


@pytest.mark.parametrize("word", ["ecr:", "logs:", "secretsmanager:", "ssm:Get", "s3:", "iam:", "ecs:CreateCluster"])
def test_an_instance_reads_no_images_logs_or_secrets(word: str) -> None:
    assert not [action for action in rights(POLICIES["instance"]) if action.startswith(word)]


def test_session_manager_gets_in() -> None:
    assert "ssmmessages:OpenDataChannel" in rights(POLICIES["instance"])


def test_the_execution_role_reads_exactly_what_is_injected() -> None:
    found = rights(POLICIES["execution"])
    assert found["secretsmanager:GetSecretValue"] == [SECRET]
    assert found["ssm:GetParameters"] == [PARAMETER]
    assert found["kms:Decrypt"] == [KEY]


def test_the_execution_role_pulls_from_its_repository_and_writes_to_its_log_alone() -> None:
    found = rights(POLICIES["execution"])
    assert found["ecr:BatchGetImage"] == found["ecr:GetDownloadUrlForLayer"] == [REPOSITORY]
    assert found["logs:PutLogEvents"] == found["logs:CreateLogStream"] == [f"{LOG}:*"]
    assert "logs:CreateLogGroup" not in found, "the program makes the group"


@pytest.mark.parametrize(
    ("argument", "action"),
    [
        ("secret_arns", "secretsmanager:GetSecretValue"),
        ("parameter_arns", "ssm:GetParameters"),
        ("key_arns", "kms:Decrypt"),
    ],
)
def test_what_is_not_injected_may_not_be_read(argument: str, action: str) -> None:
    assert action not in rights(execution(**{argument: []}))


def test_the_task_reads_exactly_its_secrets() -> None:
    assert rights(POLICIES["task"]) == {
        "secretsmanager:DescribeSecret": [SECRET],
        "secretsmanager:GetSecretValue": [SECRET],
        "kms:Decrypt": [KEY],
    }
    assert "kms:Decrypt" not in rights(task_policy(secret_arns=[SECRET], key_arns=[]))


def test_no_other_account_gets_ecs_to_take_a_role_on_for_it() -> None:
    (statement,) = statements(task_trust(partition="aws-cn", region="cn-north-1", account="123456789012"))
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {"aws:SourceAccount": "123456789012"},
            "ArnLike": {"aws:SourceArn": "arn:aws-cn:ecs:cn-north-1:123456789012:*"},
        },
    }


def test_a_trust_without_a_condition_has_none() -> None:
    (statement,) = statements(trust("ec2.amazonaws.com"))
    assert "Condition" not in statement
