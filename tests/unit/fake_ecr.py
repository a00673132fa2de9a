"""An ECR repository that answers as far as images are found by their labels, and get others."""

import json
from dataclasses import dataclass, field
from typing import Any

from components.registry import PushedImage

NEW, OLD = "sha256:" + "1" * 64, "sha256:" + "0" * 64
SERVED = "served-111111111111"
ACCOUNT = "123456789012"
IMAGE = PushedImage(account=ACCOUNT, repository="team/backend", digest=NEW)
MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIGURATION = "sha256:" + "c" * 64
MANIFEST = {"config": {"digest": CONFIGURATION}, "layers": []}


class EcrErrors:
    """The errors that a client of ECR knows by their names."""

    class ImageAlreadyExistsException(Exception):
        """The image has that tag already."""


@dataclass(kw_only=True)
class FakeEcr:
    """Which digest has which tag, which digests there are at all, and their manifests where one is of interest.

    The tag `given_meanwhile` is given by somebody else, between a look and the gift of it.
    """

    tags: dict[str, str] = field(default_factory=dict)
    digests: tuple[str, ...] = (NEW, OLD)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    given_meanwhile: str = ""
    exceptions: type[EcrErrors] = EcrErrors

    def batch_get_image(self, **given: Any) -> dict[str, Any]:
        assert (given["registryId"], given["repositoryName"]) == (IMAGE.account, IMAGE.repository)
        (asked,) = given["imageIds"]
        assert set(given["acceptedMediaTypes"]) >= {MEDIA_TYPE, "application/vnd.oci.image.index.v1+json"}, (
            "ECR would turn the manifest into another, with another digest"
        )
        digest = asked.get("imageDigest") or self.tags.get(asked["imageTag"], "")
        found = {
            "imageId": {"imageDigest": digest},
            "imageManifest": json.dumps(self._manifest(digest)),
            "imageManifestMediaType": MEDIA_TYPE,
        }
        return {"images": [found] if digest in self.digests else []}

    def put_image(self, **put: str) -> None:
        assert (put["registryId"], put["repositoryName"]) == (IMAGE.account, IMAGE.repository)
        assert put["imageManifestMediaType"] == MEDIA_TYPE, "another type would be another digest"
        assert json.loads(put["imageManifest"]) == self._manifest(put["imageDigest"]), (
            "ECR checks that it is still that image"
        )
        self.tags[put["imageTag"]] = put["imageDigest"]
        if put["imageTag"] == self.given_meanwhile:
            raise EcrErrors.ImageAlreadyExistsException

    def get_download_url_for_layer(self, **asked: str) -> dict[str, str]:
        assert (asked["registryId"], asked["repositoryName"]) == (IMAGE.account, IMAGE.repository)
        return {"downloadUrl": f"https://layers.example/{asked['layerDigest']}"}

    def _manifest(self, digest: str) -> dict[str, Any]:
        return self.manifests.get(digest, {**MANIFEST, "of": digest})
