"""Finds the secrets that settings name: what they are called, and which version is current, never what they hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pulumi_aws as aws

from components.lookups import LookUp, ask
from components.secret_references import SecretReference


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret that exists, and whether a KMS key of its own encrypts it, and not AWS's, which needs no permission."""

    arn: str
    has_own_key: bool


def find_secrets(
    provider: aws.Provider, references: Iterable[SecretReference], *, region: str
) -> dict[str, LookUp[Secret]]:
    """Look for the Secrets Manager secrets among `references`, each once, by the name it was given."""
    names = sorted({reference.name for reference in references if not reference.is_parameter})
    return {name: _find_secret(provider, name, region=region) for name in names}


def _find_secret(provider: aws.Provider, name: str, *, region: str) -> LookUp[Secret]:
    by = {"arn": name} if name.startswith("arn:") else {"name": name}

    async def secret() -> Secret:
        found = await ask(provider, "aws:secretsmanager/getSecret:getSecret", aws.secretsmanager.GetSecretResult, **by)
        key = found.kms_key_id
        return Secret(arn=found.arn, has_own_key=bool(key) and not key.endswith("alias/aws/secretsmanager"))

    return LookUp(
        secret(),
        missing=f"container.secrets, container.readableSecrets: there is no secret {name} in Secrets Manager in "
        f"{region}, if that is the region; `aws secretsmanager create-secret --region {region} --name {name} "
        "--secret-string file:///dev/stdin` makes one of what you type then, up to Ctrl-D",
    )


def find_versions(
    provider: aws.Provider, injected: Mapping[str, SecretReference], *, region: str
) -> dict[str, LookUp[str]]:
    """Look for the version, by its ID or number, that each environment variable's secret or parameter has now.

    The agent reads them when a task starts, and no task notices another version. A parameter of another region isn't
    asked for. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
    """
    return {
        variable: _find_parameter_version(provider, reference)
        if reference.is_parameter
        else _find_secret_version(provider, variable, reference)
        for variable, reference in injected.items()
        if not (reference.is_parameter and reference.region != region)
    }


def _find_secret_version(provider: aws.Provider, variable: str, reference: SecretReference) -> LookUp[str]:
    async def version() -> str | None:
        if reference.version:
            return reference.version
        found = await ask(
            provider,
            "aws:secretsmanager/getSecretVersions:getSecretVersions",
            aws.secretsmanager.GetSecretVersionsResult,
            secretId=reference.name,
        )
        with_stage = [each.version_id for each in found.versions if reference.stage in each.version_stages]
        return with_stage[0] if with_stage else None

    return LookUp(
        version(),
        missing=f"container.secrets.{variable}: {reference.name} has no version {reference.stage}, or its versions may "
        "not be listed; `aws secretsmanager list-secret-version-ids` shows them, and put-secret-value makes one",
    )


def _find_parameter_version(provider: aws.Provider, reference: SecretReference) -> LookUp[str]:
    async def version() -> str:
        # Not decrypted, so that no secret's value comes here.
        found = await ask(
            provider,
            "aws:ssm/getParameter:getParameter",
            aws.ssm.GetParameterResult,
            name=reference.name,
            withDecryption=False,
        )
        return str(found.version)

    return LookUp(
        version(),
        missing=f"container.secrets: there is no parameter {reference.name}; `aws ssm put-parameter` makes one",
    )
