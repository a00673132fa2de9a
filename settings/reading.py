"""Reads the settings that Pulumi hands to the program, and words what is wrong with them."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings.model import NOT_YET, Settings, group_of, secret_in

_NAMES = {field.alias for field in Settings.model_fields.values()}
_PLACE = ("region", "profile", "allowedAccountIds")
_ACCOUNT_ID = r"\d{12}"

_HINTS = {
    "tag": "; a stack without build is given its version with each command: --config tag=v1.2.3. What would change "
    "with the one that was deployed last, `make preview STACK=...` shows"
}
"""What else to say where a setting is missing."""

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")

_ABSENT: tuple[object, ...] = ("", {}, [])
"""What Pulumi.yaml gives an optional setting for its default, since Pulumi demands those that it gives none."""


class WrongSettings(pulumi.RunError):
    """What is wrong with a stack's settings, all of it; Pulumi shows the text and no traceback."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the program runs: `aws:region`; `aws:profile`, of AWS's own files; `aws:allowedAccountIds`."""

    region: str
    profile: str | None
    account_ids: list[str] | None


def load(project: str, stack: str) -> tuple[Settings, Place]:
    """Return the settings of `stack`, from Pulumi's configuration in the namespace of `project`, and where it runs.

    Raises WrongSettings, which names every wrong one.
    """
    given: dict[str, dict[str, object]] = {project: {}, "aws": {}}
    secret, strays = [], []
    for key, text in CONFIG.get().items():
        namespace, _, name = key.partition(":")
        if namespace in given:
            given[namespace][name] = _decoded(text)
            if namespace == project and pulumi.runtime.is_config_secret(key):
                secret.append(name)
        elif name in _NAMES:
            strays.append(
                f"{key}: is not read, since this project is {project} (Pulumi.yaml); make it {project}:{name}"
            )
    settings = parse(given[project], stack=stack, secret=secret, also=strays + _wrong_places(given["aws"]))
    if missing := _missing_files(settings):
        raise WrongSettings(_report(stack, missing))
    region, profile, account_ids = (given["aws"].get(name) for name in _PLACE)
    return settings, Place(
        region=str(region),
        profile=str(profile) if profile else None,
        account_ids=[str(account_id) for account_id in account_ids] if isinstance(account_ids, list) else None,
    )


def _missing_files(settings: Settings) -> list[str]:
    """Return what of the build is not there, beside Pulumi.yaml, which is where the program runs."""
    build = settings.build
    if build is None:
        return []
    if not Path(build.context).is_dir():
        return [f"build.context: there is no folder {build.context} beside Pulumi.yaml"]
    dockerfile = Path(build.dockerfile or f"{build.context}/Dockerfile")
    return [] if dockerfile.is_file() else [f"build.dockerfile: there is no file {dockerfile} beside Pulumi.yaml"]


def _wrong_places(given: Mapping[str, object]) -> list[str]:
    """Return what is wrong with the AWS provider's settings; those not used are, too: they would be without effect."""
    problems = []
    region, account_ids = given.get("region"), given.get("allowedAccountIds")
    if not (isinstance(region, str) and _REGION.fullmatch(region)):
        problem = f"{json.dumps(region)} is not allowed" if region else "is missing"
        problems.append(f'aws:region: {problem}; allowed is a region of AWS, such as "eu-central-1"')
    known = isinstance(account_ids, list) and all(re.fullmatch(_ACCOUNT_ID, str(each)) for each in account_ids)
    if account_ids is not None and not (account_ids and known):
        problems.append(
            f"aws:allowedAccountIds: {json.dumps(account_ids)} is not allowed; allowed is a list of account IDs, in "
            'quotes, such as ["111122223333"]'
        )
    allowed = ", ".join(f"aws:{name}" for name in _PLACE)
    return problems + [f"aws:{name}: is not used; allowed are {allowed}" for name in sorted(given.keys() - set(_PLACE))]


def parse(given: Mapping[str, object], *, stack: str, secret: Sequence[str] = (), also: Sequence[str] = ()) -> Settings:
    """Return the settings that `given` holds under their names in a stack file; `secret` names the encrypted ones.

    Raises WrongSettings, which names every wrong one, after what is `also` wrong.
    """
    problems = list(also)
    problems += [
        f"{name}: is encrypted, but would stand in clear text in AWS; put the secret into Secrets Manager "
        "and name it under container.secrets"
        for name in secret
    ]
    problems += [
        f"{name}: not yet: {NOT_YET[name]}, in a later version; leave it out"
        for name in given
        if name in NOT_YET and given[name] not in _ABSENT
    ]
    asked = {name: value for name, value in given.items() if value not in _ABSENT and name not in NOT_YET}
    try:
        settings = Settings.model_validate(asked)
    except ValidationError as error:
        for detail in error.errors():
            problems += _problems(detail, hidden=secret)
    if problems:
        raise WrongSettings(_report(stack, problems))
    return settings


def _decoded(text: str) -> object:
    """Pulumi hands objects and lists to the program as JSON, and everything else as text."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _report(stack: str, problems: list[str]) -> str:
    count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    return "\n".join(
        [f"{count} wrong in Pulumi.{stack}.yaml; nothing was changed:", *(f"  {line}" for line in problems)]
    )


def _problems(detail: ErrorDetails, *, hidden: Sequence[str]) -> list[str]:
    location = [part for part in detail["loc"] if part != "[key]"]
    name = ".".join(str(part) for part in location)
    field = _field(location)
    if detail["type"] == "missing":
        return [f"{name}: is missing; allowed is {_allowance(field)}{_HINTS.get(name, '')}"]
    if detail["type"] == "extra_forbidden":
        return [f"{name}: is no setting; {_alternatives(location)}"]
    error = detail.get("ctx", {}).get("error")
    message = str(error) if isinstance(error, ValueError) else ""
    if message and isinstance(detail["input"], dict) and ": " in message:
        return message.split("\n")
    value = json.dumps(detail["input"], default=str)
    if secret_in(value) or location[:2] == ["container", "secrets"] or (location and location[0] in hidden):
        value = "(not shown)"
    why = f": {message}" if message else ""
    return [f"{name}: {value} is not allowed{why}; allowed is {_allowance(field)}"]


def _allowance(field: FieldInfo | None) -> str:
    extra: Any = (field and field.json_schema_extra) or {}
    return f"{extra['allowed']}, such as {json.dumps(extra['example'])}"


def _field(location: list[int | str]) -> FieldInfo | None:
    """Return the definition of the setting at `location`, or of the nearest one around it."""
    group: type[BaseModel] | None = Settings
    found = None
    for part in location:
        fields = {field.alias: field for field in group.model_fields.values()} if group else {}
        if part not in fields:
            break
        found = fields[str(part)]
        group = group_of(found)
    return found


def _alternatives(location: list[int | str]) -> str:
    around = _field(location[:-1])
    group = group_of(around) if around else Settings
    names = [field.alias or "" for field in (group or Settings).model_fields.values()]
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
