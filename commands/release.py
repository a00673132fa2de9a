"""Gives the image that pre runs the label of a version: `python -m commands.release v1.2.3`.

Nothing is built or pulled: the label is put on the image's manifest in ECR, so live runs byte for byte what pre ran.
"""

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

VERSION = re.compile(r"^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$")
"""https://semver.org, after a v; ECR takes no + in a tag, so build metadata can't be given."""


class ReleaseError(Exception):
    """Why there is no release; for the person who asked for one."""


@dataclass(frozen=True, kw_only=True)
class RunningImage:
    """The image that a stack's service runs."""

    repository: str
    digest: str

    @classmethod
    def parse(cls, reference: str) -> "RunningImage":
        """Return the image that `registry/repository@sha256:…` names."""
        address, _, digest = reference.partition("@")
        return cls(repository=address.partition("/")[2], digest=digest)


def release(ecr: Any, image: RunningImage, version: str) -> str:
    """Give `image` the label `version`, and say what was done; raises ReleaseError where another image has it."""
    if not VERSION.match(version):
        raise ReleaseError(f"VERSION: {version!r} is not allowed; allowed is vMAJOR.MINOR.PATCH, such as v1.2.3")
    held = _digest_of(ecr, image.repository, version)
    if held == image.digest:
        return f"{version} is {image.digest} already; nothing to do."
    if held:
        raise ReleaseError(
            f"{version} is {held}, while pre runs {image.digest}. A version never changes its image: take the next one."
        )
    answer = ecr.batch_get_image(repositoryName=image.repository, imageIds=[{"imageDigest": image.digest}])
    if not answer["images"]:
        raise ReleaseError(
            f"{image.digest} is no longer in {image.repository}; `pulumi up --stack pre` builds and pushes it again"
        )
    manifest = answer["images"][0]
    ecr.put_image(
        repositoryName=image.repository,
        imageManifest=manifest["imageManifest"],
        imageManifestMediaType=manifest["imageManifestMediaType"],
        imageTag=version,
    )
    return f"{version} is {image.digest}, which pre runs."


def _digest_of(ecr: Any, repository: str, tag: str) -> str:
    answer = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
    return str(answer["images"][0]["imageId"]["imageDigest"]) if answer["images"] else ""


def _pulumi(*arguments: str) -> str:
    """Return what `pulumi` answers; raises ReleaseError, with its own words, where it can't."""
    try:
        return subprocess.run(["pulumi", *arguments], check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        raise ReleaseError("there is no pulumi command on PATH") from None
    except subprocess.CalledProcessError as error:
        raise ReleaseError(f"pulumi {' '.join(arguments)}: {error.stderr.strip()}") from None


def running_image(stack: str) -> RunningImage:
    """Return the image that `stack` runs, by its outputs."""
    outputs = json.loads(_pulumi("stack", "output", "--json", "--stack", stack))
    if "image" not in outputs:
        raise ReleaseError(f"{stack} runs nothing yet; `pulumi up --stack {stack}` first")
    return RunningImage.parse(outputs["image"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", help="such as v1.2.3")
    parser.add_argument("--stack", default="pre", help="whose image it is (default: pre)")
    arguments = parser.parse_args()
    try:
        image = running_image(arguments.stack)
        ecr = boto3.client("ecr", region_name=_pulumi("config", "get", "aws:region", "--stack", arguments.stack))
        print(release(ecr, image, arguments.version))
        print(f"To run it in live: pulumi up --stack live --config tag={arguments.version}")
    except (ReleaseError, BotoCoreError, ClientError) as error:
        print(f"No release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
