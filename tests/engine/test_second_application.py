"""Another application, described by its stack file alone: another port, injected secrets, a VPC that exists.

What its file asks for and this machine hasn't, arm64 above all, is previewed; what is deployed has a fixed host port.
"""

import json
import re
import secrets
import shutil
from typing import Any

import pytest

from rehearsal.folders import ROOT
from rehearsal.surroundings import REGION, Account, Outcome, Stack, Workspace, containers, get, seed
from rehearsal.tools import Tools
from tests.engine.deployments import (
    PROJECT,
    QUICK_HEALTH,
    SERVICE_ALONE,
    adjust,
    changes,
    costs_by_the_hour,
    deploy,
    docker,
    fails,
    looked_at,
    push,
    put_for,
    service,
)
from tests.waiting import until

ZONE = "example.org"
PORT = 3000
PARAMETER = "/orders/api-key"
VPC_RANGE = "10.77.0.0/16"


@pytest.fixture(scope="module")
def vpc(account: Account) -> tuple[str, list[str]]:
    """A VPC that exists, and its public subnets in two zones."""
    ec2 = account.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock=VPC_RANGE)["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    routes = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=routes, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnets = []
    for number, zone in enumerate("ab"):
        made = ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.77.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")[
            "Subnet"
        ]["SubnetId"]
        ec2.associate_route_table(RouteTableId=routes, SubnetId=made)
        ec2.modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch={"Value": True})
        subnets.append(made)
    return vpc_id, subnets


@pytest.fixture(scope="module")
def second(workspace: Workspace, account: Account, vpc: tuple[str, list[str]], tools: Tools, password: str) -> Stack:
    """The stack, with what its settings name in place."""
    seed(account, zone=ZONE, secrets={"orders/db": {"password": password}})
    ssm = account.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value=f"key-{password}", Type="SecureString")
    account.client("ecr").create_repository(repositoryName=PROJECT)
    push(account, "v2.0.0", base=tools.base_image)
    push(account, "v2.0.1", base=tools.base_image)
    push(account, "v1.9.0", base=tools.base_image, fault="eat-memory")
    shutil.copy(ROOT / "tests" / "examples" / "second" / "Pulumi.second.yaml", workspace.directory)
    here: dict[str, Any] = {
        "aws:region": REGION,
        "network": {"vpcId": vpc[0], "subnetIds": vpc[1]},
        "container": {"secrets": {"API_KEY": ssm.get_parameter(Name=PARAMETER)["Parameter"]["ARN"]}},
    }
    adjust(workspace, "second", here)
    return workspace.stack("second")


@pytest.fixture(scope="module")
def adapted(second: Stack) -> Stack:
    """The same for the sample, on x86, with one task on one instance and a fixed host port."""
    settings: dict[str, Any] = {
        "container": {
            "hostPort": PORT,
            "command": None,
            "environment": {"PORT": PORT, "NODE_ENV": None},
            "user": "10001:10001",
            "stopTimeout": 10,
        },
        "health": {**QUICK_HEALTH, "path": "/actuator/health"},
        "service": {"min": 1, "max": 1, "deploymentTimeout": 120},
        "capacity": {"instanceType": "t3.small", "min": 1, "max": 1},
    }
    adjust(second.workspace, "second", settings)
    return second


@pytest.fixture(scope="module")
def failed(adapted: Stack) -> Outcome:
    """The first deployment, of an image that needs more memory than it may have."""
    adjust(adapted.workspace, adapted.name, {"container": {"memory": 32}})
    return deploy(adapted, "v1.9.0", check=False)


@pytest.fixture(scope="module")
def mended(adapted: Stack, failed: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    adjust(adapted.workspace, adapted.name, {"container": {"memory": 384}})
    return deploy(adapted, "v2.0.0")


@pytest.fixture(scope="module")
def destroyed(adapted: Stack, mended: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    return adapted.run("destroy", "--yes")


def info(stack: Stack) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(get(stack.workspace.account, f"{stack.outputs()['url']}/info").body)
    return page


def environments(account: Account) -> list[list[str]]:
    """The environment of each container that runs."""
    found = json.loads(docker("inspect", *containers(account.port)))
    return [each["Config"]["Env"] for each in found if each["State"]["Running"]]


def test_an_image_for_another_architecture_is_refused_before_any_change(second: Stack) -> None:
    refused = second.run("preview", check=False)
    fails(refused)
    assert "tag: v2.0.0 was built for amd64, and capacity.instanceType is arm64; give pre an instance" in refused.output


def test_its_own_file_is_previewed_on_arm64(second: Stack) -> None:
    put_for(second.workspace.account, "v2.0.2", of="v2.0.0", architecture="arm64")
    foreseen = changes(second, "--config", "tag=v2.0.2")
    assert set(foreseen.values()) == {"create"}
    assert "aws:ecs/service:Service" in foreseen
    assert "aws:ec2/vpc:Vpc" not in foreseen, "the VPC exists"
    assert "docker:index/image:Image" not in foreseen, "the image exists"


def test_a_first_deployment_that_fails_ends_and_says_so(failed: Outcome) -> None:
    fails(failed)
    assert "Serving now: nothing: no task of the service runs" in failed.output


def test_one_that_needs_too_much_memory_names_the_setting(failed: Outcome) -> None:
    assert "OutOfMemoryError" in failed.output
    assert "exit code 137" in failed.output
    assert "container.memory allows" in failed.output


@pytest.mark.usefixtures("mended")
def test_a_good_image_then_brings_it_up(adapted: Stack) -> None:
    page = info(adapted)
    assert page["version"] == "v2.0.0"
    assert page["limits"]["user"] == 10001
    assert adapted.outputs()["url"] == f"https://orders.{ZONE}"


@pytest.mark.usefixtures("mended")
def test_an_outsider_finds_it_as_it_should_be(adapted: Stack) -> None:
    assert looked_at(adapted)


@pytest.mark.usefixtures("mended")
def test_injected_secrets_arrive_in_the_container(adapted: Stack, password: str) -> None:
    account = adapted.workspace.account
    [running] = environments(account)
    assert f"DB_PASSWORD={password}" in running, "one key of a secret"
    assert f"API_KEY=key-{password}" in running, "an SSM parameter"
    definition = account.client("ecs").describe_task_definition(taskDefinition=adapted.outputs()["taskDefinition"])
    texts = [json.dumps(definition, default=str), adapted.run("stack", "export", "--show-secrets").output]
    assert not any(password in text for text in texts), "the agent reads the values, and nobody else has them"


@pytest.mark.usefixtures("mended")
def test_a_rotated_secret_is_noticed_and_redeploys(adapted: Stack, password: str) -> None:
    account, other = adapted.workspace.account, secrets.token_urlsafe(24)
    assert changes(adapted) == {}
    account.client("secretsmanager").put_secret_value(
        SecretId="orders/db", SecretString=json.dumps({"password": other})
    )
    assert changes(adapted) == SERVICE_ALONE, "the next preview sees it"
    account.client("ssm").put_parameter(Name=PARAMETER, Value=f"key-{other}", Type="SecureString", Overwrite=True)
    outcome = deploy(adapted, "v2.0.0")
    [running] = environments(account)
    assert {f"DB_PASSWORD={other}", f"API_KEY=key-{other}"} <= set(running)
    assert changes(adapted) == {}, "and once is enough"
    texts = [outcome.output, adapted.run("stack", "export", "--show-secrets").output]
    assert not any(value in text for value in (other, password) for text in texts), "no value is read to notice it"


@pytest.mark.usefixtures("mended")
def test_with_a_fixed_host_port_the_instances_are_the_targets(adapted: Stack, vpc: tuple[str, list[str]]) -> None:
    account = adapted.workspace.account
    group = service(adapted)["loadBalancers"][0]["targetGroupArn"]
    targets = account.client("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    groups = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [each["TargetGroupARNs"] for each in groups] == [[group]]
    instances = [each["InstanceId"] for each in groups[0]["Instances"]]
    assert [(each["Target"]["Id"], each["Target"]["Port"]) for each in targets] == [(instances[0], PORT)]
    described = account.client("ec2").describe_instances(InstanceIds=instances)["Reservations"][0]["Instances"][0]
    assert described["SubnetId"] in vpc[1]


@pytest.mark.usefixtures("mended")
def test_on_one_instance_it_deploys_with_a_gap(adapted: Stack) -> None:
    bounds = service(adapted)["deploymentConfiguration"]
    assert (bounds["minimumHealthyPercent"], bounds["maximumPercent"]) == (0, 100)
    assert changes(adapted, "--config", "tag=v2.0.1") == SERVICE_ALONE
    outcome = deploy(adapted, "v2.0.1")
    assert re.search(r"warning: container\.hostPort 3000 leaves no instance", outcome.output), "and says so"
    until("the new one serves", lambda: info(adapted)["version"] == "v2.0.1", seconds=60)


@pytest.mark.usefixtures("destroyed")
def test_destroy_leaves_nothing_but_what_was_there(adapted: Stack, vpc: tuple[str, list[str]]) -> None:
    account = adapted.workspace.account
    assert costs_by_the_hour(account) == []
    found = account.client("ec2").describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc[0]]}])["Subnets"]
    assert {each["SubnetId"] for each in found} == set(vpc[1])
    assert account.client("ecr").describe_images(repositoryName=PROJECT)["imageDetails"]
