"""What the ECS agent may do before a task's containers start: IAM decides, and the task says what it denied."""

import hashlib
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.surroundings import free_port
from tests.account.roles import LOGGING, PULLING, Statement, allow, make_role
from tests.account.test_ecs_account import REGION, Account, build
from tests.waiting import until

EVERYTHING = [allow([*PULLING, *LOGGING, "secretsmanager:GetSecretValue", "ssm:GetParameters", "kms:Decrypt"])]
LOG = {"awslogs-group": "/roles", "awslogs-region": REGION, "awslogs-stream-prefix": "p"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def account(source: Path) -> Iterator[Account]:
    running = Account(free_port())
    try:
        running.image = running.push(source)
        running.add_instances(1)
        running.logs.create_log_group(logGroupName="/roles")
        yield running
    finally:
        running.end()
        running.forget_image()


def role(account: Account, statements: list[Statement]) -> str:
    return make_role(account.iam, f"r{uuid.uuid4().hex[:8]}", statements)


@pytest.fixture
def image(account: Account, source: Path) -> str:
    """The probe once more, under a digest that no instance has pulled."""
    repository, tag = account.image.partition("@")[0], uuid.uuid4().hex[:8]
    built, _ = account.docker.images.build(path=str(source), tag=f"{repository}:{tag}", labels={"unlike": tag}, rm=True)
    account.docker.images.push(repository, tag=tag, auth_config=account.login())
    account.docker.images.remove(str(built.id), force=True)
    found = account.ecr.describe_images(repositoryName="probe", imageIds=[{"imageTag": tag}])["imageDetails"][0]
    return f"{repository}@{found['imageDigest']}"


def stopped(account: Account, arn: str) -> str:
    """Why a task stopped that never ran."""
    task = account.reached(arn, "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    return str(task["stoppedReason"])


def denied(role_arn: str, arn: str, action: str, resource: str) -> str:
    session = f"{role_arn.rsplit('/', 1)[1]}/{arn.rsplit('/', 1)[1]}"
    return (
        f"User: arn:aws:sts::123456789012:assumed-role/{session} is not authorized to perform: {action} on resource: "
        f"{resource} because no identity-based policy allows the {action} action"
    )


def secret(account: Account, value: str, **more: str) -> str:
    made = account.client("secretsmanager").create_secret(Name=f"s/{uuid.uuid4().hex[:8]}", SecretString=value, **more)
    return str(made["ARN"])


def reading(value_from: str) -> list[dict[str, str]]:
    return [{"name": "PASSWORD", "valueFrom": value_from}]


def test_a_role_that_may_do_all_of_it_starts_the_task(account: Account, image: str) -> None:
    key = account.client("kms").create_key()["KeyMetadata"]
    found = secret(account, json.dumps({"password": "open sesame"}), KmsKeyId=key["KeyId"])
    arn = account.run(
        account.define(
            role=role(account, EVERYTHING),
            image=image,
            secrets=reading(f"{found}:password::"),
            logConfiguration={"logDriver": "awslogs", "options": LOG},
        )
    )
    account.reached(arn, "RUNNING")
    [container] = account.containers(task_arn=arn)
    assert "PASSWORD=open sesame" in container.attrs["Config"]["Env"]
    until("its log arrives", lambda: account.logs.filter_log_events(logGroupName="/roles")["events"])
    account.ecs.stop_task(cluster="tests", task=arn)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("ecr:GetAuthorizationToken", "CannotPullECRContainerError: operation error ECR: GetAuthorizationToken, "),
        (
            "ecr:BatchGetImage",
            "CannotPullContainerError: The task can\N{RIGHT SINGLE QUOTATION MARK}t pull the image. ",
        ),
        ("ecr:GetDownloadUrlForLayer", "CannotPullContainerError: Error response from daemon: error pulling image "),
    ],
)
def test_a_pull_needs_each_of_its_rights(account: Account, image: str, missing: str, words: str) -> None:
    has = role(account, [allow([each for each in PULLING if each != missing])])
    arn = account.run(account.define(role=has, image=image))
    reason = stopped(account, arn)
    assert reason.startswith(words)
    token = missing == "ecr:GetAuthorizationToken"
    resource = "*" if token else f"arn:aws:ecr:{REGION}:123456789012:repository/probe"
    assert denied(has, arn, missing, resource) in reason


def test_an_image_that_was_deleted_cant_be_pulled(account: Account, image: str) -> None:
    digest = image.partition("@")[2]
    [found] = account.ecr.describe_images(repositoryName="probe", imageIds=[{"imageDigest": digest}])["imageDetails"]
    [tag] = found["imageTags"]
    [pushed] = account.ecr.batch_get_image(repositoryName="probe", imageIds=[{"imageTag": tag}])["images"]
    account.ecr.put_image(repositoryName="probe", imageManifest=pushed["imageManifest"], imageTag=f"{tag}-too")
    account.ecr.batch_delete_image(repositoryName="probe", imageIds=[{"imageTag": tag}])
    has = role(account, EVERYTHING)
    definition = account.define(role=has, image=image)
    gone = account.ecr.batch_delete_image(repositoryName="probe", imageIds=[{"imageTag": f"{tag}-too"}])
    assert gone["imageIds"] == [{"imageDigest": digest, "imageTag": f"{tag}-too"}], "it had another tag until now"
    reason = stopped(account, account.run(definition))
    assert reason.startswith("CannotPullContainerError: Error response from daemon: ")
    assert "not found" in reason


def test_an_instance_uses_an_image_that_it_has_where_it_may_not_pull(account: Account, image: str) -> None:
    account.reached(account.run(account.define(role=role(account, EVERYTHING), image=image)), "RUNNING")
    account.reached(account.run(account.define(role=role(account, [allow(LOGGING)]), image=image)), "RUNNING")


def test_without_an_execution_role_the_instances_is_asked(account: Account, image: str) -> None:
    taken = account.iam.get_role_policy(RoleName="tests", PolicyName="p")["PolicyDocument"]
    account.iam.delete_role_policy(RoleName="tests", PolicyName="p")
    try:
        reason = stopped(account, account.run(account.define(image=image)))
    finally:
        account.iam.put_role_policy(RoleName="tests", PolicyName="p", PolicyDocument=json.dumps(taken))
    assert "assumed-role/tests/i-" in reason
    account.reached(account.run(account.define(image=image)), "RUNNING")


def download(link: str) -> bytes:
    with urllib.request.urlopen(link, timeout=10) as answer:  # noqa: S310 - of the account
        body: bytes = answer.read()
        return body


def test_layers_are_downloaded_by_links_that_nobody_guesses(account: Account) -> None:
    digest = account.image.partition("@")[2]
    [found] = account.ecr.batch_get_image(repositoryName="probe", imageIds=[{"imageDigest": digest}])["images"]
    manifest = json.loads(found["imageManifest"])
    for part in (manifest["config"], *manifest["layers"]):
        link = account.ecr.get_download_url_for_layer(repositoryName="probe", layerDigest=part["digest"])["downloadUrl"]
        assert f"sha256:{hashlib.sha256(download(link)).hexdigest()}" == part["digest"]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            download(link[:-1])
    with pytest.raises(account.ecr.exceptions.LayersNotFoundException):
        account.ecr.get_download_url_for_layer(repositoryName="probe", layerDigest=f"sha256:{'0' * 64}")


def test_a_log_stream_needs_its_right(account: Account) -> None:
    has = role(account, [allow(PULLING)])
    arn = account.run(account.define(role=has, logConfiguration={"logDriver": "awslogs", "options": LOG}))
    reason = stopped(account, arn)
    assert reason.startswith(
        "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create "
        "Cloudwatch log stream: "
    )
    stream = f"arn:aws:logs:{REGION}:123456789012:log-group:/roles:log-stream:p/probe/{arn.rsplit('/', 1)[1]}"
    assert denied(has, arn, "logs:CreateLogStream", stream) in reason


def test_a_log_that_may_not_be_written_is_lost_and_the_container_runs(account: Account) -> None:
    has = role(account, [allow([*PULLING, "logs:CreateLogStream"])])
    arn = account.run(account.define(role=has, logConfiguration={"logDriver": "awslogs", "options": LOG}))
    account.reached(arn, "RUNNING")
    account.ecs.stop_task(cluster="tests", task=arn)
    account.reached(arn, "STOPPED")
    stream = f"p/probe/{arn.rsplit('/', 1)[1]}"
    assert not account.logs.get_log_events(logGroupName="/roles", logStreamName=stream)["events"]


def test_a_secret_needs_its_right(account: Account) -> None:
    found, other = secret(account, "x"), secret(account, "y")
    has = role(account, [allow(PULLING), allow(["secretsmanager:GetSecretValue"], other)])
    arn = account.run(account.define(role=has, secrets=reading(found)))
    reason = stopped(account, arn)
    assert reason.startswith(f"Secret {found}: operation error Secrets Manager: GetSecretValue, ")
    assert "api error AccessDeniedException: " + denied(has, arn, "secretsmanager:GetSecretValue", found) in reason


def test_a_secret_with_a_key_of_its_own_needs_the_key_too(account: Account) -> None:
    key = account.client("kms").create_key()["KeyMetadata"]["KeyId"]
    found = secret(account, "x", KmsKeyId=key)
    has = role(account, [allow([*PULLING, "secretsmanager:GetSecretValue"])])
    reason = stopped(account, account.run(account.define(role=has, secrets=reading(found))))
    assert "api error AccessDeniedException: Access to KMS is not allowed" in reason


@pytest.mark.parametrize(("context", "allowed"), [("its own", True), ("another's", False)])
def test_a_key_is_used_for_what_the_policy_says(account: Account, context: str, *, allowed: bool) -> None:
    key = account.client("kms").create_key()["KeyMetadata"]["KeyId"]
    found = secret(account, "x", KmsKeyId=key)
    condition = {
        "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": found if context == "its own" else f"{found}x",
    }
    statements = [
        allow([*PULLING, "secretsmanager:GetSecretValue"]),
        allow(["kms:Decrypt"], StringEquals=condition),
    ]
    arn = account.run(account.define(role=role(account, statements), secrets=reading(found)))
    account.reached(arn, "RUNNING" if allowed else "STOPPED")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        ("no such key", "Retrieved secret from Secrets Manager did not contain json key password"),
        ("no JSON", "Invalid character 'h' looking for beginning of value"),
        (
            "deleted",
            "InvalidRequestException: You can't perform this operation on the secret because it was marked for",
        ),
        ("gone", "ResourceNotFoundException: The task can't retrieve the secret with ARN "),
    ],
)
def test_what_is_wrong_with_a_secret_is_said(account: Account, break_it: str, words: str) -> None:
    found = secret(account, "hidden" if break_it == "no JSON" else json.dumps({"username": "hidden"}))
    if break_it in ("deleted", "gone"):
        account.client("secretsmanager").delete_secret(SecretId=found, ForceDeleteWithoutRecovery=break_it == "gone")
    has = role(account, EVERYTHING)
    reason = stopped(account, account.run(account.define(role=has, secrets=reading(f"{found}:password::"))))
    assert words in reason
    assert "hidden" not in reason, "a secret's value is in no error"


def test_a_parameter_needs_its_right_and_must_be_there(account: Account) -> None:
    account.client("ssm").put_parameter(Name="/roles/key", Value="x", Type="SecureString")
    parameter = f"arn:aws:ssm:{REGION}:123456789012:parameter/roles/key"
    has = role(account, [allow(PULLING)])
    arn = account.run(account.define(role=has, secrets=reading(parameter)))
    reason = stopped(account, arn)
    assert reason.startswith(f"Fetching secret data from SSM Parameter Store in {REGION}: operation error SSM: ")
    assert denied(has, arn, "ssm:GetParameters", parameter) in reason
    missing = account.run(account.define(role=role(account, EVERYTHING), secrets=reading(f"{parameter}s")))
    assert stopped(account, missing) == (
        f"Fetching secret data from SSM Parameter Store in {REGION}: invalid parameters: /roles/keys"
    )


def test_secrets_need_an_execution_role(account: Account) -> None:
    with pytest.raises(account.ecs.exceptions.ClientException, match="you must also specify a value for 'executionRo"):
        account.define(secrets=reading(secret(account, "x")))
