"""Prints the version that a stack's service runs, or nothing: `python -m commands.version --stack live`."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from commands.stack import StackError, outputs, running_image, session
from settings.model import RELEASE_TAG


def newest_version(labels: Sequence[str]) -> str:
    """Return the newest version among an image's labels, or "" where none is a version."""
    versions = [label for label in labels if re.fullmatch(RELEASE_TAG, label)]
    return max(versions, key=_order, default="")


def _order(version: str) -> tuple[list[int], bool, str]:
    """Return what puts versions in order: 10 after 9, and a pre-release before its release."""
    numbers, _, pre_release = version.removeprefix("v").partition("-")
    return [int(number) for number in numbers.split(".")], not pre_release, pre_release


def running_version(stack: str, found: Mapping[str, str]) -> str:
    """Return the version that the service runs, "" where its image has none; of several, the one that was deployed.

    `found` are the outputs of the stack.

    Raises StackError where the stack runs nothing, or a deployment isn't complete; botocore's errors where AWS refuses.
    """
    aws = session(stack)
    image = running_image(aws.client("ecs"), cluster=found["cluster"], service=found["service"])
    ids = [{"imageDigest": image.digest}]
    details = aws.client("ecr").describe_images(**image.place, imageIds=ids)["imageDetails"]
    labels = [label for each in details for label in each.get("imageTags", [])]
    deployed = found.get("tag", "")
    return newest_version([deployed] if deployed in labels else labels)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m commands.version", description=__doc__)
    parser.add_argument("--stack", required=True)
    try:
        stack = parser.parse_args().stack
        print(running_version(stack, outputs(stack)))
    except StackError as nothing:
        print(f"No version: {nothing}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(f"No version: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
