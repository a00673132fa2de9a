"""ECS as its API shows it: clusters, task definitions and services. Its tasks and scheduler have their own modules."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from typing import Any

from rehearsal.account import containers, history, scheduler, targets, tasks
from rehearsal.account.mending import Mends, ministack

_app = ministack("app")
_ecs = ministack("services.ecs")
_responses = ministack("core.responses")
mend = Mends()

_KEPT = (
    "availabilityZoneRebalancing",
    "placementStrategy",
    "placementConstraints",
    "propagateTags",
    "enableECSManagedTags",
    "serviceRegistries",
)
_REDEPLOYING = ("loadBalancers", "networkConfiguration", "serviceRegistries")
"""What changes a service by a new deployment, besides its task definition:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html"""

_guards: list[subprocess.Popen[bytes]] = []
"""Kept, for a process that is collected closes the pipe to its child, which takes that for the account's end."""


@mend.afterwards
def begin() -> None:
    """Mend the other modules of ECS, schedule from now on, and leave a guard that removes containers at any end."""
    for module in (targets, tasks, history):
        module.mend()
    targets.on_change(tasks.woken.set)
    threading.Thread(target=scheduler.run, daemon=True).start()
    # In a session of its own, or the Ctrl-C that ends the account would end its guard before it begins.
    guard = [sys.executable, "-P", os.fspath(containers.__file__), tasks.own_label()]
    _guards.append(subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True))


@mend.replaces(_app, "_stop_docker_containers")
def stop_own_containers(original: Any, include_unlabelled: bool = False) -> None:
    """Only this account's containers are removed, never those that no account has signed: they may be another's."""
    begins = include_unlabelled
    if not begins:
        tasks.ending.set()
        containers.remove_labelled(tasks.own_label())
        # Its streams' threads are still there: left to the interpreter's end, a connection may be closed twice.
        with contextlib.suppress(OSError):
            containers.engine().close()
    original(False)


@mend.replaces(_ecs, "_reconcile_service_tasks")
def leave_it_to_the_scheduler(_original: Any, cluster_name: Any, svc_key: Any) -> None:  # noqa: ARG001
    """Tasks are started and stopped by the scheduler alone, so that no API call waits for them."""
    tasks.woken.set()


@mend.replaces(_ecs, "_refresh_service_state")
def count_in_the_scheduler(_original: Any, cluster_name: Any, group: Any) -> None:
    """The scheduler counts a service's tasks, and decides which deployments are still listed."""


@mend.replaces(_ecs, "_sync_service_targets")
def register_targets_with_tasks(_original: Any, cluster_name: Any, svc: Any) -> None:
    """A task's targets are registered when it runs, and deregistered before it stops."""


@mend.replaces(_ecs, "_ts_to_epoch")
def time_with_fractions(original: Any, value: Any) -> Any:
    """Times have milliseconds, as on AWS: the AWS provider compares a deployment's with its own clock."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return original(value)


@mend.replaces(_ecs, "_sanitize")
def describe_at_one_moment(original: Any, obj: Any) -> Any:
    """Nothing changes while it is described; a service leaves out an empty network configuration, as on AWS."""
    with tasks.lock:
        described = original(obj)
    if isinstance(described, dict) and "serviceArn" in described and not described.get("networkConfiguration"):
        described.pop("networkConfiguration", None)
    return described


def _error(code: str, message: str) -> Any:
    return _responses.error_response_json(code, message, 400)


def _unusable(data: dict[str, Any]) -> str | None:
    """Why a service can't have the load balancers that it asks for, in the words of AWS."""
    definition = tasks.definition(data.get("taskDefinition", ""))
    for balancer in data.get("loadBalancers") or []:
        arn, name, port = balancer.get("targetGroupArn"), balancer.get("containerName"), balancer.get("containerPort")
        if arn and not targets.group(arn):
            return f"The specified target group does not exist. Target group: {arn}"
        if arn and not targets.in_use(arn):
            return f"The target group with targetGroupArn {arn} does not have an associated load balancer."
        if definition is None:
            continue
        container = next((each for each in definition["containerDefinitions"] if each["name"] == name), None)
        if container is None:
            return f"The container {name} does not exist in the task definition."
        if port not in [each.get("containerPort") for each in container.get("portMappings") or []]:
            return f"The container {name} did not have a container port {port} defined."
    return None


@mend.replaces(_ecs, "_create_service")
def create_service(original: Any, data: Any) -> Any:
    """A service's first deployment has to prove itself too, and its load balancer must listen already.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html
    """
    with tasks.lock:
        existing = tasks.service(data)
        if existing and existing["status"] == "DRAINING":
            return _error("InvalidParameterException", "Unable to Start a service that is still Draining.")
        if why := _unusable(data):
            return _error("InvalidParameterException", why)
        answer = original(data)
        service = tasks.service(data)
        if tasks.refused(answer) or service is None:
            return answer
        service["availabilityZoneRebalancing"] = "DISABLED"
        service.update({key: data[key] for key in _KEPT if key in data})
        scheduler.begin(service, service["deployments"][0], source=None)
        return _responses.json_response({"service": _ecs._sanitize(service)})


@mend.replaces(_ecs, "_update_service")
def update_service(original: Any, data: Any) -> Any:
    """An update that changes what runs begins a deployment, and stops one that is in progress.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
    """
    with tasks.lock:
        service = tasks.service(data)
        if service is None:
            return original(data)
        if service["status"] != "ACTIVE":
            return _error("ServiceNotActiveException", "Service was not ACTIVE.")
        if "loadBalancers" in data and (why := _unusable({"taskDefinition": service["taskDefinition"], **data})):
            return _error("InvalidParameterException", why)
        before, events = scheduler.primary(service), list(service["events"])
        if any(key in data and data[key] != service.get(key) for key in _REDEPLOYING):
            data = {**data, "forceNewDeployment": True}
        answer = original(data)
        if tasks.refused(answer):
            return answer
        # MiniStack adds an event of its own that says what didn't happen.
        service["events"] = events
        service.update({key: data[key] for key in _KEPT if key in data})
        after = scheduler.primary(service)
        if after is not None and after is not before:
            after.update(
                launchType=service.get("launchType"), capacityProviderStrategy=service.get("capacityProviderStrategy")
            )
            scheduler.begin(service, after, source=before)
        return _responses.json_response({"service": _ecs._sanitize(service)})


@mend.replaces(_ecs, "_delete_service")
def delete_service(_original: Any, data: Any) -> Any:
    """A deleted service is DRAINING until its tasks have stopped, then INACTIVE.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteService.html
    """
    with tasks.lock:
        service = tasks.service(data)
        if service is None or service["status"] == "INACTIVE":
            return _error("ServiceNotFoundException", "Service not found.")
        if not data.get("force") and service["desiredCount"] > 0:
            return _error("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
        if deployment := scheduler.primary(service):
            history.end(service, deployment, "STOPPED")
            deployment["desiredCount"] = 0
        service.update(status="DRAINING", desiredCount=0)
        tasks.woken.set()
        return _responses.json_response({"service": _ecs._sanitize(service)})


@mend.replaces(_ecs, "_delete_cluster")
def delete_cluster(original: Any, data: Any) -> Any:
    """A cluster is deleted only when it has no service, container instance or task.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
    """
    with tasks.lock:
        name = _ecs._resolve_cluster_name(data.get("cluster", "default"))
        cluster = _ecs._clusters.get(name)
        if cluster is None:
            return original(data)
        services = [each for key, each in _ecs._services.items() if key.startswith(f"{name}/")]
        instances = json.loads(_ecs._ACTION_MAP["ListContainerInstances"]({"cluster": name})[2])
        if any(each["status"] != "INACTIVE" for each in services):
            kind, what = "Services", "Services are active"
        elif instances["containerInstanceArns"]:
            kind, what = "ContainerInstances", "Container Instances are active or draining"
        elif tasks.of_cluster(cluster["clusterArn"]):
            kind, what = "Tasks", "Tasks are active"
        else:
            return original(data)
        return _error(f"ClusterContains{kind}Exception", f"The Cluster cannot be deleted while {what}.")


@mend.replaces(_ecs, "_register_task_definition")
def register_task_definition(original: Any, data: Any) -> Any:
    """A container on EC2 has a memory limit or a reservation, or its task has a limit; secrets need an execution role.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    """
    for container in data.get("containerDefinitions") or []:
        if not (data.get("memory") or container.get("memory") or container.get("memoryReservation")):
            return _error(
                "ClientException",
                f"Invalid setting for container '{container.get('name')}'. At least one of 'memory' or "
                "'memoryReservation' must be specified.",
            )
        if container.get("secrets") and not data.get("executionRoleArn"):
            return _error(
                "ClientException",
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
            )
    return original(data)
