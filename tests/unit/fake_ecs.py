"""An account that answers from a script, as far as a deployment is watched, and a clock that moves when told to."""

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from components.deployment import Clients, Target

OLD = "arn:aws:ecs:eu-central-1:123456789012:task-definition/backend:1"
NEW = "arn:aws:ecs:eu-central-1:123456789012:task-definition/backend:2"
TARGET = Target(
    cluster="cluster",
    service="backend",
    task_definition=NEW,
    target_group="arn:target-group",
    log_group="/backend",
    auto_scaling_group="group",
)


def deployment(id_: str, task_definition: str, state: str | None = "IN_PROGRESS", **more: Any) -> dict[str, Any]:
    """A deployment as DescribeServices lists it; of no `state` where its controller tells none."""
    stated = {"rolloutState": state} if state else {}
    return {"id": id_, "taskDefinition": task_definition, "status": "PRIMARY", "runningCount": 1, **stated, **more}


def stopped(task_id: str, *, task_definition: str = NEW, at: int = 0, **more: Any) -> dict[str, Any]:
    """A stopped task as DescribeTasks tells of it."""
    return {
        "taskArn": f"arn:aws:ecs:eu-central-1:123456789012:task/cluster/{task_id}",
        "taskDefinitionArn": task_definition,
        "lastStatus": "STOPPED",
        "stoppedAt": f"2026-01-01T00:00:{at:02}",
        "stoppedReason": "Essential container in task exited",
        "containers": [{"exitCode": 1}],
        **more,
    }


class LogErrors:
    """The errors that a client of CloudWatch Logs knows by their names."""

    class ResourceNotFoundException(Exception):
        """There is no such log stream."""


@dataclass(kw_only=True)
class FakeAccount:
    """`states` are the service's deployments, one list a look, of which the last stays; `history` those that ECS keeps.

    Each call that `refused` names raises what AWS raises where it isn't permitted.
    """

    states: list[list[dict[str, Any]]]
    target: Target = TARGET
    stopped_tasks: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    targets: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    running_tasks: list[dict[str, Any]] = field(default_factory=list)
    activities: list[dict[str, str]] = field(default_factory=list)
    breaker: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped_deployments: list[tuple[str, str]] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    exceptions: type[LogErrors] = LogErrors
    now: float = 0.0
    looks: int = 0

    def clients(self) -> Clients:
        return Clients(ecs=self, logs=self, elbv2=self, autoscaling=self)

    def clock(self) -> float:
        return self.now

    def describe_services(self, *, cluster: str, services: list[str]) -> dict[str, Any]:
        self._permit("DescribeServices")
        assert (cluster, services) == (self.target.cluster, [self.target.service])
        deployments = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        events = [{"message": message} for message in self.events]
        breaker = {"deploymentCircuitBreaker": {"enable": self.breaker, "rollback": self.breaker}}
        return {
            "services": [
                {
                    "serviceName": "backend",
                    "deployments": deployments,
                    "events": events,
                    "deploymentConfiguration": breaker,
                }
            ]
        }

    def list_service_deployments(self, *, cluster: str, service: str, status: list[str]) -> dict[str, Any]:
        self._permit("ListServiceDeployments")
        assert (cluster, service) == (self.target.cluster, self.target.service)
        brief = [
            {"serviceDeploymentArn": each["serviceDeploymentArn"]} for each in self.history if each["status"] in status
        ]
        return {"serviceDeployments": brief}

    def describe_service_deployments(self, *, serviceDeploymentArns: list[str]) -> dict[str, Any]:  # noqa: N803 boto3's
        self._permit("DescribeServiceDeployments")
        assert serviceDeploymentArns, "ECS takes from 1 to 20"
        return {
            "serviceDeployments": [
                each for each in self.history if each["serviceDeploymentArn"] in serviceDeploymentArns
            ]
        }

    def stop_service_deployment(self, *, serviceDeploymentArn: str, stopType: str) -> None:  # noqa: N803 boto3's
        self._permit("StopServiceDeployment")
        self.stopped_deployments.append((serviceDeploymentArn, stopType))

    def list_tasks(self, *, cluster: str, serviceName: str, desiredStatus: str) -> dict[str, Any]:  # noqa: N803 boto3's
        self._permit("ListTasks")
        assert (cluster, serviceName) == (self.target.cluster, self.target.service)
        tasks = {"STOPPED": self.stopped_tasks, "RUNNING": self.running_tasks}[desiredStatus]
        return {"taskArns": [task["taskArn"] for task in tasks]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert cluster == self.target.cluster
        assert 0 < len(tasks) <= 100, "ECS takes from 1 to 100"
        return {"tasks": [task for task in (*self.stopped_tasks, *self.running_tasks) if task["taskArn"] in tasks]}

    def get_log_events(self, **asked: Any) -> dict[str, Any]:
        self._permit("GetLogEvents")
        assert asked["logGroupName"] == self.target.log_group
        assert asked["startFromHead"] is False, "the last lines are wanted"
        if asked["logStreamName"] not in self.logs:
            raise LogErrors.ResourceNotFoundException("no stream")
        return {"events": [{"message": f"{line}\n"} for line in self.logs[asked["logStreamName"]][-asked["limit"] :]]}

    def describe_target_health(self, **asked: Any) -> dict[str, Any]:
        self._permit("DescribeTargetHealth")
        assert asked == {"TargetGroupArn": self.target.target_group}
        return {"TargetHealthDescriptions": self.targets}

    def describe_scaling_activities(self, **asked: Any) -> dict[str, Any]:
        self._permit("DescribeScalingActivities")
        assert asked["AutoScalingGroupName"] == self.target.auto_scaling_group
        return {"Activities": self.activities}

    def _permit(self, call: str) -> None:
        if call in self.refused:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": f"no {call}"}}, call)
