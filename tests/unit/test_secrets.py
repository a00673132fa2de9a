"""Finding secrets, by what they are called alone."""

from typing import Any

import pulumi_aws as aws
import pytest

from components.lookups import Missing, find_all
from components.secret_references import SecretReference
from components.secrets import Secret, find_secrets
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
