"""What EC2 instance types have, as far as placing tasks needs it.

By rule and not by list: within a family, each size has twice the last one's processors and memory.
https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html (T, M), co.html (C), mo.html (R).
"""

import re
from dataclasses import dataclass

_T_SIZES = {"nano": 512, "micro": 1024, "small": 2048, "medium": 4096, "large": 8192, "xlarge": 16384, "2xlarge": 32768}
_GIB_PER_VCPU = {"m": 4, "c": 2, "r": 8}
_VCPUS = {"medium": 1, "large": 2, "xlarge": 4}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """An instance type's processors, memory in MiB as advertised, and architecture (`x86_64` or `arm64`)."""

    vcpus: int
    memory: int
    architecture: str

    @property
    def registered_cpu(self) -> int:
        """The CPU units that the ECS agent registers: 1024 for each vCPU."""
        return self.vcpus * 1024

    @property
    def registered_memory(self) -> int:
        """MiB that the ECS agent registers: what the kernel leaves of the advertised memory, about 4 % and 32 MiB less.

        An estimate on the careful side: AWS's own example is 7985 of an m4.large's 8192 MiB, with an older kernel.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/memory-management.html
        """
        return self.memory * 96 // 100 - 32


def hardware(instance_type: str) -> Hardware:
    """What an instance type of the families T, M, C and R has.

    Raises:
        ValueError: it is of another family, or no instance type.
    """
    match = re.fullmatch(r"([tmcr])(\d+)(g?)([a-z]*)\.(\w+)", instance_type)
    if match is None:
        raise ValueError(f"instance type {instance_type!r} is not one of the families T, M, C and R")
    family, generation, graviton, _, size = match.groups()
    architecture = "arm64" if graviton else "x86_64"
    if family == "t" and size in _T_SIZES:
        ones = ("nano", "micro", "small") if generation == "2" else ()
        vcpus = 1 if size in ones else {"xlarge": 4, "2xlarge": 8}.get(size, 2)
        return Hardware(vcpus=vcpus, memory=_T_SIZES[size], architecture=architecture)
    times = re.fullmatch(r"(\d+)xlarge", size)
    vcpus = 4 * int(times[1]) if times else _VCPUS.get(size, 0)
    if family == "t" or not vcpus:
        raise ValueError(f"instance type {instance_type!r} has no size {size!r}")
    return Hardware(vcpus=vcpus, memory=vcpus * _GIB_PER_VCPU[family] * 1024, architecture=architecture)
