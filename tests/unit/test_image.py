"""The image: built here, or found by its tag."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.image import BuildArgs, FoundImage, FoundRepository, Image, ImageArgs, find_image
from components.lookups import Missing, find_all
from tests.unit.aws_answers import DIGEST, PASSWORD, REGISTRY
from tests.unit.mocked_engine import AwsError, Deployment, run

IMAGE = "docker:index/image:Image"
URL = f"{REGISTRY}/backend"


def image(**args: Any) -> Deployment:
    def program() -> None:
        made = Image("pre", ImageArgs(tag="master", repository_url=URL, **args))
        pulumi.export("reference", made.reference)

    return run(program)


@pytest.fixture(scope="module")
def built() -> Deployment:
    build = BuildArgs(
        context="app", platform="linux/arm64", dockerfile="app/Other", target="runtime", args={"BASE": "base"}
    )
    return image(build=build)


def test_what_is_built_runs_by_its_digest(built: Deployment) -> None:
    assert built.outputs["reference"] == f"{URL}@{DIGEST}", "a tag pushed again would change nothing"


def test_it_is_pushed_under_its_tag(built: Deployment) -> None:
    inputs = built.one(IMAGE).inputs
    assert inputs["imageName"] == f"{URL}:master"
    assert not inputs.get("skipPush")


def test_a_preview_builds_nothing(built: Deployment) -> None:
    assert not built.one(IMAGE).inputs.get("buildOnPreview"), (
        "its digest would be the local image's: a difference each time"
    )


def test_the_build_has_everything_that_is_asked_for(built: Deployment) -> None:
    assert built.one(IMAGE).inputs["build"] == {
        "context": "app",
        "platform": "linux/arm64",
        "dockerfile": "app/Other",
        "target": "runtime",
        "args": {"BASE": "base"},
    }


def test_what_is_not_asked_for_is_left_to_docker() -> None:
    built = image(build=BuildArgs(context="app", platform="linux/amd64"))
    assert built.one(IMAGE).inputs["build"] == {"context": "app", "platform": "linux/amd64", "args": {}}


def test_the_registrys_password_is_a_secret(built: Deployment) -> None:
    made = built.one(IMAGE)
    assert made.inputs["registry"] == {"server": f"https://{REGISTRY}", "username": "AWS", "password": PASSWORD}
    assert any(path.startswith("registry") for path in made.secret_inputs), "it would stand in the state in clear text"


def test_a_digest_makes_nothing() -> None:
    deployment = image(digest=DIGEST)
    assert [r.type for r in deployment.resources] == ["booklink:backend:Image"]
    assert deployment.outputs["reference"] == f"{URL}@{DIGEST}"


@pytest.mark.parametrize(
    "args", [{}, {"build": BuildArgs(context="app", platform="linux/amd64"), "digest": DIGEST}], ids=["neither", "both"]
)
def test_it_is_built_or_found_and_not_both(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either build, or digest"):
        ImageArgs(tag="master", repository_url=URL, **args)


def find(**answers: Any) -> tuple[FoundImage, Deployment]:
    found: list[FoundImage] = []

    def program() -> None:
        lookup = find_image(aws.Provider("aws"), repository="backend", tag="v1.2.3", owner="pre")
        find_all([lookup])
        found.append(lookup.value)

    deployment = run(program, answers={f"aws:ecr/get{what}:get{what}": answer for what, answer in answers.items()})
    return found[0], deployment


def test_an_image_is_found_by_its_tag() -> None:
    found, deployment = find()
    repository = FoundRepository(url=URL, arn="arn:aws:ecr:eu-central-1:123456789012:repository/backend")
    assert found == FoundImage(repository=repository, digest=DIGEST)
    asked = {invocation.token: invocation.arguments for invocation in deployment.invocations}
    assert asked["aws:ecr/getImage:getImage"] == {"repositoryName": "backend", "imageTag": "v1.2.3"}


@pytest.mark.parametrize("missing", ["Image", "Repository"])
def test_a_missing_image_or_repository_says_what_to_run_first(missing: str) -> None:
    with pytest.raises(Missing) as raised:
        find(**{missing: AwsError(f"{missing} not found")})
    text = str(raised.value)
    assert "tag: there is no image v1.2.3 in the ECR repository backend" in text
    assert "`pulumi up --stack pre`" in text
    assert f"(AWS: {missing} not found)" in text
