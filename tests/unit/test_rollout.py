"""The wait for a deployment, inside of a Pulumi program."""

from collections.abc import Iterator
from typing import Any

import pytest

from components import rollout
from components.deployment import Clients
from components.rollout import Rollout, RolloutArgs, RolloutFailed
from tests.unit.fake_ecs import NEW, OLD, TARGET, FakeAccount, deployment, stopped
from tests.unit.mocked_engine import Deployment, run

DONE = deployment("ecs-svc/2", NEW, "COMPLETED")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "POLL_INTERVAL", 0)


def roll(
    account: FakeAccount | Exception, monkeypatch: pytest.MonkeyPatch, *, preview: bool = False, timeout: int = 900
) -> Deployment:
    def clients(region: str, profile: str | None) -> Clients:
        assert (region, profile) == ("eu-central-1", "work")
        if isinstance(account, Exception):
            raise account
        return account.clients()

    monkeypatch.setattr(rollout, "_clients", clients)
    args = RolloutArgs(
        cluster_name=TARGET.cluster,
        service_name=TARGET.service,
        task_definition_arn=TARGET.task_definition,
        target_group_arn=TARGET.target_group,
        log_group_name=TARGET.log_group,
        auto_scaling_group_name=TARGET.auto_scaling_group,
        region="eu-central-1",
        profile="work",
        timeout=timeout,
    )
    return run(lambda: Rollout("pre", args), preview=preview)


def test_an_update_waits_until_the_deployment_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)], [deployment("ecs-svc/2", NEW)], [DONE]])
    roll(account, monkeypatch)
    assert account.looks == 3


def test_progress_is_shown_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = deployment("ecs-svc/2", NEW, runningCount=0, desiredCount=1, pendingCount=1)
    running = deployment("ecs-svc/2", NEW, runningCount=1, desiredCount=1)
    shown = roll(FakeAccount(states=[[starting], [starting], [running], [DONE]]), monkeypatch)
    # Pulumi hands messages on side by side, so that only their number and their texts are certain.
    assert sorted(shown.messages) == [("INFO", "0 of 1 tasks run, 1 start"), ("INFO", "1 of 1 tasks run")]


def test_a_preview_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    roll(AssertionError("asked in a preview"), monkeypatch, preview=True)


def test_it_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = roll(FakeAccount(states=[[DONE]]), monkeypatch)
    assert [r.type for r in made.resources] == ["booklink:backend:Rollout"]
    assert made.component_outputs[made.one("booklink:backend:Rollout").urn] == {}


def test_an_update_fails_where_the_deployment_does_with_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = deployment("ecs-svc/2", NEW, "FAILED", status="ACTIVE", rolloutStateReason="circuit breaker")
    back = deployment("ecs-svc/3", OLD, "COMPLETED")
    account = FakeAccount(
        states=[[failed, back]], stopped_tasks=[stopped("a")], logs={"backend/backend/a": ["no database"]}
    )
    with pytest.raises(RolloutFailed) as raised:
        roll(account, monkeypatch)
    report = str(raised.value)
    assert "The deployment of backend:2 failed." in report
    assert "Reason: circuit breaker" in report
    assert "exit code 1" in report
    assert "no database" in report


def test_the_report_waits_until_ecs_has_gone_back(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = deployment("ecs-svc/2", NEW, "FAILED", status="ACTIVE", runningCount=0)
    going = deployment("ecs-svc/3", OLD, "IN_PROGRESS", runningCount=0)
    back = deployment("ecs-svc/3", OLD, "COMPLETED")
    with pytest.raises(RolloutFailed, match=r"Serving now: 1 task\(s\) of backend:1"):
        roll(FakeAccount(states=[[failed, going], [failed, going], [back]]), monkeypatch)


def test_the_report_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "ROLLBACK_TIMEOUT", 0)
    failed = deployment("ecs-svc/2", NEW, "FAILED", status="ACTIVE", runningCount=0)
    going = deployment("ecs-svc/3", OLD, "IN_PROGRESS", runningCount=0)
    with pytest.raises(RolloutFailed, match="Serving now: nothing"):
        roll(FakeAccount(states=[[failed, going]]), monkeypatch)


def test_a_deployment_whose_time_is_over_is_ended_before_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(FakeAccount):
        def stop_service_deployment(self, **asked: Any) -> None:
            super().stop_service_deployment(**asked)
            self.states = [[deployment("ecs-svc/3", OLD, "COMPLETED")]]

    account = Late(
        states=[[deployment("ecs-svc/2", NEW, runningCount=0), deployment("ecs-svc/1", OLD, status="ACTIVE")]],
        breaker=True,
        history=[{"serviceDeploymentArn": "arn", "status": "IN_PROGRESS", "sourceServiceRevisions": [{"arn": "r"}]}],
    )
    with pytest.raises(RolloutFailed) as raised:
        roll(account, monkeypatch, timeout=0)
    assert account.stopped_deployments == [("arn", "ROLLBACK")]
    assert "(service.deploymentTimeout); ECS was told to go back\n" in str(raised.value)
    assert "Serving now: 1 task(s) of backend:1" in str(raised.value)


def test_an_error_of_aws_is_worded_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RolloutFailed) as raised:
        roll(ConnectionError("AWS is away"), monkeypatch)
    assert str(raised.value) == (
        "Whether the deployment of backend:2 is complete can't be told: AWS is away. `pulumi up` again looks again."
    )


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("_credentials")
def test_aws_is_asked_in_the_stacks_region() -> None:
    clients = rollout._clients("eu-central-1", None)
    assert {client.meta.region_name for client in (clients.ecs, clients.logs, clients.elbv2, clients.autoscaling)} == {
        "eu-central-1"
    }
