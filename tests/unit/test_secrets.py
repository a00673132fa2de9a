"""Finding secrets, by what they are called alone."""

from typing import Any

import pulumi_aws as aws
import pytest

from components.lookups import Missing, find_all
from components.secret_references import SecretReference
from components.secrets import Secret, find_secrets, find_versions
from tests.unit.aws_answers import ACCOUNT
from tests.unit.mocked_engine import AwsError, Deployment, run

GET_SECRET = "aws:secretsmanager/getSecret:getSecret"
ARN = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:pre1/postgres-AbCdEf"


def find(*texts: str, answer: Any = None) -> tuple[dict[str, Secret], Deployment]:
    found: dict[str, Secret] = {}

    def program() -> None:
        references = [SecretReference.parse(text) for text in texts]
        lookups = find_secrets(aws.Provider("aws"), references, region="eu-central-1")
        find_all(lookups.values())
        found.update({name: lookup.value for name, lookup in lookups.items()})

    return found, run(program, answers={GET_SECRET: answer} if answer else None)


def test_a_secret_is_found_by_its_id() -> None:
    found, deployment = find("pre1/postgres:password::")
    assert found == {"pre1/postgres": Secret(arn=ARN, has_own_key=False)}
    assert deployment.invocations[0].arguments == {"name": "pre1/postgres"}


def test_a_secret_is_found_by_its_arn() -> None:
    found, deployment = find(ARN)
    assert found[ARN].arn == ARN
    assert deployment.invocations[0].arguments == {"arn": ARN}


def test_a_secret_that_is_named_twice_is_looked_for_once() -> None:
    _, deployment = find("pre1/postgres:user::", "pre1/postgres:password::", "pre1/postgres")
    assert len(deployment.invocations) == 1


def test_parameters_are_not_looked_for() -> None:
    found, deployment = find(f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/pre/key")
    assert (found, deployment.invocations) == ({}, [])


def test_no_secrets_value_is_read() -> None:
    _, deployment = find("pre1/postgres")
    assert {invocation.token for invocation in deployment.invocations} == {GET_SECRET}


def test_a_missing_secret_says_how_to_make_one() -> None:
    with pytest.raises(Missing) as raised:
        find("pre1/postgres", answer=AwsError("couldn't find resource"))
    text = str(raised.value)
    assert "container.secrets, container.readableSecrets: there is no secret pre1/postgres" in text
    assert "create-secret --region eu-central-1 --name pre1/postgres" in text


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("", False),
        ("alias/aws/secretsmanager", False),
        (f"arn:aws:kms:eu-central-1:{ACCOUNT}:alias/aws/secretsmanager", False),
        (f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1", True),
        ("1234-abcd", True),
        ("alias/mine", True),
    ],
)
def test_only_a_key_of_its_own_needs_a_permission(key: str, own: bool) -> None:
    found, _ = find("pre1/postgres", answer={"arn": ARN, "kmsKeyId": key, "id": ARN})
    assert found["pre1/postgres"].has_own_key is own


PARAMETER = f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/pre/key"
GET_VERSIONS = "aws:secretsmanager/getSecretVersions:getSecretVersions"


def versions(answers: dict[str, Any] | None = None, **texts: str) -> tuple[dict[str, str], Deployment]:
    found: dict[str, str] = {}

    def program() -> None:
        injected = {variable: SecretReference.parse(text) for variable, text in texts.items()}
        lookups = find_versions(aws.Provider("aws"), injected, region="eu-central-1")
        find_all(lookups.values())
        found.update({variable: lookup.value for variable, lookup in lookups.items()})

    return found, run(program, answers=answers)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("pre1/postgres", "version-2"),
        ("pre1/postgres:password::", "version-2"),
        (f"{ARN}:password::", "version-2"),
        ("pre1/postgres:password:AWSPREVIOUS:", "version-1"),
        ("pre1/postgres:password::version-0", "version-0"),
        (PARAMETER, "7"),
    ],
)
def test_the_version_is_the_one_that_the_agent_would_read(text: str, version: str) -> None:
    assert versions(A=text)[0] == {"A": version}


def test_versions_are_told_without_what_they_hold() -> None:
    _, deployment = versions(A="pre1/postgres", B=PARAMETER)
    asked = {invocation.token: invocation.arguments for invocation in deployment.invocations}
    assert asked == {
        GET_VERSIONS: {"secretId": "pre1/postgres"},
        "aws:ssm/getParameter:getParameter": {"name": PARAMETER, "withDecryption": False},
    }


def test_a_parameter_of_another_region_is_not_asked_for() -> None:
    elsewhere = PARAMETER.replace("eu-central-1", "eu-west-1")
    assert versions(A=elsewhere)[0] == {}, "the provider asks in its own region, which has another parameter, or none"


def test_a_secret_without_a_current_version_says_how_to_make_one() -> None:
    with pytest.raises(Missing) as raised:
        versions({GET_VERSIONS: {"id": "x", "secretId": "x", "versions": []}}, DB_PASSWORD="pre1/postgres")
    assert "container.secrets.DB_PASSWORD: pre1/postgres has no version AWSCURRENT" in str(raised.value)


def test_a_missing_parameter_says_how_to_make_one() -> None:
    with pytest.raises(Missing) as raised:
        versions({"aws:ssm/getParameter:getParameter": AwsError("couldn't find resource")}, A=PARAMETER)
    assert f"there is no parameter {PARAMETER}; `aws ssm put-parameter` makes one" in str(raised.value)
