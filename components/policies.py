"""IAM policies, each with no more than its holder needs."""

from collections.abc import Sequence
from dataclasses import dataclass

Policy = dict[str, object]
Statement = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class SecretAccess:
    """What a role may read, by ARN: secrets, those of them that a KMS key of their own encrypts, SSM parameters."""

    secret_arns: Sequence[str] = ()
    own_key_arns: Sequence[str] = ()
    parameter_arns: Sequence[str] = ()


def policy(*statements: Statement) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    actions: Sequence[str], resources: Sequence[str], *, condition: dict[str, dict[str, object]] | None = None
) -> Statement:
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def trust(service: str, *, condition: dict[str, dict[str, str]] | None = None) -> Policy:
    """Return the policy by which a service, such as ec2.amazonaws.com, may take a role on."""
    statement: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return policy({**statement, "Condition": condition} if condition else statement)


def task_trust(*, partition: str, region: str, account: str) -> Policy:
    """Return the policy by which the tasks of this account and region alone may take a role on.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    return trust(
        "ecs-tasks.amazonaws.com",
        condition={
            "StringEquals": {"aws:SourceAccount": account},
            "ArnLike": {"aws:SourceArn": f"arn:{partition}:ecs:{region}:{account}:*"},
        },
    )


def instance_policy(cluster_arn: str) -> Policy:
    """Return what an instance does as a member of its cluster, and to let Session Manager in.

    Of AmazonEC2ContainerServiceforEC2Role it has the agent's calls, for this cluster alone: images are pulled and logs
    written with the task execution role.
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
    https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
    """
    instances = cluster_arn.replace(":cluster/", ":container-instance/") + "/*"
    return policy(
        allow(
            [
                "ecs:DeregisterContainerInstance",
                "ecs:RegisterContainerInstance",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
            ],
            [cluster_arn],
        ),
        allow(
            ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
            [instances],
            condition={"ArnEquals": {"ecs:cluster": cluster_arn}},
        ),
        allow(["ecs:DiscoverPollEndpoint"], ["*"]),
        allow(
            [
                "ssm:UpdateInstanceInformation",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            ["*"],
        ),
    )


def execution_policy(*, repository_arn: str, log_group_arn: str, injectable: SecretAccess) -> Policy:
    """Return what the ECS agent does to start a task: pull its image, open its log, read what it injects.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    statements = [
        allow(["ecr:GetAuthorizationToken"], ["*"]),
        allow(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [repository_arn]),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
    ]
    if injectable.secret_arns:
        statements.append(allow(["secretsmanager:GetSecretValue"], injectable.secret_arns))
    if injectable.parameter_arns:
        statements.append(allow(["ssm:GetParameters"], injectable.parameter_arns))
        statements.append(_decrypt("ssm", context="PARAMETER_ARN", arns=injectable.parameter_arns))
    return policy(*statements, *_decrypt_secrets(injectable))


def task_policy(readable: SecretAccess) -> Policy:
    """Return what the running task does by itself: read its secrets."""
    actions = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    return policy(allow(actions, readable.secret_arns), *_decrypt_secrets(readable))


def _decrypt_secrets(access: SecretAccess) -> list[Statement]:
    return [_decrypt("secretsmanager", context="SecretARN", arns=access.own_key_arns)] if access.own_key_arns else []


def _decrypt(service: str, *, context: str, arns: Sequence[str]) -> Statement:
    """Return the right to any key, as far as `service` uses it for what has one of `arns`, and for nothing else.

    So the key needs not be known, which may be named by its ID, its ARN or an alias, or be another account's.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
    https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
    """
    _, partition, _, region, *_ = arns[0].split(":")
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return allow(
        ["kms:Decrypt"],
        [f"arn:{partition}:kms:{region}:*:key/*"],
        condition={
            "StringEquals": {
                "kms:ViaService": f"{service}.{region}.{suffix}",
                f"kms:EncryptionContext:{context}": list(arns),
            }
        },
    )
