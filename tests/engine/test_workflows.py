"""The workflows' commands, as they run on GitHub, in order and in one account: from a pull request to live and back."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal.surroundings import Account, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import PROJECT, QUICK_HEALTH, adjust, change_sample, prepare_pre, push
from tests.workflows.fake_gh import FakeGitHub
from tests.workflows.runner import Job, Runner, all_steps, workflow

REPOSITORY, COMMIT = "booklink/backend", "4f2c" * 10
PULL_REQUEST = 17

TESTED_ELSEWHERE = ("make lint unit", "make rehearse")
"""What `make test` and the rehearsal are: run from here, the tests would run themselves."""

VARIABLES = {
    "AWS_REGION": "eu-central-1",
    **{f"{stack}_{does}_ROLE": f"arn:aws:iam::111122223333:role/{stack}-{does}".lower().replace("_role", "")
       for stack in ("PRE", "LIVE") for does in ("PREVIEW", "DEPLOY")},
}  # fmt: skip


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> FakeGitHub:
    return FakeGitHub.make(tmp_path_factory.mktemp("github"))


def install_packages(workspace: Workspace) -> None:
    """Make the copy's `.venv` one that `make setup` has made: with the packages that the tests run with."""
    environment = workspace.directory / ".venv"
    environment.unlink()
    environment.mkdir()
    for each in Path(sys.prefix).iterdir():
        (environment / each.name).symlink_to(each)
    (environment / ".installed").unlink(missing_ok=True)
    (environment / ".installed").touch()


@pytest.fixture(scope="module")
def runner(workspace: Workspace, tools: Tools, github: FakeGitHub) -> Runner:
    install_packages(workspace)
    prepare_pre(workspace, tools)
    small = {"service": {"min": 1, "max": 1, "deploymentTimeout": 120}, "capacity": {"min": 1, "max": 2}}
    adjust(workspace, "live", {"health": QUICK_HEALTH, **small})
    for stack in ("pre", "live"):
        workspace.stack(stack)
    state = workspace.variables["PULUMI_BACKEND_URL"]
    # The make that runs this test has its say in the environment; GitHub's runner has none.
    own = {name: value for name, value in workspace.environment.items() if not name.startswith("MAKE")}
    environment = own | {
        "PATH": f"{github.folder / 'bin'}{os.pathsep}{workspace.environment['PATH']}",
        "CI": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "4711",
        "GITHUB_SHA": COMMIT,
        "GITHUB_WORKFLOW_REF": f"{REPOSITORY}/.github/workflows/live.yml@refs/heads/master",
    }
    del environment["PULUMI_BACKEND_URL"]
    event = {"pull_request": {"number": PULL_REQUEST, "head": {"sha": COMMIT, "repo": {"full_name": REPOSITORY}}}}
    contexts = {
        "github": {"repository": REPOSITORY, "token": "of-the-workflow", "sha": COMMIT, "event": event},
        "vars": VARIABLES | {"PULUMI_BACKEND_URL": state},
    }
    return Runner(folder=workspace.directory, environment=environment, contexts=contexts, only_shown=TESTED_ELSEWHERE)


def succeeded(job: Job) -> Job:
    assert job.status == "success", job.output
    return job


def failed(job: Job, *, at: str) -> Job:
    assert job.outcome(at) == "failure", job.output
    assert "Traceback" not in job.output, job.output
    return job


def roles(job: Job) -> list[str]:
    return [given["role-to-assume"] for action, given in job.actions if "configure-aws-credentials" in action]


def release(runner: Runner, version: str) -> Job:
    event = {"release": {"tag_name": version}}
    return runner.run("release", "release", github=runner.contexts["github"] | {"event": event})


def live(runner: Runner, version: str) -> Job:
    return runner.run("live", "deploy", inputs={"version": version})


def drift(runner: Runner, stack: str) -> Job:
    return runner.run("drift", "drift", matrix={"stack": stack})


def issues(github: FakeGitHub) -> list[tuple[str, str]]:
    return [(each["title"], each["state"]) for each in github.read()["issues"]]


def comment(github: FakeGitHub) -> str:
    [only] = github.read()["comments"]
    assert only["issue"] == PULL_REQUEST
    return str(only["body"])


def test_the_jobs_of_a_pull_request_test_and_rehearse(runner: Runner) -> None:
    for job in ("tests", "rehearsal"):
        succeeded(runner.run("preview", job))


def test_a_pull_request_says_what_it_would_create(runner: Runner, github: FakeGitHub) -> None:
    job = succeeded(runner.run("preview", "preview"))
    assert roles(job) == [VARIABLES["PRE_PREVIEW_ROLE"], VARIABLES["LIVE_PREVIEW_ROLE"]]
    said = comment(github)
    assert "### pre: + " in said
    assert " to create" in said
    assert "+ aws:ecs/service:Service: (create)" in said
    assert "### live: not deployed yet" in said


@pytest.fixture(scope="module")
def deployed(runner: Runner) -> Job:
    return succeeded(runner.run("pre", "deploy"))


def test_a_merge_is_deployed_and_labelled(deployed: Job, account: Account) -> None:
    assert roles(deployed) == [VARIABLES["PRE_DEPLOY_ROLE"]]
    images = account.client("ecr").describe_images(repositoryName=PROJECT)["imageDetails"]
    assert f"commit-{COMMIT}" in [label for image in images for label in image.get("imageTags", [])]
    assert deployed.summary.startswith("## pre runs this commit")
    assert "https://pre-be.booklinktrove.com" in deployed.summary


@pytest.mark.usefixtures("deployed")
def test_a_pull_request_from_the_applications_repository_updates_its_one_comment(
    runner: Runner, github: FakeGitHub, workspace: Workspace
) -> None:
    context = workspace.directory / "app"
    before = (context / "VERSION").read_text()
    (context / ".git").mkdir()
    change_sample(workspace, version="proposed")
    job = succeeded(runner.run("preview", "preview", inputs={"context": "app"}))
    assert ("actions/checkout", {"path": "app", "persist-credentials": "False"}) in job.actions
    assert not (context / ".git").exists()
    change_sample(workspace, version=before.strip())
    said = comment(github)
    assert "to update" in said
    assert "docker:index/image:Image" in said


@pytest.mark.usefixtures("deployed")
def test_a_release_of_another_commit_is_refused(runner: Runner) -> None:
    other = Runner(
        folder=runner.folder,
        environment={**runner.environment, "GITHUB_SHA": "0" * 40},
        contexts=runner.contexts,
        ran=runner.ran,
    )
    job = failed(release(other, "v1.0.0"), at="Give the image that pre runs the version's label")
    assert "no image has its label" in job.output


@pytest.fixture(scope="module")
def released(runner: Runner, deployed: Job) -> Job:  # noqa: ARG001 - it comes first
    return succeeded(release(runner, "v1.0.0"))


@pytest.fixture(scope="module")
def served(runner: Runner, released: Job) -> Job:  # noqa: ARG001 - it comes first
    return succeeded(live(runner, "v1.0.0"))


def test_a_release_says_how_it_comes_to_live(released: Job) -> None:
    assert "v1.0.0 is sha256:" in released.summary


def test_live_runs_it(served: Job) -> None:
    assert roles(served) == [VARIABLES["LIVE_DEPLOY_ROLE"]]
    assert served.summary.startswith("## live runs v1.0.0")
    assert "nothing to go back to" in served.summary


@pytest.mark.usefixtures("served")
def test_nothing_drifts(runner: Runner, github: FakeGitHub) -> None:
    job = succeeded(drift(runner, "pre"))
    assert roles(job) == [VARIABLES["PRE_PREVIEW_ROLE"]]
    assert issues(github) == [], job.output


@pytest.mark.usefixtures("served")
def test_what_somebody_changed_is_an_issue_until_it_is_mended(
    runner: Runner, github: FakeGitHub, account: Account
) -> None:
    logs = account.client("logs")
    [group] = logs.describe_log_groups(logGroupNamePrefix=f"/{PROJECT}/live/")["logGroups"]
    logs.put_retention_policy(logGroupName=group["logGroupName"], retentionInDays=7)
    assert roles(succeeded(drift(runner, "live"))) == [VARIABLES["LIVE_PREVIEW_ROLE"]]
    assert issues(github) == [("Drift of live", "open")]
    said = github.read()["issues"][0]["body"]
    assert f"- `update aws:cloudwatch/logGroup:LogGroup {PROJECT}-live" in said
    assert "retentionInDays" in said
    logs.put_retention_policy(logGroupName=group["logGroupName"], retentionInDays=group["retentionInDays"])
    succeeded(drift(runner, "live"))
    assert issues(github) == [("Drift of live", "closed")]


@pytest.fixture(scope="module")
def crashed(runner: Runner, served: Job, workspace: Workspace, account: Account, tools: Tools) -> Job:  # noqa: ARG001
    """A version that pre never served, since pre would have refused it too; and it crashes."""
    push(account, "v1.1.0", base=tools.base_image, fault="crash")
    adjust(workspace, "live", {"promotedOnly": None})
    return failed(live(runner, "v1.1.0"), at="Deploy")


def test_a_version_that_crashes_fails_and_says_what_serves(crashed: Job) -> None:
    assert crashed.summary.startswith("## v1.1.0 was not deployed to live")
    assert "live runs v1.0.0." in crashed.summary
    assert "Container: exit code 1" in crashed.summary
    assert "To go back, run this workflow with v1.0.0" in crashed.summary


@pytest.mark.usefixtures("crashed")
def test_a_failed_deployment_is_drift(runner: Runner, github: FakeGitHub) -> None:
    succeeded(drift(runner, "live"))
    assert issues(github)[-1] == ("Drift of live", "open")
    said = github.read()["issues"][-1]["body"]
    assert f"- `update aws:ecs/service:Service {PROJECT}-live" in said
    assert "have gone back from a deployment that failed" in said


@pytest.mark.usefixtures("crashed")
def test_going_back_is_the_version_before(runner: Runner) -> None:
    back = succeeded(live(runner, "v1.0.0"))
    assert back.summary.startswith("## live runs v1.0.0")


def test_all_commands_of_the_workflows_ran(runner: Runner) -> None:
    commands: set[Any] = {step["run"] for step in all_steps() if "run" in step}
    assert commands - runner.ran == set()
    assert workflow("live")["jobs"], "there are commands to look for"
