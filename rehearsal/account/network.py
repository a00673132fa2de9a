"""EC2 networks with IPv6: MiniStack knows IPv4 alone."""

import ipaddress
import secrets
from typing import Any

from rehearsal.account.mending import OK, Mends, ministack
from rehearsal.account.query import Parameters, text, true

_ec2 = ministack("services.ec2")
_responses = ministack("core.responses")
mend = Mends()

SUBNET_BITS = 64
"""The length of a subnet's IPv6 prefix."""


def generated_block() -> str:
    """An IPv6 block as Amazon gives one to a VPC: /56.

    https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#vpc-sizing-ipv6
    """
    return str(ipaddress.IPv6Network(((0x2A05 << 112) | (0xD014 << 96) | (secrets.randbits(24) << 72), 56)))


def _association_id(resource: str) -> str:
    kind, identity = resource.split("-")
    return f"{kind}-cidr-assoc-6{identity[1:]}"


def _association(resource: str, block: str) -> str:
    return (
        f"<item><associationId>{_association_id(resource)}</associationId><ipv6CidrBlock>{block}</ipv6CidrBlock>"
        f"<ipv6CidrBlockState><state>associated</state></ipv6CidrBlockState><ipv6Pool>Amazon</ipv6Pool>"
        f"<ipSource>amazon</ipSource>"
        f"<networkBorderGroup>{_responses.get_region()}</networkBorderGroup>"
        f"<ipv6AddressAttribute>public</ipv6AddressAttribute></item>"
    )


def _with(xml: str, tag: str, more: str) -> str:
    """XML of one element with more inside, at its end."""
    return xml.removesuffix(f"</{tag}>") + more + f"</{tag}>"


@mend.replaces(_ec2, "_create_vpc")
def give_block(original: Any, p: Parameters) -> Any:
    """A VPC that asks for it gets an IPv6 block, and a local route for it.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpc.html
    """
    known = set(_ec2._vpcs)
    answer = original(p)
    if not true(text(p, "AmazonProvidedIpv6CidrBlock")) or answer[0] != OK:
        return answer
    vpc = _ec2._vpcs[next(iter(set(_ec2._vpcs) - known))]
    vpc["Ipv6CidrBlock"] = generated_block()
    _ec2._route_tables[vpc["MainRouteTableId"]]["Routes"].append(_local(vpc["Ipv6CidrBlock"]))
    return _ec2._xml(200, "CreateVpcResponse", _ec2._vpc_fields_xml(vpc, tag="vpc"))


def _local(block: str) -> dict[str, str]:
    return {
        "DestinationIpv6CidrBlock": block,
        "GatewayId": "local",
        "State": "active",
        "Origin": "CreateRouteTable",
    }


@mend.replaces(_ec2, "_vpc_fields_xml")
def show_block(original: Any, vpc: dict[str, Any], tag: str = "item") -> Any:
    """A VPC's description has its IPv6 block."""
    xml = original(vpc, tag)
    if block := vpc.get("Ipv6CidrBlock"):
        association = _association(vpc["VpcId"], block)
        xml = _with(xml, tag, f"<ipv6CidrBlockAssociationSet>{association}</ipv6CidrBlockAssociationSet>")
    return xml


def _matches(record: dict[str, Any], identity: str, filters: dict[str, list[str]]) -> bool:
    block = record.get("Ipv6CidrBlock")
    has = {"association-id": _association_id(record[identity]), "ipv6-cidr-block": block} if block else {}
    prefix = "ipv6-cidr-block-association."
    asked = {name.removeprefix(prefix): values for name, values in filters.items() if name.startswith(prefix)}
    return all(has.get(name, "associated" if block else None) in values for name, values in asked.items())


@mend.replaces(_ec2, "_matches_vpc_filters")
def filter_vpcs(original: Any, vpc: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    """VPCs can be asked for by their IPv6 block.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcs.html
    """
    return bool(original(vpc, filters)) and _matches(vpc, "VpcId", filters)


@mend.replaces(_ec2, "_matches_subnet_filters")
def filter_subnets(original: Any, subnet: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    """Subnets can be asked for by their IPv6 block.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSubnets.html
    """
    return bool(original(subnet, filters)) and _matches(subnet, "SubnetId", filters)


@mend.replaces(_ec2, "_create_subnet")
def give_subnet_block(original: Any, p: Parameters) -> Any:
    """A subnet keeps its IPv6 block, which must be a /64 of its VPC's.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSubnet.html
    """
    block = text(p, "Ipv6CidrBlock")
    if block:
        whole = (_ec2._vpcs.get(text(p, "VpcId")) or {}).get("Ipv6CidrBlock")
        part = ipaddress.IPv6Network(block)
        if part.prefixlen != SUBNET_BITS or not whole or not part.subnet_of(ipaddress.IPv6Network(whole)):
            return _ec2._error("InvalidSubnet.Range", f"The CIDR '{block}' is invalid.", 400)
    known = set(_ec2._subnets)
    answer = original(p)
    if not block or answer[0] != OK:
        return answer
    subnet = _ec2._subnets[next(iter(set(_ec2._subnets) - known))]
    subnet["Ipv6CidrBlock"] = block
    return _ec2._xml(200, "CreateSubnetResponse", _ec2._subnet_fields_xml(subnet, tag="subnet"))


@mend.replaces(_ec2, "_subnet_fields_xml")
def show_subnet_block(original: Any, subnet: dict[str, Any], tag: str = "item") -> Any:
    """A subnet's description has its IPv6 block, and whether instances get addresses of it."""
    xml = original(subnet, tag)
    if subnet.get("AssignIpv6AddressOnCreation"):
        no = "<assignIpv6AddressOnCreation>false<"
        xml = xml.replace(no, no.replace("false", "true"))
    if block := subnet.get("Ipv6CidrBlock"):
        association = _association(subnet["SubnetId"], block)
        xml = _with(xml, tag, f"<ipv6CidrBlockAssociationSet>{association}</ipv6CidrBlockAssociationSet>")
    return xml


@mend.replaces(_ec2, "_modify_subnet_attribute")
def keep_assignment(original: Any, p: Parameters) -> Any:
    """A subnet keeps whether instances get IPv6 addresses.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySubnetAttribute.html
    """
    answer = original(p)
    if answer[0] == OK and (wanted := text(p, "AssignIpv6AddressOnCreation.Value")):
        _ec2._subnets[text(p, "SubnetId")]["AssignIpv6AddressOnCreation"] = true(wanted)
    return answer


@mend.replaces(_ec2, "_create_route_table")
def add_local_route(original: Any, p: Parameters) -> Any:
    """A route table of a VPC with IPv6 begins with a local route for its block too.

    https://docs.aws.amazon.com/vpc/latest/userguide/RouteTables.html
    """
    known = set(_ec2._route_tables)
    answer = original(p)
    block = (_ec2._vpcs.get(text(p, "VpcId")) or {}).get("Ipv6CidrBlock")
    if answer[0] != OK or not block:
        return answer
    table = _ec2._route_tables[next(iter(set(_ec2._route_tables) - known))]
    table["Routes"].append(_local(block))
    return _ec2._xml(200, "CreateRouteTableResponse", _ec2._rtb_fields_xml(table, tag="routeTable"))


@mend.replaces(_ec2, "_create_route")
def add_route(original: Any, p: Parameters) -> Any:
    """A route's destination may be an IPv6 block.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateRoute.html
    """
    answer = original(p)
    if answer[0] == OK and (block := text(p, "DestinationIpv6CidrBlock")):
        route = _ec2._route_tables[text(p, "RouteTableId")]["Routes"][-1]
        del route["DestinationCidrBlock"]
        route["DestinationIpv6CidrBlock"] = block
        if gateway := text(p, "EgressOnlyInternetGatewayId"):
            del route["GatewayId"]
            route["EgressOnlyInternetGatewayId"] = gateway
    return answer


@mend.replaces(_ec2, "_delete_route")
def drop_route(original: Any, p: Parameters) -> Any:
    """A route to an IPv6 block can be deleted.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteRoute.html
    """
    block, table = text(p, "DestinationIpv6CidrBlock"), _ec2._route_tables.get(text(p, "RouteTableId"))
    if not block or table is None:
        return original(p)
    table["Routes"] = [route for route in table["Routes"] if route.get("DestinationIpv6CidrBlock") != block]
    return _ec2._xml(200, "DeleteRouteResponse", "<return>true</return>")


@mend.replaces(_ec2, "_rules_match")
def match_all_ports(original: Any, a: dict[str, Any], b: dict[str, Any]) -> bool:
    """A rule for all protocols is for all ports, whichever were named: so the AWS provider revokes the default egress.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
    """
    return bool(original(_without_ports(a), _without_ports(b)))


def _without_ports(rule: dict[str, Any]) -> dict[str, Any]:
    ports = ("FromPort", "ToPort") if rule.get("IpProtocol") == "-1" else ()
    return {key: value for key, value in rule.items() if key not in ports}
