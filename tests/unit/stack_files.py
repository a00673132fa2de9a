"""Reads Pulumi.yaml and stack files as the `pulumi` command does, and runs the program with what they say."""

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

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


def run_program(stack: str, given: Mapping[str, Any], **options: Any) -> Deployment:
    """Run __main__.py, as it is, for a stack whose file gives `given`."""
    return run(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        stack=stack,
        config=configuration(given),
        **options,
    )
