"""An ECS that answers from a script, as far as a migration asks it, and a clock that moves when told to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from components.migration_task import Job
from tests.unit.fake_ecs import NEW, OLD, LogErrors, deployment

JOB = Job(
    cluster="cluster",
    capacity_provider="capacity",
    task_definition=NEW,
    log_group="/backend",
    command=["migrate", "--all"],
)
SERVICE = "arn:aws:ecs:eu-central-1:123456789012:service/cluster/backend"
REGISTERED = "2026-01-01T00:00:00"
PAGE = 2
"""How much the lists have a page, so that every test with more of it turns pages."""

ENDED_WELL = {"lastStatus": "STOPPED", "stopCode": "EssentialContainerExited", "containers": [{"exitCode": 0}]}


def migration(task_id: str, *, task_definition: str = NEW, **more: Any) -> dict[str, Any]:
    """A task as DescribeTasks tells of one that a migration was started with, before."""
    return {
        "taskArn": f"arn:aws:ecs:eu-central-1:123456789012:task/cluster/{task_id}",
        "taskDefinitionArn": task_definition,
        "startedBy": "migration",
        "desiredStatus": "RUNNING",
        "lastStatus": "RUNNING",
        "overrides": {"containerOverrides": [{"name": "backend", "command": ["migrate", "--all"]}]},
        **more,
    }


class EcsErrors:
    """The errors that a client of ECS knows by their names."""

    ClientError = ClientError


@dataclass(kw_only=True)
class FakeEcs:
    """`states` are what the task that is started goes through, one a look, of which the last stays.

    `history` has the task definitions that the service's deployments had, newest first; `failures` are RunTask's
    answers before it starts a task. Each call that `refused` names raises what AWS raises where it isn't permitted.
    """

    job: Job = JOB
    current: list[str] | None = field(default_factory=lambda: [OLD])
    history: list[str] = field(default_factory=lambda: [OLD])
    tasks: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=lambda: [ENDED_WELL])
    failures: list[dict[str, str]] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    now: float = 0.0
    ran: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    exceptions: Any = EcsErrors
    _looks: Iterator[dict[str, Any]] | None = None

    def clock(self) -> float:
        return self.now

    def list_services(self, *, cluster: str) -> dict[str, Any]:
        self._permit("ListServices", cluster)
        return {"serviceArns": [] if self.current is None else [SERVICE]}

    def describe_services(self, *, cluster: str, services: list[str]) -> dict[str, Any]:
        self._permit("DescribeServices", cluster)
        assert services == [SERVICE]
        assert self.current is not None
        deployments = [deployment(f"ecs-svc/{n}", each, "COMPLETED") for n, each in enumerate(self.current)]
        return {"services": [{"serviceArn": SERVICE, "deployments": deployments}]}

    def describe_task_definition(self, *, taskDefinition: str) -> dict[str, Any]:  # noqa: N803 boto3's
        assert taskDefinition == self.job.task_definition
        return {"taskDefinition": {"registeredAt": REGISTERED}}

    def list_service_deployments(self, **asked: Any) -> dict[str, Any]:
        self._permit("ListServiceDeployments", asked["cluster"])
        assert (asked["service"], asked["createdAt"]) == (SERVICE, {"after": REGISTERED})
        listed = [{"targetServiceRevisionArn": f"revision/{each}"} for each in self.history]
        return self._page("serviceDeployments", listed, asked)

    def describe_service_revisions(self, *, serviceRevisionArns: list[str]) -> dict[str, Any]:  # noqa: N803 boto3's
        assert 0 < len(set(serviceRevisionArns)) == len(serviceRevisionArns) <= 20, "ECS takes 1 to 20, each once"
        return {"serviceRevisions": [{"taskDefinition": each.partition("/")[2]} for each in serviceRevisionArns]}

    def list_tasks(self, **asked: Any) -> dict[str, Any]:
        self._permit("ListTasks", asked["cluster"])
        assert asked["family"] == self.job.family
        found = [each["taskArn"] for each in self.tasks if each["desiredStatus"] == asked["desiredStatus"]]
        return self._page("taskArns", found, asked)

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        self._permit("DescribeTasks", cluster)
        assert 0 < len(tasks) <= 100, "ECS takes from 1 to 100"
        if tasks == ["task/new"]:
            self._looks = self._looks or iter(self.states)
            state = next(self._looks, self.states[-1])
            return {"tasks": [{"taskArn": "task/new", **state}] if state else []}
        return {"tasks": [each for each in self.tasks if each["taskArn"] in tasks]}

    def run_task(self, **asked: Any) -> dict[str, Any]:
        self._permit("RunTask", asked["cluster"])
        if self.failures:
            return {"tasks": [], "failures": [self.failures.pop(0)]}
        self.ran.append(asked)
        return {"tasks": [{"taskArn": "task/new"}], "failures": []}

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        self._permit("StopTask", cluster)
        assert "migration.timeout" in reason, "or the console doesn't say why"
        self.stopped.append(task)

    def logs_client(self) -> "FakeLogs":
        return FakeLogs(self.logs)

    def _permit(self, call: str, cluster: str) -> None:
        assert cluster == self.job.cluster
        if call in self.refused:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": f"no {call}"}}, call)

    @staticmethod
    def _page(name: str, items: list[Any], asked: dict[str, Any]) -> dict[str, Any]:
        start = int(asked.get("nextToken", 0))
        more = {"nextToken": str(start + PAGE)} if start + PAGE < len(items) else {}
        return {name: items[start : start + PAGE], **more}


@dataclass(frozen=True)
class FakeLogs:
    """CloudWatch Logs with these lines, by the task's ID."""

    lines: dict[str, list[str]]
    exceptions: type[LogErrors] = LogErrors

    def get_log_events(self, **asked: Any) -> dict[str, Any]:
        assert asked["logGroupName"] == JOB.log_group
        prefix, _, task_id = asked["logStreamName"].rpartition("/")
        assert prefix == "backend/backend"
        if task_id not in self.lines:
            raise LogErrors.ResourceNotFoundException("no stream")
        return {"events": [{"message": line} for line in self.lines[task_id]]}
