"""The container definition, as ECS gets it."""

from typing import Any

import pytest

from components.container_definition import (
    TEMPORARY_FOLDER,
    ContainerArgs,
    ContainerHealthArgs,
    container_definition,
    log_stream,
)


def define(
    *, secrets: dict[str, str] | None = None, health: ContainerHealthArgs | None = None, **container: Any
) -> Any:
    args: dict[str, Any] = {"port": 8080, "host_port": 0, "cpu": 512, "memory": 512, **container}
    return container_definition(
        ContainerArgs(**args),
        image="repository@sha256:0",
        secrets=secrets or {},
        log_group="/backend/pre",
        region="eu-central-1",
        labels={"b": "2", "a": "1"},
        health=health,
    )


def test_the_whole_of_a_plain_one() -> None:
    assert define() == {
        "name": "backend",
        "image": "repository@sha256:0",
        "essential": True,
        "cpu": 512,
        "memory": 512,
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "protocol": "tcp"}],
        "environment": [{"name": "AWS_REGION", "value": "eu-central-1"}],
        "secrets": [],
        "readonlyRootFilesystem": True,
        "stopTimeout": 30,
        "dockerLabels": {"a": "1", "b": "2"},
        "dockerSecurityOptions": ["no-new-privileges"],
        "linuxParameters": {
            "initProcessEnabled": True,
            "capabilities": {"drop": ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT"]},
            "tmpfs": [{"containerPath": TEMPORARY_FOLDER, "size": 64, "mountOptions": ["exec", "nosuid", "nodev"]}],
        },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/backend/pre",
                "awslogs-region": "eu-central-1",
                "awslogs-stream-prefix": "backend",
                "mode": "non-blocking",
                "max-buffer-size": "25m",
            },
        },
    }


@pytest.mark.parametrize("host_port", [0, 8888])
def test_the_host_port_is_the_instances_to_pick_or_fixed(host_port: int) -> None:
    (mapping,) = define(host_port=host_port)["portMappings"]
    assert mapping["hostPort"] == host_port


def test_variables_are_in_the_order_of_their_names() -> None:
    assert define(environment={"B": "2", "A": "1"})["environment"] == [
        {"name": "A", "value": "1"},
        {"name": "AWS_REGION", "value": "eu-central-1"},
        {"name": "B", "value": "2"},
    ], "another order would be another revision"


def test_the_region_may_be_another() -> None:
    assert define(environment={"AWS_REGION": "eu-west-1"})["environment"] == [
        {"name": "AWS_REGION", "value": "eu-west-1"}
    ]


def test_secrets_are_in_the_order_of_their_names_with_their_selectors() -> None:
    assert define(secrets={"Y": "arn:y", "X": "arn:x:password::"})["secrets"] == [
        {"name": "X", "valueFrom": "arn:x:password::"},
        {"name": "Y", "valueFrom": "arn:y"},
    ]


def test_a_writable_root_needs_no_temporary_folder() -> None:
    found = define(read_only_root_filesystem=False)
    assert found["readonlyRootFilesystem"] is False
    assert "tmpfs" not in found["linuxParameters"]
    assert found["linuxParameters"]["capabilities"]["drop"], "what no backend needs is dropped either way"


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("memory_reservation", "memoryReservation", 256),
        ("command", "command", ["serve"]),
        ("user", "user", "10001:10001"),
        ("stop_timeout", "stopTimeout", 90),
    ],
)
def test_what_is_asked_for_is_there(argument: str, key: str, value: Any) -> None:
    assert define(**{argument: value})[key] == value


@pytest.mark.parametrize("key", ["memoryReservation", "command", "user", "healthCheck"])
def test_what_is_not_asked_for_is_the_images(key: str) -> None:
    assert key not in define()


def test_a_health_command_has_its_times() -> None:
    health = ContainerHealthArgs(command=["CMD", "true"], interval=10, timeout=5, retries=3, start_period=45)
    assert define(health=health)["healthCheck"] == {
        "command": ["CMD", "true"],
        "interval": 10,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 45,
    }


def test_a_start_period_is_no_longer_than_ecs_takes() -> None:
    health = ContainerHealthArgs(command=["CMD", "true"], interval=10, timeout=5, retries=3, start_period=600)
    assert define(health=health)["healthCheck"]["startPeriod"] == 300


def test_a_log_stream_is_named_as_the_driver_names_it() -> None:
    options, name = define()["logConfiguration"]["options"], define()["name"]
    assert log_stream("0a1b") == f"{options['awslogs-stream-prefix']}/{name}/0a1b"
