"""The history that ECS keeps of a service's deployments, and of what they ran: its service revisions.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
"""

import secrets
import time
from typing import Any

from rehearsal.account import tasks
from rehearsal.account.mending import Mends, ministack

_ecs = ministack("services.ecs")
_responses = ministack("core.responses")
mend = Mends()

Record = dict[str, Any]

NO_CANDIDATE = "No rollback candidate was found to run the rollback."
ROLLED_BACK = "Service deployment rolled back because the circuit breaker threshold was exceeded."
REQUESTED = "Service deployment rolled back because StopServiceDeployment was called."
SUPERSEDED = "Service deployment stopped because a newer one began."

_ONGOING = ("IN_PROGRESS", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
_BRIEF = (
    "serviceDeploymentArn",
    "serviceArn",
    "clusterArn",
    "createdAt",
    "startedAt",
    "finishedAt",
    "status",
    "statusReason",
)
_BREAKER = {
    "IN_PROGRESS": "MONITORING",
    "ROLLBACK_REQUESTED": "MONITORING",
    "SUCCESSFUL": "MONITORING_COMPLETE",
    "STOPPED": "MONITORING_COMPLETE",
}

_records = _responses.AccountRegionScopedDict()
_revisions = _responses.AccountRegionScopedDict()


def begin(service: Record, deployment: Record, *, source: Record | None) -> None:
    """Enter a deployment that begins. One that it replaces, `source`, is stopped where it was in progress."""
    revision = _arn(service, "service-revision")
    deployment["_revision"] = revision
    _revisions[revision] = {
        "serviceRevisionArn": revision,
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "taskDefinition": deployment["taskDefinition"],
        "capacityProviderStrategy": service.get("capacityProviderStrategy"),
        "launchType": service.get("launchType"),
        "loadBalancers": service.get("loadBalancers"),
        "containerImages": [
            {"containerName": each["name"], "image": each["image"]}
            for each in (tasks.definition(deployment["taskDefinition"]) or {}).get("containerDefinitions", [])
        ],
        "createdAt": time.time(),
    }
    if source:
        end(service, source, "STOPPED", SUPERSEDED)
    record = {
        "serviceDeploymentArn": _arn(service, "service-deployment"),
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "createdAt": time.time(),
        "startedAt": time.time(),
        "updatedAt": time.time(),
        "sourceServiceRevisions": [{"arn": source["_revision"]}] if source else [],
        "targetServiceRevision": {"arn": revision},
        "status": "IN_PROGRESS",
        "deploymentConfiguration": service["deploymentConfiguration"],
        "_deployment": deployment["id"],
    }
    _records.setdefault(service["serviceArn"], []).insert(0, record)


def end(service: Record, deployment: Record, status: str, reason: str | None = None) -> None:
    """Note how a deployment ended; one that has ended already stays as it is."""
    record = _record(service, deployment)
    if record["status"] not in _ONGOING:
        return
    now = time.time()
    record.update(status=status, updatedAt=now, finishedAt=now)
    record.setdefault("_failures", deployment["failedTasks"])
    if status == "STOPPED":
        record["stoppedAt"] = now
    if reason:
        record["statusReason"] = reason


def roll_back(service: Record, deployment: Record, back: Record) -> None:
    """Note that ECS goes from a deployment to `back`, which is a part of it in the history."""
    record = _record(service, deployment)
    now = time.time()
    reason = REQUESTED if record["status"] == "ROLLBACK_REQUESTED" else ROLLED_BACK
    record.update(
        status="ROLLBACK_IN_PROGRESS",
        statusReason=reason,
        updatedAt=now,
        rollback={"reason": reason, "startedAt": now, "serviceRevisionArn": back["_revision"]},
        _failures=deployment["failedTasks"],
        _deployment=back["id"],
    )


def rollback_is_requested(service: Record, deployment: Record) -> bool:
    """Whether StopServiceDeployment was called for a deployment, and ECS hasn't begun to go back."""
    return bool(_record(service, deployment)["status"] == "ROLLBACK_REQUESTED")


def _arn(service: Record, kind: str) -> str:
    return f"{service['serviceArn'].replace(':service/', f':{kind}/', 1)}/{secrets.token_hex(10)}"


def _record(service: Record, deployment: Record) -> Record:
    return next(each for each in _records[service["serviceArn"]] if each["_deployment"] == deployment["id"])


def _watching(record: Record) -> str:
    """What the circuit breaker does: it triggers a rollback that nobody asked for."""
    asked_for = (record.get("rollback") or {}).get("reason") == REQUESTED
    return "MONITORING_COMPLETE" if asked_for else _BREAKER.get(record["status"], "TRIGGERED")


def _described(record: Record) -> Record:
    service = next(each for each in _ecs._services.values() if each["serviceArn"] == record["serviceArn"])
    listed: dict[str, Record] = {each["id"]: each for each in service["deployments"]}
    deployment = listed.get(record["_deployment"], {})
    breaker = service["deploymentConfiguration"].get("deploymentCircuitBreaker") or {}
    return {
        **record,
        "targetServiceRevision": {
            **record["targetServiceRevision"],
            "requestedTaskCount": deployment.get("desiredCount", 0),
            "runningTaskCount": deployment.get("runningCount", 0),
            "pendingTaskCount": deployment.get("pendingCount", 0),
        },
        "deploymentCircuitBreaker": {
            "status": _watching(record) if breaker.get("enable") else "DISABLED",
            "failureCount": record.get("_failures", deployment.get("failedTasks", 0)),
            "threshold": int(_ecs._circuit_breaker_threshold(service)),
        },
    }


def _answer(name: str, asked: list[str], known: dict[str, Record]) -> Any:
    found = [_ecs._sanitize(known[each]) for each in asked if each in known]
    missing = [{"arn": each, "reason": "MISSING"} for each in asked if each not in known]
    return _responses.json_response({name: found, "failures": missing})


@mend.replaces(_ecs, "_list_service_deployments")
def list_service_deployments(_original: Any, data: Any) -> Any:
    """A service's deployments, newest first.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServiceDeployments.html
    """
    with tasks.lock:
        service = tasks.service(data)
        if service is None:
            return _error("ServiceNotFoundException", "Service not found.")
        window, statuses = data.get("createdAt") or {}, data.get("status") or []
        listed = [
            {key: each[key] for key in _BRIEF if key in each}
            | {"targetServiceRevisionArn": each["targetServiceRevision"]["arn"]}
            for each in _records.get(service["serviceArn"], [])
            if (not statuses or each["status"] in statuses)
            and window.get("after", 0) <= each["createdAt"] <= window.get("before", float("inf"))
        ]
        start = int(data.get("nextToken") or 0)
        page = listed[start : start + int(data.get("maxResults") or 20)]
        more = {"nextToken": str(start + len(page))} if start + len(page) < len(listed) else {}
        return _responses.json_response({"serviceDeployments": page, **more})


@mend.replaces(_ecs, "_describe_service_deployments")
def describe_service_deployments(_original: Any, data: Any) -> Any:
    """Deployments of services, with what their circuit breakers counted.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
    """
    with tasks.lock:
        asked = data.get("serviceDeploymentArns") or []
        known = {
            each["serviceDeploymentArn"]: _described(each)
            for records in _records.values()
            for each in records
            if each["serviceDeploymentArn"] in asked
        }
        return _answer("serviceDeployments", asked, known)


@mend.adds(_ecs, "StopServiceDeployment")
def stop_service_deployment(data: Any) -> Any:
    """An ongoing deployment goes back to the last that completed; one that goes back already goes on.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
    """
    with tasks.lock:
        asked, kind = data.get("serviceDeploymentArn"), data.get("stopType") or "ROLLBACK"
        known = (each for records in _records.values() for each in records)
        record = next((each for each in known if each["serviceDeploymentArn"] == asked), None)
        if record is None:
            return _error("ServiceDeploymentNotFoundException", "Service deployment not found.")
        if kind != "ROLLBACK":
            return _error("InvalidParameterException", f"The stop type {kind} is not supported; valid: ROLLBACK.")
        if record["status"] not in _ONGOING:
            return _error("ConflictException", f"The service deployment is not in progress: it is {record['status']}.")
        if record["status"] == "IN_PROGRESS":
            record.update(status="ROLLBACK_REQUESTED", updatedAt=time.time())
            tasks.woken.set()
        return _responses.json_response({"serviceDeploymentArn": asked})


def _error(code: str, message: str) -> Any:
    return _responses.error_response_json(code, message, 400)


@mend.replaces(_ecs, "_describe_service_revisions")
def describe_service_revisions(_original: Any, data: Any) -> Any:
    """What a service's deployments run.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
    """
    return _answer("serviceRevisions", data.get("serviceRevisionArns") or [], dict(_revisions.items()))
