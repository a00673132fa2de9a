"""The network: public subnets in two zones and no NAT gateway, or one that exists."""

import asyncio
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from components.cidrs import ipv6_subnet_cidr, subnet_cidrs
from components.lookups import LookUp, ask

ANYWHERE = "0.0.0.0/0"
ANYWHERE_IPV6 = "::/0"

FEWEST_ZONES = 2
"""Zones that a load balancer needs.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
"""


@dataclass(frozen=True, kw_only=True)
class ExistingNetwork:
    """A VPC that exists, and its subnets; `has_ipv6` where every one of them has an IPv6 range."""

    vpc_id: str
    subnet_ids: list[str]
    has_ipv6: bool


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Either `existing`, or a range for a VPC of its own and the zones to have a subnet in."""

    cidr: str = "10.0.0.0/16"
    zones: tuple[str, ...] = ()
    existing: ExistingNetwork | None = None

    def __post_init__(self) -> None:
        if not self.existing and len(self.zones) < FEWEST_ZONES:
            raise ValueError(f"zones: {list(self.zones)} are too few; a load balancer needs {FEWEST_ZONES}")


class Network(pulumi.ComponentResource):
    """A VPC with a public subnet in each zone, or one that exists.

    Makes: VPC (IPv4 and an IPv6 range of Amazon's), internet gateway, a subnet a zone, one route table, and a default
    security group that lets nothing through. Costs: nothing by the hour. There is no NAT gateway ($0.052 an hour and
    zone, besides traffic): instances have public addresses, which their security group closes to everything but the
    load balancer. Depends on: nothing.
    """

    vpc_id: Output[str]
    subnet_ids: Output[list[str]]
    has_ipv6: bool

    def __init__(self, name: str, args: NetworkArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Network", name, None, opts)
        self._name = name
        if args.existing:
            self.vpc_id = Output.from_input(args.existing.vpc_id)
            self.subnet_ids = Output.from_input(args.existing.subnet_ids)
            self.has_ipv6 = args.existing.has_ipv6
        else:
            self._create(args)
        self.register_outputs({"vpcId": self.vpc_id, "subnetIds": self.subnet_ids})

    def _create(self, args: NetworkArgs) -> None:
        child = ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            f"{self._name}-vpc",
            cidr_block=args.cidr,
            assign_generated_ipv6_cidr_block=True,
            enable_dns_hostnames=True,
            tags={"Name": self._name},
            opts=child,
        )
        aws.ec2.DefaultSecurityGroup(f"{self._name}-default", vpc_id=vpc.id, opts=child)
        gateway = aws.ec2.InternetGateway(
            f"{self._name}-internet", vpc_id=vpc.id, tags={"Name": self._name}, opts=child
        )
        routes = aws.ec2.RouteTable(f"{self._name}-public", vpc_id=vpc.id, tags={"Name": self._name}, opts=child)
        ways_out = [
            aws.ec2.Route(
                f"{self._name}-ipv4",
                route_table_id=routes.id,
                destination_cidr_block=ANYWHERE,
                gateway_id=gateway.id,
                opts=child,
            ),
            aws.ec2.Route(
                f"{self._name}-ipv6",
                route_table_id=routes.id,
                destination_ipv6_cidr_block=ANYWHERE_IPV6,
                gateway_id=gateway.id,
                opts=child,
            ),
        ]
        subnets = []
        for index, (zone, cidr) in enumerate(zip(args.zones, subnet_cidrs(args.cidr, len(args.zones)), strict=True)):
            subnet = aws.ec2.Subnet(
                f"{self._name}-public-{index}",
                vpc_id=vpc.id,
                availability_zone=zone,
                cidr_block=cidr,
                ipv6_cidr_block=_ipv6_cidr(vpc.ipv6_cidr_block, index),
                map_public_ip_on_launch=True,
                tags={"Name": f"{self._name}-public-{index}"},
                # Another zone would replace the subnet beneath what runs in it, when AWS lists a new zone first.
                opts=ResourceOptions(parent=self, ignore_changes=["availabilityZone"]),
            )
            association = aws.ec2.RouteTableAssociation(
                f"{self._name}-public-{index}", route_table_id=routes.id, subnet_id=subnet.id, opts=child
            )
            subnets.append(Output.all(subnet.id, association.id, *(route.id for route in ways_out)).apply(_first))
        self.vpc_id = vpc.id
        self.subnet_ids = Output.all(*subnets)
        self.has_ipv6 = True


def find_zones(provider: aws.Provider, *, count: int, cidr: str) -> LookUp[NetworkArgs]:
    """Look for `count` zones for a network of its own: those open to every account, in the order of their names."""

    async def network() -> NetworkArgs | None:
        found = await ask(
            provider,
            "aws:index/getAvailabilityZones:getAvailabilityZones",
            aws.GetAvailabilityZonesResult,
            state="available",
            filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}],
        )
        zones = sorted(found.names)[:count]
        return NetworkArgs(cidr=cidr, zones=tuple(zones)) if len(zones) == count else None

    return LookUp(network(), missing=f"aws:region: the region must have {count} availability zones")


def find_network(provider: aws.Provider, *, vpc_id: str, subnet_ids: list[str]) -> LookUp[NetworkArgs]:
    """Look for a VPC's subnets, which must be in two zones or more."""

    async def network() -> NetworkArgs | None:
        function, answer = "aws:ec2/getSubnet:getSubnet", aws.ec2.GetSubnetResult
        subnets = await asyncio.gather(
            *(ask(provider, function, answer, id=subnet_id, vpcId=vpc_id) for subnet_id in subnet_ids)
        )
        if len({subnet.availability_zone for subnet in subnets}) < FEWEST_ZONES:
            return None
        has_ipv6 = all(subnet.ipv6_cidr_block for subnet in subnets)
        return NetworkArgs(existing=ExistingNetwork(vpc_id=vpc_id, subnet_ids=subnet_ids, has_ipv6=has_ipv6))

    return LookUp(
        network(),
        missing=f"network.subnetIds: {', '.join(subnet_ids)} must be subnets of {vpc_id}, in two zones or more; "
        f"`aws ec2 describe-subnets --filters Name=vpc-id,Values={vpc_id}` lists them",
    )


def _ipv6_cidr(vpc_block: Input[str], index: int) -> Output[str]:
    return Output.from_input(vpc_block).apply(lambda block: ipv6_subnet_cidr(block, index))


def _first(ids: list[str]) -> str:
    """A subnet is of use once its routes are there too, so its ID waits for theirs."""
    return ids[0]
