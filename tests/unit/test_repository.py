"""The ECR repository and what it keeps."""

import json
from fnmatch import fnmatch
from typing import Any

import pytest

from components.repository import KEPT_IMAGES, UNTAGGED_DAYS, Repository, RepositoryArgs, lifecycle_policy
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
    assert inputs["imageTagMutabilityExclusionFilters"] == [
        {"filter": "v*", "filterType": "WILDCARD"},
        {"filter": "served-*", "filterType": "WILDCARD"},
    ]


def test_images_are_scanned_when_pushed(made: Deployment) -> None:
    assert made.one(REPOSITORY).inputs["imageScanningConfiguration"] == {"scanOnPush": True}


def test_the_policy_is_the_repositorys(made: Deployment) -> None:
    policy = made.one(POLICY)
    assert policy.inputs["repository"] == made.one(REPOSITORY).outputs["name"]
    assert json.loads(policy.inputs["policy"]) == lifecycle_policy()


def rules() -> list[dict[str, Any]]:
    found: Any = lifecycle_policy()["rules"]
    return sorted(found, key=lambda rule: rule["rulePriority"])


def governing(*tags: str) -> dict[str, Any]:
    """The rule that ECR applies to an image: the first that matches it, by any of its tags."""
    for rule in rules():
        selection = rule["selection"]
        patterns = selection.get("tagPatternList", [])
        matches = (
            selection["tagStatus"] == "untagged" if not tags else any(fnmatch(t, p) for t in tags for p in patterns)
        )
        if matches:
            return rule
    raise AssertionError(f"no rule for {tags!r}")


@pytest.mark.parametrize("tags", [("v1.2.3",), ("v10",), ("master", "served-0a1b2c3d4e5f", "v1.2.3")])
def test_releases_are_safe_from_the_rules_that_delete(tags: tuple[str, ...]) -> None:
    assert governing(*tags)["selection"]["countNumber"] >= 10000, "or live's image would expire some day"


@pytest.mark.parametrize("tags", [("serving-pre",), ("served-0a1b2c3d4e5f", "serving-pre"), ("commit-1", "serving-x")])
def test_what_an_environment_runs_is_safe_too(tags: tuple[str, ...]) -> None:
    assert governing(*tags)["selection"]["countNumber"] >= 10000, "its tag went to a newer one, whose deployment failed"


def test_what_has_lost_its_tag_and_never_served_goes() -> None:
    selection = governing()["selection"]
    assert (selection["countType"], selection["countUnit"]) == ("sinceImagePushed", "days")
    assert selection["countNumber"] == UNTAGGED_DAYS == 14


@pytest.mark.parametrize("tag", ["master", "feature-1", "served-0a1b2c3d4e5f", "commit-0a1b2c3"])
def test_of_other_images_the_newest_stay(tag: str) -> None:
    selection = governing(tag)["selection"]
    assert (selection["countType"], selection["countNumber"]) == ("imageCountMoreThan", KEPT_IMAGES)


def test_every_rule_has_a_number_of_its_own() -> None:
    numbers = [rule["rulePriority"] for rule in rules()]
    assert len(set(numbers)) == len(numbers), "ECR refuses two rules of one priority"


def test_its_outputs_are_registered(made: Deployment) -> None:
    assert made.component_outputs[made.one("booklink:backend:Repository").urn] == {
        "url": made.one(REPOSITORY).outputs["repositoryUrl"],
        "arn": made.one(REPOSITORY).outputs["arn"],
    }
