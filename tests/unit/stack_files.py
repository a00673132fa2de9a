"""Reads Pulumi.yaml and stack files as the `pulumi` command does, and runs the program with what they say."""

import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from components import image, rollout
from components.deployment import Clients
from tests.unit.mocked_engine import PROJECT, Deployment, run

ROOT = Path(__file__).parents[2]
STACKS = ("pre", "live")
SECOND_APPLICATION = ROOT / "tests" / "examples" / "second" / "Pulumi.second.yaml"


def stack_file(stack: str) -> Path:
    return ROOT / f"Pulumi.{stack}.yaml"


def values(file: Path) -> dict[str, Any]:
    """Return the configuration that a stack file gives, by its full names."""
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    config: dict[str, Any] = content["config"]
    return config


def settings_of(file: Path) -> dict[str, Any]:
    """Return the settings that a stack file gives, without their namespace."""
    return {name.removeprefix(f"{PROJECT}:"): v for name, v in values(file).items() if name.startswith(f"{PROJECT}:")}


def configuration(given: Mapping[str, Any]) -> dict[str, str]:
    """Return what the command hands to the program: Pulumi.yaml's defaults, what is given, all of it as text."""
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    defaults = {f"{PROJECT}:{name}": declared["default"] for name, declared in project["config"].items()}
    return {name: _text(value) for name, value in {**defaults, **given}.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class WellService:
    """ECS, where the newest deployment of whichever service is asked about is complete."""

    def describe_services(self, **_: Any) -> dict[str, Any]:
        deployment = {"id": "ecs-svc/1", "taskDefinition": mock.ANY, "status": "PRIMARY", "rolloutState": "COMPLETED"}
        return {"services": [{"serviceName": "backend", "deployments": [deployment]}]}

    def list_tasks(self, **_: Any) -> dict[str, Any]:
        return {"taskArns": []}


def all_is_well(_region: str, _profile: str | None) -> Clients:
    return Clients(ecs=WellService(), logs=None, elbv2=None, autoscaling=None)


def run_program(
    stack: str,
    given: Mapping[str, Any],
    *,
    clients: Callable[[str, str | None], Clients] = all_is_well,
    ecr: object = None,
    built_for: str = "amd64",
    **options: Any,
) -> Deployment:
    """Run __main__.py, as it is, for a stack whose file gives `given`.

    Of AWS, beside what the provider asks, are there: the `clients` that watch a deployment, `ecr` to label images, and
    what an image was `built_for`.
    """
    with (
        mock.patch.object(rollout, "_clients", clients),
        mock.patch.object(rollout, "clients", return_value=[ecr]),
        mock.patch.object(image, "clients", return_value=[None]),
        mock.patch.object(image, "architectures", return_value={built_for}),
    ):
        return run(
            lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
            stack=stack,
            config=configuration(given),
            **options,
        )
