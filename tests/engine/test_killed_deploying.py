"""`pulumi up` is interrupted politely while it makes an environment, and killed while it deploys another image."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from rehearsal.surroundings import Account, Stack, Workspace, get
from rehearsal.tools import Tools
from tests.engine.deployments import change_sample, prepare_pre
from tests.engine.interruptions import in_account, in_state, interrupted, killed, pending, recovered, seen

OURS = [{"Name": "tag:Environment", "Values": ["pre"]}]


def ctrl_c(leader: int) -> None:
    """What a terminal does: the signal reaches all that runs in the foreground."""
    os.killpg(leader, signal.SIGINT)


def ctrl_c_twice(leader: int) -> None:
    ctrl_c(leader)
    time.sleep(1)
    ctrl_c(leader)


def terminated(leader: int) -> None:
    """What a CI system does before it kills."""
    os.kill(leader, signal.SIGTERM)


@pytest.fixture(scope="module")
def before(account: Account) -> Counter[str]:
    return in_account(account)


@pytest.fixture(scope="module")
def pre(workspace: Workspace, tools: Tools, before: Counter[str]) -> Stack:  # noqa: ARG001 - it comes first
    prepare_pre(workspace, tools)
    change_sample(workspace, version="one")
    return workspace.stack("pre")


def test_ctrl_c_once_leaves_nothing_to_repair(pre: Stack) -> None:
    ec2 = pre.workspace.account.client("ec2")
    moment = seen("ec2:Vpc .*creating", and_then=lambda: ec2.describe_vpcs(Filters=OURS)["Vpcs"])
    left = interrupted(pre, moment, how=ctrl_c)
    assert left.status > 0
    assert pending(pre) == [], "what was under way was waited for"
    assert "Nothing of pre is interrupted, and nothing is left over." in recovered(pre)


@pytest.mark.parametrize(
    ("how", "kind", "operation", "key"),
    [
        (terminated, "ec2:Subnet", "describe_subnets", "Subnets"),
        (ctrl_c_twice, "ec2:LaunchTemplate", "describe_launch_templates", "LaunchTemplates"),
    ],
)
def test_what_a_signal_leaves_is_recovered(
    pre: Stack, how: Callable[[int], None], kind: str, operation: str, key: str
) -> None:
    listed = getattr(pre.workspace.account.client("ec2"), operation)
    left = interrupted(pre, seen(f"{kind} .*creating", and_then=lambda: listed(Filters=OURS)[key]), how=how)
    assert left.status != 0
    recovered(pre)
    assert pending(pre) == []


def test_then_up_makes_the_rest(pre: Stack, before: Counter[str]) -> None:
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")
    assert in_account(pre.workspace.account) - before == in_state(pre)


@pytest.mark.parametrize(
    "moment",
    [
        "docker:index:Image .*(Step|updating)",
        "ecs:TaskDefinition .*(replac|creating)",
        "ecs:Service .*updat",
        "Rollout .*tasks? run",
    ],
)
def test_killed_while_it_deploys(pre: Stack, moment: str) -> None:
    change_sample(pre.workspace, version=f"killed at {moment}")
    left = interrupted(pre, seen(moment), how=killed)
    assert left.status == -signal.SIGKILL
    assert "released the lock of " in recovered(pre)


def test_the_next_up_deploys_it(pre: Stack, before: Counter[str]) -> None:
    change_sample(pre.workspace, version="last")
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")
    assert in_account(pre.workspace.account) - before == in_state(pre)
    assert '"version": "last"' in get(pre.workspace.account, f"{pre.outputs()['url']}/info").body
