"""The service, its roles, its log and its scaling."""

import json
import time
from dataclasses import replace
from typing import Any, cast

import pulumi
import pulumi_aws as aws
import pytest

from components import migration
from components.container_definition import ContainerArgs, ContainerHealthArgs
from components.fit import ONE_HALF_AT_A_TIME, WITHOUT_GAP
from components.lookups import Missing, find_all
from components.migration import MigrationPlan
from components.policies import SecretAccess, execution_policy, task_policy, task_trust
from components.service import Account, Service, ServiceArgs, find_account
from tests.unit.aws_answers import ACCOUNT, ASSIGNED, DIGEST, REGION, REGISTRY
from tests.unit.fake_migration import JOB, FakeEcs
from tests.unit.mocked_engine import AwsError, Deployment, Resource, run

SERVICE = "aws:ecs/service:Service"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
LOG = "aws:cloudwatch/logGroup:LogGroup"
ROLE = "aws:iam/role:Role"
POLICY = "aws:iam/rolePolicy:RolePolicy"
LISTENER = "aws:lb/listener:Listener"
TARGET = "aws:appautoscaling/target:Target"
SCALING = "aws:appautoscaling/policy:Policy"

IMAGE = f"{REGISTRY}/backend@{DIGEST}"
REPOSITORY_ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/backend"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:pre1/postgres-AbCdEf"
OTHER = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:pre1/other-AbCdEf"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/pre/key"

INJECTABLE = SecretAccess(secret_arns=[OTHER], own_key_arns=[OTHER], parameter_arns=[PARAMETER])
READABLE = SecretAccess(secret_arns=[SECRET])


def service(*, into: Deployment | None = None, **changes: Any) -> Deployment:
    args: dict[str, Any] = {
        "account": Account(partition="aws", region=REGION, id=ACCOUNT),
        "cluster_arn": "arn:cluster",
        "cluster_name": "cluster-1a2b3c4",
        "capacity_provider_name": "capacity-1a2b3c4",
        "target_group_arn": "arn:target-group",
        "repository_arn": REPOSITORY_ARN,
        "image": IMAGE,
        "architecture": "x86_64",
        "container": ContainerArgs(port=8080, host_port=0, cpu=512, memory=512),
        "injected": {"PASSWORD": f"{OTHER}:password::"},
        "injectable": INJECTABLE,
        "readable": READABLE,
        "labels": {"health-check": "200 from /health"},
        "health_grace_period": 45,
        "min_tasks": 1,
        "max_tasks": 2,
        "cpu_target": 60,
        "circuit_breaker": True,
        "bounds": WITHOUT_GAP,
        "log_group_prefix": "/backend/pre/",
        "log_retention_days": 14,
        "role_path": "/backend/pre/",
    }

    def program() -> None:
        listener = aws.lb.Listener("listener", load_balancer_arn="arn:lb", default_actions=[{"type": "forward"}])
        made = Service("pre", ServiceArgs(**{"listener_arn": listener.arn, **args, **changes}))
        pulumi.export("name", made.name)
        pulumi.export("taskDefinition", made.task_definition_arn)
        pulumi.export("logGroup", made.log_group_name)

    return run(program, into=into)


@pytest.fixture(scope="module")
def made() -> Deployment:
    return service()


@pytest.fixture(scope="module")
def steady() -> Deployment:
    """One whose number of tasks is fixed, and whose tasks read no secret."""
    return service(min_tasks=2, max_tasks=2, readable=SecretAccess(), circuit_breaker=False, bounds=ONE_HALF_AT_A_TIME)


def container(deployment: Deployment) -> dict[str, Any]:
    (found,) = json.loads(deployment.one(TASK).inputs["containerDefinitions"])
    assert isinstance(found, dict)
    return found


def test_the_task_runs_the_image_by_its_digest(made: Deployment) -> None:
    assert container(made)["image"] == IMAGE


def test_the_task_is_for_ec2_in_bridge_mode(made: Deployment) -> None:
    inputs = made.one(TASK).inputs
    assert (inputs["networkMode"], inputs["requiresCompatibilities"]) == ("bridge", ["EC2"])


@pytest.mark.parametrize(("architecture", "asked"), [("x86_64", "X86_64"), ("arm64", "ARM64")])
def test_the_task_names_its_architecture(architecture: str, asked: str) -> None:
    platform = service(architecture=architecture).one(TASK).inputs["runtimePlatform"]
    assert platform == {"cpuArchitecture": asked, "operatingSystemFamily": "LINUX"}


def test_revisions_before_stay(made: Deployment) -> None:
    assert made.one(TASK).inputs["skipDestroy"] is True, "or there is nothing to go back to"


def test_the_family_is_stable(made: Deployment) -> None:
    assert made.one(TASK).inputs["family"] == "pre"


def test_injected_secrets_reach_the_container(made: Deployment) -> None:
    assert container(made)["secrets"] == [{"name": "PASSWORD", "valueFrom": f"{OTHER}:password::"}]


def test_the_log_is_the_log_groups(made: Deployment) -> None:
    options = container(made)["logConfiguration"]["options"]
    assert options["awslogs-group"] == made.one(LOG).outputs["name"] == made.outputs["logGroup"]
    assert options["awslogs-region"] == REGION


def test_the_log_outlives_the_environment_for_as_long_as_is_asked(made: Deployment) -> None:
    log = made.one(LOG).inputs
    assert log["skipDestroy"] is True
    assert log["retentionInDays"] == 14
    assert log["namePrefix"] == "/backend/pre/", "a fixed name would be taken when the environment comes back"


def test_a_health_command_reaches_the_container() -> None:
    health = ContainerHealthArgs(command=["CMD", "true"], interval=10, timeout=5, retries=3, start_period=45)
    assert container(service(container_health=health))["healthCheck"]["command"] == ["CMD", "true"]


def test_a_failed_deployment_is_rolled_back(made: Deployment) -> None:
    assert made.one(SERVICE).inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}


def test_without_a_circuit_breaker_nothing_is_rolled_back(steady: Deployment) -> None:
    assert steady.one(SERVICE).inputs["deploymentCircuitBreaker"] == {"enable": False, "rollback": False}


def test_a_deployment_keeps_its_bounds(made: Deployment, steady: Deployment) -> None:
    bounds = [
        (d.one(SERVICE).inputs["deploymentMinimumHealthyPercent"], d.one(SERVICE).inputs["deploymentMaximumPercent"])
        for d in (made, steady)
    ]
    assert bounds == [(100, 200), (50, 100)]


def test_the_provider_does_not_wait_for_a_steady_state(made: Deployment) -> None:
    assert made.one(SERVICE).inputs["waitForSteadyState"] is False, "it takes a rollback for a success; Rollout waits"


def test_a_slow_start_is_forgiven(made: Deployment) -> None:
    assert made.one(SERVICE).inputs["healthCheckGracePeriodSeconds"] == 45


def test_tasks_are_spread_over_zones_and_packed_within(made: Deployment) -> None:
    assert made.one(SERVICE).inputs["orderedPlacementStrategies"] == [
        {"type": "spread", "field": "attribute:ecs.availability-zone"},
        {"type": "binpack", "field": "memory"},
    ]


def test_tasks_run_on_the_capacity_provider_of_the_cluster(made: Deployment) -> None:
    inputs = made.one(SERVICE).inputs
    assert inputs["cluster"] == "arn:cluster"
    assert inputs["capacityProviderStrategies"] == [{"capacityProvider": "capacity-1a2b3c4", "weight": 1}]
    assert "launchType" not in inputs, "ECS takes one of the two"


def test_the_containers_port_is_behind_the_load_balancer(made: Deployment) -> None:
    assert made.one(SERVICE).inputs["loadBalancers"] == [
        {"targetGroupArn": "arn:target-group", "containerName": container(made)["name"], "containerPort": 8080}
    ]


def test_the_service_waits_for_the_listener(made: Deployment) -> None:
    assert made.depends_on(made.one(SERVICE), made.one(LISTENER)), "ECS refuses a target group without one"


@pytest.mark.parametrize("role", ["execution", "task"])
def test_the_service_is_gone_before_its_roles_lose_their_rights(made: Deployment, role: str) -> None:
    assert made.depends_on(made.one(SERVICE), made.one(POLICY, role)), "without them it hangs in DRAINING"


def test_tags_reach_the_tasks(made: Deployment) -> None:
    inputs = made.one(SERVICE).inputs
    assert (inputs["propagateTags"], inputs["enableEcsManagedTags"]) == ("SERVICE", True)


def test_where_tasks_scale_a_deployment_leaves_their_number_alone(made: Deployment) -> None:
    assert made.one(SERVICE).ignore_changes == ["desiredCount"]
    assert made.one(SERVICE).inputs["desiredCount"] == 1


def test_where_their_number_is_fixed_a_change_of_it_counts(steady: Deployment) -> None:
    assert steady.one(SERVICE).ignore_changes == []
    assert steady.one(SERVICE).inputs["desiredCount"] == 2
    assert steady.all(TARGET) == steady.all(SCALING) == []


def test_tasks_scale_between_their_bounds(made: Deployment) -> None:
    inputs = made.one(TARGET).inputs
    assert (inputs["minCapacity"], inputs["maxCapacity"]) == (1, 2)
    assert inputs["resourceId"] == f"service/cluster-1a2b3c4/{made.outputs['name']}"
    assert (inputs["serviceNamespace"], inputs["scalableDimension"]) == ("ecs", "ecs:service:DesiredCount")


def test_tasks_follow_the_cpu_quickly_up_and_slowly_down(made: Deployment) -> None:
    policy = made.one(SCALING).inputs
    assert policy["resourceId"] == made.one(TARGET).inputs["resourceId"]
    assert policy["targetTrackingScalingPolicyConfiguration"] == {
        "predefinedMetricSpecification": {"predefinedMetricType": "ECSServiceAverageCPUUtilization"},
        "targetValue": 60,
        "scaleInCooldown": 300,
        "scaleOutCooldown": 60,
    }


@pytest.mark.parametrize("role", ["execution", "task"])
def test_only_tasks_of_this_account_and_region_take_a_role_on(made: Deployment, role: str) -> None:
    expected = task_trust(partition="aws", region=REGION, account=ACCOUNT)
    assert json.loads(made.one(ROLE, role).inputs["assumeRolePolicy"]) == expected


def test_the_execution_role_reads_what_is_injected_and_no_more(made: Deployment) -> None:
    assert json.loads(made.one(POLICY, "execution").inputs["policy"]) == execution_policy(
        repository_arn=REPOSITORY_ARN,
        log_group_arn=made.one(LOG).outputs["arn"],
        injectable=INJECTABLE,
    )


def test_the_task_role_reads_what_the_task_may_read_and_no_more(made: Deployment) -> None:
    found = json.loads(made.one(POLICY, "task").inputs["policy"])
    assert found == task_policy(READABLE)
    assert OTHER not in json.dumps(found)


def test_the_roles_stand_under_the_environments_path(made: Deployment) -> None:
    paths = {role.inputs["path"] for role in made.all(ROLE)}
    assert paths == {"/backend/pre/"}, "who deploys may pass the roles there alone"


def test_each_policy_is_its_roles(made: Deployment) -> None:
    for role in ("execution", "task"):
        assert made.one(POLICY, role).inputs["role"] == made.one(ROLE, role).outputs["name"]
        assert made.one(TASK).inputs[f"{role}RoleArn"] == made.one(ROLE, role).outputs["arn"]


def test_a_task_that_reads_nothing_has_a_role_without_rights(steady: Deployment) -> None:
    assert [p.name for p in steady.all(POLICY)] == ["pre-execution"]
    assert steady.one(TASK).inputs["taskRoleArn"] == steady.one(ROLE, "task").outputs["arn"], (
        "without one it would ask the instance for its role"
    )


def test_its_outputs_are_registered(made: Deployment) -> None:
    assert made.component_outputs[made.one("booklink:backend:Service").urn] == {
        "name": made.one(SERVICE).outputs["name"],
        "taskDefinitionArn": made.one(TASK).outputs["arn"],
    }
    assert made.outputs["taskDefinition"] == made.one(TASK).outputs["arn"]


def account(answer: Any = None) -> Account:
    found: list[Account] = []

    def program() -> None:
        lookup = find_account(aws.Provider("aws"), region="cn-north-1")
        find_all([lookup])
        found.append(lookup.value)

    run(program, answers={"aws:index/getCallerIdentity:getCallerIdentity": answer} if answer else None)
    return found[0]


def test_the_partition_is_the_credentials_own() -> None:
    answer = {"accountId": ACCOUNT, "arn": f"arn:aws-cn:iam::{ACCOUNT}:root", "id": ACCOUNT, "userId": "x"}
    assert account(answer) == Account(partition="aws-cn", region="cn-north-1", id=ACCOUNT)


def test_credentials_that_aws_refuses_are_named() -> None:
    with pytest.raises(Missing, match=r"AWS credentials: .*`aws sts get-caller-identity` must work \(AWS: expired\)"):
        account(AwsError("expired"))


def slow_policy(name: str, _: dict[str, Any]) -> dict[str, Any]:
    """The rights of a role, which come last unless they are waited for."""
    time.sleep(0.4 if name.endswith("task") else 0.2)
    return {"id": name}


@pytest.fixture
def migrated(monkeypatch: pytest.MonkeyPatch) -> tuple[Deployment, list[Resource]]:
    """One with a migration, and what there was when its task was started."""
    asked, there = Deployment(), []

    class Ecs(FakeEcs):
        def run_task(self, **task: Any) -> dict[str, Any]:
            there.extend(asked.resources)
            return super().run_task(**task)

    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/pre:3"
    ecs = Ecs(job=replace(JOB, cluster="cluster-1a2b3c4", task_definition=arn))
    monkeypatch.setattr(migration, "clients", lambda *_, **__: [ecs, ecs.logs_client()])
    monkeypatch.setattr(migration, "POLL_INTERVAL", 0)
    monkeypatch.setitem(cast(dict[str, Any], ASSIGNED), POLICY, slow_policy)
    plan = MigrationPlan(command=["migrate"], timeout=60, profile=None)
    service(migration=plan, into=asked)
    assert [task["taskDefinition"] for task in ecs.ran] == [arn]
    return asked, there


def test_a_migration_comes_after_all_that_its_task_needs(migrated: tuple[Deployment, list[Resource]]) -> None:
    _, there = migrated
    assert {TASK, LOG, ROLE} <= {each.type for each in there}
    assert {each.name for each in there if each.type == POLICY} == {"pre-execution", "pre-task"}


def test_a_migration_comes_before_the_service(migrated: tuple[Deployment, list[Resource]]) -> None:
    made, there = migrated
    assert made.one(SERVICE).inputs["taskDefinition"] == made.one(TASK).outputs["arn"]
    assert SERVICE not in {each.type for each in there}


def test_a_service_without_a_migration_has_none(made: Deployment) -> None:
    assert not made.all("booklink:backend:Migration")
