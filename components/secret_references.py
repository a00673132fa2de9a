"""How a setting names a secret, and what ECS wants to be told instead.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-ssm-paramstore.html
"""

import re
from dataclasses import dataclass

_NAME = r"[A-Za-z0-9/_+=.@-]{1,512}"
_SELECTOR = r"(?P<selector>:[^:]*:[^:]*:[^:]*)?"
_ARN_HEAD = r"arn:aws[a-z-]*:%s:[a-z0-9-]+:\d{12}:"
_BY_ID = re.compile(rf"^(?P<name>{_NAME}){_SELECTOR}$")
_BY_SECRET_ARN = re.compile(rf"^(?P<name>{_ARN_HEAD % 'secretsmanager'}secret:{_NAME}){_SELECTOR}$")
_BY_PARAMETER_ARN = re.compile(rf"^(?P<name>{_ARN_HEAD % 'ssm'}parameter/[A-Za-z0-9_./-]+)$")


@dataclass(frozen=True, kw_only=True)
class SecretReference:
    """A secret by its ID or ARN, or an SSM parameter by its ARN.

    `selector` is what ECS takes after a secret's ARN, with its colons, such as `:password::`; empty for all of it.
    """

    name: str
    selector: str
    is_arn: bool
    is_parameter: bool

    @property
    def region(self) -> str | None:
        """The region that an ARN names; None where there is none, and so where the environment is."""
        return self.name.split(":")[3] if self.is_arn else None

    @property
    def stage(self) -> str:
        """The staging label of the version that is wanted; AWS moves it to another version where a secret rotates."""
        return self._selected(2) or "AWSCURRENT"

    @property
    def version(self) -> str:
        """The ID of the one version that is wanted; empty where the stage says which."""
        return self._selected(3)

    def _selected(self, part: int) -> str:
        return self.selector.split(":")[part] if self.selector else ""

    @classmethod
    def parse(cls, text: str) -> "SecretReference":
        """Return the reference that `text` spells; raises ValueError where it is none."""
        if match := _BY_PARAMETER_ARN.match(text):
            return cls(name=match["name"], selector="", is_arn=True, is_parameter=True)
        by_arn = text.startswith("arn:")
        if match := (_BY_SECRET_ARN if by_arn else _BY_ID).match(text):
            return cls(name=match["name"], selector=match["selector"] or "", is_arn=by_arn, is_parameter=False)
        raise ValueError("not a secret's ID or ARN (after which :json-key:: may stand), nor an SSM parameter's ARN")
