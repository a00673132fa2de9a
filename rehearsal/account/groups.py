"""EC2 Auto Scaling: groups keep all that they were asked for, and their instances come, go and are replaced.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html
"""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.account import background, instances, targets
from rehearsal.account.mending import OK, Mends, ministack
from rehearsal.account.query import Parameters, nested, text, timestamp, true, xml

_autoscaling = ministack("services.autoscaling")
_ec2 = ministack("services.ec2")
_responses = ministack("core.responses")
mend = Mends()

TURN = 0.5
"""Seconds between two looks at every group."""
DRAINS_AT_MOST = 900.0
"""Seconds after which an instance is terminated with the tasks that still run on it; 48 hours on AWS:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instance-draining.html"""

WHOLE = 100
"""Per cent of a group's desired capacity."""

_INTEGERS = ("DefaultInstanceWarmup", "MaxInstanceLifetime")
_BOOLEANS = ("CapacityRebalance", "NewInstancesProtectedFromScaleIn")
_KEPT = (
    "AvailabilityZoneDistribution",
    "AvailabilityZoneImpairmentPolicy",
    "CapacityReservationSpecification",
    "Context",
    "DesiredCapacityType",
    "InstanceMaintenancePolicy",
    "MixedInstancesPolicy",
    "PlacementGroup",
    "ServiceLinkedRoleARN",
    "TerminationPolicies",
    "TrafficSources",
)
_SHOWN = (
    "AutoScalingGroupName",
    "AutoScalingGroupARN",
    "LaunchConfigurationName",
    "MinSize",
    "MaxSize",
    "DesiredCapacity",
    "DefaultCooldown",
    "AvailabilityZones",
    "HealthCheckType",
    "HealthCheckGracePeriod",
    "CreatedTime",
    "VPCZoneIdentifier",
    "NewInstancesProtectedFromScaleIn",
    "Tags",
    "TargetGroupARNs",
    "EnabledMetrics",
    "SuspendedProcesses",
    *_INTEGERS,
    "CapacityRebalance",
    *_KEPT,
)
# A group's instances are changed by requests and by the background alike.
_lock = threading.RLock()


def all_groups() -> list[dict[str, Any]]:
    """The groups of this account and region."""
    return list(_autoscaling._asgs.values())


def group_of(reference: str) -> dict[str, Any] | None:
    """A group by its name or ARN."""
    found: dict[str, Any] | None = _autoscaling._asgs.get(reference.rsplit("autoScalingGroupName/", 1)[-1])
    return found


def in_service(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The group's instances that serve, and aren't on their way out."""
    return [each for each in group["Instances"] if each["LifecycleState"] == "InService"]


def set_desired(group: dict[str, Any], desired: int) -> None:
    """Give a group another desired capacity, and its instances accordingly."""
    with _lock:
        group["DesiredCapacity"] = desired
        settle(group)


def remove(group: dict[str, Any], instance_id: str, cause: str, *, shrink: bool = False) -> None:
    """Have one instance leave its group: it drains first where its capacity provider says so, then is terminated.

    With `shrink` the group wants one instance less from then on, and gets no other in its place.
    """
    with _lock:
        group["DesiredCapacity"] -= int(shrink)
        for each in group["Instances"]:
            if each["InstanceId"] == instance_id and each["LifecycleState"] == "InService":
                each["LifecycleState"], each["_leaves_by"] = "Terminating:Wait", time.time() + DRAINS_AT_MOST
                each["_activity"] = _activity(group, f"Terminating EC2 instance: {instance_id}", cause)
                for arn in group["TargetGroupARNs"]:
                    targets.deregister(arn, instance_id)
        _let_go(group)


def settle(group: dict[str, Any]) -> None:
    """Launch or remove instances until there are as many as desired. Protected ones stay, as on AWS.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-instance-protection.html
    """
    with _lock:
        _let_go(group)
        serving = in_service(group)
        while len(serving) < group["DesiredCapacity"]:
            if not _launch(group):
                break
            serving = in_service(group)
        unprotected = [each for each in serving if not each["ProtectedFromScaleIn"]]
        zones = Counter(each["AvailabilityZone"] for each in serving)
        # The zone with most instances loses one first, and of its instances the oldest.
        # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
        for each in sorted(unprotected, key=lambda each: -zones[each["AvailabilityZone"]])[
            : max(0, len(serving) - group["DesiredCapacity"])
        ]:
            remove(group, each["InstanceId"], "a user request changed the desired capacity")


def _subnets(group: Mapping[str, Any]) -> list[str]:
    return [each for each in group["VPCZoneIdentifier"].split(",") if each in _ec2._subnets]


def _specification(group: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The launch template that new instances follow, and the instance type instead of the template's, if any."""
    policy = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate")
    if policy:
        overrides = policy.get("Overrides") or [{}]
        return policy["LaunchTemplateSpecification"], str(overrides[0].get("InstanceType", ""))
    return group.get("LaunchTemplate") or {}, ""


def _launch(group: dict[str, Any]) -> bool:
    specification, instance_type = _specification(group)
    data, template, _ = _ec2._resolve_launch_template_data(specification)
    subnets = _subnets(group)
    if template is None or not subnets:
        return False
    here = Counter((_ec2._instances.get(each["InstanceId"]) or {}).get("SubnetId") for each in _staying(group))
    subnet = min(subnets, key=lambda each: here[each])
    cause = "an instance was started in response to a difference between desired and actual capacity"
    try:
        instance_id = instances.launch(data, subnet, instances.group_tags(group), instance_type)
    except ValueError as refused:
        if not group["Activities"] or group["Activities"][0]["StatusMessage"] != str(refused):
            activity = _activity(group, "Launching a new EC2 instance.", cause)
            activity |= {"StatusCode": "Failed", "StatusMessage": str(refused), "Progress": 100, "EndTime": timestamp()}
        return False
    activity = _activity(group, f"Launching a new EC2 instance: {instance_id}", cause)
    _finish(activity)
    record = _ec2._instances[instance_id]
    record["_capacity_provider"] = group.get("_capacity_provider")
    group["Instances"].append(
        {
            "InstanceId": instance_id,
            "InstanceType": record["InstanceType"],
            "AvailabilityZone": record["Placement"]["AvailabilityZone"],
            "LifecycleState": "InService",
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": group["NewInstancesProtectedFromScaleIn"],
            "LaunchTemplate": {
                "LaunchTemplateId": template["LaunchTemplateId"],
                "LaunchTemplateName": template["LaunchTemplateName"],
                "Version": str(_version(template, specification.get("Version"))),
            },
        }
    )
    for arn in group["TargetGroupARNs"]:
        _register(arn, instance_id)
    return True


def _staying(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The instances among which a new one is spread: not those that a refresh is about to replace."""
    leaving = (_current_refresh(group) or {}).get("_old", [])
    return [each for each in in_service(group) if each["InstanceId"] not in leaving]


def _version(template: Mapping[str, Any], version: str | None) -> Any:
    named = {"$Latest": "LatestVersionNumber", "$Default": "DefaultVersionNumber"}
    return template[named[version or "$Default"]] if version in (*named, None, "") else version


def _register(target_group_arn: str, instance_id: str) -> None:
    """Register an instance on the target group's own port.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/attach-load-balancer-asg.html
    """
    if group := targets._alb._tgs.get(target_group_arn):
        targets.register(target_group_arn, instance_id, int(group["Port"]))


def _let_go(group: dict[str, Any]) -> None:
    """Terminate those on their way out that run no task any more, or don't have to wait for theirs."""
    for each in [each for each in group["Instances"] if each["LifecycleState"] == "Terminating:Wait"]:
        drained = instances.drain(each["InstanceId"])
        if drained or not group.get("_managed_draining") or time.time() > each["_leaves_by"]:
            instances.terminate(each["InstanceId"])
            _finish(each["_activity"])
            group["Instances"].remove(each)


def _activity(group: dict[str, Any], description: str, cause: str) -> dict[str, Any]:
    activity = {
        "ActivityId": _responses.new_uuid(),
        "AutoScalingGroupName": group["AutoScalingGroupName"],
        "Description": description,
        "Cause": f"At {timestamp()} {cause}.",
        "StartTime": timestamp(),
        "EndTime": None,
        "StatusCode": "InProgress",
        "StatusMessage": "",
        "Progress": 50,
        "AutoScalingGroupARN": group["AutoScalingGroupARN"],
    }
    group["Activities"].insert(0, activity)
    del group["Activities"][100:]
    return activity


def _finish(activity: dict[str, Any]) -> None:
    activity |= {"StatusCode": "Successful", "EndTime": timestamp(), "Progress": 100}


@mend.afterwards
def look_after_groups() -> None:
    """Watch the groups: instances that were terminated by others are replaced, and refreshes go on."""
    background.every(TURN, _turn)


def _turn() -> None:
    for account, region in {key[:2] for key in list(_autoscaling._asgs._data)}:
        with _responses.request_scope(account, region):
            _look_after()


def _look_after() -> None:
    for group in all_groups():
        with _lock:
            for each in in_service(group):
                record = _ec2._instances.get(each["InstanceId"])
                if record is None or record["State"]["Name"] not in ("pending", "running"):
                    group["Instances"].remove(each)
            settle(group)
            _go_on_with_refresh(group)


# --- groups ---


@mend.replaces(_autoscaling, "_reconcile_instances")
def launch_later(_original: Any, asg: dict[str, Any]) -> None:
    """MiniStack invents instances here; `settle` launches them when the group is complete."""


@mend.replaces(_autoscaling, "_create_asg")
def create_group(original: Any, p: Parameters) -> Any:
    """A new group keeps everything, and launches its instances in its subnets' zones.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html
    """
    if refused := _refusal(nested(p)):
        return refused
    answer = original(p)
    if answer[0] != OK:
        return answer
    group = _autoscaling._asgs[text(p, "AutoScalingGroupName")]
    group |= {
        "Activities": [],
        "CapacityRebalance": None,
        "EnabledMetrics": [],
        "SuspendedProcesses": [],
        "TargetGroupARNs": _autoscaling._parse_member_list(p, "TargetGroupARNs"),
        "ServiceLinkedRoleARN": f"arn:aws:iam::{_responses.get_account_id()}:role/aws-service-role/"
        "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    }
    _keep(group, nested(p))
    settle(group)
    return answer


@mend.replaces(_autoscaling, "_update_asg")
def update_group(original: Any, p: Parameters) -> Any:
    """An update changes what it names, and the number of instances.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html
    """
    group = group_of(text(p, "AutoScalingGroupName"))
    if group and (refused := _refusal({"MinSize": group["MinSize"], "MaxSize": group["MaxSize"]} | nested(p))):
        return refused
    answer = original(p)
    if answer[0] == OK and group is not None:
        _keep(group, nested(p))
        group["DesiredCapacity"] = min(max(group["DesiredCapacity"], group["MinSize"]), group["MaxSize"])
        settle(group)
    return answer


def _refusal(asked: Mapping[str, Any]) -> Any:
    """Why a group can't be as asked, or None."""
    least, most = int(asked.get("MinSize", 0)), int(asked.get("MaxSize", 0))
    desired = int(asked.get("DesiredCapacity") or least)
    if least > most:
        return _invalid(f"Max bound, {most}, must be greater than or equal to min bound, {least}")
    if not least <= desired <= most:
        return _invalid(
            f"Desired capacity:{desired} must be between the specified min size:{least} and max size:{most}"
        )
    specification, _ = _specification(asked)
    if specification and _ec2._resolve_launch_template_data(specification)[1] is None:
        return _invalid(
            "You must use a valid fully-formed launch template. The specified launch template does not exist."
        )
    return None


def _invalid(message: str) -> Any:
    return _autoscaling._error("ValidationError", message)


def _keep(group: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """Take over what a request names."""
    group |= {key: int(asked[key]) for key in _INTEGERS if key in asked and asked[key] != "-1"}
    group |= {key: true(asked[key]) for key in _BOOLEANS if key in asked}
    group |= {key: asked[key] for key in _KEPT if key in asked}
    for key in _INTEGERS:
        if asked.get(key) == "-1":
            group[key] = None
    template = asked.get("LaunchTemplate")
    if template:
        _, record, _ = _ec2._resolve_launch_template_data(template)
        group["LaunchTemplate"] = {
            "LaunchTemplateId": record["LaunchTemplateId"],
            "LaunchTemplateName": record["LaunchTemplateName"],
            "Version": template.get("Version") or "$Default",
        }
    if "MixedInstancesPolicy" in asked:
        group["LaunchTemplate"] = {}
        _complete(group["MixedInstancesPolicy"])
    elif template:
        group["MixedInstancesPolicy"] = None
    if zones := sorted({_ec2._subnets[each]["AvailabilityZone"] for each in _subnets(group)}):
        group["AvailabilityZones"] = zones


def _complete(policy: dict[str, Any]) -> None:
    """A mixed instances policy has both names of its template, and the defaults of its distribution.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstancesDistribution.html
    """
    specification = policy["LaunchTemplate"]["LaunchTemplateSpecification"]
    _, record, _ = _ec2._resolve_launch_template_data(specification)
    specification |= {key: record[key] for key in ("LaunchTemplateId", "LaunchTemplateName")}
    specification.setdefault("Version", "$Default")
    policy["InstancesDistribution"] = {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": "0",
        "OnDemandPercentageAboveBaseCapacity": "100",
        "SpotAllocationStrategy": "lowest-price",
        **policy.get("InstancesDistribution", {}),
    }


def _member(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in instance.items() if not key.startswith("_")}


def _filters(p: Parameters) -> list[tuple[str, list[str]]]:
    """The filters of a request, by name: all of them must hold, each by one of its values."""
    found: list[tuple[str, list[str]]] = []
    while name := _autoscaling._p(p, f"Filters.member.{len(found) + 1}.Name"):
        found.append((name, _autoscaling._parse_member_list(p, f"Filters.member.{len(found) + 1}.Values")))
    return found


def _has(group: Mapping[str, Any], key: str, values: list[str]) -> bool:
    """Whether a group passes a filter: `tag:KEY`, `tag-key` or `tag-value`.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Filter.html
    """
    tags = {tag["Key"]: tag.get("Value", "") for tag in group["Tags"] or []}
    if key.startswith("tag:"):
        return tags.get(key.removeprefix("tag:")) in values
    return any(each in values for each in (tags if key == "tag-key" else tags.values()))


@mend.replaces(_autoscaling, "_describe_asgs")
def describe_groups(_original: Any, p: Parameters) -> Any:
    """Groups with all that they keep.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingGroups.html
    """
    names = _autoscaling._parse_member_list(p, "AutoScalingGroupNames")
    groups = [each for each in all_groups() if not names or each["AutoScalingGroupName"] in names]
    for key, values in _filters(p):
        groups = [each for each in groups if _has(each, key, values)]
    shown = [
        {key: group.get(key) for key in _SHOWN if group.get(key) != ""}
        | {"Instances": [_member(each) for each in group["Instances"]]}
        | {"LaunchTemplate": group["LaunchTemplate"] or None}
        for group in groups
    ]
    body = xml({"DescribeAutoScalingGroupsResult": {"AutoScalingGroups": shown}})
    return _autoscaling._xml(200, "DescribeAutoScalingGroupsResponse", body)


@mend.replaces(_autoscaling, "_describe_asg_instances")
def describe_instances(_original: Any, p: Parameters) -> Any:
    """The instances of groups.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingInstances.html
    """
    wanted = _autoscaling._parse_member_list(p, "InstanceIds")
    shown = [
        _member(each) | {"AutoScalingGroupName": group["AutoScalingGroupName"]}
        for group in all_groups()
        for each in group["Instances"]
        if not wanted or each["InstanceId"] in wanted
    ]
    body = xml({"DescribeAutoScalingInstancesResult": {"AutoScalingInstances": shown}})
    return _autoscaling._xml(200, "DescribeAutoScalingInstancesResponse", body)


@mend.replaces(_autoscaling, "_set_desired_capacity")
def set_desired_capacity(original: Any, p: Parameters) -> Any:
    """The desired capacity stays between the group's bounds.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html
    """
    group, desired = group_of(text(p, "AutoScalingGroupName")), int(text(p, "DesiredCapacity", "0"))
    if group is None:
        return original(p)
    if desired > group["MaxSize"]:
        return _invalid(
            f"New SetDesiredCapacity value {desired} is above max value {group['MaxSize']} for the AutoScalingGroup."
        )
    if desired < group["MinSize"]:
        return _invalid(
            f"New SetDesiredCapacity value {desired} is below min value {group['MinSize']} for the AutoScalingGroup."
        )
    set_desired(group, desired)
    return _autoscaling._xml(200, "SetDesiredCapacityResponse", "")


@mend.replaces(_autoscaling, "_delete_asg")
def delete_group(original: Any, p: Parameters) -> Any:
    """A group with instances is deleted by force alone; then they are terminated with it.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html
    """
    group = group_of(text(p, "AutoScalingGroupName"))
    with _lock:
        if group is not None and group["Instances"]:
            if not true(text(p, "ForceDelete")):
                message = (
                    "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                    "request(s) still in the group."
                )
                return _autoscaling._error("ResourceInUse", message)
            for each in group["Instances"]:
                for arn in group["TargetGroupARNs"]:
                    targets.deregister(arn, each["InstanceId"])
                instances.terminate(each["InstanceId"])
        return original(p)


@mend.replaces(_autoscaling, "_describe_scaling_activities")
def describe_activities(_original: Any, p: Parameters) -> Any:
    """What groups did, newest first: also why an instance could not be launched.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
    """
    name = text(p, "AutoScalingGroupName")
    shown = [
        {key: value for key, value in each.items() if value != ""}
        for group in all_groups()
        if name in ("", group["AutoScalingGroupName"])
        for each in group["Activities"]
    ]
    body = xml({"DescribeScalingActivitiesResult": {"Activities": shown}})
    return _autoscaling._xml(200, "DescribeScalingActivitiesResponse", body)


def _of_a_group(answer: Callable[[dict[str, Any], Parameters], Any]) -> Callable[[Parameters], Any]:
    """The decorated function gets the group that a request names; where there is none, the request is refused."""

    @functools.wraps(answer)
    def answered(p: Parameters) -> Any:
        name = text(p, "AutoScalingGroupName")
        group = group_of(name)
        if group is None:
            return _invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return answer(group, p)

    return answered


@mend.adds(_autoscaling, "SetInstanceProtection")
@_of_a_group
def set_instance_protection(group: dict[str, Any], p: Parameters) -> Any:
    """Protect instances from scale-in, or no longer.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceProtection.html
    """
    wanted = _autoscaling._parse_member_list(p, "InstanceIds")
    for each in group["Instances"]:
        if each["InstanceId"] in wanted:
            each["ProtectedFromScaleIn"] = true(text(p, "ProtectedFromScaleIn"))
    settle(group)
    return _autoscaling._xml(200, "SetInstanceProtectionResponse", "<SetInstanceProtectionResult/>")


@mend.adds(_autoscaling, "EnableMetricsCollection")
@_of_a_group
def enable_metrics(group: dict[str, Any], p: Parameters) -> Any:
    """Note which group metrics are wanted; this account measures none.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnableMetricsCollection.html
    """
    known = {each["Metric"] for each in group["EnabledMetrics"]}
    for metric in _autoscaling._parse_member_list(p, "Metrics"):
        if metric not in known:
            group["EnabledMetrics"].append({"Metric": metric, "Granularity": text(p, "Granularity", "1Minute")})
    return _autoscaling._xml(200, "EnableMetricsCollectionResponse", "")


@mend.adds(_autoscaling, "DisableMetricsCollection")
@_of_a_group
def disable_metrics(group: dict[str, Any], p: Parameters) -> Any:
    """Note which group metrics are no longer wanted; none named means all.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DisableMetricsCollection.html
    """
    named = _autoscaling._parse_member_list(p, "Metrics")
    group["EnabledMetrics"] = [each for each in group["EnabledMetrics"] if named and each["Metric"] not in named]
    return _autoscaling._xml(200, "DisableMetricsCollectionResponse", "")


@mend.adds(_autoscaling, "TerminateInstanceInAutoScalingGroup")
def terminate_instance(p: Parameters) -> Any:
    """Terminate one instance of a group, with or without a replacement.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
    """
    instance_id = text(p, "InstanceId")
    for group in all_groups():
        if any(each["InstanceId"] == instance_id for each in group["Instances"]):
            shrink = true(text(p, "ShouldDecrementDesiredCapacity"))
            if shrink and group["DesiredCapacity"] <= group["MinSize"]:
                return _invalid(
                    "Currently, desiredSize equals minSize. Terminating instance without replacement "
                    "will violate group's min size constraint."
                )
            remove(group, instance_id, "a user request", shrink=shrink)
            shown = xml({"Activity": {key: value for key, value in group["Activities"][0].items() if value != ""}})
            body = f"<TerminateInstanceInAutoScalingGroupResult>{shown}</TerminateInstanceInAutoScalingGroupResult>"
            return _autoscaling._xml(200, "TerminateInstanceInAutoScalingGroupResponse", body)
    return _invalid(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")


@mend.adds(_autoscaling, "AttachLoadBalancerTargetGroups")
@_of_a_group
def attach_target_groups(group: dict[str, Any], p: Parameters) -> Any:
    """Register a group's instances, and those to come, in target groups.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AttachLoadBalancerTargetGroups.html
    """
    for arn in _autoscaling._parse_member_list(p, "TargetGroupARNs"):
        if arn not in group["TargetGroupARNs"]:
            group["TargetGroupARNs"].append(arn)
            for each in in_service(group):
                _register(arn, each["InstanceId"])
    body = "<AttachLoadBalancerTargetGroupsResult/>"
    return _autoscaling._xml(200, "AttachLoadBalancerTargetGroupsResponse", body)


@mend.adds(_autoscaling, "DetachLoadBalancerTargetGroups")
@_of_a_group
def detach_target_groups(group: dict[str, Any], p: Parameters) -> Any:
    """Take a group's instances out of target groups.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DetachLoadBalancerTargetGroups.html
    """
    for arn in _autoscaling._parse_member_list(p, "TargetGroupARNs"):
        if arn in group["TargetGroupARNs"]:
            group["TargetGroupARNs"].remove(arn)
            for each in group["Instances"]:
                targets.deregister(arn, each["InstanceId"])
    body = "<DetachLoadBalancerTargetGroupsResult/>"
    return _autoscaling._xml(200, "DetachLoadBalancerTargetGroupsResponse", body)


@mend.adds(_autoscaling, "DescribeLoadBalancerTargetGroups")
@_of_a_group
def describe_target_groups(group: dict[str, Any], _p: Parameters) -> Any:
    """The target groups that a group is attached to.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeLoadBalancerTargetGroups.html
    """
    shown = [{"LoadBalancerTargetGroupARN": arn, "State": "InService"} for arn in group["TargetGroupARNs"]]
    body = xml({"DescribeLoadBalancerTargetGroupsResult": {"LoadBalancerTargetGroups": shown}})
    return _autoscaling._xml(200, "DescribeLoadBalancerTargetGroupsResponse", body)


# --- instance refresh ---


@mend.replaces(_autoscaling, "_start_instance_refresh")
def start_refresh(original: Any, p: Parameters) -> Any:
    """Begin to replace a group's instances, one after another.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html
    """
    group = group_of(text(p, "AutoScalingGroupName"))
    if group is not None and _current_refresh(group):
        message = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh."
        return _autoscaling._error("InstanceRefreshInProgress", message)
    answer = original(p)
    if answer[0] == OK and group is not None:
        asked = nested(p)
        with _lock:
            if template := (asked.get("DesiredConfiguration") or {}).get("LaunchTemplate"):
                _keep(group, {"LaunchTemplate": template})
            group["InstanceRefreshes"][0] |= {
                "Status": "Pending",
                "StatusReason": "",
                "EndTime": None,
                "PercentageComplete": 0,
                "InstancesToUpdate": len(group["Instances"]),
                "Preferences": asked.get("Preferences") or {},
                "DesiredConfiguration": asked.get("DesiredConfiguration"),
                "_old": [each["InstanceId"] for each in in_service(group)],
                "_total": max(1, len(in_service(group))),
            }
    return answer


@mend.replaces(_autoscaling, "_describe_instance_refreshes")
def describe_refreshes(original: Any, p: Parameters) -> Any:
    """How far a group's refreshes are, newest first.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
    """
    group, wanted = group_of(text(p, "AutoScalingGroupName")), _autoscaling._parse_member_list(p, "InstanceRefreshIds")
    if group is None:
        return original(p)
    shown = [
        {key: value for key, value in each.items() if not key.startswith("_") and value != ""}
        for each in group.get("InstanceRefreshes", [])
        if not wanted or each["InstanceRefreshId"] in wanted
    ]
    body = xml({"DescribeInstanceRefreshesResult": {"InstanceRefreshes": shown}})
    return _autoscaling._xml(200, "DescribeInstanceRefreshesResponse", body)


def _current_refresh(group: Mapping[str, Any]) -> dict[str, Any] | None:
    return next(
        (each for each in group.get("InstanceRefreshes", []) if each["Status"] in ("Pending", "InProgress")), None
    )


def _go_on_with_refresh(group: dict[str, Any]) -> None:
    """Replace the next instance when the last one's successor is in its cluster.

    A group that may be larger for the while (MaxHealthyPercentage over 100, or MinHealthyPercentage of 100) launches
    first; another terminates first. https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
    """
    refresh = _current_refresh(group)
    if refresh is None:
        return
    refresh["Status"] = "InProgress"
    left = [each for each in group["Instances"] if each["InstanceId"] in refresh["_old"]]
    refresh["InstancesToUpdate"] = len(left)
    refresh["PercentageComplete"] = 100 - 100 * len(left) // refresh["_total"]
    if any(each["LifecycleState"] != "InService" for each in left) or not _all_joined(group):
        return
    if not left:
        refresh |= {"Status": "Successful", "EndTime": timestamp()}
        return
    preferences = _preferences(group, refresh)
    if preferences[0] >= WHOLE or preferences[1] > WHOLE:
        group["DesiredCapacity"] += 1
        settle(group)
        group["DesiredCapacity"] -= 1
    zones = Counter(each["AvailabilityZone"] for each in in_service(group))
    first = max(left, key=lambda each: zones[each["AvailabilityZone"]])
    remove(group, first["InstanceId"], "an instance was taken out of service in response to an instance refresh")


def _preferences(group: Mapping[str, Any], refresh: Mapping[str, Any]) -> tuple[int, int]:
    """The least and the greatest healthy percentage: the refresh's own, else the group's maintenance policy's."""
    policy, asked = group.get("InstanceMaintenancePolicy") or {}, refresh["Preferences"]
    least = asked.get("MinHealthyPercentage") or policy.get("MinHealthyPercentage") or 90
    most = asked.get("MaxHealthyPercentage") or policy.get("MaxHealthyPercentage") or 100
    return int(least), int(most)


def _all_joined(group: Mapping[str, Any]) -> bool:
    records = [_ec2._instances.get(each["InstanceId"]) for each in in_service(group)]
    return all(
        record is not None
        and (not record.get("_cluster") or instances.record_of(record["_container_instance_arn"]) is not None)
        for record in records
    )


# --- policies and lifecycle hooks ---


@mend.replaces(_autoscaling, "_describe_policies")
def describe_policies(original: Any, p: Parameters) -> Any:
    """The policies that were asked for by name, and no others.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribePolicies.html
    """
    wanted = _autoscaling._parse_member_list(p, "PolicyNames")
    if not wanted:
        return original(p)
    group = text(p, "AutoScalingGroupName")
    shown = [
        {"Enabled": True, "StepAdjustments": [], "Alarms": [], **each}
        | ({"MinAdjustmentStep": each["MinAdjustmentMagnitude"]} if "MinAdjustmentMagnitude" in each else {})
        for each in _autoscaling._policies.values()
        if each["PolicyName"] in wanted and group in ("", each["AutoScalingGroupName"])
    ]
    body = xml({"DescribePoliciesResult": {"ScalingPolicies": shown}})
    return _autoscaling._xml(200, "DescribePoliciesResponse", body)


@mend.replaces(_autoscaling, "_describe_lifecycle_hooks")
def describe_lifecycle_hooks(_original: Any, p: Parameters) -> Any:
    """A group's lifecycle hooks with all that they keep.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeLifecycleHooks.html
    """
    wanted = _autoscaling._parse_member_list(p, "LifecycleHookNames")
    shown = [
        {key: value for key, value in hook.items() if value != ""}
        | {"GlobalTimeout": min(172800, 100 * hook["HeartbeatTimeout"])}
        for hook in _autoscaling._hooks.values()
        if hook["AutoScalingGroupName"] == text(p, "AutoScalingGroupName")
        and (not wanted or hook["LifecycleHookName"] in wanted)
    ]
    body = xml({"DescribeLifecycleHooksResult": {"LifecycleHooks": shown}})
    return _autoscaling._xml(200, "DescribeLifecycleHooksResponse", body)
