"""The workflows' structure: who gets which permission, what runs in turn, what a stranger's text can reach."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.folders import ROOT
from rehearsal.pulumi_engine import installed_versions
from tests.workflows.expressions import ExpressionError, evaluate, filled_in, holds
from tests.workflows.runner import WORKFLOWS, Runner, all_steps, local_action, workflow

NAMES = {"preview", "pre", "release", "live", "drift"}
JOBS = [(name, job) for name in sorted(NAMES) for job in workflow(name)["jobs"]]

ACTIONS = {
    "actions/checkout": "v7.0.1",
    "actions/setup-python": "v7.0.0",
    "aws-actions/configure-aws-credentials": "v6.2.3",
    "pulumi/actions": "v7.0.0",
    "pulumi/auth-actions": "v2.1.0",
}
"""All that the tests can't run: actions of others, with their versions."""

WORKING_ON = {("pre", "deploy"): "pre", ("release", "release"): "pre", ("live", "deploy"): "live"}
"""The jobs that change an environment, by workflow and job, and which they change."""

WRITING = {
    ("preview", "preview"): {"id-token", "pull-requests"},
    ("drift", "drift"): {"id-token", "issues"},
    **{deploying: {"id-token"} for deploying in WORKING_ON},
}
"""What a job may write, besides reading the code; all others may write nothing."""


def job_of(name: str, job: str) -> dict[str, Any]:
    found: dict[str, Any] = workflow(name)["jobs"][job]
    return found


def steps_of(name: str, job: str) -> list[dict[str, Any]]:
    """The job's steps, with those of the project's own actions in place of their use."""
    return [
        inner
        for step in job_of(name, job)["steps"]
        for inner in (local_action(step["uses"])["runs"]["steps"] if step.get("uses", "").startswith("./") else [step])
    ]


def test_the_workflows_are_those_of_the_contract() -> None:
    assert {file.stem for file in WORKFLOWS.glob("*.yml")} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_workflow_runs_by_itself_and_when_called(name: str) -> None:
    triggers = workflow(name)["on"]
    assert "workflow_call" in triggers
    assert len(triggers) > 1
    assert "pull_request_target" not in triggers, "it would give a stranger's code the repository's credentials"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_workflow_may_nothing_but_what_its_jobs_say(name: str) -> None:
    assert workflow(name)["permissions"] == {}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_writes_what_it_needs_to(name: str, job: str) -> None:
    permissions = job_of(name, job)["permissions"]
    assert {scope for scope, access in permissions.items() if access == "write"} == WRITING.get((name, job), set())
    assert {scope for scope, access in permissions.items() if access == "read"} == {"contents"}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_ends(name: str, job: str) -> None:
    assert job_of(name, job)["timeout-minutes"] <= 60, "an hour is what the credentials are good for"


@pytest.mark.parametrize(("name", "job"), list(WORKING_ON))
def test_one_job_at_a_time_works_on_an_environment_and_none_is_cancelled(name: str, job: str) -> None:
    group = f"deploy-{WORKING_ON[name, job]}"
    assert job_of(name, job)["concurrency"] == {"group": group, "cancel-in-progress": False, "queue": "max"}


def test_drift_is_not_looked_for_during_a_deployment() -> None:
    concurrency = job_of("drift", "drift")["concurrency"]
    assert filled_in(concurrency["group"], {"matrix": {"stack": "live"}}) == "deploy-live"
    assert (concurrency["cancel-in-progress"], concurrency["queue"]) == (False, "max")


def test_live_needs_its_environments_approval() -> None:
    assert job_of("live", "deploy")["environment"] == "live"


@pytest.mark.parametrize(
    ("head", "author", "role", "jobs"),
    [
        ("booklink/backend", "anna", "arn", ["tests", "preview"]),
        ("stranger/backend", "stranger", "arn", ["rehearsal"]),
        ("booklink/backend", "dependabot[bot]", "arn", ["rehearsal"]),
        ("booklink/backend", "anna", "", ["rehearsal"]),
    ],
    ids=["branch", "fork", "Dependabot", "not set up"],
)
def test_who_gets_credentials(head: str, author: str, role: str, jobs: list[str]) -> None:
    pull_request = {"head": {"repo": {"full_name": head}}, "user": {"login": author}}
    contexts = {
        "github": {"repository": "booklink/backend", "event": {"pull_request": pull_request}},
        "vars": {"PRE_PREVIEW_ROLE": role},
    }
    running: list[str] = []
    for name, job in workflow("preview")["jobs"].items():
        needed = job.get("needs")
        if (needed is None or needed in running) and holds(job.get("if", "success()"), contexts):
            running.append(name)
    assert running == jobs


def test_a_stranger_gets_no_secret_and_no_token_of_the_cloud() -> None:
    stranger = job_of("preview", "rehearsal")
    assert stranger["permissions"] == {"contents": "read"}
    assert "secrets." not in json.dumps(stranger)
    used = [step.get("uses", "").partition("@")[0] for step in steps_of("preview", "rehearsal")]
    assert "actions/checkout" in used, "there are steps to look at"
    assert not {"aws-actions/configure-aws-credentials", "pulumi/auth-actions"} & set(used)


def test_no_text_from_outside_becomes_a_command() -> None:
    commands = [step["run"] for step in all_steps() if "run" in step]
    assert commands
    assert [command for command in commands if "${{" in command] == []


@pytest.mark.parametrize("target", ["release", "label", "preview", "recover"])
def test_make_takes_a_name_from_outside_as_it_is(target: str, tmp_path: Path) -> None:
    """As `make release VERSION="$TAG"` gives it one: a tag's name may have everything in it but a space."""
    rules = (ROOT / "Makefile").read_text()
    lines = [line for line in rules.splitlines() if " export " in line and target in line.partition(":")[0].split()]
    variables = [line.partition("export ")[2].partition(" ")[0] for line in lines]
    assert variables, "it gives its command what it was given"
    shown = "".join(f"\t@printf '%s\\n' \"$${each}\"\n" for each in variables)
    (tmp_path / "Makefile").write_text("\n".join([*lines, f"{target}:", shown]))
    hostile = "v1.2.3-$(HOME)$(shell touch made)"
    given = [f"{each}={hostile}" for each in variables]
    # The make that runs this test has its say in the environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", target, *given], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [hostile for _ in variables]
    assert not (tmp_path / "made").exists()


def test_no_checkout_leaves_a_token_behind() -> None:
    checkouts = [step for step in all_steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_the_project_is_checked_out_at_the_workflows_own_commit(name: str, job: str) -> None:
    first = job_of(name, job)["steps"][0]["with"]
    # Where GitHub doesn't tell the workflow's own, it isn't called from elsewhere.
    assert first["repository"] == "${{ job.workflow_repository || github.repository }}"
    assert first["ref"] == "${{ job.workflow_sha || github.sha }}"


def test_actions_of_others_are_few_and_pinned() -> None:
    files = [*WORKFLOWS.glob("*.yml"), *(ROOT / ".github" / "actions").glob("*/action.yml")]
    used = re.findall(r"uses: (\w[\w/-]*)@([0-9a-f]{40}) # (v[\d.]+)$", "".join(map(Path.read_text, files)), re.M)
    others = [step["uses"] for step in all_steps() if not step.get("uses", "./").startswith("./")]
    assert len(used) == len(others), "each by its commit, with its version beside"
    assert {name: version for name, _, version in used} == ACTIONS
    assert len({(name, commit) for name, commit, _ in used}) == len(ACTIONS)


def test_the_stack_is_of_the_version_of_the_package() -> None:
    versions = [
        step["with"]["pulumi-version"] for step in all_steps() if step.get("uses", "").startswith("pulumi/actions@")
    ]
    assert versions == [installed_versions()["pulumi"]]


def test_the_steps_are_bash_which_fails_where_any_command_does() -> None:
    assert all(workflow(name)["defaults"]["run"]["shell"] == "bash" for name in NAMES)
    in_actions = [step for name in ("setup", "application", "credentials") for step in action_steps(name)]
    assert {step["shell"] for step in in_actions if "run" in step} == {"bash"}


def action_steps(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = local_action(f".github/actions/{name}")["runs"]["steps"]
    return found


@pytest.mark.parametrize("missing", ["role", "region", "state", ""])
def test_what_is_not_set_up_is_said_before_anything_runs(tmp_path: Path, missing: str) -> None:
    given = {"role": "arn:aws:iam::111122223333:role/x", "region": "eu-central-1", "organization": ""}
    state = "" if missing == "state" else "s3://bucket"
    contexts = {"env": {"PULUMI_BACKEND_URL": state}}
    runner = Runner(folder=tmp_path, environment={"PATH": "/usr/bin:/bin"}, contexts=contexts)
    inputs = {name: "" if name == missing else value for name, value in given.items()}
    job = runner.run_action(".github/actions/credentials", **inputs)
    used = [action for action, _ in job.actions]
    if missing:
        assert job.status == "failure"
        assert "::error title=Not set up::Set this repository's variables" in job.output
        assert used == []
    else:
        assert job.status == "success", job.output
        assert used == ["aws-actions/configure-aws-credentials"]


def test_drift_is_looked_for_in_live_once_live_is_set_up() -> None:
    matrix = job_of("drift", "drift")["strategy"]["matrix"]["stack"]
    assert filled_in(matrix, {"vars": {"LIVE_PREVIEW_ROLE": "arn"}}) == ["pre", "live"]
    assert filled_in(matrix, {"vars": {}}) == ["pre"]


# The evaluator


CONTEXTS: Mapping[str, Any] = {"vars": {"A": "a"}, "github": {"event": {"number": 3}}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("vars.A", "a"),
        ("vars.B", ""),
        ("github.event.number", 3),
        ("github.event.none.deeper", ""),
        ("vars.A == 'A'", True),
        ("vars.A != 'a' || vars.B == ''", True),
        ("!(vars.A == 'a' && vars.B != '')", True),
        ("vars.B || 'it''s'", "it's"),
        ("fromJSON('[1]')", [1]),
        ("cancelled()", False),
    ],
)
def test_expressions_are_evaluated_as_on_github(expression: str, value: object) -> None:
    assert evaluate(expression, CONTEXTS) == value


@pytest.mark.parametrize("expression", ["needs.x", "hashFiles('x')", "vars.A ? 1", "(vars.A", "vars.A vars.B"])
def test_what_the_evaluator_does_not_know_is_no_value(expression: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(expression, CONTEXTS)


@pytest.mark.parametrize(
    ("condition", "status", "held"),
    [
        ("vars.A == 'a'", "success", True),
        ("vars.A == 'a'", "failure", False),
        ("${{ !cancelled() && vars.A == 'a' }}", "failure", True),
        ("${{ !cancelled() }}", "cancelled", False),
        ("failure()", "failure", True),
    ],
)
def test_a_condition_implies_that_nothing_failed_unless_it_asks(condition: str, status: str, held: bool) -> None:
    assert holds(condition, CONTEXTS, status=status) is held


# The example for another repository


def example() -> dict[str, Any]:
    """The workflow of the documents that calls the others."""
    [text] = [
        file.read_text() for file in (ROOT / "docs").glob("*.md") if "\n## The workflows\n" in f"\n{file.read_text()}"
    ]
    [found] = re.findall(r"```yaml\n(name: backend\n.*?)```", text, re.S)
    content: dict[str, Any] = yaml.safe_load(found)
    return content


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_example_calls_each_workflow_with_what_it_needs(name: str) -> None:
    caller = example()["jobs"][name]
    repository, _, path = caller["uses"].partition("/.github/workflows/")
    assert (repository.count("/"), path.partition("@")[0]) == (1, f"{name}.yml")
    needed = {scope: access for job in workflow(name)["jobs"].values() for scope, access in job["permissions"].items()}
    assert caller["permissions"] == needed, "GitHub refuses a call that gives less"
    inputs = (workflow(name)["on"]["workflow_call"] or {}).get("inputs", {})
    assert set(caller.get("with", {})) == set(inputs)


@pytest.mark.parametrize(
    ("event", "version", "called"),
    [
        ("pull_request", "", ["preview"]),
        ("push", "", ["pre"]),
        ("release", "", ["release"]),
        ("workflow_dispatch", "v1.2.3", ["live"]),
        ("workflow_dispatch", "", ["drift"]),
        ("schedule", "", ["drift"]),
    ],
)
def test_the_example_calls_one_workflow_for_each_event(event: str, version: str, called: list[str]) -> None:
    contexts = {"github": {"event_name": event}, "inputs": {"version": version}}
    assert [name for name, job in example()["jobs"].items() if holds(job["if"], contexts)] == called
