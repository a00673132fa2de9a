"""Roles for the tests: what their instances and their tasks may do."""

import json
from collections.abc import Sequence
from typing import Any

Statement = dict[str, object]

PULLING = ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
LOGGING = ("logs:CreateLogStream", "logs:PutLogEvents")


def allow(actions: Sequence[str], resource: str = "*", **condition: dict[str, str]) -> Statement:
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def make_role(iam: Any, name: str, statements: Sequence[Statement], *, service: str = "ecs-tasks") -> str:
    """A role that a service of AWS takes on and that may do this; its ARN."""
    principal = {"Service": f"{service}.amazonaws.com"}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
    }
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    return str(arn)


def make_instance_profile(iam: Any, name: str) -> None:
    """A profile whose instances may pull and log, as their tasks do that have no execution role."""
    make_role(iam, name, [allow([*PULLING, *LOGGING])], service="ec2")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
