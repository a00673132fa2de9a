"""Watches an ECS deployment to its end, and gathers why one failed. Talks to AWS, and knows nothing of Pulumi.

A rolling deployment is told by its ID: after a rollback the service is steady again, and looks well to whoever asks
about the service alone.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from components.container_definition import log_stream
from components.failure_report import FailedDeployment, StoppedTask, UnhealthyTarget, UnreadyTask

Clock = Callable[[], float]
T = TypeVar("T")

POLL_INTERVAL = 2.0
"""Seconds between two looks at the service."""

APPEARANCE_TIMEOUT = 15.0
"""Seconds within which a deployment that was just asked for must show; after them, ECS has gone back from it."""

ROLLBACK_TIMEOUT = 60.0
"""Seconds that the report of a failure waits for ECS to have gone back, so as to say what serves now."""

LOG_LINES, TASKS_IN_REPORT, EVENTS_IN_REPORT, LAUNCHES_IN_REPORT = 15, 5, 5, 2
"""How much of each a report has at the most: a person is to read it, and the console has the rest."""

CAUSE_SIGNS = ("is unhealthy in", "unable to place a task")
"""By what an event of a service tells a cause; the report has it, though many others have come since.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
"""

State = Literal["running", "completed", "failed"]
Service = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which deployment to watch: the one that gave `service` of `cluster` the task definition."""

    cluster: str
    service: str
    task_definition: str
    target_group: str
    log_group: str
    auto_scaling_group: str


@dataclass(frozen=True, kw_only=True)
class Clients:
    """boto3 clients of the services that are asked."""

    ecs: Any
    logs: Any
    elbv2: Any
    autoscaling: Any


@dataclass(kw_only=True)
class DeploymentWatch:
    """Looks at a deployment, once with each call of `look`, until it has completed or failed.

    What AWS refuses to say about the deployment itself (botocore's ClientError) passes through; what it refuses to say
    about the causes is left out of the report, which then says so.
    """

    clients: Clients
    target: Target
    timeout: float
    appearance_timeout: float = APPEARANCE_TIMEOUT
    clock: Clock = time.monotonic
    deployment_id: str = ""
    reason: str = ""
    progress: str = ""
    _stopped: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _started: float = field(init=False)
    _told_to_go_back: bool = False
    _created: Any = None
    _waiting: int = 0
    _unready: list[UnreadyTask] = field(default_factory=list)
    _unhealthy: list[UnhealthyTarget] = field(default_factory=list)
    _unread: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def look(self) -> State:
        """Return how the deployment stands now; `progress` then says so in words, and `reason` why it failed."""
        service = self._service()
        deployments = service["deployments"]
        if not self.deployment_id:
            self.deployment_id = newest_deployment(deployments, self.target.task_definition)
        elapsed = self.clock() - self._started
        mine = next((d for d in deployments if d["id"] == self.deployment_id), None)
        if mine is None and not self.deployment_id and elapsed < self.appearance_timeout:
            return "running"
        self._remember_stopped_tasks()
        if mine is None or (mine["status"] != "PRIMARY" and mine.get("rolloutState") != "FAILED"):
            self.reason = why_gone(service, self.target.task_definition, was_seen=bool(self.deployment_id))
            return "failed"
        self._created = mine.get("createdAt")
        state = mine.get("rolloutState", "COMPLETED")
        self.progress = progress_of(mine)
        if state == "COMPLETED":
            return "completed"
        if state == "FAILED":
            self.reason = mine.get("rolloutStateReason", "") or "ECS gave the deployment up"
            return "failed"
        if elapsed > self.timeout:
            self.reason = f"it was not complete after {self.timeout:.0f} s (service.deploymentTimeout)"
            return "failed"
        return "running"

    def end_trying(self) -> None:
        """Have ECS go back from a deployment that it still tries, where it does so by itself from one that failed.

        `reason` then says what ECS was told. A service's first deployment has nothing to go back to.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
        """
        service = self._service()
        primary = _primary(service)
        if primary is None or primary["id"] != self.deployment_id or primary.get("rolloutState") != "IN_PROGRESS":
            return
        self._remember_causes()
        breaker = service.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {})
        self.reason += "; " + (self._stop_deployment() if breaker.get("rollback") else "ECS goes on trying")

    def has_gone_back(self) -> bool:
        """Whether ECS is done with going back: a completed deployment serves, or there is none to go back to."""
        primary = _primary(self._service())
        if primary is None or primary["id"] == self.deployment_id:
            return not self._told_to_go_back
        return bool(primary.get("rolloutState", "COMPLETED") == "COMPLETED")

    def report(self) -> FailedDeployment:
        """Gather what is known of the failure."""
        unread = [*self._unread]
        _try(self._remember_stopped_tasks, unread)
        service = self._service()
        newest = sorted(self._stopped.values(), key=lambda task: str(task.get("stoppedAt", "")), reverse=True)
        logs, log_group = self.clients.logs, self.target.log_group
        stopped = [
            stopped_task(task, logs=logs, log_group=log_group, unread=unread) for task in newest[:TASKS_IN_REPORT]
        ]
        return FailedDeployment(
            service=service["serviceName"],
            deployment=self.deployment_id,
            task_definition=revision_of(self.target.task_definition),
            reason=self.reason,
            stopped_tasks=stopped,
            stopped_count=len(newest),
            unready_tasks=self._unready,
            waiting_tasks=self._waiting or _try(self._waiting_tasks, unread) or 0,
            failed_launches=_try(self._failed_launches, unread) or [],
            unhealthy_targets=self._unhealthy or _try(self._unhealthy_targets, unread) or [],
            events=told(service.get("events", []), since=self._created),
            serving=serving(service),
            try_again=self._try_again(service),
            unread=sorted(set(unread)),
        )

    def _try_again(self, service: Service) -> str:
        """Return the command that deploys the same once more: where ECS has gone back, the state must be told first."""
        primary = _primary(service)
        if primary is not None and primary["taskDefinition"] != self.target.task_definition:
            return "pulumi up --refresh"
        return (
            f"aws ecs update-service --cluster {self.target.cluster} --service {self.target.service} "
            "--force-new-deployment"
        )

    def _waiting_tasks(self) -> int:
        """Return how many tasks of the deployment have no instance yet."""
        return sum(task.get("lastStatus") == "PROVISIONING" for task in self._live_tasks())

    def _unready_tasks(self) -> list[UnreadyTask]:
        """Return the tasks of the deployment that have an instance, the newest first."""
        tasks = [task for task in self._live_tasks() if task.get("lastStatus") != "PROVISIONING"]
        tasks.sort(key=lambda task: str(task.get("createdAt", "")), reverse=True)
        return [self._unready_task(task) for task in tasks[:TASKS_IN_REPORT]]

    def _unready_task(self, task: Mapping[str, Any]) -> UnreadyTask:
        task_id, health = task["taskArn"].rsplit("/", 1)[-1], task.get("healthStatus", "UNKNOWN")
        status = task["lastStatus"] + ("" if health == "UNKNOWN" else f" and {health}")
        lines = _last_log_lines(self.clients.logs, log_group=self.target.log_group, task_id=task_id)
        return UnreadyTask(id=task_id, status=status, log_lines=lines)

    def _live_tasks(self) -> list[Mapping[str, Any]]:
        ecs, cluster = self.clients.ecs, self.target.cluster
        arns = ecs.list_tasks(cluster=cluster, serviceName=self.target.service, desiredStatus="RUNNING")["taskArns"]
        tasks = ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"] if arns else []
        return [task for task in tasks if task.get("taskDefinitionArn") == self.target.task_definition]

    def _failed_launches(self) -> list[str]:
        """Return why instances could not be launched, newest first: a quota, no capacity, an AMI that is gone."""
        activities = self.clients.autoscaling.describe_scaling_activities(
            AutoScalingGroupName=self.target.auto_scaling_group, MaxRecords=20
        )["Activities"]
        reasons = [a.get("StatusMessage", "") for a in activities if a["StatusCode"] == "Failed"]
        return list(dict.fromkeys(reason for reason in reasons if reason))[:LAUNCHES_IN_REPORT]

    def _service(self) -> Service:
        answer = self.clients.ecs.describe_services(cluster=self.target.cluster, services=[self.target.service])
        services: list[Service] = answer["services"]
        # A service that was made just now may not be known everywhere yet.
        return services[0] if services else {"serviceName": self.target.service, "deployments": []}

    def _remember_stopped_tasks(self) -> None:
        """ECS forgets stopped tasks, some of them at once where it goes back, so they are kept as they are seen."""
        ecs, cluster = self.clients.ecs, self.target.cluster
        arns = ecs.list_tasks(cluster=cluster, serviceName=self.target.service, desiredStatus="STOPPED")["taskArns"]
        unknown = [arn for arn in arns if arn not in self._stopped][:100]
        if not unknown:
            return
        for task in ecs.describe_tasks(cluster=cluster, tasks=unknown)["tasks"]:
            if task.get("taskDefinitionArn") == self.target.task_definition and _ended_badly(task):
                self._stopped[task["taskArn"]] = task

    def _unhealthy_targets(self) -> list[UnhealthyTarget]:
        answer = self.clients.elbv2.describe_target_health(TargetGroupArn=self.target.target_group)
        return [
            UnhealthyTarget(
                id=f"{described['Target']['Id']}:{described['Target'].get('Port', '')}",
                reason=described["TargetHealth"].get("Reason", ""),
                description=described["TargetHealth"].get("Description", ""),
            )
            for described in answer["TargetHealthDescriptions"]
            if described["TargetHealth"]["State"] == "unhealthy"
        ]

    def _remember_causes(self) -> None:
        """What still waits or runs tells why; it is gone once ECS has gone back."""
        self._waiting = _try(self._waiting_tasks, self._unread) or 0
        self._unready = _try(self._unready_tasks, self._unread) or []
        self._unhealthy = _try(self._unhealthy_targets, self._unread) or []

    def _stop_deployment(self) -> str:
        """Stop the service's deployment that is in progress: there is one at a time. Return what was done, in words."""
        ecs = self.clients.ecs
        try:
            ongoing = ecs.list_service_deployments(
                cluster=self.target.cluster, service=self.target.service, status=["PENDING", "IN_PROGRESS"]
            )["serviceDeployments"]
            arns = [each["serviceDeploymentArn"] for each in ongoing[:1]]
            if not arns:
                return "ECS ended it then"
            found = ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]
            if not any(each.get("sourceServiceRevisions") for each in found):
                return "it is the service's first, with nothing to go back to, so ECS goes on trying"
            ecs.stop_service_deployment(serviceDeploymentArn=arns[0], stopType="ROLLBACK")
        except Exception as error:  # noqa: BLE001 botocore's errors, which a preview is not to load
            return f"ECS could not be told to go back, and goes on trying: {error}"
        self._told_to_go_back = True
        return "ECS was told to go back"


def stopped_task(task: Mapping[str, Any], *, logs: Any, log_group: str, unread: list[str]) -> StoppedTask:
    """Return how a task of the backend ended, as DescribeTasks tells of it, and the last lines of its log.

    `logs` is a boto3 client of CloudWatch Logs; why it would not say more is added to `unread`.
    """
    container: Mapping[str, Any] = next(iter(task.get("containers", [])), {})
    task_id = task["taskArn"].rsplit("/", 1)[-1]
    return StoppedTask(
        id=task_id,
        reason=task.get("stoppedReason", ""),
        exit_code=container.get("exitCode"),
        container_reason=container.get("reason", ""),
        log_lines=_try(lambda: _last_log_lines(logs, log_group=log_group, task_id=task_id), unread) or [],
    )


def _last_log_lines(logs: Any, *, log_group: str, task_id: str) -> list[str]:
    try:
        answer = logs.get_log_events(
            logGroupName=log_group, logStreamName=log_stream(task_id), limit=LOG_LINES, startFromHead=False
        )
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"].rstrip() for event in answer["events"]][-LOG_LINES:]


def _try(question: Callable[[], T], unread: list[str]) -> T | None:
    """Return the answer, or None where AWS refuses it, whose words `unread` gets: the failure is to be told anyway."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 botocore's errors, which a preview is not to load
        unread.append(str(error))
        return None


def _ended_badly(task: Mapping[str, Any]) -> bool:
    """Whether a task ended otherwise than by ECS's own plan, in which it makes way for another."""
    planned = task.get("stoppedReason", "").startswith("Scaling activity initiated by")
    return task.get("lastStatus") == "STOPPED" and not planned


def told(events: Sequence[Mapping[str, Any]], *, since: Any) -> list[str]:
    """Return what ECS told of since then, newest first: the last few, and before them what is a cause."""
    messages = [event["message"] for event in events if since is None or event.get("createdAt", since) >= since]
    earlier = messages[EVENTS_IN_REPORT:]
    causes = [next((message for message in earlier if sign in message), "") for sign in CAUSE_SIGNS]
    return messages[:EVENTS_IN_REPORT] + [cause for cause in causes if cause]


def newest_deployment(deployments: list[Mapping[str, Any]], task_definition: str) -> str:
    """Return the ID of the newest deployment of `task_definition`, or "" where there is none."""
    of_it = [d for d in deployments if d["taskDefinition"] == task_definition]
    of_it.sort(key=lambda d: (d["status"] == "PRIMARY", str(d.get("createdAt", ""))), reverse=True)
    return str(of_it[0]["id"]) if of_it else ""


def why_gone(service: Service, task_definition: str, *, was_seen: bool) -> str:
    """Say why a deployment is no longer one of its service's."""
    primary = _primary(service)
    if primary is not None and primary["taskDefinition"] == task_definition:
        return "another deployment of the same task definition has taken its place"
    now = f"the service is at {revision_of(primary['taskDefinition'])}" if primary else "the service has no deployment"
    if was_seen:
        return f"ECS has gone back from it; {now}"
    return (
        f"{now}; the state has {revision_of(task_definition)}, which it never got, or from which ECS went back, or "
        "which somebody changed"
    )


def progress_of(deployment: Mapping[str, Any]) -> str:
    failed = deployment.get("failedTasks", 0)
    return (
        f"{deployment.get('runningCount', 0)} of {deployment.get('desiredCount', 0)} tasks run"
        + (f", {deployment['pendingCount']} start" if deployment.get("pendingCount") else "")
        + (f", {failed} failed" if failed else "")
    )


def serving(service: Service) -> str:
    """Say what answers requests now."""
    running = [d for d in service["deployments"] if d.get("runningCount", 0) > 0]
    if not running:
        return "nothing: no task of the service runs"
    return ", ".join(f"{d['runningCount']} task(s) of {revision_of(d['taskDefinition'])}" for d in running)


def _primary(service: Service) -> Mapping[str, Any] | None:
    return next((d for d in service["deployments"] if d["status"] == "PRIMARY"), None)


def revision_of(task_definition: str) -> str:
    """Return the family and the revision of a task definition, such as backend:2, by its ARN."""
    return task_definition.rsplit("/", 1)[-1]
