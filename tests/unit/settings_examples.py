"""The least settings that are right, and changes to them."""

from collections.abc import Iterator, Mapping
from typing import Any

from settings.model import Settings, group_of

ABSENT = object()
"""In a change: take this setting away."""

RIGHT: Mapping[str, Any] = {
    "zone": "example.com",
    "host": "be",
    "tag": "v1.2.3",
    "container": {"port": 8080, "cpu": 512, "memory": 512, "memoryReservation": 256},
}


def changed(change: Mapping[str, Any], settings: Mapping[str, Any] = RIGHT) -> dict[str, Any]:
    """Return `settings` with `change` merged into them, group by group."""
    found = dict(settings)
    for name, value in change.items():
        if value is ABSENT:
            found.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(found.get(name), Mapping):
            found[name] = changed(value, found[name])
        else:
            found[name] = value
    return found


def at(name: str, value: Any) -> dict[str, Any]:
    """Return the change that gives the setting with the dotted `name` a value."""
    first, _, rest = name.partition(".")
    return {first: at(rest, value) if rest else value}


def examples() -> Iterator[tuple[str, Any]]:
    """Each setting's dotted name with its example."""
    for field in Settings.model_fields.values():
        group = group_of(field)
        for prefix, inner in [
            ("", field),
            *((f"{field.alias}.", f) for f in (group.model_fields.values() if group else [])),
        ]:
            extra: Any = inner.json_schema_extra
            yield f"{prefix}{inner.alias}", extra["example"]
