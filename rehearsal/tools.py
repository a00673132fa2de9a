"""What a rehearsal runs with, where it can be had: a Docker engine, the Pulumi engine, a base image for the sample."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rehearsal import base, docker_engine, pulumi_engine
from rehearsal.folders import ROOT
from rehearsal.progress import Say

PULL_SECONDS = 180
DOCKERFILE = ROOT / "app" / "Dockerfile"
_DEFAULT_BASE = re.compile(r"^ARG\s+BASE=(\S+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The variables to run `pulumi` with, and the base image to build with where it isn't the Dockerfile's own."""

    variables: Mapping[str, str]
    base_image: str | None


@contextmanager
def tools(*, say: Say) -> Iterator[Tools]:
    """Have everything ready within this context.

    Raises:
        DockerError, EngineError, BaseError, CommandError: where something can't be had; the message says what helps.
    """
    with docker_engine.engine(say=say):
        base_image = _base_image(DOCKERFILE, say=say)
        yield Tools(variables=pulumi_engine.prepare(say=say), base_image=base_image)


def default_base(dockerfile: str) -> str | None:
    """The image that a Dockerfile builds on unless it is told another by its argument BASE; None without one."""
    found = _DEFAULT_BASE.search(dockerfile)
    return found[1] if found else None


def _base_image(dockerfile: Path, *, say: Say) -> str | None:
    image = default_base(dockerfile.read_text())
    if image is None or _has(image, say=say):
        return None
    say(f"  the sample's base image, {image}, can't be had here: it is made of this system's packages instead")
    return base.make(say=say)


def _has(image: str, *, say: Say) -> bool:
    """Whether Docker has the image, or can pull it."""
    inspect = ["docker", "image", "inspect", image]
    if subprocess.run(inspect, check=False, capture_output=True).returncode == 0:
        return True
    say(f"  pulling {image}")
    pull = ["docker", "pull", "--quiet", image]
    try:
        return subprocess.run(pull, check=False, capture_output=True, timeout=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False
