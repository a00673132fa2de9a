"""The load balancer: the only way in, by HTTPS on 443."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from components.lookups import LookUp, ask
from components.names import load_balancer_name
from components.network import ANYWHERE, ANYWHERE_IPV6

HTTPS_PORT = 443

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
"""TLS 1.3, and TLS 1.2 with forward secrecy and authenticated encryption only.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
"""

DEREGISTRATION_DELAY = 30
"""Seconds for which a target that leaves may finish its requests; AWS's own 300 make each deployment as long."""

PLACEHOLDER_PORT = 80
"""A target group must have a port; where instances pick ports by themselves, each target brings its own."""


@dataclass(frozen=True, kw_only=True)
class HealthCheckArgs:
    """How a target shows that it is well; times in seconds."""

    path: str
    matcher: str
    interval: int
    timeout: int
    healthy_threshold: int
    unhealthy_threshold: int


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """`domain` is the name that clients use, in the hosted zone `zone_id`; `host_port` is 0 where instances pick it."""

    vpc_id: Input[str]
    subnet_ids: Input[list[str]]
    has_ipv6: bool
    certificate_arn: Input[str]
    domain: str
    zone_id: Input[str]
    host_port: int
    health_check: HealthCheckArgs


class LoadBalancer(pulumi.ComponentResource):
    """An Application Load Balancer that listens on 443 and on nothing else.

    Makes: security group, load balancer, listener, target group, alias records (A, and AAAA where the network has
    IPv6). Costs: $0.027 an hour (eu-central-1), a public IPv4 address a zone at $0.005 an hour each, and $0.008 for
    each capacity unit an hour. Depends on: network, certificate, hosted zone.
    """

    security_group_id: Output[str]
    target_group_arn: Output[str]
    listener_arn: Output[str]
    url: Output[str]

    def __init__(self, name: str, args: LoadBalancerArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:LoadBalancer", name, None, opts)
        child = ResourceOptions(parent=self)
        security_group = aws.ec2.SecurityGroup(
            f"{name}-load-balancer",
            description="The load balancer: HTTPS from anywhere",
            vpc_id=args.vpc_id,
            tags={"Name": f"{name}-load-balancer"},
            opts=child,
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-https-ipv4",
            description="HTTPS",
            security_group_id=security_group.id,
            ip_protocol="tcp",
            from_port=HTTPS_PORT,
            to_port=HTTPS_PORT,
            cidr_ipv4=ANYWHERE,
            opts=child,
        )
        if args.has_ipv6:
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-https-ipv6",
                description="HTTPS",
                security_group_id=security_group.id,
                ip_protocol="tcp",
                from_port=HTTPS_PORT,
                to_port=HTTPS_PORT,
                cidr_ipv6=ANYWHERE_IPV6,
                opts=child,
            )
        balancer = aws.lb.LoadBalancer(
            load_balancer_name(name),
            load_balancer_type="application",
            internal=False,
            ip_address_type="dualstack" if args.has_ipv6 else "ipv4",
            security_groups=[security_group.id],
            subnets=args.subnet_ids,
            drop_invalid_header_fields=True,
            opts=child,
        )
        target_group = aws.lb.TargetGroup(
            load_balancer_name(name),
            target_type="instance",
            protocol="HTTP",
            port=args.host_port or PLACEHOLDER_PORT,
            vpc_id=args.vpc_id,
            deregistration_delay=DEREGISTRATION_DELAY,
            health_check={
                "protocol": "HTTP",
                "port": "traffic-port",
                "path": args.health_check.path,
                "matcher": args.health_check.matcher,
                "interval": args.health_check.interval,
                "timeout": args.health_check.timeout,
                "healthy_threshold": args.health_check.healthy_threshold,
                "unhealthy_threshold": args.health_check.unhealthy_threshold,
            },
            opts=child,
        )
        listener = aws.lb.Listener(
            f"{name}-https",
            load_balancer_arn=balancer.arn,
            port=HTTPS_PORT,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=args.certificate_arn,
            default_actions=[{"type": "forward", "target_group_arn": target_group.arn}],
            opts=child,
        )
        for record_type in ("A", "AAAA") if args.has_ipv6 else ("A",):
            aws.route53.Record(
                f"{name}-{record_type.lower()}",
                zone_id=args.zone_id,
                name=args.domain,
                type=record_type,
                aliases=[{"name": balancer.dns_name, "zone_id": balancer.zone_id, "evaluate_target_health": False}],
                opts=child,
            )
        self.security_group_id = security_group.id
        self.target_group_arn = target_group.arn
        self.listener_arn = listener.arn
        self.url = Output.from_input(f"https://{args.domain}")
        self.register_outputs({"url": self.url})


def find_zone(provider: aws.Provider, *, zone: str) -> LookUp[str]:
    """Look for the ID of the public hosted zone `zone`."""

    async def zone_id() -> str:
        found = await ask(
            provider, "aws:route53/getZone:getZone", aws.route53.GetZoneResult, name=zone, privateZone=False
        )
        return found.zone_id

    return LookUp(
        zone_id(),
        missing=f"zone: there is no public hosted zone {zone} in this account; `aws route53 create-hosted-zone "
        f"--name {zone} --caller-reference 1` makes one, whose name servers the domain's registrar must be told",
    )
