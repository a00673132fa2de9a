"""IAM policies, each with no more than its holder needs."""

from collections.abc import Sequence

Policy = dict[str, object]
Statement = dict[str, object]


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
        allow(
            ["ecs:TagResource"],
            [instances],
            condition={"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}},
        ),
        allow(["ecs:DiscoverPollEndpoint", "ec2:DescribeTags"], ["*"]),
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


def execution_policy(
    *,
    repository_arn: str,
    log_group_arn: str,
    secret_arns: Sequence[str],
    parameter_arns: Sequence[str],
    key_arns: Sequence[str],
) -> Policy:
    """Return what the ECS agent does to start a task: pull its image, open its log, read what it injects.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    statements = [
        allow(["ecr:GetAuthorizationToken"], ["*"]),
        allow(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [repository_arn]),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group_arn}:*"]),
    ]
    if secret_arns:
        statements.append(allow(["secretsmanager:GetSecretValue"], secret_arns))
    if parameter_arns:
        statements.append(allow(["ssm:GetParameters"], parameter_arns))
    if key_arns:
        statements.append(allow(["kms:Decrypt"], key_arns))
    return policy(*statements)


def task_policy(*, secret_arns: Sequence[str], key_arns: Sequence[str]) -> Policy:
    """Return what the running task does by itself: read its secrets."""
    statements = [allow(["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], secret_arns)]
    if key_arns:
        statements.append(allow(["kms:Decrypt"], key_arns))
    return policy(*statements)
