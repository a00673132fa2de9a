"""The ECS service: the task definition, the roles it runs under, its log, and how many tasks there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, Resource, ResourceOptions

from components.container_definition import (
    CONTAINER_NAME,
    ContainerArgs,
    ContainerHealthArgs,
    container_definition,
)
from components.fit import DeploymentBounds
from components.instances import Architecture
from components.lookups import LookUp, ask
from components.migration import Migration, MigrationArgs, MigrationPlan
from components.policies import Policy, SecretAccess, execution_policy, task_policy, task_trust

SCALE_OUT_COOLDOWN = 60
SCALE_IN_COOLDOWN = 300
"""Seconds after which the number of tasks may change again: soon where load grows, late where it falls."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where this runs: AWS's partition, the region and the account's ID."""

    partition: str
    region: str
    id: str


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """`injected` has, for each environment variable, what ECS takes as a secret's `valueFrom`.

    Between `min_tasks` and `max_tasks` their number follows the CPU use, of which `cpu_target` per cent is right. A
    `migration` runs before the service gets another task definition.
    """

    account: Account
    cluster_arn: Input[str]
    cluster_name: Input[str]
    capacity_provider_name: Input[str]
    target_group_arn: Input[str]
    listener_arn: Input[str]
    repository_arn: Input[str]
    image: Input[str]
    architecture: Architecture
    container: ContainerArgs
    container_health: ContainerHealthArgs | None = None
    injected: Mapping[str, str] = field(default_factory=dict)
    injectable: SecretAccess = field(default_factory=SecretAccess)
    readable: SecretAccess = field(default_factory=SecretAccess)
    labels: Mapping[str, str]
    health_grace_period: int
    min_tasks: int
    max_tasks: int
    cpu_target: int
    circuit_breaker: bool
    bounds: DeploymentBounds
    role_path: str
    permissions_boundary: Input[str] | None = None
    log_group_prefix: str
    log_retention_days: int
    migration: MigrationPlan | None = None


class Service(pulumi.ComponentResource):
    """An ECS service that keeps tasks of the newest task definition behind the load balancer.

    Makes: task execution role, task role, log group, task definition, service, and where tasks scale their scaling.
    Costs: nothing by the hour; $0.63 for each GB logged (eu-central-1) and $0.03 a month to keep it. Depends on:
    capacity, the load balancer's target group and listener, the repository and the image.
    """

    name: Output[str]
    task_definition_arn: Output[str]
    log_group_name: Output[str]

    def __init__(self, name: str, args: ServiceArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Service", name, None, opts)
        self._name = name
        self._args = args
        self._child = ResourceOptions(parent=self)
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-log",
            name_prefix=args.log_group_prefix,
            retention_in_days=args.log_retention_days,
            # A log outlives its environment, and ends by its retention.
            skip_destroy=True,
            opts=self._child,
        )
        execution_role, execution_rights = self._execution_role(log_group)
        task_role, task_rights = self._task_role()
        task_definition = aws.ecs.TaskDefinition(
            f"{name}-task",
            family=name,
            network_mode="bridge",
            requires_compatibilities=["EC2"],
            runtime_platform={
                "cpu_architecture": args.architecture.upper(),
                "operating_system_family": "LINUX",
            },
            execution_role_arn=execution_role.arn,
            task_role_arn=task_role.arn,
            container_definitions=self._container_definitions(log_group),
            # The revisions before stay, so that ECS, and people, can go back to them.
            skip_destroy=True,
            opts=self._child,
        )
        rights = [execution_rights, *task_rights]
        # A service whose role has lost its rights can't stop its tasks, so it needs to be gone before they are.
        service = self._service(self._migrated(task_definition, log_group, rights=rights), rights=rights)
        if self._scales:
            self._scale(service)
        self.name = service.name
        self.task_definition_arn = service.task_definition.apply(lambda arn: arn or "")
        self.log_group_name = log_group.name
        self.register_outputs({"name": self.name, "taskDefinitionArn": self.task_definition_arn})

    @property
    def _scales(self) -> bool:
        return self._args.max_tasks > self._args.min_tasks

    def _container_definitions(self, log_group: aws.cloudwatch.LogGroup) -> Output[str]:
        args = self._args

        def definitions(values: dict[str, Any]) -> list[dict[str, object]]:
            return [
                container_definition(
                    args.container,
                    image=values["image"],
                    secrets=args.injected,
                    log_group=values["log_group"],
                    region=args.account.region,
                    labels=args.labels,
                    health=args.container_health,
                )
            ]

        return Output.json_dumps(Output.all(image=args.image, log_group=log_group.name).apply(definitions))

    def _role(self, role: str, description: str) -> aws.iam.Role:
        account = self._args.account
        trusted = task_trust(partition=account.partition, region=account.region, account=account.id)
        return aws.iam.Role(
            f"{self._name}-{role}",
            path=self._args.role_path,
            permissions_boundary=self._args.permissions_boundary,
            description=description,
            assume_role_policy=pulumi.Output.json_dumps(trusted),
            opts=self._child,
        )

    def _execution_role(self, log_group: aws.cloudwatch.LogGroup) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        role = self._role("execution", "Starts tasks: pulls the image, opens the log, reads what is injected")

        def rights(arns: list[str]) -> Policy:
            return execution_policy(repository_arn=arns[0], log_group_arn=arns[1], injectable=self._args.injectable)

        policy = aws.iam.RolePolicy(
            f"{self._name}-execution",
            role=role.name,
            policy=Output.json_dumps(Output.all(self._args.repository_arn, log_group.arn).apply(rights)),
            opts=self._child,
        )
        return role, policy

    def _task_role(self) -> tuple[aws.iam.Role, list[aws.iam.RolePolicy]]:
        role = self._role("task", "The running task: what it may do by itself")
        access = self._args.readable
        if not access.secret_arns:
            return role, []
        policy = aws.iam.RolePolicy(
            f"{self._name}-task",
            role=role.name,
            policy=Output.json_dumps(task_policy(access)),
            opts=self._child,
        )
        return role, [policy]

    def _migrated(
        self, task_definition: aws.ecs.TaskDefinition, log_group: aws.cloudwatch.LogGroup, *, rights: Sequence[Resource]
    ) -> Output[str]:
        """Return the task definition's ARN, which is there once its migration has ended well."""
        args = self._args
        if args.migration is None:
            return task_definition.arn
        return Migration(
            self._name,
            MigrationArgs(
                plan=args.migration,
                task_definition_arn=task_definition.arn,
                cluster_name=args.cluster_name,
                capacity_provider_name=args.capacity_provider_name,
                log_group_name=log_group.name,
                needs=rights,
                region=args.account.region,
            ),
            self._child,
        ).task_definition_arn

    def _service(self, task_definition_arn: Output[str], *, rights: Sequence[Resource]) -> aws.ecs.Service:
        args = self._args
        # A target group takes targets once a listener forwards to it.
        target_group_arn = Output.all(args.target_group_arn, args.listener_arn).apply(lambda arns: arns[0])
        return aws.ecs.Service(
            self._name,
            cluster=args.cluster_arn,
            task_definition=task_definition_arn,
            desired_count=args.min_tasks,
            capacity_provider_strategies=[{"capacity_provider": args.capacity_provider_name, "weight": 1}],
            load_balancers=[
                {
                    "target_group_arn": target_group_arn,
                    "container_name": CONTAINER_NAME,
                    "container_port": args.container.port,
                }
            ],
            health_check_grace_period_seconds=args.health_grace_period,
            deployment_circuit_breaker={"enable": args.circuit_breaker, "rollback": args.circuit_breaker},
            deployment_minimum_healthy_percent=args.bounds.minimum_healthy_percent,
            deployment_maximum_percent=args.bounds.maximum_percent,
            ordered_placement_strategies=[
                {"type": "spread", "field": "attribute:ecs.availability-zone"},
                # Within a zone, as few instances as will do, so that managed scaling can end the others.
                {"type": "binpack", "field": "memory"},
            ],
            availability_zone_rebalancing="DISABLED",
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            # Rollout waits, and says why where there is nothing to wait for.
            wait_for_steady_state=False,
            opts=ResourceOptions(
                parent=self,
                depends_on=list(rights),
                # Where tasks scale, a deployment leaves their number alone.
                ignore_changes=["desiredCount"] if self._scales else None,
            ),
        )

    def _scale(self, service: aws.ecs.Service) -> None:
        args = self._args
        target = aws.appautoscaling.Target(
            f"{self._name}-tasks",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=Output.format("service/{0}/{1}", args.cluster_name, service.name),
            min_capacity=args.min_tasks,
            max_capacity=args.max_tasks,
            opts=self._child,
        )
        aws.appautoscaling.Policy(
            f"{self._name}-cpu",
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "predefined_metric_specification": {"predefined_metric_type": "ECSServiceAverageCPUUtilization"},
                "target_value": args.cpu_target,
                "scale_in_cooldown": SCALE_IN_COOLDOWN,
                "scale_out_cooldown": SCALE_OUT_COOLDOWN,
            },
            opts=self._child,
        )


def find_account(provider: aws.Provider, *, region: str) -> LookUp[Account]:
    """Look for the account that the credentials are of."""

    async def account() -> Account:
        found = await ask(provider, "aws:index/getCallerIdentity:getCallerIdentity", aws.GetCallerIdentityResult)
        return Account(partition=found.arn.split(":")[1], region=region, id=found.account_id)

    return LookUp(
        account(),
        missing=f"AWS credentials: AWS doesn't say whose they are in {region}; `aws sts get-caller-identity` must work",
    )
