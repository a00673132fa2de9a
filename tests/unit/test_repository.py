"""The ECR repository and what it keeps."""

import json
from fnmatch import fnmatch
from typing import Any

import pytest

from components.repository import KEPT_IMAGES, Repository, RepositoryArgs, lifecycle_policy
from tests.unit.mocked_engine import Deployment, run

REPOSITORY = "aws:ecr/repository:Repository"
POLICY = "aws:ecr/lifecyclePolicy:LifecyclePolicy"


@pytest.fixture(scope="module")
def made() -> Deployment:
    return run(lambda: Repository("pre", RepositoryArgs(repository_name="backend")))


def test_it_has_exactly_the_name_that_other_environments_look_for(made: Deployment) -> None:
    assert made.one(REPOSITORY).inputs["name"] == "backend", "Pulumi's random suffix would hide it from live"


def test_it_and_its_policy_are_protected(made: Deployment) -> None:
    assert made.one(REPOSITORY).protect, "it holds the images of releases that live runs"
    assert made.one(POLICY).protect, "a policy deleted alone would let images pile up"


def test_it_is_not_deleted_with_images_in_it(made: Deployment) -> None:
    assert not made.one(REPOSITORY).inputs.get("forceDelete")


def test_the_tags_of_releases_never_move_and_others_do(made: Deployment) -> None:
    inputs = made.one(REPOSITORY).inputs
    assert inputs["imageTagMutability"] == "MUTABLE_WITH_EXCLUSION"
    assert inputs["imageTagMutabilityExclusionFilters"] == [{"filter": "v*", "filterType": "WILDCARD"}]


def test_images_are_scanned_when_pushed(made: Deployment) -> None:
    assert made.one(REPOSITORY).inputs["imageScanningConfiguration"] == {"scanOnPush": True}


def test_the_policy_is_the_repositorys(made: Deployment) -> None:
    policy = made.one(POLICY)
    assert policy.inputs["repository"] == made.one(REPOSITORY).outputs["name"]
    assert json.loads(policy.inputs["policy"]) == lifecycle_policy()


def rules() -> list[dict[str, Any]]:
    found: Any = lifecycle_policy()["rules"]
    return sorted(found, key=lambda rule: rule["rulePriority"])


def governing(tag: str) -> dict[str, Any]:
    """The rule that ECR applies to an image: the first that matches it."""
    for rule in rules():
        selection = rule["selection"]
        matches = (
            selection["tagStatus"] == "untagged"
            if not tag
            else any(fnmatch(tag, pattern) for pattern in selection.get("tagPatternList", []))
        )
        if matches:
            return rule
    raise AssertionError(f"no rule for {tag!r}")


@pytest.mark.parametrize("tag", ["v1.2.3", "v10"])
def test_releases_are_safe_from_the_rules_that_delete(tag: str) -> None:
    assert governing(tag)["selection"]["countNumber"] >= 10000, "or live's image would expire some day"


def test_of_untagged_images_the_newest_stay() -> None:
    selection = governing("")["selection"]
    assert (selection["countType"], selection["countNumber"]) == ("imageCountMoreThan", KEPT_IMAGES), (
        "one that lost its tag to a newer one may still run, however old it is"
    )


@pytest.mark.parametrize("tag", ["master", "feature-1"])
def test_of_other_images_the_newest_stay(tag: str) -> None:
    assert governing(tag)["selection"]["countNumber"] == KEPT_IMAGES


def test_every_rule_has_a_number_of_its_own() -> None:
    numbers = [rule["rulePriority"] for rule in rules()]
    assert len(set(numbers)) == len(numbers), "ECR refuses two rules of one priority"


def test_its_outputs_are_registered(made: Deployment) -> None:
    assert made.component_outputs[made.one("booklink:backend:Repository").urn] == {
        "url": made.one(REPOSITORY).outputs["repositoryUrl"],
        "arn": made.one(REPOSITORY).outputs["arn"],
    }
