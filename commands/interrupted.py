"""Finds in AWS what an interrupted update had begun to create: whether it is there, and under which ID.

Before it asks AWS for a resource, the engine notes the creation in the state, with all inputs and the name that the
resource gets. Where the engine is killed before AWS answers, that note is all there is: the resource may exist, and the
next update would create another one. By the note it can be found.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

Inputs = Mapping[str, Any]
"""A resource's inputs, under the names of the state."""


@dataclass
class Environment:
    """Where to look: an AWS account, and the tags that all resources of the environment have.

    `since` is when the environment was begun, in milliseconds since 1970: what is older was another one's.
    """

    session: Any
    tags: Mapping[str, str]
    since: int = 0
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.session.client(service)
        return self._clients[service]

    def filters(self, **more: str) -> list[dict[str, Any]]:
        """Return filters of EC2 for what has the environment's tags, and more."""
        tagged = [{"Name": f"tag:{key}", "Values": [value]} for key, value in self.tags.items()]
        return [*tagged, *({"Name": name.replace("_", "-"), "Values": [value]} for name, value in more.items())]

    def owns(self, tags: Iterable[Mapping[str, str]]) -> bool:
        """Whether tags, as AWS's services list them, are the environment's."""
        held = {(tag.get("Key") or tag.get("key")): (tag.get("Value") or tag.get("value")) for tag in tags}
        return all(held.get(key) == value for key, value in self.tags.items())

    def listed(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return what all pages of a listing have under `key`; nothing where AWS says that there is no such thing."""
        try:
            pages = self.client(service).get_paginator(operation).paginate(**arguments)
            return [each for page in pages for each in page[key]]
        except ClientError as error:
            if is_absence(error):
                return []
            raise


def is_absence(error: ClientError) -> bool:
    """Whether AWS's error says that what was asked for isn't there."""
    code = str(error.response["Error"]["Code"])
    return "NotFound" in code or code == "NoSuchEntity"


Finder = Callable[[Environment, Inputs], list[str]]


def _vpc(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("ec2", "describe_vpcs", "Vpcs", Filters=env.filters(cidr=inputs["cidrBlock"]))
    return [each["VpcId"] for each in found]


def _internet_gateway(env: Environment, _inputs: Inputs) -> list[str]:
    found = env.listed("ec2", "describe_internet_gateways", "InternetGateways", Filters=env.filters())
    return [each["InternetGatewayId"] for each in found]


def _route_table(env: Environment, inputs: Inputs) -> list[str]:
    filters = env.filters(vpc_id=inputs["vpcId"])
    return [each["RouteTableId"] for each in env.listed("ec2", "describe_route_tables", "RouteTables", Filters=filters)]


def _subnet(env: Environment, inputs: Inputs) -> list[str]:
    filters = env.filters(vpc_id=inputs["vpcId"], cidr_block=inputs["cidrBlock"])
    return [each["SubnetId"] for each in env.listed("ec2", "describe_subnets", "Subnets", Filters=filters)]


def _security_group(env: Environment, inputs: Inputs) -> list[str]:
    filters = env.filters(vpc_id=inputs["vpcId"], group_name=inputs["name"])
    found = env.listed("ec2", "describe_security_groups", "SecurityGroups", Filters=filters)
    return [each["GroupId"] for each in found]


def _route(env: Environment, inputs: Inputs) -> list[str]:
    """The ID is the provider's own: the table's, and a checksum of the destination."""
    table, destination = (
        inputs["routeTableId"],
        inputs.get("destinationCidrBlock") or inputs["destinationIpv6CidrBlock"],
    )
    found = env.listed("ec2", "describe_route_tables", "RouteTables", RouteTableIds=[table])
    routes = [route for each in found for route in each["Routes"]]
    held = {route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock") for route in routes}
    return [f"r-{table}{zlib.crc32(destination.encode())}"] if destination in held else []


def _association(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("ec2", "describe_route_tables", "RouteTables", RouteTableIds=[inputs["routeTableId"]])
    associations = [each for table in found for each in table["Associations"]]
    return [each["RouteTableAssociationId"] for each in associations if each.get("SubnetId") == inputs["subnetId"]]


def _security_group_rule(*, egress: bool) -> Finder:
    def find(env: Environment, inputs: Inputs) -> list[str]:
        wanted = (
            egress,
            inputs["ipProtocol"],
            inputs.get("fromPort", -1),
            inputs.get("toPort", -1),
            inputs.get("cidrIpv4"),
            inputs.get("cidrIpv6"),
            inputs.get("referencedSecurityGroupId"),
        )
        filters = [{"Name": "group-id", "Values": [inputs["securityGroupId"]]}]
        rules = env.listed("ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=filters)
        return [each["SecurityGroupRuleId"] for each in rules if _what_a_rule_allows(each) == wanted]

    return find


def _what_a_rule_allows(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        rule["IsEgress"],
        rule["IpProtocol"],
        rule.get("FromPort", -1),
        rule.get("ToPort", -1),
        rule.get("CidrIpv4"),
        rule.get("CidrIpv6"),
        rule.get("ReferencedGroupInfo", {}).get("GroupId"),
    )


def _load_balancer(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("elbv2", "describe_load_balancers", "LoadBalancers", Names=[inputs["name"]])
    return [each["LoadBalancerArn"] for each in found]


def _target_group(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("elbv2", "describe_target_groups", "TargetGroups", Names=[inputs["name"]])
    return [each["TargetGroupArn"] for each in found]


def _listener(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=inputs["loadBalancerArn"])
    return [each["ListenerArn"] for each in found if each["Port"] == inputs["port"]]


def _record(env: Environment, inputs: Inputs) -> list[str]:
    """A record of that name which points elsewhere is somebody else's. One that may be overwritten is made again."""
    if inputs.get("allowOverwrite"):
        return []
    zone, name, kind = inputs["zoneId"], str(inputs["name"]).lower(), inputs["type"]
    pages = env.listed(
        "route53", "list_resource_record_sets", "ResourceRecordSets",
        HostedZoneId=zone, StartRecordName=name, StartRecordType=kind, PaginationConfig={"MaxItems": 1},
    )  # fmt: skip
    wanted = {_dns_name(alias["name"]) for alias in inputs.get("aliases", [])} | set(inputs.get("records", []))
    for each in pages:
        values = {record["Value"] for record in each.get("ResourceRecords", [])}
        if "AliasTarget" in each:
            values.add(_dns_name(each["AliasTarget"]["DNSName"]))
        if (_dns_name(each["Name"]), each["Type"]) == (_dns_name(name), kind) and values == wanted:
            return [f"{zone}_{name}_{kind}"]
    return []


def _dns_name(name: str) -> str:
    """A name as it is compared: Route 53 adds a dot, and the console a prefix to a load balancer's name."""
    return name.lower().rstrip(".").removeprefix("dualstack.")


def _certificate(env: Environment, inputs: Inputs) -> list[str]:
    return [arn for arn, domain in certificates(env) if domain == inputs["domainName"]]


def certificates(env: Environment) -> list[tuple[str, str]]:
    """Return the environment's certificates: the ARN and the domain of each."""
    acm = env.client("acm")
    found = env.listed("acm", "list_certificates", "CertificateSummaryList")
    arns = [(each["CertificateArn"], each["DomainName"]) for each in found]
    return [each for each in arns if env.owns(acm.list_tags_for_certificate(CertificateArn=each[0])["Tags"])]


def _repository(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("ecr", "describe_repositories", "repositories", repositoryNames=[inputs["name"]])
    return [each["repositoryName"] for each in found]


def _role_policy(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("iam", "list_role_policies", "PolicyNames", RoleName=inputs["role"])
    return [f"{inputs['role']}:{each}" for each in found if each == inputs["name"]]


def _launch_template(env: Environment, inputs: Inputs) -> list[str]:
    filters = env.filters(launch_template_name=inputs["name"])
    found = env.listed("ec2", "describe_launch_templates", "LaunchTemplates", Filters=filters)
    return [each["LaunchTemplateId"] for each in found]


def _group(env: Environment, inputs: Inputs) -> list[str]:
    names = [inputs["name"]]
    found = env.listed("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=names)
    return [each["AutoScalingGroupName"] for each in found if "Status" not in each]


def _cluster(env: Environment, inputs: Inputs) -> list[str]:
    found = env.client("ecs").describe_clusters(clusters=[inputs["name"]])["clusters"]
    return [each["clusterArn"] for each in found if each["status"] == "ACTIVE"]


def _capacity_provider(env: Environment, inputs: Inputs) -> list[str]:
    found = env.client("ecs").describe_capacity_providers(capacityProviders=[inputs["name"]])["capacityProviders"]
    return [each["capacityProviderArn"] for each in found if each["status"] == "ACTIVE"]


def _service(env: Environment, inputs: Inputs) -> list[str]:
    found = env.client("ecs").describe_services(cluster=inputs["cluster"], services=[inputs["name"]])["services"]
    return [each["serviceArn"] for each in found if each["status"] == "ACTIVE"]


def _scaling_policy(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed(
        "application-autoscaling", "describe_scaling_policies", "ScalingPolicies",
        ServiceNamespace=inputs["serviceNamespace"], ResourceId=inputs["resourceId"],
    )  # fmt: skip
    return [each["PolicyName"] for each in found if each["PolicyName"] == inputs["name"]]


def _log_group(env: Environment, inputs: Inputs) -> list[str]:
    """Logs outlive their environment, so one that is older was an earlier environment's."""
    found = env.listed("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=inputs["namePrefix"])
    return [each["logGroupName"] for each in found if each["creationTime"] >= env.since]


def _identity_provider(env: Environment, inputs: Inputs) -> list[str]:
    """There is one for each URL in an account, and its ARN ends with that; it may be another environment's."""
    iam, host = env.client("iam"), str(inputs["url"]).removeprefix("https://")
    arns = [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    found = [arn for arn in arns if arn.partition("/")[2] == host]
    return [
        arn for arn in found if env.owns(iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"])
    ]


def _below_its_path(operation: str, key: str, name: str) -> Finder:
    """A finder for what of IAM has a path, by the list of what is there.

    To who may read below that path alone, AWS says of a name that nothing has that it is forbidden.
    """

    def find(env: Environment, inputs: Inputs) -> list[str]:
        found = env.listed("iam", operation, key, PathPrefix=inputs.get("path", "/"))
        return [each[name] for each in found if each[name] == inputs["name"]]

    return find


def _policy(env: Environment, inputs: Inputs) -> list[str]:
    found = env.listed("iam", "list_policies", "Policies", Scope="Local", PathPrefix=inputs.get("path", "/"))
    return [each["Arn"] for each in found if each["PolicyName"] == inputs["name"]]


FINDERS: dict[str, Finder] = {
    "aws:acm/certificate:Certificate": _certificate,
    "aws:appautoscaling/policy:Policy": _scaling_policy,
    "aws:autoscaling/group:Group": _group,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:ec2/internetGateway:InternetGateway": _internet_gateway,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:ec2/route:Route": _route,
    "aws:ec2/routeTable:RouteTable": _route_table,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _association,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:ec2/subnet:Subnet": _subnet,
    "aws:ec2/vpc:Vpc": _vpc,
    "aws:ecr/repository:Repository": _repository,
    "aws:ecs/capacityProvider:CapacityProvider": _capacity_provider,
    "aws:ecs/cluster:Cluster": _cluster,
    "aws:ecs/service:Service": _service,
    "aws:iam/instanceProfile:InstanceProfile": _below_its_path(
        "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _identity_provider,
    "aws:iam/policy:Policy": _policy,
    "aws:iam/role:Role": _below_its_path("list_roles", "Roles", "RoleName"),
    "aws:iam/rolePolicy:RolePolicy": _role_policy,
    "aws:lb/listener:Listener": _listener,
    "aws:lb/loadBalancer:LoadBalancer": _load_balancer,
    "aws:lb/targetGroup:TargetGroup": _target_group,
    "aws:route53/record:Record": _record,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _security_group_rule(egress=True),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _security_group_rule(egress=False),
}
"""For each type, what finds it; the IDs are those that the AWS provider keeps in the state."""

MADE_AGAIN = {
    "aws:acm/certificateValidation:CertificateValidation": "is a wait, and nothing in AWS",
    "aws:appautoscaling/target:Target": "is one for each service: registering it again gives the same",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "is one for each VPC, which AWS makes",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "is one for each repository: putting it again gives the same",
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": "is a setting of the cluster",
    "aws:ecs/taskDefinition:TaskDefinition": "gets another revision, and earlier ones stay in any case",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "is one for each role and policy: again is the same",
    "docker:index/image:Image": "is built and pushed again under the same tag",
}
"""Types of which nothing is doubled where they are created again, and why."""
