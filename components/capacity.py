"""The instances that tasks run on: a cluster, and an Auto Scaling group that grows and shrinks with what waits."""

import base64
import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from components.host_ports import DYNAMIC
from components.instances import RESERVED_MEMORY, Architecture
from components.lookups import LookUp, ask
from components.network import ANYWHERE, ANYWHERE_IPV6
from components.policies import instance_policy, trust

FULLY_USED = 100
"""Per cent of the group that managed scaling wants in use: no idle instance is paid for."""

INSTANCE_WARMUP = "60"
"""Seconds after which a refresh takes a new instance for ready; its agent joins within them."""

ROOT_DEVICE = "/dev/xvda"


@dataclass(frozen=True, kw_only=True)
class CapacityArgs:
    """`role_path` has a slash at both ends; `tags` go on instances and volumes, which default tags don't reach."""

    vpc_id: Input[str]
    subnet_ids: Input[list[str]]
    load_balancer_security_group_id: Input[str]
    target_group_arn: Input[str]
    ami_id: Input[str]
    instance_type: str
    min_instances: int
    max_instances: int
    spot: bool
    volume_size: int
    host_port: int
    role_path: str
    permissions_boundary: Input[str] | None = None
    tags: dict[str, str]


class Capacity(pulumi.ComponentResource):
    """An ECS cluster, and the Auto Scaling group whose instances join it.

    Makes: cluster, role and instance profile, security group, launch template, Auto Scaling group, capacity provider.
    Costs, an hour and instance: the instance (t3.micro: $0.012 in eu-central-1), $0.005 for its public IPv4 address,
    and $0.004 for a 30 GiB gp3 volume. Depends on: network, and the load balancer's security group and target group.
    """

    cluster_name: Output[str]
    cluster_arn: Output[str]
    capacity_provider_name: Output[str]
    auto_scaling_group_name: Output[str]

    def __init__(self, name: str, args: CapacityArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Capacity", name, None, opts)
        self._name = name
        self._child = ResourceOptions(parent=self)
        cluster = aws.ecs.Cluster(name, settings=[{"name": "containerInsights", "value": "disabled"}], opts=self._child)
        group = self._group(args, self._launch_template(args, cluster))
        capacity_provider = aws.ecs.CapacityProvider(
            f"{name}-capacity",
            auto_scaling_group_provider={
                "auto_scaling_group_arn": group.arn,
                "managed_scaling": {"status": "ENABLED", "target_capacity": FULLY_USED},
                "managed_draining": "ENABLED",
                "managed_termination_protection": "ENABLED",
            },
            opts=self._child,
        )
        association = aws.ecs.ClusterCapacityProviders(
            f"{name}-capacity",
            cluster_name=cluster.name,
            capacity_providers=[capacity_provider.name],
            opts=self._child,
        )
        self.cluster_name = cluster.name
        self.cluster_arn = cluster.arn
        # A service may use the provider once the cluster has it, and must be gone before the cluster gives it up.
        self.capacity_provider_name = association.capacity_providers.apply(lambda names: (names or [""])[0])
        self.auto_scaling_group_name = group.name
        self.register_outputs({"clusterName": self.cluster_name, "autoScalingGroupName": self.auto_scaling_group_name})

    def _security_group(self, args: CapacityArgs) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        first, last = (args.host_port, args.host_port) if args.host_port else DYNAMIC
        security_group = aws.ec2.SecurityGroup(
            f"{self._name}-instances",
            description="Instances: from the load balancer alone",
            vpc_id=args.vpc_id,
            tags={"Name": f"{self._name}-instances"},
            opts=self._child,
        )
        from_load_balancer = aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-from-load-balancer",
            description="Requests and health checks",
            security_group_id=security_group.id,
            referenced_security_group_id=args.load_balancer_security_group_id,
            ip_protocol="tcp",
            from_port=first,
            to_port=last,
            opts=self._child,
        )
        to_instances = aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-to-instances",
            description="Requests and health checks",
            security_group_id=args.load_balancer_security_group_id,
            referenced_security_group_id=security_group.id,
            ip_protocol="tcp",
            from_port=first,
            to_port=last,
            opts=self._child,
        )
        ways_out = [
            aws.vpc.SecurityGroupEgressRule(
                f"{self._name}-out-{family}",
                description="To AWS, and to whatever the backend asks",
                security_group_id=security_group.id,
                ip_protocol="-1",
                cidr_ipv4=ipv4,
                cidr_ipv6=ipv6,
                opts=self._child,
            )
            for family, ipv4, ipv6 in (("ipv4", ANYWHERE, None), ("ipv6", None, ANYWHERE_IPV6))
        ]
        return security_group, [from_load_balancer, to_instances, *ways_out]

    def _instance_profile(self, args: CapacityArgs, cluster: aws.ecs.Cluster) -> aws.iam.InstanceProfile:
        role = aws.iam.Role(
            f"{self._name}-instance",
            path=args.role_path,
            permissions_boundary=args.permissions_boundary,
            description="Instances: their ECS agent, and Session Manager",
            assume_role_policy=json.dumps(trust("ec2.amazonaws.com")),
            opts=self._child,
        )
        policy = aws.iam.RolePolicy(
            f"{self._name}-instance",
            role=role.name,
            policy=Output.json_dumps(cluster.arn.apply(instance_policy)),
            opts=self._child,
        )
        # An instance that starts before its role may register does so in vain.
        return aws.iam.InstanceProfile(
            f"{self._name}-instance",
            role=role.name,
            path=args.role_path,
            opts=ResourceOptions(parent=self, depends_on=[policy]),
        )

    def _launch_template(self, args: CapacityArgs, cluster: aws.ecs.Cluster) -> aws.ec2.LaunchTemplate:
        tags = {**args.tags, "Name": self._name}
        security_group, rules = self._security_group(args)
        return aws.ec2.LaunchTemplate(
            f"{self._name}-instance",
            image_id=args.ami_id,
            instance_type=args.instance_type,
            iam_instance_profile={"arn": self._instance_profile(args, cluster).arn},
            vpc_security_group_ids=[security_group.id],
            user_data=cluster.name.apply(lambda name: encoded(user_data(name, spot=args.spot))),
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # One hop: the instance itself. Containers must not get at the instance's role.
                "http_put_response_hop_limit": 1,
            },
            block_device_mappings=[
                {
                    "device_name": ROOT_DEVICE,
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": args.volume_size,
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            tag_specifications=[{"resource_type": kind, "tags": tags} for kind in ("instance", "volume")],
            update_default_version=True,
            # Instances need their rules to the end: an agent that can't reach ECS leaves the service draining.
            opts=ResourceOptions(parent=self, depends_on=rules),
        )

    def _group(self, args: CapacityArgs, template: aws.ec2.LaunchTemplate) -> aws.autoscaling.Group:
        # The number of a version, not "$Latest": only so does a new AMI replace the instances.
        version = template.latest_version.apply(str)
        tags = {**args.tags, "Name": self._name, "AmazonECSManaged": "true"}
        return aws.autoscaling.Group(
            self._name,
            min_size=args.min_instances,
            max_size=args.max_instances,
            vpc_zone_identifiers=args.subnet_ids,
            launch_template=None if args.spot else {"id": template.id, "version": version},
            mixed_instances_policy=spot_policy(template.id, version) if args.spot else None,
            # On Spot, a new instance starts when AWS expects to take one back, and not when it has.
            capacity_rebalance=args.spot,
            # With a fixed host port an instance is a target as soon as it runs; else each task brings its own port.
            target_group_arns=[args.target_group_arn] if args.host_port else [],
            # Managed scaling takes the protection off an instance that has no task left.
            protect_from_scale_in=True,
            # Otherwise a group whose instances are protected could never be deleted.
            force_delete=True,
            # The provider would wait for as many instances as it remembers, which managed scaling has since changed.
            wait_for_capacity_timeout="0",
            instance_refresh={
                "strategy": "Rolling",
                "preferences": {
                    "min_healthy_percentage": 100,
                    "max_healthy_percentage": 200,
                    "scale_in_protected_instances": "Refresh",
                    "instance_warmup": INSTANCE_WARMUP,
                },
            },
            tags=[{"key": key, "value": value, "propagate_at_launch": True} for key, value in sorted(tags.items())],
            # How many instances there are is managed scaling's to say.
            opts=ResourceOptions(parent=self, ignore_changes=["desiredCapacity"]),
        )


def spot_policy(template_id: Input[str], version: Input[str]) -> aws.autoscaling.GroupMixedInstancesPolicyArgsDict:
    """Return the policy by which all instances of a group are Spot instances."""
    return {
        "instances_distribution": {
            "on_demand_base_capacity": 0,
            "on_demand_percentage_above_base_capacity": 0,
            "spot_allocation_strategy": "price-capacity-optimized",
        },
        "launch_template": {"launch_template_specification": {"launch_template_id": template_id, "version": version}},
    }


def ami_parameter(release: str, architecture: Architecture) -> str:
    """Return the SSM parameter in which AWS publishes the ECS-optimized AL2023 AMI: the recommended, or a release.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
    """
    variant = "/arm64" if architecture == "arm64" else ""
    return f"/aws/service/ecs/optimized-ami/amazon-linux-2023{variant}/{release}/image_id"


def find_ami(provider: aws.Provider, *, release: str, architecture: Architecture) -> LookUp[str]:
    """Look for the ID of an ECS-optimized AMI: `recommended`, a release's name, or an ID that is returned as it is."""

    async def by_parameter() -> str:
        name = ami_parameter(release, architecture)
        return (await ask(provider, "aws:ssm/getParameter:getParameter", aws.ssm.GetParameterResult, name=name)).value

    async def by_id() -> str:
        filters = [{"name": "image-id", "values": [release]}, {"name": "architecture", "values": [architecture]}]
        owners = ["amazon", "self"]
        return (await ask(provider, "aws:ec2/getAmi:getAmi", aws.ec2.GetAmiResult, filters=filters, owners=owners)).id

    if release.startswith("ami-"):
        return LookUp(by_id(), missing=f"capacity.ami: there is no AMI {release} for {architecture} in this region")
    return LookUp(
        by_parameter(),
        missing=f"capacity.ami: there is no release {release} of the ECS-optimized AMI for {architecture}; `aws ssm "
        "get-parameters-by-path --path /aws/service/ecs/optimized-ami/amazon-linux-2023 --recursive` lists them",
    )


def user_data(cluster_name: str, *, spot: bool) -> str:
    """Return the script by which a new instance joins the cluster.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
    """
    settings = {
        "ECS_CLUSTER": cluster_name,
        "ECS_RESERVED_MEMORY": str(RESERVED_MEMORY),
        # Only where an agent says that it takes security options does ECS place a task that has no-new-privileges.
        "ECS_SELINUX_CAPABLE": "true",
        **({"ECS_ENABLE_SPOT_INSTANCE_DRAINING": "true"} if spot else {}),
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    return "\n".join(["#!/bin/sh", "cat >> /etc/ecs/ecs.config <<'END'", *lines, "END", ""])


def encoded(script: str) -> str:
    """Return `script` as a launch template takes it."""
    return base64.b64encode(script.encode()).decode()
