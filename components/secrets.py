"""Finds the secrets that settings name; only what they are called is read, never what they hold."""

from collections.abc import Iterable
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
