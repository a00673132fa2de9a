"""What an EC2 instance type has to offer to ECS tasks."""

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["x86_64", "arm64"]

MEBIBYTES = 1024
CPU_UNITS = 1024
"""ECS counts a vCPU as 1,024 CPU units."""

REGISTERED_SHARE = 0.85
"""The part of an instance's memory that we count on ECS to have for tasks.

The agent registers what the kernel leaves it, less ECS_RESERVED_MEMORY; AWS gives no formula, and says that it is below
what is advertised. Seen: 1,901 of 2,048 MiB (t3.small, 93 %), 3,828 of 4,096 (t3.medium, 93 %), 3,704 of 4,096
(c5.large, 90 %). We reserve RESERVED_MEMORY besides, and round down further, so that what we call fitting does fit.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/memory-management.html
"""

FIXED_OVERHEAD = 150
"""MiB that we take off at least: most of what the kernel keeps for itself does not shrink with the instance."""

RESERVED_MEMORY = 32
"""MiB kept from tasks for the agent and the system (ECS_RESERVED_MEMORY)."""

_BURSTABLE_SIZES = {
    "nano": (2, 0.5),
    "micro": (2, 1),
    "small": (2, 2),
    "medium": (2, 4),
    "large": (2, 8),
    "xlarge": (4, 16),
    "2xlarge": (8, 32),
}
_VCPUS = {"medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16}
_GIBIBYTES_PER_VCPU = {"c": 2, "m": 4, "r": 8}

_BURSTABLE: dict[str, Architecture] = {"t3": "x86_64", "t3a": "x86_64", "t4g": "arm64"}
_STEADY: dict[str, Architecture] = {
    **dict.fromkeys(["c5", "c6i", "c6a", "c7i", "m5", "m6i", "m6a", "m7i", "r5", "r6i", "r6a", "r7i"], "x86_64"),
    **dict.fromkeys(["c6g", "c7g", "c8g", "m6g", "m7g", "m8g", "r6g", "r7g", "r8g"], "arm64"),
}


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """An instance type: `cpu` in CPU units, `memory` and `registered_memory` (what tasks share) in MiB.

    https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
    """

    name: str
    architecture: Architecture
    cpu: int
    memory: int

    @property
    def registered_memory(self) -> int:
        return min(int(self.memory * REGISTERED_SHARE), self.memory - FIXED_OVERHEAD)

    @property
    def platform(self) -> str:
        """The platform for which Docker must build an image that is to run here."""
        return "linux/amd64" if self.architecture == "x86_64" else "linux/arm64"


def instance_type(name: str) -> InstanceType:
    """Return what is known of the instance type `name`; raises ValueError where it is not one of ours."""
    family, _, size = name.partition(".")
    if family in _BURSTABLE and size in _BURSTABLE_SIZES:
        vcpus, gibibytes = _BURSTABLE_SIZES[size]
        architecture = _BURSTABLE[family]
    elif family in _STEADY and size in _VCPUS and (size != "medium" or _STEADY[family] == "arm64"):
        vcpus = _VCPUS[size]
        gibibytes = vcpus * _GIBIBYTES_PER_VCPU[family[0]]
        architecture = _STEADY[family]
    else:
        raise ValueError(
            f"unknown instance type; known are {', '.join(_BURSTABLE)} ({', '.join(_BURSTABLE_SIZES)}) and "
            f"{', '.join(_STEADY)} (large to 4xlarge, medium too for those that end in g)"
        )
    return InstanceType(name=name, architecture=architecture, cpu=vcpus * CPU_UNITS, memory=int(gibibytes * MEBIBYTES))
