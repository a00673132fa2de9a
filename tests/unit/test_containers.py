"""What of a task definition reaches Docker, and what Docker's state of a container means to ECS."""

from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal.account import containers
from rehearsal.account.containers import NotHereError, docker_options, exit_reason, health_status, stop_timeout

MIB = 1024 * 1024
SECOND = 1_000_000_000
ALWAYS = {"cpu_shares", "log_config"}


def options(task: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return docker_options({"name": "web", "image": "web", **container}, task or {})


def test_a_plain_container_leaves_docker_its_own_defaults() -> None:
    assert set(options()) == ALWAYS, "an option that is given empty overrides what the image says"


def test_memory_is_the_hard_limit_and_leaves_no_swap() -> None:
    found = options(memory=512, memoryReservation=256)
    assert (found["mem_limit"], found["memswap_limit"], found["mem_reservation"]) == (512 * MIB, 512 * MIB, 256 * MIB)


def test_a_container_without_a_limit_has_its_tasks() -> None:
    assert options({"memory": "1024"})["mem_limit"] == 1024 * MIB


def test_a_reservation_alone_is_no_limit() -> None:
    assert "mem_limit" not in options(memoryReservation=256)


def test_swap_is_added_to_the_limit_only_where_it_is_asked_for() -> None:
    assert options(memory=512, linuxParameters={"maxSwap": 256})["memswap_limit"] == 768 * MIB


@pytest.mark.parametrize(("cpu", "shares"), [(None, 2), (0, 2), (1, 2), (512, 512)])
def test_cpu_units_are_shares_of_which_the_kernel_knows_no_fewer_than_two(cpu: int | None, shares: int) -> None:
    assert options(cpu=cpu)["cpu_shares"] == shares


def test_words_of_a_container_definition_become_dockers() -> None:
    found = options(
        command=["serve"],
        entryPoint=["/web"],
        workingDirectory="/srv",
        user="1000:1000",
        hostname="web",
        readonlyRootFilesystem=True,
        pseudoTerminal=True,
        interactive=True,
        dockerLabels={"team": "books"},
        environment=[{"name": "APP_ENV", "value": "pre"}],
        extraHosts=[{"hostname": "db", "ipAddress": "10.0.0.9"}],
        systemControls=[{"namespace": "net.core.somaxconn", "value": "1024"}],
    )
    assert (
        found.items()
        >= {
            "command": ["serve"],
            "entrypoint": ["/web"],
            "working_dir": "/srv",
            "user": "1000:1000",
            "hostname": "web",
            "read_only": True,
            "tty": True,
            "stdin_open": True,
            "labels": {"team": "books"},
            "environment": {"APP_ENV": "pre"},
            "extra_hosts": {"db": "10.0.0.9"},
            "sysctls": {"net.core.somaxconn": "1024"},
        }.items()
    )


def test_linux_parameters_reach_docker() -> None:
    found = options(
        linuxParameters={
            "initProcessEnabled": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "sharedMemorySize": 64,
            "tmpfs": [{"containerPath": "/scratch", "size": 32, "mountOptions": ["noexec"]}],
        }
    )
    assert (found["init"], found["cap_drop"], found["cap_add"]) == (True, ["ALL"], ["NET_BIND_SERVICE"])
    assert (found["shm_size"], found["tmpfs"]) == (64 * MIB, {"/scratch": "noexec,size=32m"})


def test_ulimits_keep_their_soft_and_hard_limits() -> None:
    [limit] = options(ulimits=[{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}])["ulimits"]
    assert dict(limit) == {"Name": "nofile", "Soft": 1024, "Hard": 4096}


def test_a_health_check_has_the_defaults_of_ecs_and_not_dockers() -> None:
    assert options(healthCheck={"command": ["CMD-SHELL", "true"]})["healthcheck"] == {
        "test": ["CMD-SHELL", "true"],
        "interval": 30 * SECOND,
        "timeout": 5 * SECOND,
        "retries": 3,
        "start_period": 0,
    }


def test_a_mount_point_is_an_empty_volume_of_the_containers_own() -> None:
    task = {"volumes": [{"name": "data", "host": {}}, {"name": "cache"}]}
    mounts = [
        {"sourceVolume": "data", "containerPath": "/:/data", "readOnly": True},
        {"sourceVolume": "cache", "containerPath": "/cache"},
    ]
    assert options(task, mountPoints=mounts)["mounts"] == [
        {"Target": "/:/data", "Source": None, "Type": "volume", "ReadOnly": True},
        {"Target": "/cache", "Source": None, "Type": "volume", "ReadOnly": False},
    ], "a volume by name is anybody's, and a bind's text may name a folder of the machine"


MOUNTED = {"mountPoints": [{"sourceVolume": "machine", "containerPath": "/machine"}]}


@pytest.mark.parametrize(
    ("setting", "container", "task"),
    [
        ("privileged", {"privileged": True}, {}),
        ("linuxParameters.devices", {"linuxParameters": {"devices": [{"hostPath": "/dev/sda"}]}}, {}),
        (
            "linuxParameters.capabilities.add",
            {"linuxParameters": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}},
            {},
        ),
        ("dockerSecurityOptions", {"dockerSecurityOptions": ["no-new-privileges", "seccomp=unconfined"]}, {}),
        ("volumes", MOUNTED, {"volumes": [{"name": "machine", "host": {"sourcePath": "/"}}]}),
        ("volumes", MOUNTED, {"volumes": [{"name": "machine", "dockerVolumeConfiguration": {"driver": "local"}}]}),
        ("volumes", MOUNTED, {"volumes": [{"name": "machine", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]}),
        ("volumes", {"mountPoints": [{"sourceVolume": "/", "containerPath": "/machine"}]}, {}),
        ("volumesFrom", {"volumesFrom": [{"sourceContainer": "other"}]}, {}),
        ("logConfiguration.logDriver", {"logConfiguration": {"logDriver": "syslog"}}, {}),
        ("networkMode", {}, {"networkMode": "host"}),
        ("pidMode", {}, {"pidMode": "host"}),
        ("ipcMode", {}, {"ipcMode": "host"}),
    ],
)
def test_power_over_the_machine_is_refused_by_the_settings_name(
    setting: str, container: dict[str, Any], task: dict[str, Any]
) -> None:
    with pytest.raises(NotHereError, match=f": {setting}$"):
        options(task, **container)


def test_what_every_container_may_is_granted() -> None:
    found = options(
        {"pidMode": "task", "ipcMode": "none"},
        linuxParameters={"capabilities": {"add": ["NET_BIND_SERVICE"]}},
        dockerSecurityOptions=["no-new-privileges"],
    )
    assert (found["cap_add"], found["security_opt"]) == (["NET_BIND_SERVICE"], ["no-new-privileges"])


def test_awslogs_is_read_from_docker_while_json_file_is_dockers_own() -> None:
    assert options(logConfiguration={"logDriver": "awslogs"})["log_config"]["Type"] == "json-file"
    own = {"logDriver": "json-file", "options": {"tag": "web"}}
    assert options(logConfiguration=own)["log_config"] == {"Type": "json-file", "Config": {"tag": "web"}}


def test_host_ports_are_not_bound_on_this_machine() -> None:
    assert set(options(portMappings=[{"containerPort": 8080, "hostPort": 8888}])) == ALWAYS


def test_a_task_may_have_no_network() -> None:
    assert options({"networkMode": "none"})["network_mode"] == "none"
    assert "network_mode" not in options({"networkMode": "bridge"})


def test_a_container_has_30_seconds_to_stop_where_it_says_nothing() -> None:
    assert (stop_timeout({}), stop_timeout({"stopTimeout": 5})) == (30, 5)


def test_only_a_container_that_was_killed_for_memory_has_a_reason() -> None:
    assert exit_reason({"OOMKilled": True, "ExitCode": 137}) == "OutOfMemoryError: Container killed due to memory usage"
    assert exit_reason({"OOMKilled": False, "ExitCode": 137}) is None


@pytest.mark.parametrize(
    ("state", "health"),
    [
        ({}, "UNKNOWN"),
        ({"Health": None}, "UNKNOWN"),
        ({"Health": {"Status": "starting"}}, "UNKNOWN"),
        ({"Health": {"Status": "healthy"}}, "HEALTHY"),
        ({"Health": {"Status": "unhealthy"}}, "UNHEALTHY"),
    ],
)
def test_dockers_health_has_ecss_names(state: dict[str, Any], health: str) -> None:
    assert health_status(state) == health


def labelled(monkeypatch: pytest.MonkeyPatch, *, stuck: bool) -> list[str]:
    """The containers of a Docker engine that removes what it has, or nothing where it is stuck."""
    there = ["one", "two"]

    def remove_container(container_id: str, **_: Any) -> None:
        if not stuck:
            there.remove(container_id)

    api = SimpleNamespace(containers=lambda **_: [{"Id": each} for each in there], remove_container=remove_container)
    monkeypatch.setattr(containers, "engine", lambda: SimpleNamespace(api=api))
    return there


def test_all_containers_of_a_label_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    there = labelled(monkeypatch, stuck=False)
    containers.remove_labelled("label")
    assert there == []


def test_a_container_that_stays_does_not_keep_its_account_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    there = labelled(monkeypatch, stuck=True)
    monkeypatch.setattr(containers, "REMOVAL", 0.1)
    containers.remove_labelled("label")
    assert there == ["one", "two"]
