"""The access key of an emulated account's root: another one for each run, that nobody can guess."""

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Key:
    """An access key: its ID and its secret, which requests are signed with."""

    id: str
    secret: str = field(repr=False)


def random_key() -> Key:
    """A new key, in the form that AWS's have.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes
    """
    return Key(id="AKIA" + secrets.token_hex(8).upper(), secret=secrets.token_urlsafe(30))
