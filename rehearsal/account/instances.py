"""Instances of Auto Scaling groups: instances of EC2, and container instances of their user data's cluster.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bootstrap_container_instance.html
"""
# ruff: noqa: PLR0917 - a mend takes the parameters of what it replaces

import base64
import binascii
import ipaddress
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.account.hardware import Hardware, hardware
from rehearsal.account.mending import OK, Mends, ministack
from rehearsal.account.needs import need, used_ports
from rehearsal.account.query import Parameters, nested, xml

_ec2 = ministack("services.ec2")
_ecs = ministack("services.ecs")
_ssm = ministack("services.ssm")
_responses = ministack("core.responses")
mend = Mends()

# SSH, Docker's and the agent's own.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
RESERVED_PORTS = (22, 2375, 2376, 51678, 51679)
VCPU_QUOTA = "ACCOUNT_VCPU_QUOTA"
"""The environment variable with how many vCPUs may run in this account; not set, as many as are asked for."""
# How long an instance takes to boot and its agent to join the cluster: minutes on AWS, seconds here.
JOINS_AFTER = 1.0
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html (dockerSecurityOptions)
SECURITY_OPTIONS = "com.amazonaws.ecs.capability.selinux"
_ENDED = ("STOPPED", "DELETED")


@dataclass(frozen=True, kw_only=True)
class ContainerInstance:
    """An instance in a cluster: its identity, zone, state (`ACTIVE`, `DRAINING`), registered CPU units and MiB.

    `joined_at` is in seconds since 1970; `security_options`: its agent takes a container's dockerSecurityOptions.
    """

    arn: str
    instance_id: str
    zone: str
    status: str
    cpu: int
    memory: int
    joined_at: float
    security_options: bool = False


def agent_settings(user_data: str) -> dict[str, str]:
    """The `ECS_...` settings of the agent that user data (base64) writes into /etc/ecs/ecs.config.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
    """
    try:
        script = base64.b64decode(user_data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return {}
    return dict(re.findall(r"\b(ECS_[A-Z_]+)=[\"']?([^\s\"']+)", script))


def task_definition(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task definition of a task; empty where it is gone."""
    found: dict[str, Any] = _ecs._task_defs.get(_ecs._resolve_td_key(task.get("taskDefinitionArn", ""))) or {}
    return found


def tasks_on(container_instance_arn: str) -> list[dict[str, Any]]:
    """The tasks that hold something of a container instance: all that haven't stopped."""
    return [
        task
        for task in _ecs._tasks.values()
        if task.get("containerInstanceArn") == container_instance_arn and task.get("lastStatus") not in _ENDED
    ]


def container_instances(cluster: str) -> list[ContainerInstance]:
    """The container instances of a cluster, by its name."""
    return [
        found
        for record in _ec2._instances.values()
        if record.get("_cluster") == cluster and (found := _container_instance(record)) is not None
    ]


def _container_instance(record: Mapping[str, Any]) -> ContainerInstance | None:
    if record["State"]["Name"] != "running" or time.time() < record["_joins_at"]:
        return None
    kind: Hardware = hardware(record["InstanceType"])
    settings = agent_settings(record["UserData"])
    return ContainerInstance(
        arn=record["_container_instance_arn"],
        instance_id=record["InstanceId"],
        zone=record["Placement"]["AvailabilityZone"],
        status=record["_status"],
        cpu=kind.registered_cpu,
        memory=kind.registered_memory - int(settings.get("ECS_RESERVED_MEMORY", "0")),
        joined_at=record["_joins_at"],
        security_options=settings.get("ECS_SELINUX_CAPABLE") == "true",
    )


def record_of(reference: str) -> dict[str, Any] | None:
    """The EC2 instance behind a container instance, by its ARN or the ARN's last part."""
    for record in _ec2._instances.values():
        arn = record.get("_container_instance_arn", "")
        if arn and reference.rsplit("/", 1)[-1] == arn.rsplit("/", 1)[-1] and _container_instance(record):
            found: dict[str, Any] = record
            return found
    return None


def _check_quota(vcpus: int) -> None:
    """Refuse what goes beyond the account's quota of vCPUs, where it was started with one.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html#ec2-on-demand-instances-limits

    Raises:
        ValueError: EC2's message.
    """
    limit = int(os.environ.get(VCPU_QUOTA) or 0)
    running = [each for each in _ec2._instances.values() if each["State"]["Name"] in ("pending", "running")]
    if limit and vcpus + sum(hardware(each["InstanceType"]).vcpus for each in running) > limit:
        raise ValueError(
            f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance "
            "bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2 "
            "instance failed."
        )


def launch(template: Mapping[str, Any], subnet_id: str, tags: Mapping[str, str], instance_type: str = "") -> str:
    """Launch one instance from launch template data, in a subnet, and have it join its cluster.

    Args:
        template: LaunchTemplateData as EC2 describes it.
        subnet_id: where; decides the zone.
        tags: beyond those that the template gives instances.
        instance_type: instead of the template's, where a mixed instances policy says so.

    Returns:
        The instance's ID.

    Raises:
        ValueError: EC2 refuses to launch it; its message.
    """
    interface = (template.get("NetworkInterfaces") or [{}])[0]
    profile = template.get("IamInstanceProfile") or {}
    parameters = {
        "ImageId": _image(template.get("ImageId", "")),
        "InstanceType": instance_type or template.get("InstanceType", ""),
        "KeyName": template.get("KeyName", ""),
        "UserData": template.get("UserData", ""),
        "SubnetId": subnet_id,
        **{f"IamInstanceProfile.{key}": value for key, value in profile.items()},
    }
    groups = template.get("SecurityGroupIds") or interface.get("Groups") or []
    parameters |= {f"SecurityGroupId.{number}": group for number, group in enumerate(groups, 1)}
    of_template = [each for each in template.get("TagSpecifications", []) if each["ResourceType"] == "instance"]
    all_tags = {tag["Key"]: tag["Value"] for each in of_template for tag in each["Tags"]} | dict(tags)
    parameters["TagSpecification.1.ResourceType"] = "instance"
    for number, (key, value) in enumerate(all_tags.items(), 1):
        parameters |= {f"TagSpecification.1.Tag.{number}.Key": key, f"TagSpecification.1.Tag.{number}.Value": value}
    kind = hardware(parameters["InstanceType"])
    _check_quota(kind.vcpus)
    known = set(_ec2._instances)
    status, _, body = _ec2._run_instances({"MinCount": "1", "MaxCount": "1", **parameters})
    if status != OK:
        raise ValueError(re.sub(r".*<Message>(.*)</Message>.*", r"\1", bytes(body).decode(), flags=re.DOTALL))
    record = _ec2._instances[next(iter(set(_ec2._instances) - known))]
    record["Architecture"] = kind.architecture
    record["MetadataOptions"] = template.get("MetadataOptions") or {}
    record["_market"] = (template.get("InstanceMarketOptions") or {}).get("MarketType")
    if not interface.get("AssociatePublicIpAddress", _maps_public_address(subnet_id)):
        record["PublicIpAddress"] = record["PublicDnsName"] = ""
    _set_volumes(record, template)
    _join(record)
    return str(record["InstanceId"])


def _image(image_id: str) -> str:
    """An AMI's ID; `resolve:ssm:NAME` names the parameter that has it.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html
    """
    name = image_id.removeprefix("resolve:ssm:")
    return image_id if name == image_id else str(_ssm.resolve_parameter_value(name) or image_id)


def _maps_public_address(subnet_id: str) -> bool:
    return bool((_ec2._subnets.get(subnet_id) or {}).get("MapPublicIpOnLaunch"))


def _set_volumes(record: Mapping[str, Any], template: Mapping[str, Any]) -> None:
    """The root volume is as the template's block device mapping says."""
    asked = {each["DeviceName"]: each.get("Ebs") or {} for each in template.get("BlockDeviceMappings", [])}
    for mapping in record["BlockDeviceMappings"]:
        volume = _ec2._volumes[mapping["Ebs"]["VolumeId"]]
        ebs = asked.get(mapping["DeviceName"], {})
        volume["AvailabilityZone"] = record["Placement"]["AvailabilityZone"]
        volume |= {key: ebs[name] for name, key in _VOLUME_MEMBERS.items() if name in ebs}


_VOLUME_MEMBERS = {
    "VolumeSize": "Size",
    "VolumeType": "VolumeType",
    "Encrypted": "Encrypted",
    "Iops": "Iops",
    "Throughput": "Throughput",
}


def _join(record: dict[str, Any]) -> None:
    settings = agent_settings(record["UserData"])
    cluster = settings.get("ECS_CLUSTER", "default")
    if cluster not in _ecs._clusters:
        return
    region, account = _responses.get_region(), _responses.get_account_id()
    identity = _responses.new_uuid().replace("-", "")
    record["_cluster"], record["_status"] = cluster, "ACTIVE"
    record["_container_instance_arn"] = f"arn:aws:ecs:{region}:{account}:container-instance/{cluster}/{identity}"
    record["_joins_at"] = time.time() + JOINS_AFTER


def terminate(instance_id: str) -> None:
    """Terminate an instance, if it hasn't been."""
    record = _ec2._instances.get(instance_id)
    if record is not None and record["State"]["Name"] != "terminated":
        _ec2._terminate_instances({"InstanceId.1": instance_id})


@mend.replaces(_ec2, "_terminate_instances")
def terminate_with_tasks(original: Any, p: Parameters) -> Any:
    """A terminated instance's volumes go with it, and its tasks stop since their host is gone.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
    """
    answer = original(p)
    for instance_id in _ec2._parse_member_list(p, "InstanceId") if answer[0] == OK else []:
        record = _ec2._instances[instance_id]
        for mapping in record["BlockDeviceMappings"]:
            _ec2._volumes.pop(mapping["Ebs"]["VolumeId"], None)
        reason = f"Host EC2 (instance {instance_id}) terminated."
        for task in tasks_on(record["_container_instance_arn"]) if record.get("_container_instance_arn") else []:
            _ecs._ACTION_MAP["StopTask"]({"cluster": record["_cluster"], "task": task["taskArn"], "reason": reason})
    return answer


def drain(instance_id: str) -> bool:
    """Give no more tasks to an instance. True where none of a service runs on it any more.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-draining.html
    """
    record = _ec2._instances.get(instance_id)
    if record is None or not record.get("_cluster"):
        return True
    _set_status(record, "DRAINING")
    return not tasks_on(record["_container_instance_arn"])


def _set_status(record: dict[str, Any], status: str) -> None:
    """To the scheduler, a service's task on a draining instance is of no deployment any more, so one replaces it."""
    record["_status"] = status
    for task in tasks_on(record["_container_instance_arn"]):
        if task["group"].startswith("service:"):
            task["_deployment_id"] = task["startedBy"] if status == "ACTIVE" else "draining"


@mend.replaces(_ec2, "_launch_instances_internal")
def place_in_subnet(
    original: Any,
    image_id: str,
    instance_type: str,
    subnet_id: str,
    count: int,
    key_name: str = "",
    user_data: str = "",
    sg_ids: Any = None,
    requested_private_ip: Any = None,
    iam_profile: Any = None,
) -> Any:
    """An instance is in its subnet's zone, with an address of its subnet.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
    """
    created = original(
        image_id, instance_type, subnet_id, count, key_name, user_data, sg_ids, requested_private_ip, iam_profile
    )
    subnet = _ec2._subnets.get(subnet_id)
    for record in created if subnet else []:
        record["Placement"]["AvailabilityZone"] = subnet["AvailabilityZone"]
        if not requested_private_ip:
            address = free_address(subnet["CidrBlock"], (each["PrivateIpAddress"] for each in _ec2._instances.values()))
            name = "ip-" + address.replace(".", "-")
            record["PrivateIpAddress"] = address
            record["PrivateDnsName"] = f"{name}.{_responses.get_region()}.compute.internal"
    return created


def free_address(block: str, taken: Iterable[str]) -> str:
    """The first free address of a subnet; AWS keeps the first four and the last.

    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
    """
    network, used = ipaddress.IPv4Network(block), set(taken)
    usable = (str(network[number]) for number in range(4, network.num_addresses - 1))
    return next(address for address in usable if address not in used)


@mend.replaces(_ec2, "_instance_xml")
def show_metadata_options(original: Any, inst: dict[str, Any]) -> Any:
    """An instance's description has its metadata options, and no public address where it has none.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsResponse.html
    """
    shown = {"state": "applied", "httpTokens": "optional", "httpPutResponseHopLimit": 1, "httpEndpoint": "enabled"}
    shown |= {key[0].lower() + key[1:]: value for key, value in (inst.get("MetadataOptions") or {}).items()}
    plain = str(original(inst)).replace("<ipAddress></ipAddress>", "").rstrip()
    market = "<instanceLifecycle>spot</instanceLifecycle>" if inst.get("_market") == "spot" else ""
    return plain.removesuffix("</item>") + f"{market}<metadataOptions>{xml(shown)}</metadataOptions></item>"


@mend.replaces(_ec2, "_parse_lt_data")
def keep_template(original: Any, params: Parameters, prefix: str = "LaunchTemplateData") -> Any:
    """A launch template keeps what MiniStack doesn't know of: market and credit options, details of interfaces.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RequestLaunchTemplateData.html
    """
    asked, data = nested(params).get(prefix) or {}, original(params, prefix)
    for interface, more in zip(data.get("NetworkInterfaces", []), asked.get("NetworkInterface", []), strict=False):
        interface |= {key: value for key, value in more.items() if key in _INTERFACE_MEMBERS}
    return data | {key: asked[key] for key in _TEMPLATE_MEMBERS if key in asked}


@mend.replaces(_ec2, "_lt_data_xml")
def show_template(original: Any, data: Mapping[str, Any]) -> Any:
    """A launch template is described with all that it keeps.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ResponseLaunchTemplateData.html
    """
    interfaces = [
        xml(_lower({key: value for key, value in each.items() if key != "Groups"}))
        + f"<groupSet>{xml(each.get('Groups', []), 'groupId')}</groupSet>"
        for each in data.get("NetworkInterfaces", [])
    ]
    shown = "".join(f"<item>{each}</item>" for each in interfaces)
    rest = original({key: value for key, value in data.items() if key != "NetworkInterfaces"})
    return (
        rest
        + xml(_lower({key: data[key] for key in _TEMPLATE_MEMBERS if key in data}))
        + (f"<networkInterfaceSet>{shown}</networkInterfaceSet>" if shown else "")
    )


def _lower(value: Any) -> Any:
    """The names of a request's members as they are in an answer."""
    if isinstance(value, Mapping):
        return {key[0].lower() + key[1:]: _lower(each) for key, each in value.items()}
    return value


_INTERFACE_MEMBERS = (
    "AssociateCarrierIpAddress",
    "DeleteOnTermination",
    "InterfaceType",
    "Ipv6AddressCount",
    "NetworkCardIndex",
    "PrimaryIpv6",
)
_TEMPLATE_MEMBERS = (
    "CpuOptions",
    "CreditSpecification",
    "InstanceMarketOptions",
    "MaintenanceOptions",
    "PrivateDnsNameOptions",
)


@mend.replaces(_ec2, "_describe_instance_types")
def describe_instance_types(original: Any, p: Parameters) -> Any:
    """Instance types have their own processors, memory and architecture; one that there isn't is refused.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypes.html
    """
    names = _ec2._parse_member_list(p, "InstanceType")
    kinds = {}
    for name in names or ["t3.micro", "t3.small", "t3.medium", "t4g.small", "m7g.large"]:
        try:
            kinds[name] = hardware(name)
        except ValueError:
            message = f"The following supplied instance types do not exist: [{name}]"
            return _ec2._error("InvalidInstanceType", message, 400)
    status, headers, body = original({f"InstanceType.{number}": name for number, name in enumerate(kinds, 1)})
    parts = re.split(r"(?=<item>\s*<instanceType>)", bytes(body).decode())
    shown = [parts[0]]
    for part, kind in zip(parts[1:], kinds.values(), strict=True):
        with_architecture = re.sub(r"(<supportedArchitectures><item>)\w+", rf"\g<1>{kind.architecture}", part)
        with_processors = re.sub(r"(<defaultVCpus>)\d+", rf"\g<1>{kind.vcpus}", with_architecture)
        shown.append(re.sub(r"(<memoryInfo><sizeInMiB>)\d+", rf"\g<1>{kind.memory}", with_processors))
    return status, headers, "".join(shown).encode()


@mend.replaces(_ecs, "_list_container_instances")
def list_container_instances(_original: Any, data: Mapping[str, Any]) -> Any:
    """The container instances of a cluster, by state.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListContainerInstances.html
    """
    cluster = _ecs._resolve_cluster_name(data.get("cluster", "default"))
    if cluster not in _ecs._clusters:
        return _responses.error_response_json("ClusterNotFoundException", "Cluster not found.", 400)
    wanted = data.get("status")
    arns = [each.arn for each in container_instances(cluster) if wanted in (None, each.status)]
    return _responses.json_response({"containerInstanceArns": arns})


@mend.replaces(_ecs, "_describe_container_instances")
def describe_container_instances(_original: Any, data: Mapping[str, Any]) -> Any:
    """Container instances with what they registered and what is left of it.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html
    """
    found, missing = _look_up(data)
    return _responses.json_response({"containerInstances": [shape(each) for each in found], "failures": missing})


@mend.adds(_ecs, "UpdateContainerInstancesState")
def update_container_instances_state(data: Mapping[str, Any]) -> Any:
    """Set container instances to DRAINING or back to ACTIVE.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateContainerInstancesState.html
    """
    if data.get("status") not in ("ACTIVE", "DRAINING"):
        message = "The requested container instance status is not valid."
        return _responses.error_response_json("InvalidParameterException", message, 400)
    found, missing = _look_up(data)
    for record in found:
        _set_status(record, data["status"])
    return _responses.json_response({"containerInstances": [shape(each) for each in found], "failures": missing})


def _look_up(data: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    references = data.get("containerInstances", [])
    records = {reference: record_of(reference) for reference in references}
    missing = [{"arn": reference, "reason": "MISSING"} for reference, record in records.items() if record is None]
    return [record for record in records.values() if record is not None], missing


def shape(record: dict[str, Any]) -> dict[str, Any]:
    """A container instance as ECS describes it, by the EC2 instance behind it."""
    instance = _container_instance(record)
    if instance is None:
        return {}
    tasks = tasks_on(instance.arn)
    needs = [need(task_definition(task)) for task in tasks]
    attributes = {
        "ecs.ami-id": record["ImageId"],
        "ecs.availability-zone": instance.zone,
        "ecs.cpu-architecture": record["Architecture"],
        "ecs.instance-type": record["InstanceType"],
        "ecs.os-type": "linux",
        "ecs.subnet-id": record["SubnetId"],
        "ecs.vpc-id": record["VpcId"],
    }
    shown = {
        "containerInstanceArn": instance.arn,
        "ec2InstanceId": instance.instance_id,
        "version": 1,
        "status": instance.status,
        "agentConnected": True,
        "registeredResources": _resources(instance.cpu, instance.memory, set()),
        "remainingResources": _resources(
            instance.cpu - sum(each.cpu for each in needs),
            instance.memory - sum(each.memory for each in needs),
            used_ports(tasks),
        ),
        "runningTasksCount": sum(task.get("lastStatus") == "RUNNING" for task in tasks),
        "pendingTasksCount": sum(task.get("lastStatus") in ("PROVISIONING", "PENDING", "ACTIVATING") for task in tasks),
        "attributes": [
            *({"name": name, "value": value} for name, value in attributes.items()),
            *([{"name": SECURITY_OPTIONS}] if instance.security_options else []),
        ],
        "registeredAt": record["_joins_at"],
        "attachments": [],
        "tags": [],
    }
    if provider := record.get("_capacity_provider"):
        shown["capacityProviderName"] = provider
    return shown


def _resources(cpu: int, memory: int, ports: set[int]) -> list[dict[str, Any]]:
    return [
        {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": list(map(str, sorted({*RESERVED_PORTS, *ports})))},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
    ]


def group_tags(group: Mapping[str, Any]) -> dict[str, str]:
    """The tags that an Auto Scaling group gives to its instances."""
    own = {tag["Key"]: tag["Value"] for tag in group.get("Tags", []) if tag.get("PropagateAtLaunch")}
    return own | {"aws:autoscaling:groupName": group["AutoScalingGroupName"]}
