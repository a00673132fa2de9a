"""The recipes of docs/state.md, as they stand there, on the real engine with its state in the emulated account's S3."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from components.repository import lifecycle_policy
from rehearsal.folders import ROOT
from rehearsal.surroundings import Account, Stack, Workspace
from rehearsal.tools import Tools
from tests.engine.deployments import PROJECT, ZONE, changes, prepare_pre, state

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not (shutil.which("aws") and shutil.which("jq")),
    reason="the recipes use the commands aws and jq",
)

REPOSITORY, LOG_GROUP = "aws:ecr/repository:Repository", "aws:cloudwatch/logGroup:LogGroup"
KEPT_LOG = f"/{PROJECT}/pre/20260101000000000000000001"
HOST = f"pre-be.{ZONE}"


def recipes(heading: str) -> list[str]:
    """The shell blocks under a heading of docs/state.md."""
    text = (ROOT / "docs" / "state.md").read_text()
    [section] = [part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(f"{heading}\n")]
    found = re.findall(r"^```sh\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    assert found, f"{heading} has recipes"
    return found


@pytest.fixture(scope="module")
def logged_in(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace, with its backend chosen by `pulumi login`, as the recipes do, and no passphrase."""
    variables = {name: v for name, v in workspace.variables.items() if name != "PULUMI_BACKEND_URL"}
    own = {"PULUMI_CREDENTIALS_PATH": str(tmp_path_factory.mktemp("credentials"))}
    return Workspace(directory=workspace.directory, variables=variables | own, account=workspace.account)


@pytest.fixture(scope="module")
def pre(logged_in: Workspace, tools: Tools) -> Stack:
    prepare_pre(logged_in, tools)
    return Stack(name="pre", workspace=logged_in)


def followed(stack: Stack, recipe: str) -> str:
    """What a recipe printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", recipe],
        cwd=stack.workspace.directory,
        env=stack.workspace.environment,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{recipe}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_first_backend(pre: Stack) -> None:
    [recipe] = recipes("The first backend")
    followed(pre, recipe)
    s3 = pre.workspace.account.client("s3")
    [bucket] = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    settings = (pre.workspace.directory / "Pulumi.pre.yaml").read_text()
    assert "secretsprovider: awskms://alias/booklink-state" in settings
    assert state(pre) == []


def test_what_exists_is_imported(pre: Stack, account: Account) -> None:
    account.client("ecr").create_repository(repositoryName=PROJECT)
    account.client("ecr").put_lifecycle_policy(
        repositoryName=PROJECT, lifecyclePolicyText=json.dumps(lifecycle_policy())
    )
    account.client("logs").create_log_group(logGroupName=KEPT_LOG)
    followed(pre, recipes("Import what exists")[0])
    ids = {each["type"]: each.get("id") for each in state(pre)}
    assert (ids[REPOSITORY], ids[LOG_GROUP]) == (PROJECT, KEPT_LOG)
    foreseen = changes(pre)
    assert foreseen.get(REPOSITORY) in (None, "update")
    assert foreseen.get(LOG_GROUP) in (None, "update")


def test_a_record_that_stands_in_the_way_is_imported(pre: Stack, account: Account) -> None:
    names = account.client("route53")
    [zone] = [each["Id"] for each in names.list_hosted_zones()["HostedZones"]]
    record = {"Name": HOST, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    change = {"Action": "CREATE", "ResourceRecordSet": record}
    names.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})
    refused = pre.run("up", "--yes", "--skip-preview", check=False)
    assert refused.status != 0
    assert "already exists" in refused.output
    followed(pre, recipes("Import what exists")[1])
    pre.run("up", "--yes", "--skip-preview")
    pre.run("preview", "--expect-no-changes")
    ids = {each["type"]: each.get("id") for each in state(pre)}
    assert (ids[REPOSITORY], ids[LOG_GROUP]) == (PROJECT, KEPT_LOG), "what was imported stayed"


def test_there_is_nothing_to_recover(pre: Stack) -> None:
    [recipe] = recipes("After an interrupted update")
    assert recipe.startswith("make recover STACK=pre\n")
    said = followed(pre, recipe.splitlines()[0].replace("make recover STACK=", ".venv/bin/python -m commands.recover "))
    assert "Nothing of pre is interrupted" in said


@pytest.mark.parametrize("which", [0, 1], ids=["of the history", "of the bucket's versions"])
def test_an_older_state(pre: Stack, which: int) -> None:
    before = {each["urn"] for each in state(pre)}
    followed(pre, recipes("An older state")[which])
    assert {each["urn"] for each in state(pre)} <= before
    pre.run("up", "--yes", "--skip-preview", "--refresh")
    pre.run("preview", "--expect-no-changes")


@pytest.fixture
def another_bucket(account: Account) -> str:
    place = {"LocationConstraint": "eu-central-1"}
    account.client("s3").create_bucket(Bucket="booklink-state-new", CreateBucketConfiguration=place)
    return "s3://booklink-state-new"


def test_a_stack_moves_to_another_backend(pre: Stack, another_bucket: str) -> None:
    moving, change = recipes("Move a stack")
    before = {each["urn"]: each.get("id") for each in state(pre)}
    followed(pre, moving)
    assert another_bucket in followed(pre, "pulumi whoami --verbose")
    assert {each["urn"]: each.get("id") for each in state(pre)} == before
    followed(pre, change)
    pre.run("preview", "--expect-no-changes")
    assert Path(pre.workspace.directory / "Pulumi.pre.yaml").read_text().count("secretsprovider: awskms") == 1
