"""The network: what it makes, and what it finds."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.lookups import Missing, find_all
from components.network import ExistingNetwork, Network, NetworkArgs, find_network, find_zones
from tests.unit.mocked_engine import AwsError, Deployment, run

VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
ROUTE = "aws:ec2/route:Route"
ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
SUBNET_IDS = ["subnet-0a1b2c3d4e5f60710", "subnet-0a1b2c3d4e5f60711"]
GET_SUBNET = "aws:ec2/getSubnet:getSubnet"
GET_ZONES = "aws:index/getAvailabilityZones:getAvailabilityZones"


def network(args: NetworkArgs) -> Deployment:
    def program() -> None:
        made = Network("pre", args)
        pulumi.export("vpcId", made.vpc_id)
        pulumi.export("subnetIds", made.subnet_ids)
        pulumi.export("hasIpv6", made.has_ipv6)

    return run(program)


@pytest.fixture(scope="module")
def own() -> Deployment:
    return network(NetworkArgs(cidr="10.10.0.0/16", zones=("eu-central-1a", "eu-central-1b")))


def found(zones: int = 2, answers: Mapping[str, Any] | None = None) -> NetworkArgs:
    args: list[NetworkArgs] = []

    def program() -> None:
        provider = aws.Provider("aws", region="eu-central-1")
        if zones:
            lookup = find_zones(provider, count=zones, cidr="10.10.0.0/16")
        else:
            lookup = find_network(provider, vpc_id="vpc-0a1b2c3d", subnet_ids=SUBNET_IDS)
        find_all([lookup])
        args.append(lookup.value)

    run(program, answers=answers)
    return args[0]


def test_there_is_no_nat_gateway(own: Deployment) -> None:
    paid = [r for r in own.resources if "nat" in r.type.lower() or "eip" in r.type.lower()]
    assert paid == [], "a NAT gateway costs more than all instances together"


def test_subnets_are_in_two_zones_and_do_not_overlap(own: Deployment) -> None:
    subnets = own.all(SUBNET)
    assert [s.inputs["availabilityZone"] for s in subnets] == ["eu-central-1a", "eu-central-1b"]
    assert [s.inputs["cidrBlock"] for s in subnets] == ["10.10.0.0/17", "10.10.128.0/17"]


def test_subnets_are_public(own: Deployment) -> None:
    assert all(s.inputs["mapPublicIpOnLaunch"] for s in own.all(SUBNET)), (
        "without a NAT gateway there is no other way out"
    )


def test_each_subnet_has_its_own_part_of_the_ipv6_range(own: Deployment) -> None:
    assert own.one(VPC).inputs["assignGeneratedIpv6CidrBlock"] is True
    assert [s.inputs["ipv6CidrBlock"] for s in own.all(SUBNET)] == ["2001:db8:aa:bb00::/64", "2001:db8:aa:bb01::/64"]


def test_a_zone_that_aws_lists_anew_does_not_replace_a_subnet(own: Deployment) -> None:
    assert all(s.ignore_changes == ["availabilityZone"] for s in own.all(SUBNET))


def test_everything_goes_out_by_the_internet_gateway(own: Deployment) -> None:
    routes = own.all(ROUTE)
    gateway = own.one("aws:ec2/internetGateway:InternetGateway").outputs["id"]
    ways = {r.inputs.get("destinationCidrBlock") or r.inputs["destinationIpv6CidrBlock"] for r in routes}
    assert ways == {"0.0.0.0/0", "::/0"}
    assert {r.inputs["gatewayId"] for r in routes} == {gateway}


def test_each_subnet_uses_the_route_table(own: Deployment) -> None:
    table = own.one("aws:ec2/routeTable:RouteTable").outputs["id"]
    assert {a.inputs["routeTableId"] for a in own.all(ASSOCIATION)} == {table}
    assert [a.inputs["subnetId"] for a in own.all(ASSOCIATION)] == own.outputs["subnetIds"]


def test_what_uses_a_subnet_waits_for_its_routes() -> None:
    def program() -> None:
        made = Network("pre", NetworkArgs(zones=("a", "b")))
        aws.ec2.RouteTableAssociation("user", route_table_id="rtb", subnet_id=made.subnet_ids[1])

    deployment = run(program)
    user = deployment.one(ASSOCIATION, "user")
    needed = [*deployment.all(ROUTE), deployment.one(ASSOCIATION, "public-1"), deployment.one(SUBNET, "public-1")]
    assert all(deployment.depends_on(user, resource) for resource in needed), "an instance with no way out never joins"


def test_the_default_security_group_lets_nothing_through(own: Deployment) -> None:
    group = own.one("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert not group.inputs.get("ingress")
    assert not group.inputs.get("egress")


def test_everything_is_a_child_of_the_network(own: Deployment) -> None:
    children = [r for r in own.resources if not r.is_component]
    assert {r.parent_type for r in children} == {"booklink:backend:Network"}


def test_its_outputs_are_registered(own: Deployment) -> None:
    registered = own.component_outputs[own.one("booklink:backend:Network").urn]
    assert registered == {"vpcId": own.outputs["vpcId"], "subnetIds": own.outputs["subnetIds"]}


@pytest.mark.parametrize("has_ipv6", [True, False])
def test_an_existing_vpc_makes_no_network_resources(has_ipv6: bool) -> None:
    args = NetworkArgs(existing=ExistingNetwork(vpc_id="vpc-1", subnet_ids=SUBNET_IDS, has_ipv6=has_ipv6))
    deployment = network(args)
    assert [r.type for r in deployment.resources] == ["booklink:backend:Network"], "its routes are its owner's"
    assert deployment.outputs == {"vpcId": "vpc-1", "subnetIds": SUBNET_IDS, "hasIpv6": has_ipv6}


def test_a_network_of_its_own_in_one_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="too few; a load balancer needs 2"):
        NetworkArgs(zones=("eu-central-1a",))


def test_zones_are_found_in_the_order_of_their_names() -> None:
    assert found().zones == ("eu-central-1a", "eu-central-1b"), "another order would make other subnets"


def test_only_zones_open_to_every_account_are_looked_for() -> None:
    asked: list[dict[str, Any]] = []

    def answer(arguments: dict[str, Any]) -> dict[str, Any]:
        asked.append(arguments)
        return {"names": ["a", "b"]}

    found(answers={GET_ZONES: answer})
    assert asked == [{"state": "available", "filters": [{"name": "opt-in-status", "values": ["opt-in-not-required"]}]}]


def test_a_region_with_too_few_zones_is_refused() -> None:
    with pytest.raises(Missing, match="aws:region: the region must have 4 availability zones"):
        found(zones=4)


def test_existing_subnets_are_taken_as_they_are_named() -> None:
    assert found(zones=0).existing == ExistingNetwork(vpc_id="vpc-0a1b2c3d", subnet_ids=SUBNET_IDS, has_ipv6=False)


def _subnet(zone: str, ipv6: str) -> dict[str, Any]:
    return {"id": "subnet", "vpcId": "vpc", "availabilityZone": zone, "ipv6CidrBlock": ipv6}


def test_an_existing_network_has_ipv6_where_every_subnet_has() -> None:
    def everywhere(arguments: dict[str, Any]) -> dict[str, Any]:
        return _subnet(arguments["id"], "2001:db8::/64")

    def somewhere(arguments: dict[str, Any]) -> dict[str, Any]:
        return _subnet(arguments["id"], "2001:db8::/64" if arguments["id"] == SUBNET_IDS[0] else "")

    both, one = found(0, {GET_SUBNET: everywhere}).existing, found(0, {GET_SUBNET: somewhere}).existing
    assert both is not None
    assert both.has_ipv6 is True
    assert one is not None
    assert one.has_ipv6 is False


def test_existing_subnets_in_one_zone_are_refused() -> None:
    with pytest.raises(Missing, match=r"network\.subnetIds: .* must be subnets of vpc-0a1b2c3d, in two zones or more"):
        found(0, {GET_SUBNET: _subnet("eu-central-1a", "")})


def test_a_subnet_of_another_vpc_is_refused_in_awss_words() -> None:
    with pytest.raises(Missing, match=r"network\.subnetIds: .*\(AWS: no matching EC2 Subnet found\)"):
        found(0, {GET_SUBNET: AwsError("no matching EC2 Subnet found")})
