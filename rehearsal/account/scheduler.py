"""The service scheduler: it keeps a service's tasks running, deploys, and goes back where a deployment fails.

It looks at each service again and again, and does what is to be done next; nothing else starts a service's tasks.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

import logging
import time

from rehearsal.account import deployments, history, placement, targets, tasks
from rehearsal.account.mending import ministack
from rehearsal.account.tasks import Record, Task

_ecs = ministack("services.ecs")
_responses = ministack("core.responses")
_logger = logging.getLogger("account")

TICK = 0.25
"""Seconds after which the scheduler looks at its services, where nothing woke it before."""

SETTLING = 1.0
"""Seconds that a task runs before it counts as healthy, where nothing checks its health. AWS waits for 40:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html"""

ROLLBACK_SHOWN = 3.0
"""Seconds for which a rollback is in progress at least, and the failed deployment listed: it takes minutes on AWS."""

STOPPED_TASKS_KEPT = 3600.0
"""Seconds for which a stopped task can be described:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html"""

EVENTS_KEPT = 100
EVENT_REPEATED_AFTER = 60.0
IMPAIRED_AFTER = 3

_ADVICE = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
_FAILED = "ECS deployment circuit breaker: tasks failed to start."
_OWN_FAILURES = ("TaskFailedToStart", "EssentialContainerExited")
_PENDING = ("PROVISIONING", "PENDING", "ACTIVATING")


def run() -> None:
    """Look at all services until the account ends; an exception is logged and doesn't end it."""
    while not tasks.ending.is_set():
        tasks.woken.wait(TICK)
        tasks.woken.clear()
        try:
            targets.synchronize()
        except Exception:
            _logger.exception("targets can't be brought up to date")
        for (account, region, _), service in list(_ecs._services._data.items()):
            with _responses.request_scope(account, region):
                try:
                    _look_at(service)
                    tasks.forget_older(STOPPED_TASKS_KEPT)
                except Exception:
                    _logger.exception("the service %s can't be scheduled", service["serviceName"])


def begin(service: Record, deployment: Record, *, source: Record | None) -> None:
    """Begin a deployment, the first of its service or one that replaces `source`."""
    deployment.update(rolloutState="IN_PROGRESS", rolloutStateReason=f"ECS deployment {deployment['id']} in progress.")
    history.begin(service, deployment, source=source)
    _start_afresh(service)


def primary(service: Record) -> Record | None:
    """The deployment that a service is to run."""
    return next((each for each in service["deployments"] if each["status"] == "PRIMARY"), None)


def _start_afresh(service: Record) -> None:
    service.update(_failures=0, _not_before=0.0, _no_room=False, _steady=False)


def _look_at(service: Record) -> None:
    with tasks.lock:
        found = _tasks(service)
        deployment = primary(service)
        if service["status"] == "DRAINING":
            _drain(service, found)
        elif service["status"] == "ACTIVE" and deployment is not None:
            deployment = _judge(service, deployment, found)
            if deployment["rolloutState"] != "FAILED":
                _follow_plan(service, deployment, found)
            found = _tasks(service)
            _conclude(service, deployment, found)
        _tally(service, found)


def _tasks(service: Record) -> list[Task]:
    group = f"service:{service['serviceName']}"
    cluster = service["clusterArn"]
    return [each for each in _ecs._tasks.values() if each["group"] == group and each["clusterArn"] == cluster]


def _of(deployment: Record, found: list[Task]) -> list[Task]:
    return [each for each in found if each["_deployment_id"] == deployment["id"]]


def _live(found: list[Task]) -> list[Task]:
    return [each for each in found if each["desiredStatus"] == "RUNNING"]


def _unstopped(found: list[Task]) -> list[Task]:
    return [each for each in found if each["lastStatus"] != "STOPPED"]


def _checked(task: Task) -> list[Record]:
    """The task's containers that have a health command."""
    return [each for each in task["containers"] if each["name"] in task["_checked"]]


def _breaker(service: Record) -> Record:
    configuration: Record = service.get("deploymentConfiguration") or {}
    return configuration.get("deploymentCircuitBreaker") or {}


def _event(service: Record, message: str, *, repeat: bool = True) -> None:
    """Tell an event. Without `repeat`, not again within a minute."""
    text, now = f"(service {service['serviceName']}) {message}", time.time()
    recent = [each["message"] for each in service["events"] if now - each["createdAt"] < EVENT_REPEATED_AFTER]
    if repeat or text not in recent:
        service["events"].insert(0, {"id": _responses.new_uuid(), "createdAt": now, "message": text})
        del service["events"][EVENTS_KEPT:]


def _drain(service: Record, found: list[Task]) -> None:
    _stop(service, _live(found), f"Scaling activity initiated by (service {service['serviceName']})")
    if not _unstopped(found):
        service.update(status="INACTIVE", deployments=[])


def _healthy(task: Task) -> bool:
    if task["lastStatus"] != "RUNNING" or task["desiredStatus"] != "RUNNING":
        return False
    checked, registered = _checked(task), task["_targets"]
    if not checked and not registered:
        return bool(time.monotonic() - task["_started"] >= SETTLING)
    return all(each["healthStatus"] == "HEALTHY" for each in checked) and all(
        targets.state(*each).state == "healthy" for each in registered
    )


def _judge(service: Record, deployment: Record, found: list[Task]) -> Record:
    """Stop tasks that are unhealthy, count failures, and break the circuit: the deployment to go on with."""
    _tell_registered(service, found)
    for task in _live(found):
        _stop_unhealthy(service, task)
    for task in _of(deployment, found):
        _count(service, deployment, task)
    if deployment["rolloutState"] == "IN_PROGRESS":
        if history.rollback_is_requested(service, deployment):
            _stop_deployment(service, deployment, found)
        elif _breaker(service).get("enable") and deployment["failedTasks"] >= _ecs._circuit_breaker_threshold(service):
            _fail(service, deployment, found)
    return primary(service) or deployment


def _tell_registered(service: Record, found: list[Task]) -> None:
    fresh = [each for each in found if each.get("_targets") and not each.get("_told")]
    for arn in dict.fromkeys(target[0] for each in fresh for target in each["_targets"]):
        _event(service, f"registered {len(fresh)} targets in (target-group {arn})")
    for each in fresh:
        each["_told"] = True


def _stop_unhealthy(service: Record, task: Task) -> None:
    """Stop a task whose target or container is unhealthy, once the service's grace period for it is over."""
    grace = float(service.get("healthCheckGracePeriodSeconds") or 0)
    if task["lastStatus"] != "RUNNING" or time.monotonic() - task["_started"] < grace:
        return
    for arn, identity, port in task["_targets"]:
        health = targets.state(arn, identity, port)
        if health.state == "unhealthy":
            instance = f"(instance {identity}) " if identity.startswith("i-") else ""
            why = f"is unhealthy in (target-group {arn}) due to (reason {health.description})"
            _event(service, f"{instance}(port {port}) {why}")
            task["_failed"] = True
            _stop(service, [task], f"Task failed ELB health checks in (target-group {arn})")
            return
    if any(each["healthStatus"] == "UNHEALTHY" for each in _checked(task)):
        _event(service, f"(task {tasks.short_id(task)}) failed container health checks.")
        task["_failed"] = True
        _stop(service, [task], "Task failed container health checks")


def _count(service: Record, deployment: Record, task: Task) -> None:
    """Count a task of the deployment that failed, once. One that became healthy ends the row of failures."""
    if not task.get("_proved") and _healthy(task):
        task["_proved"] = True
        service["_failures"] = 0
        if deployment["rolloutState"] == "IN_PROGRESS" and _breaker(service).get("resetOnHealthyTask", True):
            deployment["failedTasks"] = 0
    if not _failing(task) or (task["lastStatus"] != "STOPPED" and not task.get("_failed")):
        return
    task["_counted"] = True
    service["_failures"] += 1
    service["_not_before"] = time.monotonic() + deployments.pause(service["_failures"])
    if deployment["rolloutState"] == "IN_PROGRESS":
        deployment["failedTasks"] += 1
    if service["_failures"] >= IMPAIRED_AFTER:
        _event(service, f"is unable to consistently start tasks successfully. {_ADVICE}", repeat=False)


def _failing(task: Task) -> bool:
    """Whether a task failed and isn't counted yet: one that ended by itself counts when all is known of it."""
    return not task.get("_counted") and (task.get("_failed") or task["stopCode"] in _OWN_FAILURES)


def _fail(service: Record, deployment: Record, found: list[Task]) -> None:
    """Break the circuit: the deployment failed; go back to the last that completed, where that is asked for.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
    """
    deployment.update(rolloutState="FAILED", rolloutStateReason=_FAILED, desiredCount=0, updatedAt=time.time())
    _event(service, f"(deployment {deployment['id']}) deployment failed: tasks failed to start.")
    if deployment.get("_rollback"):
        history.end(service, deployment, "ROLLBACK_FAILED", _FAILED)
    elif not _breaker(service).get("rollback"):
        history.end(service, deployment, "STOPPED", _FAILED)
    else:
        _go_back(service, deployment, found, cause="ECS deployment circuit breaker")


def _stop_deployment(service: Record, deployment: Record, found: list[Task]) -> None:
    """Go back because StopServiceDeployment was called.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
    """
    deployment.update(
        rolloutState="FAILED", rolloutStateReason=history.REQUESTED, desiredCount=0, updatedAt=time.time()
    )
    _go_back(service, deployment, found, cause="StopServiceDeployment")


def _go_back(service: Record, deployment: Record, found: list[Task], *, cause: str) -> None:
    completed = service.get("_completed")
    if completed is None:
        history.end(service, deployment, "ROLLBACK_FAILED", history.NO_CANDIDATE)
        _stop(service, _live(_of(deployment, found)), _scaling(deployment))
        return
    _event(service, f"rolling back to deployment {completed['id']}.")
    back = {
        **_ecs._make_deployment(completed["taskDefinition"], service["desiredCount"]),
        **{key: completed[key] for key in ("launchType", "capacityProviderStrategy", "_revision", "_digests")},
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"{cause}: rolling back to deploymentId {completed['id']}.",
        "_rollback": True,
        "_shown_until": time.monotonic() + ROLLBACK_SHOWN,
    }
    for each in service["deployments"]:
        each["status"] = "ACTIVE"
    # The tasks that still serve are those to go back to: they stay.
    for task in _live(_of(completed, found)):
        task["_deployment_id"] = back["id"]
    service["deployments"].insert(0, back)
    service["taskDefinition"] = completed["taskDefinition"]
    history.roll_back(service, deployment, back)
    _start_afresh(service)


def _scaling(deployment: Record) -> str:
    return f"Scaling activity initiated by (deployment {deployment['id']})"


def _stop(service: Record, stopping: list[Task], reason: str) -> None:
    for task in stopping:
        tasks.stop(task, reason=reason, code="ServiceSchedulerInitiated")
    balanced = [each for each in stopping if each.get("_targets")]
    if balanced:
        _event(service, f"has begun draining connections on {len(balanced)} tasks.")
    for arn in dict.fromkeys(target[0] for each in balanced for target in each["_targets"]):
        _event(service, f"deregistered {len(balanced)} targets in (target-group {arn})")
    if stopping:
        _event(service, f"has stopped {len(stopping)} running tasks: {_names(stopping)}.")


def _names(found: list[Task]) -> str:
    return " ".join(f"(task {tasks.short_id(each)})" for each in found)


def _follow_plan(service: Record, deployment: Record, found: list[Task]) -> None:
    configuration = service.get("deploymentConfiguration") or {}
    members = [
        deployments.Member(
            arn=each["taskArn"],
            new=each["_deployment_id"] == deployment["id"],
            healthy=_healthy(each),
            since=each.get("_started", float("inf")),
        )
        for each in _live(found)
    ]
    step = deployments.plan(
        members,
        desired=service["desiredCount"],
        minimum=int(configuration.get("minimumHealthyPercent", 100)),
        maximum=int(configuration.get("maximumPercent", 200)),
        no_room=service["_no_room"],
    )
    _stop(service, [each for each in found if each["taskArn"] in step.stop], _scaling(deployment))
    pauses = time.monotonic() < service["_not_before"] or any(_failing(each) for each in _of(deployment, found))
    if step.start and not pauses:
        _start(service, deployment, step.start)
    settled = len(members) == len(_unstopped(found)) and all(each.healthy for each in members)
    if settled and step.stuck:
        _event(
            service,
            "was unable to stop or start tasks during a deployment because of the service deployment configuration. "
            "Update the minimumHealthyPercent or maximumPercent value and try again.",
            repeat=False,
        )


def _start(service: Record, deployment: Record, count: int) -> None:
    definition = tasks.definition(deployment["taskDefinition"]) or {}
    started: list[Task] = []
    while len(started) < count:
        task = tasks.launch(
            {
                "cluster": service["clusterArn"],
                "taskDefinition": deployment["taskDefinition"],
                "group": f"service:{service['serviceName']}",
                "startedBy": deployment["id"],
                "launchType": deployment.get("launchType"),
                "capacityProviderStrategy": deployment.get("capacityProviderStrategy"),
                "placementStrategy": service.get("placementStrategy"),
                "platformVersion": service.get("platformVersion"),
                "networkConfiguration": service.get("networkConfiguration"),
                "enableExecuteCommand": service.get("enableExecuteCommand"),
                "tags": _tags(service, deployment["taskDefinition"]),
                "_deploymentId": deployment["id"],
            }
        )
        service["_no_room"] = isinstance(task, placement.NoRoom)
        if isinstance(task, placement.NoRoom):
            _event(service, task.message, repeat=False)
            break
        task["_digests"] = deployment.setdefault("_digests", {})
        task["_load_balancers"] = service.get("loadBalancers") or []
        task["_checked"] = {each["name"] for each in definition["containerDefinitions"] if each.get("healthCheck")}
        started.append(task)
    if started:
        _event(service, f"has started {len(started)} tasks: {_names(started)}.")


def _tags(service: Record, task_definition: str) -> list[dict[str, str]]:
    """The tags of a service's task.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html
    """
    source = {"SERVICE": service["serviceArn"], "TASK_DEFINITION": task_definition}.get(
        service.get("propagateTags", "")
    )
    tags = list(_ecs._tags.get(source) or [])
    if service.get("enableECSManagedTags"):
        tags.append({"key": "aws:ecs:clusterName", "value": service["clusterArn"].rpartition("/")[2]})
        tags.append({"key": "aws:ecs:serviceName", "value": service["serviceName"]})
    return tags


def _conclude(service: Record, deployment: Record, found: list[Task]) -> None:
    """Complete a deployment that reached a steady state, and forget those that have ended."""
    unstopped = _unstopped(found)
    own = _of(deployment, unstopped)
    shown = time.monotonic() >= deployment.get("_shown_until", 0.0)
    steady = shown and len(own) == len(unstopped) == service["desiredCount"] and all(_healthy(each) for each in own)
    if steady and deployment["rolloutState"] == "IN_PROGRESS":
        reason = f"ECS deployment {deployment['id']} completed."
        deployment.update(rolloutState="COMPLETED", rolloutStateReason=reason, updatedAt=time.time())
        deployment.setdefault("_digests", {})
        history.end(service, deployment, "ROLLBACK_SUCCESSFUL" if deployment.get("_rollback") else "SUCCESSFUL")
        service["_completed"] = deployment
        _event(service, f"(deployment {deployment['id']}) deployment completed.")
    if steady and not service["_steady"]:
        _event(service, "has reached a steady state.")
    service["_steady"] = steady
    ongoing = deployment["rolloutState"] == "IN_PROGRESS"
    service["deployments"] = [
        each
        for each in service["deployments"]
        if each is deployment or _of(each, unstopped) or (ongoing and each["rolloutState"] == "FAILED")
    ]


def _tally(service: Record, found: list[Task]) -> None:
    for each, own in [(service, found), *((each, _of(each, found)) for each in service["deployments"])]:
        each["runningCount"] = sum(task["lastStatus"] == "RUNNING" for task in own)
        each["pendingCount"] = sum(task["lastStatus"] in _PENDING for task in own)
