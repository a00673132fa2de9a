"""What the emulated account asks IAM about requests, as the Service Authorization Reference has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rehearsal.account import authorization
from rehearsal.account.authorization import Question, Request
from rehearsal.account.mending import ministack
from rehearsal.account.query import nested

ACCOUNT, REGION = "123456789012", "eu-central-1"
TAGS = {"TagSpecification.1.ResourceType": "subnet", "TagSpecification.1.Tag.1.Key": "Project",
        "TagSpecification.1.Tag.1.Value": "backend"}  # fmt: skip
GIVEN = {"aws:RequestTag/Project": "backend"}


def arn(service: str, resource: str, *, region: str = REGION) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def asked(action: str, parameters: dict[str, Any]) -> list[Question]:
    service = action.partition(":")[0]
    flat = {key: value for key, value in parameters.items() if isinstance(value, str)}
    given = nested(flat) if service in ("ec2", "iam", "autoscaling", "elasticloadbalancing") else parameters
    responses = ministack("core.responses")
    with responses.request_scope(ACCOUNT, REGION):
        return list(authorization.SERVICES[service](Request(action, given, "/", REGION, ACCOUNT)))


def test_what_is_made_has_the_requests_tags_and_what_is_there_has_not() -> None:
    assert asked("ec2:CreateSubnet", {"VpcId": "vpc-1", **TAGS}) == [
        Question("ec2:CreateSubnet", arn("ec2", "subnet/*"), GIVEN),
        Question("ec2:CreateTags", arn("ec2", "subnet/*"), {**GIVEN, "ec2:CreateAction": "CreateSubnet"}),
        Question("ec2:CreateSubnet", arn("ec2", "vpc/vpc-1")),
    ]


def test_tags_are_given_to_each_resource_that_a_request_names() -> None:
    given = {"ResourceId.1": "vpc-1", "ResourceId.2": "sg-1", "Tag.1.Key": "Project", "Tag.1.Value": "backend"}
    assert asked("ec2:CreateTags", given) == [
        Question("ec2:CreateTags", arn("ec2", "vpc/vpc-1"), GIVEN),
        Question("ec2:CreateTags", arn("ec2", "security-group/sg-1"), GIVEN),
    ]


def test_a_role_is_asked_about_with_its_path_and_its_boundary() -> None:
    given = {"RoleName": "task", "Path": "/backend/pre/", "PermissionsBoundary": "arn:boundary"}
    assert asked("iam:CreateRole", given) == [
        Question(
            "iam:CreateRole",
            arn("iam", "role/backend/pre/task", region=""),
            {"iam:PermissionsBoundary": "arn:boundary"},
        )
    ]


def test_a_task_definition_passes_its_roles() -> None:
    questions = asked("ecs:RegisterTaskDefinition", {"family": "backend", "taskRoleArn": "arn:task"})
    assert questions == [
        Question("ecs:RegisterTaskDefinition", arn("ecs", "task-definition/backend:*")),
        Question("iam:PassRole", "arn:task", {"iam:PassedToService": "ecs-tasks.amazonaws.com"}),
    ]


def test_a_service_is_asked_about_with_its_cluster_and_what_it_is_to_run() -> None:
    given = {"cluster": "one", "service": "backend", "taskDefinition": "backend:3"}
    assert asked("ecs:UpdateService", given) == [
        Question(
            "ecs:UpdateService",
            arn("ecs", "service/one/backend"),
            {
                "ecs:cluster": arn("ecs", "cluster/one"),
                "ecs:task-definition": arn("ecs", "task-definition/backend:3"),
            },
        )
    ]


def test_a_task_is_asked_about_with_where_it_is_to_run() -> None:
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    given = {"cluster": "one", "taskDefinition": "backend:3", "networkConfiguration": network}
    strategy = [{"capacityProvider": "two", "weight": 1}]
    [question] = asked("ecs:RunTask", {**given, "capacityProviderStrategy": strategy})
    assert question.context == {
        "ecs:cluster": arn("ecs", "cluster/one"),
        "ecs:capacity-provider": [arn("ecs", "capacity-provider/two")],
        "ecs:subnet": ["subnet-1"],
    }


@pytest.mark.parametrize("mixed", [False, True])
def test_a_group_runs_instances_in_its_subnets_and_with_its_templates_security_groups(
    mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2, data = ministack("services.ec2"), {"SecurityGroupIds": ["sg-1"], "ImageId": "ami-1"}
    monkeypatch.setattr(ec2, "_launch_templates", {"lt-1": {"Versions": [{"LaunchTemplateData": data}]}})
    monkeypatch.setattr(ec2, "_subnets", {"subnet-1": {"VpcId": "vpc-1"}})
    monkeypatch.setattr(ec2, "_tags", {"sg-1": [{"Key": "Project", "Value": "backend"}]})
    of_mixed = "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification"
    given = {"AutoScalingGroupName": "one", "VPCZoneIdentifier": "subnet-1,subnet-2"}
    template = f"{of_mixed if mixed else 'LaunchTemplate'}.LaunchTemplateId"
    found = {
        each.resource: each.context for each in asked("autoscaling:CreateAutoScalingGroup", {**given, template: "lt-1"})
    }
    used = {"ec2:LaunchTemplate": arn("ec2", "launch-template/lt-1")}
    assert found[arn("ec2", "security-group/sg-1")]["aws:ResourceTag/Project"] == "backend"
    assert found[arn("ec2", "subnet/subnet-1")] == {**used, "ec2:Vpc": arn("ec2", "vpc/vpc-1")}
    assert arn("ec2", "subnet/subnet-2") in found


@pytest.mark.parametrize(
    ("action", "parameters", "resource"),
    [
        ("ec2:DescribeVpcs", {"VpcId.1": "vpc-1"}, "*"),
        ("ec2:DescribeVpcAttribute", {"VpcId": "vpc-1"}, arn("ec2", "vpc/vpc-1")),
        ("ecs:DescribeTaskDefinition", {"taskDefinition": "backend:3"}, "*"),
        ("ecs:StopTask", {"cluster": "one", "task": "1"}, arn("ecs", "task/one/1")),
        ("ecs:ListTasks", {"cluster": "one"}, arn("ecs", "container-instance/one/*")),
        ("ecs:DeleteCapacityProvider", {"capacityProvider": "two"}, arn("ecs", "capacity-provider/two")),
        ("ecs:DeleteCluster", {"cluster": arn("ecs", "cluster/one")}, arn("ecs", "cluster/one")),
        ("ecs:StopServiceDeployment", {"serviceDeploymentArn": "arn:deployment"}, "arn:deployment"),
        ("ecr:GetAuthorizationToken", {}, "*"),
        ("ecr:DescribeRepositories", {"repositoryNames": ["backend"]}, arn("ecr", "repository/backend")),
        ("logs:GetLogEvents", {"logGroupName": "a", "logStreamName": "b"}, arn("logs", "log-group:a:log-stream:b")),
        ("ssm:GetParameter", {"Name": "/aws/service/ecs/x"}, f"arn:aws:ssm:{REGION}::parameter/aws/service/ecs/x"),
        ("ssm:GetParameter", {"Name": "/orders/key"}, arn("ssm", "parameter/orders/key")),
        ("elasticloadbalancing:DescribeTags", {"ResourceArns.member.1": "arn:x"}, "*"),
        ("iam:DeletePolicy", {"PolicyArn": "arn:policy"}, "arn:policy"),
        (
            "iam:CreatePolicy",
            {"PolicyName": "b", "Path": "/github/"},
            arn("iam", "policy/github/b", region=""),
        ),
    ],
)
def test_the_resource_is_the_one_of_the_reference(action: str, parameters: dict[str, Any], resource: str) -> None:
    assert [(each.action, each.resource) for each in asked(action, parameters)] == [(action, resource)]


def test_a_change_of_records_is_asked_about_with_their_names_as_aws_normalizes_them() -> None:
    change = "<Change><Action>UPSERT</Action><Name>Be.Example.org.</Name><Type>A</Type></Change>"
    request = Request("route53:ChangeResourceRecordSets", {}, "/2013-04-01/hostedzone/Z1/rrset", REGION, ACCOUNT)
    [question] = authorization.route53(request, change)
    assert question.resource == "arn:aws:route53:::hostedzone/Z1"
    assert question.context["route53:ChangeResourceRecordSetsNormalizedRecordNames"] == ["be.example.org"]
    assert question.context["route53:ChangeResourceRecordSetsRecordTypes"] == ["A"]


@pytest.mark.parametrize("recorded", [True, False])
def test_calls_are_recorded_where_a_file_is_named_for_them(
    recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "calls.jsonl"
    monkeypatch.delenv(authorization.CALLS, raising=False)
    if recorded:
        monkeypatch.setenv(authorization.CALLS, str(file))
    denied = object()
    answers = iter([None, denied])
    authorization._questions.set((Question("a:One", "arn:1"), Question("a:Two", "arn:2"), Question("a:Three", "arn:3")))
    result = authorization.ask_all(lambda *_: next(answers), "AKIA", "a:One", "a", REGION)
    assert result is denied, "what IAM refuses of a request is refused as a whole"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    told = [(each["action"], each["resource"], each["allowed"]) for each in lines]
    assert told == ([("a:One", "arn:1", True), ("a:Two", "arn:2", False)] if recorded else [])
