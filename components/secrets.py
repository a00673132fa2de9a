"""Finds the secrets that settings name; only what they are called is read, never what they hold."""

from collections.abc import Iterable
from dataclasses import dataclass

import pulumi_aws as aws

from components.lookups import LookUp, ask
from components.secret_references import SecretReference


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret that exists; `key_arn` is the KMS key of its own that it is encrypted with, if any."""

    arn: str
    key_arn: str | None


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
        return Secret(arn=found.arn, key_arn=key_arn(found.kms_key_id, secret_arn=found.arn))

    return LookUp(
        secret(),
        missing=f"container: there is no secret {name} in Secrets Manager in {region}; `aws secretsmanager "
        f"create-secret --region {region} --name {name} --secret-string file://secret.json` makes one",
    )


def key_arn(key: str | None, *, secret_arn: str) -> str | None:
    """Return the ARN of the key that a secret names by its ID or ARN; None for AWS's own, which needs no permission.

    https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
    """
    if not key or key.endswith("alias/aws/secretsmanager"):
        return None
    if key.startswith("arn:"):
        return key
    _, partition, _, region, account, _ = secret_arn.split(":", 5)
    return f"arn:{partition}:kms:{region}:{account}:{key if key.startswith('alias/') else f'key/{key}'}"
