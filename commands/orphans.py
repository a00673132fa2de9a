"""Finds what has an environment's tags in AWS and isn't in its state: what an interrupted update left behind.

Only what can be there twice is looked for. What stays on purpose isn't: log groups, task definitions, the repository.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from commands.interrupted import Environment, certificates

SERVICES = ("acm", "autoscaling", "ec2", "ecs", "elbv2", "iam")

DESCRIBED_AT_ONCE = 10
"""The fewest that one call of ECS and of the load balancers' API takes."""


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A resource that the state doesn't have: its ID as the AWS provider writes it, and what deletes it."""

    id: str
    command: str


Found = Iterator[Orphan]


def orphans(env: Environment, known: Sequence[str]) -> list[Orphan]:
    """Return what is the environment's and none of the `known` IDs, in an order in which it can be deleted."""
    # Clients are made here, since boto3 makes them in one thread at a time.
    for service in SERVICES:
        env.client(service)
    with ThreadPoolExecutor(max_workers=len(LISTS)) as pool:
        found = chain.from_iterable(pool.map(lambda listed: list(listed(env)), LISTS))
    return [each for each in found if each.id not in known]


def _services(env: Environment) -> Found:
    for cluster in _own_clusters(env):
        arns = env.listed("ecs", "list_services", "serviceArns", cluster=cluster)
        for arn in arns:
            yield Orphan(id=arn, command=f"aws ecs delete-service --force --cluster {cluster} --service {arn}")


def _clusters(env: Environment) -> Found:
    for arn in _own_clusters(env):
        yield Orphan(id=arn, command=f"aws ecs delete-cluster --cluster {arn}")


def _own_clusters(env: Environment) -> Iterator[str]:
    for arns in _parts(env.listed("ecs", "list_clusters", "clusterArns")):
        for each in env.client("ecs").describe_clusters(clusters=arns, include=["TAGS"])["clusters"]:
            if env.owns(each.get("tags", [])) and each["status"] == "ACTIVE":
                yield each["clusterArn"]


def _capacity_providers(env: Environment) -> Found:
    more: dict[str, str] = {}
    while True:
        answer = env.client("ecs").describe_capacity_providers(include=["TAGS"], **more)
        for each in answer["capacityProviders"]:
            if env.owns(each.get("tags", [])) and each["status"] == "ACTIVE":
                arn = each["capacityProviderArn"]
                yield Orphan(id=arn, command=f"aws ecs delete-capacity-provider --capacity-provider {arn}")
        if not answer.get("nextToken"):
            return
        more = {"nextToken": answer["nextToken"]}


def _owned(env: Environment, service: str, operation: str, key: str) -> list[Mapping[str, Any]]:
    """Return what AWS filters by the environment's tags and shows with them: what is named here may be deleted."""
    found = env.listed(service, operation, key, Filters=env.filters())
    return [each for each in found if env.owns(each.get("Tags", []))]


def _groups(env: Environment) -> Found:
    for each in _owned(env, "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"):
        if "Status" not in each:  # one that is being deleted says so
            name = each["AutoScalingGroupName"]
            command = f"aws autoscaling delete-auto-scaling-group --force-delete --auto-scaling-group-name {name}"
            yield Orphan(id=name, command=command)


def _load_balancing(operation: str, key: str, identity: str, command: str) -> Callable[[Environment], Found]:
    def find(env: Environment) -> Found:
        arns = [each[identity] for each in env.listed("elbv2", operation, key)]
        for part in _parts(arns):
            for each in env.client("elbv2").describe_tags(ResourceArns=part)["TagDescriptions"]:
                if env.owns(each["Tags"]):
                    yield Orphan(id=each["ResourceArn"], command=f"aws elbv2 {command} {each['ResourceArn']}")

    return find


def _certificates_left(env: Environment) -> Found:
    for arn, _ in certificates(env):
        yield Orphan(id=arn, command=f"aws acm delete-certificate --certificate-arn {arn}")


def _ec2(operation: str, key: str, identity: str, command: str) -> Callable[[Environment], Found]:
    def find(env: Environment) -> Found:
        for each in _owned(env, "ec2", operation, key):
            yield Orphan(id=each[identity], command=f"aws ec2 {command} {each[identity]}")

    return find


def _rules(env: Environment) -> Found:
    """A new security group lets everything out until the AWS provider has taken that rule away."""
    groups = _owned(env, "ec2", "describe_security_groups", "SecurityGroups")
    if not groups:
        return
    filters = [{"Name": "group-id", "Values": [each["GroupId"] for each in groups]}]
    for each in env.listed("ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=filters):
        direction, rule = "egress" if each["IsEgress"] else "ingress", each["SecurityGroupRuleId"]
        command = f"aws ec2 revoke-security-group-{direction} --group-id {each['GroupId']}"
        yield Orphan(id=rule, command=f"{command} --security-group-rule-ids {rule}")


def _instance_profiles(env: Environment) -> Found:
    found = env.listed("iam", "list_instance_profiles", "InstanceProfiles", PathPrefix=_role_path(env.tags))
    for each in found:
        name = each["InstanceProfileName"]
        yield Orphan(id=name, command=f"aws iam delete-instance-profile --instance-profile-name {name}")


def _role_policies(env: Environment) -> Found:
    for role in _own_roles(env):
        for policy in env.listed("iam", "list_role_policies", "PolicyNames", RoleName=role):
            command = f"aws iam delete-role-policy --role-name {role} --policy-name {policy}"
            yield Orphan(id=f"{role}:{policy}", command=command)


def _roles(env: Environment) -> Found:
    for role in _own_roles(env):
        yield Orphan(id=role, command=f"aws iam delete-role --role-name {role}")


def _own_roles(env: Environment) -> list[str]:
    return [each["RoleName"] for each in env.listed("iam", "list_roles", "Roles", PathPrefix=_role_path(env.tags))]


def _role_path(tags: Mapping[str, str]) -> str:
    """Roles don't come with their tags in a list, but have a path of the environment's own."""
    return f"/{tags['Project']}/{tags['Environment']}/"


def _parts(arns: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(arns), DESCRIBED_AT_ONCE):
        yield arns[first : first + DESCRIBED_AT_ONCE]


LISTS: tuple[Callable[[Environment], Any], ...] = (
    _services,
    _groups,
    _capacity_providers,
    _clusters,
    _load_balancing(
        "describe_load_balancers", "LoadBalancers", "LoadBalancerArn", "delete-load-balancer --load-balancer-arn"
    ),
    _load_balancing(
        "describe_target_groups", "TargetGroups", "TargetGroupArn", "delete-target-group --target-group-arn"
    ),
    _certificates_left,
    _ec2(
        "describe_launch_templates",
        "LaunchTemplates",
        "LaunchTemplateId",
        "delete-launch-template --launch-template-id",
    ),
    _instance_profiles,
    _role_policies,
    _roles,
    _rules,
    _ec2("describe_security_groups", "SecurityGroups", "GroupId", "delete-security-group --group-id"),
    _ec2("describe_subnets", "Subnets", "SubnetId", "delete-subnet --subnet-id"),
    _ec2("describe_route_tables", "RouteTables", "RouteTableId", "delete-route-table --route-table-id"),
    _ec2(
        "describe_internet_gateways",
        "InternetGateways",
        "InternetGatewayId",
        "delete-internet-gateway --internet-gateway-id",
    ),
    _ec2("describe_vpcs", "Vpcs", "VpcId", "delete-vpc --vpc-id"),
)
"""What can be there twice, each before what it depends on."""
