"""Images in ECR, as its API shows them: which labels they have, and for which architectures they were built.

Talks to AWS, and knows nothing of Pulumi.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

MANIFESTS = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]
"""Forms in which an image may have been pushed; ECR must give it as it is, or its digest would be another.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html#image-manifest-conversion
"""

SERVED, SERVING, COMMIT = "served-", "serving-", "commit-"
"""How labels begin that say of an image: it has served, an environment runs it now, it was built from a commit."""

FETCH_TIMEOUT = 10
"""Seconds for the few kilobytes of an image's configuration."""


class NoSuchImage(Exception):
    """The image is no longer in its repository."""


@dataclass(frozen=True, kw_only=True)
class PushedImage:
    """An image in ECR: the account and the repository that it is in, and its digest."""

    account: str
    repository: str
    digest: str

    @classmethod
    def of(cls, repository_arn: str, reference: str) -> "PushedImage":
        """Return the image that `reference` (an address, @ and a digest) names in a repository."""
        _, _, _, _, account, resource = repository_arn.split(":", 5)
        return cls(account=account, repository=resource.partition("/")[2], digest=reference.partition("@")[2])

    @property
    def place(self) -> dict[str, str]:
        """How ECR's calls name the repository."""
        return {"registryId": self.account, "repositoryName": self.repository}


def served_label(digest: str) -> str:
    """Return the label of an image that the building environment has served: it never moves."""
    return SERVED + digest.removeprefix("sha256:")[:12]


def serving_label(stack: str) -> str:
    """Return the label of the image that a stack serves now, by which it is kept from expiring."""
    return SERVING + stack


def commit_label(commit: str) -> str:
    """Return the label of the image that a commit came to."""
    return COMMIT + commit


def digest_of(ecr: Any, image: PushedImage, label: str) -> str:
    """Return the digest of what has a label in the repository of `image`, or "" where nothing has."""
    answer = ecr.batch_get_image(**image.place, imageIds=[{"imageTag": label}], acceptedMediaTypes=MANIFESTS)
    return str(answer["images"][0]["imageId"]["imageDigest"]) if answer["images"] else ""


def give_labels(ecr: Any, image: PushedImage, *labels: str) -> list[str]:
    """Give an image labels, without pulling it, and return those that it hadn't; one of another image moves.

    Raises NoSuchImage; where a label may not move, ECR's own error (botocore's ClientError).
    """
    new = [label for label in labels if digest_of(ecr, image, label) != image.digest]
    if new:
        manifest = _manifest(ecr, image)
    for label in new:
        try:
            ecr.put_image(
                **image.place,
                imageManifest=manifest["imageManifest"],
                imageManifestMediaType=manifest["imageManifestMediaType"],
                imageTag=label,
                imageDigest=image.digest,
            )
        except ecr.exceptions.ImageAlreadyExistsException:
            # Somebody else has just given it the same.
            continue
    return new


def architectures(ecr: Any, image: PushedImage, *, fetch: Callable[[str], bytes] | None = None) -> set[str]:
    """Return the architectures that an image was built for, such as amd64, by its index or else its configuration.

    Raises NoSuchImage, botocore's ClientError and OSError, where they can't be had.
    https://github.com/opencontainers/image-spec/blob/main/image-index.md
    """
    document = json.loads(_manifest(ecr, image)["imageManifest"])
    if "manifests" in document:
        platforms = [each.get("platform", {}) for each in document["manifests"]]
        return {each["architecture"] for each in platforms if each.get("os") == "linux"}
    configuration = document["config"]["digest"]
    address = ecr.get_download_url_for_layer(**image.place, layerDigest=configuration)["downloadUrl"]
    return {json.loads((fetch or _fetch)(address))["architecture"]}


def _manifest(ecr: Any, image: PushedImage) -> dict[str, str]:
    ids = [{"imageDigest": image.digest}]
    answer = ecr.batch_get_image(**image.place, imageIds=ids, acceptedMediaTypes=MANIFESTS)
    if not answer["images"]:
        raise NoSuchImage(f"{image.digest} is no longer in {image.repository}")
    found: dict[str, str] = answer["images"][0]
    return found


def _fetch(address: str) -> bytes:
    with urlopen(address, timeout=FETCH_TIMEOUT) as answer:  # noqa: S310 ECR's own address, by HTTPS
        content: bytes = answer.read()
        return content
