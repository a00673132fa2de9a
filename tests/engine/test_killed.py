"""`pulumi up` is killed again and again while it makes an environment: each time the documented way goes on."""

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from commands.recover import locks
from rehearsal.surroundings import Account, Stack, Workspace, get
from rehearsal.tools import Tools
from tests.engine.deployments import QUICK_HEALTH, adjust, errors
from tests.engine.interruptions import in_account, in_state, interrupted, killed, pending, recovered, seen

Seen = Callable[[Account], Any]


def made(service: str, operation: str, key: str, **arguments: Any) -> Seen:
    """Whether a listing of AWS has something under `key`."""
    return lambda account: getattr(account.client(service), operation)(**arguments)[key]


OURS = [{"Name": "tag:Environment", "Values": ["pre"]}]
MOMENTS: dict[str, tuple[str, Seen, str]] = {
    "the network": ("ec2:Vpc .*creating", made("ec2", "describe_vpcs", "Vpcs", Filters=OURS), "aws:ec2/vpc:Vpc"),
    "the cluster": (
        "ecs:Cluster .*(creating|created)|ec2:InternetGateway",
        made("ecs", "list_clusters", "clusterArns"),
        "",
    ),
    "the subnets": (
        "ec2:Subnet .*creating",
        lambda account: len(account.client("ec2").describe_subnets(Filters=OURS)["Subnets"]) == 2,
        "aws:ec2/subnet:Subnet",
    ),
    "the load balancer": (
        "lb:LoadBalancer .*creating",
        made("elbv2", "describe_load_balancers", "LoadBalancers"),
        "aws:lb/loadBalancer:LoadBalancer",
    ),
    "the Auto Scaling group": (
        "autoscaling:Group .*creat|lb:Listener .*creat",
        made("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"),
        "",
    ),
    "the service": ("ecs:Service .*creat|route53:Record .*-a creating", made("ecs", "list_clusters", "clusterArns"), ""),
    "the wait for the deployment": ("appautoscaling:Policy .*created", lambda _: True, ""),
}
"""While something is made: what is printed, whether AWS has it, and the type that then is pending, where it takes time."""


@pytest.fixture(scope="module")
def before(account: Account) -> Counter[str]:
    """What every account has."""
    return in_account(account)


@pytest.fixture(scope="module")
def pre(workspace: Workspace, tools: Tools, before: Counter[str]) -> Stack:  # noqa: ARG001 - it comes first
    adjust(workspace, "pre", {"health": QUICK_HEALTH, "service": {"deploymentTimeout": 120}})
    if tools.base_image:
        adjust(workspace, "pre", {"build": {"args": {"BASE": tools.base_image}}})
    return workspace.stack("pre")


@pytest.mark.parametrize("what", MOMENTS)
def test_killed_while_it_makes(pre: Stack, what: str) -> None:
    pattern, is_there, kind = MOMENTS[what]
    account = pre.workspace.account
    left = interrupted(pre, seen(pattern, and_then=lambda: is_there(account)), how=killed)
    assert left.status == -signal.SIGKILL
    begun = pending(pre)
    assert not kind or kind in begun
    locked = pre.run("up", "--yes", "--skip-preview", check=False)
    [lock] = locks(locked.output)
    assert lock.host == socket.gethostname()
    if begun and what == "the load balancer":
        pre.run("cancel", "--yes")
        refused = pre.run("up", "--yes", "--skip-preview", check=False)
        assert refused.status != 0
        assert errors(refused) == 1
        assert "`make recover STACK=pre` finds what is there" in refused.output
    said = recovered(pre)
    print(what, begun, said)
    assert pending(pre) == []


def test_the_next_up_finishes_the_job(pre: Stack) -> None:
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")
    assert get(pre.workspace.account, f"{pre.outputs()['url']}/actuator/health").status == 200


def test_nothing_is_orphaned_or_doubled(pre: Stack, before: Counter[str]) -> None:
    assert in_account(pre.workspace.account) - before == in_state(pre)
    assert "Nothing of pre is interrupted, and nothing is left over." in recovered(pre)
