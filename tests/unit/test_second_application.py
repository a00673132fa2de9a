"""Another application through the same program: what its stack file says is all that differs."""

import json
from typing import Any

import pytest

from tests.unit.aws_answers import ACCOUNT, REGION
from tests.unit.mocked_engine import PROJECT, Deployment
from tests.unit.stack_files import SECOND_APPLICATION, run_program, values

SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:orders/db-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:111122223333:parameter/orders/api-key"
SUBNETS = ["subnet-0a1b2c3d4e5f60710", "subnet-0a1b2c3d4e5f60711"]


def with_fixed_port(**service: int) -> dict[str, Any]:
    given = values(SECOND_APPLICATION)
    container, size = f"{PROJECT}:container", f"{PROJECT}:service"
    return {**given, container: {**given[container], "hostPort": 8888}, size: {**given[size], **service}}


@pytest.fixture(scope="module")
def made() -> Deployment:
    return run_program("second", values(SECOND_APPLICATION), built_for="arm64", preview=True)


@pytest.fixture(scope="module")
def fixed() -> Deployment:
    return run_program("second", with_fixed_port(), built_for="arm64", preview=True)


def container(deployment: Deployment) -> dict[str, Any]:
    (found,) = json.loads(deployment.one("aws:ecs/taskDefinition:TaskDefinition").inputs["containerDefinitions"])
    assert isinstance(found, dict)
    return found


def test_it_listens_on_its_own_port(made: Deployment) -> None:
    assert container(made)["portMappings"] == [{"containerPort": 3000, "hostPort": 0, "protocol": "tcp"}]
    (balancer,) = made.one("aws:ecs/service:Service").inputs["loadBalancers"]
    assert balancer["containerPort"] == 3000


def test_its_secrets_are_injected_by_their_arns(made: Deployment) -> None:
    assert container(made)["secrets"] == [
        {"name": "API_KEY", "valueFrom": PARAMETER},
        {"name": "DB_PASSWORD", "valueFrom": f"{SECRET}:password::"},
    ]


def test_the_agent_may_read_exactly_those(made: Deployment) -> None:
    statements = json.loads(made.one("aws:iam/rolePolicy:RolePolicy", "-execution").inputs["policy"])["Statement"]
    rights = {action: statement["Resource"] for statement in statements for action in statement["Action"]}
    assert rights["secretsmanager:GetSecretValue"] == [SECRET]
    assert rights["ssm:GetParameters"] == [PARAMETER]
    assert not [p for p in made.all("aws:iam/rolePolicy:RolePolicy") if p.name.endswith("-task")]


def test_another_version_of_its_secrets_would_be_another_task_definition(made: Deployment) -> None:
    assert container(made)["dockerLabels"]["injected-versions"] == "API_KEY=7 DB_PASSWORD=version-2"


def test_it_runs_on_arm(made: Deployment) -> None:
    platform = made.one("aws:ecs/taskDefinition:TaskDefinition").inputs["runtimePlatform"]
    assert platform["cpuArchitecture"] == "ARM64"
    parameters = [i.arguments["name"] for i in made.invocations if i.token == "aws:ssm/getParameter:getParameter"]
    (parameter,) = [name for name in parameters if name != PARAMETER]
    assert "/arm64/" in parameter
    assert made.one("aws:ec2/launchTemplate:LaunchTemplate").inputs["instanceType"] == "t4g.small"


def test_it_runs_in_the_vpc_that_exists(made: Deployment) -> None:
    assert made.all("aws:ec2/vpc:Vpc") == made.all("aws:ec2/subnet:Subnet") == made.all("aws:ec2/route:Route") == []
    assert made.one("aws:lb/loadBalancer:LoadBalancer").inputs["subnets"] == SUBNETS
    assert made.one("aws:autoscaling/group:Group").inputs["vpcZoneIdentifiers"] == SUBNETS
    vpcs = {r.inputs["vpcId"] for r in made.resources if "vpcId" in r.inputs}
    assert vpcs == {"vpc-0a1b2c3d4e5f60718"}


def test_a_vpc_without_ipv6_gets_no_aaaa_record(made: Deployment) -> None:
    records = [r.inputs["type"] for r in made.all("aws:route53/record:Record") if "aliases" in r.inputs]
    assert records == ["A"]


def test_it_runs_where_and_as_what_it_says(made: Deployment) -> None:
    found = container(made)
    assert (found["command"], found["user"], found["stopTimeout"]) == (["node", "server.js"], "1000:1000", 60)
    assert found["logConfiguration"]["options"]["awslogs-region"] == "eu-west-1"
    assert made.one("pulumi:providers:aws").inputs["region"] == "eu-west-1"
    assert made.outputs["url"] == "https://orders.example.org"


def test_its_number_of_tasks_is_fixed(made: Deployment) -> None:
    assert made.all("aws:appautoscaling/target:Target") == []
    assert made.one("aws:ecs/service:Service").inputs["desiredCount"] == 2


def test_with_a_fixed_host_port_the_instances_are_the_targets(fixed: Deployment) -> None:
    target_group = fixed.one("aws:lb/targetGroup:TargetGroup")
    assert target_group.inputs["port"] == 8888
    assert fixed.one("aws:autoscaling/group:Group").inputs["targetGroupArns"] == [target_group.outputs["arn"]]
    assert container(fixed)["portMappings"][0]["hostPort"] == 8888


def test_with_an_instance_to_spare_a_fixed_port_has_no_gap(fixed: Deployment) -> None:
    inputs = fixed.one("aws:ecs/service:Service").inputs
    assert (inputs["deploymentMinimumHealthyPercent"], inputs["deploymentMaximumPercent"]) == (100, 200)
    assert fixed.warnings() == []


def test_without_one_the_gap_is_warned_of() -> None:
    deployment = run_program("second", with_fixed_port(min=1, max=3), built_for="arm64", preview=True)
    inputs = deployment.one("aws:ecs/service:Service").inputs
    assert (inputs["deploymentMinimumHealthyPercent"], inputs["deploymentMaximumPercent"]) == (0, 100)
    (warning,) = deployment.warnings()
    assert "each deployment has a moment without a task" in warning
