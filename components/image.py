"""The image that runs: built and pushed here, or found by its tag."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker
from pulumi import Input, InvokeOutputOptions, Output, ResourceOptions

from components.aws_clients import clients
from components.instances import Architecture
from components.lookups import LookUp, Unfit, ask
from components.registry import PushedImage, architectures, served_label


@dataclass(frozen=True, kw_only=True)
class BuildArgs:
    """What to build; paths are relative to the program's folder."""

    context: str
    platform: str
    dockerfile: str | None = None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FoundRepository:
    """An ECR repository that exists."""

    url: str
    arn: str


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image that is in ECR, by its digest."""

    repository: FoundRepository
    digest: str


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """Either `build`, to make the image and push it under `tag`, or the `digest` of one that is there."""

    tag: str
    repository_url: Input[str]
    build: BuildArgs | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        if (self.build is None) == (self.digest is None):
            raise ValueError("give either build, or digest")


class Image(pulumi.ComponentResource):
    """The image that runs, always by its digest.

    Makes: with `build`, an image that Docker builds here and pushes; otherwise nothing. Costs: nothing by the hour.
    Depends on: the repository.
    """

    reference: Output[str]

    def __init__(self, name: str, args: ImageArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Image", name, None, opts)
        if args.build:
            self.reference = self._built(name, args.build, tag=args.tag, repository_url=args.repository_url)
        else:
            self.reference = Output.format("{0}@{1}", args.repository_url, args.digest)
        self.register_outputs({"reference": self.reference})

    def _built(self, name: str, build: BuildArgs, *, tag: str, repository_url: Input[str]) -> Output[str]:
        access = aws.ecr.get_authorization_token_output(opts=InvokeOutputOptions(parent=self))
        image = docker.Image(
            f"{name}-image",
            image_name=Output.format("{0}:{1}", repository_url, tag),
            build={
                "context": build.context,
                "platform": build.platform,
                "args": dict(build.args),
                **({"dockerfile": build.dockerfile} if build.dockerfile else {}),
                **({"target": build.target} if build.target else {}),
            },
            registry={
                "server": access.proxy_endpoint,
                "username": access.user_name,
                "password": Output.secret(access.password),
            },
            opts=ResourceOptions(parent=self),
        )
        return image.repo_digest


ARCHITECTURES: dict[Architecture, str] = {"x86_64": "amd64", "arm64": "arm64"}
"""What images call the architectures of instances."""


def find_image(
    provider: aws.Provider,
    *,
    repository: str,
    tag: str,
    owner: str,
    architecture: Architecture,
    promoted_only: bool,
    region: str,
    profile: str | None,
) -> LookUp[FoundImage]:
    """Look for the image `tag` in ECR, which must be for `architecture`, and with `promoted_only` one that has served.

    `owner` is the environment that pushes images, and serves them first.
    """

    async def image() -> FoundImage:
        place, found = await asyncio.gather(
            ask(provider, "aws:ecr/getRepository:getRepository", aws.ecr.GetRepositoryResult, name=repository),
            ask(provider, "aws:ecr/getImage:getImage", aws.ecr.GetImageResult, repositoryName=repository, imageTag=tag),
        )
        if promoted_only and served_label(found.image_digest) not in found.image_tags:
            raise Unfit(
                f"tag: {tag} is an image that {owner} has never served; `make release VERSION=...` gives a version to "
                f"what {owner} runs (promotedOnly: false takes any)"
            )
        pushed = PushedImage.of(place.arn, f"{place.repository_url}@{found.image_digest}")
        await _fits(pushed, tag=tag, architecture=architecture, owner=owner, region=region, profile=profile)
        return FoundImage(
            repository=FoundRepository(url=place.repository_url, arn=place.arn), digest=found.image_digest
        )

    return LookUp(
        image(),
        missing=f"tag: there is no image {tag} in the ECR repository {repository}; "
        f"`aws ecr list-images --repository-name {repository} --filter tagStatus=TAGGED` shows which there are, "
        f"`pulumi up --stack {owner}` makes the repository and its images, and a release gives one the label {tag}",
    )


async def _fits(
    image: PushedImage, *, tag: str, architecture: Architecture, owner: str, region: str, profile: str | None
) -> None:
    """Raise Unfit where an image is not for an architecture; where that can't be told, it is a warning."""

    def built_for() -> set[str]:
        [ecr] = clients("ecr", region=region, profile=profile)
        return architectures(ecr, image)

    try:
        found = await asyncio.to_thread(built_for)
    except Exception as error:  # noqa: BLE001 botocore's errors, which a stack that builds is not to load
        pulumi.log.warn(f"tag: which architecture {tag} was built for can't be told, so it wasn't checked ({error})")
        return
    wanted = ARCHITECTURES[architecture]
    if wanted not in found:
        raise Unfit(
            f"tag: {tag} was built for {', '.join(sorted(found))}, and capacity.instanceType is {wanted}; give "
            f"{owner} an instance type of the same architecture, `pulumi up --stack {owner}`, and release that"
        )
