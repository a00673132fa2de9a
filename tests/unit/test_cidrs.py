"""Address ranges of subnets."""

from ipaddress import IPv4Network

import pytest

from components.cidrs import ipv6_subnet_cidr, subnet_cidrs


@pytest.mark.parametrize(
    ("vpc", "count", "subnets"),
    [
        ("10.0.0.0/16", 1, ["10.0.0.0/16"]),
        ("10.0.0.0/16", 2, ["10.0.0.0/17", "10.0.128.0/17"]),
        ("10.0.0.0/16", 3, ["10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18"]),
        ("192.168.1.0/26", 2, ["192.168.1.0/27", "192.168.1.32/27"]),
    ],
)
def test_a_range_is_cut_into_equal_parts(vpc: str, count: int, subnets: list[str]) -> None:
    assert subnet_cidrs(vpc, count) == subnets


@pytest.mark.parametrize("count", range(1, 9))
def test_parts_lie_in_the_range_and_do_not_overlap(count: int) -> None:
    parts = [IPv4Network(part) for part in subnet_cidrs("10.0.0.0/20", count)]
    assert all(part.subnet_of(IPv4Network("10.0.0.0/20")) for part in parts)
    assert not any(one.overlaps(other) for one in parts for other in parts if one is not other)


def test_a_range_too_narrow_says_how_wide_it_must_be() -> None:
    with pytest.raises(
        ValueError, match=r"10\.0\.0\.0/27 is too narrow for 2 subnets of /27 or wider: use /26 or wider"
    ):
        subnet_cidrs("10.0.0.0/27", 2)


@pytest.mark.parametrize(
    ("index", "subnet"), [(0, "2001:db8:aa:bb00::/64"), (1, "2001:db8:aa:bb01::/64"), (255, "2001:db8:aa:bbff::/64")]
)
def test_ipv6_parts_are_numbered(index: int, subnet: str) -> None:
    assert ipv6_subnet_cidr("2001:db8:aa:bb00::/56", index) == subnet
