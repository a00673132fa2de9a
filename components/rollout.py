"""Waits until the deployment that this update began is complete, and fails the update where it isn't.

A preview looks too, where nothing is to be deployed: what the state has may not be what the service runs.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.aws_clients import clients
from components.deployment import POLL_INTERVAL, ROLLBACK_TIMEOUT, Clients, DeploymentWatch, Target, revision_of
from components.failure_report import NOT_SERVED, render
from components.following import follow
from components.registry import PushedImage, give_labels, served_label, serving_label


@dataclass(frozen=True, kw_only=True)
class RolloutArgs:
    """The service whose newest deployment is waited for, for `timeout` seconds at most.

    Once it is complete, `image`, a reference by its digest, gets labels in the repository `labelled_in` (an ARN) that
    say that it has served, and that `stack` serves it now; without `labelled_in`, none.
    """

    cluster_name: Input[str]
    service_name: Input[str]
    task_definition_arn: Input[str]
    target_group_arn: Input[str]
    log_group_name: Input[str]
    auto_scaling_group_name: Input[str]
    image: Input[str]
    labelled_in: Input[str] | None = None
    stack: str
    region: str
    profile: str | None
    timeout: int


class RolloutFailed(pulumi.RunError):
    """The deployment failed; Pulumi shows the report and no traceback."""


class Rollout(pulumi.ComponentResource):
    """The wait for the deployment that this update began; where it fails, so does the update, with a report.

    Makes: nothing, and keeps nothing in the state: an update that changes nothing looks too, and fails where the last
    deployment did, and a preview of one warns. Costs: nothing. Depends on: service, target group, image.
    """

    def __init__(self, name: str, args: RolloutArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Rollout", name, None, opts)
        self._args = args
        # Nothing takes this output: what hung on it would be lost where the deployment fails.
        self._completed: Output[bool] = Output.all(
            target=Output.all(
                cluster=args.cluster_name,
                service=args.service_name,
                task_definition=args.task_definition_arn,
                target_group=args.target_group_arn,
                log_group=args.log_group_name,
                auto_scaling_group=args.auto_scaling_group_name,
            ),
            image=args.image,
            labelled_in=args.labelled_in,
        ).apply(self._wait)
        self.register_outputs({})

    def _wait(self, values: dict[str, Any]) -> Awaitable[bool]:
        target = Target(**values["target"])
        if pulumi.runtime.is_dry_run():
            return self._looked(target)
        image = PushedImage.of(values["labelled_in"], values["image"]) if values["labelled_in"] else None
        return self._waited(target, image)

    async def _looked(self, target: Target) -> bool:
        """Warn where the last deployment failed: the engine, which knows the state alone, finds nothing to change."""
        try:
            asked = await asyncio.to_thread(_clients, self._args.region, self._args.profile)
            watch = DeploymentWatch(clients=asked, target=target, timeout=self._args.timeout, appearance_timeout=0)
            state = await asyncio.to_thread(watch.look)
            if state == "failed":
                report = await asyncio.to_thread(watch.report)
                pulumi.warn(f"{NOT_SERVED}\n{render(report)}", self)
            elif state == "running":
                pulumi.info(f"A deployment is in progress: {watch.progress}", self)
            return state == "completed"
        except Exception as error:  # noqa: BLE001 a preview that can't look is a preview all the same
            pulumi.warn(f"Whether the service runs what it should can't be told: {error}", self)
            return False

    async def _waited(self, target: Target, image: PushedImage | None) -> bool:
        try:
            asked = await asyncio.to_thread(_clients, self._args.region, self._args.profile)
            watch = DeploymentWatch(clients=asked, target=target, timeout=self._args.timeout)
            await self._watch(watch)
            if image:
                await self._label(image)
            return True
        except pulumi.RunError:
            raise
        except Exception as error:
            raise RolloutFailed(
                f"Whether the deployment of {revision_of(target.task_definition)} is complete can't be told: "
                f"{error}. `pulumi up` again looks again."
            ) from error

    async def _watch(self, watch: DeploymentWatch) -> None:
        state = await follow(watch, self, interval=POLL_INTERVAL)
        if state == "completed":
            return
        await asyncio.to_thread(watch.end_trying)
        await self._let_ecs_go_back(watch)
        raise RolloutFailed(render(await asyncio.to_thread(watch.report)))

    async def _label(self, image: PushedImage) -> None:
        """Label what serves now; where that fails, the deployment is complete all the same."""
        labels = served_label(image.digest), serving_label(self._args.stack)
        try:
            [ecr] = await asyncio.to_thread(clients, "ecr", region=self._args.region, profile=self._args.profile)
            await asyncio.to_thread(give_labels, ecr, image, *labels)
        except Exception as error:  # noqa: BLE001 botocore's errors, which a preview is not to load
            pulumi.warn(
                f"{image.digest} serves, but did not get the labels {' and '.join(labels)} in ECR, which keep it from "
                f"expiring: {error}. `pulumi up` again tries again.",
                self,
            )

    async def _let_ecs_go_back(self, watch: DeploymentWatch) -> None:
        pulumi.log.info("failed; ECS goes back", self, ephemeral=True)
        deadline = watch.clock() + ROLLBACK_TIMEOUT
        while watch.clock() < deadline and not await asyncio.to_thread(watch.has_gone_back):
            await asyncio.sleep(POLL_INTERVAL)


def _clients(region: str, profile: str | None) -> Clients:
    ecs, logs, elbv2, autoscaling = clients("ecs", "logs", "elbv2", "autoscaling", region=region, profile=profile)
    return Clients(ecs=ecs, logs=logs, elbv2=elbv2, autoscaling=autoscaling)
