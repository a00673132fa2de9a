"""The emulated account's ECS against AWS's documentation, with real containers."""

import base64
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config

from rehearsal.account.keys import random_key
from rehearsal.surroundings import free_port
from tests.account.roles import make_instance_profile
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
CLUSTER = "tests"
GRACE = 2
KEY = random_key()


class Account:
    """An account's process, with clients for it and shortcuts to what the tests make again and again."""

    image: str

    def __init__(self, port: int) -> None:
        self.port = port
        key = {"AWS_ACCESS_KEY_ID": KEY.id, "AWS_SECRET_ACCESS_KEY": KEY.secret}
        environment = {**os.environ, "AWS_REGION": REGION, **key}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.account", str(port)], cwd=ROOT, env=environment
        )
        self.docker = docker.from_env()
        until("the account listens", self._listens)
        self.ecs, self.ec2, self.elbv2 = self.client("ecs"), self.client("ec2"), self.client("elbv2")
        self.ecr, self.logs, self.autoscaling = self.client("ecr"), self.client("logs"), self.client("autoscaling")
        self.iam = self.client("iam")

    def _listens(self) -> bool:
        assert self.process.poll() is None, "the account's process ended by itself"
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self, name: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=REGION,
            aws_access_key_id=KEY.id,
            aws_secret_access_key=KEY.secret,
            # AWS has health checks every 5 seconds at most, which boto3 knows: these tests check each second.
            config=Config(parameter_validation=False),
        )

    def login(self) -> dict[str, str]:
        """What Docker needs to push to the account's registry."""
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        return {"username": user, "password": password}

    def push(self, source: Path) -> str:
        """Build the probe and push it; its address with digest."""
        uri = self.ecr.create_repository(repositoryName="probe")["repository"]["repositoryUri"]
        self.docker.images.build(path=str(source), tag=f"{uri}:1", rm=True)
        self.docker.images.push(uri, tag="1", auth_config=self.login())
        self.docker.images.remove(f"{uri}:1")
        digest = self.ecr.describe_images(repositoryName="probe")["imageDetails"][0]["imageDigest"]
        return f"{uri}@{digest}"

    def add_instances(self, count: int) -> None:
        """Instances for the tests' cluster, large enough that no test waits for room."""
        self.ecs.create_cluster(clusterName=CLUSTER)
        make_instance_profile(self.iam, "tests")
        user_data = f"#!/bin/sh\necho ECS_CLUSTER={CLUSTER} >> /etc/ecs/ecs.config\n"
        self.ec2.create_launch_template(
            LaunchTemplateName="tests",
            LaunchTemplateData={
                "ImageId": "ami-0ec5a2023x8664001",
                "InstanceType": "m5.xlarge",
                "UserData": base64.b64encode(user_data.encode()).decode(),
                "IamInstanceProfile": {"Name": "tests"},
            },
        )
        subnets = self.ec2.describe_subnets()["Subnets"]
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="tests",
            MinSize=count,
            MaxSize=count,
            DesiredCapacity=count,
            LaunchTemplate={"LaunchTemplateName": "tests", "Version": "$Latest"},
            VPCZoneIdentifier=",".join(each["SubnetId"] for each in subnets[:2]),
        )
        until("the instances join", lambda: self.ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"])

    def target_group(self, *, delay: int = 1, **settings: Any) -> str:
        """A target group behind a listener, that checks each second."""
        name = f"t{uuid.uuid4().hex[:20]}"
        group = self.elbv2.create_target_group(
            Name=name,
            Protocol="HTTP",
            TargetType="instance",
            VpcId=self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
            **{
                "Port": 80,
                "HealthCheckPath": "/health",
                "HealthCheckIntervalSeconds": 1,
                "HealthCheckTimeoutSeconds": 1,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 2,
                **settings,
            },
        )["TargetGroups"][0]["TargetGroupArn"]
        attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}]
        self.elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=attributes)
        subnets = [each["SubnetId"] for each in self.ec2.describe_subnets()["Subnets"][:2]]
        balancer = self.elbv2.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]
        self.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        return str(group)

    def define(self, *, role: str | None = None, **changes: Any) -> str:
        """A task definition of the probe, with an execution role where its agent is to have one."""
        container = {
            "name": "probe",
            "image": self.image,
            "memory": 64,
            "essential": True,
            "portMappings": [{"containerPort": 8080, "hostPort": 0}],
            "stopTimeout": 2,
            **changes,
        }
        if variables := container.pop("variables", None):
            container["environment"] = [{"name": name, "value": value} for name, value in variables.items()]
        executing = {"executionRoleArn": role} if role else {}
        answer = self.ecs.register_task_definition(
            family="probe", networkMode="bridge", containerDefinitions=[container], **executing
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def serve(self, definition: str, *, group: str | None = None, **settings: Any) -> str:
        """A service; its name."""
        name = f"s{uuid.uuid4().hex[:8]}"
        balancers = [{"targetGroupArn": group, "containerName": "probe", "containerPort": 8080}] if group else []
        breaker = {"enable": True, "rollback": True}
        configuration = {"deploymentCircuitBreaker": breaker, "minimumHealthyPercent": 100, "maximumPercent": 200}
        self.ecs.create_service(
            cluster=CLUSTER,
            serviceName=name,
            taskDefinition=definition,
            loadBalancers=balancers,
            **{"desiredCount": 1, "deploymentConfiguration": configuration, "launchType": "EC2", **settings},
        )
        return name

    def update(self, service: str, **settings: Any) -> str:
        """Update a service; the ID of its newest deployment."""
        answer = self.ecs.update_service(cluster=CLUSTER, service=service, **settings)
        return str(answer["service"]["deployments"][0]["id"])

    def service(self, name: str) -> Any:
        return self.ecs.describe_services(cluster=CLUSTER, services=[name])["services"][0]

    def events(self, name: str) -> str:
        return "\n".join(each["message"] for each in self.service(name)["events"])

    def completed(self, name: str, seconds: float = 20) -> Any:
        """The service, when its one deployment has completed."""

        def steady() -> Any:
            found = self.service(name)
            states = [each["rolloutState"] for each in found["deployments"]]
            return found if states == ["COMPLETED"] else None

        return until(f"{name} completes", steady, seconds=seconds)

    def tasks(self, service: str, status: str = "RUNNING") -> list[Any]:
        arns = self.ecs.list_tasks(cluster=CLUSTER, serviceName=service, desiredStatus=status)["taskArns"]
        return list(self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]) if arns else []

    def run(self, definition: str) -> str:
        """A task of its own; its ARN."""
        answer = self.ecs.run_task(cluster=CLUSTER, taskDefinition=definition, launchType="EC2")
        assert not answer["failures"], answer["failures"]
        return str(answer["tasks"][0]["taskArn"])

    def task(self, arn: str) -> Any:
        return self.ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]

    def reached(self, arn: str, status: str, seconds: float = 20) -> Any:
        """The task, when it has this status."""

        def there() -> Any:
            found = self.task(arn)
            return found if found["lastStatus"] == status else None

        return until(f"{arn} is {status}", there, seconds=seconds)

    def containers(self, **labels: str) -> list[Any]:
        wanted = [f"com.amazonaws.ecs.{name.replace('_', '-')}={value}" for name, value in labels.items()]
        return list(self.docker.containers.list(all=True, filters={"label": wanted}))

    def ask(self, task: Any, path: str) -> None:
        """Ask the task's container for a path, past the load balancer; an answer isn't needed."""
        container = self.containers(task_arn=task["taskArn"])[0]
        address = container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        with socket.create_connection((address, 8080), timeout=10) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            try:
                connection.recv(1000)
            except ConnectionError:
                return

    def health(self, group: str) -> list[tuple[str, str]]:
        found = self.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [(each["TargetHealth"]["State"], each["TargetHealth"].get("Reason", "")) for each in found]

    def forget_image(self) -> None:
        """Take the probe from Docker again: every run builds it anew."""
        repository = self.image.partition("@")[0]
        for image in self.docker.images.list():
            if any(each.startswith(f"{repository}@") for each in image.attrs["RepoDigests"]):
                self.docker.images.remove(str(image.id), force=True)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()


def build(folder: Path) -> Path:
    """The probe as an image's source: one static program and nothing else."""
    subprocess.run(
        ["go", "build", "-ldflags=-s -w", "-o", str(folder / "probe"), "main.go"],
        cwd=ROOT / "tests/account/probe",
        env={**os.environ, "CGO_ENABLED": "0"},
        check=True,
    )
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY probe /probe\nENTRYPOINT ["/probe"]\n')
    return folder


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """One account for all tests, with two instances."""
    source = build(tmp_path_factory.mktemp("probe"))
    running = Account(free_port())
    try:
        running.image = running.push(source)
        running.add_instances(2)
        yield running
    finally:
        running.end()
        running.forget_image()


def test_a_container_gets_what_its_definition_says(account: Account) -> None:
    account.logs.create_log_group(logGroupName="/probe")
    options = {"awslogs-group": "/probe", "awslogs-region": REGION, "awslogs-stream-prefix": "p"}
    arn = account.run(
        account.define(
            memory=96,
            memoryReservation=32,
            cpu=256,
            user="1234:1234",
            readonlyRootFilesystem=True,
            ulimits=[{"name": "nofile", "softLimit": 2048, "hardLimit": 4096}],
            healthCheck={"command": ["CMD", "/probe", "check"], "interval": 1},
            variables={"VERSION": "one"},
            workingDirectory="/scratch",
            dockerLabels={"team": "books"},
            linuxParameters={
                "initProcessEnabled": True,
                "capabilities": {"drop": ["ALL"]},
                "tmpfs": [{"containerPath": "/scratch", "size": 8}],
            },
            logConfiguration={"logDriver": "awslogs", "options": options},
        )
    )
    task = account.reached(arn, "RUNNING")
    container = account.containers(task_arn=arn)[0].attrs
    host, config = container["HostConfig"], container["Config"]
    assert (host["Memory"], host["MemoryReservation"], host["CpuShares"]) == (96 << 20, 32 << 20, 256)
    assert (config["User"], config["WorkingDir"], config["Labels"]["team"]) == ("1234:1234", "/scratch", "books")
    assert (host["ReadonlyRootfs"], host["Init"], host["CapDrop"], host["Tmpfs"]) == (
        True,
        True,
        ["ALL"],
        {"/scratch": "size=8m"},
    )
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 2048, "Hard": 4096}]
    assert not host["PortBindings"], "a host port is the emulated instance's, not this machine's"
    [binding] = task["containers"][0]["networkBindings"]
    assert binding["containerPort"] == 8080
    assert binding["hostPort"] >= 32768
    until("its health command is asked", lambda: account.task(arn)["healthStatus"] == "HEALTHY")
    lines = until("its log arrives", lambda: account.logs.filter_log_events(logGroupName="/probe")["events"])
    assert "version one starts" in lines[0]["message"]
    account.ecs.stop_task(cluster=CLUSTER, task=arn, reason="seen enough")
    stopped = account.reached(arn, "STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "seen enough")
    assert stopped["containers"][0]["exitCode"] == 0
    messages = [each["message"] for each in account.logs.filter_log_events(logGroupName="/probe")["events"]]
    assert messages[-1] == "stopped", "the last lines of a stopped container must not be lost"


def test_a_container_over_its_memory_limit_is_killed_and_says_so(account: Account) -> None:
    arn = account.run(account.define(memory=32))
    account.ask(account.reached(arn, "RUNNING"), "/eat")
    stopped = account.reached(arn, "STOPPED")
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert stopped["stoppedReason"] == "Essential container in task exited"
    assert stopped["containers"][0]["exitCode"] == 137
    assert stopped["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_a_container_that_ignores_sigterm_is_killed_after_its_stop_timeout(account: Account) -> None:
    arn = account.run(account.define(variables={"STUBBORN": "1"}, stopTimeout=2))
    account.reached(arn, "RUNNING")
    began = time.monotonic()
    account.ecs.stop_task(cluster=CLUSTER, task=arn)
    assert time.monotonic() - began < 2, "StopTask doesn't wait for the container"
    stopped = account.reached(arn, "STOPPED")
    assert 2 <= time.monotonic() - began < 15, "not after the default of 30 seconds"
    assert stopped["containers"][0]["exitCode"] == 137


def test_a_deployment_completes_when_its_targets_are_healthy(account: Account) -> None:
    group = account.target_group()
    began = time.monotonic()
    name = account.serve(account.define(), group=group)
    states = [until("a target is registered", lambda: account.health(group))[0]]
    service = account.completed(name)
    assert time.monotonic() - began < 10, "the emulation adds little to what the health check settings ask for"
    states += account.health(group)
    assert states == [("initial", "Elb.RegistrationInProgress"), ("healthy", "")]
    assert (service["runningCount"], service["deployments"][0]["failedTasks"]) == (1, 0)
    events = account.events(name).splitlines()
    deployment = service["deployments"][0]["id"]
    assert events[0] == f"(service {name}) has reached a steady state."
    assert events[1] == f"(service {name}) (deployment {deployment}) deployment completed."
    assert events[2] == f"(service {name}) registered 1 targets in (target-group {group})"
    assert events[3].startswith(f"(service {name}) has started 1 tasks: (task ")
    [task] = account.tasks(name)
    assert (task["startedBy"], task["group"]) == (deployment, f"service:{name}")


def test_a_task_whose_target_turns_unhealthy_is_replaced_after_the_grace_period(account: Account) -> None:
    group = account.target_group()
    name = account.serve(account.define(), group=group, healthCheckGracePeriodSeconds=GRACE)
    account.completed(name)
    [task] = account.tasks(name)
    account.ask(task, "/sicken")
    stopped = account.reached(task["taskArn"], "STOPPED")
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {group})"
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    port = task["containers"][0]["networkBindings"][0]["hostPort"]
    why = f"(port {port}) is unhealthy in (target-group {group}) due to (reason Health checks failed with these codes: "
    assert f"{why}[500])" in account.events(name)
    until("a new task serves", lambda: ("healthy", "") in account.health(group))


def test_a_first_deployment_that_never_gets_healthy_fails(account: Account) -> None:
    group = account.target_group()
    began = time.monotonic()
    name = account.serve(account.define(variables={"SICK": "1"}), group=group, healthCheckGracePeriodSeconds=GRACE)

    def failed() -> Any:
        found = account.service(name)
        return found if found["deployments"][0]["rolloutState"] == "FAILED" else None

    deployment = until("it fails", failed, seconds=40)["deployments"][0]
    assert time.monotonic() - began > 3 * GRACE, "the grace period holds for each task"
    assert deployment["failedTasks"] == 3
    assert deployment["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert (
        f"(service {name}) (deployment {deployment['id']}) deployment failed: tasks failed to start."
        in account.events(name)
    )
    until("no task is left", lambda: account.service(name)["runningCount"] == 0)
    [history] = account.ecs.list_service_deployments(cluster=CLUSTER, service=name)["serviceDeployments"]
    assert (history["status"], history["statusReason"]) == (
        "ROLLBACK_FAILED",
        "No rollback candidate was found to run the rollback.",
    )


def test_a_deployment_that_crashes_goes_back_to_the_old_tasks(account: Account) -> None:
    group = account.target_group()
    good = account.define()
    name = account.serve(good, group=group)
    first = account.completed(name)["deployments"][0]["id"]
    [serving] = account.tasks(name)
    failed = account.update(name, taskDefinition=account.define(variables={"EXIT": "3"}))

    def rolling_back() -> Any:
        found = account.service(name)
        return found if len(found["deployments"]) == 2 and found["taskDefinition"] == good else None

    primary, other = until("it goes back", rolling_back)["deployments"]
    assert primary["rolloutStateReason"] == f"ECS deployment circuit breaker: rolling back to deploymentId {first}."
    assert primary["id"] not in (first, failed)
    assert (other["id"], other["rolloutState"], other["failedTasks"]) == (failed, "FAILED", 3)
    assert [each["id"] for each in account.completed(name)["deployments"]] == [primary["id"]], "the failed one is gone"
    assert [each["taskArn"] for each in account.tasks(name)] == [serving["taskArn"]], "the task that served still does"
    stopped = account.tasks(name, "STOPPED")
    assert {each["containers"][0]["exitCode"] for each in stopped} == {3}
    assert {each["startedBy"] for each in stopped} == {failed}
    account.ecs.get_waiter("services_stable").wait(cluster=CLUSTER, services=[name])
    [newest, oldest] = account.ecs.list_service_deployments(cluster=CLUSTER, service=name)["serviceDeployments"]
    assert (newest["status"], oldest["status"]) == ("ROLLBACK_SUCCESSFUL", "SUCCESSFUL")
    [described] = account.ecs.describe_service_deployments(serviceDeploymentArns=[newest["serviceDeploymentArn"]])[
        "serviceDeployments"
    ]
    assert described["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    [revision] = account.ecs.describe_service_revisions(
        serviceRevisionArns=[described["rollback"]["serviceRevisionArn"]]
    )["serviceRevisions"]
    assert revision["taskDefinition"] == good
    assert f"rolling back to deployment {first}." in account.events(name)


def test_a_task_that_cant_start_says_why_and_is_tried_again_with_a_growing_pause(account: Account) -> None:
    repository = account.image.partition("@")[0]
    no_breaker = {"deploymentCircuitBreaker": {"enable": False, "rollback": False}}
    name = account.serve(account.define(image=f"{repository}:nowhere"), deploymentConfiguration=no_breaker)
    stopped = until("three tries", lambda: found if len(found := account.tasks(name, "STOPPED")) >= 3 else None)
    assert all(each["stoppedReason"].startswith("CannotPullContainerError: ") for each in stopped)
    assert {each["stopCode"] for each in stopped} == {"TaskFailedToStart"}
    first, second, third = sorted(each["createdAt"] for each in stopped)[:3]
    assert (second - first).total_seconds() >= 1
    assert (third - second).total_seconds() >= 2
    account.ecs.delete_service(cluster=CLUSTER, service=name, force=True)


def test_targets_drain_before_their_task_is_told_to_stop(account: Account) -> None:
    group = account.target_group(delay=3)
    account.logs.create_log_group(logGroupName="/drain")
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/drain", "awslogs-region": REGION}}
    name = account.serve(account.define(logConfiguration=log), group=group)
    account.completed(name)
    [task] = account.tasks(name)
    began = time.monotonic()
    account.update(name, desiredCount=0)
    until("the target drains", lambda: account.health(group) == [("draining", "Target.DeregistrationInProgress")])
    assert account.task(task["taskArn"])["lastStatus"] == "DEACTIVATING"

    def told() -> bool:
        events = account.logs.filter_log_events(logGroupName="/drain")["events"]
        return any(each["message"] == "told to stop" for each in events)

    until("it is told to stop", told)
    assert time.monotonic() - began >= 3, "SIGTERM comes after the deregistration delay"
    account.reached(task["taskArn"], "STOPPED")
    assert not account.health(group)


def test_a_rolling_deployment_keeps_to_its_percentages(account: Account) -> None:
    group = account.target_group()
    limits = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    name = account.serve(account.define(), group=group, desiredCount=3, deploymentConfiguration=limits)
    account.completed(name)
    update = account.update(name, taskDefinition=account.define(variables={"VERSION": "two"}))
    seen = []

    def done() -> bool:
        states = [state for state, _ in account.health(group)]
        seen.append((states.count("healthy"), len(account.tasks(name))))
        return [each["id"] for each in account.service(name)["deployments"]] == [update]

    until("it completes", done, seconds=30, every=0.05)
    assert min(healthy for healthy, _ in seen) >= 2, "half of three is two, rounded up"
    assert max(running for _, running in seen) <= 3
    assert {each["startedBy"] for each in account.tasks(name)} == {update}


def test_no_request_is_lost_while_a_deployment_rolls(account: Account) -> None:
    group = account.target_group(delay=3)
    name = account.serve(account.define(variables={"VERSION": "one"}), group=group)
    account.completed(name)
    balancer = account.elbv2.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"]
    host = account.elbv2.describe_load_balancers(LoadBalancerArns=balancer)["LoadBalancers"][0]["DNSName"]

    def ask() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", account.port, timeout=10)
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    answers: list[tuple[int, bytes]] = []
    finished: list[bool] = []

    def client() -> None:
        while not finished:
            answers.append(ask())
            time.sleep(0.05)

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(client) for _ in range(2)]
        account.update(name, taskDefinition=account.define(variables={"VERSION": "two"}))
        until("the old target drains", lambda: "draining" in dict(account.health(group)))
        while_draining = {ask() for _ in range(10)}
        account.completed(name)
        finished.append(True)
    for each in clients:
        each.result()
    assert while_draining == {(200, b"two")}, "a target that drains gets no new request"
    assert set(answers) == {(200, b"one"), (200, b"two")}


@pytest.fixture(scope="module")
def managed(account: Account) -> list[dict[str, Any]]:
    """The strategy of a capacity provider that would add instances, if the group had more."""
    group = account.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupARN"]
    provider = {"autoScalingGroupArn": group, "managedScaling": {"status": "ENABLED"}}
    account.ecs.create_capacity_provider(name="managed", autoScalingGroupProvider=provider)
    account.ecs.put_cluster_capacity_providers(
        cluster=CLUSTER, capacityProviders=["managed"], defaultCapacityProviderStrategy=[]
    )
    return [{"capacityProvider": "managed", "weight": 1}]


def test_a_task_of_a_capacity_provider_waits_for_room(account: Account, managed: list[dict[str, Any]]) -> None:
    large = account.define(memory=9_000)
    runs = [
        account.ecs.run_task(cluster=CLUSTER, taskDefinition=large, capacityProviderStrategy=managed)["tasks"][0]
        for _ in range(3)
    ]
    arns = [each["taskArn"] for each in runs]
    for arn in arns[:2]:
        account.reached(arn, "RUNNING")
    assert account.task(arns[2])["lastStatus"] == "PROVISIONING", "two instances have room for two of them"
    account.ecs.stop_task(cluster=CLUSTER, task=arns[0])
    account.reached(arns[2], "RUNNING")
    for arn in arns[1:]:
        account.ecs.stop_task(cluster=CLUSTER, task=arn)


def test_a_task_of_its_own_has_its_overrides_its_starter_and_its_tags(account: Account) -> None:
    tags = [{"key": "Project", "value": "probe"}]
    definition = account.define()
    account.ecs.tag_resource(resourceArn=definition, tags=tags)
    [task] = account.ecs.run_task(
        cluster=CLUSTER,
        taskDefinition=definition,
        launchType="EC2",
        startedBy="migration",
        overrides={"containerOverrides": [{"name": "probe", "command": ["check"]}]},
        propagateTags="TASK_DEFINITION",
        enableECSManagedTags=True,
    )["tasks"]
    ended = account.reached(task["taskArn"], "STOPPED")
    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 0)
    assert ended["overrides"]["containerOverrides"] == [{"name": "probe", "command": ["check"]}]
    assert (ended["startedBy"], ended["group"]) == ("migration", "family:probe")
    described = account.ecs.describe_tasks(cluster=CLUSTER, tasks=[task["taskArn"]], include=["TAGS"])["tasks"][0]
    assert described["tags"] == [*tags, {"key": "aws:ecs:clusterName", "value": CLUSTER}]


def test_an_override_is_for_a_container_that_there_is(account: Account) -> None:
    overrides = {"containerOverrides": [{"name": "nobody", "command": ["check"]}]}
    with pytest.raises(account.ecs.exceptions.InvalidParameterException, match="container named nobody is not"):
        account.ecs.run_task(cluster=CLUSTER, taskDefinition=account.define(), launchType="EC2", overrides=overrides)


def test_a_task_of_its_own_has_no_services_tags(account: Account) -> None:
    with pytest.raises(account.ecs.exceptions.InvalidParameterException, match="SERVICE"):
        account.ecs.run_task(
            cluster=CLUSTER, taskDefinition=account.define(), launchType="EC2", propagateTags="SERVICE"
        )


def test_tasks_are_listed_by_family_by_who_started_them_and_by_what_they_are_to_be(account: Account) -> None:
    def listed(**filters: str) -> list[str]:
        return [each for each in account.ecs.list_tasks(cluster=CLUSTER, **filters)["taskArns"] if each in arns]

    definition = account.define()
    arns = [
        account.ecs.run_task(cluster=CLUSTER, taskDefinition=definition, launchType="EC2", startedBy=starter)["tasks"][
            0
        ]["taskArn"]
        for starter in ("me", "you")
    ]
    assert sorted(listed(family="probe")) == sorted(arns)
    assert listed(family="another") == []
    assert listed(startedBy="me") == arns[:1]
    account.ecs.stop_task(cluster=CLUSTER, task=arns[0])
    assert listed(startedBy="me") == []
    assert listed(startedBy="me", desiredStatus="STOPPED") == arns[:1]
    with pytest.raises(account.ecs.exceptions.InvalidParameterException, match="only filter"):
        listed(startedBy="me", family="probe")
    account.ecs.stop_task(cluster=CLUSTER, task=arns[1])


def test_a_task_that_waits_for_room_can_be_stopped(account: Account, managed: list[dict[str, Any]]) -> None:
    large = account.define(memory=1_000_000)
    [task] = account.ecs.run_task(cluster=CLUSTER, taskDefinition=large, capacityProviderStrategy=managed)["tasks"]
    assert task["lastStatus"] == "PROVISIONING"
    account.ecs.stop_task(cluster=CLUSTER, task=task["taskArn"], reason="waited enough")
    stopped = account.reached(task["taskArn"], "STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "waited enough")
    assert "exitCode" not in stopped["containers"][0]


def test_deployments_are_listed_by_when_they_were_made(account: Account) -> None:
    name = account.serve(account.define())
    account.completed(name)
    second = account.define(variables={"VERSION": "two"})
    registered = account.ecs.describe_task_definition(taskDefinition=second)["taskDefinition"]["registeredAt"]

    def since() -> list[str]:
        found = account.ecs.list_service_deployments(cluster=CLUSTER, service=name, createdAt={"after": registered})
        return [each["targetServiceRevisionArn"] for each in found["serviceDeployments"]]

    assert since() == []
    account.update(name, taskDefinition=second)
    [revision] = account.ecs.describe_service_revisions(serviceRevisionArns=since())["serviceRevisions"]
    assert revision["taskDefinition"] == second
    account.ecs.delete_service(cluster=CLUSTER, service=name, force=True)


def test_a_container_whose_health_command_fails_is_replaced(account: Account) -> None:
    check = {"command": ["CMD", "/probe", "check"], "interval": 1, "retries": 1, "timeout": 2}
    name = account.serve(account.define(variables={"SICK": "1"}, healthCheck=check))
    [stopped, *_] = until("one is stopped", lambda: account.tasks(name, "STOPPED"))
    assert stopped["stoppedReason"] == "Task failed container health checks"
    assert "failed container health checks." in account.events(name)
    account.ecs.delete_service(cluster=CLUSTER, service=name, force=True)


def test_a_fixed_host_port_is_served_through_the_instance_and_deployed_with_a_gap(account: Account) -> None:
    group = account.target_group(Port=8888)
    arns = account.ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"]
    described = account.ecs.describe_container_instances(cluster=CLUSTER, containerInstances=arns)["containerInstances"]
    targets = [{"Id": each["ec2InstanceId"], "Port": 8888} for each in described]
    account.elbv2.register_targets(TargetGroupArn=group, Targets=targets)
    limits = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    ports = [{"containerPort": 8080, "hostPort": 8888}]
    name = account.serve(account.define(portMappings=ports), desiredCount=2, deploymentConfiguration=limits)
    account.completed(name)
    until("both instances are healthy", lambda: account.health(group) == [("healthy", "")] * 2)
    update = account.update(name, taskDefinition=account.define(portMappings=ports, variables={"VERSION": "two"}))
    assert account.completed(name)["deployments"][0]["id"] == update
    until("both instances are healthy again", lambda: account.health(group) == [("healthy", "")] * 2)
    account.ecs.delete_service(cluster=CLUSTER, service=name, force=True)
    until("no instance answers any more", lambda: {state for state, _ in account.health(group)} == {"unhealthy"})


def test_a_service_that_finds_no_room_says_so_and_goes_on_as_it_is(account: Account) -> None:
    name = account.serve(account.define())
    account.completed(name)
    update = account.update(name, taskDefinition=account.define(memory=1_000_000))
    words = "was unable to place a task because no container instance met all of its requirements."
    until("an event says so", lambda: words in account.events(name))
    service = account.service(name)
    assert (service["runningCount"], service["pendingCount"]) == (1, 0)
    repaired = account.update(name, taskDefinition=account.define(memory=32))
    assert account.completed(name)["deployments"][0]["id"] == repaired
    history = account.ecs.list_service_deployments(cluster=CLUSTER, service=name)["serviceDeployments"]
    assert [each["status"] for each in history] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]
    assert not account.tasks(name, "STOPPED")[1:], f"{update} never had a task"
    assert account.events(name).count(words) == 1, "an event isn't repeated with every look"


def test_a_deployment_is_stopped_and_goes_back(account: Account) -> None:
    good = account.define()
    name = account.serve(good)
    account.completed(name)
    [serving] = account.tasks(name)
    update = account.update(name, taskDefinition=account.define(memory=1_000_000))
    [newest] = account.ecs.list_service_deployments(cluster=CLUSTER, service=name, status=["IN_PROGRESS"])[
        "serviceDeployments"
    ]
    arn = newest["serviceDeploymentArn"]
    stop = account.ecs.stop_service_deployment
    assert stop(serviceDeploymentArn=arn, stopType="ROLLBACK")["serviceDeploymentArn"] == arn
    assert stop(serviceDeploymentArn=arn), "a second time changes nothing"

    def gone_back() -> Any:
        found = account.service(name)
        return found["taskDefinition"] == good and [each["rolloutState"] for each in found["deployments"]]

    until("it goes back", lambda: gone_back() == ["COMPLETED"])
    assert update not in account.service(name)["deployments"][0]["id"]
    assert [each["taskArn"] for each in account.tasks(name)] == [serving["taskArn"]], "the task that served still does"
    [described] = account.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"]
    assert described["status"] == "ROLLBACK_SUCCESSFUL"
    assert described["rollback"]["reason"] == "Service deployment rolled back because StopServiceDeployment was called."
    with pytest.raises(account.ecs.exceptions.ConflictException):
        stop(serviceDeploymentArn=arn, stopType="ROLLBACK")


def test_a_first_deployment_that_is_stopped_has_nothing_to_go_back_to(account: Account) -> None:
    name = account.serve(account.define(memory=1_000_000))
    [first] = account.ecs.list_service_deployments(cluster=CLUSTER, service=name)["serviceDeployments"]
    arn = first["serviceDeploymentArn"]
    with pytest.raises(account.ecs.exceptions.InvalidParameterException):
        account.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ABORT")
    account.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")

    def described() -> Any:
        return account.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]

    until("it fails", lambda: described()["status"] == "ROLLBACK_FAILED")
    assert described()["statusReason"] == "No rollback candidate was found to run the rollback."
    with pytest.raises(account.ecs.exceptions.ServiceDeploymentNotFoundException):
        account.ecs.stop_service_deployment(serviceDeploymentArn=f"{arn}x")


def test_a_log_group_that_there_isnt_keeps_a_task_from_starting(account: Account) -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/nowhere", "awslogs-region": REGION}}
    stopped = account.reached(account.run(account.define(logConfiguration=log)), "STOPPED")
    assert "The specified log group does not exist" in stopped["stoppedReason"]
    assert stopped["stopCode"] == "TaskFailedToStart"


def test_a_deleted_service_drains_and_leaves_no_container(account: Account) -> None:
    group = account.target_group()
    name = account.serve(account.define(), group=group, desiredCount=2)
    account.completed(name)
    arns = [each["taskArn"] for each in account.tasks(name)]
    answer = account.ecs.delete_service(cluster=CLUSTER, service=name, force=True)
    assert answer["service"]["status"] == "DRAINING"
    with pytest.raises(account.ecs.exceptions.ClusterContainsServicesException):
        account.ecs.delete_cluster(cluster=CLUSTER)
    account.ecs.get_waiter("services_inactive").wait(
        cluster=CLUSTER, services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    assert not [each for arn in arns for each in account.containers(task_arn=arn)]


def test_a_service_needs_a_listener_for_its_target_group(account: Account) -> None:
    group = account.elbv2.create_target_group(Name="lonely", Protocol="HTTP", Port=80)["TargetGroups"][0][
        "TargetGroupArn"
    ]
    with pytest.raises(
        account.ecs.exceptions.InvalidParameterException, match="does not have an associated load balancer"
    ):
        account.serve(account.define(), group=group)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_an_account_that_ends_removes_its_own_containers_only(account: Account, ending: signal.Signals) -> None:
    other = Account(free_port())
    other.image = account.image
    other.add_instances(1)
    arn, kept = other.run(other.define()), account.run(account.define())
    other.reached(arn, "RUNNING")
    account.reached(kept, "RUNNING")
    other.process.send_signal(ending)
    other.process.wait(20)
    until("its containers are gone", lambda: not account.containers(task_arn=arn))
    assert account.containers(task_arn=kept), "another account's container stays"
    account.ecs.stop_task(cluster=CLUSTER, task=kept)
