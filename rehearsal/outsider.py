"""What an outsider sees of an environment: asked of AWS's public interfaces alone, knowing nothing of Pulumi.

Each check gives in words what it saw, or raises Unexpected. They hold for a real account as for an emulated one.
"""

import base64
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from settings import Settings

HTTPS_PORT, SSH_PORT = 443, 22
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-"
"""TLS 1.2 and 1.3.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
"""
GONE = ("shutting-down", "terminated")

Client = Callable[[str], Any]
Json = Mapping[str, Any]


class Unexpected(Exception):
    """A check did not hold; the message says what was seen, and what should have been."""


def expect(holds: object, message: str) -> None:
    """Raise Unexpected unless something holds."""
    if not holds:
        raise Unexpected(message)


def failures(checks: Iterable[Callable[[], str]], *, say: Callable[[str], None]) -> list[str]:
    """Make every check and tell what it saw; what did not hold is returned."""
    failed = []
    for check in checks:
        try:
            say(f"  ok  {check()}")
        except (Unexpected, ClientError, BotoCoreError, LookupError) as error:
            failed.append(f"{getattr(check, '__name__', 'check')}: {type(error).__name__}: {error}")
            say(f"  NO  {failed[-1]}")
    return failed


class Outsider:
    """Looks at one environment. `client` gives the boto3 client of a service; `outputs` are those of its stack."""

    def __init__(self, client: Client, *, settings: Settings, outputs: Json) -> None:
        self._client = functools.cache(client)
        self._settings = settings
        self._outputs = outputs

    def checks(self) -> Sequence[Callable[[], str]]:
        """All checks that hold at any time while the environment is up."""
        return (
            self.name_leads_to_the_load_balancer,
            self.listens_on_443_alone,
            self.security_groups_open_nothing_else,
            self.instances_are_launched_as_they_should_be,
            self.instances_have_joined_the_cluster,
            self.targets_are_healthy,
            self.runs_what_ecr_has_under_the_tag,
            self.service_is_as_it_was_asked,
        )

    # The way in

    def name_leads_to_the_load_balancer(self) -> str:
        host = f"{self._settings.host}.{self._settings.zone}"
        route53, found = self._client("route53"), {}
        zone = route53.list_hosted_zones_by_name(DNSName=self._settings.zone, MaxItems="1")["HostedZones"][0]
        for page in route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"]):
            for record in page["ResourceRecordSets"]:
                if record["Name"].rstrip(".") == host and "AliasTarget" in record:
                    found[record["Type"]] = record["AliasTarget"]
        families = ["A", "AAAA"] if self._balancer["IpAddressType"].startswith("dualstack") else ["A"]
        expect(sorted(found) == families, f"{host} has alias records {sorted(found)}, not {families}")
        for target in found.values():
            name = target["DNSName"].lower().rstrip(".").removeprefix("dualstack.")
            expect(name == self._balancer["DNSName"].lower(), f"{host} is an alias of {name}")
            zone_id = self._balancer["CanonicalHostedZoneId"]
            expect(target["HostedZoneId"] == zone_id, f"{host} is an alias in zone {target['HostedZoneId']}")
        return f"{host}: {' and '.join(families)} are aliases of the load balancer"

    def listens_on_443_alone(self) -> str:
        listeners = self._listeners
        ports = [each["Port"] for each in listeners]
        expect(ports == [HTTPS_PORT] and listeners[0]["Protocol"] == "HTTPS", f"listens on {ports}, not on 443 alone")
        policy = listeners[0]["SslPolicy"]
        expect(policy.startswith(TLS_POLICY), f"TLS policy {policy} is not one of {TLS_POLICY}*")
        attributes = self._client("elbv2").describe_load_balancer_attributes(
            LoadBalancerArn=self._balancer["LoadBalancerArn"]
        )["Attributes"]
        values = {each["Key"]: each["Value"] for each in attributes}
        expect(values.get("routing.http.drop_invalid_header_fields.enabled") == "true", "invalid headers are let in")
        return f"one listener: HTTPS on 443, {policy}, invalid headers dropped"

    def security_groups_open_nothing_else(self) -> str:
        ec2 = self._client("ec2")
        mine = [{"Name": "vpc-id", "Values": [self._balancer["VpcId"]]}]
        groups = [each["GroupId"] for each in ec2.describe_security_groups(Filters=mine)["SecurityGroups"]]
        of_them = [{"Name": "group-id", "Values": groups}]
        pages = ec2.get_paginator("describe_security_group_rules").paginate(Filters=of_them)
        rules = [rule for page in pages for rule in page["SecurityGroupRules"] if not rule["IsEgress"]]
        expect(rules, "no rule lets anything in")
        problems = openings(rules, balancer_groups=self._balancer["SecurityGroups"])
        expect(not problems, "; ".join(problems))
        return (
            f"{len(rules)} rules in {len(groups)} security groups: the world reaches the load balancer at 443, no more"
        )

    # The instances

    def instances_are_launched_as_they_should_be(self) -> str:
        data = self._launch_template
        ami = self._wanted_ami()
        expect(data["ImageId"] == ami, f"the AMI is {data['ImageId']}, and SSM's is {ami}")
        options = data.get("MetadataOptions", {})
        expect(options.get("HttpTokens") == "required", f"IMDSv1 answers: {options}")
        expect(options.get("HttpPutResponseHopLimit") == 1, f"containers reach the instance's role: {options}")
        volumes = [each["Ebs"] for each in data["BlockDeviceMappings"]]
        expect(all(each["Encrypted"] and each["VolumeType"] == "gp3" for each in volumes), f"volumes: {volumes}")
        expect("KeyName" not in data, f"there is a key pair: {data.get('KeyName')}")
        script = base64.b64decode(data["UserData"]).decode()
        joins = f"ECS_CLUSTER={self._outputs['cluster']}"
        expect(joins in script.splitlines(), f"user data does not say {joins}: {script!r}")
        return f"launch template: {ami} as SSM says, IMDSv2 with hop limit 1, encrypted gp3, no key pair, its cluster"

    def instances_have_joined_the_cluster(self) -> str:
        ids = sorted(each["InstanceId"] for each in self._group["Instances"])
        least = self._settings.capacity.min
        expect(len(ids) >= least, f"the group has {len(ids)} instances, not {least}")
        ecs, cluster = self._client("ecs"), self._outputs["cluster"]
        arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
        joined = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
        active = sorted(
            each["ec2InstanceId"] for each in joined if each["status"] == "ACTIVE" and each["agentConnected"]
        )
        expect(active == ids, f"the group has {ids}, and the cluster {active}")
        reservations = self._client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
        instances = [each for reservation in reservations for each in reservation["Instances"]]
        states = {each["State"]["Name"] for each in instances}
        expect(states == {"running"}, f"the instances are {states}")
        expect(not any(each.get("KeyName") for each in instances), "instances have a key pair")
        types = {each["InstanceType"] for each in instances}
        expect(types == {self._settings.capacity.instance_type}, f"the instances are {types}")
        zones = sorted({each["Placement"]["AvailabilityZone"] for each in instances})
        return f"{len(ids)} x {types.pop()} in {', '.join(zones)}, in the cluster"

    # What runs

    def targets_are_healthy(self) -> str:
        action = self._listeners[0]["DefaultActions"][0]
        health = self._client("elbv2").describe_target_health(TargetGroupArn=action["TargetGroupArn"])
        # Targets of a deployment that has just ended drain for a while.
        targets = [t for t in health["TargetHealthDescriptions"] if t["TargetHealth"]["State"] != "draining"]
        states = [each["TargetHealth"]["State"] for each in targets]
        wanted = self._service["runningCount"]
        expect(states == ["healthy"] * wanted, f"targets are {states}, and {wanted} tasks run")
        instances = {each["InstanceId"] for each in self._group["Instances"]}
        others = {each["Target"]["Id"] for each in targets} - instances
        expect(not others, f"targets are no instances of the group: {others}")
        ports = ", ".join(str(each["Target"]["Port"]) for each in targets)
        return f"healthy targets: {len(states)}, at host ports {ports}"

    def runs_what_ecr_has_under_the_tag(self) -> str:
        tag, repository = self._outputs["tag"], self._outputs["repository"].partition("/")[2]
        found = self._client("ecr").describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
        digest = found["imageDetails"][0]["imageDigest"]
        image = self._container_definition["image"]
        expect(image.endswith(f"@{digest}"), f"{tag} is {digest}, and the task definition has {image}")
        running = {each.get("imageDigest") for task in self.tasks() for each in task["containers"]}
        expect(running == {digest}, f"{tag} is {digest}, and what runs is {running}")
        return f"{tag} in ECR, the task definition and every container: {short(digest)}"

    def service_is_as_it_was_asked(self) -> str:
        service, wanted = self._service, self._outputs["taskDefinition"]
        expect(service["taskDefinition"] == wanted, f"runs {service['taskDefinition']}, not {wanted}")
        states = [each["rolloutState"] for each in service["deployments"]]
        expect(states == ["COMPLETED"], f"its deployments are {states}")
        counts = service["runningCount"], service["desiredCount"]
        expect(counts[0] == counts[1] >= self._settings.service.min, f"{counts[0]} of {counts[1]} tasks run")
        breaker = service["deploymentConfiguration"]["deploymentCircuitBreaker"]
        is_on = self._settings.service.circuit_breaker
        expect(breaker["enable"] == breaker["rollback"] == is_on, f"its circuit breaker is {breaker}")
        goes_back = "goes back by itself" if is_on else "no circuit breaker"
        return f"{counts[0]} of {counts[1]} tasks run {wanted.rpartition('/')[2]}; {goes_back}"

    def tasks(self) -> list[Json]:
        """The tasks of the service that are to run."""
        ecs, cluster = self._client("ecs"), self._outputs["cluster"]
        arns = ecs.list_tasks(cluster=cluster, serviceName=self._outputs["service"])["taskArns"]
        tasks: list[Json] = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        return tasks

    def task_definition_text(self) -> str:
        """All that ECS tells of the task definition."""
        return json.dumps(self._container_definition)

    # Where things are

    @property
    def _service(self) -> Json:
        ecs = self._client("ecs")
        answer = ecs.describe_services(cluster=self._outputs["cluster"], services=[self._outputs["service"]])
        service: Json = answer["services"][0]
        return service

    @functools.cached_property
    def _balancer(self) -> Json:
        """The load balancer, by the target group of the service."""
        elbv2 = self._client("elbv2")
        target_group = self._service["loadBalancers"][0]["targetGroupArn"]
        arns = elbv2.describe_target_groups(TargetGroupArns=[target_group])["TargetGroups"][0]["LoadBalancerArns"]
        expect(len(arns) == 1, f"the service's target group has load balancers {arns}")
        balancer: Json = elbv2.describe_load_balancers(LoadBalancerArns=arns)["LoadBalancers"][0]
        return balancer

    @property
    def _listeners(self) -> Sequence[Json]:
        answer = self._client("elbv2").describe_listeners(LoadBalancerArn=self._balancer["LoadBalancerArn"])
        listeners: Sequence[Json] = answer["Listeners"]
        return listeners

    @property
    def _group(self) -> Json:
        """The Auto Scaling group of the cluster's capacity provider."""
        ecs, groups = self._client("ecs"), self._client("autoscaling")
        cluster = ecs.describe_clusters(clusters=[self._outputs["cluster"]])["clusters"][0]
        providers = ecs.describe_capacity_providers(capacityProviders=cluster["capacityProviders"])
        arn = providers["capacityProviders"][0]["autoScalingGroupProvider"]["autoScalingGroupArn"]
        name = arn.rpartition("/")[2]
        group: Json = groups.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
        return group

    @property
    def _launch_template(self) -> Json:
        group = self._group
        mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
        template = group.get("LaunchTemplate") or mixed
        versions = self._client("ec2").describe_launch_template_versions(
            LaunchTemplateId=template["LaunchTemplateId"], Versions=[template["Version"]]
        )
        data: Json = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        return data

    def _wanted_ami(self) -> str:
        """The AMI that AWS publishes for the instance type's architecture.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
        """
        capacity = self._settings.capacity
        if capacity.ami.startswith("ami-"):
            return capacity.ami
        variant = "/arm64" if capacity.instance.architecture == "arm64" else ""
        name = f"/aws/service/ecs/optimized-ami/amazon-linux-2023{variant}/{capacity.ami}/image_id"
        return str(self._client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    @property
    def _container_definition(self) -> Json:
        arn = self._outputs["taskDefinition"]
        definition = self._client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
        container: Json = definition["containerDefinitions"][0]
        return container


def openings(rules: Iterable[Json], *, balancer_groups: Sequence[str]) -> list[str]:
    """What ingress rules let in beyond HTTPS from anywhere to the load balancer, and the load balancer to the rest."""
    problems = []
    for rule in rules:
        group, source = rule["GroupId"], rule.get("ReferencedGroupInfo", {}).get("GroupId")
        ports = (rule["FromPort"], rule["ToPort"])
        what = f"{group} lets {rule.get('CidrIpv4') or rule.get('CidrIpv6') or source} in at {ports[0]}-{ports[1]}"
        is_https = rule["IpProtocol"] == "tcp" and ports == (HTTPS_PORT, HTTPS_PORT)
        if source is None and not (group in balancer_groups and is_https):
            problems.append(what)
        if source is not None and source not in balancer_groups:
            problems.append(what)
        if ports[0] <= SSH_PORT <= ports[1] or rule["IpProtocol"] == "-1":
            problems.append(f"{what}: SSH too")
    return problems


def short(digest: str) -> str:
    """The beginning of a digest, enough to tell two apart."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}"


def costing_by_the_hour(client: Client) -> list[str]:
    """Everything in the account, of any environment, that costs while it exists."""
    ec2, ecs = client("ec2"), client("ecs")
    reservations = ec2.describe_instances()["Reservations"]
    instances = [each for reservation in reservations for each in reservation["Instances"]]
    found = [each["InstanceId"] for each in instances if each["State"]["Name"] not in GONE]
    found += [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]]
    found += [each.get("AllocationId", each.get("PublicIp")) for each in ec2.describe_addresses()["Addresses"]]
    gateways = ec2.describe_nat_gateways()["NatGateways"]
    found += [each["NatGatewayId"] for each in gateways if each["State"] not in ("deleting", "deleted")]
    found += [each["VpcEndpointId"] for each in ec2.describe_vpc_endpoints()["VpcEndpoints"]]
    groups = client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    found += [each["AutoScalingGroupName"] for each in groups]
    found += [each["LoadBalancerName"] for each in client("elbv2").describe_load_balancers()["LoadBalancers"]]
    for cluster in ecs.list_clusters()["clusterArns"]:
        found += ecs.list_services(cluster=cluster)["serviceArns"] + ecs.list_tasks(cluster=cluster)["taskArns"]
    return found


def staying(client: Client) -> dict[str, list[str]]:
    """What outlives an environment on purpose, or was there before it."""
    return {
        "repository": [each["repositoryName"] for each in client("ecr").describe_repositories()["repositories"]],
        "hosted zone": [each["Name"].rstrip(".") for each in client("route53").list_hosted_zones()["HostedZones"]],
        "secrets": [each["Name"] for each in client("secretsmanager").list_secrets()["SecretList"]],
        "log groups": [each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]],
    }
