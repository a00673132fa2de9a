"""Gives the image that pre runs the label of a version: `python -m commands.release v1.2.3`.

Nothing is built or pulled: the label is put on the image's manifest in ECR, so live runs byte for byte what pre ran.
"""

import argparse
import re
import sys
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from commands.stack import StackError, outputs, running_image, session
from components.registry import NoSuchImage, PushedImage, commit_label, digest_of, give_labels, served_label
from settings.model import RELEASE_TAG

COMMIT = r"[0-9a-f]{40}|[0-9a-f]{64}"


def release(ecr: Any, image: PushedImage, version: str, *, commit: str = "") -> str:
    """Give `image` the label `version`, and say what was done; raises StackError where another image has it.

    With `commit`, the image must be the one that the commit came to, by the label that `make label` gave it.
    """
    if not re.fullmatch(RELEASE_TAG, version):
        problem = f"{version!r} is not allowed" if version else "is missing"
        raise StackError(f"VERSION: {problem}; allowed is vMAJOR.MINOR.PATCH, such as VERSION=v1.2.3")
    if commit:
        _check_commit(ecr, image, commit)
    held = digest_of(ecr, image, version)
    if held == image.digest:
        return f"{version} is {image.digest} already; nothing to do."
    if held:
        raise StackError(
            f"{version} is {held}, while pre runs {image.digest}. A version never changes its image: take the next one."
        )
    _label(ecr, image, served_label(image.digest), version)
    return f"{version} is {image.digest}, which pre runs."


def label_commit(ecr: Any, image: PushedImage, commit: str) -> str:
    """Give `image` the label of the commit that it was built from, and say what was done; raises StackError."""
    _check_hash(commit)
    label = commit_label(commit)
    if not _label(ecr, image, label):
        return f"{image.digest} has the label {label} already; nothing to do."
    return f"{image.digest} has the label {label} now."


def _check_hash(commit: str) -> None:
    if not re.fullmatch(COMMIT, commit):
        problem = f"{commit!r} is not allowed" if commit else "is missing"
        raise StackError(f"COMMIT: {problem}; allowed is the whole hash of a commit, as `git rev-parse HEAD` gives it")


def _check_commit(ecr: Any, image: PushedImage, commit: str) -> None:
    _check_hash(commit)
    built = digest_of(ecr, image, commit_label(commit))
    if not built:
        raise StackError(
            f"pre has not run what the commit {commit} came to: no image has its label; deploy it to pre first, which "
            "a merge does"
        )
    if built != image.digest:
        raise StackError(
            f"the commit {commit} came to {built}, while pre runs {image.digest}: another merge has come since; "
            "release that one, or deploy this commit to pre again"
        )


def _label(ecr: Any, image: PushedImage, *labels: str) -> list[str]:
    try:
        return give_labels(ecr, image, *labels)
    except NoSuchImage as gone:
        raise StackError(f"{gone}; `pulumi up --stack pre` builds and pushes it again") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", nargs="?", help="such as v1.2.3; without one, the image gets the commit's label")
    parser.add_argument("--stack", default="pre", help="whose image it is (default: pre)")
    parser.add_argument("--commit", default="", help="which the image must have come from; make: COMMIT")
    arguments = parser.parse_args()
    try:
        found, aws = outputs(arguments.stack), session(arguments.stack)
        image = running_image(aws.client("ecs"), cluster=found["cluster"], service=found["service"])
        ecr = aws.client("ecr")
        if arguments.version is None:
            print(label_commit(ecr, image, arguments.commit))
        else:
            print(release(ecr, image, arguments.version, commit=arguments.commit))
            print(f"To run it in live: pulumi up --stack live --config tag={arguments.version}")
    except (StackError, BotoCoreError, ClientError) as error:
        what = "No label" if arguments.version is None else "No release"
        print(f"{what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
