"""Giving the image that pre runs a version's label."""

import json
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from commands import release as command
from commands.release import label_commit, release
from commands.stack import StackError, running_image
from tests.unit.fake_ecr import ACCOUNT, IMAGE, NEW, OLD, SERVED, FakeEcr

REFERENCE = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/team/backend@{NEW}"
OUTPUTS = {"cluster": "cluster-1a", "service": "service-1a"}
TASK_DEFINITION = f"arn:aws:ecs:eu-central-1:{ACCOUNT}:task-definition/pre:3"
COMMIT = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"


@dataclass
class FakeEcs:
    """A service with the deployments that are given, all of one task definition."""

    deployments: list[dict[str, str]]

    def describe_services(self, *, cluster: str, services: list[str]) -> dict[str, Any]:
        assert {"cluster": cluster, "service": services[0]} == OUTPUTS
        return {"services": [{"deployments": self.deployments}] if self.deployments else []}

    def describe_task_definition(self, *, taskDefinition: str) -> dict[str, Any]:  # noqa: N803 boto3's
        assert taskDefinition == TASK_DEFINITION
        return {"taskDefinition": {"containerDefinitions": [{"image": REFERENCE}]}}


def deployment(status: str = "PRIMARY", **more: str) -> dict[str, str]:
    return {"id": "ecs-svc/1", "status": status, "taskDefinition": TASK_DEFINITION, **more}


@pytest.mark.parametrize("state", [{"rolloutState": "COMPLETED"}, {}])
def test_the_image_is_the_one_that_the_service_runs(state: dict[str, str]) -> None:
    assert running_image(FakeEcs([deployment("ACTIVE"), deployment(**state)]), **OUTPUTS) == IMAGE


@pytest.mark.parametrize("state", ["IN_PROGRESS", "FAILED"])
def test_an_image_that_was_never_served_is_no_release(state: str) -> None:
    with pytest.raises(StackError, match=f"the deployment ecs-svc/1 is {state}, not COMPLETED"):
        running_image(FakeEcs([deployment(rolloutState=state)]), **OUTPUTS)


def test_a_service_that_is_gone_says_what_to_run() -> None:
    with pytest.raises(StackError, match="there is no service service-1a in cluster-1a; `pulumi up` the stack first"):
        running_image(FakeEcs([]), **OUTPUTS)


@pytest.mark.parametrize("version", ["v1.2.3", "v10.0.0", "v1.2.3-rc.1"])
def test_the_image_gets_the_label_byte_for_byte(version: str) -> None:
    ecr = FakeEcr(tags={"master": NEW})
    assert release(ecr, IMAGE, version) == f"{version} is {NEW}, which pre runs."
    assert ecr.tags == {"master": NEW, version: NEW, SERVED: NEW}


def test_the_same_release_again_does_nothing() -> None:
    ecr = FakeEcr(tags={"v1.2.3": NEW})
    assert "already; nothing to do" in release(ecr, IMAGE, "v1.2.3")


def test_a_version_never_changes_its_image() -> None:
    ecr = FakeEcr(tags={"v1.2.3": OLD})
    with pytest.raises(StackError, match="A version never changes its image: take the next one"):
        release(ecr, IMAGE, "v1.2.3")
    assert ecr.tags == {"v1.2.3": OLD}


@pytest.mark.parametrize("version", ["", "1.2.3", "v1.2", "master", "v1.2.3+build", "v1.2.3 "])
def test_a_label_that_is_no_version_is_refused(version: str) -> None:
    ecr = FakeEcr()
    with pytest.raises(StackError, match=r"allowed is vMAJOR\.MINOR\.PATCH, such as VERSION=v1\.2\.3"):
        release(ecr, IMAGE, version)
    assert ecr.tags == {}


def test_a_release_of_a_commit_is_of_its_image() -> None:
    ecr = FakeEcr(tags={f"commit-{COMMIT}": NEW})
    assert release(ecr, IMAGE, "v1.2.3", commit=COMMIT) == f"v1.2.3 is {NEW}, which pre runs."


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({}, f"pre has not run what the commit {COMMIT} came to: no image has its label"),
        ({f"commit-{COMMIT}": OLD}, f"the commit {COMMIT} came to {OLD}, while pre runs {NEW}: another merge has come"),
    ],
    ids=["never deployed", "overtaken"],
)
def test_a_release_of_another_commit_than_pre_runs_is_refused(tags: dict[str, str], problem: str) -> None:
    ecr = FakeEcr(tags=dict(tags))
    with pytest.raises(StackError, match=problem):
        release(ecr, IMAGE, "v1.2.3", commit=COMMIT)
    assert ecr.tags == tags


def test_the_image_gets_the_label_of_its_commit_once() -> None:
    ecr = FakeEcr(tags={"master": NEW})
    assert label_commit(ecr, IMAGE, COMMIT) == f"{NEW} has the label commit-{COMMIT} now."
    assert ecr.tags == {"master": NEW, f"commit-{COMMIT}": NEW}
    assert label_commit(ecr, IMAGE, COMMIT) == f"{NEW} has the label commit-{COMMIT} already; nothing to do."


@pytest.mark.parametrize("commit", ["", "HEAD", "0a1b2c", "0A1B2C3D", "0a1b2c3d;ls"])
def test_a_commit_that_is_no_hash_is_refused(commit: str) -> None:
    with pytest.raises(StackError, match="allowed is the whole hash of a commit, as `git rev-parse HEAD` gives it"):
        label_commit(FakeEcr(), IMAGE, commit)


def test_an_image_that_is_gone_says_how_it_comes_back() -> None:
    with pytest.raises(StackError, match=r"is no longer in team/backend; `pulumi up --stack pre`"):
        release(FakeEcr(digests=()), IMAGE, "v1.2.3")


def pulumi_that(does: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a `pulumi` on PATH that runs a line of Python."""
    script = folder / "pulumi"
    script.write_text(f"#!{sys.executable}\nimport sys\n{does}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


CONFIG = {"aws:region": {"value": "eu-central-1"}, "aws:profile": {"value": "work"}}


def answering(outputs: dict[str, str]) -> str:
    return f"print({json.dumps(outputs)!r} if 'output' in sys.argv else {json.dumps(CONFIG)!r})"


@dataclass
class FakeSession:
    """Sessions of boto3 that know one ECS and one ECR; `asked` has how they were made."""

    ecr: FakeEcr
    asked: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, **given: str) -> "FakeSession":
        self.asked.append(given)
        return self

    def client(self, service: str) -> FakeEcr | FakeEcs:
        clients: dict[str, FakeEcr | FakeEcs] = {"ecr": self.ecr, "ecs": FakeEcs([deployment()])}
        return clients[service]


def run_command(monkeypatch: pytest.MonkeyPatch, ecr: FakeEcr, *arguments: str) -> int:
    session = FakeSession(ecr)
    monkeypatch.setattr(boto3.session, "Session", session)
    monkeypatch.setattr(sys, "argv", ["release", *arguments])
    status = command.main()
    assert session.asked in ([{"region_name": "eu-central-1", "profile_name": "work"}], []), "the stack's own account"
    return status


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        (answering({}), "pre runs nothing yet; `pulumi up --stack pre` first"),
        ("sys.exit('no stack named pre')", "pulumi stack output: no stack named pre"),
    ],
)
def test_what_stands_in_the_way_is_told_in_one_line(
    does: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pulumi_that(does, tmp_path, monkeypatch)
    assert run_command(monkeypatch, FakeEcr(), "v1.2.3") == 1
    assert capsys.readouterr().err == f"No release: {problem}\n"


def test_a_missing_pulumi_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command(monkeypatch, FakeEcr(), "v1.2.3") == 1
    assert capsys.readouterr().err == "No release: there is no pulumi command on PATH\n"


def test_the_command_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi_that(answering(OUTPUTS), tmp_path, monkeypatch)
    ecr = FakeEcr()
    assert run_command(monkeypatch, ecr, "v1.2.3") == 0
    assert ecr.tags == {"v1.2.3": NEW, SERVED: NEW}
    assert capsys.readouterr().out.endswith("To run it in live: pulumi up --stack live --config tag=v1.2.3\n")


def test_the_command_labels_a_commit_where_there_is_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi_that(answering(OUTPUTS), tmp_path, monkeypatch)
    ecr = FakeEcr()
    assert run_command(monkeypatch, ecr, "--commit", COMMIT) == 0
    assert ecr.tags == {f"commit-{COMMIT}": NEW}
    assert capsys.readouterr().out == f"{NEW} has the label commit-{COMMIT} now.\n"
    assert run_command(monkeypatch, ecr, "--commit", "HEAD") == 1
    assert capsys.readouterr().err.startswith("No label: COMMIT: 'HEAD' is not allowed")


def test_the_command_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi_that(answering(OUTPUTS), tmp_path, monkeypatch)
    assert run_command(monkeypatch, FakeEcr(), "latest") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("No release: VERSION: 'latest' is not allowed")
    assert shown.err.count("\n") == 1
