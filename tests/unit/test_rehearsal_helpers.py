"""The rehearsal's helpers, as far as they need no Docker engine, no account and no root."""

import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearsal import base, docker_engine, progress, pulumi_engine, surroundings
from rehearsal.surroundings import Account, Probe, Prober, UnreachableError


class Response(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path[1:] or 200)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""


@contextmanager
def server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Response) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield httpd.server_port
        httpd.shutdown()


# The engine


def test_go_module_pins_the_version_of_the_python_package() -> None:
    pinned = (pulumi_engine.SOURCES / "cli" / "go.mod").read_text()
    version = pulumi_engine.installed_versions()["pulumi"]
    assert f"github.com/pulumi/pulumi/pkg/v3 v{version}" in pinned, "the command and the SDK go together"


def test_another_version_of_a_plugin_is_another_build() -> None:
    versions = pulumi_engine.installed_versions()
    assert pulumi_engine.sources_key(versions) == pulumi_engine.sources_key(dict(versions))
    assert pulumi_engine.sources_key(versions) != pulumi_engine.sources_key(versions | {"pulumi-aws": "7.0.0"})


def test_caches_are_in_the_project_unless_the_user_put_them_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOCACHE", "GOMODCACHE", "GOPATH", "PIP_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert set(pulumi_engine.caches()) == {"GOCACHE", "GOMODCACHE", "PIP_CACHE_DIR"}
    monkeypatch.setenv("GOPATH", "mine")
    monkeypatch.setenv("GOCACHE", "mine")
    assert set(pulumi_engine.caches()) == {"PIP_CACHE_DIR"}


def mirrored(home: Path, version: str) -> Path:
    machine = os.uname()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine, machine.machine)
    platform = f"{machine.sysname.lower()}_{architecture}"
    provider = home / ".terraform.d" / "plugins" / "registry" / "hashicorp" / "aws" / version / platform
    provider.mkdir(parents=True)
    (provider / "terraform-provider-aws_x5").touch()
    return provider / "terraform-provider-aws_x5"


def test_newest_terraform_provider_is_taken_by_number_and_not_by_letter(tmp_path: Path) -> None:
    mirrored(tmp_path, "900.9.0")
    newest = mirrored(tmp_path, "900.100.0")
    assert pulumi_engine.terraform_provider({"HOME": str(tmp_path)}) == newest


def test_given_terraform_provider_is_taken(tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "TERRAFORM_PROVIDER_AWS": "/given"}
    assert pulumi_engine.terraform_provider(given) == Path("/given")


def test_environment_puts_the_engine_first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi_engine, "CACHE", tmp_path)
    variables = pulumi_engine.environment(home=tmp_path / "home", commands=tmp_path / "home" / "bin")
    assert variables["PATH"].split(os.pathsep)[0] == str(tmp_path / "home" / "bin")
    assert variables["PULUMI_HOME"] == str(tmp_path / "home")
    assert variables["PULUMI_BACKEND_URL"] == (tmp_path / "state").as_uri()


def test_builds_used_last_are_kept(tmp_path: Path) -> None:
    for name, used in (("oldest", 1), ("newest", 3), ("middle", 2)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (used, used))
    pulumi_engine.prune(tmp_path, keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "middle"}


# The base image


def test_mirror_is_that_of_the_systems_own_release() -> None:
    targets = ["http://a/|bookworm|main", "http://a/|bookworm-updates|main", "http://b/|bookworm|extra", "nonsense"]
    assert base.mirror_of(targets, release="bookworm") == base.Mirror("http://a/", "bookworm", ("main",))


def test_system_without_a_source_is_refused() -> None:
    with pytest.raises(base.BaseError, match="apt has no source for trixie"):
        base.mirror_of(["http://a/|bookworm|main"], release="trixie")


# Long commands


def test_failed_command_shows_its_last_lines() -> None:
    script = "for n in range(30): print('line', n)\nraise SystemExit(3)"
    with pytest.raises(progress.CommandError, match=r"the count failed:\nline 15\n(.*\n)*line 29$"):
        progress.run([sys.executable, "-c", script], what="the count", say=lambda _: None)


def test_long_command_says_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0)
    said: list[str] = []
    progress.run([sys.executable, "-c", "print('compiling')"], what="it", say=said.append)
    assert said == ["    0 s: compiling"]


# The Docker engine


def test_running_engine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "answers", lambda: True)
    with docker_engine.engine(say=pytest.fail):
        pass


def test_engine_that_the_user_named_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "answers", lambda: False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///theirs.sock")
    with pytest.raises(docker_engine.DockerError, match="DOCKER_HOST=unix:///theirs"), docker_engine.engine():
        pass


def test_without_root_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(docker_engine, "answers", lambda: False)
    monkeypatch.setattr(docker_engine, "is_debian", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(docker_engine.DockerError, match=r"sudo apt-get install docker\.io"), docker_engine.engine():
        pass


def test_an_engine_that_was_installed_is_said_to_stay_with_the_command_that_removes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(docker_engine, "answers", iter([False, True]).__next__)
    monkeypatch.setattr(docker_engine, "is_debian", lambda: True)
    monkeypatch.setattr(docker_engine, "run", lambda *_, **__: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    said: list[str] = []
    with docker_engine.engine(say=said.append):
        assert len(said) == 1
    assert said[-1] == "  docker.io stays installed: `apt-get purge --auto-remove docker.io` takes it away again"


def test_firewall_is_put_back_as_it_was_and_no_other_rule_is_touched() -> None:
    before = ["*filter", ":FORWARD ACCEPT [0:0]", "-A INPUT -s 10.0.0.1/32 -j DROP"]
    after = [
        "*filter",
        ":FORWARD DROP [0:0]",
        ":DOCKER - [0:0]",
        "-A INPUT -s 10.0.0.1/32 -j DROP",
        "-A INPUT -s 10.0.0.2/32 -j DROP",
        '-A FORWARD -o docker0 -m comment --comment "a b" -j DOCKER',
    ]
    assert docker_engine.undo(before=before, after=after) == [
        ["-t", "filter", "-P", "FORWARD", "ACCEPT"],
        ["-t", "filter", "-D", "FORWARD", "-o", "docker0", "-m", "comment", "--comment", "a b", "-j", "DOCKER"],
        ["-t", "filter", "-F", "DOCKER"],
        ["-t", "filter", "-X", "DOCKER"],
    ]


# The account and its client


def test_nothing_of_the_users_aws_reaches_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_ECS", "AWS_ROLE_ARN"):
        monkeypatch.setenv(name, "theirs")
    environment = Account(port=4599, folder=tmp_path).environment
    assert "theirs" not in {value for name, value in environment.items() if name.startswith("AWS_")}
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4599"
    assert "127.0.0.1" in environment["NO_PROXY"]


def test_every_account_has_a_key_of_its_own(tmp_path: Path) -> None:
    one, other = Account(port=1, folder=tmp_path), Account(port=2, folder=tmp_path)
    assert one.environment["AWS_ACCESS_KEY_ID"] != other.environment["AWS_ACCESS_KEY_ID"]
    assert one.environment["AWS_SECRET_ACCESS_KEY"] != other.environment["AWS_SECRET_ACCESS_KEY"]


def test_client_ignores_the_users_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "one that is nowhere")
    client = Account(port=4599, folder=tmp_path).client("sts")
    assert client.meta.endpoint_url == "http://127.0.0.1:4599"


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Be.Example.com.", "be.example.com"), ("dualstack.lb-1.elb.amazonaws.com", "lb-1.elb.amazonaws.com")],
)
def test_dns_names_are_compared_plain(name: str, plain: str) -> None:
    assert surroundings.plain_name(name) == plain


def test_the_most_specific_zone_has_a_host() -> None:
    zones = ["example.com.", "be.example.com.", "ample.com."]
    assert surroundings.zone_of("pre.be.example.com", zones) == "be.example.com."
    assert surroundings.zone_of("pre.example.com", zones) == "example.com."
    assert surroundings.zone_of("example.org", zones) is None


@pytest.mark.parametrize(
    ("pattern", "host", "valid"),
    [
        ("be.example.com", "be.example.com", True),
        ("*.example.com", "be.example.com", True),
        ("*.example.com", "a.be.example.com", False),
        ("*.example.com", "example.com", False),
    ],
)
def test_names_of_a_certificate(pattern: str, host: str, valid: bool) -> None:
    assert surroundings.covers(pattern, host) is valid


class Aws:
    """The answers of Route53, load balancing and ACM that lead from a name to a listener."""

    def __init__(self, *, ports: tuple[int, ...] = (443,), domain: str = "pre-be.example.com") -> None:
        self.ports, self.domain = ports, domain

    def get_paginator(self, operation: str) -> Any:
        balancer = {"DNSName": "LB-1.elb.amazonaws.com", "LoadBalancerArn": "arn"}
        alias = {"DNSName": "dualstack.lb-1.elb.amazonaws.com."}
        page = {
            "list_hosted_zones": {"HostedZones": [{"Name": "example.com.", "Id": "Z1"}]},
            "list_resource_record_sets": {
                "ResourceRecordSets": [{"Type": "A", "Name": "pre-be.example.com.", "AliasTarget": alias}]
            },
            "describe_load_balancers": {"LoadBalancers": [balancer]},
        }[operation]
        return type("Paginator", (), {"paginate": lambda _self, **_: [page]})()

    def describe_listeners(self, **_: str) -> Any:
        return {"Listeners": [{"Port": port, "Certificates": [{"CertificateArn": "arn"}]} for port in self.ports]}

    def describe_certificate(self, **_: str) -> Any:
        return {"Certificate": {"Status": "ISSUED", "DomainName": self.domain}}


def answered_by(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "client", lambda _self, _service: aws)


def test_client_follows_the_name_to_the_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(Aws(), monkeypatch)
    with server() as port:
        answer = surroundings.get(Account(port=port, folder=tmp_path), "https://pre-be.example.com/")
    assert (answer.status, answer.body) == (200, "pre-be.example.com:443")


@pytest.mark.parametrize(
    ("aws", "url", "message"),
    [
        (Aws(), "https://pre-be.example.org/", "no hosted zone has pre-be.example.org"),
        (Aws(), "https://be.example.com/", "no alias record for be.example.com"),
        (Aws(), "http://pre-be.example.com/", r"listens on \[443\], not on 80"),
        (Aws(domain="be.example.com"), "https://pre-be.example.com/", "no issued certificate for pre-be.example.com"),
    ],
)
def test_client_says_where_the_way_ends(
    aws: Aws, url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered_by(aws, monkeypatch)
    with pytest.raises(UnreachableError, match=message):
        surroundings.get(Account(port=1, folder=tmp_path), url)


def test_prober_keeps_every_answer_and_counts_the_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered_by(Aws(), monkeypatch)
    with server() as port:
        account = Account(port=port, folder=tmp_path)
        with Prober(account, "https://pre-be.example.com/200", per_second=50) as fine:
            time.sleep(0.5)
        with Prober(account, "https://pre-be.example.com/503", per_second=50) as failing:
            time.sleep(0.3)
    assert len(fine.probes) > 5, "of the 25 that are due, some of which a busy machine may ask for too late"
    early = [probe for number, probe in enumerate(fine.probes) if probe.at < number / 50 - 0.005]
    assert early == [], "fifty a second and no more"
    assert fine.lost == []
    assert "0 lost" in fine.summary()
    assert failing.probes
    assert failing.lost == failing.probes
    with Prober(account, "https://pre-be.example.com/", per_second=50) as refused:
        time.sleep(0.3)
    assert refused.lost[0].error.startswith("ConnectionRefusedError"), "nobody listens any more"


def test_a_redirect_or_a_404_is_an_answer() -> None:
    assert not Probe(at=0, seconds=0, status=404).lost
    assert Probe(at=0, seconds=0, status=502).lost


# Processes


def test_command_in_a_session_gives_its_lines_as_they_come(tmp_path: Path) -> None:
    said: list[str] = []
    script = "import sys; print('out'); sys.stdout.flush(); sys.exit('err')"
    outcome = surroundings.run_in_session(
        [sys.executable, "-c", script], directory=tmp_path, environment=os.environ, say=said.append
    )
    assert (outcome.status, outcome.output, said) == (1, "out\nerr", ["out", "err"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="sessions are looked up in /proc")
def test_interrupted_command_leaves_no_process(tmp_path: Path) -> None:
    grandchild = "import time; time.sleep(60)"
    script = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', '{grandchild}']); print(p.pid)"
    found: list[int] = []

    def interrupt(line: str) -> None:
        found.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        surroundings.run_in_session(
            [sys.executable, "-uc", f"{script}; p.wait()"], directory=tmp_path, environment=os.environ, say=interrupt
        )
    deadline = time.monotonic() + 2
    while _is_alive(found[0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_alive(found[0])


def _is_alive(pid: int) -> bool:
    """A killed process that nobody waited for yet is a zombie, and no longer alive."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_sigterm_ends_a_rehearsal_as_ctrl_c_does() -> None:
    with surroundings.interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_clean_up_is_not_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with surroundings.interruptible(), surroundings.undisturbed():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before, "a second Ctrl-C must work again afterwards"


def test_what_a_killed_rehearsal_left_is_removed_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ran: list[tuple[str, ...]] = []

    def docker(*arguments: str) -> list[str]:
        ran.append(arguments)
        return ["found"]

    monkeypatch.setattr(surroundings, "CACHE", tmp_path)
    monkeypatch.setattr(surroundings, "_docker", docker)
    mine = tmp_path / f"workspace-{os.getpid()}-x"
    for folder in (mine, tmp_path / f"account-{ended.pid}-4599-x", tmp_path / f"workspace-{ended.pid}-x"):
        folder.mkdir()
    surroundings.sweep()
    assert list(tmp_path.iterdir()) == [mine]
    assert [command[0] for command in ran] == ["ps", "rm", "images", "rmi"]
    assert ran[2][-1] == "reference=127.0.0.1:4599/*", "another account's images are its own"


def test_clean_up_goes_on_where_docker_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(surroundings, "DOCKER_SECONDS", 0.05)
    surroundings._remove_containers(4599)
    surroundings._remove_images(4599)
    with pytest.raises(surroundings.SurroundingsError, match=r"docker ps: .*timed out"):
        surroundings.containers(4599)


def test_account_that_does_not_start_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("MiniStack is 9, the mends are for 1.5.33\n")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    process.wait()
    with pytest.raises(surroundings.SurroundingsError, match="ended with 1:\nMiniStack is 9"):
        surroundings._wait_for_account(Account(port=1, folder=tmp_path), process, log)
