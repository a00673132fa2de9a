"""IAM policies: no more than their holders need."""

from typing import Any

import pytest

from components.policies import SecretAccess, execution_policy, instance_policy, task_policy, task_trust, trust

CLUSTER = "arn:aws:ecs:eu-central-1:123456789012:cluster/pre"
REPOSITORY = "arn:aws:ecr:eu-central-1:123456789012:repository/backend"
LOG = "arn:aws:logs:eu-central-1:123456789012:log-group:/backend/pre"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/a"
OWN_KEY = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:b-AbCdEf"

WITHOUT_RESOURCES = {
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
"""Actions that AWS checks against no resource, or, for ssm:UpdateInstanceInformation, against one not known before.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""


def execution(**access: list[str]) -> dict[str, object]:
    return execution_policy(repository_arn=REPOSITORY, log_group_arn=LOG, injectable=SecretAccess(**access))


POLICIES = {
    "instance": instance_policy(CLUSTER),
    "execution": execution(secret_arns=[SECRET, OWN_KEY], own_key_arns=[OWN_KEY], parameter_arns=[PARAMETER]),
    "task": task_policy(SecretAccess(secret_arns=[SECRET, OWN_KEY], own_key_arns=[OWN_KEY])),
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


@pytest.mark.parametrize(
    "word", ["ecr:", "logs:", "secretsmanager:", "ssm:Get", "s3:", "iam:", "ecs:CreateCluster", "ecs:TagResource"]
)
def test_an_instance_reads_no_images_logs_or_secrets(word: str) -> None:
    assert not [action for action in rights(POLICIES["instance"]) if action.startswith(word)]


def test_session_manager_gets_in() -> None:
    assert "ssmmessages:OpenDataChannel" in rights(POLICIES["instance"])


def test_the_execution_role_reads_exactly_what_is_injected() -> None:
    found = rights(POLICIES["execution"])
    assert found["secretsmanager:GetSecretValue"] == [SECRET, OWN_KEY]
    assert found["ssm:GetParameters"] == [PARAMETER]


def decrypting(policy: dict[str, object]) -> list[dict[str, Any]]:
    return [statement for statement in statements(policy) if statement["Action"] == ["kms:Decrypt"]]


def test_a_secrets_own_key_may_be_used_for_that_secret_alone() -> None:
    (statement,) = decrypting(POLICIES["task"])
    assert statement["Resource"] == ["arn:aws:kms:eu-central-1:*:key/*"]
    assert statement["Condition"] == {
        "StringEquals": {
            "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com",
            "kms:EncryptionContext:SecretARN": [OWN_KEY],
        }
    }, "a key of any account, so the conditions are all that bounds it"


def test_a_parameters_key_may_be_used_for_that_parameter_alone() -> None:
    (statement,) = decrypting(execution(parameter_arns=[PARAMETER]))
    assert statement["Condition"] == {
        "StringEquals": {
            "kms:ViaService": "ssm.eu-central-1.amazonaws.com",
            "kms:EncryptionContext:PARAMETER_ARN": [PARAMETER],
        }
    }


def test_china_has_a_suffix_of_its_own() -> None:
    secret = SECRET.replace("arn:aws:", "arn:aws-cn:").replace("eu-central-1", "cn-north-1")
    (statement,) = decrypting(task_policy(SecretAccess(secret_arns=[secret], own_key_arns=[secret])))
    assert statement["Resource"] == ["arn:aws-cn:kms:cn-north-1:*:key/*"]
    via = statement["Condition"]["StringEquals"]["kms:ViaService"]
    assert via == "secretsmanager.cn-north-1.amazonaws.com.cn"


def test_the_execution_role_pulls_from_its_repository_and_writes_to_its_log_alone() -> None:
    found = rights(POLICIES["execution"])
    assert found["ecr:BatchGetImage"] == found["ecr:GetDownloadUrlForLayer"] == [REPOSITORY]
    assert found["logs:PutLogEvents"] == found["logs:CreateLogStream"] == [f"{LOG}:*"]
    assert "logs:CreateLogGroup" not in found, "the program makes the group"


def test_what_is_not_injected_may_not_be_read() -> None:
    found = rights(execution())
    assert not [action for action in found if action.startswith(("secretsmanager:", "ssm:", "kms:"))]


@pytest.mark.parametrize(
    ("access", "missing"),
    [
        ({"secret_arns": [SECRET]}, {"ssm:GetParameters", "kms:Decrypt"}),
        ({"parameter_arns": [PARAMETER]}, {"secretsmanager:GetSecretValue"}),
    ],
)
def test_of_secrets_and_parameters_only_what_is_injected_may_be_read(
    access: dict[str, list[str]], missing: set[str]
) -> None:
    assert not missing & set(rights(execution(**access)))


def test_the_task_reads_exactly_its_secrets() -> None:
    assert rights(task_policy(SecretAccess(secret_arns=[SECRET]))) == {
        "secretsmanager:DescribeSecret": [SECRET],
        "secretsmanager:GetSecretValue": [SECRET],
    }


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
