"""What commands ask about a stack: Pulumi for its settings and outputs, AWS for what its service runs."""

import json
import subprocess
from typing import Any

import boto3

from components.registry import PushedImage


class StackError(Exception):
    """Why a command can't do what it was asked for; for the person who asked."""


class PulumiError(StackError):
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


def session(stack: str) -> Any:
    """Return a boto3 session with the region and the profile that the stack's own settings name."""
    config = json.loads(pulumi("config", "--json", "--stack", stack))
    region, profile = (config.get(f"aws:{key}", {}).get("value") for key in ("region", "profile"))
    return boto3.session.Session(region_name=region, profile_name=profile)


def exported(stack: str) -> dict[str, Any]:
    """Return the state of a stack as the engine exports it: what is secret stays encrypted."""
    state: dict[str, Any] = json.loads(pulumi("stack", "export", "--stack", stack))
    return state


def outputs(stack: str) -> dict[str, str]:
    """Return the outputs of a stack that has been brought up; raises StackError where it hasn't."""
    found: dict[str, str] = json.loads(pulumi("stack", "output", "--json", "--stack", stack))
    if "service" not in found:
        raise StackError(f"{stack} runs nothing yet; `pulumi up --stack {stack}` first")
    return found


def running_image(ecs: Any, *, cluster: str, service: str) -> PushedImage:
    """Return the image that the service runs by its newest deployment; raises StackError where that isn't complete.

    ECS is asked, and not the stack's outputs: these have the image that was built last, though its deployment failed.
    """
    services = ecs.describe_services(cluster=cluster, services=[service])["services"]
    deployment = next((d for s in services for d in s["deployments"] if d["status"] == "PRIMARY"), None)
    if deployment is None:
        raise StackError(f"there is no service {service} in {cluster}; `pulumi up` the stack first")
    state = deployment.get("rolloutState", "COMPLETED")
    if state != "COMPLETED":
        raise StackError(
            f"the deployment {deployment['id']} is {state}, not COMPLETED: a label is for an image that has been served"
        )
    arn = deployment["taskDefinition"]
    container = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["containerDefinitions"][0]
    address, _, digest = container["image"].partition("@")
    return PushedImage(account=arn.split(":")[4], repository=address.partition("/")[2], digest=digest)
