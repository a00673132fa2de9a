"""Runs the migration of a new task definition before the service has it, and fails the update where it fails."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.aws_clients import clients
from components.deployment import POLL_INTERVAL
from components.failure_report import render_migration
from components.following import follow
from components.migration_task import Job, MigrationRun

LOG_DELIVERY = 3.0
"""Seconds that the report waits, since CloudWatch shows a line a moment after it was written."""


@dataclass(frozen=True, kw_only=True)
class MigrationPlan:
    """The command of one task that must end well, within `timeout` seconds; `profile` is of AWS's shared files."""

    command: Sequence[str]
    timeout: int
    profile: str | None


@dataclass(frozen=True, kw_only=True)
class MigrationArgs:
    """Where the task of a plan runs; `needs` are further resources that must be there before."""

    plan: MigrationPlan
    task_definition_arn: Input[str]
    cluster_name: Input[str]
    capacity_provider_name: Input[str]
    log_group_name: Input[str]
    needs: Sequence[pulumi.Resource]
    region: str


class MigrationFailed(pulumi.RunError):
    """The migration failed; Pulumi shows the report and no traceback."""


class Migration(pulumi.ComponentResource):
    """The migration before a switch; what takes `task_definition_arn` waits for it, and isn't changed where it fails.

    Makes: nothing, and keeps nothing in the state: an update whose task definition a deployment has had already runs
    none. Costs: nothing by the hour; its task takes the room of one task more. Depends on: capacity, task definition.
    """

    task_definition_arn: Output[str]

    def __init__(self, name: str, args: MigrationArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Migration", name, None, opts)
        self._args = args
        self.task_definition_arn = Output.from_input(args.task_definition_arn)
        if not pulumi.runtime.is_dry_run():
            self.task_definition_arn = Output.all(
                # What is there has a URN; an `apply` waits for no resource otherwise.
                needs=[each.urn for each in args.needs],
                task_definition=args.task_definition_arn,
                cluster=args.cluster_name,
                capacity_provider=args.capacity_provider_name,
                log_group=args.log_group_name,
            ).apply(self._migrate)
        self.register_outputs({})

    def _migrate(self, values: dict[str, Any]) -> Awaitable[str]:
        del values["needs"]
        return self._migrated(Job(command=self._args.plan.command, **values))

    async def _migrated(self, job: Job) -> str:
        plan = self._args.plan
        try:
            ecs, logs = await asyncio.to_thread(clients, "ecs", "logs", region=self._args.region, profile=plan.profile)
            run = MigrationRun(ecs=ecs, logs=logs, job=job, timeout=plan.timeout)
            if await asyncio.to_thread(run.is_due):
                await self._watch(run)
            return job.task_definition
        except pulumi.RunError:
            raise
        except Exception as error:
            raise MigrationFailed(
                f"The migration of {job.revision} can't be run, or its end can't be told: {error}. Nothing was "
                "switched. Once it is mended, `pulumi up` takes it up again."
            ) from error

    async def _watch(self, run: MigrationRun) -> None:
        if run.doubt:
            pulumi.log.info(f"whether it ran before can't be told, so it runs: {run.doubt}", self)
        state = await follow(run, self, interval=POLL_INTERVAL)
        if state == "failed":
            await asyncio.sleep(LOG_DELIVERY)
            raise MigrationFailed(render_migration(await asyncio.to_thread(run.report)))
        pulumi.log.info(f"the migration of {run.job.revision} ended well", self)
