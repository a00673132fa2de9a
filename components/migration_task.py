"""Runs a migration as one ECS task to its end, and gathers why one failed. Talks to AWS, and knows nothing of Pulumi.

Nothing is written down of a migration: ECS is asked whether a deployment has ever had the task definition, which one
gets only after its migration has ended well.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.container_definition import CONTAINER_NAME
from components.deployment import Clock, State, revision_of, serving, stopped_task
from components.failure_report import FailedMigration
from components.remedies import NO_ROOM

STARTED_BY = "migration"
"""How ECS tells the task of a migration from those of the service, whose deployments start them."""

STOP_TIMEOUT = 180.0
"""Seconds within which a task that was told to stop has stopped; `container.stopTimeout` is 120 at most."""

REVISIONS_A_CALL = 20
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html"""

ENDED_BY_ITSELF = "EssentialContainerExited"
COULD_NOT_START = "TaskFailedToStart"
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html (stopCode)"""

WITHOUT_ROOM = ("RESOURCE:", "AGENT")
"""How the reasons begin for which no instance takes a task now, and one may soon.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

Task = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run: `command` in the container of the task definition, given by its ARN, in `cluster`."""

    cluster: str
    capacity_provider: str
    task_definition: str
    log_group: str
    command: Sequence[str]

    @property
    def family(self) -> str:
        return self.revision.rpartition(":")[0]

    @property
    def revision(self) -> str:
        return revision_of(self.task_definition)


@dataclass(kw_only=True)
class MigrationRun:
    """Brings a migration one step on with each call of `look`, until it has completed or failed.

    What AWS refuses (botocore's ClientError) passes through, except for a service's history: what can't be read is in
    `doubt`, and the migration is due. `timeout`, in seconds, is for all of it: the wait for room, too.
    """

    ecs: Any
    logs: Any
    job: Job
    timeout: float
    clock: Clock = time.monotonic
    doubt: str = ""
    reason: str = ""
    progress: str = ""
    _what_to_do: str = ""
    _task_arn: str = ""
    _stopped: Task | None = None
    _told_to_stop: float | None = None
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def is_due(self) -> bool:
        """Whether no deployment has ever had the task definition, as far as ECS knows: for 90 days."""
        services = self._services()
        if any(each["taskDefinition"] == self.job.task_definition for s in services for each in s["deployments"]):
            return False
        try:
            return not any(self._was_deployed(service["serviceArn"]) for service in services)
        except self.ecs.exceptions.ClientError as error:
            self.doubt = str(error)
            return True

    def look(self) -> State:
        """Return how the migration stands now; `progress` then says so in words, and `reason` why it failed."""
        if not self._task_arn:
            return self._begin()
        described = self.ecs.describe_tasks(cluster=self.job.cluster, tasks=[self._task_arn])["tasks"]
        # A task that was started just now may not be known everywhere yet.
        task: Task = described[0] if described else {"lastStatus": "PENDING"}
        if task["lastStatus"] == "STOPPED":
            self._stopped = task
            return self._judge(task)
        self.progress = _PROGRESS.get(task["lastStatus"], "its task stops")
        if self._told_to_stop is None and self._is_late():
            self._give_up(task)
        elif self._told_to_stop is not None and self.clock() - self._told_to_stop > STOP_TIMEOUT:
            self.reason += f"; it was told to stop, and had not after {STOP_TIMEOUT:.0f} s"
            return "failed"
        return "running"

    def report(self) -> FailedMigration:
        """Gather what is known of the failure."""
        unread: list[str] = []
        ended = self._stopped
        return FailedMigration(
            task_definition=self.job.revision,
            reason=self.reason,
            serving=serves_on(self._services()),
            task=stopped_task(ended, logs=self.logs, log_group=self.job.log_group, unread=unread) if ended else None,
            what_to_do=self._what_to_do,
            unread=unread,
        )

    def _services(self) -> list[Mapping[str, Any]]:
        # The cluster is the environment's own: it has one service, or two while one takes the other's place.
        arns = self.ecs.list_services(cluster=self.job.cluster)["serviceArns"]
        if not arns:
            return []
        services: list[Mapping[str, Any]] = self.ecs.describe_services(cluster=self.job.cluster, services=arns)[
            "services"
        ]
        return services

    def _was_deployed(self, service: str) -> bool:
        definition = self.ecs.describe_task_definition(taskDefinition=self.job.task_definition)["taskDefinition"]
        for page in _pages(
            self.ecs.list_service_deployments,
            cluster=self.job.cluster,
            service=service,
            createdAt={"after": definition["registeredAt"]},
            maxResults=REVISIONS_A_CALL,
        ):
            revisions = list({each["targetServiceRevisionArn"]: None for each in page["serviceDeployments"]})
            if not revisions:
                continue
            described = self.ecs.describe_service_revisions(serviceRevisionArns=revisions)["serviceRevisions"]
            if any(each["taskDefinition"] == self.job.task_definition for each in described):
                return True
        return False

    def _begin(self) -> State:
        """Take over the task of an update that was killed, wait for the end of another's, or start one."""
        under_way = [task for task in self._tasks() if task["lastStatus"] != "STOPPED"]
        if mine := next((task for task in under_way if self._is_mine(task)), None):
            self._task_arn = mine["taskArn"]
            self.progress = "its task runs already"
            return "running"
        if under_way:
            return self._wait(
                f"the migration of {revision_of(under_way[0]['taskDefinitionArn'])} has to end first",
                what_to_do=f"wait for its end, or stop it: aws ecs stop-task --cluster {self.job.cluster} --task "
                f"{under_way[0]['taskArn']}",
            )
        answer = self.ecs.run_task(
            cluster=self.job.cluster,
            taskDefinition=self.job.task_definition,
            capacityProviderStrategy=[{"capacityProvider": self.job.capacity_provider, "weight": 1}],
            overrides={"containerOverrides": [{"name": CONTAINER_NAME, "command": list(self.job.command)}]},
            startedBy=STARTED_BY,
            enableECSManagedTags=True,
            propagateTags="TASK_DEFINITION",
        )
        if answer["tasks"]:
            self._task_arn = answer["tasks"][0]["taskArn"]
            self.progress = "its task starts"
            return "running"
        failure = answer["failures"][0]
        why = f"no instance takes its task: {failure.get('reason', '')} {failure.get('detail', '')}".rstrip()
        if failure.get("reason", "").startswith(WITHOUT_ROOM):
            return self._wait(why, what_to_do=NO_ROOM)
        self.reason, self._what_to_do = why, "AWS's reason above names what is wrong"
        return "failed"

    def _tasks(self) -> Iterator[Task]:
        """Return the family's tasks that ran a migration, those too that are told to stop, or have."""
        # ListTasks takes `startedBy` alone, or the other filters.
        for status in ("RUNNING", "STOPPED"):
            asked = {"cluster": self.job.cluster, "family": self.job.family, "desiredStatus": status}
            for page in _pages(self.ecs.list_tasks, **asked):
                if arns := page["taskArns"]:
                    found = self.ecs.describe_tasks(cluster=self.job.cluster, tasks=arns)["tasks"]
                    yield from (task for task in found if task.get("startedBy") == STARTED_BY)

    def _is_mine(self, task: Task) -> bool:
        """Whether a task does what is to be done, and isn't told to stop."""
        overrides = task.get("overrides", {}).get("containerOverrides", [])
        return (
            task["taskDefinitionArn"] == self.job.task_definition
            and task["desiredStatus"] == "RUNNING"
            and [each.get("command") for each in overrides] == [list(self.job.command)]
        )

    def _is_late(self) -> bool:
        return self.clock() - self._started > self.timeout

    def _wait(self, why: str, *, what_to_do: str) -> State:
        self.progress = why
        if not self._is_late():
            return "running"
        self.reason, self._what_to_do = f"{why}; nothing had changed after {self._limit()}", what_to_do
        return "failed"

    def _limit(self) -> str:
        return f"{self.timeout:.0f} s (migration.timeout)"

    def _give_up(self, task: Task) -> None:
        """Stop a task that takes too long; what is known of it is known when it has stopped."""
        if task["lastStatus"] == "PROVISIONING":
            self.reason, self._what_to_do = f"no instance had room for its task within {self._limit()}", NO_ROOM
        else:
            self.reason = f"it had not ended after {self._limit()}, and was stopped"
            self._what_to_do = (
                "raise migration.timeout, or see by the log lines above what it waits for, such as a lock that the "
                "running version holds"
            )
        self.ecs.stop_task(cluster=self.job.cluster, task=self._task_arn, reason=f"Not ended after {self._limit()}")
        self._told_to_stop = self.clock()

    def _judge(self, task: Task) -> State:
        """Say whether a task that stopped did so by itself, with exit code 0: that alone is success."""
        container: Mapping[str, Any] = next(iter(task.get("containers", [])), {})
        exit_code, stop_code = container.get("exitCode"), task.get("stopCode")
        if (stop_code, exit_code) == (ENDED_BY_ITSELF, 0):
            return "completed"
        if self.reason:
            return "failed"
        if stop_code == COULD_NOT_START:
            self.reason = "its task could not start"
            if "CannotStartContainer" in f"{task.get('stoppedReason')} {container.get('reason')}":
                self._what_to_do = (
                    "see that migration.command fits the image, whose entry point it follows; the reason above says "
                    "what can't be started"
                )
        elif stop_code == ENDED_BY_ITSELF:
            self.reason = f"its command ended with exit code {exit_code}"
        else:
            self.reason = "its task was stopped before it had ended"
            self._what_to_do = "see by ECS's reason above who stopped it"
        return "failed"


_PROGRESS = {
    "PROVISIONING": "its task waits for an instance with room",
    "PENDING": "its task starts",
    "ACTIVATING": "its task starts",
    "RUNNING": "its task runs",
}
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html"""


def serves_on(services: Sequence[Mapping[str, Any]]) -> str:
    """Say what answers requests now, as it did before."""
    if not any(each.get("runningCount", 0) for service in services for each in service["deployments"]):
        return "no task of the service runs"
    return f"{', '.join(serving(service) for service in services)} serve on"


def _pages(question: Callable[..., Mapping[str, Any]], **asked: Any) -> Iterator[Mapping[str, Any]]:
    while True:
        page = question(**asked)
        yield page
        if not page.get("nextToken"):
            return
        asked["nextToken"] = page["nextToken"]
