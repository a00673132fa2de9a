"""How a setting names a secret."""

import pytest

from components.secret_references import SecretReference

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:pre1/postgres-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/pre/key"


@pytest.mark.parametrize(
    ("text", "name", "selector"),
    [
        ("pre1/postgres", "pre1/postgres", ""),
        ("pre1/postgres:password::", "pre1/postgres", ":password::"),
        ("a_b+c=d.e@f-g", "a_b+c=d.e@f-g", ""),
        ("pre1/postgres:password:AWSPREVIOUS:", "pre1/postgres", ":password:AWSPREVIOUS:"),
        ("pre1/postgres:::", "pre1/postgres", ":::"),
        (SECRET, SECRET, ""),
        (f"{SECRET}:password::", SECRET, ":password::"),
        (f"{SECRET.replace('arn:aws:', 'arn:aws-us-gov:')}", SECRET.replace("arn:aws:", "arn:aws-us-gov:"), ""),
    ],
)
def test_a_secret_is_named_by_its_id_or_arn(text: str, name: str, selector: str) -> None:
    assert SecretReference.parse(text) == SecretReference(
        name=name, selector=selector, is_arn=text.startswith("arn:"), is_parameter=False
    )


def test_a_parameter_is_named_by_its_arn() -> None:
    assert SecretReference.parse(PARAMETER) == SecretReference(
        name=PARAMETER, selector="", is_arn=True, is_parameter=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "with space",
        "pre1/postgres:password",
        "pre1/postgres:a:b:c:d",
        "arn:aws:s3:::bucket",
        "arn:aws:secretsmanager:eu-central-1:123:secret:short-account",
        "arn:aws:ssm:eu-central-1:123456789012:document/x",
        f"{PARAMETER}:json::",
        "x" * 513,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a secret's ID or ARN"):
        SecretReference.parse(text)
