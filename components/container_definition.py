"""The container definition of the task: what ECS, and through it Docker, is told of the backend's container.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CONTAINER_NAME = "backend"

LOG_BUFFER = "25m"
"""What the log driver holds while CloudWatch is slow. When it is full lines are lost; a blocking one stops the backend.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html
"""

DROPPED_CAPABILITIES = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT")
"""What of Docker's default capabilities no backend needs.

Those stay by which an entry point that begins as root hands over to another user; a `user` other than root has none.
https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
"""

TEMPORARY_FOLDER = "/tmp"  # noqa: S108 the container's own
TEMPORARY_SPACE = 64
"""MiB of memory for the temporary folder, which stays writable where the root file system isn't."""


@dataclass(frozen=True, kw_only=True)
class ContainerArgs:
    """The container: `cpu` in CPU units, memory in MiB, `stop_timeout` in seconds, `host_port` 0 to have one picked."""

    port: int
    host_port: int
    cpu: int
    memory: int
    memory_reservation: int | None = None
    command: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    read_only_root_filesystem: bool = True
    user: str | None = None
    stop_timeout: int = 30


@dataclass(frozen=True, kw_only=True)
class ContainerHealthArgs:
    """The command by which Docker tells whether the container is well; times in seconds."""

    command: Sequence[str]
    interval: int
    timeout: int
    retries: int
    start_period: int


LONGEST_START_PERIOD = 300
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""


def container_definition(
    container: ContainerArgs,
    *,
    image: str,
    secrets: Mapping[str, str],
    log_group: str,
    region: str,
    labels: Mapping[str, str],
    health: ContainerHealthArgs | None,
) -> dict[str, object]:
    """Return the container definition; `secrets` has, for each variable, what ECS takes as `valueFrom`.

    Lists are in the order of their names, so that the same settings always give the same definition.
    """
    # AWS's SDKs ask instance metadata for the region otherwise, which containers can't reach.
    environment = {"AWS_REGION": region, **container.environment}
    definition: dict[str, object] = {
        "name": CONTAINER_NAME,
        "image": image,
        "essential": True,
        "cpu": container.cpu,
        "memory": container.memory,
        "portMappings": [{"containerPort": container.port, "hostPort": container.host_port, "protocol": "tcp"}],
        "environment": [{"name": k, "value": v} for k, v in sorted(environment.items())],
        "secrets": [{"name": k, "valueFrom": v} for k, v in sorted(secrets.items())],
        "readonlyRootFilesystem": container.read_only_root_filesystem,
        "stopTimeout": container.stop_timeout,
        "dockerLabels": dict(sorted(labels.items())),
        "dockerSecurityOptions": ["no-new-privileges"],
        "linuxParameters": _linux_parameters(container),
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": CONTAINER_NAME,
                "mode": "non-blocking",
                "max-buffer-size": LOG_BUFFER,
            },
        },
    }
    if container.memory_reservation is not None:
        definition["memoryReservation"] = container.memory_reservation
    if container.command:
        definition["command"] = list(container.command)
    if container.user:
        definition["user"] = container.user
    if health:
        definition["healthCheck"] = {
            "command": list(health.command),
            "interval": health.interval,
            "timeout": health.timeout,
            "retries": health.retries,
            "startPeriod": min(health.start_period, LONGEST_START_PERIOD),
        }
    return definition


def _linux_parameters(container: ContainerArgs) -> dict[str, object]:
    parameters: dict[str, object] = {
        # Docker's init as process 1 hands signals on and buries orphans, whatever the image's entry point does.
        "initProcessEnabled": True,
        "capabilities": {"drop": list(DROPPED_CAPABILITIES)},
    }
    if container.read_only_root_filesystem:
        # Java's libraries unpack native code there and run it.
        options = ["exec", "nosuid", "nodev"]
        temporary = {"containerPath": TEMPORARY_FOLDER, "size": TEMPORARY_SPACE, "mountOptions": options}
        parameters["tmpfs"] = [temporary]
    return parameters


def log_stream(task_id: str) -> str:
    """Return the log stream of the task with the ID `task_id`, as the awslogs driver names it."""
    return f"{CONTAINER_NAME}/{CONTAINER_NAME}/{task_id}"
