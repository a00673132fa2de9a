"""The sample backend: what it shows, what it keeps to itself, and how it stops."""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

BACKEND = Path(__file__).resolve().parents[2] / "app" / "backend.py"


def load() -> ModuleType:
    """The backend is one file of an image, not a package."""
    spec = importlib.util.spec_from_file_location("sample_backend", BACKEND)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


backend = load()


@contextmanager
def serving(*, healthy: bool = True) -> Iterator[int]:
    with backend.Backend(0, healthy=healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, path: str, *, method: str = "GET", accept: str = "*/*") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.read().decode()


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The backend as a container runs it, on a free port; ended with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = subprocess.Popen(
        [sys.executable, BACKEND, *arguments],
        env={"PATH": os.environ["PATH"], "PORT": str(port), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield started, port
    finally:
        started.kill()
        started.communicate()


def next_line(started: "subprocess.Popen[str]") -> str:
    """What it logs next; raises where it ended instead."""
    assert started.stdout
    line = started.stdout.readline()
    assert line, "it ended"
    return line


def test_health_path_answers_up() -> None:
    with serving() as port:
        assert ask(port, "/actuator/health") == (200, '{"status": "UP"}')


def test_unhealthy_backend_still_serves_its_page() -> None:
    with serving(healthy=False) as port:
        assert ask(port, "/actuator/health") == (503, '{"status": "DOWN"}')
        assert ask(port, "/")[0] == 200


def test_page_shows_names_of_variables_and_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_BE_DB_PASSWORD", "hunter2")
    monkeypatch.setenv("APP_ENV", "pre<1>")
    monkeypatch.setenv("APP_VERSION", "9.8.7")
    with serving() as port:
        _, page = ask(port, "/")
    assert "APP_BE_DB_PASSWORD" in page
    assert "hunter2" not in page
    assert "APP_ENV: pre&lt;1&gt;" in page, "APP_ENV is harmless, and shown as text"
    assert "Sample backend 9.8.7" in page


@pytest.mark.parametrize(("path", "accept"), [("/info", "*/*"), ("/", "application/json")])
def test_the_same_as_json(path: str, accept: str) -> None:
    with serving() as port:
        info = json.loads(ask(port, path, accept=accept)[1])
    assert info["version"] == BACKEND.with_name("VERSION").read_text().strip()
    assert info["limits"]["user"] == os.getuid()
    assert info["secrets"] == {}


def test_unknown_path_is_404_and_head_has_no_body() -> None:
    with serving() as port:
        assert ask(port, "/nothing")[0] == 404
        assert ask(port, "/actuator/health", method="HEAD") == (200, "")


def test_limits_of_cgroup_v1(tmp_path: Path) -> None:
    for name, text in (("memory/memory.limit_in_bytes", "536870912\n"), ("cpu/cpu.shares", "512\n")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert backend.limits(tmp_path) == {"memory": 536870912, "cpuShares": 512}
    (tmp_path / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert backend.limits(tmp_path)["memory"] is None, "cgroup v1 writes no limit as a huge number"


def test_limits_of_cgroup_v2(tmp_path: Path) -> None:
    for name, text in (("cgroup.controllers", "cpu memory"), ("memory.max", "max\n"), ("cpu.weight", "20\n")):
        (tmp_path / name).write_text(text)
    assert backend.limits(tmp_path) == {"memory": None, "cpuWeight": 20}


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"APP_BE_DB_USERNAME": "pre1/postgres"}, ["pre1/postgres"]),
        ({"APP_BE_DB_USERNAME": "postgres"}, []),
        ({"APP_READS_SECRETS": "a, b,,a", "APP_BE_DB_USERNAME": "b/c"}, ["a", "b", "b/c"]),
        ({}, []),
    ],
)
def test_secrets_that_it_reads(environment: dict[str, str], names: list[str]) -> None:
    assert backend.secret_names(environment) == names


def test_region_comes_from_the_task_where_no_variable_gives_it() -> None:
    task = {"TaskARN": "arn:aws:ecs:eu-central-1:123456789012:task/pre/1"}
    assert backend.region({}, task) == "eu-central-1"
    assert backend.region({"AWS_REGION": "eu-west-1"}, task) == "eu-west-1"
    assert backend.region({}, {}) is None


def test_no_task_metadata_is_no_error() -> None:
    assert backend.task_metadata({"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:9"}) == {}


def test_a_secret_is_readable_or_denied_with_the_code_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3  # noqa: PLC0415 - as the backend does
    from botocore.exceptions import ClientError  # noqa: PLC0415

    class Client:
        def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - AWS's name
            if SecretId == "theirs":
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "GetSecretValue")
            return {"SecretString": "hunter2"}

    asked: list[str] = []

    def client(service: str, **_: object) -> Client:
        asked.append(service)
        return Client()

    monkeypatch.setattr(boto3, "client", client)
    secrets = backend.Secrets()
    expected = {"ours": "readable", "theirs": "denied: AccessDeniedException"}
    assert secrets.read(["ours", "theirs"], region="eu-central-1") == expected
    assert secrets.read(["ours", "theirs"], region="eu-central-1") == expected
    assert len(asked) == 2, "an answer is kept: a page view is no call to AWS"


def seconds_to_start() -> float:
    begun = time.monotonic()
    with process() as (started, _):
        assert "listens on port" in next_line(started)
        return time.monotonic() - begun


def test_it_starts_in_under_a_second() -> None:
    assert min(seconds_to_start() for _ in range(3)) < 1, "of three, since a machine may be busy with something else"


def test_sigterm_drops_no_request() -> None:
    with process() as (started, port):
        assert "listens on port" in next_line(started)
        slow, idle = (http.client.HTTPConnection("127.0.0.1", port, timeout=5) for _ in range(2))
        with closing(slow), closing(idle):
            idle.request("GET", "/actuator/health")
            assert idle.getresponse().read()
            slow.request("GET", "/slow?seconds=0.5")
            time.sleep(0.1)
            started.send_signal(signal.SIGTERM)
            while "SIGTERM" not in next_line(started):
                pass
            time.sleep(0.1)
            idle.request("GET", "/actuator/health")
            answer = idle.getresponse()
            assert answer.status == 200, "a request on an open connection is still answered"
            assert answer.getheader("Connection") == "close", "and the load balancer told not to send another"
            assert slow.getresponse().status == 200, "the request under way is finished"
            assert ask(port, "/actuator/health")[0] == 200, "a new connection is still served for a moment"
        assert started.wait(timeout=10) == 0


def test_sigterm_is_ignored_when_asked_to() -> None:
    with process(SAMPLE_FAULT="ignore-sigterm") as (started, port):
        next_line(started)
        started.send_signal(signal.SIGTERM)
        assert ask(port, "/actuator/health")[0] == 200
        assert started.poll() is None


def test_crash_says_why_and_ends_with_1() -> None:
    with process(SAMPLE_FAULT="crash") as (started, _):
        out, _ = started.communicate(timeout=10)
        assert (started.returncode, out.split(":")[0]) == (1, "ERROR cannot reach database")


def test_a_fault_of_one_environment_is_none_in_another() -> None:
    with process(SAMPLE_FAULT="crash:live", APP_ENV="live") as (started, _):
        out, _ = started.communicate(timeout=10)
        assert started.returncode == 1
        assert "(SAMPLE_FAULT=crash:live)" in out
    with process(SAMPLE_FAULT="crash:live", APP_ENV="pre") as (started, port):
        next_line(started)
        assert ask(port, "/actuator/health")[0] == 200


@pytest.mark.parametrize(
    ("fault", "status", "last"),
    [("", 0, "migrated"), ("crash", 0, "migrated"), ("migration", 1, "ERROR column users.email is there already")],
)
def test_a_migration_ends_by_itself(fault: str, status: int, last: str) -> None:
    with process("migrate", SAMPLE_FAULT=fault, APP_VERSION="v1") as (started, _):
        out, _ = started.communicate(timeout=10)
        first, second = out.splitlines()
        assert (started.returncode, first) == (status, "migrating to version v1")
        assert second.startswith(last)


def test_unknown_fault_is_refused() -> None:
    with process(SAMPLE_FAULT="cresh") as (started, _):
        out, _ = started.communicate(timeout=10)
        assert started.returncode == 2
        assert "'cresh', want one of crash, unhealthy" in out
