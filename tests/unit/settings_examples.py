"""The least settings that are right, and changes to them."""

from collections.abc import Mapping
from typing import Any

ABSENT = object()
"""In a change: take this setting away."""

RIGHT: Mapping[str, Any] = {
    "zone": "example.com",
    "host": "be",
    "tag": "master",
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
