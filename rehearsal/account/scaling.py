"""Application Auto Scaling, which MiniStack lacks: scalable targets, policies, scheduled actions and tags are kept.

It is written here and not handed to moto: this is less code than moto's part and what it would pull in, its tags and
alarms are in the account's own stores, and moto's check of the ECS service would have to be replaced anyway.
Nothing scales by itself: the account measures no load.
https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.account.mending import Mends, ministack

_app = ministack("app")
_cloudwatch = ministack("services.cloudwatch")
_ecs = ministack("services.ecs")
_responses = ministack("core.responses")
_router = ministack("core.router")
mend = Mends()

_targets = _responses.AccountRegionScopedDict()
_policies = _responses.AccountRegionScopedDict()
_scheduled = _responses.AccountRegionScopedDict()
_tags = _responses.AccountRegionScopedDict()

Data = Mapping[str, Any]

_METRICS = {
    "ECSServiceAverageCPUUtilization": "CPUUtilization",
    "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}


def _key(data: Data, *more: str) -> str:
    return "|".join(str(data.get(name)) for name in ("ServiceNamespace", "ResourceId", "ScalableDimension", *more))


def _error(code: str, message: str) -> Any:
    return _responses.error_response_json(code, message, 400)


def _arn(kind: str, identity: str) -> str:
    service = "autoscaling" if kind != "scalable-target" else "application-autoscaling"
    return f"arn:aws:{service}:{_responses.get_region()}:{_responses.get_account_id()}:{kind}{identity}"


def _described(record: Data) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def _listed(store: Any, data: Data, names: str, name: str) -> list[dict[str, Any]]:
    """The records of a store that a Describe request asks for."""
    wanted = data.get(names) or []
    return [
        _described(record)
        for record in store.values()
        if record["ServiceNamespace"] == data.get("ServiceNamespace")
        and all(data.get(each) in (None, record[each]) for each in ("ResourceId", "ScalableDimension"))
        and (not wanted or record[name] in wanted)
    ]


def register_scalable_target(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html"""
    known = _targets.get(_key(data))
    if data.get("ServiceNamespace") == "ecs" and not _ecs_service(data.get("ResourceId", "")):
        return _error("ValidationException", f"ECS service doesn't exist: {data.get('ResourceId')}")
    least, most = (data.get(each, (known or {}).get(each)) for each in ("MinCapacity", "MaxCapacity"))
    if least is None or most is None:
        return _error("ValidationException", "Both MinCapacity and MaxCapacity must be specified")
    if least > most:
        return _error("ValidationException", "Maximum capacity cannot be less than minimum capacity")
    account = _responses.get_account_id()
    record = known or {
        **{name: data[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")},
        "ScalableTargetARN": _arn("scalable-target", "/" + _responses.new_uuid().replace("-", "")),
        "CreationTime": time.time(),
        "RoleARN": f"arn:aws:iam::{account}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/"
        "AWSServiceRoleForApplicationAutoScaling_ECSService",
        "SuspendedState": {
            "DynamicScalingInSuspended": False,
            "DynamicScalingOutSuspended": False,
            "ScheduledScalingSuspended": False,
        },
    }
    record |= {"MinCapacity": least, "MaxCapacity": most}
    record["SuspendedState"] |= data.get("SuspendedState") or {}
    _targets[_key(data)] = record
    if data.get("Tags"):
        _tags[record["ScalableTargetARN"]] = dict(data["Tags"])
    return _responses.json_response({"ScalableTargetARN": record["ScalableTargetARN"]})


def _ecs_service(resource_id: str) -> bool:
    match = re.fullmatch(r"service/([^/]+)/([^/]+)", resource_id)
    service = _ecs._services.get(f"{match[1]}/{match[2]}") if match else None
    return service is not None and service.get("status") != "INACTIVE"


def deregister_scalable_target(data: Data) -> Any:
    """A target goes with its policies, their alarms and its scheduled actions.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeregisterScalableTarget.html
    """
    record = _targets.pop(_key(data), None)
    if record is None:
        return _not_found(data)
    _tags.pop(record["ScalableTargetARN"], None)
    for store, drop in ((_policies, _drop_policy), (_scheduled, _scheduled.pop)):
        for key in [each for each in store if each.startswith(_key(data) + "|")]:
            drop(key)
    return _responses.json_response({})


def _not_found(data: Data) -> Any:
    found = ", ".join(f"{name}: {data.get(name)}" for name in ("ServiceNamespace", "ResourceId", "ScalableDimension"))
    return _error("ObjectNotFoundException", f"No scalable target found for {found}")


def describe_scalable_targets(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalableTargets.html"""
    return _responses.json_response({"ScalableTargets": _listed(_targets, data, "ResourceIds", "ResourceId")})


def put_scaling_policy(data: Data) -> Any:
    """A policy that tracks a target gets the alarms that AWS makes for it.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScalingPolicy.html
    """
    if _key(data) not in _targets:
        return _not_found(data)
    key = _key(data, "PolicyName")
    known = _policies.get(key) or {}
    kind = data.get("PolicyType") or known.get("PolicyType") or "StepScaling"
    identity = f":{_responses.new_uuid()}:resource/{data['ServiceNamespace']}/{data['ResourceId']}"
    arn = known.get("PolicyARN") or _arn("scalingPolicy", f"{identity}:policyName/{data['PolicyName']}")
    configurations = ("TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration")
    record = {
        **{name: data[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyName")},
        "PolicyARN": arn,
        "PolicyType": kind,
        "CreationTime": known.get("CreationTime", time.time()),
        **{each: data.get(each) for each in configurations},
    }
    _drop_policy(key)
    record["Alarms"] = _make_alarms(record)
    _policies[key] = record
    return _responses.json_response({"PolicyARN": arn, "Alarms": record["Alarms"]})


def _make_alarms(policy: Data) -> list[dict[str, str]]:
    """The two alarms of a policy that tracks a metric of an ECS service.

    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
    """
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration")
    kind = ((tracking or {}).get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
    if tracking is None or kind not in _METRICS:
        return []
    _, cluster, service = policy["ResourceId"].split("/")
    levels = [("High", "GreaterThanThreshold", 3, 1.0)]
    if not tracking.get("DisableScaleIn"):
        levels.append(("Low", "LessThanThreshold", 15, 0.9))
    made = []
    for level, operator, periods, share in levels:
        name = f"TargetTracking-{policy['ResourceId']}-Alarm{level}-{_responses.new_uuid()}"
        arn = f"arn:aws:cloudwatch:{_responses.get_region()}:{_responses.get_account_id()}:alarm:{name}"
        _cloudwatch.cloudformation_put_metric_alarm(
            {
                "AlarmName": name,
                "AlarmArn": arn,
                "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
                "ActionsEnabled": True,
                "OKActions": [],
                "AlarmActions": [policy["PolicyARN"]],
                "InsufficientDataActions": [],
                "StateValue": "INSUFFICIENT_DATA",
                "StateReason": "Unchecked: Initial alarm creation",
                "StateUpdatedTimestamp": int(time.time()),
                "AlarmConfigurationUpdatedTimestamp": int(time.time()),
                "Namespace": "AWS/ECS",
                "MetricName": _METRICS[kind],
                "Statistic": "Average",
                "Dimensions": [
                    {"Name": "ClusterName", "Value": cluster},
                    {"Name": "ServiceName", "Value": service},
                ],
                "Period": 60,
                "EvaluationPeriods": periods,
                "Threshold": float(tracking["TargetValue"]) * share,
                "ComparisonOperator": operator,
            }
        )
        made.append({"AlarmName": name, "AlarmARN": arn})
    return made


def _drop_policy(key: str) -> None:
    for alarm in (_policies.pop(key, None) or {}).get("Alarms", []):
        _cloudwatch.cloudformation_delete_metric_alarm(alarm["AlarmName"])


def describe_scaling_policies(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalingPolicies.html"""
    return _responses.json_response({"ScalingPolicies": _listed(_policies, data, "PolicyNames", "PolicyName")})


def delete_scaling_policy(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeleteScalingPolicy.html"""
    if _key(data, "PolicyName") not in _policies:
        return _error("ObjectNotFoundException", f"No scaling policy found for policy name: {data.get('PolicyName')}")
    _drop_policy(_key(data, "PolicyName"))
    return _responses.json_response({})


def put_scheduled_action(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html"""
    if _key(data) not in _targets:
        return _not_found(data)
    key = _key(data, "ScheduledActionName")
    identity = f":{_responses.new_uuid()}:resource/{data['ServiceNamespace']}/{data['ResourceId']}"
    new = {
        "ScheduledActionARN": _arn("scheduledAction", f"{identity}:scheduledActionName/{data['ScheduledActionName']}"),
        "CreationTime": time.time(),
    }
    _scheduled[key] = new | (_scheduled.get(key) or {}) | dict(data)
    return _responses.json_response({})


def describe_scheduled_actions(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScheduledActions.html"""
    listed = _listed(_scheduled, data, "ScheduledActionNames", "ScheduledActionName")
    return _responses.json_response({"ScheduledActions": listed})


def delete_scheduled_action(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeleteScheduledAction.html"""
    if _scheduled.pop(_key(data, "ScheduledActionName"), None) is None:
        name = data.get("ScheduledActionName")
        return _error("ObjectNotFoundException", f"No scheduled action found for action name: {name}")
    return _responses.json_response({})


def describe_scaling_activities(_data: Data) -> Any:
    """None: nothing scales by itself here."""
    return _responses.json_response({"ScalingActivities": []})


def _tagged(data: Data) -> bool:
    return any(each["ScalableTargetARN"] == data.get("ResourceARN") for each in _targets.values())


def list_tags(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_ListTagsForResource.html"""
    if not _tagged(data):
        return _error("ResourceNotFoundException", f"The resource {data.get('ResourceARN')} wasn't found")
    return _responses.json_response({"Tags": _tags.get(data["ResourceARN"]) or {}})


def tag(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TagResource.html"""
    if not _tagged(data):
        return _error("ResourceNotFoundException", f"The resource {data.get('ResourceARN')} wasn't found")
    _tags[data["ResourceARN"]] = (_tags.get(data["ResourceARN"]) or {}) | dict(data.get("Tags", {}))
    return _responses.json_response({})


def untag(data: Data) -> Any:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_UntagResource.html"""
    for key in data.get("TagKeys", []):
        (_tags.get(data.get("ResourceARN")) or {}).pop(key, None)
    return _responses.json_response({})


ACTIONS: dict[str, Callable[[Data], Any]] = {
    "DeleteScalingPolicy": delete_scaling_policy,
    "DeleteScheduledAction": delete_scheduled_action,
    "DeregisterScalableTarget": deregister_scalable_target,
    "DescribeScalableTargets": describe_scalable_targets,
    "DescribeScalingActivities": describe_scaling_activities,
    "DescribeScalingPolicies": describe_scaling_policies,
    "DescribeScheduledActions": describe_scheduled_actions,
    "ListTagsForResource": list_tags,
    "PutScalingPolicy": put_scaling_policy,
    "PutScheduledAction": put_scheduled_action,
    "RegisterScalableTarget": register_scalable_target,
    "TagResource": tag,
    "UntagResource": untag,
}


async def handle_request(_method: str, _path: str, headers: Mapping[str, str], body: bytes, _query: Any) -> Any:
    """Answer a request of Application Auto Scaling's JSON protocol."""
    name = headers.get("x-amz-target", "").rpartition(".")[2]
    if name not in ACTIONS:
        return _error("UnknownOperationException", f"{name} is not answered here")
    return ACTIONS[name](json.loads(body or b"{}"))


@mend.afterwards
def answer_here() -> None:
    """Requests for this service come to this module."""
    _router.SERVICE_PATTERNS["application-autoscaling"] = {"target_prefixes": ["AnyScaleFrontendService"]}
    _app.SERVICE_HANDLERS["application-autoscaling"] = handle_request
