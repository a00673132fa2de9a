"""The load balancer: one way in, and what it sends on."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.load_balancer import HealthCheckArgs, LoadBalancer, LoadBalancerArgs, find_zone
from components.lookups import Missing, find_all
from components.names import LOAD_BALANCER_NAME_LENGTH
from tests.unit.aws_answers import ZONE_ID
from tests.unit.mocked_engine import AwsError, Deployment, run

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
RECORD = "aws:route53/record:Record"


def load_balancer(name: str = "pre", **changes: Any) -> Deployment:
    args: dict[str, Any] = {
        "vpc_id": "vpc-1",
        "subnet_ids": ["subnet-1", "subnet-2"],
        "has_ipv6": True,
        "certificate_arn": "arn:certificate",
        "domain": "pre-be.example.com",
        "zone_id": ZONE_ID,
        "host_port": 0,
        "health_check": HealthCheckArgs(
            path="/health", matcher="200-299", interval=10, timeout=5, healthy_threshold=2, unhealthy_threshold=3
        ),
    }

    def program() -> None:
        made = LoadBalancer(name, LoadBalancerArgs(**{**args, **changes}))
        pulumi.export("url", made.url)
        pulumi.export("securityGroupId", made.security_group_id)
        pulumi.export("targetGroupArn", made.target_group_arn)
        pulumi.export("listenerArn", made.listener_arn)

    return run(program)


@pytest.fixture(scope="module")
def made() -> Deployment:
    return load_balancer()


@pytest.fixture(scope="module")
def without_ipv6() -> Deployment:
    return load_balancer(has_ipv6=False)


def test_it_listens_on_443_and_on_nothing_else(made: Deployment) -> None:
    listener = made.one(LISTENER).inputs
    assert (listener["port"], listener["protocol"]) == (443, "HTTPS")
    assert {(r.inputs["fromPort"], r.inputs["toPort"]) for r in made.all(INGRESS)} == {(443, 443)}


def test_it_speaks_tls_1_2_and_1_3_alone_with_the_certificate(made: Deployment) -> None:
    listener = made.one(LISTENER).inputs
    assert listener["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
    assert listener["certificateArn"] == "arn:certificate"


def test_the_listener_forwards_to_the_target_group(made: Deployment) -> None:
    target_group = made.one(TARGET_GROUP).outputs["arn"]
    assert made.one(LISTENER).inputs["defaultActions"] == [{"type": "forward", "targetGroupArn": target_group}]
    assert made.one(LISTENER).inputs["loadBalancerArn"] == made.one(BALANCER).outputs["arn"]


def test_it_is_reached_from_the_internet_in_its_subnets(made: Deployment) -> None:
    inputs = made.one(BALANCER).inputs
    assert inputs["internal"] is False
    assert inputs["subnets"] == ["subnet-1", "subnet-2"]
    assert inputs["loadBalancerType"] == "application"


def test_invalid_headers_are_dropped(made: Deployment) -> None:
    assert made.one(BALANCER).inputs["dropInvalidHeaderFields"] is True, "they smuggle requests past it"


def test_it_can_be_destroyed(made: Deployment) -> None:
    assert not made.one(BALANCER).inputs.get("enableDeletionProtection")


def test_its_security_group_has_no_rules_but_those_of_their_own_resources(made: Deployment) -> None:
    inputs = made.one(GROUP).inputs
    assert not inputs.get("ingress")
    assert not inputs.get("egress"), "inline rules and rules of their own undo each other"
    assert made.one(BALANCER).inputs["securityGroups"] == [made.outputs["securityGroupId"]]


def test_by_itself_it_reaches_nothing(made: Deployment) -> None:
    assert made.all(EGRESS) == [], "Capacity opens the way to its instances, and there is no other"


def test_clients_come_from_anywhere_by_ipv4_and_ipv6(made: Deployment) -> None:
    sources = [(r.inputs.get("cidrIpv4"), r.inputs.get("cidrIpv6")) for r in made.all(INGRESS)]
    assert sources == [("0.0.0.0/0", None), (None, "::/0")]


def test_without_ipv6_there_is_no_trace_of_it(without_ipv6: Deployment) -> None:
    assert without_ipv6.one(BALANCER).inputs["ipAddressType"] == "ipv4"
    assert [r.inputs["type"] for r in without_ipv6.all(RECORD)] == ["A"], "an AAAA record would lead nowhere"
    assert [r.inputs.get("cidrIpv6") for r in without_ipv6.all(INGRESS)] == [None]


def test_with_ipv6_the_name_leads_to_it_both_ways(made: Deployment) -> None:
    assert made.one(BALANCER).inputs["ipAddressType"] == "dualstack"
    assert sorted(r.inputs["type"] for r in made.all(RECORD)) == ["A", "AAAA"]


def test_the_records_are_aliases_of_the_load_balancer(made: Deployment) -> None:
    balancer = made.one(BALANCER).outputs
    alias = {"name": balancer["dnsName"], "zoneId": balancer["zoneId"], "evaluateTargetHealth": False}
    for record in made.all(RECORD):
        assert record.inputs["name"] == "pre-be.example.com"
        assert record.inputs["zoneId"] == ZONE_ID, "the zone of the domain, not the load balancer's"
        assert record.inputs["aliases"] == [alias]
        assert not record.inputs.get("allowOverwrite"), "a name that another system uses is not ours to take"


def test_targets_are_instances_on_a_port_of_their_own(made: Deployment) -> None:
    inputs = made.one(TARGET_GROUP).inputs
    assert (inputs["targetType"], inputs["protocol"], inputs["vpcId"]) == ("instance", "HTTP", "vpc-1")
    assert inputs["healthCheck"]["port"] == "traffic-port", "each task has another one"


def test_the_health_check_is_the_one_asked_for(made: Deployment) -> None:
    assert made.one(TARGET_GROUP).inputs["healthCheck"] == {
        "protocol": "HTTP",
        "port": "traffic-port",
        "path": "/health",
        "matcher": "200-299",
        "interval": 10,
        "timeout": 5,
        "healthyThreshold": 2,
        "unhealthyThreshold": 3,
    }


def test_a_target_that_leaves_has_30_seconds(made: Deployment) -> None:
    assert made.one(TARGET_GROUP).inputs["deregistrationDelay"] == 30, "AWS's own 300 make each deployment as long"


def test_a_fixed_host_port_is_the_target_groups() -> None:
    assert load_balancer(host_port=8888).one(TARGET_GROUP).inputs["port"] == 8888


def test_names_are_left_to_pulumi_so_that_a_replacement_can_be_made_first(made: Deployment) -> None:
    assert "name" not in made.one(TARGET_GROUP).inputs
    assert "name" not in made.one(BALANCER).inputs


def test_a_long_name_leaves_room_for_pulumis_suffix() -> None:
    deployment = load_balancer("a-project-with-a-very-long-name-production")
    for resource in (deployment.one(BALANCER), deployment.one(TARGET_GROUP)):
        assert len(resource.name) + len("-1234567") <= LOAD_BALANCER_NAME_LENGTH


def test_its_url_is_https(made: Deployment) -> None:
    assert made.outputs["url"] == "https://pre-be.example.com"


def test_its_outputs_are_registered(made: Deployment) -> None:
    registered = made.component_outputs[made.one("booklink:backend:LoadBalancer").urn]
    assert registered == {"url": made.outputs["url"]}


def test_everything_is_its_child(made: Deployment) -> None:
    children = [r for r in made.resources if not r.is_component]
    assert {r.parent_type for r in children} == {"booklink:backend:LoadBalancer"}


def zone(**answers: Any) -> tuple[str, Deployment]:
    found: list[str] = []

    def program() -> None:
        lookup = find_zone(aws.Provider("aws"), zone="example.com")
        find_all([lookup])
        found.append(lookup.value)

    deployment = run(program, answers={f"aws:route53/{token}:{token}": answer for token, answer in answers.items()})
    return found[0], deployment


def test_the_public_zone_is_looked_for() -> None:
    found, deployment = zone()
    assert found == ZONE_ID
    assert deployment.invocations[0].arguments == {"name": "example.com", "privateZone": False}


def test_a_missing_zone_says_how_to_make_one() -> None:
    with pytest.raises(Missing) as raised:
        zone(getZone=AwsError("no matching Route 53 Hosted Zone found"))
    text = str(raised.value)
    assert "zone: there is no public hosted zone example.com" in text
    assert "`aws route53 create-hosted-zone --name example.com --caller-reference 1`" in text
