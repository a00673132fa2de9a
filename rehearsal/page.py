"""What the sample's page must say of the container that it runs in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settings import Settings

USER = 10001
"""The Dockerfile's user."""

DEFAULT_SHARES = 1024
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the page should say: the version, the settings' environment and limits, and which secrets it can read."""

    version: str
    settings: Settings
    readable: Sequence[str]
    denied: Sequence[str]

    def differences(self, page: Mapping[str, Any]) -> list[str]:
        """What the page says otherwise, each in words; empty where all is as it should be."""
        container, limits, secrets = self.settings.container, page["limits"], page["secrets"]
        wanted: dict[str, tuple[object, object]] = {
            "version": (page["version"], self.version),
            "APP_ENV": (page["environment"].get("APP_ENV"), container.environment.get("APP_ENV")),
            "memory": (limits["memory"], container.memory * MIB),
            "user": (limits["user"], USER),
            "readOnlyRoot": (limits["readOnlyRoot"], container.read_only_root_filesystem),
        }
        found = [f"{name} is {seen!r}, not {should!r}" for name, (seen, should) in wanted.items() if seen != should]
        if "cpuShares" in limits and limits["cpuShares"] != container.cpu:
            found.append(f"it has {limits['cpuShares']} CPU shares, not {container.cpu}")
        # With cgroup v2 the kernel knows weights only, and engines turn shares into them in two ways.
        if "cpuShares" not in limits and container.cpu != DEFAULT_SHARES and not limits.get("cpuWeight"):
            found.append("it has no CPU weight")
        found += [
            f"{name} is {secrets.get(name)}, not readable" for name in self.readable if secrets.get(name) != "readable"
        ]
        found += [
            f"{name} is {secrets.get(name)}, not denied"
            for name in self.denied
            if not str(secrets.get(name)).startswith("denied: AccessDenied")
        ]
        return found

    def words(self) -> str:
        """The page in one line, where it says all that it should."""
        container = self.settings.container
        return ", ".join(
            [
                f"version {self.version}",
                f"{container.environment.get('APP_ENV')}",
                f"{container.memory} MiB",
                f"{container.cpu} CPU shares",
                f"user {USER}",
                "read-only root" if container.read_only_root_filesystem else "writable root",
                *(f"reads {name}" for name in self.readable),
                *(f"is denied {name}" for name in self.denied),
            ]
        )


def parse(body: str) -> dict[str, Any]:
    """The page as JSON; an empty one where it is something else."""
    try:
        page = json.loads(body)
    except ValueError:
        return {}
    return page if isinstance(page, dict) else {}
