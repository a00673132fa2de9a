"""What a rehearsal takes place in: the emulated account, a copy of the project to run Pulumi in, a client that asks.

Each is a context manager that leaves nothing behind, also where the rehearsal fails half-way or is interrupted.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

import boto3
import botocore.session

from commands.processes import is_running
from rehearsal.account.keys import Key, random_key
from rehearsal.folders import CACHE, ROOT
from rehearsal.progress import Say

REGION = "eu-central-1"
ACCOUNT_STARTS_SECONDS = 60
ACCOUNT_ENDS_SECONDS = 20
DOCKER_SECONDS = 60
PULUMI_ENDS_SECONDS = 10
"""What it is waiting for need not be waited for: the account goes too."""

SOCKET_PATH_LIMIT = 80
"""The kernel allows 107 characters for a socket's path, of which the plugins' names take some."""
NO_PROFILE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""botocore's settings by which a session reads no file and no profile of the user's."""
NOT_COPIED = (".git", ".cache", ".venv", ".*_cache", "__pycache__", "node_modules", ".coverage*")
HTTPS_PORT, SERVER_ERRORS = 443, 500


class SurroundingsError(Exception):
    """What a rehearsal needs isn't there; the message says what."""


class UnreachableError(Exception):
    """A client can't reach the URL; the message says where the way from name to listener ends."""


# The emulated account


@dataclass(frozen=True)
class Account:
    """An emulated AWS account that answers on this machine."""

    port: int
    folder: Path
    key: Key = field(default_factory=random_key)
    """Of the account's root, for this run alone: what the account starts runs on this machine."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What leads any AWS client to this account, and to none of the user's own."""
        nothing = str(self.folder / "empty")
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key.id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": nothing,
            "AWS_SHARED_CREDENTIALS_FILE": nothing,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment for a process that uses this account."""
        return without_aws(os.environ) | self.variables

    def client(self, service: str) -> Any:
        """A boto3 client of this account; boto3 has no types of its own."""
        session = boto3.Session(botocore_session=botocore.session.Session(session_vars=NO_PROFILE))
        return session.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key.id,
            aws_secret_access_key=self.key.secret,
        )


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the user's AWS profile, keys and endpoints, and with no proxy before this machine.

    Nor with the user's settings of MiniStack, which would make another account of ours.
    """
    others = ("AWS_", "MINISTACK_", "PERSIST_STATE", "S3_PERSIST")
    kept = {name: value for name, value in environment.items() if not name.startswith(others)}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, [kept.get(name, ""), "127.0.0.1,localhost"]))
    return kept


def docker_login(account: Account) -> list[str]:
    """Options by which the `docker` command may push to the account's registry. The user's own keeps no password."""
    [given] = account.client("ecr").get_authorization_token()["authorizationData"]
    settings = {"auths": {f"127.0.0.1:{account.port}": {"auth": given["authorizationToken"]}}}
    (account.folder / "config.json").write_text(json.dumps(settings))
    return ["--config", str(account.folder)]


def _own_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """How this machine gets credentials of its own from ECS's link-local address: the account mustn't take it then."""
    return {name: value for name, value in environment.items() if name.startswith("AWS_CONTAINER_CREDENTIALS_")}


@contextmanager
def account() -> Iterator[Account]:
    """Start an emulated account on a free port; end it with all its containers and images."""
    CACHE.mkdir(exist_ok=True)
    sweep()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix=f"account-{os.getpid()}-{port}-", dir=CACHE) as folder:
        started = Account(port=port, folder=Path(folder))
        (started.folder / "empty").touch()
        log = started.folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*ends_with_its_parent(), sys.executable, "-m", "rehearsal.account", str(started.port)],
                cwd=ROOT,
                env=started.environment | _own_credentials(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the rehearsal, which still needs the account to clean up
            )
        try:
            _wait_for_account(started, process, log)
            yield started
        finally:
            with undisturbed():
                _end(process, first=signal.SIGTERM, seconds=ACCOUNT_ENDS_SECONDS)
                _remove_containers(started.port)
                _remove_images(started.port)


def sweep() -> None:
    """Remove what killed rehearsals had no chance to remove: their folders' names have the process and the port."""
    for folder in [*CACHE.glob("account-*"), *CACHE.glob("workspace-*")]:
        kind, pid, *rest = folder.name.split("-")
        if pid.isdigit() and not is_running(int(pid)):
            if kind == "account":
                _remove_containers(int(rest[0]))
                _remove_images(int(rest[0]))
            shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def seed(account: Account, *, zone: str, secrets: Mapping[str, str | Mapping[str, str]]) -> None:
    """Create what a real account has before the first deployment: the public hosted zone, and secrets by name."""
    account.client("route53").create_hosted_zone(Name=zone, CallerReference=f"rehearsal-{time.time_ns()}")
    manager = account.client("secretsmanager")
    for name, value in secrets.items():
        manager.create_secret(Name=name, SecretString=value if isinstance(value, str) else json.dumps(value))


def ends_with_its_parent(number: signal.Signals = signal.SIGTERM) -> list[str]:
    """The prefix by which Linux signals a process where the rehearsal is killed, and can't do it any more."""
    return ["setpriv", "--pdeathsig", number.name[3:], "--"] if shutil.which("setpriv") else []


def _wait_for_account(account: Account, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + ACCOUNT_STARTS_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if _ask(account.port, "/_ministack/health", headers={}, timeout=2).status < SERVER_ERRORS:
                return
        time.sleep(0.1)
    state = "did not answer" if process.poll() is None else f"ended with {process.returncode}"
    last = "\n".join(log.read_text().splitlines()[-15:])
    raise SurroundingsError(f"the emulated account {state}:\n{last}")


def containers(port: int) -> list[str]:
    """The containers of the account at `port`, stopped ones too, by the label that it gives them.

    Raises:
        SurroundingsError: where Docker can't say.
    """
    host = os.environ.get("MINISTACK_HOSTNAME") or socket.gethostname()
    return _docker("ps", "--all", "--quiet", "--filter", f"label=ministack.instance={host}:{port}")


def _remove_containers(port: int) -> None:
    """Remove what the account had no time to remove."""
    with suppress(SurroundingsError):
        if found := containers(port):
            _docker("rm", "--force", "--volumes", *found)


def _remove_images(port: int) -> None:
    """Remove what was built for this account's ECR: its registry is gone."""
    # By their names: another account may have built the same image, and run it.
    shown = ("--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}")
    with suppress(SurroundingsError):
        names = _docker("images", *shown, "--filter", f"reference=127.0.0.1:{port}/*")
        if found := [name for name in dict.fromkeys(names) if "<none>" not in name]:
            _docker("rmi", "--force", *found)


def _docker(*arguments: str) -> list[str]:
    """The words that `docker` answers; it is not waited for without an end, since a clean-up can't be interrupted."""
    try:
        done = subprocess.run(
            ["docker", *arguments], check=True, capture_output=True, text=True, timeout=DOCKER_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SurroundingsError(f"docker {arguments[0]}: {error}") from error
    return done.stdout.split()


# Pulumi


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    status: int
    output: str
    seconds: float


@dataclass(frozen=True)
class Workspace:
    """A copy of the project with its own state: `pulumi` writes into the stack files, a rehearsal into the sample."""

    directory: Path
    variables: Mapping[str, str]
    account: Account

    @property
    def environment(self) -> dict[str, str]:
        return self.account.environment | dict(self.variables)

    def stack(self, name: str) -> "Stack":
        """The stack of this name, made where it isn't there."""
        stack = Stack(name=name, workspace=self)
        stack.run("select", "--create", group="stack")
        return stack


@dataclass(frozen=True)
class Stack:
    """A stack of a workspace, on which `pulumi` is run."""

    name: str
    workspace: Workspace

    def run(
        self,
        *arguments: str,
        group: str | None = None,
        say: Say | None = None,
        check: bool = True,
    ) -> Outcome:
        """Run `pulumi ARGUMENTS --stack NAME`; each line goes to `say` as it comes.

        Raises:
            SurroundingsError: with what it printed, where it fails and `check` is not False.
        """
        selected = [self.name] if group == "stack" else ["--stack", self.name]
        command = ["pulumi", *([group] if group else []), *arguments, *selected, "--non-interactive"]
        outcome = run_in_session(
            command,
            directory=self.workspace.directory,
            environment=self.workspace.environment,
            say=say,
        )
        if check and outcome.status:
            raise SurroundingsError(f"{' '.join(command)} ended with {outcome.status}:\n{outcome.output}")
        return outcome

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets").output)
        return found


@contextmanager
def workspace(account: Account, variables: Mapping[str, str]) -> Iterator[Workspace]:
    """Copy the project and give it a state of its own; `variables` are those of `pulumi_engine.prepare`."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f"workspace-{os.getpid()}-", dir=CACHE, ignore_cleanup_errors=True
    ) as folder:
        directory, state = Path(folder) / "project", Path(folder) / "state"
        shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
        (directory / ".venv").symlink_to(sys.prefix)
        state.mkdir()
        own = {"PULUMI_BACKEND_URL": state.as_uri(), "VIRTUAL_ENV": sys.prefix}
        with _temporary_folder(Path(folder)) as temporary:
            own["TMPDIR"] = str(temporary)
            yield Workspace(directory=directory, variables=dict(variables) | own, account=account)


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """Where plugins put the sockets that they leave behind when they are killed: in `folder`, if its path is short."""
    inside = folder / "tmp"
    if len(str(inside)) <= SOCKET_PATH_LIMIT:
        inside.mkdir()
        yield inside
        return
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as elsewhere:
        yield Path(elsewhere)


_running: "set[subprocess.Popen[str]]" = set()


def end_sessions() -> None:
    """End the commands that other threads run in sessions: Ctrl-C reaches the main thread alone."""
    running = list(_running)
    for process in running:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + PULUMI_ENDS_SECONDS
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in running:
        _kill_session(process.pid)


def run_in_session(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    say: Say | None = None,
) -> Outcome:
    """Run a command that starts others. Where this is interrupted it is asked to stop, and none of them outlives it."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [*ends_with_its_parent(signal.SIGINT), *command],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []
    _running.add(process)
    try:
        for line in cast(IO[str], process.stdout):
            lines.append(line.rstrip("\n"))
            if say:
                say(lines[-1])
        process.wait()
    finally:
        with undisturbed():
            _end(process, first=signal.SIGINT, seconds=PULUMI_ENDS_SECONDS)
        _running.discard(process)
    return Outcome(status=process.returncode, output="\n".join(lines), seconds=time.monotonic() - begun)


def _end(process: "subprocess.Popen[Any]", *, first: signal.Signals, seconds: float) -> None:
    """End a process: asked first, then killed, with all that it started in its session."""
    if process.poll() is None:
        process.send_signal(first)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
    _kill_session(process.pid)
    if process.stdout:
        process.stdout.close()
    process.kill()
    process.wait()


def _kill_session(session: int) -> None:
    for member in session_members(session):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def session_members(session: int) -> list[int]:
    """The processes of a session; none where the system has no /proc."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The command, in parentheses, may contain anything; the session is the fourth field behind it.
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                members.append(int(stat.parent.name))
    return members


# Interruptions


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the rehearsal as Ctrl-C does, so that everything is left clean."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a clean-up finish: signals that come meanwhile are ignored. Only the main thread gets signals in Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# A client


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: str
    seconds: float


def get(account: Account, url: str, *, accept: str = "*/*", timeout: float = 10) -> Answer:
    """Ask for a URL as a client on the internet would: from its name in DNS to a listener of a load balancer.

    Raises:
        UnreachableError: where the name, its alias, the listener or its certificate isn't there.
    """
    parts = urllib.parse.urlsplit(url)
    host = resolve(account, url)
    return _ask(account.port, parts.path or "/", headers={"Host": host, "Accept": accept}, timeout=timeout)


def resolve(account: Account, url: str) -> str:
    """Follow a URL's name to its load balancer, and give the Host header by which the account's data plane knows it."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)
    alias = _alias(account, host)
    balancers = account.client("elbv2")
    pages = balancers.get_paginator("describe_load_balancers").paginate()
    found = [each for page in pages for each in page["LoadBalancers"] if plain_name(each["DNSName"]) == alias]
    if not found:
        raise UnreachableError(f"{host} is an alias of {alias}, which is no load balancer")
    listeners = balancers.describe_listeners(LoadBalancerArn=found[0]["LoadBalancerArn"])["Listeners"]
    listening = [each for each in listeners if each["Port"] == port]
    if not listening:
        raise UnreachableError(f"{alias} listens on {[each['Port'] for each in listeners]}, not on {port}")
    if parts.scheme == "https":
        _check_certificate(account, host, [each["CertificateArn"] for each in listening[0].get("Certificates", [])])
    return f"{host}:{port}"


def plain_name(name: str) -> str:
    """A DNS name as it is compared: no dot at the end, and a load balancer's without the prefix that adds IPv6.

    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-to-elb-load-balancer.html
    """
    return name.lower().rstrip(".").removeprefix("dualstack.")


def zone_of(host: str, zones: Sequence[str]) -> str | None:
    """The most specific of the zones that the host is in."""
    inside = [zone for zone in zones if f".{host}".endswith(f".{plain_name(zone)}")]
    return max(inside, key=len, default=None)


def covers(pattern: str, host: str) -> bool:
    """Whether a certificate's name is valid for the host: a wildcard stands for one label."""
    return pattern == host or (pattern.startswith("*.") and pattern[2:] == host.partition(".")[2])


def _alias(account: Account, host: str) -> str:
    names = account.client("route53")
    pages = names.get_paginator("list_hosted_zones").paginate()
    zones = {each["Name"]: each["Id"] for page in pages for each in page["HostedZones"]}
    zone = zone_of(host, list(zones))
    if not zone:
        raise UnreachableError(f"no hosted zone has {host}: there are {sorted(zones)}")
    for page in names.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zones[zone]):
        for record in page["ResourceRecordSets"]:
            if record["Type"] == "A" and plain_name(record["Name"]) == host and "AliasTarget" in record:
                return plain_name(record["AliasTarget"]["DNSName"])
    raise UnreachableError(f"zone {zone} has no alias record for {host}")


def _check_certificate(account: Account, host: str, arns: Sequence[str]) -> None:
    certificates = [account.client("acm").describe_certificate(CertificateArn=arn)["Certificate"] for arn in arns]
    names = [
        name
        for each in certificates
        if each["Status"] == "ISSUED"
        for name in (each["DomainName"], *each.get("SubjectAlternativeNames", []))
    ]
    if not any(covers(name, host) for name in names):
        raise UnreachableError(f"the listener has no issued certificate for {host}, but for {sorted(set(names))}")


def _ask(port: int, path: str, *, headers: Mapping[str, str], timeout: float) -> Answer:
    begun = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        return Answer(response.status, dict(response.getheaders()), body, time.monotonic() - begun)


@dataclass(frozen=True)
class Probe:
    """One request of a prober: when (seconds since it began), how it ended, and how long it took."""

    at: float
    seconds: float
    status: int | None
    error: str = ""

    @property
    def lost(self) -> bool:
        return self.status is None or self.status >= SERVER_ERRORS


@dataclass
class Prober:
    """Asks for a URL steadily while something else happens, each time on a new connection, and keeps every answer.

    The name is resolved once, at the start: a load balancer stays through deployments.
    """

    account: Account
    url: str
    per_second: float = 10
    timeout: float = 10
    probes: list[Probe] = field(default_factory=list)

    def __enter__(self) -> "Prober":
        self._host = resolve(self.account, self.url)
        self._path = urllib.parse.urlsplit(self.url).path or "/"
        self._stopped = threading.Event()
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._steadily, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking, and wait for the answers that are still to come."""
        self._stopped.set()
        self._thread.join()

    @property
    def lost(self) -> list[Probe]:
        """The requests that got no answer, or one that says that the server failed."""
        return [probe for probe in self.probes if probe.lost]

    def summary(self) -> str:
        slowest = max((probe.seconds for probe in self.probes), default=0)
        return f"{len(self.probes)} requests, {len(self.lost)} lost, the slowest answer after {slowest:.2f} s"

    def _steadily(self) -> None:
        # A slow answer must not keep the next request waiting.
        with ThreadPoolExecutor(max_workers=int(self.per_second * self.timeout) + 1) as pool:
            asked: list[Future[Probe]] = []
            while not self._stopped.wait(max(0, len(asked) / self.per_second - (time.monotonic() - self._begun))):
                asked.append(pool.submit(self._probe))
            self.probes.extend(each.result() for each in asked)

    def _probe(self) -> Probe:
        begun = time.monotonic()
        try:
            status, error = _ask(self.account.port, self._path, headers={"Host": self._host}, timeout=self.timeout), ""
        except (OSError, http.client.HTTPException) as failure:
            status, error = None, f"{type(failure).__name__}: {failure}"
        seconds = time.monotonic() - begun
        return Probe(begun - self._begun, seconds, status.status if status else None, error)
