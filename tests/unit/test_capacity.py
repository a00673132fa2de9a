"""The instances, and the cluster that they join."""

import base64
import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.capacity import Capacity, CapacityArgs, ami_parameter, find_ami, user_data
from components.instances import Architecture
from components.lookups import Missing, find_all
from components.policies import instance_policy
from tests.unit.aws_answers import AMI_ID
from tests.unit.mocked_engine import AwsError, Deployment, run

CLUSTER = "aws:ecs/cluster:Cluster"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
AUTO_SCALING = "aws:autoscaling/group:Group"
PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
ASSOCIATION = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"
POLICY = "aws:iam/rolePolicy:RolePolicy"

TAGS = {"Project": "backend", "Environment": "pre"}
BALANCERS_GROUP = "sg-load-balancer"


def capacity(**changes: Any) -> Deployment:
    args: dict[str, Any] = {
        "vpc_id": "vpc-1",
        "subnet_ids": ["subnet-1", "subnet-2"],
        "load_balancer_security_group_id": BALANCERS_GROUP,
        "target_group_arn": "arn:target-group",
        "ami_id": AMI_ID,
        "instance_type": "t3.micro",
        "min_instances": 1,
        "max_instances": 2,
        "spot": False,
        "volume_size": 40,
        "host_port": 0,
        "role_path": "/backend/pre/",
        "tags": TAGS,
    }

    def program() -> None:
        made = Capacity("pre", CapacityArgs(**{**args, **changes}))
        pulumi.export("clusterName", made.cluster_name)
        pulumi.export("clusterArn", made.cluster_arn)
        pulumi.export("capacityProviderName", made.capacity_provider_name)
        pulumi.export("autoScalingGroupName", made.auto_scaling_group_name)
        aws.ecs.Service("user", capacity_provider_strategies=[{"capacity_provider": made.capacity_provider_name}])

    return run(program)


@pytest.fixture(scope="module")
def made() -> Deployment:
    return capacity()


@pytest.fixture(scope="module")
def spot() -> Deployment:
    return capacity(spot=True)


@pytest.fixture(scope="module")
def fixed_port() -> Deployment:
    return capacity(host_port=8888)


def script(deployment: Deployment) -> str:
    return base64.b64decode(deployment.one(TEMPLATE).inputs["userData"]).decode()


def test_a_new_instance_joins_the_cluster_by_its_real_name(made: Deployment) -> None:
    assert f"ECS_CLUSTER={made.one(CLUSTER).outputs['name']}\n" in script(made)


def test_memory_is_kept_for_the_agent_and_the_system(made: Deployment) -> None:
    assert "ECS_RESERVED_MEMORY=32\n" in script(made)


def test_the_script_is_one_that_cloud_init_runs(made: Deployment) -> None:
    assert script(made).startswith("#!/bin/sh\n")
    assert user_data("cluster", spot=False).endswith("\nEND\n"), "an open here-document would swallow the rest"


def test_the_metadata_service_answers_the_instance_alone(made: Deployment) -> None:
    assert made.one(TEMPLATE).inputs["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }, "with a hop more, a container could take on the instance's role"


def test_the_volume_is_encrypted_gp3_and_ends_with_its_instance(made: Deployment) -> None:
    (mapping,) = made.one(TEMPLATE).inputs["blockDeviceMappings"]
    assert mapping["deviceName"] == "/dev/xvda", "another name would add a second volume beside the root's"
    assert mapping["ebs"] == {
        "volumeType": "gp3",
        "volumeSize": 40,
        "encrypted": "true",
        "deleteOnTermination": "true",
    }


def test_there_is_no_key_pair(made: Deployment) -> None:
    assert not made.one(TEMPLATE).inputs.get("keyName"), "Session Manager needs none"


def test_the_template_has_the_ami_and_the_instance_type(made: Deployment) -> None:
    inputs = made.one(TEMPLATE).inputs
    assert (inputs["imageId"], inputs["instanceType"]) == (AMI_ID, "t3.micro")


@pytest.mark.parametrize("kind", ["instance", "volume"])
def test_instances_and_volumes_are_tagged(made: Deployment, kind: str) -> None:
    found = {s["resourceType"]: s["tags"] for s in made.one(TEMPLATE).inputs["tagSpecifications"]}
    assert found[kind] == {**TAGS, "Name": "pre"}, "the provider's default tags don't reach them"


def test_the_group_uses_the_templates_newest_version_by_its_number(made: Deployment) -> None:
    template = made.one(TEMPLATE).outputs
    assert made.one(AUTO_SCALING).inputs["launchTemplate"] == {"id": template["id"], "version": "7"}, (
        "$Latest never changes, so a new AMI would replace nothing"
    )


def test_a_new_template_replaces_instances_one_more_at_a_time(made: Deployment) -> None:
    assert made.one(AUTO_SCALING).inputs["instanceRefresh"] == {
        "strategy": "Rolling",
        "preferences": {
            "minHealthyPercentage": 100,
            "maxHealthyPercentage": 200,
            "scaleInProtectedInstances": "Refresh",
            "instanceWarmup": "60",
        },
    }


def test_the_group_is_protected_from_scale_in_and_can_be_deleted(made: Deployment) -> None:
    inputs = made.one(AUTO_SCALING).inputs
    assert inputs["protectFromScaleIn"] is True, "managed termination protection needs it"
    assert inputs["forceDelete"] is True, "without it a destroy waits for ever"


def test_the_group_is_marked_as_ecss(made: Deployment) -> None:
    tags = {tag["key"]: tag for tag in made.one(AUTO_SCALING).inputs["tags"]}
    assert set(tags) == {*TAGS, "Name", "AmazonECSManaged"}, "ECS would add its tag, and each update take it off again"
    assert all(tag["propagateAtLaunch"] for tag in tags.values())


def test_how_many_instances_there_are_is_managed_scalings_to_say(made: Deployment) -> None:
    group = made.one(AUTO_SCALING)
    assert group.ignore_changes == ["desiredCapacity"]
    assert "desiredCapacity" not in group.inputs
    assert (group.inputs["minSize"], group.inputs["maxSize"]) == (1, 2)


def test_the_provider_waits_for_no_number_of_instances(made: Deployment) -> None:
    assert made.one(AUTO_SCALING).inputs["waitForCapacityTimeout"] == "0", "managed scaling has changed it since"


def test_instances_have_their_rules_from_their_start_to_their_end(made: Deployment) -> None:
    template, rules = made.one(TEMPLATE), [*made.all(INGRESS), *made.all(EGRESS)]
    assert len(rules) == 4
    assert all(made.depends_on(template, rule) for rule in rules), "an agent without a way out leaves tasks draining"
    assert made.depends_on(made.one(AUTO_SCALING), template)


def test_agents_take_tasks_with_security_options(made: Deployment) -> None:
    assert "ECS_SELINUX_CAPABLE=true\n" in script(made), "ECS would place none that asks for no-new-privileges"


def test_instances_start_in_the_subnets(made: Deployment) -> None:
    assert made.one(AUTO_SCALING).inputs["vpcZoneIdentifiers"] == ["subnet-1", "subnet-2"]


def test_with_dynamic_host_ports_tasks_are_the_targets(made: Deployment) -> None:
    assert not made.one(AUTO_SCALING).inputs.get("targetGroupArns"), "the group would add targets that nothing answers"


def test_with_a_fixed_host_port_the_instances_are_the_targets(fixed_port: Deployment) -> None:
    assert fixed_port.one(AUTO_SCALING).inputs["targetGroupArns"] == ["arn:target-group"]


def ports(deployment: Deployment, type_: str, name_end: str) -> tuple[int, int]:
    inputs = deployment.one(type_, name_end).inputs
    return inputs["fromPort"], inputs["toPort"]


def test_instances_take_dynamic_ports_from_the_load_balancer_alone(made: Deployment) -> None:
    rule = made.one(INGRESS)
    assert ports(made, INGRESS, "from-load-balancer") == (32768, 65535)
    assert rule.inputs["referencedSecurityGroupId"] == BALANCERS_GROUP
    assert rule.inputs["securityGroupId"] == made.one(GROUP).outputs["id"]
    assert not {"cidrIpv4", "cidrIpv6", "prefixListId"} & set(rule.inputs)


def test_with_a_fixed_host_port_they_take_that_one_alone(fixed_port: Deployment) -> None:
    assert ports(fixed_port, INGRESS, "from-load-balancer") == (8888, 8888)
    assert ports(fixed_port, EGRESS, "to-instances") == (8888, 8888)


def test_the_load_balancer_reaches_the_instances_and_nothing_else(made: Deployment) -> None:
    (rule,) = [r for r in made.all(EGRESS) if r.inputs["securityGroupId"] == BALANCERS_GROUP]
    assert rule.inputs["referencedSecurityGroupId"] == made.one(GROUP).outputs["id"]
    assert (rule.inputs["fromPort"], rule.inputs["toPort"]) == (32768, 65535)


@pytest.mark.parametrize("deployment", ["made", "fixed_port", "spot"])
def test_no_rule_opens_port_22(deployment: str, request: pytest.FixtureRequest) -> None:
    rules = request.getfixturevalue(deployment).all(INGRESS)
    assert rules, "or the assertion below would hold for nothing"
    assert not any(rule.inputs["fromPort"] <= 22 <= rule.inputs["toPort"] for rule in rules)


def test_instances_reach_everything(made: Deployment) -> None:
    rules = [r for r in made.all(EGRESS) if r.inputs["securityGroupId"] == made.one(GROUP).outputs["id"]]
    assert [(r.inputs.get("cidrIpv4"), r.inputs.get("cidrIpv6")) for r in rules] == [
        ("0.0.0.0/0", None),
        (None, "::/0"),
    ]
    assert {r.inputs["ipProtocol"] for r in rules} == {"-1"}


def test_the_security_group_has_no_inline_rules(made: Deployment) -> None:
    inputs = made.one(GROUP).inputs
    assert not inputs.get("ingress")
    assert not inputs.get("egress")
    assert made.one(TEMPLATE).inputs["vpcSecurityGroupIds"] == [made.one(GROUP).outputs["id"]]


def test_the_instances_role_is_for_ec2_with_its_one_policy(made: Deployment) -> None:
    role = made.one("aws:iam/role:Role")
    assert "ec2.amazonaws.com" in role.inputs["assumeRolePolicy"]
    assert not role.inputs.get("managedPolicyArns")
    policy = made.one(POLICY)
    assert policy.inputs["role"] == role.outputs["name"]
    assert json.loads(policy.inputs["policy"]) == instance_policy(made.outputs["clusterArn"])


def test_the_role_and_its_profile_stand_under_the_environments_path(made: Deployment) -> None:
    assert made.one("aws:iam/role:Role").inputs["path"] == "/backend/pre/", "who deploys may pass the roles there alone"
    assert made.one(PROFILE).inputs["path"] == "/backend/pre/"


def test_an_instance_starts_once_its_role_may_register_it(made: Deployment) -> None:
    profile = made.one(PROFILE)
    assert made.depends_on(profile, made.one(POLICY))
    assert made.one(TEMPLATE).inputs["iamInstanceProfile"] == {"arn": profile.outputs["arn"]}


def test_the_capacity_provider_scales_drains_and_protects(made: Deployment) -> None:
    assert made.one(PROVIDER).inputs["autoScalingGroupProvider"] == {
        "autoScalingGroupArn": made.one(AUTO_SCALING).outputs["arn"],
        "managedScaling": {"status": "ENABLED", "targetCapacity": 100},
        "managedDraining": "ENABLED",
        "managedTerminationProtection": "ENABLED",
    }


def test_the_cluster_gets_the_capacity_provider(made: Deployment) -> None:
    inputs = made.one(ASSOCIATION).inputs
    provider = made.one(PROVIDER).outputs["name"]
    assert inputs["clusterName"] == made.one(CLUSTER).outputs["name"]
    assert inputs["capacityProviders"] == [provider]
    assert made.outputs["capacityProviderName"] == provider


def test_a_service_that_uses_it_waits_for_the_association(made: Deployment) -> None:
    service = made.one("aws:ecs/service:Service", "user")
    assert made.depends_on(service, made.one(ASSOCIATION)), "and is gone before the cluster gives the provider up"


def test_the_cluster_has_no_paid_insights(made: Deployment) -> None:
    assert made.one(CLUSTER).inputs["settings"] == [{"name": "containerInsights", "value": "disabled"}]


def test_on_spot_every_instance_is(spot: Deployment) -> None:
    group = spot.one(AUTO_SCALING)
    assert "launchTemplate" not in group.inputs
    policy = group.inputs["mixedInstancesPolicy"]
    assert policy["instancesDistribution"] == {
        "onDemandBaseCapacity": 0,
        "onDemandPercentageAboveBaseCapacity": 0,
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    assert policy["launchTemplate"]["launchTemplateSpecification"] == {
        "launchTemplateId": spot.one(TEMPLATE).outputs["id"],
        "version": "7",
    }


def test_on_spot_tasks_move_before_an_instance_goes(spot: Deployment, made: Deployment) -> None:
    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n" in script(spot), "the agent's default is not to"
    assert spot.one(AUTO_SCALING).inputs["capacityRebalance"] is True
    assert "SPOT" not in script(made)


def test_its_outputs_are_registered(made: Deployment) -> None:
    assert made.component_outputs[made.one("booklink:backend:Capacity").urn] == {
        "clusterName": made.outputs["clusterName"],
        "autoScalingGroupName": made.outputs["autoScalingGroupName"],
    }
    assert made.outputs["autoScalingGroupName"] == made.one(AUTO_SCALING).outputs["name"]


@pytest.mark.parametrize(
    ("architecture", "parameter"),
    [
        ("x86_64", "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"),
        ("arm64", "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id"),
    ],
)
def test_the_ami_is_the_one_of_the_architecture(architecture: Architecture, parameter: str) -> None:
    assert ami_parameter("recommended", architecture) == parameter


def ami(release: str, answers: dict[str, Any] | None = None) -> tuple[str, Deployment]:
    found: list[str] = []

    def program() -> None:
        lookup = find_ami(aws.Provider("aws"), release=release, architecture="arm64")
        find_all([lookup])
        found.append(lookup.value)
        pulumi.export("ami", lookup.value)

    deployment = run(program, answers=answers)
    return found[0], deployment


def test_a_release_is_found_by_its_parameter() -> None:
    found, deployment = ami("al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-arm64")
    assert found == AMI_ID
    assert (
        deployment.invocations[0]
        .arguments["name"]
        .endswith("/arm64/al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-arm64/image_id")
    )
    assert deployment.secret_outputs == frozenset(), "a secret AMI would hide the launch template's difference"


def test_an_ami_by_its_id_must_be_of_the_architecture() -> None:
    found, deployment = ami("ami-0a1b2c3d4e5f60718")
    assert found == "ami-0a1b2c3d4e5f60718"
    assert {"name": "architecture", "values": ["arm64"]} in deployment.invocations[0].arguments["filters"]


def test_a_missing_release_says_how_to_list_them() -> None:
    with pytest.raises(Missing, match=r"capacity\.ami: there is no release recommended of the .* for arm64; `aws ssm"):
        ami("recommended", {"aws:ssm/getParameter:getParameter": AwsError("couldn't find resource")})


def test_a_missing_ami_is_named() -> None:
    with pytest.raises(Missing, match=r"capacity\.ami: there is no AMI ami-0a1b2c3d for arm64 in this region"):
        ami("ami-0a1b2c3d", {"aws:ec2/getAmi:getAmi": AwsError("Your query returned no results")})
