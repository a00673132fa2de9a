"""The wait for a deployment, inside of a Pulumi program."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components import rollout
from components.deployment import Clients
from components.failure_report import NOT_SERVED
from components.rollout import Rollout, RolloutArgs, RolloutFailed
from tests.unit import fake_ecr
from tests.unit.fake_ecr import SERVED, FakeEcr
from tests.unit.fake_ecs import NEW, OLD, TARGET, FakeAccount, deployment, stopped
from tests.unit.mocked_engine import Deployment, run

DIGEST, DIGEST_BEFORE = fake_ecr.NEW, fake_ecr.OLD
REPOSITORY = f"arn:aws:ecr:eu-central-1:{fake_ecr.ACCOUNT}:repository/team/backend"
DONE = deployment("ecs-svc/2", NEW, "COMPLETED")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "POLL_INTERVAL", 0)


def roll(
    account: FakeAccount | Exception,
    monkeypatch: pytest.MonkeyPatch,
    *,
    preview: bool = False,
    ecr: FakeEcr | None = None,
    deploys: bool = False,
    timeout: int = 900,
) -> Deployment:
    def clients(region: str, profile: str | None) -> Clients:
        assert (region, profile) == ("eu-central-1", "work")
        if isinstance(account, Exception):
            raise account
        return account.clients()

    def of_ecr(service: str, *, region: str, profile: str | None) -> list[FakeEcr | None]:
        assert (service, region, profile) == ("ecr", "eu-central-1", "work")
        return [ecr]

    monkeypatch.setattr(rollout, "_clients", clients)
    monkeypatch.setattr(rollout, "clients", of_ecr)

    def program() -> None:
        # What is to be made has no ARN in a preview.
        Rollout("pre", replace(args, task_definition_arn=_unknown()) if deploys else args)

    args = RolloutArgs(
        cluster_name=TARGET.cluster,
        service_name=TARGET.service,
        task_definition_arn=TARGET.task_definition,
        target_group_arn=TARGET.target_group,
        log_group_name=TARGET.log_group,
        auto_scaling_group_name=TARGET.auto_scaling_group,
        image=f"registry/team/backend@{DIGEST}",
        labelled_in=REPOSITORY if ecr else None,
        stack="pre",
        region="eu-central-1",
        profile="work",
        timeout=timeout,
    )
    return run(program, preview=preview)


def _unknown() -> pulumi.Output[str]:
    def done(value: Any) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_event_loop().create_future()
        future.set_result(value)
        return future

    return pulumi.Output(resources=done(set()), future=done(None), is_known=done(False), is_secret=done(False))


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


def test_a_complete_deployment_labels_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = FakeEcr(tags={"serving-pre": DIGEST_BEFORE, "v1.0.0": DIGEST_BEFORE})
    made = roll(FakeAccount(states=[[DONE]]), monkeypatch, ecr=ecr)
    assert ecr.tags == {"serving-pre": DIGEST, SERVED: DIGEST, "v1.0.0": DIGEST_BEFORE}
    assert made.warnings() == []


def test_an_image_that_fails_gets_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = FakeEcr(tags={"serving-pre": DIGEST_BEFORE})
    back = deployment("ecs-svc/3", OLD, "COMPLETED")
    with pytest.raises(RolloutFailed):
        roll(FakeAccount(states=[[deployment("ecs-svc/2", NEW), back], [back]]), monkeypatch, ecr=ecr)
    assert ecr.tags == {"serving-pre": DIGEST_BEFORE}, "what serves on must not expire"


def test_a_label_that_is_refused_is_told_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = roll(FakeAccount(states=[[DONE]]), monkeypatch, ecr=FakeEcr(digests=()))
    (warning,) = made.warnings()
    assert f"{DIGEST} serves, but did not get the labels {SERVED} and serving-pre in ECR" in warning
    assert "is no longer in team/backend" in warning


def test_a_preview_of_nothing_warns_where_the_last_deployment_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    account = FakeAccount(
        states=[[deployment("ecs-svc/3", OLD, "COMPLETED")]],
        stopped_tasks=[stopped("a")],
        logs={"backend/backend/a": ["no database"]},
    )
    ecr = FakeEcr()
    (warning,) = roll(account, monkeypatch, preview=True, ecr=ecr).warnings()
    assert warning.startswith(NOT_SERVED)
    assert (
        "the state has backend:2, which it never got, or from which ECS went back, or which somebody changed" in warning
    )
    assert "no database" in warning, "why it failed is told as long as ECS knows"
    assert ecr.tags == {}, "a preview changes nothing"


def test_a_preview_says_that_a_deployment_is_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    going = deployment("ecs-svc/2", NEW, desiredCount=2)
    account = FakeAccount(states=[[going]])
    messages = roll(account, monkeypatch, preview=True).messages
    assert messages == [("INFO", "A deployment is in progress: 1 of 2 tasks run")]
    assert account.looks == 1, "a preview doesn't wait"


def test_a_preview_says_nothing_where_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert roll(FakeAccount(states=[[DONE]]), monkeypatch, preview=True).messages == []


def test_a_preview_that_may_not_look_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    (warning,) = roll(ConnectionError("AWS is away"), monkeypatch, preview=True).warnings()
    assert warning == "Whether the service runs what it should can't be told: AWS is away"


def test_a_preview_of_a_deployment_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = roll(AssertionError("asked about what isn't there yet"), monkeypatch, preview=True, deploys=True)
    assert made.messages == []


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
