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

from settings.model import RELEASE_TAG

MANIFESTS = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]
"""Forms in which an image may have been pushed; ECR must give it as it is, or its digest would be another."""


class ReleaseError(Exception):
    """Why there is no release; for the person who asked for one."""


@dataclass(frozen=True, kw_only=True)
class RunningImage:
    """The image that a service runs: the account and the repository it is in, and its digest."""

    account: str
    repository: str
    digest: str

    @property
    def place(self) -> dict[str, str]:
        """How ECR's calls name the repository."""
        return {"registryId": self.account, "repositoryName": self.repository}


def running_image(ecs: Any, *, cluster: str, service: str) -> RunningImage:
    """Return the image that the service runs by its newest deployment; raises ReleaseError where that isn't complete.

    ECS is asked, and not the stack's outputs: these have the image that was built last, though its deployment failed.
    """
    services = ecs.describe_services(cluster=cluster, services=[service])["services"]
    deployment = next((d for s in services for d in s["deployments"] if d["status"] == "PRIMARY"), None)
    if deployment is None:
        raise ReleaseError(f"there is no service {service} in {cluster}; `pulumi up` the stack first")
    state = deployment.get("rolloutState", "COMPLETED")
    if state != "COMPLETED":
        raise ReleaseError(
            f"the deployment {deployment['id']} is {state}, not COMPLETED: a release is an image that has been served"
        )
    arn = deployment["taskDefinition"]
    container = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["containerDefinitions"][0]
    address, _, digest = container["image"].partition("@")
    return RunningImage(account=arn.split(":")[4], repository=address.partition("/")[2], digest=digest)


def release(ecr: Any, image: RunningImage, version: str) -> str:
    """Give `image` the label `version`, and say what was done; raises ReleaseError where another image has it."""
    if not re.fullmatch(RELEASE_TAG, version):
        problem = f"{version!r} is not allowed" if version else "is missing"
        raise ReleaseError(f"VERSION: {problem}; allowed is vMAJOR.MINOR.PATCH, such as v1.2.3")
    held = _digest_of(ecr, image, version)
    if held == image.digest:
        return f"{version} is {image.digest} already; nothing to do."
    if held:
        raise ReleaseError(
            f"{version} is {held}, while pre runs {image.digest}. A version never changes its image: take the next one."
        )
    answer = ecr.batch_get_image(**image.place, imageIds=[{"imageDigest": image.digest}], acceptedMediaTypes=MANIFESTS)
    if not answer["images"]:
        raise ReleaseError(
            f"{image.digest} is no longer in {image.repository}; `pulumi up --stack pre` builds and pushes it again"
        )
    manifest = answer["images"][0]
    ecr.put_image(
        **image.place,
        imageManifest=manifest["imageManifest"],
        imageManifestMediaType=manifest["imageManifestMediaType"],
        imageTag=version,
        imageDigest=image.digest,
    )
    return f"{version} is {image.digest}, which pre runs."


def _digest_of(ecr: Any, image: RunningImage, tag: str) -> str:
    answer = ecr.batch_get_image(**image.place, imageIds=[{"imageTag": tag}])
    return str(answer["images"][0]["imageId"]["imageDigest"]) if answer["images"] else ""


def _pulumi(*arguments: str) -> str:
    """Return what `pulumi` answers; raises ReleaseError, with its own words, where it can't."""
    try:
        return subprocess.run(["pulumi", *arguments], check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        raise ReleaseError("there is no pulumi command on PATH") from None
    except subprocess.CalledProcessError as error:
        raise ReleaseError(f"pulumi {' '.join(arguments)}: {error.stderr.strip()}") from None


def _session(stack: str) -> Any:
    """Return a session with the region and the profile that the stack's own settings name."""
    config = json.loads(_pulumi("config", "--json", "--stack", stack))
    region, profile = (config.get(f"aws:{key}", {}).get("value") for key in ("region", "profile"))
    return boto3.session.Session(region_name=region, profile_name=profile)


def _outputs(stack: str) -> dict[str, str]:
    outputs: dict[str, str] = json.loads(_pulumi("stack", "output", "--json", "--stack", stack))
    if "service" not in outputs:
        raise ReleaseError(f"{stack} runs nothing yet; `pulumi up --stack {stack}` first")
    return outputs


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", help="such as v1.2.3")
    parser.add_argument("--stack", default="pre", help="whose image it is (default: pre)")
    arguments = parser.parse_args()
    try:
        session, outputs = _session(arguments.stack), _outputs(arguments.stack)
        image = running_image(session.client("ecs"), cluster=outputs["cluster"], service=outputs["service"])
        print(release(session.client("ecr"), image, arguments.version))
        print(f"To run it in live: pulumi up --stack live --config tag={arguments.version}")
    except (ReleaseError, BotoCoreError, ClientError) as error:
        print(f"No release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
