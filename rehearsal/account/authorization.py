"""What IAM is asked about a request: on which resources its action is, and with which condition keys.

MiniStack asks about one resource, often without its path, its tags or what the request says of it. Here that is asked
which the Service Authorization Reference has for the actions that the project uses; others are asked as MiniStack does.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html

With REHEARSAL_CALLS in the environment, each question and its answer is written into the file that it names.
"""
# ruff: noqa: PLR0917 - a mend takes the parameters of what it replaces

import contextvars
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.account import groups, scaling
from rehearsal.account.mending import Mends, ministack
from rehearsal.account.query import nested

_acm = ministack("services.acm")
_ec2 = ministack("services.ec2")
_ecs = ministack("services.ecs")
_evaluator = ministack("core.iam_evaluator")
_iam = ministack("services.iam")
_iam_actions = ministack("core.iam_actions")
_responses = ministack("core.responses")
mend = Mends()

CALLS = "REHEARSAL_CALLS"
"""The environment variable that names the file for the record of calls."""

Context = Mapping[str, Any]

_EC2_IDS = {
    "VpcId": "vpc",
    "SubnetId": "subnet",
    "RouteTableId": "route-table",
    "InternetGatewayId": "internet-gateway",
    "GroupId": "security-group",
    "LaunchTemplateId": "launch-template",
}
_EC2_KINDS = {
    "vpc": "vpc",
    "subnet": "subnet",
    "rtb": "route-table",
    "igw": "internet-gateway",
    "sg": "security-group",
    "lt": "launch-template",
    "i": "instance",
    "vol": "volume",
}
_EC2_MAKES = {
    "CreateVpc": "vpc",
    "CreateSubnet": "subnet",
    "CreateRouteTable": "route-table",
    "CreateInternetGateway": "internet-gateway",
    "CreateSecurityGroup": "security-group",
    "CreateLaunchTemplate": "launch-template",
    "AuthorizeSecurityGroupIngress": "security-group-rule",
    "AuthorizeSecurityGroupEgress": "security-group-rule",
}


@dataclass(frozen=True)
class Question:
    """Whether a caller may do `action` on `resource`, with condition keys beside those that every request has."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A request as it arrived: its action, its parameters as nested values, and where it is for."""

    action: str
    parameters: Mapping[str, Any]
    path: str
    region: str
    account: str

    @property
    def name(self) -> str:
        return self.action.partition(":")[2]

    def arn(self, service: str, resource: str, *, region: bool = True) -> str:
        return f"arn:aws:{service}:{self.region if region else ''}:{self.account}:{resource}"

    def ask(self, resource: str, context: Context | None = None, *, action: str = "") -> Question:
        return Question(action or self.action, resource, context or {})


def request_tags(tags: Any) -> dict[str, str]:
    """The condition keys for the tags that a request gives, however the service spells them."""
    if isinstance(tags, Mapping):
        tags = [{"Key": key, "Value": value} for key, value in tags.items()]
    plain = [{key.lower(): value for key, value in each.items()} for each in tags or []]
    return {f"aws:RequestTag/{each['key']}": str(each.get("value", "")) for each in plain}


def resource_tags(tags: Any) -> dict[str, str]:
    """The condition keys for the tags that a resource has."""
    return {key.replace("aws:RequestTag/", "aws:ResourceTag/"): value for key, value in request_tags(tags).items()}


def ec2(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html"""
    given, name = request.parameters, request.name
    if name.startswith("Describe") and name != "DescribeVpcAttribute":
        yield request.ask("*")
        return
    specified = {each["ResourceType"]: request_tags(each.get("Tag")) for each in given.get("TagSpecification", [])}
    if made := _EC2_MAKES.get(name):
        yield request.ask(request.arn("ec2", f"{made}/*"), specified.get(made))
    for kind, tags in specified.items():
        created = {**tags, "ec2:CreateAction": name}
        yield request.ask(request.arn("ec2", f"{kind}/*"), created, action="ec2:CreateTags")
    tagging = request_tags(given.get("Tag")) if name in ("CreateTags", "DeleteTags") else {}
    for identity in [*(given[key] for key in _EC2_IDS if key in given), *given.get("ResourceId", [])]:
        yield request.ask(_ec2_arn(request, identity), {**_ec2_tags(identity), **tagging})
    if association := given.get("AssociationId"):
        for table in _ec2._route_tables.values():
            for each in table.get("Associations", []):
                if each.get("RouteTableAssociationId") == association:
                    for identity in (table["RouteTableId"], each.get("SubnetId")):
                        yield request.ask(_ec2_arn(request, identity), _ec2_tags(identity))


def _ec2_arn(request: Request, identity: str) -> str:
    kind = _EC2_KINDS.get(identity.partition("-")[0], identity.partition("-")[0])
    return request.arn("ec2", f"{kind}/{identity}")


def _ec2_tags(identity: str) -> dict[str, str]:
    return resource_tags(_ec2._tags.get(identity))


def autoscaling(request: Request) -> Iterator[Question]:
    """Who names a launch template for a group must be allowed to run its instances, and to pass them their role.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    """
    given, name = request.parameters, request.name
    if name.startswith("Describe"):
        yield request.ask("*")
        return
    mixed = (given.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    specified = given.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification") or {}
    context = {}
    if specified:
        by_number = str(specified.get("Version", "$Default")).isdigit()
        context["autoscaling:LaunchTemplateVersionSpecified"] = str(by_number).lower()
    if configuration := given.get("LaunchConfigurationName"):
        context["autoscaling:LaunchConfigurationName"] = configuration
    tagged = [each.get("ResourceId") for each in given.get("Tags", []) if isinstance(each, Mapping)]
    for group in {given.get("AutoScalingGroupName"), *tagged} - {None}:
        yield request.ask(request.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{group}"), context)
    if template := specified.get("LaunchTemplateId"):
        held = groups.group_of(given.get("AutoScalingGroupName", "")) or {}
        subnets = given.get("VPCZoneIdentifier") or held.get("VPCZoneIdentifier") or ""
        yield from _runs_instances(request, template, [each for each in subnets.split(",") if each])


def _runs_instances(request: Request, identity: str, subnets: Sequence[str]) -> Iterator[Question]:
    template = _ec2._launch_templates.get(identity)
    if template is None:
        return
    data = template["Versions"][-1]["LaunchTemplateData"]
    arn = _ec2_arn(request, identity)
    used = {"ec2:LaunchTemplate": arn}
    run = "ec2:RunInstances"
    yield request.ask(arn, {**used, **_ec2_tags(identity)}, action=run)
    specified = {each["ResourceType"]: request_tags(each.get("Tags")) for each in data.get("TagSpecifications", [])}
    for kind in ("instance", "network-interface", "volume"):
        yield request.ask(request.arn("ec2", f"{kind}/*"), {**used, **specified.get(kind, {})}, action=run)
    interfaces = data.get("NetworkInterfaces") or []
    named = [*(data.get("SecurityGroupIds") or []), *(group for each in interfaces for group in each.get("Groups", []))]
    for held, known in [(each, _ec2._security_groups) for each in named] + [(each, _ec2._subnets) for each in subnets]:
        network = (known.get(held) or {}).get("VpcId", "")
        within = {"ec2:Vpc": request.arn("ec2", f"vpc/{network}")}
        yield request.ask(_ec2_arn(request, held), {**used, **within, **_ec2_tags(held)}, action=run)
    yield request.ask(f"arn:aws:ec2:{request.region}::image/{data.get('ImageId')}", used, action=run)
    for kind, tags in specified.items():
        created = {**tags, "ec2:CreateAction": "RunInstances"}
        yield request.ask(request.arn("ec2", f"{kind}/*"), created, action="ec2:CreateTags")
    profile = (data.get("IamInstanceProfile") or {}).get("Arn", "").rpartition("/")[2]
    for role in (_iam._instance_profiles.get(profile) or {}).get("Roles", []):
        yield _passed(request, _role_arn(request, role if isinstance(role, str) else role["RoleName"]), "ec2")


def _passed(request: Request, role_arn: str, service: str) -> Question:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    return request.ask(role_arn, {"iam:PassedToService": f"{service}.amazonaws.com"}, action="iam:PassRole")


def iam(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html"""
    given, name = request.parameters, request.name
    role, profile = given.get("RoleName", ""), given.get("InstanceProfileName", "")
    tags = request_tags(given.get("Tags"))
    if name == "CreateServiceLinkedRole":
        service = given.get("AWSServiceName", "")
        arn = request.arn("iam", f"role/aws-service-role/{service}/", region=False)
        yield request.ask(arn, {"iam:AWSServiceName": service})
    elif profile:
        held = _iam._instance_profiles.get(profile) or {}
        made = request.arn("iam", f"instance-profile{given.get('Path', '/')}{profile}", region=False)
        yield request.ask(held.get("Arn") or made, tags)
        if name == "AddRoleToInstanceProfile":
            yield _passed(request, _role_arn(request, role), "ec2")
    elif role:
        boundary = given.get("PermissionsBoundary") or (_iam._roles.get(role) or {}).get("PermissionsBoundary")
        arn = _role_arn(request, role, path=given.get("Path", "/"))
        yield request.ask(arn, {**tags, **({"iam:PermissionsBoundary": boundary} if boundary else {}),
                                **({"iam:PolicyARN": given["PolicyArn"]} if "PolicyArn" in given else {})})  # fmt: skip
    elif held_arn := given.get("PolicyArn") or given.get("OpenIDConnectProviderArn"):
        yield request.ask(held_arn, tags)
    elif policy := given.get("PolicyName"):
        yield request.ask(request.arn("iam", f"policy{given.get('Path', '/')}{policy}", region=False), tags)


def _role_arn(request: Request, name: str, *, path: str = "/") -> str:
    held = _iam._roles.get(name) or {}
    return str(held.get("Arn") or request.arn("iam", f"role{path}{name}", region=False))


def ecs(request: Request) -> Iterator[Question]:  # noqa: PLR0912 - a branch for each way in which ECS names things
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html"""
    given, name = request.parameters, request.name
    cluster = _ecs._resolve_cluster_name(given.get("cluster") or given.get("clusterName") or "default")
    tags = request_tags(given.get("tags"))
    context: dict[str, Any] = {"ecs:cluster": request.arn("ecs", f"cluster/{cluster}"), **tags}
    used = given.get("capacityProviders") or given.get("capacityProviderStrategy") or []
    if name in ("CreateCluster", "CreateService", "PutClusterCapacityProviders", "RunTask", "UpdateService") and used:
        providers = [each["capacityProvider"] if isinstance(each, Mapping) else each for each in used]
        context["ecs:capacity-provider"] = [request.arn("ecs", f"capacity-provider/{each}") for each in providers]
    if subnets := ((given.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}).get("subnets"):
        context["ecs:subnet"] = subnets
    definition = given.get("taskDefinition", "")
    services = [given[key] for key in ("service", "serviceName") if key in given] + given.get("services", [])

    def arns(kind: str, names: list[str], *, within: str = "") -> Iterator[Question]:
        for each in names:
            arn = each if each.startswith("arn:") else request.arn("ecs", f"{kind}/{within}{each}")
            yield request.ask(arn, context)

    if name in ("DescribeTaskDefinition", "DeregisterTaskDefinition", "ListClusters", "ListTaskDefinitions"):
        yield request.ask("*")
    elif name == "RegisterTaskDefinition":
        yield request.ask(request.arn("ecs", f"task-definition/{given.get('family')}:*"), tags)
        for role in {given.get("taskRoleArn"), given.get("executionRoleArn")} - {None, ""}:
            yield _passed(request, str(role), "ecs-tasks")
    elif name in ("TagResource", "UntagResource", "ListTagsForResource"):
        yield request.ask(given.get("resourceArn", "*"), tags)
    elif name == "RunTask":
        family, _, revision = definition.rpartition("/")[2].partition(":")
        yield request.ask(request.arn("ecs", f"task-definition/{family}:{revision or '*'}"), context)
    elif name in ("DescribeTasks", "StopTask"):
        yield from arns("task", given.get("tasks") or [given.get("task", "")], within=f"{cluster}/")
    elif name == "ListTasks":
        yield request.ask(request.arn("ecs", f"container-instance/{cluster}/*"), context)
    elif name == "ListServices":
        yield request.ask("*", context)
    elif "CapacityProvider" in name and name != "PutClusterCapacityProviders":
        held = given.get("capacityProviders") or [given.get("capacityProvider") or given.get("name", "")]
        yield from arns("capacity-provider", held)
    elif arn := given.get("serviceDeploymentArn"):
        yield request.ask(arn, context)
    elif listed := given.get("serviceDeploymentArns") or given.get("serviceRevisionArns"):
        yield from arns("", listed)
    elif services:
        if definition:
            context["ecs:task-definition"] = _definition_arn(request, definition)
        yield from arns("service", services, within=f"{cluster}/")
    else:
        yield from arns("cluster", given.get("clusters") or [cluster])


def _definition_arn(request: Request, definition: str) -> str:
    return definition if definition.startswith("arn:") else request.arn("ecs", f"task-definition/{definition}")


def elasticloadbalancing(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html"""
    given, name = request.parameters, request.name
    tags = request_tags(given.get("Tags"))
    created = {"CreateLoadBalancer": "loadbalancer/app", "CreateTargetGroup": "targetgroup"}
    arns = [given[key] for key in ("ListenerArn", "LoadBalancerArn", "TargetGroupArn") if key in given][:1]
    if name.startswith("Describe"):
        arns = ["*"]
    elif name in created:
        arns = [request.arn("elasticloadbalancing", f"{created[name]}/{given.get('Name')}/*")]
    elif "ResourceArns" in given:
        arns = given["ResourceArns"]
    for arn in arns:
        yield request.ask(arn, tags)
    if tags and name.startswith("Create"):
        made = arns[0].replace(":loadbalancer/", ":listener/") + "/*" if name == "CreateListener" else arns[0]
        named = {**tags, "elasticloadbalancing:CreateAction": name}
        yield request.ask(made, named, action="elasticloadbalancing:AddTags")


def application_autoscaling(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html"""
    given, name = request.parameters, request.name
    if name.startswith("Describe"):
        yield request.ask("*")
        return
    held = [
        each["ScalableTargetARN"]
        for each in scaling._targets.values()
        if given.get("ResourceARN") == each["ScalableTargetARN"]
        or all(given.get(key) == each[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension"))
    ]
    tags = request_tags(given.get("Tags"))
    for arn in held or [request.arn("application-autoscaling", "scalable-target/*")]:
        context = {**resource_tags(scaling._tags.get(arn)), **tags}
        kind = given.get("ServiceNamespace")
        yield request.ask(arn, context | ({"application-autoscaling:service-namespace": kind} if kind else {}))
        if tags and name == "RegisterScalableTarget":
            yield request.ask(arn, context, action="application-autoscaling:TagResource")


def ecr(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html"""
    given = request.parameters
    if arn := given.get("resourceArn"):
        yield request.ask(arn, request_tags(given.get("tags")))
        return
    names = given.get("repositoryNames") or [given[key] for key in ("repositoryName",) if key in given]
    anything = "*" if request.name == "GetAuthorizationToken" else request.arn("ecr", "repository/*")
    for arn in [request.arn("ecr", f"repository/{each}") for each in names] or [anything]:
        yield request.ask(arn, request_tags(given.get("tags")))


def acm(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscertificatemanager.html"""
    given = request.parameters
    tags = request_tags(given.get("Tags"))
    if arn := given.get("CertificateArn"):
        yield request.ask(arn, {**resource_tags((_acm._certificates.get(arn) or {}).get("Tags")), **tags})
    elif request.name == "RequestCertificate":
        domains = sorted({given.get("DomainName", ""), *(given.get("SubjectAlternativeNames") or [])})
        yield request.ask("*", {"acm:DomainNames": domains, **tags})


def logs(request: Request) -> Iterator[Question]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html"""
    given = request.parameters
    tags = request_tags(given.get("tags"))
    if arn := given.get("resourceArn"):
        yield request.ask(arn, tags)
    elif group := given.get("logGroupName"):
        stream = f":log-stream:{given['logStreamName']}" if "logStreamName" in given else ""
        yield request.ask(request.arn("logs", f"log-group:{group}{stream}"), tags)


def ssm(request: Request) -> Iterator[Question]:
    """AWS's public parameters are no account's.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters.html
    """
    given = request.parameters
    for name in [given[key] for key in ("Name",) if key in given] + given.get("Names", []):
        if name.startswith("arn:"):
            yield request.ask(name)
        elif name.startswith("/aws/service/"):
            yield request.ask(f"arn:aws:ssm:{request.region}::parameter{name}")
        else:
            yield request.ask(request.arn("ssm", f"parameter/{name.lstrip('/')}"))


def route53(request: Request, body: str) -> Iterator[Question]:
    """https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-rrset-conditions.html"""
    if match := re.search(r"/change/([^/]+)$", request.path):
        yield request.ask(f"arn:aws:route53:::change/{match[1]}")
    elif match := re.search(r"/hostedzone/([^/]+)", request.path):
        names, types, actions = (
            sorted(set(re.findall(rf"<{tag}>([^<]*)</{tag}>", body))) for tag in ("Name", "Type", "Action")
        )
        changes = {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [n.rstrip(".").lower() for n in names],
            "route53:ChangeResourceRecordSetsRecordTypes": types,
            "route53:ChangeResourceRecordSetsActions": actions,
        }
        context = changes if request.name == "ChangeResourceRecordSets" else {}
        yield request.ask(f"arn:aws:route53:::hostedzone/{match[1]}", context)


SERVICES: Mapping[str, Callable[[Request], Iterator[Question]]] = {
    "acm": acm,
    "application-autoscaling": application_autoscaling,
    "autoscaling": autoscaling,
    "ec2": ec2,
    "ecr": ecr,
    "ecs": ecs,
    "elasticloadbalancing": elasticloadbalancing,
    "iam": iam,
    "logs": logs,
    "ssm": ssm,
}

_questions: contextvars.ContextVar[tuple[Question, ...]] = contextvars.ContextVar("questions", default=())


@mend.afterwards
def name_application_autoscaling() -> None:
    """IAM decides about Application Auto Scaling too, which MiniStack lacks."""
    _iam_actions.SERVICE_TO_IAM_NAMESPACE["application-autoscaling"] = "application-autoscaling"


@mend.replaces(_iam_actions, "extract_resource_arn")
def remember_questions(
    original: Any,
    service: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Any,
    region: str,
    account_id: str,
) -> Any:
    """Which resources a request is on; `enforce`, which comes next, asks about all of them.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    action = _iam_actions.extract_iam_action(service, method, path, headers, body, query_params)
    text = body.decode("utf-8", "replace")
    parameters = json.loads(text) if text.startswith("{") else nested(query_params)
    request = Request(action, parameters, path, region, account_id)
    asked = SERVICES.get(service)
    found = tuple(route53(request, text) if service == "route53" else asked(request) if asked else ())
    _questions.set(found)
    return found[0].resource if found else original(
        service, method, path, headers, body, query_params, region, account_id
    )  # fmt: skip


@mend.replaces(_evaluator, "enforce")
def ask_all(
    original: Any,
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: Context | None = None,
) -> Any:
    """A request is allowed where IAM allows each of its questions.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    questions, denied = _questions.get() or (Question(iam_action, resource_arn, service_context or {}),), None
    _questions.set(())
    for each in questions:
        denied = original(access_key_id, each.action, service, region, each.resource, dict(each.context))
        _record(access_key_id, each, allowed=denied is None)
        if denied:
            break
    return denied


def _record(access_key_id: str, question: Question, *, allowed: bool) -> None:
    if not (file := os.environ.get(CALLS)):
        return
    principal = _evaluator.resolve_principal(access_key_id, _responses.get_account_id())
    line = {
        "who": getattr(principal, "arn", ""),
        "action": question.action,
        "resource": question.resource,
        "context": dict(question.context),
        "allowed": allowed,
    }
    with Path(file).open("a", encoding="utf-8") as record:
        record.write(json.dumps(line) + "\n")
