"""Waits until the deployment that this update began is complete, and fails the update where it isn't."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.deployment import POLL_INTERVAL, ROLLBACK_TIMEOUT, Clients, DeploymentWatch, Target
from components.failure_report import render


@dataclass(frozen=True, kw_only=True)
class RolloutArgs:
    """The service whose newest deployment is waited for, for `timeout` seconds at most."""

    cluster_name: Input[str]
    service_name: Input[str]
    task_definition_arn: Input[str]
    target_group_arn: Input[str]
    log_group_name: Input[str]
    auto_scaling_group_name: Input[str]
    region: str
    profile: str | None
    timeout: int


class RolloutFailed(pulumi.RunError):
    """The deployment failed; Pulumi shows the report and no traceback."""


class Rollout(pulumi.ComponentResource):
    """The wait for the deployment that this update began; where it fails, so does the update, with a report.

    Makes: nothing, and keeps nothing in the state: an update that changes nothing looks too, and fails where the last
    deployment did. Costs: nothing. Depends on: service, target group.
    """

    def __init__(self, name: str, args: RolloutArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Rollout", name, None, opts)
        self._args = args
        if not pulumi.runtime.is_dry_run():
            # Nothing takes this output: what hung on it would be lost where the deployment fails.
            self._completed: Output[bool] = Output.all(
                cluster=args.cluster_name,
                service=args.service_name,
                task_definition=args.task_definition_arn,
                target_group=args.target_group_arn,
                log_group=args.log_group_name,
                auto_scaling_group=args.auto_scaling_group_name,
            ).apply(self._wait)
        self.register_outputs({})

    def _wait(self, values: dict[str, Any]) -> Awaitable[bool]:
        return self._waited(Target(**values))

    async def _waited(self, target: Target) -> bool:
        try:
            clients = await asyncio.to_thread(_clients, self._args.region, self._args.profile)
            watch = DeploymentWatch(clients=clients, target=target, timeout=self._args.timeout)
            await self._watch(watch)
            return True
        except pulumi.RunError:
            raise
        except Exception as error:
            raise RolloutFailed(
                f"Whether the deployment of {target.task_definition.rsplit('/', 1)[-1]} is complete can't be told: "
                f"{error}. `pulumi up` again looks again."
            ) from error

    async def _watch(self, watch: DeploymentWatch) -> None:
        told = ""
        while (state := await asyncio.to_thread(watch.look)) == "running":
            if watch.progress != told:
                told = watch.progress
                pulumi.log.info(told, self, ephemeral=True)
            await asyncio.sleep(POLL_INTERVAL)
        if state == "completed":
            return
        await asyncio.to_thread(watch.end_trying)
        await self._let_ecs_go_back(watch)
        raise RolloutFailed(render(await asyncio.to_thread(watch.report)))

    async def _let_ecs_go_back(self, watch: DeploymentWatch) -> None:
        pulumi.log.info("failed; ECS goes back", self, ephemeral=True)
        deadline = watch.clock() + ROLLBACK_TIMEOUT
        while watch.clock() < deadline and not await asyncio.to_thread(watch.has_gone_back):
            await asyncio.sleep(POLL_INTERVAL)


def _clients(region: str, profile: str | None) -> Clients:
    # Loading boto3 takes half a second, which a preview, that never waits, is spared.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    patient = Config(retries={"mode": "standard", "max_attempts": 10})
    session: Any = boto3.session.Session(region_name=region, profile_name=profile)
    ecs, logs, elbv2, autoscaling = (
        session.client(service, config=patient) for service in ("ecs", "logs", "elbv2", "autoscaling")
    )
    return Clients(ecs=ecs, logs=logs, elbv2=elbv2, autoscaling=autoscaling)
