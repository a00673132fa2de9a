"""Images in ECR: their labels, and what they were built for."""

import json
from typing import Any

import pytest

from components.registry import (
    NoSuchImage,
    PushedImage,
    architectures,
    commit_label,
    digest_of,
    give_labels,
    served_label,
    serving_label,
)
from tests.unit.fake_ecr import ACCOUNT, CONFIGURATION, IMAGE, NEW, OLD, SERVED, FakeEcr

ARN = f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/team/backend"


def test_an_image_is_named_by_its_repositorys_arn_and_its_digest() -> None:
    assert PushedImage.of(ARN, f"127.0.0.1:4566/team/backend@{NEW}") == IMAGE, "wherever its registry is"


def test_labels_say_what_they_are_for() -> None:
    assert (served_label(NEW), serving_label("pre"), commit_label("0a1b2c3")) == (
        SERVED,
        "serving-pre",
        "commit-0a1b2c3",
    )


def test_labels_fit_into_a_tag() -> None:
    assert len(commit_label("0" * 64)) <= 128
    assert len(serving_label("s" * 100)) <= 128


def test_an_image_gets_the_labels_that_it_has_not() -> None:
    ecr = FakeEcr(tags={"master": NEW, "serving-pre": OLD, SERVED: NEW})
    assert give_labels(ecr, IMAGE, SERVED, "serving-pre") == ["serving-pre"]
    assert ecr.tags == {"master": NEW, "serving-pre": NEW, SERVED: NEW}


def test_an_image_that_has_all_is_left_alone() -> None:
    ecr = FakeEcr(tags={"serving-pre": NEW}, digests=(NEW,))
    ecr.put_image = None  # type: ignore[method-assign, assignment] # it would fail
    assert give_labels(ecr, IMAGE, "serving-pre") == []


def test_a_label_that_somebody_else_has_just_given_is_no_failure() -> None:
    ecr = FakeEcr(given_meanwhile=SERVED)
    give_labels(ecr, IMAGE, SERVED, "serving-pre")
    assert ecr.tags == {SERVED: NEW, "serving-pre": NEW}


def test_an_image_that_is_gone_gets_none() -> None:
    with pytest.raises(NoSuchImage, match=r"1111 is no longer in team/backend"):
        give_labels(FakeEcr(digests=()), IMAGE, "serving-pre")


def test_a_label_that_nothing_has_has_no_digest() -> None:
    assert (digest_of(FakeEcr(), IMAGE, "v1.2.3"), digest_of(FakeEcr(tags={"v1.2.3": OLD}), IMAGE, "v1.2.3")) == (
        "",
        OLD,
    )


def test_the_architecture_stands_in_the_images_configuration() -> None:
    def fetch(address: str) -> bytes:
        assert address == f"https://layers.example/{CONFIGURATION}"
        return json.dumps({"architecture": "arm64", "os": "linux"}).encode()

    assert architectures(FakeEcr(), IMAGE, fetch=fetch) == {"arm64"}


@pytest.mark.parametrize(
    ("platforms", "found"),
    [
        ([{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"}], {"amd64", "arm64"}),
        ([{"architecture": "amd64", "os": "linux"}, {"architecture": "unknown", "os": "unknown"}], {"amd64"}),
        ([{"architecture": "amd64", "os": "windows"}], set()),
    ],
    ids=["two", "with an attestation", "of another system"],
)
def test_or_in_the_index_of_several_images(platforms: list[dict[str, Any]], found: set[str]) -> None:
    index = {"manifests": [{"digest": OLD, "platform": platform} for platform in platforms]}
    assert architectures(FakeEcr(manifests={NEW: index}), IMAGE) == found


def test_of_an_image_that_is_gone_it_can_not_be_told() -> None:
    with pytest.raises(NoSuchImage):
        architectures(FakeEcr(digests=()), IMAGE)
