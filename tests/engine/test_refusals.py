"""What is wrong is refused by the real engine too: in one clear error, before anything is created."""

from collections.abc import Mapping
from typing import Any

import pytest

from rehearsal.surroundings import Account, Outcome, Stack, Workspace
from tests.engine.deployments import PROJECT, ZONE, adjust, costs_by_the_hour, errors, state

COMMITTED = "Pulumi.pre.yaml"

WRONG: dict[str, tuple[Mapping[str, Any], str]] = {
    "host with a dot": ({"host": "pre.be"}, 'host: "pre.be" is not allowed'),
    "tag with a slash": ({"tag": "feature/x"}, 'tag: "feature/x" is not allowed'),
    "range beyond its prefix": ({"network": {"cidr": "10.10.0.1/16"}}, "the range is 10.10.0.0/16"),
    "unknown setting": ({"servce": {"min": 1}}, "servce: is no setting; did you mean service?"),
    "unknown instance type": ({"capacity": {"instanceType": "t9.micro"}}, 'capacity.instanceType: "t9.micro"'),
    "more memory than an instance has": ({"container": {"memory": 4096}}, "container.memory: 4096 MiB is more than"),
    "two tasks on one host port": (
        {"container": {"hostPort": 8888}, "service": {"max": 3}},
        "service.max: 3 tasks don't fit on capacity.max = 2 instance(s)",
    ),
    "no reference to a secret": ({"container": {"secrets": {"TOKEN": "arn:aws:s3:::x"}}}, "container.secrets.TOKEN:"),
    "not yet": ({"parked": True}, "parked: not yet"),
}


@pytest.fixture
def pre(workspace: Workspace) -> Stack:
    """The stack with its committed settings."""
    file = workspace.directory / COMMITTED
    committed = (workspace.directory / "committed").with_suffix(".yaml")
    if not committed.exists():
        committed.write_text(file.read_text())
    file.write_text(committed.read_text())
    return workspace.stack("pre")


def is_refused(outcome: Outcome) -> None:
    assert outcome.status != 0, outcome.output
    assert errors(outcome) == 1, outcome.output
    assert "nothing was changed" in outcome.output, outcome.output
    assert "Traceback" not in outcome.output, outcome.output


def created(stack: Stack) -> list[str]:
    """What is in the state, but the stack itself and the provider that looks up."""
    return [each["urn"] for each in state(stack) if not each["type"].startswith("pulumi:")]


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_creates_nothing(pre: Stack, case: str) -> None:
    settings, message = WRONG[case]
    adjust(pre.workspace, "pre", settings)
    refused = pre.run("up", "--yes", "--skip-preview", check=False)
    is_refused(refused)
    assert f"1 setting is wrong in {COMMITTED}" in refused.output
    assert message in refused.output
    assert created(pre) == []


@pytest.mark.parametrize("command", [("up", "--yes"), ("preview",)], ids=["up", "preview"])
def test_all_wrong_settings_are_named_at_once(pre: Stack, command: tuple[str, ...]) -> None:
    adjust(pre.workspace, "pre", {"host": "pre.be", "tag": "feature/x", "network": {"cidr": "10.10.0.1/16"}})
    refused = pre.run(*command, check=False)
    is_refused(refused)
    assert "3 settings are wrong" in refused.output
    for name in ("host: ", "tag: ", "network.cidr: "):
        assert name in refused.output
    assert created(pre) == []


@pytest.mark.parametrize("command", [("up", "--yes", "--skip-preview"), ("preview",)], ids=["up", "preview"])
def test_all_that_must_exist_and_is_missing_is_named_at_once(workspace: Workspace, command: tuple[str, ...]) -> None:
    missing = {"zone": "elsewhere.com", "tag": "v9.9.9", "container": {"readableSecrets": ["live2/postgres"]}}
    adjust(workspace, "live", missing)
    live = workspace.stack("live")
    refused = live.run(*command, check=False)
    is_refused(refused)
    assert "there is no public hosted zone elsewhere.com" in refused.output
    assert f"there is no image v9.9.9 in the ECR repository {PROJECT}" in refused.output
    assert "live2/postgres" in refused.output
    assert created(live) == []


def test_what_was_refused_left_nothing_in_the_account(account: Account) -> None:
    assert costs_by_the_hour(account) == []
    assert account.client("ecs").list_clusters()["clusterArns"] == []
    assert account.client("ecr").describe_repositories()["repositories"] == []
    assert account.client("iam").list_roles()["Roles"] == []
    zones = account.client("route53").list_hosted_zones()["HostedZones"]
    assert [zone["Name"] for zone in zones] == [f"{ZONE}."], "the seeded zone alone"
