"""Address ranges of a VPC and its subnets."""

from ipaddress import IPv4Network, IPv6Network

WIDEST_VPC_PREFIX = 16
NARROWEST_VPC_PREFIX = 28
"""A VPC, and each of its subnets, has a range from /16 to /28.

https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
"""

LOAD_BALANCER_SUBNET_PREFIX = 27
"""A load balancer needs subnets of /27 or wider, each with eight free addresses.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer
"""


def subnet_cidrs(vpc_cidr: str, count: int) -> list[str]:
    """Return the first `count` equal parts of `vpc_cidr`, each as wide as a power of two of parts allows.

    Raises ValueError where a part would be narrower than a load balancer's subnet may be.
    """
    network = IPv4Network(vpc_cidr)
    bits = (count - 1).bit_length()
    if network.prefixlen + bits > LOAD_BALANCER_SUBNET_PREFIX:
        raise ValueError(
            f"{vpc_cidr} is too narrow for {count} subnets of /{LOAD_BALANCER_SUBNET_PREFIX} or wider: "
            f"use /{LOAD_BALANCER_SUBNET_PREFIX - bits} or wider"
        )
    parts = network.subnets(prefixlen_diff=bits)
    return [str(next(parts)) for _ in range(count)]


def ipv6_subnet_cidr(vpc_block: str, index: int) -> str:
    """Return the /64 with number `index` of a VPC's /56, such as 2001:db8:0:1::/64 for index 1."""
    network = IPv6Network(vpc_block)
    base = int(network.network_address) + (index << 64)
    return str(IPv6Network((base, 64)))
