"""Runs `pulumi` as whoever uses a command of this project has it set up: their backend, their secrets provider."""

import json
import subprocess
from typing import Any

import boto3


class PulumiError(Exception):
    """Why `pulumi` could not do something, in its own words."""


def pulumi(*arguments: str, given: str | None = None) -> str:
    """Return what `pulumi` answers; `given` is its standard input.

    Raises PulumiError, with its own words, where it fails or isn't there.
    """
    command = ["pulumi", *arguments, "--non-interactive"]
    try:
        return subprocess.run(command, check=True, input=given, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        raise PulumiError("there is no pulumi command on PATH") from None
    except subprocess.CalledProcessError as error:
        raise PulumiError(f"pulumi {' '.join(arguments[:2])}: {(error.stderr or error.stdout).strip()}") from None


def exported(stack: str) -> dict[str, Any]:
    """Return the state of `stack` as the engine exports it: what is secret stays encrypted."""
    state: dict[str, Any] = json.loads(pulumi("stack", "export", "--stack", stack))
    return state


def session(stack: str) -> Any:
    """Return a boto3 session with the region and the profile that the stack's own settings name."""
    config = json.loads(pulumi("config", "--json", "--stack", stack))
    region, profile = (config.get(f"aws:{key}", {}).get("value") for key in ("region", "profile"))
    return boto3.session.Session(region_name=region, profile_name=profile)
