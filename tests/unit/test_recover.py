"""Bringing a stack's state in order: its lock, what was begun, what is left over."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from commands import recover as command
from commands.interrupted import FINDERS, MADE_AGAIN, Environment
from commands.orphans import orphans
from commands.recover import (
    Lock,
    environment,
    found_id,
    held,
    locks,
    mended,
    recover,
    resolved,
)
from commands.stack import PulumiError, StackError
from tests.unit.mocked_engine import PROJECT
from tests.unit.stack_files import STACKS, run_program, stack_file, values

TAGS = {"Project": "backend", "Environment": "pre", "ManagedBy": "pulumi"}
OURS = [{"Key": key, "Value": value} for key, value in TAGS.items()]
OTHERS = [{"Key": "Project", "Value": "backend"}, {"Key": "Environment", "Value": "live"}]
VPC, BALANCER = "aws:ec2/vpc:Vpc", "aws:lb/loadBalancer:LoadBalancer"
LOCKED = (
    "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the "
    "lock file with `pulumi cancel`.\n  s3://state/.pulumi/locks/organization/backend/pre/1.json: created by "
    "ann@{host} (pid {pid}) at 2026-11-24T10:31:46Z"
)


class FakeAws:
    """A session whose clients answer each operation with what is given, whatever the service; without it, not found."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def client(self, _service: str) -> "FakeAws":
        return self

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            answer = self.answers.get(operation, "ResourceNotFoundException")
            if isinstance(answer, str):
                raise ClientError({"Error": {"Code": answer}}, operation)
            return answer

        return call

    def get_paginator(self, operation: str) -> Any:
        call = getattr(self, operation)

        class Pages:
            def paginate(self, **arguments: Any) -> Iterator[Any]:
                yield call(**arguments)

        return Pages()


def env(since: int = 0, **answers: Any) -> Environment:
    return Environment(session=FakeAws(**answers), tags=TAGS, since=since)


def urn(kind: str, name: str = "pre") -> str:
    return f"urn:pulumi:pre::backend::booklink:backend:Network${kind}::{name}"


def resource(kind: str, **more: Any) -> dict[str, Any]:
    return {"urn": urn(kind), "type": kind, "custom": True, "inputs": {}, **more}


def exported(*resources: Mapping[str, Any], pending: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    provider = {
        "urn": "urn:pulumi:pre::backend::pulumi:providers:aws::aws",
        "type": "pulumi:providers:aws",
        "id": "p",
        "inputs": {"defaultTags": json.dumps({"tags": TAGS})},
        "created": "2026-11-24T10:31:49.460119095Z",
    }
    operations = [{"type": kind, "resource": each} for kind, each in (pending or {}).items()]
    return {"version": 3, "deployment": {"resources": [provider, *resources], "pending_operations": operations}}


# --- the lock ---


def test_the_engine_names_who_holds_a_stack() -> None:
    assert locks(LOCKED.format(host="ci-1", pid=7)) == [
        Lock(user="ann", host="ci-1", pid=7, since="2026-11-24T10:31:46Z")
    ]
    assert locks("error: a stack named pre already exists") == []


def test_a_lock_of_another_machine_may_be_in_use() -> None:
    lock = Lock(user="ann", host="ci-1", pid=os.getpid(), since="2026-11-24T10:31:46Z")
    reason = held(lock, host="here") or ""
    assert reason.startswith("ann@ci-1, process ")
    assert "since 2026-11-24T10:31:46Z: whether that runs can't be told from here" in reason


def test_a_lock_of_a_user_who_works_nowhere_else_is_left_over() -> None:
    lock = Lock(user="runner", host="ci-1", pid=1, since="now")
    assert held(lock, host="ci-2", alone="runner") is None
    assert held(lock, host="ci-2", alone="ann"), "another user's may be in use"
    assert held(Lock(user="ann", host="ci-1", pid=1, since="now"), host="ci-2", alone="runner"), "a person's, too"


def test_a_lock_of_this_machine_is_in_use_while_pulumi_runs_under_its_number(tmp_path: Path) -> None:
    running = tmp_path / "pulumi"
    running.symlink_to("/bin/sleep")
    with subprocess.Popen([running, "30"]) as process:
        lock = Lock(user="ann", host="here", pid=process.pid, since="now")
        assert (held(lock, host="here") or "").endswith("it runs")
        process.kill()
    assert held(lock, host="here") is None, "it is gone"


def test_another_program_under_that_number_holds_nothing() -> None:
    assert held(Lock(user="ann", host="here", pid=os.getpid(), since="now"), host="here") is None


def test_without_ps_a_process_is_asked_for_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert held(Lock(user="ann", host="here", pid=os.getpid(), since="now"), host="here")
    assert held(Lock(user="ann", host="here", pid=2**22 + 1, since="now"), host="here") is None


# --- what was begun ---


@pytest.mark.parametrize("stack", STACKS)
def test_every_type_of_the_program_is_found_or_made_again(stack: str) -> None:
    given = {f"{PROJECT}:tag": "v1.2.3"} | values(stack_file(stack))
    made = run_program(stack, given, preview=True)
    types = {each.type for each in made.resources if not each.type.startswith(("pulumi:", "booklink:"))}
    assert len(types) > 20
    assert types - FINDERS.keys() - MADE_AGAIN.keys() == set(), "recover knows no way to these"
    assert not FINDERS.keys() & MADE_AGAIN.keys()


RULE = {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"}
AWS_RULE = {
    "IpProtocol": "tcp",
    "FromPort": 443,
    "ToPort": 443,
    "CidrIpv4": "0.0.0.0/0",
    "SecurityGroupRuleId": "sgr-1",
}
TABLE = {"routeTableId": "rtb-1"}
ROUTES = [{"DestinationCidrBlock": "10.0.0.0/16"}, {"DestinationCidrBlock": "0.0.0.0/0"}]
ALIAS = {"zoneId": "Z1", "name": "be.example.com", "type": "A", "aliases": [{"name": "lb.example.org"}]}
AWS_ALIAS = {"Name": "be.example.com.", "Type": "A", "AliasTarget": {"DNSName": "dualstack.lb.example.org."}}
POLICY = {"serviceNamespace": "ecs", "resourceId": "service/c/s", "name": "cpu"}

FOUND: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (VPC, {"cidrBlock": "10.0.0.0/16"}, {"describe_vpcs": {"Vpcs": [{"VpcId": "vpc-1"}]}}, "vpc-1"),
    (
        "aws:ec2/internetGateway:InternetGateway",
        {},
        {"describe_internet_gateways": {"InternetGateways": [{"InternetGatewayId": "igw-1"}]}},
        "igw-1",
    ),
    (
        "aws:ec2/routeTable:RouteTable",
        {"vpcId": "vpc-1"},
        {"describe_route_tables": {"RouteTables": [{"RouteTableId": "rtb-1"}]}},
        "rtb-1",
    ),
    (
        "aws:ec2/subnet:Subnet",
        {"vpcId": "vpc-1", "cidrBlock": "10.0.0.0/20"},
        {"describe_subnets": {"Subnets": [{"SubnetId": "subnet-1"}]}},
        "subnet-1",
    ),
    (
        "aws:ec2/securityGroup:SecurityGroup",
        {"vpcId": "vpc-1", "name": "pre-1a"},
        {"describe_security_groups": {"SecurityGroups": [{"GroupId": "sg-1"}]}},
        "sg-1",
    ),
    (
        "aws:ec2/route:Route",
        {**TABLE, "destinationCidrBlock": "0.0.0.0/0"},
        {"describe_route_tables": {"RouteTables": [{"Routes": ROUTES}]}},
        "r-rtb-11080289494",
    ),
    (
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        {**TABLE, "subnetId": "subnet-1"},
        {
            "describe_route_tables": {
                "RouteTables": [{"Associations": [{"SubnetId": "subnet-1", "RouteTableAssociationId": "rtbassoc-1"}]}]
            }
        },
        "rtbassoc-1",
    ),
    (
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        RULE,
        {"describe_security_group_rules": {"SecurityGroupRules": [AWS_RULE | {"IsEgress": False}]}},
        "sgr-1",
    ),
    (
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        {"securityGroupId": "sg-1", "ipProtocol": "-1", "cidrIpv6": "::/0"},
        {
            "describe_security_group_rules": {
                "SecurityGroupRules": [
                    AWS_RULE | {"IsEgress": True},
                    {"IsEgress": True, "IpProtocol": "-1", "CidrIpv6": "::/0", "SecurityGroupRuleId": "sgr-2"},
                ]
            }
        },
        "sgr-2",
    ),
    (BALANCER, {"name": "pre-1a"}, {"describe_load_balancers": {"LoadBalancers": [{"LoadBalancerArn": "lb"}]}}, "lb"),
    (
        "aws:lb/targetGroup:TargetGroup",
        {"name": "pre-1a"},
        {"describe_target_groups": {"TargetGroups": [{"TargetGroupArn": "tg"}]}},
        "tg",
    ),
    (
        "aws:lb/listener:Listener",
        {"loadBalancerArn": "lb", "port": 443},
        {"describe_listeners": {"Listeners": [{"Port": 80, "ListenerArn": "no"}, {"Port": 443, "ListenerArn": "yes"}]}},
        "yes",
    ),
    (
        "aws:route53/record:Record",
        ALIAS,
        {"list_resource_record_sets": {"ResourceRecordSets": [AWS_ALIAS]}},
        "Z1_be.example.com_A",
    ),
    (
        "aws:acm/certificate:Certificate",
        {"domainName": "be.example.com"},
        {
            "list_certificates": {
                "CertificateSummaryList": [{"CertificateArn": "arn", "DomainName": "be.example.com"}]
            },
            "list_tags_for_certificate": {"Tags": OURS},
        },
        "arn",
    ),
    (
        "aws:ecr/repository:Repository",
        {"name": "backend"},
        {"describe_repositories": {"repositories": [{"repositoryName": "backend"}]}},
        "backend",
    ),
    (
        "aws:ec2/launchTemplate:LaunchTemplate",
        {"name": "pre-1a"},
        {"describe_launch_templates": {"LaunchTemplates": [{"LaunchTemplateId": "lt-1"}]}},
        "lt-1",
    ),
    (
        "aws:autoscaling/group:Group",
        {"name": "pre-1a"},
        {
            "describe_auto_scaling_groups": {
                "AutoScalingGroups": [
                    {"AutoScalingGroupName": "going", "Status": "Delete in progress"},
                    {"AutoScalingGroupName": "pre-1a"},
                ]
            }
        },
        "pre-1a",
    ),
    (
        "aws:ecs/cluster:Cluster",
        {"name": "pre-1a"},
        {
            "describe_clusters": {
                "clusters": [
                    {"status": "INACTIVE", "clusterArn": "gone"},
                    {"status": "ACTIVE", "clusterArn": "cluster"},
                ]
            }
        },
        "cluster",
    ),
    (
        "aws:ecs/capacityProvider:CapacityProvider",
        {"name": "pre-1a"},
        {"describe_capacity_providers": {"capacityProviders": [{"status": "ACTIVE", "capacityProviderArn": "cp"}]}},
        "cp",
    ),
    (
        "aws:ecs/service:Service",
        {"cluster": "cluster", "name": "pre-1a"},
        {"describe_services": {"services": [{"status": "ACTIVE", "serviceArn": "service"}]}},
        "service",
    ),
    (
        "aws:appautoscaling/policy:Policy",
        POLICY,
        {"describe_scaling_policies": {"ScalingPolicies": [{"PolicyName": "other"}, {"PolicyName": "cpu"}]}},
        "cpu",
    ),
    (
        "aws:cloudwatch/logGroup:LogGroup",
        {"namePrefix": "/backend/pre/"},
        {
            "describe_log_groups": {
                "logGroups": [
                    {"logGroupName": "/backend/pre/1", "creationTime": 1},
                    {"logGroupName": "/backend/pre/2", "creationTime": 2},
                ]
            }
        },
        "/backend/pre/2",
    ),
    (
        "aws:iam/policy:Policy",
        {"name": "pre-1a", "path": "/backend/pre/"},
        {"list_policies": {"Policies": [{"PolicyName": "x", "Arn": "a"}, {"PolicyName": "pre-1a", "Arn": "b"}]}},
        "b",
    ),
    (
        "aws:iam/role:Role",
        {"name": "task-1a", "path": "/backend/pre/"},
        {"list_roles": {"Roles": [{"RoleName": "other"}, {"RoleName": "task-1a"}]}},
        "task-1a",
    ),
    (
        "aws:iam/rolePolicy:RolePolicy",
        {"role": "task-1a", "name": "p"},
        {"list_role_policies": {"PolicyNames": ["other", "p"]}},
        "task-1a:p",
    ),
    (
        "aws:iam/instanceProfile:InstanceProfile",
        {"name": "pre-1a", "path": "/backend/pre/"},
        {
            "list_instance_profiles": {
                "InstanceProfiles": [{"InstanceProfileName": "other"}, {"InstanceProfileName": "pre-1a"}]
            }
        },
        "pre-1a",
    ),
    (
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        {"url": "https://token.example.com"},
        {
            "list_open_id_connect_providers": {
                "OpenIDConnectProviderList": [{"Arn": "arn:aws:iam::1:oidc-provider/token.example.com"}]
            },
            "list_open_id_connect_provider_tags": {"Tags": OURS},
        },
        "arn:aws:iam::1:oidc-provider/token.example.com",
    ),
]


@pytest.mark.parametrize(("kind", "inputs", "answers", "identity"), FOUND, ids=[each[0] for each in FOUND])
def test_what_aws_has_made_is_found_by_what_the_state_noted(
    kind: str, inputs: dict[str, Any], answers: dict[str, Any], identity: str
) -> None:
    assert FINDERS[kind](env(since=2, **answers), inputs) == [identity]


def test_every_finder_is_tested() -> None:
    assert {each[0] for each in FOUND} == FINDERS.keys()


@pytest.mark.parametrize(
    ("kind", "inputs"), [(each[0], each[1]) for each in FOUND if "ecs/" not in each[0] and "OpenId" not in each[0]]
)
def test_what_aws_has_not_made_is_not_found(kind: str, inputs: dict[str, Any]) -> None:
    assert FINDERS[kind](env(), inputs) == []


def test_another_error_of_aws_is_no_absence() -> None:
    for kind, inputs, operation in (
        (VPC, {"cidrBlock": "10.0.0.0/16"}, "describe_vpcs"),
        ("aws:iam/role:Role", {"name": "r"}, "list_roles"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            FINDERS[kind](env(0, **{operation: "AccessDenied"}), inputs)


def test_a_record_that_points_elsewhere_is_somebody_elses() -> None:
    answer = {"ResourceRecordSets": [{**AWS_ALIAS, "AliasTarget": {"DNSName": "other.example.org."}}]}
    assert FINDERS["aws:route53/record:Record"](env(list_resource_record_sets=answer), ALIAS) == []


def test_an_identity_provider_of_another_environment_is_not_taken() -> None:
    kind = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    [(inputs, answers)] = [(each[1], each[2]) for each in FOUND if each[0] == kind]
    others = answers | {"list_open_id_connect_provider_tags": {"Tags": OTHERS}}
    assert FINDERS[kind](env(**others), inputs) == []


def test_a_record_that_may_be_overwritten_is_made_again() -> None:
    record = {"Name": "_x.example.com.", "Type": "CNAME", "ResourceRecords": [{"Value": "y"}]}
    inputs = {"zoneId": "Z1", "name": "_x.example.com.", "type": "CNAME", "records": ["y"]}
    aws = env(list_resource_record_sets={"ResourceRecordSets": [record]})
    assert FINDERS["aws:route53/record:Record"](aws, inputs) == ["Z1__x.example.com._CNAME"]
    assert FINDERS["aws:route53/record:Record"](aws, {**inputs, "allowOverwrite": True}) == []


def test_only_what_has_the_environments_tags_is_asked_for() -> None:
    aws = env(describe_vpcs={"Vpcs": []})
    FINDERS[VPC](aws, {"cidrBlock": "10.0.0.0/16"})
    [(_, asked)] = aws.session.asked
    assert asked["Filters"] == [
        {"Name": "tag:Project", "Values": ["backend"]},
        {"Name": "tag:Environment", "Values": ["pre"]},
        {"Name": "tag:ManagedBy", "Values": ["pulumi"]},
        {"Name": "cidr", "Values": ["10.0.0.0/16"]},
    ]


BEGUN = resource(VPC, inputs={"cidrBlock": "10.0.0.0/16"})


def test_a_role_is_looked_for_where_the_environments_are() -> None:
    aws = env(list_roles={"Roles": []})
    FINDERS["aws:iam/role:Role"](aws, {"name": "task-1a", "path": "/backend/pre/"})
    [(_, asked)] = aws.session.asked
    assert asked == {"PathPrefix": "/backend/pre/"}, "GetRole of a name that nothing has is forbidden to most"


def test_what_the_state_has_already_is_not_what_was_begun() -> None:
    aws = env(describe_vpcs={"Vpcs": [{"VpcId": "vpc-1"}, {"VpcId": "vpc-2"}]})
    assert found_id(aws, BEGUN, exported(resource(VPC, id="vpc-1"))) == "vpc-2"


def test_of_two_that_may_be_it_none_is_taken() -> None:
    aws = env(describe_vpcs={"Vpcs": [{"VpcId": "vpc-1"}, {"VpcId": "vpc-2"}]})
    with pytest.raises(StackError, match=r"vpc-1, vpc-2 may be it\. Delete all but one"):
        found_id(aws, BEGUN, exported())


def test_of_a_type_that_nothing_finds_it_is_said_what_to_do() -> None:
    with pytest.raises(StackError, match=r"of type aws:sqs/queue:Queue.*--clear-pending-creates"):
        found_id(env(), resource("aws:sqs/queue:Queue"), exported())


def test_a_provider_and_what_can_be_made_again_are_not_looked_for() -> None:
    assert found_id(env(), resource("pulumi:providers:docker"), exported()) is None
    assert found_id(env(), resource("docker:index/image:Image"), exported()) is None


# --- the state ---


def test_what_was_found_is_a_resource_behind_what_it_needs_and_before_what_needs_it() -> None:
    subnet = resource("aws:ec2/subnet:Subnet", id="subnet-1", dependencies=[urn(VPC)])
    parent = {"urn": "urn:parent", "type": "booklink:backend:Network"}
    begun = {**BEGUN, "parent": "urn:parent", "provider": "urn:pulumi:pre::backend::pulumi:providers:aws::aws::p"}
    state = exported(parent, subnet, pending={"creating": begun})
    new = resolved(state, {urn(VPC): "vpc-1"})["deployment"]
    assert [each.get("id") for each in new["resources"]] == ["p", None, "vpc-1", "subnet-1"]
    assert new["resources"][2]["outputs"] == {"cidrBlock": "10.0.0.0/16", "id": "vpc-1"}
    assert new["resources"][2]["inputs"] == begun["inputs"], "the program's own, so that nothing seems to have changed"
    assert "pending_operations" not in new
    assert state["deployment"]["pending_operations"], "what was given stays as it is"


def test_what_it_was_to_replace_is_left_for_the_engine_to_delete() -> None:
    old = resource(VPC, id="vpc-1")
    new = resolved(exported(old, pending={"creating": BEGUN}), {urn(VPC): "vpc-2"})["deployment"]["resources"]
    assert [(each.get("id"), each.get("delete")) for each in new] == [("vpc-2", None), ("p", None), ("vpc-1", True)]


def test_an_interrupted_change_or_deletion_is_forgotten() -> None:
    old = resource(VPC, id="vpc-1")
    new = resolved(exported(old, pending={"updating": old}), {})["deployment"]
    assert [each["id"] for each in new["resources"]] == ["p", "vpc-1"]
    assert "pending_operations" not in new


@pytest.mark.parametrize(
    ("created", "since"),
    [
        ("2026-11-24T10:31:49.460119095Z", 1795516309460),
        ("2026-11-24T10:31:49.46Z", 1795516309460),
        ("2026-11-24T10:31:49Z", 1795516309000),
    ],
    ids=["nanoseconds", "without the zeros at the end, as Go writes it", "seconds"],
)
def test_the_environment_is_known_by_its_providers_tags(created: str, since: int) -> None:
    state = exported()
    state["deployment"]["resources"][0]["created"] = created
    found = environment(state, None)
    assert found
    assert (found.tags, found.since) == (TAGS, since)


def test_without_a_provider_there_is_no_environment() -> None:
    assert environment({"deployment": {}}, None) is None


def test_empty_attributes_are_deleted_and_others_are_not(tmp_path: Path) -> None:
    for name, text in {"pre.json": "", "pre.json.attrs": "", "live.json.attrs": "{}"}.items():
        (tmp_path / name).write_text(text)
    [said] = mended(tmp_path)
    assert said.startswith("pre.json can be read again")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["live.json.attrs", "pre.json"]


# --- what is left over ---


def test_orphans_are_listed_with_what_deletes_each_in_an_order_that_can_be_followed() -> None:
    aws = env(
        list_clusters={"clusterArns": ["cluster"]},
        describe_clusters={"clusters": [{"clusterArn": "cluster", "status": "ACTIVE", "tags": LOWER}]},
        list_services={"serviceArns": ["service"]},
        describe_auto_scaling_groups={
            "AutoScalingGroups": [
                {"AutoScalingGroupName": "group", "Tags": OURS},
                {"AutoScalingGroupName": "of live", "Tags": OTHERS},
                {"AutoScalingGroupName": "going", "Status": "Delete in progress", "Tags": OURS},
            ]
        },
        describe_capacity_providers={
            "capacityProviders": [
                {"capacityProviderArn": "provider", "status": "ACTIVE", "tags": LOWER},
                {"capacityProviderArn": "FARGATE", "status": "ACTIVE"},
            ]
        },
        describe_load_balancers={"LoadBalancers": [{"LoadBalancerArn": "balancer"}]},
        describe_target_groups={"TargetGroups": []},
        describe_tags={
            "TagDescriptions": [
                {"ResourceArn": "balancer", "Tags": OURS},
                {"ResourceArn": "of live", "Tags": OTHERS},
            ]
        },
        list_certificates={"CertificateSummaryList": [{"CertificateArn": "certificate", "DomainName": "x"}]},
        list_tags_for_certificate={"Tags": OURS},
        describe_launch_templates={"LaunchTemplates": [{"LaunchTemplateId": "lt-1", "Tags": OURS}]},
        list_instance_profiles={"InstanceProfiles": [{"InstanceProfileName": "profile"}]},
        list_roles={"Roles": [{"RoleName": "role"}]},
        list_role_policies={"PolicyNames": ["policy"]},
        describe_security_groups={"SecurityGroups": [{"GroupId": "sg-1", "Tags": OURS}]},
        describe_security_group_rules={
            "SecurityGroupRules": [
                {"SecurityGroupRuleId": "sgr-1", "GroupId": "sg-1", "IsEgress": True},
                {"SecurityGroupRuleId": "sgr-2", "GroupId": "sg-1", "IsEgress": False},
            ]
        },
        describe_subnets={"Subnets": [{"SubnetId": "subnet-1", "Tags": OURS}, {"SubnetId": "of live", "Tags": OTHERS}]},
        describe_route_tables={"RouteTables": []},
        describe_internet_gateways={"InternetGateways": []},
        describe_vpcs={"Vpcs": [{"VpcId": "vpc-1", "Tags": OURS}, {"VpcId": "vpc-2", "Tags": OURS}]},
    )
    found = orphans(aws, ["vpc-1", "sgr-2", "sg-1"])
    assert [each.id for each in found] == [
        "service",
        "group",
        "provider",
        "cluster",
        "balancer",
        "certificate",
        "lt-1",
        "profile",
        "role:policy",
        "role",
        "sgr-1",
        "subnet-1",
        "vpc-2",
    ]
    commands = {each.id: each.command for each in found}
    assert commands["service"] == "aws ecs delete-service --force --cluster cluster --service service"
    assert commands["sgr-1"] == ("aws ec2 revoke-security-group-egress --group-id sg-1 --security-group-rule-ids sgr-1")
    assert commands["role:policy"] == "aws iam delete-role-policy --role-name role --policy-name policy"
    paths = {arguments["PathPrefix"] for _, arguments in aws.session.asked if "PathPrefix" in arguments}
    assert paths == {"/backend/pre/"}


LOWER = [{"key": key, "value": value} for key, value in TAGS.items()]


def test_capacity_providers_on_all_pages_are_looked_at() -> None:
    class Paged(FakeAws):
        def describe_capacity_providers(self, *, include: list[str], nextToken: str = "") -> dict[str, Any]:  # noqa: N803
            assert include == ["TAGS"]
            name = "second" if nextToken else "first"
            found = {"capacityProviderArn": name, "status": "ACTIVE", "tags": LOWER}
            return {"capacityProviders": [found]} | ({} if nextToken else {"nextToken": "more"})

    empty: dict[str, Any] = {
        "list_clusters": {"clusterArns": []},
        "list_roles": {"Roles": []},
    }
    found = orphans(Environment(session=Paged(**empty), tags=TAGS), [])
    assert [each.id for each in found] == ["first", "second"]


# --- the command ---


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` that gives the state in a file, keeps what it is given, and writes down how it was called."""
    program = tmp_path / "pulumi"
    program.write_text(
        f"""#!{sys.executable}
import pathlib, sys
folder = pathlib.Path({str(tmp_path)!r})
words = sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
def fails(name):
    text = (folder / name).read_text() if (folder / name).exists() else ""
    if text:
        sys.exit(text)
if words[:2] == ["stack", "rename"]:
    fails("locked")
    sys.exit("error: a stack named pre already exists")
if words[:1] == ["cancel"]:
    (folder / "locked").unlink()
if words[:2] == ["stack", "export"]:
    if any(not each.stat().st_size for each in folder.rglob(".pulumi/*.attrs")):
        sys.exit("error: failed to load checkpoint: EOF")
    print((folder / "state").read_text())
if words[:2] == ["stack", "import"]:
    (folder / "state").write_text(sys.stdin.read())
if words[:1] == ["refresh"]:
    fails("no refresh")
if words[:1] == ["config"]:
    print('{{"aws:region": {{"value": "eu-central-1"}}}}')
if words[:1] == ["whoami"]:
    url = (folder / "url").read_text() if (folder / "url").exists() else folder.as_uri()
    print('{{"url": "' + url + '"}}')
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(command, "session", lambda _stack: FakeAws(**NOTHING))
    (tmp_path / "state").write_text(json.dumps(exported()))
    return tmp_path


NOTHING: dict[str, Any] = {
    "list_clusters": {"clusterArns": []},
    "list_roles": {"Roles": []},
    "describe_capacity_providers": {"capacityProviders": []},
}


def calls(engine: Path) -> list[str]:
    return [line.partition(" --non-interactive")[0] for line in (engine / "calls").read_text().splitlines()]


def test_where_nothing_was_interrupted_nothing_is_done(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pre"]) == 0
    assert capsys.readouterr().out == "Nothing of pre is interrupted, and nothing is left over.\n"
    assert not [call for call in calls(engine) if call.startswith(("stack import", "refresh", "cancel"))]


def run(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recover", *arguments])
        return command.main()


@pytest.mark.usefixtures("engine")
def test_a_stack_without_anything_is_in_order(engine: Path) -> None:
    (engine / "state").write_text(json.dumps({"version": 3, "deployment": {}}))
    assert recover("pre") == []


def test_what_was_begun_is_taken_in_and_read_from_aws(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = resource("aws:autoscaling/group:Group", id="group", inputs={})
    balancer = resource(BALANCER, inputs={"name": "pre-1a"})
    (engine / "state").write_text(json.dumps(exported(group, pending={"creating": BEGUN, "updating": group})))
    state = json.loads((engine / "state").read_text())
    state["deployment"]["pending_operations"].append({"type": "creating", "resource": balancer})
    (engine / "state").write_text(json.dumps(state))
    aws = FakeAws(**NOTHING, describe_vpcs={"Vpcs": [{"VpcId": "vpc-1"}]})
    monkeypatch.setattr(command, "session", lambda _stack: aws)
    assert recover("pre") == [
        "Vpc pre: AWS has made it, vpc-1: taken into the state",
        "Group pre: updating was interrupted; the next update does it again",
        "LoadBalancer pre: is not in AWS; the next update makes it",
    ]
    assert [each.get("id") for each in json.loads((engine / "state").read_text())["deployment"]["resources"]] == [
        "vpc-1",
        "p",
        "group",
    ]
    [refresh] = [call for call in calls(engine) if call.startswith("refresh")]
    assert refresh == (
        f"refresh --yes --skip-preview --stack pre --target {urn(VPC)} --target {urn('aws:autoscaling/group:Group')}"
    )


def test_where_aws_can_not_be_read_the_way_on_is_told(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = resource("aws:autoscaling/group:Group", id="group", inputs={})
    (engine / "state").write_text(json.dumps(exported(group, pending={"deleting": group})))
    (engine / "no refresh").write_text("error: no credentials")
    assert run(["pre"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Not recovered: pulumi refresh --yes: error: no credentials\nNothing is lost.")
    assert f"before `pulumi up`: pulumi refresh --yes --skip-preview --stack pre --target '{group['urn']}'" in told


def test_orphans_are_shown(engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert engine
    monkeypatch.setattr(
        command,
        "session",
        lambda _stack: FakeAws(**NOTHING, describe_vpcs={"Vpcs": [{"VpcId": "vpc-9", "Tags": OURS}]}),
    )
    assert run(["pre"]) == 0
    assert "\n  aws ec2 delete-vpc --vpc-id vpc-9\n" in capsys.readouterr().out


def test_the_lock_of_a_process_that_is_gone_is_released(engine: Path) -> None:
    (engine / "locked").write_text(LOCKED.format(host=socket.gethostname(), pid=2**22 + 1))
    assert recover("pre") == [f"released the lock of ann@{socket.gethostname()}, process {2**22 + 1}, which is gone"]
    assert "cancel --yes --stack pre" in calls(engine)


def test_the_lock_of_another_machine_stays(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (engine / "locked").write_text(LOCKED.format(host="ci-1", pid=7))
    assert run(["pre"]) == 1
    told = capsys.readouterr().err
    assert "ann@ci-1, process 7, since 2026-11-24T10:31:46Z" in told
    assert "Where you know that it has ended: pulumi cancel --yes --stack pre" in told
    assert not [call for call in calls(engine) if call.startswith("cancel")]


def test_a_folder_with_empty_attributes_is_mended_first(engine: Path) -> None:
    (engine / ".pulumi").mkdir()
    (engine / ".pulumi" / "pre.json.attrs").touch()
    (engine / "locked").write_text("error: EOF")
    with pytest.raises(PulumiError, match="EOF"):
        recover("pre")
    (engine / "locked").unlink()
    (engine / ".pulumi" / "pre.json.attrs").touch()
    [said] = recover("pre")
    assert said.startswith("pre.json can be read again")


def test_a_bucket_that_can_not_be_read_is_left_alone(engine: Path) -> None:
    (engine / ".pulumi").mkdir()
    (engine / ".pulumi" / "pre.json.attrs").touch()
    (engine / "url").write_text(f"s3://bucket{engine}")
    with pytest.raises(PulumiError, match="failed to load checkpoint: EOF"):
        recover("pre")
    assert (engine / ".pulumi" / "pre.json.attrs").exists()


def test_pulumi_cloud_has_no_lock_to_look_for(engine: Path) -> None:
    (engine / "url").write_text("https://app.pulumi.com/ann")
    (engine / "locked").write_text(LOCKED.format(host="ci-1", pid=7))
    assert recover("pre") == []
    assert not [call for call in calls(engine) if call.startswith("stack rename")]


def test_without_the_stack_that_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert run(["pre"]) == 1
    assert capsys.readouterr().err == "Not recovered: there is no pulumi command on PATH\n"
