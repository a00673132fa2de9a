"""ECR: repositories at the account's own registry, with their images' true sizes and the tags that may not move.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
"""
# ruff: noqa: PLR0917 - a mend takes the parameters of what it replaces

import base64
import fnmatch
import json
import os
import secrets
import time
from collections.abc import Mapping
from typing import Any

from rehearsal.account.mending import OK, Mends, ministack

_ecr = ministack("services.ecr")
_responses = ministack("core.responses")
mend = Mends()

_FILTERS = "imageTagMutabilityExclusionFilters"

USER, PASSWORD = "AWS", secrets.token_urlsafe(30)
"""What `docker login` to this account's registry takes, for as long as the account lives.
https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html"""


def login(reference: str) -> dict[str, str] | None:
    """How Docker logs in for an image of this account's registry; None for one of another."""
    return {"username": USER, "password": PASSWORD} if reference.startswith(f"{_registry()}/") else None


LAYERS = "/layers/"
"""Where layers are downloaded without credentials, by what nobody guesses."""

LAYER_VALID = 3600.0
"""Seconds for which a layer's URL works."""

_links: dict[str, tuple[float, str, str]] = {}
"""When a link ends to work, and the repository and digest that it leads to, by its path's last part."""


def layer(path: str) -> tuple[int, dict[str, str], bytes]:
    """The bytes of a layer by the path of its URL, or S3's refusal of a link that is wrong or too old."""
    until, name, digest = _links.get(path.removeprefix(LAYERS), (0.0, "", ""))
    held = (_ecr._layer_blobs.get(name) or {}).get(digest)
    if time.monotonic() >= until or held is None:
        return 403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>"
    return 200, {"Content-Type": "application/octet-stream", "Content-Length": str(len(held))}, bytes(held)


def _registry() -> str:
    return f"127.0.0.1:{os.environ['GATEWAY_PORT']}"


def immutable(repository: Mapping[str, Any], tag: str) -> bool:
    """Whether a tag stays with its first image, by the repository's setting and the filters that exclude tags."""
    setting = repository.get("imageTagMutability", "MUTABLE")
    excluded = any(fnmatch.fnmatchcase(tag, each["filter"]) for each in repository.get(_FILTERS) or [])
    return bool(setting.startswith("IMMUTABLE") != (excluded and setting.endswith("_WITH_EXCLUSION")))


def _stays(name: str, tag: str) -> str:
    return (
        f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is "
        "immutable."
    )


def _holder(name: str, tag: str) -> Any:
    return next((each for each in _ecr._images.get(name) or [] if tag in each.get("imageTags", [])), None)


def size(name: str, manifest: str) -> int:
    """Bytes that an image takes in its repository: its configuration and layers, or those of an index's images."""
    document = json.loads(manifest or "{}")
    if "manifests" in document:
        held = (_ecr._manifest_blobs.get(name) or {}).get
        found = (held(each["digest"]) for each in document["manifests"])
        return sum(size(name, bytes(each).decode()) for each in found if each)
    return sum(int(each.get("size", 0)) for each in _parts(document))


def _parts(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """An image's configuration and layers, as its manifest describes them."""
    return [manifest.get("config") or {}, *manifest.get("layers", [])]


@mend.replaces(_ecr, "_repo_uri")
def address_here(_original: Any, name: str) -> str:
    """A repository's address is 127.0.0.1:PORT/NAME: `docker push` reaches it there, and needs no TLS on loopback."""
    return f"{_registry()}/{name}"


@mend.replaces(_ecr, "_get_authorization_token")
def log_in_here(original: Any, data: Mapping[str, Any]) -> Any:
    """`docker login` is to the same registry, with the password of this run.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
    """
    answer = json.loads(original(data)[2])
    for each in answer["authorizationData"]:
        each["proxyEndpoint"] = f"http://{_registry()}"
        each["authorizationToken"] = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return _responses.json_response(answer)


@mend.replaces(_ecr, "_create_repository")
def create_repository(original: Any, data: Mapping[str, Any]) -> Any:
    """A repository keeps the filters of its tag mutability.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
    """
    answer = original(data)
    if answer[0] != OK:
        return answer
    repository = _ecr._repositories[data["repositoryName"]]
    repository[_FILTERS] = data.get(_FILTERS)
    return _responses.json_response({"repository": _ecr._repo_shape(repository)})


@mend.replaces(_ecr, "_repo_shape")
def repository_shape(original: Any, repo: Mapping[str, Any]) -> Any:
    """A repository is described with its filters.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Repository.html
    """
    return original(repo) | ({_FILTERS: repo[_FILTERS]} if repo.get(_FILTERS) else {})


@mend.replaces(_ecr, "_put_image_tag_mutability")
def put_mutability(original: Any, data: Mapping[str, Any]) -> Any:
    """Changed mutability comes with its filters, or with none.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImageTagMutability.html
    """
    answer = original(data)
    if answer[0] != OK:
        return answer
    _ecr._repositories[data["repositoryName"]][_FILTERS] = data.get(_FILTERS)
    shown = json.loads(answer[2]) | ({_FILTERS: data[_FILTERS]} if data.get(_FILTERS) else {})
    return _responses.json_response(shown)


@mend.replaces(_ecr, "_put_image")
def put_image(original: Any, data: Mapping[str, Any]) -> Any:
    """A tag that may not move is refused, and so is an image with its own tag again.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
    """
    name, tag = data.get("repositoryName", ""), data.get("imageTag")
    repository, holder = _ecr._repositories.get(name), _holder(name, tag) if tag else None
    if repository is None:
        return original(data)
    if holder is not None:
        digest = data.get("imageDigest") or _ecr._image_digest(data.get("imageManifest", ""))
        if holder["imageDigest"] == digest:
            message = (
                f"Image with digest '{digest}' and tag '{tag}' already exists in the repository with name '{name}'"
            )
            return _responses.error_response_json("ImageAlreadyExistsException", message, 400)
        if immutable(repository, str(tag)):
            return _responses.error_response_json("ImageTagAlreadyExistsException", _stays(name, str(tag)), 400)
    missing = [
        each for each in _blobs(data.get("imageManifest", "")) if each not in (_ecr._layer_blobs.get(name) or {})
    ]
    if missing:
        message = f"Layers with digests '[{', '.join(missing)}]' required for pushing image into repository with name "
        return _responses.error_response_json("LayersNotFoundException", message + f"'{name}' do not exist", 400)
    return original(data)


def _blobs(manifest: str) -> list[str]:
    return [each["digest"] for each in _parts(json.loads(manifest or "{}")) if "digest" in each]


@mend.replaces(_ecr, "_v2_put_manifest")
def push_manifest(original: Any, name: str, ref: str, headers: Any, body: Any) -> Any:
    """A push of another image under a tag that may not move is refused."""
    repository, holder = _ecr._repositories.get(name), _holder(name, ref)
    if repository and holder and immutable(repository, ref) and holder["imageDigest"] != _ecr._content_digest(body):
        return _ecr._registry_error(400, "TAG_INVALID", _stays(name, ref), {"tag": ref})
    return original(name, ref, headers, body)


@mend.replaces(_ecr, "_describe_images")
def describe_images(original: Any, data: Mapping[str, Any]) -> Any:
    """Images have their size; one that isn't there is refused.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
    """
    name = data.get("repositoryName", "")
    for each in data.get("imageIds") or [] if name in _ecr._repositories else []:
        if not _ecr._find_image(name, each):
            wanted = f"{{imageDigest:'{each.get('imageDigest', 'null')}', imageTag:'{each.get('imageTag', 'null')}'}}"
            message = f"The image with imageId {wanted} does not exist within the repository with name '{name}'"
            return _responses.error_response_json("ImageNotFoundException", message, 400)
    answer = original(data)
    if answer[0] != OK:
        return answer
    shown = json.loads(answer[2])
    for each in shown["imageDetails"]:
        image = _ecr._find_image(name, {"imageDigest": each["imageDigest"]})
        each["imageSizeInBytes"] = size(name, image["imageManifest"])
    return _responses.json_response(shown)


@mend.replaces(_ecr, "_batch_delete_image")
def delete_images(original: Any, data: Mapping[str, Any]) -> Any:
    """A tag goes alone while its image has others; an image that goes can't be pulled any more, by its digest neither.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
    """
    name = data.get("repositoryName", "")
    if name not in _ecr._repositories:
        return original(data)
    deleted, failures = [], []
    for asked in data.get("imageIds") or []:
        image = _ecr._find_image(name, asked)
        if image is None:
            failure = {"failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            failures.append({"imageId": asked, **failure})
            continue
        tags, tag = image.get("imageTags") or [], asked.get("imageTag")
        gone = list(tags) if asked.get("imageDigest") else [tag]
        image["imageTags"] = [each for each in tags if each not in gone]
        if not image["imageTags"]:
            _ecr._images[name].remove(image)
            (_ecr._manifest_blobs.get(name) or {}).pop(image["imageDigest"], None)
        identity = {"imageDigest": image["imageDigest"]}
        deleted += [identity | {"imageTag": each} for each in gone] or [identity]
    return _responses.json_response({"imageIds": deleted, "failures": failures})


@mend.replaces(_ecr, "_get_download_url_for_layer")
def download_url(original: Any, data: Mapping[str, Any]) -> Any:
    """A layer's URL, or its image's configuration's, works for a while and for whoever has it: it is presigned.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html
    """
    answer = original(data)
    name, digest = data.get("repositoryName", ""), data.get("layerDigest", "")
    if answer[0] != OK:
        return answer
    if digest not in (_ecr._layer_blobs.get(name) or {}):
        message = f"The layer with digest '{digest}' does not exist in the repository with name '{name}'"
        return _responses.error_response_json("LayersNotFoundException", message, 400)
    now = time.monotonic()
    for old in [each for each, (until, _, _) in _links.items() if until <= now]:
        del _links[old]
    identity = secrets.token_urlsafe(32)
    _links[identity] = (now + LAYER_VALID, name, digest)
    return _responses.json_response({"downloadUrl": f"http://{_registry()}{LAYERS}{identity}", "layerDigest": digest})


@mend.replaces(_ecr, "handle_request")
async def scans(
    original: Any, method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Any
) -> Any:
    """No image is scanned here, and nothing says that one was.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html
    """
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if action not in ("DescribeImageScanFindings", "StartImageScan"):
        return await original(method, path, headers, body, query_params)
    data = json.loads(body or b"{}")
    name, image = data.get("repositoryName", ""), data.get("imageId") or {}
    if not _ecr._find_image(name, image):
        code, message = (
            "ImageNotFoundException",
            f"The image {image} does not exist within the repository with name '{name}'",
        )
    elif action == "StartImageScan":
        code, message = "UnsupportedImageTypeException", "This emulated account scans no images"
    else:
        code, message = (
            "ScanNotFoundException",
            f"Image scan does not exist for the image with {image} in the repository",
        )
    return _responses.error_response_json(code, message, 400)
