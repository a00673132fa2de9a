"""Which version a stack's service runs, by the labels of its image."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from commands import version as command
from commands.stack import StackError
from commands.version import newest_version, running_version
from components.registry import PushedImage
from tests.unit.fake_ecr import IMAGE, NEW


@pytest.mark.parametrize(
    ("labels", "version"),
    [
        (["master", "served-111111111111", "v1.9.0", "v1.10.0", "commit-4f2c"], "v1.10.0"),
        (["v1.10.0-rc.1", "v1.10.0"], "v1.10.0"),
        (["v1.10.0-rc.1", "v1.9.9"], "v1.10.0-rc.1"),
        (["master", "v2"], ""),
        ([], ""),
    ],
)
def test_the_newest_version_of_an_image(labels: list[str], version: str) -> None:
    assert newest_version(labels) == version


class FakeEcr:
    def describe_images(self, **asked: Any) -> dict[str, Any]:
        assert asked == {
            "registryId": IMAGE.account,
            "repositoryName": IMAGE.repository,
            "imageIds": [{"imageDigest": NEW}],
        }
        return {"imageDetails": [{"imageTags": ["master", "v1.2.3"]}]}


class FakeSession:
    def client(self, service: str) -> Any:
        return FakeEcr() if service == "ecr" else service


def running(ecs: str, *, cluster: str, service: str) -> PushedImage:
    assert (ecs, cluster, service) == ("ecs", "cluster-1a", "service-1a")
    return IMAGE


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["version", "--stack", "live"])
    monkeypatch.setattr(command, "outputs", lambda _: {"cluster": "cluster-1a", "service": "service-1a"})
    monkeypatch.setattr(command, "session", lambda _: FakeSession())
    monkeypatch.setattr(command, "running_image", running)


@pytest.mark.usefixtures("live")
def test_it_is_the_version_of_the_image_that_ecs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert running_version("live", {"cluster": "cluster-1a", "service": "service-1a"}) == "v1.2.3"
    assert command.main() == 0
    assert capsys.readouterr().out == "v1.2.3\n"


@pytest.mark.usefixtures("live")
def test_where_nothing_runs_it_prints_nothing_and_a_deployment_may_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(_: str) -> dict[str, str]:
        raise StackError("live runs nothing yet")

    monkeypatch.setattr(command, "outputs", nothing)
    assert command.main() == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "No version: live runs nothing yet\n")


@pytest.mark.usefixtures("live")
def test_what_aws_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*_: Any, **__: Any) -> PushedImage:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeServices")

    monkeypatch.setattr(command, "running_image", refused)
    assert command.main() == 1
    assert "AccessDenied" in capsys.readouterr().err
