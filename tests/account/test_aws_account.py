"""The emulated account's load balancers, instances, images, parameters and credentials, as boto3 sees them."""

import base64
import hashlib
import http.client
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.surroundings import Account, account
from tests.account.roles import PULLING, allow, make_instance_profile, make_role
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
ZONE = "booklinktrove.com"
OPTIMIZED = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
         "Action": "sts:AssumeRole"}]}  # fmt: skip


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """The code of the error by which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


class World:
    """One account with a network, two instances in a cluster, an image, and a load balancer behind an alias."""

    def __init__(self, running: Account, source: Path) -> None:
        self.account = running
        for name in ("ecs", "ec2", "ecr", "elbv2", "autoscaling", "route53", "ssm", "iam", "acm"):
            # AWS has health checks every 5 seconds at most often, which boto3 knows: these tests check each second.
            setattr(self, name, self.client(name, config=Config(parameter_validation=False)))
        self.image = self._push(source)
        self.vpc, self.subnets = self._network()
        self.ecs.create_cluster(clusterName="pre")
        self.template = self._template("pre", "t3.small")
        self.group = self._group("pre", self.template, least=2, most=3)
        self.certificate = self.acm.request_certificate(DomainName=f"pre-be.{ZONE}")["CertificateArn"]
        self.zone = self.route53.create_hosted_zone(Name=ZONE, CallerReference="1")["HostedZone"]["Id"]
        self.targets, self.listener, self.balancer = self._balancer()
        until("two instances join", lambda: len(self.container_instances()) == 2)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def client(self, name: str, **more: Any) -> Any:
        key = self.account.key
        session = boto3.session.Session(aws_access_key_id=key.id, aws_secret_access_key=key.secret, region_name=REGION)
        return session.client(name, endpoint_url=self.account.endpoint, **more)

    def _push(self, source: Path) -> str:
        repository = self.ecr.create_repository(
            repositoryName="echo",
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "master"}],
        )["repository"]
        self.repository = str(repository["repositoryUri"])
        engine = docker.from_env()
        engine.images.build(path=str(source), tag=f"{self.repository}:master", rm=True)
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        engine.images.push(self.repository, tag="master", auth_config={"username": user, "password": password})
        return f"{self.repository}:master"

    def _network(self) -> tuple[str, list[str]]:
        vpc = self.ec2.create_vpc(CidrBlock="10.9.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
        subnets = []
        for number, zone in enumerate(("a", "b")):
            subnet = self.ec2.create_subnet(
                VpcId=vpc["VpcId"], CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            self.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
            subnets.append(subnet)
        return vpc["VpcId"], subnets

    def _template(self, cluster: str, instance_type: str) -> str:
        user_data = f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n"
        image = self.ssm.get_parameter(Name=f"{OPTIMIZED}/recommended/image_id")["Parameter"]["Value"]
        make_instance_profile(self.iam, cluster)
        created = self.ec2.create_launch_template(
            LaunchTemplateName=cluster,
            LaunchTemplateData={
                "ImageId": image,
                "InstanceType": instance_type,
                "UserData": base64.b64encode(user_data.encode()).decode(),
                "IamInstanceProfile": {"Name": cluster},
                "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30, "Encrypted": True}}],
            },
        )
        return str(created["LaunchTemplate"]["LaunchTemplateId"])

    def _group(self, name: str, template: str, *, least: int, most: int, **more: Any) -> str:
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=least,
            MaxSize=most,
            LaunchTemplate={"LaunchTemplateId": template, "Version": "1"},
            VPCZoneIdentifier=",".join(self.subnets),
            Tags=[{"Key": "stack", "Value": name, "PropagateAtLaunch": True}],
            **more,
        )
        return name

    def target_group(self, name: str, port: int = 8080) -> str:
        group = self.elbv2.create_target_group(
            Name=name,
            Protocol="HTTP",
            Port=port,
            VpcId=self.vpc,
            HealthCheckIntervalSeconds=1,
            HealthCheckTimeoutSeconds=1,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]
        self.elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=attributes)
        return str(group)

    def _balancer(self) -> tuple[str, str, dict[str, Any]]:
        group = self.target_group("echo")
        balancer = self.elbv2.create_load_balancer(Name="pre-be", Subnets=self.subnets, IpAddressType="dualstack")
        balancer = balancer["LoadBalancers"][0]
        listener = self.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Port=443,
            Protocol="HTTPS",
            Certificates=[{"CertificateArn": self.certificate}],
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )["Listeners"][0]["ListenerArn"]
        alias = {
            "HostedZoneId": balancer["CanonicalHostedZoneId"],
            "DNSName": f"dualstack.{balancer['DNSName']}",
            "EvaluateTargetHealth": True,
        }
        records = [{"Name": f"pre-be.{ZONE}", "Type": kind, "AliasTarget": alias} for kind in ("A", "AAAA")]
        changes = [{"Action": "CREATE", "ResourceRecordSet": record} for record in records]
        self.route53.change_resource_record_sets(HostedZoneId=self.zone, ChangeBatch={"Changes": changes})
        return group, listener, balancer

    def container_instances(self) -> list[Any]:
        arns = self.ecs.list_container_instances(cluster="pre")["containerInstanceArns"]
        found = self.ecs.describe_container_instances(cluster="pre", containerInstances=arns) if arns else {}
        return list(found.get("containerInstances", []))

    def members(self, group: str) -> list[Any]:
        found = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return list(found[0]["Instances"])

    def define(self, *, host_port: int = 0, **more: Any) -> str:
        task = {key: more.pop(key) for key in ("taskRoleArn", "executionRoleArn") if key in more}
        container = {
            "name": "echo",
            "image": self.image,
            "memory": 64,
            "portMappings": [{"containerPort": 8080, "hostPort": host_port}],
            "stopTimeout": 2,
            **more,
        }
        answer = self.ecs.register_task_definition(
            family=f"f{uuid.uuid4().hex[:8]}", networkMode="bridge", containerDefinitions=[container], **task
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def serve(self, definition: str, *, group: str | None = None, count: int = 1) -> str:
        name = f"s{uuid.uuid4().hex[:8]}"
        balancers = [{"targetGroupArn": group, "containerName": "echo", "containerPort": 8080}] if group else []
        self.ecs.create_service(
            cluster="pre", serviceName=name, taskDefinition=definition, desiredCount=count, loadBalancers=balancers
        )
        until(f"{name} completes", lambda: self.service(name)["deployments"][0]["rolloutState"] == "COMPLETED")
        return name

    def service(self, name: str) -> Any:
        return self.ecs.describe_services(cluster="pre", services=[name])["services"][0]

    def tasks(self, **which: Any) -> list[Any]:
        arns = self.ecs.list_tasks(cluster="pre", **which)["taskArns"]
        return list(self.ecs.describe_tasks(cluster="pre", tasks=arns)["tasks"]) if arns else []

    def stopped(self, task: Any) -> Any:
        found = self.ecs.describe_tasks(cluster="pre", tasks=[task["taskArn"]])["tasks"][0]
        return found if found["lastStatus"] == "STOPPED" else None

    def run(self, definition: str, **more: Any) -> Any:
        answer = self.ecs.run_task(cluster="pre", taskDefinition=definition, **more)
        return answer["tasks"] or answer["failures"]

    def end(self, *services: str) -> None:
        for name in services:
            self.ecs.delete_service(cluster="pre", service=name, force=True)
        for task in self.tasks():
            self.ecs.stop_task(cluster="pre", task=task["taskArn"])
        until("tasks end", lambda: not self.tasks())

    def get(self, path: str = "/", *, host: str = f"pre-be.{ZONE}:443", **headers: str) -> tuple[int, Any]:
        """Status and answer of a request through the load balancer that a host names."""
        connection = http.client.HTTPConnection("127.0.0.1", self.account.port, timeout=10)
        connection.request("GET", path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, json.loads(body) if body.startswith("{") else body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One account for all tests."""
    folder = tmp_path_factory.mktemp("echo")
    build = ["go", "build", "-ldflags=-s -w", "-o", str(folder / "echo"), "main.go"]
    subprocess.run(build, cwd=ROOT / "tests/account/echo", env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY echo /echo\nENTRYPOINT ["/echo"]\n')
    with account() as running:
        yield World(running, folder)


# --- instances and where tasks go ---


def test_instances_of_a_group_are_instances_of_ec2(world: World) -> None:
    ids = [each["InstanceId"] for each in world.members(world.group)]
    found = [each["Instances"][0] for each in world.ec2.describe_instances(InstanceIds=ids)["Reservations"]]
    assert {each["InstanceType"] for each in found} == {"t3.small"}
    assert {each["SubnetId"] for each in found} == set(world.subnets), "they spread over the group's subnets"
    assert {each["Placement"]["AvailabilityZone"] for each in found} == {f"{REGION}a", f"{REGION}b"}
    for each in found:
        tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        assert tags == {"stack": "pre", "aws:autoscaling:groupName": "pre"}
        assert each["MetadataOptions"]["HttpTokens"] == "required"
        assert each["IamInstanceProfile"]["Arn"].endswith("instance-profile/pre")
        assert each["PrivateIpAddress"].startswith("10.9."), "the address is of the subnet"
        assert each["PublicIpAddress"], "the subnet gives public addresses"
        volume = each["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        assert world.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 30


def test_instances_join_the_cluster_that_their_user_data_names(world: World) -> None:
    for each in world.container_instances():
        registered = {one["name"]: one.get("integerValue") for one in each["registeredResources"]}
        assert (registered["CPU"], registered["MEMORY"]) == (2048, 1934), "less memory than the advertised 2048 MiB"
        attributes = {one["name"]: one["value"] for one in each["attributes"]}
        assert attributes["ecs.instance-type"] == "t3.small"
        assert attributes["ecs.cpu-architecture"] == "x86_64"
        assert each["agentConnected"]
        assert each["status"] == "ACTIVE"
    assert {each["ec2InstanceId"] for each in world.container_instances()} == {
        each["InstanceId"] for each in world.members(world.group)
    }


def test_tasks_take_room_and_ports_of_instances(world: World) -> None:
    definition = world.define(host_port=8888, memory=700)
    first, second = world.run(definition, count=2)
    assert first["containerInstanceArn"] != second["containerInstanceArn"], "one host port an instance"
    assert world.run(definition)[0]["reason"] == "RESOURCE:PORTS"
    assert world.run(world.define(memory=1300))[0]["reason"] == "RESOURCE:MEMORY"
    assert world.run(world.define(cpu=4096))[0]["reason"] == "RESOURCE:CPU"
    remaining = {one["name"]: one for one in world.container_instances()[0]["remainingResources"]}
    assert remaining["MEMORY"]["integerValue"] == 1934 - 700
    assert "8888" in remaining["PORTS"]["stringSetValue"]
    dynamic = world.run(world.define(), count=4)
    held = [
        (each["containerInstanceArn"], one["hostPort"])
        for each in dynamic
        for one in each["containers"][0]["networkBindings"]
    ]
    assert len(set(held)) == 4, "each task has a port of its own"
    world.end()


def test_a_draining_instance_loses_its_tasks_to_the_other(world: World) -> None:
    name = world.serve(world.define())
    there = world.tasks(serviceName=name)[0]["containerInstanceArn"]
    world.ecs.update_container_instances_state(cluster="pre", containerInstances=[there], status="DRAINING")
    until(
        "the task moves",
        lambda: [each["containerInstanceArn"] != there for each in world.tasks(serviceName=name)] == [True],
    )
    assert world.ecs.list_container_instances(cluster="pre", status="DRAINING")["containerInstanceArns"] == [there]
    world.ecs.update_container_instances_state(cluster="pre", containerInstances=[there], status="ACTIVE")
    world.end(name)


def test_a_terminated_instance_is_replaced_and_its_task_starts_elsewhere(world: World) -> None:
    name = world.serve(world.define())
    task = world.tasks(serviceName=name)[0]
    found = world.ecs.describe_container_instances(cluster="pre", containerInstances=[task["containerInstanceArn"]])[
        "containerInstances"
    ][0]
    world.ec2.terminate_instances(InstanceIds=[found["ec2InstanceId"]])
    until("another task runs", lambda: world.service(name)["runningCount"] == 1 and world.stopped(task))
    assert world.stopped(task)["stoppedReason"] == f"Host EC2 (instance {found['ec2InstanceId']}) terminated."
    until("the group has two again", lambda: len(world.container_instances()) == 2)
    assert found["ec2InstanceId"] not in {each["InstanceId"] for each in world.members("pre")}
    world.end(name)


def test_a_refresh_replaces_instances_one_after_another(world: World) -> None:
    before = {each["InstanceId"] for each in world.members(world.group)}
    world.autoscaling.start_instance_refresh(AutoScalingGroupName="pre", Preferences={"MinHealthyPercentage": 100})
    assert refused(world.autoscaling.start_instance_refresh, AutoScalingGroupName="pre") == "InstanceRefreshInProgress"
    least = 2

    def done() -> bool:
        nonlocal least
        least = min(least, sum(each["LifecycleState"] == "InService" for each in world.members(world.group)))
        refresh = world.autoscaling.describe_instance_refreshes(AutoScalingGroupName="pre")["InstanceRefreshes"][0]
        return bool(refresh["Status"] == "Successful")

    until("the refresh ends", done)
    assert least == 2, "there were always as many as desired"
    assert before.isdisjoint(each["InstanceId"] for each in world.members(world.group))
    assert len({each["AvailabilityZone"] for each in world.members(world.group)}) == 2, "they still spread over zones"
    joined = {each["ec2InstanceId"] for each in world.container_instances()}
    assert joined == {each["InstanceId"] for each in world.members(world.group)}, (
        "terminated instances leave the cluster"
    )
    gone = world.ec2.describe_instances(InstanceIds=list(before))["Reservations"]
    assert {each["Instances"][0]["State"]["Name"] for each in gone} == {"terminated"}


def test_a_group_keeps_what_it_was_asked_for(world: World) -> None:
    world._group(
        "kept",
        world.template,
        least=0,
        most=1,
        CapacityRebalance=True,
        DefaultInstanceWarmup=30,
        MaxInstanceLifetime=604800,
        InstanceMaintenancePolicy={"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200},
    )
    world.autoscaling.enable_metrics_collection(
        AutoScalingGroupName="kept", Granularity="1Minute", Metrics=["GroupDesiredCapacity"]
    )
    world.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName="kept",
        LifecycleHookName="hook",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        NotificationTargetARN="arn:aws:sns:eu-central-1:123456789012:t",
        RoleARN="arn:aws:iam::123456789012:role/r",
    )
    for policy in ("one", "two"):
        world.autoscaling.put_scaling_policy(AutoScalingGroupName="kept", PolicyName=policy, ScalingAdjustment=1)
    found = world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["kept"])["AutoScalingGroups"][0]
    assert found["CapacityRebalance"] is True
    assert (found["DefaultInstanceWarmup"], found["MaxInstanceLifetime"]) == (30, 604800)
    assert found["InstanceMaintenancePolicy"] == {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}
    assert found["EnabledMetrics"] == [{"Metric": "GroupDesiredCapacity", "Granularity": "1Minute"}]
    assert found["LaunchTemplate"]["LaunchTemplateName"] == "pre"
    hook = world.autoscaling.describe_lifecycle_hooks(AutoScalingGroupName="kept")["LifecycleHooks"][0]
    assert hook["NotificationTargetARN"].endswith(":t")
    world.autoscaling.create_or_update_tags(
        Tags=[
            {
                "ResourceId": "kept",
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": True,
            }
            for key, value in (("Project", "a"), ("Environment", "pre"))
        ]
    )
    for environment, names in (("pre", ["kept"]), ("live", [])):
        wanted = {"tag:Project": "a", "tag:Environment": environment}
        filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
        shown = world.autoscaling.describe_auto_scaling_groups(Filters=filters)["AutoScalingGroups"]
        assert [each["AutoScalingGroupName"] for each in shown] == names, "all filters must hold"
    named = world.autoscaling.describe_policies(AutoScalingGroupName="kept", PolicyNames=["two"])["ScalingPolicies"]
    assert [each["PolicyName"] for each in named] == ["two"]
    world.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="kept")


def test_a_group_grows_for_waiting_tasks_and_protected_instances_go_by_force_alone(world: World) -> None:
    world.ecs.create_cluster(clusterName="tiny")
    template = world._template("tiny", "t3.micro")
    world._group("tiny", template, least=0, most=1, NewInstancesProtectedFromScaleIn=True)
    group = world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["tiny"])["AutoScalingGroups"][0]
    plain = world.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["pre"])["AutoScalingGroups"][0]
    provider = {
        "autoScalingGroupArn": group["AutoScalingGroupARN"],
        "managedScaling": {"status": "ENABLED", "targetCapacity": 100},
        "managedTerminationProtection": "ENABLED",
    }
    unprotected = {**provider, "autoScalingGroupArn": plain["AutoScalingGroupARN"]}
    create = world.ecs.create_capacity_provider
    assert refused(create, name="bad", autoScalingGroupProvider=unprotected) == "ClientException"
    settings = create(name="tiny", autoScalingGroupProvider=provider)["capacityProvider"]["autoScalingGroupProvider"]
    assert settings["managedDraining"] == "ENABLED"
    world.ecs.put_cluster_capacity_providers(
        cluster="tiny", capacityProviders=["tiny"], defaultCapacityProviderStrategy=[{"capacityProvider": "tiny"}]
    )
    assert refused(world.ecs.delete_capacity_provider, capacityProvider="tiny") == "ClientException"
    service = {"cluster": "tiny", "serviceName": "waits", "taskDefinition": world.define(), "desiredCount": 1}
    world.ecs.create_service(**service, capacityProviderStrategy=[{"capacityProvider": "tiny", "weight": 1}])

    def runs() -> bool:
        return bool(world.ecs.describe_services(cluster="tiny", services=["waits"])["services"][0]["runningCount"] == 1)

    until("managed scaling launches an instance, and the task runs there", runs)
    assert refused(world.ecs.delete_cluster, cluster="tiny") == "ClusterContainsServicesException"
    world.ecs.delete_service(cluster="tiny", service="waits", force=True)
    delete = world.autoscaling.delete_auto_scaling_group
    world.autoscaling.update_auto_scaling_group(AutoScalingGroupName="tiny", MinSize=0, MaxSize=0, DesiredCapacity=0)
    assert len(world.members("tiny")) == 1, "it is protected from scale-in"
    assert refused(delete, AutoScalingGroupName="tiny") == "ResourceInUse"

    def ended() -> bool:
        return bool(
            world.ecs.describe_services(cluster="tiny", services=["waits"])["services"][0]["status"] == "INACTIVE"
        )

    until("the service ends", ended)
    delete(AutoScalingGroupName="tiny", ForceDelete=True)
    world.ecs.put_cluster_capacity_providers(cluster="tiny", capacityProviders=[], defaultCapacityProviderStrategy=[])
    world.ecs.delete_capacity_provider(capacityProvider="tiny")
    world.ecs.delete_cluster(cluster="tiny")


# --- load balancers ---


def test_requests_reach_containers_by_the_alias(world: World) -> None:
    assert world.get()[0] == 503, "no target is ready"
    name = world.serve(world.define(), group=world.targets)
    status, answer = world.get("/a%20b?c=d&c=e", **{"X-Forwarded-For": "192.0.2.9"})
    assert (status, answer["request"]) == (200, "GET /a%20b?c=d&c=e HTTP/1.1")
    assert answer["headers"]["x-forwarded-proto"] == "https"
    assert answer["headers"]["x-forwarded-port"] == "443"
    assert answer["headers"]["x-forwarded-for"] == "192.0.2.9, 127.0.0.1"
    assert answer["headers"]["host"] == f"pre-be.{ZONE}"
    for path in ("/health", "/_ministack/health", "/v2/", "/iceberg/v1"):
        assert world.get(path)[1]["request"] == f"GET {path} HTTP/1.1", "the container's own, whatever the path"
    assert world.get(host=world.balancer["DNSName"])[0] == 200
    assert world.get(host=f"unknown.{ZONE}")[0] == 404
    assert world.get(host=f"pre-be.{ZONE}:80")[0] == 404, "it listens on 443 alone"
    attributes = [{"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"}]
    world.elbv2.modify_load_balancer_attributes(
        LoadBalancerArn=world.balancer["LoadBalancerArn"], Attributes=attributes
    )
    assert "in_valid" not in world.get("/", In_Valid="x")[1]["headers"]
    keeping = http.client.HTTPConnection("127.0.0.1", world.account.port, timeout=10)
    for _ in range(2):
        keeping.request("GET", "/", headers={"Host": f"pre-be.{ZONE}:443"})
        answered = keeping.getresponse()
        assert answered.getheader("connection") != "close", "the client's connection stays, whatever the target's does"
        answered.read()
    keeping.close()
    world.end(name)


def test_a_request_in_flight_ends_well_while_its_target_drains(world: World) -> None:
    name = world.serve(world.define(), group=world.targets)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(world.get, "/slow")
        time.sleep(0.3)
        world.ecs.delete_service(cluster="pre", service=name, force=True)
        until("the target drains", lambda: world.get()[0] == 503, seconds=2)
        assert not slow.done()
        assert slow.result()[0] == 200
    world.end()


def test_a_client_can_resolve_the_alias(world: World) -> None:
    for kind, address in (("A", "127.0.0.1"), ("AAAA", "::1")):
        found = world.route53.test_dns_answer(HostedZoneId=world.zone, RecordName=f"pre-be.{ZONE}", RecordType=kind)
        assert (found["ResponseCode"], found["RecordData"]) == ("NOERROR", [address])
    found = world.route53.test_dns_answer(HostedZoneId=world.zone, RecordName=f"no.{ZONE}", RecordType="A")
    assert found["ResponseCode"] == "NXDOMAIN"


def test_instances_of_a_group_are_targets_on_a_fixed_port(world: World) -> None:
    group = world.target_group("fixed", port=8888)
    name = world.serve(world.define(host_port=8888), count=2)
    world.elbv2.create_rule(
        ListenerArn=world.listener,
        Priority=5,
        Conditions=[{"Field": "path-pattern", "Values": ["/fixed"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    world.autoscaling.attach_load_balancer_target_groups(AutoScalingGroupName="pre", TargetGroupARNs=[group])
    health = world.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    registered = {(each["Target"]["Id"], each["Target"]["Port"]) for each in health}
    assert registered == {(each["InstanceId"], 8888) for each in world.members("pre")}
    until("the instances are healthy", lambda: world.get("/fixed")[0] == 200)
    world.autoscaling.detach_load_balancer_target_groups(AutoScalingGroupName="pre", TargetGroupARNs=[group])
    rule = world.elbv2.describe_rules(ListenerArn=world.listener)["Rules"][0]["RuleArn"]
    assert refused(world.elbv2.delete_target_group, TargetGroupArn=group) == "ResourceInUse"
    rules = world.elbv2.describe_rules(ListenerArn=world.listener)["Rules"]
    rule = next(each["RuleArn"] for each in rules if each["Priority"] == "5")
    world.elbv2.delete_rule(RuleArn=rule)
    world.elbv2.delete_target_group(TargetGroupArn=group)
    world.end(name)


def test_load_balancers_refuse_what_aws_refuses(world: World) -> None:
    balancer, forward = world.balancer["LoadBalancerArn"], [{"Type": "forward", "TargetGroupArn": world.targets}]
    listen = {"LoadBalancerArn": balancer, "DefaultActions": forward}
    create = world.elbv2.create_listener
    assert refused(create, **listen, Port=8443, Protocol="HTTPS") == "ValidationError", "it has no certificate"
    assert refused(create, **listen, Port=443, Protocol="HTTP") == "DuplicateListener"
    again = [create(**listen, Port=8080, Protocol="HTTP")["Listeners"][0]["ListenerArn"] for _ in range(2)]
    assert again[0] == again[1], "the same once more is no error"
    world.elbv2.delete_listener(ListenerArn=again[0])
    absent = [{"CertificateArn": world.certificate + "0"}]
    assert refused(create, **listen, Port=8443, Protocol="HTTPS", Certificates=absent) == "CertificateNotFound"
    rule = {
        "ListenerArn": world.listener,
        "Priority": 9,
        "Conditions": [{"Field": "path-pattern", "Values": ["/x"]}],
        "Actions": forward,
    }
    made = world.elbv2.create_rule(**rule)["Rules"][0]["RuleArn"]
    assert refused(world.elbv2.create_rule, **rule) == "PriorityInUse"
    world.elbv2.delete_rule(RuleArn=made)
    assert refused(world.elbv2.delete_target_group, TargetGroupArn=world.targets) == "ResourceInUse"


def test_weights_divide_requests(world: World) -> None:
    other = world.target_group("other")
    name = world.serve(world.define(), group=world.targets)
    groups = [{"TargetGroupArn": world.targets, "Weight": 1}, {"TargetGroupArn": other, "Weight": 0}]
    forward = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
    world.elbv2.create_rule(
        ListenerArn=world.listener,
        Priority=7,
        Conditions=[{"Field": "path-pattern", "Values": ["/w"]}],
        Actions=forward,
    )
    rules = world.elbv2.describe_rules(ListenerArn=world.listener)["Rules"]
    rule = next(each for each in rules if each["Priority"] == "7")
    assert rule["Actions"][0]["ForwardConfig"]["TargetGroups"] == groups
    assert {world.get("/w")[0] for _ in range(5)} == {200}
    world.elbv2.delete_rule(RuleArn=rule["RuleArn"])
    world.elbv2.delete_target_group(TargetGroupArn=other)
    world.end(name)


# --- scaling, images, parameters, credentials, network, alarms ---


def test_application_auto_scaling_keeps_targets_policies_and_schedules(world: World) -> None:
    scaling = world.client("application-autoscaling")
    name = world.serve(world.define())
    what = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/pre/{name}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    absent = {**what, "ResourceId": "service/pre/absent"}
    assert refused(scaling.register_scalable_target, **absent, MinCapacity=1, MaxCapacity=2) == "ValidationException"
    assert refused(scaling.register_scalable_target, **what, MinCapacity=3, MaxCapacity=2) == "ValidationException"
    arn = scaling.register_scalable_target(**what, MinCapacity=1, MaxCapacity=2, Tags={"a": "b"})["ScalableTargetARN"]
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"a": "b"}
    tracking = {
        "TargetValue": 60.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
    }
    scaling.put_scaling_policy(
        **what, PolicyName="cpu", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking
    )
    policy = scaling.describe_scaling_policies(ServiceNamespace="ecs", PolicyNames=["cpu"])["ScalingPolicies"][0]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == tracking
    alarms = world.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"TargetTracking-service/pre/{name}")
    assert {each["AlarmName"] for each in alarms["MetricAlarms"]} == {each["AlarmName"] for each in policy["Alarms"]}
    scaling.put_scheduled_action(
        **what,
        ScheduledActionName="night",
        Schedule="cron(0 20 * * ? *)",
        Timezone="Europe/Berlin",
        ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 0},
    )
    assert (
        scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"][0]["Timezone"] == "Europe/Berlin"
    )
    scaling.deregister_scalable_target(**what)
    assert not scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    prefix = {"AlarmNamePrefix": f"TargetTracking-service/pre/{name}"}
    assert not world.client("cloudwatch").describe_alarms(**prefix)["MetricAlarms"]
    world.end(name)


def test_images_have_their_size_and_some_tags_stay(world: World) -> None:
    ecr = world.ecr
    image = ecr.describe_images(repositoryName="echo", imageIds=[{"imageTag": "master"}])["imageDetails"][0]
    assert 500_000 < image["imageSizeInBytes"] < 10_000_000, "layers and configuration, not the manifest"
    found = ecr.batch_get_image(repositoryName="echo", imageIds=[{"imageTag": "master"}])["images"][0]
    ecr.put_image(repositoryName="echo", imageManifest=found["imageManifest"], imageTag="v1.0.0")
    again = {"repositoryName": "echo", "imageManifest": found["imageManifest"], "imageTag": "v1.0.0"}
    assert refused(ecr.put_image, **again) == "ImageAlreadyExistsException"
    other = json.dumps(json.loads(found["imageManifest"]) | {"annotations": {"other": "image"}})
    digest = "sha256:" + hashlib.sha256(other.encode()).hexdigest()
    assert refused(ecr.put_image, **again | {"imageManifest": other}) == "ImageTagAlreadyExistsException"
    ecr.put_image(repositoryName="echo", imageManifest=other, imageTag="master")
    moved = ecr.describe_images(repositoryName="echo", imageIds=[{"imageTag": "master"}])["imageDetails"][0]
    assert moved["imageDigest"] == digest, "master is excluded from what stays"
    ecr.put_image(repositoryName="echo", imageManifest=found["imageManifest"], imageTag="master")
    repository = ecr.describe_repositories(repositoryNames=["echo"])["repositories"][0]
    assert repository["imageTagMutabilityExclusionFilters"] == [{"filterType": "WILDCARD", "filter": "master"}]
    scan = {"repositoryName": "echo", "imageId": {"imageTag": "master"}}
    assert refused(ecr.describe_image_scan_findings, **scan) == "ScanNotFoundException"
    absent = {"repositoryName": "echo", "imageIds": [{"imageTag": "no"}]}
    assert refused(ecr.describe_images, **absent) == "ImageNotFoundException"


@pytest.mark.parametrize(("architecture", "path"), [("x86_64", OPTIMIZED), ("arm64", f"{OPTIMIZED}/arm64")])
def test_optimized_images_are_announced(world: World, architecture: str, path: str) -> None:
    def value(name: str) -> str:
        return str(world.ssm.get_parameter(Name=f"{path}/{name}")["Parameter"]["Value"])

    recommended = json.loads(value("recommended"))
    assert recommended["image_id"] == value("recommended/image_id")
    older = value(f"al2023-ami-ecs-hvm-2023.0.20260903-kernel-6.1-{architecture}/image_id")
    assert older != recommended["image_id"]
    images = world.ec2.describe_images(ImageIds=[older, recommended["image_id"]], Owners=["amazon"])["Images"]
    assert [each["Architecture"] for each in images] == [architecture] * 2
    assert recommended["image_name"] in {each["Name"] for each in images}


def test_a_secure_string_reaches_its_container_decrypted(world: World) -> None:
    world.ssm.put_parameter(Name="/pre/password", Type="SecureString", Value="open sesame")
    arn = world.ssm.get_parameter(Name="/pre/password")["Parameter"]["ARN"]
    role = make_role(world.iam, "reads-parameters", [allow([*PULLING, "ssm:GetParameters"])])
    definition = world.define(secrets=[{"name": "PASSWORD", "valueFrom": arn}], executionRoleArn=role)
    name = world.serve(definition, group=world.targets)
    assert world.get()[1]["environment"]["PASSWORD"] == "open sesame"
    world.end(name)


def test_a_task_has_its_own_role_and_iam_decides_what_it_may(world: World) -> None:
    secrets = world.client("secretsmanager")
    allowed = secrets.create_secret(Name="pre1/postgres", SecretString="x")["ARN"]
    secrets.create_secret(Name="other", SecretString="y")
    role = world.iam.create_role(RoleName="task", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": allowed}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    world.iam.put_role_policy(RoleName="task", PolicyName="p", PolicyDocument=json.dumps(policy))
    name = world.serve(world.define(taskRoleArn=role), group=world.targets)
    address = world.get()[1]["environment"]["AWS_CONTAINER_CREDENTIALS_FULL_URI"].removeprefix("http://")
    given = json.loads(world.get(**{"X-Fetch": address})[1]["fetched"])
    assert given["RoleArn"] == role
    session = boto3.session.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["Token"],
        region_name=REGION,
    )
    own = session.client("secretsmanager", endpoint_url=world.account.endpoint)
    assert (
        ":assumed-role/task/" in session.client("sts", endpoint_url=world.account.endpoint).get_caller_identity()["Arn"]
    )
    assert own.get_secret_value(SecretId="pre1/postgres")["SecretString"] == "x"
    assert refused(own.get_secret_value, SecretId="other") == "AccessDeniedException"
    assert refused(session.client("ecs", endpoint_url=world.account.endpoint).list_clusters) == "AccessDeniedException"
    world.end(name)


def test_a_task_without_a_role_has_no_credentials(world: World) -> None:
    name = world.serve(world.define(), group=world.targets)
    assert not [each for each in world.get()[1]["environment"] if "CREDENTIALS" in each]
    world.end(name)


def test_networks_have_ipv6(world: World) -> None:
    block = world.ec2.describe_vpcs(VpcIds=[world.vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    assert block.endswith("::/56")
    part = block.replace("00::/56", "07::/64")
    subnet = {"VpcId": world.vpc, "CidrBlock": "10.9.7.0/24", "Ipv6CidrBlock": part}
    made = world.ec2.create_subnet(**subnet)["Subnet"]
    assert made["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == part
    outside = subnet | {"Ipv6CidrBlock": "2001:db8::/64"}
    assert refused(world.ec2.create_subnet, **outside) == "InvalidSubnet.Range"
    table = world.ec2.create_route_table(VpcId=world.vpc)["RouteTable"]["RouteTableId"]
    gateway = world.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    world.ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0", GatewayId=gateway)

    def destinations() -> set[str]:
        routes = world.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return {each.get("DestinationIpv6CidrBlock", each.get("DestinationCidrBlock")) for each in routes}

    assert destinations() == {"10.9.0.0/16", block, "::/0"}
    world.ec2.delete_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0")
    assert destinations() == {"10.9.0.0/16", block}


def test_a_group_for_all_protocols_is_revoked_whichever_ports_are_named(world: World) -> None:
    group = world.ec2.create_security_group(GroupName="g", Description="g", VpcId=world.vpc)["GroupId"]
    everywhere = {"IpProtocol": "-1", "FromPort": 0, "ToPort": 0, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    world.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[everywhere])
    assert not world.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]


def test_alarms_are_described_in_full(world: World) -> None:
    cloudwatch = world.client("cloudwatch")
    alarm = {
        "AlarmName": "cpu",
        "Namespace": "AWS/ECS",
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "ClusterName", "Value": "pre"}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 80.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": ["arn:aws:sns:eu-central-1:123456789012:t"],
        "InsufficientDataActions": ["arn:aws:sns:eu-central-1:123456789012:t"],
    }
    cloudwatch.put_metric_alarm(**alarm)
    found = cloudwatch.describe_alarms(AlarmNames=["cpu"])["MetricAlarms"][0]
    assert {key: found[key] for key in alarm} == alarm
