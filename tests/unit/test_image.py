"""The image: built here, or found by its tag."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import image as module
from components.image import BuildArgs, FoundImage, FoundRepository, Image, ImageArgs, find_image
from components.instances import Architecture
from components.lookups import Missing, find_all
from components.registry import NoSuchImage, PushedImage
from tests.unit.aws_answers import ACCOUNT, DIGEST, PASSWORD, REGISTRY, SERVED
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


BUILT_FOR: dict[str, Any] = {"architectures": {"amd64"}}


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """ECR, as far as it is asked what an image was built for."""

    def built_for(ecr: object, image: PushedImage) -> set[str]:
        assert ecr == ("ecr", "eu-central-1", "work"), "the stack's own account and region are asked"
        assert image == PushedImage(account=ACCOUNT, repository="backend", digest=DIGEST)
        answer = BUILT_FOR["architectures"]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, set)
        return answer

    monkeypatch.setitem(BUILT_FOR, "architectures", {"amd64"})
    monkeypatch.setattr(module, "architectures", built_for)
    monkeypatch.setattr(module, "clients", lambda service, *, region, profile: [(service, region, profile)])


def find(
    *, architecture: Architecture = "x86_64", promoted_only: bool = False, **answers: Any
) -> tuple[FoundImage, Deployment]:
    found: list[FoundImage] = []

    def program() -> None:
        lookup = find_image(
            aws.Provider("aws"),
            repository="backend",
            tag="v1.2.3",
            owner="pre",
            architecture=architecture,
            promoted_only=promoted_only,
            region="eu-central-1",
            profile="work",
        )
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
    assert deployment.warnings() == []


@pytest.mark.parametrize("missing", ["Image", "Repository"])
def test_a_missing_image_or_repository_says_what_to_run_first(missing: str) -> None:
    with pytest.raises(Missing) as raised:
        find(**{missing: AwsError(f"{missing} not found")})
    text = str(raised.value)
    assert "tag: there is no image v1.2.3 in the ECR repository backend" in text
    assert "`pulumi up --stack pre`" in text
    assert f"(AWS: {missing} not found)" in text


@pytest.mark.parametrize(("architecture", "built_for"), [("arm64", {"amd64"}), ("x86_64", {"arm64", "riscv64"})])
def test_an_image_of_another_architecture_is_refused_and_says_what_to_do(
    architecture: Architecture, built_for: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILT_FOR, "architectures", built_for)
    with pytest.raises(Missing) as raised:
        find(architecture=architecture)
    wanted = {"x86_64": "amd64", "arm64": "arm64"}[architecture]
    assert str(raised.value).splitlines()[1:] == [
        f"  tag: v1.2.3 was built for {', '.join(sorted(built_for))}, and capacity.instanceType is {wanted}; give pre "
        "an instance type of the same architecture, `pulumi up --stack pre`, and release that"
    ]


def test_one_image_of_several_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_FOR, "architectures", {"amd64", "arm64"})
    assert find(architecture="arm64")[0].digest == DIGEST


def test_where_the_architecture_can_not_be_told_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_FOR, "architectures", NoSuchImage("no layer"))
    found, deployment = find()
    assert found.digest == DIGEST
    assert deployment.warnings() == [
        "tag: which architecture v1.2.3 was built for can't be told, so it wasn't checked (no layer)"
    ]


def test_a_version_that_pre_has_served_is_taken() -> None:
    assert find(promoted_only=True)[0].digest == DIGEST


@pytest.mark.parametrize("tags", [["v1.2.3"], ["v1.2.3", "served-ffffffffffff"], ["v1.2.3", "serving-pre"]])
def test_under_promoted_only_one_that_pre_has_never_served_is_refused(tags: list[str]) -> None:
    with pytest.raises(Missing) as raised:
        find(promoted_only=True, Image={"id": DIGEST, "imageDigest": DIGEST, "imageTags": tags})
    assert str(raised.value).splitlines()[1:] == [
        "  tag: v1.2.3 is an image that pre has never served; `make release VERSION=...` gives a version to what pre "
        "runs (promotedOnly: false takes any)"
    ]


def test_otherwise_any_is_taken() -> None:
    answer = {"id": DIGEST, "imageDigest": DIGEST, "imageTags": ["v1.2.3"]}
    assert SERVED not in answer["imageTags"]
    assert find(Image=answer)[0].digest == DIGEST
