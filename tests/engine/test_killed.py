"""`pulumi up` is killed again and again while it makes an environment: each time the documented way goes on."""

import signal
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from commands.interrupted import FINDERS
from commands.recover import locks
from rehearsal.surroundings import Account, Stack, Workspace, get
from rehearsal.tools import Tools
from tests.engine.deployments import PROJECT, changes, errors, prepare_pre
from tests.engine.interruptions import (
    begin_again,
    in_account,
    in_state,
    interrupted,
    killed,
    pending,
    recovered,
    seen,
)

TAGS = {"Project": PROJECT, "Environment": "pre", "ManagedBy": "pulumi"}
GITHUBS = {"aws:iam/openIdConnectProvider:OpenIdConnectProvider", "aws:iam/policy:Policy"}
OURS = [{"Name": "tag:Environment", "Values": ["pre"]}]

MOMENTS: dict[str, tuple[str, Callable[[Account], Any], str]] = {
    "the network": (
        "ec2:Vpc .*creating",
        lambda account: account.client("ec2").describe_vpcs(Filters=OURS)["Vpcs"],
        "aws:ec2/vpc:Vpc",
    ),
    "the subnets": (
        "ec2:Subnet .*creating",
        lambda account: len(account.client("ec2").describe_subnets(Filters=OURS)["Subnets"]) > 1,
        "aws:ec2/subnet:Subnet",
    ),
    "the load balancer": (
        "lb:LoadBalancer .*creating",
        lambda account: account.client("elbv2").describe_load_balancers()["LoadBalancers"],
        "aws:lb/loadBalancer:LoadBalancer",
    ),
    "the cluster's capacity": (
        "ecs:ClusterCapacityProviders .*creating",
        lambda account: account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"],
        "",
    ),
    "the service": (r"ecs:Service booklink-backend-pre creat", lambda _: True, ""),
    "what scales it": ("appautoscaling:(Target|Policy) .*creat", lambda _: True, ""),
}
"""While what is made: what is printed then, what AWS has, and the type whose creation then is pending for long."""


@pytest.fixture(scope="module")
def before(account: Account) -> Counter[str]:
    """What every account has."""
    return in_account(account)


@pytest.fixture(scope="module")
def pre(workspace: Workspace, tools: Tools, before: Counter[str]) -> Stack:  # noqa: ARG001 - it comes first
    prepare_pre(workspace, tools)
    return workspace.stack("pre")


@pytest.mark.parametrize("what", MOMENTS)
def test_killed_while_it_makes(pre: Stack, what: str) -> None:
    pattern, is_there, kind = MOMENTS[what]
    left = interrupted(pre, seen(pattern, and_then=lambda: is_there(pre.workspace.account)), how=killed)
    assert left.status == -signal.SIGKILL
    begun = pending(pre)
    if begun is not None:
        assert not kind or kind in begun
        [lock] = locks(pre.run("up", "--yes", "--skip-preview", check=False).output)
        assert lock.host == socket.gethostname(), "the next update is refused for a lock"
    said = recovered(pre)
    assert "released the lock of " in said
    assert pending(pre) == []
    if kind:
        assert f"{kind.rpartition(':')[2]} booklink-backend-pre" in said
        assert "taken into the state" in said


def test_the_next_up_finishes_the_job(pre: Stack) -> None:
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")
    assert get(pre.workspace.account, f"{pre.outputs()['url']}/actuator/health").status == 200


def test_nothing_is_orphaned_or_doubled(pre: Stack, before: Counter[str]) -> None:
    assert in_account(pre.workspace.account) - before == in_state(pre)
    assert "Nothing of pre is interrupted, and nothing is left over." in recovered(pre)


def test_what_is_doubled_is_told_and_not_deleted(pre: Stack) -> None:
    """The program's own guard keeps it from happening; somebody's `stack import` doesn't."""
    elb = pre.workspace.account.client("elbv2")
    [group] = elb.describe_target_groups()["TargetGroups"]
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    second = elb.create_target_group(Name="second", Protocol="HTTP", Port=80, VpcId=group["VpcId"], Tags=tags)
    [arn] = [each["TargetGroupArn"] for each in second["TargetGroups"]]
    said = recovered(pre, clean=False)
    assert f"aws elbv2 delete-target-group --target-group-arn {arn}" in said
    assert said.count("  aws ") == 1, "and nothing else"
    assert len(elb.describe_target_groups()["TargetGroups"]) == 2
    elb.delete_target_group(TargetGroupArn=arn)


def test_up_is_refused_while_a_creation_is_begun(pre: Stack) -> None:
    """As after `pulumi cancel`, or with Pulumi Cloud, which keeps no lock of a dead process."""
    begin_again(pre, "aws:appautoscaling/policy:Policy")
    refused = pre.run("up", "--yes", "--skip-preview", check=False)
    assert refused.status != 0
    assert errors(refused) == 1, refused.output
    assert "`make recover STACK=pre` finds what is there" in refused.output
    assert "taken into the state" in recovered(pre)
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")


def test_each_type_is_found_again(pre: Stack, before: Counter[str]) -> None:
    """All of an environment, as if the engine had been killed while it made it."""
    begun = begin_again(pre, *FINDERS)
    assert {each["type"] for each in begun} == set(FINDERS) - GITHUBS
    recovered(pre)
    assert changes(pre).keys() <= {"aws:autoscaling/group:Group"}, "which takes settings that AWS doesn't keep"
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")
    assert in_account(pre.workspace.account) - before == in_state(pre)
