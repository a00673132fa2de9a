"""A small backend to deploy: a health path, and one page that shows what a container on ECS sees of itself.

Settings come from the environment; README.md lists them. Only the standard library is needed, and boto3 for reading
secrets.
"""

import html
import http.client
import json
import os
import signal
import sys
import threading
import time
import types
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

FAULTS = ("", "crash", "unhealthy", "slow-start", "eat-memory", "ignore-sigterm", "migration")
SHOWN_VALUES = ("APP_ENV", "APP_BASE_URL")
QUIET_SECONDS = 1.0
"""After SIGTERM the load balancer may still send requests for a moment: stop when none came for so long."""
STOP_SECONDS = 20.0
"""Stop after so long even if requests keep coming: ECS kills after stopTimeout, 30 s by default."""
SECRETS_KEPT_SECONDS = 60.0
UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" with a number near the largest that there is."""

Json = dict[str, object]


class Backend(ThreadingHTTPServer):
    """Serves each connection in a thread, and knows which requests are under way."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, *, healthy: bool) -> None:
        self.healthy = healthy
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._under_way = 0
        self._last = time.monotonic()
        super().__init__(("", port), Handler)

    @contextmanager
    def request_under_way(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._last = time.monotonic()

    def stop(self) -> None:
        """Answer what is under way and what still comes, then let serve_forever return."""
        begun = self._last = time.monotonic()
        self.stopping.set()
        while time.monotonic() - begun < STOP_SECONDS:
            time.sleep(0.05)
            with self._lock:
                if not self._under_way and time.monotonic() - self._last >= QUIET_SECONDS:
                    break
        self.shutdown()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75.0
    """Longer than a load balancer keeps an idle connection, 60 s, so that it never sends on one that is closed."""

    @property
    def backend(self) -> Backend:
        return cast(Backend, self.server)

    def do_GET(self) -> None:
        with self.backend.request_under_way():
            begun = time.monotonic()
            status, content_type, body = self.answer()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            # A body that is not read would be taken for the next request on this connection.
            has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
            if has_body or self.backend.stopping.is_set():
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            if self.path != "/actuator/health":
                log(f"{self.command} {self.path!a} {status} {(time.monotonic() - begun) * 1000:.0f} ms")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self) -> tuple[int, str, bytes]:
        """Status, content type and body for the path that was asked for."""
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/actuator/health":
            status, health = (200, "UP") if self.backend.healthy else (503, "DOWN")
            return status, "application/json", json.dumps({"status": health}).encode()
        if url.path == "/slow":
            asked = urllib.parse.parse_qs(url.query).get("seconds", ["1"])[0]
            time.sleep(min(float(asked), 30) if asked.replace(".", "", 1).isdigit() else 1)
        elif url.path not in ("/", "/info"):
            return 404, "application/json", json.dumps({"error": f"no {url.path} here"}).encode()
        info = describe(os.environ)
        if url.path == "/info" or "application/json" in self.headers.get("Accept", ""):
            return 200, "application/json", json.dumps(info, indent=2).encode()
        return 200, "text/html; charset=utf-8", page(info).encode()

    def log_message(self, format: str, *args: object) -> None:
        """do_GET logs; the inherited lines would come on top."""


def log(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def describe(environment: Mapping[str, str]) -> Json:
    """What the page shows. Of the environment only names are given, and two values that are no secrets."""
    task = task_metadata(environment)
    return {
        "version": version(environment),
        "environment": {name: environment[name] for name in SHOWN_VALUES if name in environment},
        "variables": sorted(environment),
        "limits": limits(Path("/sys/fs/cgroup")) | {"user": os.getuid(), "readOnlyRoot": is_read_only("/")},
        "host": os.uname().nodename,
        "architecture": os.uname().machine,
        "task": {name: task[name] for name in ("TaskARN", "Cluster", "Family", "Revision") if name in task},
        "secrets": secrets.read(secret_names(environment), region=region(environment, task)),
    }


def version(environment: Mapping[str, str]) -> str:
    return environment.get("APP_VERSION") or Path(__file__).with_name("VERSION").read_text().strip()


def limits(cgroup: Path) -> Json:
    """Memory limit in bytes, None where there is none, and the share of the CPU, from cgroup v2 or v1.

    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    if (cgroup / "cgroup.controllers").exists():
        return {"memory": number(cgroup / "memory.max"), "cpuWeight": number(cgroup / "cpu.weight")}
    return {
        "memory": number(cgroup / "memory" / "memory.limit_in_bytes"),
        "cpuShares": number(cgroup / "cpu" / "cpu.shares"),
    }


def number(file: Path) -> int | None:
    text = file.read_text().strip() if file.exists() else ""
    return int(text) if text.isdigit() and int(text) < UNLIMITED else None


def is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def task_metadata(environment: Mapping[str, str]) -> Json:
    """What the ECS agent says of this task; nothing outside ECS.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
    """
    address = environment.get("ECS_CONTAINER_METADATA_URI_V4")
    if not address:
        return {}
    try:
        with urllib.request.urlopen(f"{address}/task", timeout=2) as response:  # noqa: S310 - set by the agent
            metadata: Json = json.load(response)
            return metadata
    except (OSError, ValueError, http.client.HTTPException) as error:
        log(f"task metadata: {error}")
        return {}


def region(environment: Mapping[str, str], task: Json) -> str | None:
    """On EC2 the agent sets no region, but the task's ARN names it."""
    parts = str(task.get("TaskARN", "")).split(":")
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or (parts[3] if parts[3:] else None)


def secret_names(environment: Mapping[str, str]) -> list[str]:
    """The secrets that this application reads by itself: those it is told to, and its database's."""
    names = [name.strip() for name in environment.get("APP_READS_SECRETS", "").split(",")]
    database = environment.get("APP_BE_DB_USERNAME", "")
    if "/" in database or database.startswith("arn:"):
        names.append(database)
    return list(dict.fromkeys(name for name in names if name))


class Secrets:
    """Tries which secrets can be read, and keeps the answers for a while. Values are never kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, str]] = {}

    def read(self, names: list[str], *, region: str | None) -> dict[str, str]:
        with self._lock:
            for name in names:
                since, _ = self._answers.get(name, (-SECRETS_KEPT_SECONDS, ""))
                if time.monotonic() - since >= SECRETS_KEPT_SECONDS:
                    self._answers[name] = (time.monotonic(), try_secret(name, region=region))
            return {name: self._answers[name][1] for name in names}


secrets = Secrets()


def try_secret(name: str, *, region: str | None) -> str:
    """ "readable", or why not."""
    try:
        # Imported when needed: boto3 would triple the time that the backend takes to start.
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ImportError:
        return "unknown: boto3 is not installed"
    settings = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
    # boto3 before 1.31, as in Debian 12, doesn't look for it by itself.
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    try:
        client = boto3.client("secretsmanager", region_name=region, endpoint_url=endpoint, config=settings)
        client.get_secret_value(SecretId=name)
    except ClientError as error:
        return f"denied: {error.response['Error']['Code']}"
    except BotoCoreError as error:
        return f"failed: {type(error).__name__}"
    return "readable"


def page(info: Json) -> str:
    rows = "".join(f"<tr><th>{html.escape(name)}<td>{cell(value)}" for name, value in info.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sample backend</title>'
        "<style>body{font:16px system-ui;margin:2em}th{text-align:left;vertical-align:top;padding-right:1em}</style>"
        f"<h1>Sample backend {html.escape(str(info['version']))}</h1><table>{rows}</table></html>\n"
    )


def cell(value: object) -> str:
    if isinstance(value, dict):
        return "<br>".join(html.escape(f"{name}: {item}") for name, item in value.items()) or "none"
    if isinstance(value, list):
        return html.escape(", ".join(value))
    return html.escape(str(value))


def eat_memory() -> None:
    """Take 8 MiB after 8 MiB, and touch each page, until the kernel ends the process."""
    eaten = []
    while True:
        eaten.append(b"x" * (8 << 20))
        time.sleep(0.05)


def migrate(fault: str) -> int:
    """Stands for a migration of the database, which this backend hasn't; what it does may be done again."""
    log(f"migrating to version {version(os.environ)}")
    if fault == "migration":
        log("ERROR column users.email is there already (SAMPLE_FAULT=migration)")
        return 1
    log("migrated")
    return 0


def main(arguments: list[str]) -> int:
    fault, _, only_in = os.environ.get("SAMPLE_FAULT", "").partition(":")
    if fault not in FAULTS:
        log(f"ERROR SAMPLE_FAULT is {fault!r}, want one of {', '.join(FAULTS[1:])}")
        return 2
    if only_in and only_in != os.environ.get("APP_ENV"):
        fault = ""
    if fault == "slow-start":
        time.sleep(float(os.environ.get("SAMPLE_START_SECONDS", "20")))
    if arguments == ["migrate"]:
        return migrate(fault)
    if fault == "crash":
        log(f"ERROR cannot reach database: connection refused (SAMPLE_FAULT={os.environ['SAMPLE_FAULT']})")
        return 1
    if fault == "eat-memory":
        threading.Thread(target=eat_memory, daemon=True).start()
    port = int(os.environ.get("PORT", "8080"))
    with Backend(port, healthy=fault != "unhealthy") as backend:

        def stop(_signal: int, _frame: types.FrameType | None) -> None:
            log("SIGTERM: answering what is under way")
            threading.Thread(target=backend.stop, daemon=True).start()

        signal.signal(signal.SIGTERM, signal.SIG_IGN if fault == "ignore-sigterm" else stop)
        log(f"version {version(os.environ)} listens on port {port}")
        backend.serve_forever(poll_interval=0.05)
    log("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
