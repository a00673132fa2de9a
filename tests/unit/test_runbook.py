"""Ready commands, which a shell must take as they are."""

import json
import shlex

import pytest

from components.runbook import runbook


def commands(revision: int = 3, *, builds: bool = False) -> dict[str, str]:
    return runbook(
        stack="pre",
        region="eu-central-1",
        cluster="cluster-1a",
        service="service-1a",
        log_group="/backend/pre/2026",
        auto_scaling_group="group-1a",
        task_definition=f"arn:aws:ecs:eu-central-1:123456789012:task-definition/backend-pre:{revision}",
        secrets=["pre1/postgres"],
        builds=builds,
        repository="backend",
    )


@pytest.mark.parametrize("name", commands())
def test_each_command_is_one_that_a_shell_takes(name: str) -> None:
    words = shlex.split(commands()[name])
    assert words[0] in ("aws", "pulumi")


@pytest.mark.parametrize("name", [name for name in commands() if name != "rollBack"])
def test_each_call_of_aws_names_its_region(name: str) -> None:
    assert shlex.split(commands()[name])[1:3] == ["--region", "eu-central-1"]


def test_no_command_shows_a_secrets_value() -> None:
    assert "secret pre1/postgres" in commands()
    assert not [text for text in commands().values() if "get-secret-value" in text]


def test_everything_that_the_contract_names_is_there() -> None:
    assert {"logs", "shellOnInstance", "shellInContainer", "rollBack", "releases", "redeploy"} <= set(commands())


def test_the_shell_in_the_container_is_given_as_json() -> None:
    words = shlex.split(commands()["shellInContainer"])
    (parameters,) = [json.loads(word) for word in words if word.startswith("{")]
    (command,) = parameters["command"]
    assert "label=com.amazonaws.ecs.task-definition-family=backend-pre" in command


def test_a_stack_that_builds_has_no_release_to_go_back_to() -> None:
    assert "rollBack" not in commands(builds=True)


def test_no_command_guesses_which_revision_was_good() -> None:
    assert not [text for text in commands().values() if "--task-definition" in text], "the one before may have crashed"
