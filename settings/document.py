"""Writes, from the settings' own definitions, what else shows them: Pulumi.yaml's `config:` block and docs/settings.md.

python -m settings.document            # writes both
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings.model import NOT_YET, Settings, group_of

PROJECT_FILE = Path("Pulumi.yaml")
DOCUMENT = Path("docs/settings.md")
CONFIG_HEAD = "config:\n"
GENERATED = "<!-- Written by `make settings` from settings/model.py. -->"


def config_block() -> str:
    """Return Pulumi.yaml's `config:` block.

    Settings have no `type` there, since Pulumi's own check of it would report one wrong setting and hide the others;
    and each has a default, an empty one, since Pulumi demands those without. What is empty counts as absent.
    """
    lines = [CONFIG_HEAD.rstrip()]
    for field in Settings.model_fields.values():
        empty = "{}" if group_of(field) else '""'
        lines += [f"  {field.alias}:", f"    description: {json.dumps(field.description)}", f"    default: {empty}"]
    return "\n".join(lines) + "\n"


def document() -> str:
    """Return docs/settings.md: a table of all settings, and one for each group."""
    parts = [
        "# Settings",
        GENERATED,
        "They stand in `Pulumi.pre.yaml` and `Pulumi.live.yaml`, one file for each environment, under "
        "`booklink-backend:`. A wrong one is refused before anything is created, and all wrong ones at once. Besides "
        "them, `aws:region` says where, `aws:profile` as whom, if not with AWS's usual credentials, and "
        "`aws:allowedAccountIds` in which accounts it may ever run: a list, and worth having in live.",
        _table(Settings, prefix=""),
    ]
    for name, field in Settings.model_fields.items():
        if group := group_of(field):
            parts += [
                f"## {field.alias or name}",
                (group.__doc__ or "").strip(),
                _table(group, prefix=f"{field.alias}."),
            ]
    later = [f"- `{name}`: {meaning}" for name, meaning in NOT_YET.items()]
    parts += ["## Not yet", "These names are taken for what comes later, and refused until then:", "\n".join(later)]
    return "\n\n".join(parts) + "\n"


def _table(group: type[BaseModel], *, prefix: str) -> str:
    rows = ["| setting | meaning | allowed | default | example |", "| --- | --- | --- | --- | --- |"]
    for field in group.model_fields.values():
        extra: Any = field.json_schema_extra
        cells = [
            f"`{prefix}{field.alias}`",
            field.description or "",
            extra["allowed"],
            _default(field),
            f"`{json.dumps(extra['example'])}`",
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or isinstance(default, BaseModel):
        return "absent" if default is None else "its settings' own"
    return f"`{json.dumps(default)}`"


def with_config_block(project_file: str) -> str:
    """Return the text of Pulumi.yaml with its `config:` block, the last in it, written anew."""
    return project_file.partition(CONFIG_HEAD)[0] + config_block()


if __name__ == "__main__":
    PROJECT_FILE.write_text(with_config_block(PROJECT_FILE.read_text()))
    DOCUMENT.write_text(document())
