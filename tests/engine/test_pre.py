"""The environment that builds its image and owns the repository, from nothing to nothing."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.registry import served_label
from rehearsal.surroundings import Outcome, Prober, Stack, Workspace, get
from rehearsal.tools import Tools
from tests.engine.deployments import (
    SERVICE_ALONE,
    change_sample,
    changes,
    command,
    costs_by_the_hour,
    errors,
    labels,
    looked_at,
    prepare_pre,
    pushed,
    service,
    state,
)

OUTPUTS = {"url", "image", "tag", "repository", "cluster", "service", "taskDefinition", "logGroup", "runbook"}
CIPHERTEXT = "ciphertext"
COMMIT = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
IMAGE = "docker:index/image:Image"
REPOSITORY = {"aws:ecr/repository:Repository", "aws:ecr/lifecyclePolicy:LifecyclePolicy"}


@pytest.fixture(scope="module")
def pre(workspace: Workspace, tools: Tools) -> Stack:
    prepare_pre(workspace, tools)
    change_sample(workspace, version="one")
    return workspace.stack("pre")


@pytest.fixture(scope="module")
def up(pre: Stack) -> Outcome:
    return pre.run("up", "--yes")


@pytest.fixture(scope="module")
def changed(pre: Stack, up: Outcome) -> tuple[dict[str, str], Prober]:  # noqa: ARG001 - it comes first
    """A changed sample: what its preview said, and what a client saw while it was deployed."""
    change_sample(pre.workspace, version="two")
    foreseen = changes(pre)
    with Prober(pre.workspace.account, pre.outputs()["url"]) as prober:
        pre.run("up", "--yes")
    return foreseen, prober


@pytest.fixture(scope="module")
def destroyed(pre: Stack, up: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    return pre.run("destroy", "--yes", "--exclude-protected")


def digest_of(pre: Stack) -> str:
    """The digest that the stack says it runs."""
    return str(pre.outputs()["image"].partition("@")[2])


@pytest.mark.usefixtures("up")
def test_it_serves_through_its_load_balancer(pre: Stack) -> None:
    page = json.loads(get(pre.workspace.account, f"{pre.outputs()['url']}/info").body)
    assert page["version"] == "one"
    assert page["environment"] == {"APP_ENV": "pre", "APP_BASE_URL": "https://pre-be.booklinktrove.com"}
    assert page["secrets"] == {"pre1/postgres": "readable"}, "the task role reads the secret that the settings name"
    assert page["limits"]["memory"] == 512 * 2**20
    assert page["limits"]["readOnlyRoot"] is True


@pytest.mark.usefixtures("up")
def test_the_outputs_are_complete_and_true(pre: Stack) -> None:
    outputs = pre.outputs()
    assert set(outputs) >= OUTPUTS
    assert all(outputs.values())
    digest = outputs["image"].partition("@")[2]
    ecr = pre.workspace.account.client("ecr")
    pushed = ecr.describe_images(repositoryName="booklink-backend", imageIds=[{"imageTag": outputs["tag"]}])
    assert pushed["imageDetails"][0]["imageDigest"] == digest, "what runs is what was pushed under the tag"
    assert service(pre)["taskDefinition"] == outputs["taskDefinition"]


@pytest.mark.usefixtures("up")
def test_what_serves_is_labelled_so_that_it_never_expires(pre: Stack) -> None:
    digest = digest_of(pre)
    assert labels(pre.workspace.account, digest) == {"master", served_label(digest), "serving-pre"}


@pytest.mark.usefixtures("up")
def test_a_release_is_a_label_and_the_same_again_is_nothing(pre: Stack) -> None:
    digest, workspace = digest_of(pre), pre.workspace
    marked = command(workspace, "commands.release", "--commit", COMMIT)
    assert (marked.returncode, marked.stdout) == (0, f"{digest} has the label commit-{COMMIT} now.\n"), marked.stderr
    released = command(workspace, "commands.release", "v1.0.0", "--commit", COMMIT)
    assert released.returncode == 0, released.stderr
    assert released.stdout.startswith(f"v1.0.0 is {digest}, which pre runs.\n")
    assert labels(workspace.account, digest) >= {"v1.0.0", f"commit-{COMMIT}", "master"}
    again = command(workspace, "commands.release", "v1.0.0")
    assert again.returncode == 0
    assert again.stdout.startswith(f"v1.0.0 is {digest} already; nothing to do.\n")


@pytest.mark.usefixtures("up")
def test_an_outsider_finds_it_as_it_should_be(pre: Stack) -> None:
    assert looked_at(pre)


def test_no_secret_is_in_state_outputs_or_log(pre: Stack, up: Outcome, password: str) -> None:
    log = pre.workspace.account.folder / "log"
    places = {
        "up": up.output,
        "state": pre.run("stack", "export", "--show-secrets").output,
        "outputs": pre.run("stack", "output", "--json", "--show-secrets").output,
        "project": "".join(each.read_text() for each in Path(pre.workspace.directory).glob("Pulumi*.yaml")),
        "account's log": log.read_text(),
        "task definition": json.dumps(
            pre.workspace.account.client("ecs").describe_task_definition(
                taskDefinition=pre.outputs()["taskDefinition"]
            ),
            default=str,
        ),
    }
    assert all(text for name, text in places.items() if name != "account's log"), "there is something to look in"
    assert [name for name, text in places.items() if password in text] == []


@pytest.mark.usefixtures("up")
def test_the_registry_password_is_encrypted_in_the_state(pre: Stack) -> None:
    image = next(each for each in state(pre) if each["type"] == IMAGE)
    assert CIPHERTEXT in image["inputs"]["registry"]["password"]
    plain = next(each for each in state(pre, "--show-secrets") if each["type"] == IMAGE)
    given = json.loads(plain["inputs"]["registry"]["password"]["plaintext"])
    assert given
    assert given not in json.dumps(image), "nor anywhere else in the image's record"


@pytest.mark.parametrize(
    "command",
    [("preview",), ("up", "--yes"), ("preview", "--refresh"), ("up", "--yes", "--refresh")],
    ids=" ".join,
)
@pytest.mark.usefixtures("up")
def test_a_second_time_nothing_changes(pre: Stack, command: Sequence[str]) -> None:
    again = pre.run(*command, "--expect-no-changes")
    assert "unchanged" in again.output


def test_a_changed_sample_changes_image_task_definition_and_service_alone(
    changed: tuple[dict[str, str], Prober],
) -> None:
    foreseen, _ = changed
    assert foreseen == {IMAGE: "update", **SERVICE_ALONE}


@pytest.mark.usefixtures("changed")
def test_the_changed_sample_serves(pre: Stack) -> None:
    assert json.loads(get(pre.workspace.account, f"{pre.outputs()['url']}/info").body)["version"] == "two"


def test_no_request_is_lost_while_it_is_deployed(changed: tuple[dict[str, str], Prober]) -> None:
    _, prober = changed
    assert len(prober.probes) > 50, "the client asked all the while"
    assert prober.lost == [], prober.summary()


@pytest.mark.usefixtures("changed")
def test_earlier_revisions_of_the_task_definition_stay(pre: Stack) -> None:
    ecs = pre.workspace.account.client("ecs")
    revisions = ecs.list_task_definitions(familyPrefix="booklink-backend-pre", status="ACTIVE")["taskDefinitionArns"]
    assert [arn.rpartition(":")[2] for arn in revisions] == ["1", "2"]


@pytest.mark.usefixtures("changed")
def test_a_version_is_never_another_image(pre: Stack) -> None:
    refused = command(pre.workspace, "commands.release", "v1.0.0")
    assert refused.returncode == 1
    assert "A version never changes its image: take the next one." in refused.stderr
    overtaken = command(pre.workspace, "commands.release", "v1.0.1", "--commit", COMMIT)
    assert overtaken.returncode == 1
    assert f"No release: the commit {COMMIT} came to sha256:" in overtaken.stderr


@pytest.mark.usefixtures("changed")
def test_what_has_served_keeps_a_label_and_what_serves_has_its_own(pre: Stack) -> None:
    account, digest = pre.workspace.account, digest_of(pre)
    assert labels(account, digest) == {"master", served_label(digest), "serving-pre"}
    before = pushed(account, "v1.0.0").digest
    assert labels(account, before) == {"v1.0.0", f"commit-{COMMIT}", served_label(before)}


@pytest.mark.usefixtures("up")
def test_destroy_is_refused_while_the_repository_is_protected(pre: Stack) -> None:
    before = [each["urn"] for each in state(pre)]
    refused = pre.run("destroy", "--yes", check=False)
    assert refused.status != 0
    assert "protected" in refused.output
    assert "Traceback" not in refused.output
    assert errors(refused) >= 1
    assert [each["urn"] for each in state(pre)] == before, "nothing was deleted"
    assert get(pre.workspace.account, pre.outputs()["url"]).status == 200


@pytest.mark.usefixtures("destroyed")
def test_destroy_leaves_nothing_that_costs_by_the_hour(pre: Stack) -> None:
    assert costs_by_the_hour(pre.workspace.account) == []


@pytest.mark.usefixtures("destroyed")
def test_destroy_keeps_repository_images_and_log(pre: Stack) -> None:
    account = pre.workspace.account
    assert pushed(account, "v1.0.0").digest, "the release that live may run"
    assert pushed(account, "master").digest == pushed(account, "serving-pre").digest
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix="/booklink-backend/pre/")["logGroups"]
    assert len(groups) == 1, "a log outlives its environment"


@pytest.mark.usefixtures("destroyed")
def test_after_destroy_the_environment_can_be_made_again_with_its_repository(pre: Stack) -> None:
    foreseen = changes(pre)
    assert not foreseen.keys() & REPOSITORY
    assert foreseen["aws:ecs/service:Service"] == "create"
