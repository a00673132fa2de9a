"""Capacity providers: managed scaling adds instances for tasks that wait, and removes idle ones.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
"""

import time
from collections.abc import Mapping
from typing import Any

from rehearsal.account import background, groups, instances
from rehearsal.account.mending import OK, Mends, ministack

_ecs = ministack("services.ecs")
_responses = ministack("core.responses")
mend = Mends()

WAITS = 1.5
"""Seconds for which a task that waited counts as waiting still: the scheduler tries again more often than that."""
TRIED = 0.5
"""Seconds in which the scheduler has tried an instance that joined: only then does a task that waits need another."""
IDLE = 15.0
"""Seconds after which an instance with no task goes. AWS takes 15 minutes:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/capacity-provider-scale-in.html"""

_MANAGED = "AmazonECSManaged"
_DEFAULTS = {
    "status": "DISABLED",
    "targetCapacity": 100,
    "minimumScalingStepSize": 1,
    "maximumScalingStepSize": 10000,
    "instanceWarmupPeriod": 300,
}
# When a task of a cluster last waited, and since when an instance has been idle.
_waiting: dict[tuple[str, str, str], float] = {}
_idle: dict[str, float] = {}


def wants_room(cluster: str) -> None:
    """A task of the cluster (by its name) waits for room. To be called again for as long as it waits."""
    _waiting[_responses.get_account_id(), _responses.get_region(), cluster] = time.time()


@mend.afterwards
def scale_by_itself() -> None:
    """Managed scaling looks at every cluster once a second."""
    background.every(1.0, _turn)


def _turn() -> None:
    for account, region in {key[:2] for key in list(_ecs._capacity_providers._data)}:
        with _responses.request_scope(account, region):
            for name, cluster in _ecs._clusters.items():
                for provider in _providers(cluster):
                    _scale(name, provider, waited_at=_waiting.get((account, region, name), 0.0))


def _providers(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    named = [_ecs._capacity_providers.get(each) for each in cluster.get("capacityProviders", [])]
    return [each for each in named if each is not None]


def _scale(cluster: str, provider: Mapping[str, Any], *, waited_at: float) -> None:
    settings = provider["autoScalingGroupProvider"]
    group = groups.group_of(settings["autoScalingGroupArn"])
    if group is None or settings["managedScaling"].get("status") != "ENABLED":
        return
    joined = {each.instance_id: each for each in instances.container_instances(cluster)}
    serving = [each["InstanceId"] for each in groups.in_service(group)]
    now = time.time()
    if now - waited_at < WAITS:
        tried = all(each in joined and waited_at > joined[each].joined_at + TRIED for each in serving)
        if tried and group["DesiredCapacity"] < group["MaxSize"]:
            groups.set_desired(group, group["DesiredCapacity"] + 1)
        return
    for instance_id in [each for each in serving if each in joined]:
        if instances.tasks_on(joined[instance_id].arn):
            _idle.pop(instance_id, None)
        elif now - _idle.setdefault(instance_id, now) > IDLE and group["DesiredCapacity"] > group["MinSize"]:
            del _idle[instance_id]
            groups.remove(group, instance_id, "managed scaling found that it has no task", shrink=True)
            return


def _error(message: str, code: str = "ClientException") -> Any:
    return _responses.error_response_json(code, message, 400)


def _mark(group: dict[str, Any], name: str) -> None:
    """ECS tags the group that it manages, and its instances tell which provider they are of.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html
    """
    if all(tag["Key"] != _MANAGED for tag in group["Tags"]):
        group["Tags"].append(
            {
                "Key": _MANAGED,
                "Value": "",
                "ResourceId": group["AutoScalingGroupName"],
                "ResourceType": "auto-scaling-group",
                "PropagateAtLaunch": True,
            }
        )
    group["_capacity_provider"] = name
    for each in group["Instances"]:
        if record := instances._ec2._instances.get(each["InstanceId"]):
            record["_capacity_provider"] = name


def _refusal(settings: Mapping[str, Any]) -> Any:
    group = groups.group_of(settings.get("autoScalingGroupArn", ""))
    if group is None:
        return _error("The specified Auto Scaling group ARN is not valid. Specify a valid ARN and try again.")
    if settings.get("managedTerminationProtection") == "ENABLED":
        invalid = "The managed termination protection setting for the capacity provider is invalid. To enable managed "
        invalid += "termination protection for a capacity provider, "
        if not group["NewInstancesProtectedFromScaleIn"]:
            return _error(invalid + "the Auto Scaling group must have instance protection from scale in enabled.")
        if settings.get("managedScaling", {}).get("status", "DISABLED") != "ENABLED":
            return _error(invalid + "managed scaling must be enabled.")
    return None


@mend.replaces(_ecs, "_create_capacity_provider")
def create_capacity_provider(original: Any, data: Mapping[str, Any]) -> Any:
    """A capacity provider keeps its managed draining (on by default), marks its group, and checks its protection.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCapacityProvider.html
    """
    asked = data.get("autoScalingGroupProvider", {})
    if refused := _refusal(asked):
        return refused
    answer = original(data)
    if answer[0] != OK:
        return answer
    provider = _ecs._capacity_providers[data["name"]]
    settings = provider["autoScalingGroupProvider"]
    settings["managedScaling"] = _DEFAULTS | asked.get("managedScaling", {})
    settings["managedDraining"] = asked.get("managedDraining", "ENABLED")
    _follow(provider)
    return _responses.json_response({"capacityProvider": provider})


@mend.replaces(_ecs, "_update_capacity_provider")
def update_capacity_provider(original: Any, data: Mapping[str, Any]) -> Any:
    """An update changes what it names, and leaves the rest of managed scaling.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateCapacityProvider.html
    """
    provider = _ecs._capacity_providers.get(_ecs._resolve_capacity_provider_name(data.get("name", "")))
    if provider is None:
        return original(data)
    settings, asked = provider["autoScalingGroupProvider"], data.get("autoScalingGroupProvider", {})
    scaling = settings["managedScaling"] | asked.get("managedScaling", {})
    if refused := _refusal({**settings, **asked, "managedScaling": scaling}):
        return refused
    answer = original(data)
    settings["managedScaling"] = scaling
    _follow(provider)
    return answer


def _follow(provider: Mapping[str, Any]) -> None:
    settings = provider["autoScalingGroupProvider"]
    group = groups.group_of(settings["autoScalingGroupArn"])
    if group is not None:
        group["_managed_draining"] = settings["managedDraining"] == "ENABLED"
        _mark(group, provider["name"])


@mend.replaces(_ecs, "_delete_capacity_provider")
def delete_capacity_provider(original: Any, data: Mapping[str, Any]) -> Any:
    """A capacity provider that a cluster has can't be deleted.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCapacityProvider.html
    """
    name = _ecs._resolve_capacity_provider_name(data.get("capacityProvider", ""))
    for cluster in _ecs._clusters.values():
        if name in cluster.get("capacityProviders", []):
            return _error(
                f"The capacity provider cannot be deleted because it is associated with cluster: "
                f"{cluster['clusterName']}. Remove the capacity provider from the cluster and try again."
            )
    return original(data)


@mend.replaces(_ecs, "_put_cluster_capacity_providers")
def put_cluster_capacity_providers(original: Any, data: Mapping[str, Any]) -> Any:
    """A cluster takes providers that exist, and keeps those that its services use.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutClusterCapacityProviders.html
    """
    cluster = _ecs._resolve_cluster_name(data.get("cluster", "default"))
    named = [_ecs._resolve_capacity_provider_name(each) for each in data.get("capacityProviders", [])]
    for name in named:
        if name not in _ecs._capacity_providers and not name.startswith("FARGATE"):
            message = (
                f"The specified capacity provider '{name}' is not valid. Specify a valid name or ARN and try again."
            )
            return _error(message, "InvalidParameterException")
    for key, service in _ecs._services.items():
        used = {each["capacityProvider"] for each in service.get("capacityProviderStrategy") or []}
        if key.split("/")[0] == cluster and service.get("status") != "INACTIVE" and used - set(named):
            message = "The specified capacity provider is in use and cannot be removed."
            return _error(message, "ResourceInUseException")
    return original(data)
