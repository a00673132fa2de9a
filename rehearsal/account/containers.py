"""A task definition's container as Docker runs it: the options, what its end means, and removing what is left.

Run as a program it is the account's guard: when its standard input ends, which it does however the account ends, it
removes the containers that carry the label given to it.
"""

import functools
import sys
import time
from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError
from docker.types import LogConfig, Mount, Ulimit

DEFAULT_STOP_TIMEOUT = 30
"""Seconds between SIGTERM and SIGKILL where the container definition has no stopTimeout (ECS_CONTAINER_STOP_TIMEOUT):
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html"""

MIB = 1024 * 1024
SECOND = 1_000_000_000
LEAST_CPU_SHARES = 2
DOCKER_TIMEOUT = 120

REMOVAL = 60.0
"""Seconds after which a container that Docker doesn't remove is left: its account has to end too."""

Definition = Mapping[str, Any]

CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""What any container of Docker's may: https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities"""


class NotHereError(Exception):
    """A container would have power over this machine, which no emulated instance stands between; names the setting."""


def docker_options(container_definition: Definition, task_definition: Definition) -> dict[str, Any]:
    """What the ECS agent asks of Docker for a container, as keyword arguments of docker-py's `containers.create`.

    What would give a container power over its host is refused: on AWS that is an instance, here it is this machine.
    Its secrets, its name, its network and the agent's own labels are the caller's. Host ports are not bound here: on an
    instance they are the instance's, and who runs the container elsewhere chooses others.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html

    Raises:
        NotHereError: it would have power over this machine.
    """
    if powers := powers_over_host(container_definition, task_definition):
        raise NotHereError(f"this rehearsal gives no container power over its machine: {', '.join(powers)}")
    linux = container_definition.get("linuxParameters") or {}
    capabilities = linux.get("capabilities") or {}
    options = {
        "command": container_definition.get("command"),
        "entrypoint": container_definition.get("entryPoint"),
        "environment": {each["name"]: each["value"] for each in container_definition.get("environment") or []},
        "working_dir": container_definition.get("workingDirectory"),
        "user": container_definition.get("user"),
        "hostname": container_definition.get("hostname"),
        "labels": dict(container_definition.get("dockerLabels") or {}),
        "cpu_shares": max(LEAST_CPU_SHARES, int(container_definition.get("cpu") or 0)),
        "read_only": container_definition.get("readonlyRootFilesystem"),
        "security_opt": container_definition.get("dockerSecurityOptions"),
        "tty": container_definition.get("pseudoTerminal"),
        "stdin_open": container_definition.get("interactive"),
        "dns": container_definition.get("dnsServers"),
        "dns_search": container_definition.get("dnsSearchDomains"),
        "extra_hosts": {each["hostname"]: each["ipAddress"] for each in container_definition.get("extraHosts") or []},
        "sysctls": {each["namespace"]: each["value"] for each in container_definition.get("systemControls") or []},
        "ulimits": [
            Ulimit(name=each["name"], soft=each["softLimit"], hard=each["hardLimit"])
            for each in container_definition.get("ulimits") or []
        ],
        "init": linux.get("initProcessEnabled"),
        "cap_add": capabilities.get("add"),
        "cap_drop": capabilities.get("drop"),
        "shm_size": (linux.get("sharedMemorySize") or 0) * MIB,
        "tmpfs": {each["containerPath"]: _tmpfs(each) for each in linux.get("tmpfs") or []},
        # Docker gives each an empty volume of its own, and takes it away with the container.
        "mounts": [
            Mount(each["containerPath"], None, read_only=bool(each.get("readOnly")))
            for each in container_definition.get("mountPoints") or []
        ],
        "network_mode": "none" if task_definition.get("networkMode") == "none" else None,
        "healthcheck": _health_check(container_definition.get("healthCheck")),
        "log_config": _log_config(container_definition.get("logConfiguration") or {}),
        **_memory(container_definition, task_definition),
    }
    return {name: value for name, value in options.items() if value}


def powers_over_host(container_definition: Definition, task_definition: Definition) -> list[str]:
    """The settings by which a container would read or change the machine that it runs on, in ECS's names."""
    linux = container_definition.get("linuxParameters") or {}
    added = (linux.get("capabilities") or {}).get("add") or []
    volumes = {each["name"]: each for each in task_definition.get("volumes") or []}
    mounted = [volumes.get(each["sourceVolume"]) for each in container_definition.get("mountPoints") or []]
    driver = (container_definition.get("logConfiguration") or {}).get("logDriver", "awslogs")
    found = {
        "privileged": container_definition.get("privileged"),
        "linuxParameters.devices": linux.get("devices"),
        "linuxParameters.capabilities.add": [each for each in added if each not in CAPABILITIES],
        "dockerSecurityOptions": [
            each for each in container_definition.get("dockerSecurityOptions") or [] if each != "no-new-privileges"
        ],
        # Any volume that has more than a name is somewhere on the machine, or on another.
        "volumes": [each for each in mounted if each is None or any(each.get(key) for key in _volume_sources(each))],
        "volumesFrom": container_definition.get("volumesFrom"),
        "logConfiguration.logDriver": driver not in ("awslogs", "json-file"),
        "networkMode": task_definition.get("networkMode") == "host",
        "pidMode": task_definition.get("pidMode") == "host",
        "ipcMode": task_definition.get("ipcMode") == "host",
    }
    return [name for name, given in found.items() if given]


def _volume_sources(volume: Definition) -> list[str]:
    """The members of a volume beside its name; `host` without a path is an empty volume."""
    return [key for key in volume if key != "name" and not (key == "host" and not volume["host"].get("sourcePath"))]


def stop_timeout(container_definition: Definition) -> int:
    """Seconds that a container has between SIGTERM and SIGKILL."""
    return int(container_definition.get("stopTimeout") or DEFAULT_STOP_TIMEOUT)


def exit_reason(state: Definition) -> str | None:
    """Why a container ended, in the ECS agent's words, from Docker's State of it; None where its exit code says it all.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
    """
    return "OutOfMemoryError: Container killed due to memory usage" if state.get("OOMKilled") else None


def health_status(state: Definition) -> str:
    """A container's health as ECS names it, from Docker's State of it."""
    status = (state.get("Health") or {}).get("Status", "")
    return {"healthy": "HEALTHY", "unhealthy": "UNHEALTHY"}.get(status, "UNKNOWN")


def explanation(error: Exception) -> str:
    """Docker's own words for an error, as the ECS agent hands them on."""
    if isinstance(error, APIError):
        return f"Error response from daemon: {error.explanation or error}"
    return str(error)


@functools.cache
def engine() -> docker.DockerClient:
    """Docker's client. Pulling an image or starting a container may take Docker a while on a busy machine."""
    return docker.from_env(timeout=DOCKER_TIMEOUT)


def remove(container_id: str) -> None:
    """Remove a container and its anonymous volumes, running or not; one that is gone already is no error."""
    try:
        engine().api.remove_container(container_id, v=True, force=True)
    except APIError:
        return


def remove_labelled(label: str) -> None:
    """Remove all containers that carry this label, until there are none twice: Docker may still be creating one."""
    empty, until = False, time.monotonic() + REMOVAL
    while time.monotonic() < until:
        found = engine().api.containers(all=True, filters={"label": [label]})
        for each in found:
            remove(each["Id"])
        if empty and not found:
            return
        empty = not found
        time.sleep(0.2)


def _memory(container_definition: Definition, task_definition: Definition) -> dict[str, int]:
    # An ECS-optimized instance has no swap, so a container gets none beyond what its definition asks for.
    hard = int(container_definition.get("memory") or task_definition.get("memory") or 0) * MIB
    soft = int(container_definition.get("memoryReservation") or 0) * MIB
    swap = int((container_definition.get("linuxParameters") or {}).get("maxSwap") or 0) * MIB
    limits = {"mem_limit": hard, "memswap_limit": hard + swap} if hard else {}
    return limits | {"mem_reservation": soft}


def _tmpfs(mount: Definition) -> str:
    return ",".join([*(mount.get("mountOptions") or []), f"size={mount['size']}m"])


def _health_check(check: Definition | None) -> dict[str, Any] | None:
    # Docker's defaults differ from those of ECS, which the agent always spells out.
    if not check:
        return None
    return {
        "test": list(check["command"]),
        "interval": (check.get("interval") or 30) * SECOND,
        "timeout": (check.get("timeout") or 5) * SECOND,
        "retries": check.get("retries") or 3,
        "start_period": (check.get("startPeriod") or 0) * SECOND,
    }


def _log_config(configuration: Definition) -> LogConfig:
    # The awslogs driver runs inside Docker with the instance's role: here the log is read from Docker and sent on.
    if configuration.get("logDriver", "awslogs") == "awslogs":
        return LogConfig(type="json-file", config={"max-size": "10m", "max-file": "1"})
    return LogConfig(type=configuration["logDriver"], config=dict(configuration.get("options") or {}))


if __name__ == "__main__":
    sys.stdin.buffer.read()
    remove_labelled(sys.argv[1])
