"""The ECR repository that the images of all environments are in."""

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from components.registry import SERVED, SERVING

RELEASE_TAGS = "v*"
"""The tags of releases, which never move and never expire."""

KEPT_IMAGES = 20
"""Images kept of those that are no releases."""

UNTAGGED_DAYS = 14
"""Days for which an image stays that has lost its tag and never served."""


@dataclass(frozen=True, kw_only=True)
class RepositoryArgs:
    """`repository_name` is the name by which other environments find it."""

    repository_name: str


class Repository(pulumi.ComponentResource):
    """An ECR repository, protected: neither `destroy` nor a change deletes it, since it holds the images of releases.

    Makes: repository (scanned on push, encrypted, tags of releases and of what has served immutable) and lifecycle
    policy. Costs: nothing by the hour; $0.10 a month for each GB of images. Depends on: nothing.
    """

    url: Output[str]
    arn: Output[str]

    def __init__(self, name: str, args: RepositoryArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Repository", name, None, opts)
        repository = aws.ecr.Repository(
            f"{name}-repository",
            name=args.repository_name,
            image_tag_mutability="MUTABLE_WITH_EXCLUSION",
            image_tag_mutability_exclusion_filters=[
                {"filter": tags, "filter_type": "WILDCARD"} for tags in (RELEASE_TAGS, f"{SERVED}*")
            ],
            image_scanning_configuration={"scan_on_push": True},
            opts=ResourceOptions(parent=self, protect=True),
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle",
            repository=repository.name,
            policy=json.dumps(lifecycle_policy()),
            opts=ResourceOptions(parent=self, protect=True),
        )
        self.url = repository.repository_url
        self.arn = repository.arn
        self.register_outputs({"url": self.url, "arn": self.arn})


def lifecycle_policy() -> dict[str, object]:
    """Return the rules by which ECR deletes images that nobody needs.

    An image that a rule matches is safe from all rules of a higher number, so the first two, whose count is never
    reached, keep every release, and what an environment runs now. What live runs is a release.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    never_reached = 10000
    return {
        "rules": [
            _rule(
                1,
                "Releases stay",
                tagStatus="tagged",
                tagPatternList=[RELEASE_TAGS],
                countType="imageCountMoreThan",
                countNumber=never_reached,
            ),
            _rule(
                2,
                "What an environment runs stays",
                tagStatus="tagged",
                tagPatternList=[f"{SERVING}*"],
                countType="imageCountMoreThan",
                countNumber=never_reached,
            ),
            _rule(
                3,
                f"What has no tag, and so never served, goes after {UNTAGGED_DAYS} days",
                tagStatus="untagged",
                countType="sinceImagePushed",
                countUnit="days",
                countNumber=UNTAGGED_DAYS,
            ),
            _rule(
                4,
                f"Of all that have a tag the newest {KEPT_IMAGES} stay, and what the rules before keep",
                tagStatus="tagged",
                tagPatternList=["*"],
                countType="imageCountMoreThan",
                countNumber=KEPT_IMAGES,
            ),
        ]
    }


def _rule(priority: int, description: str, **selection: object) -> dict[str, object]:
    return {
        "rulePriority": priority,
        "description": description,
        "selection": selection,
        "action": {"type": "expire"},
    }
