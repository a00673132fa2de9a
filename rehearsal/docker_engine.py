"""A Docker engine for the rehearsal: the one that runs, or one that is started for as long as it lasts."""

import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rehearsal.folders import CACHE
from rehearsal.progress import CommandError, Say, run
from rehearsal.surroundings import ends_with_its_parent, undisturbed

STARTS_SECONDS, ENDS_SECONDS = 60, 30
UNINSTALL = "apt-get purge --auto-remove docker.io"
_FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")
SOCKET_PATH_LIMIT = 80
"""The kernel allows 107 characters; the engine's own sockets lie deeper than ours."""


class DockerError(Exception):
    """No Docker engine can be had here; the message says which command helps."""


@contextmanager
def engine(*, say: Say = print) -> Iterator[None]:
    """Have a Docker engine answer, within this context, at DOCKER_HOST or at Docker's usual address.

    Where none runs, root on Debian or Ubuntu gets one: from the system's packages, with all that it writes in the
    project's ignored folder, ended with the context; the packages stay.

    Raises:
        DockerError: where there is none and none can be started.
    """
    if platform.system() != "Linux":
        raise DockerError(
            "the rehearsal needs Linux: elsewhere Docker's containers can't be reached at their addresses"
        )
    if answers():
        yield
        return
    if given := os.environ.get("DOCKER_HOST"):
        raise DockerError(f"no Docker engine answers at DOCKER_HOST={given}: start it, or unset DOCKER_HOST")
    if os.geteuid() != 0 or not is_debian():
        raise DockerError(f"no Docker engine answers: {remedy(debian=is_debian())}")
    installs = not shutil.which("dockerd")
    if installs:
        say("  no Docker engine runs here: installing docker.io from the system's packages")
        try:
            run(["apt-get", "install", "--yes", "--no-install-recommends", "docker.io"], what="apt-get", say=say)
        except CommandError as error:
            raise DockerError(f"{error}\nwhat may help: apt-get update") from None
    try:
        if installs and answers():  # where systemd runs, the package starts its service
            yield
        else:
            say("  starting a Docker engine, for as long as this rehearsal lasts")
            with started():
                yield
    finally:
        if installs:
            say(f"  docker.io stays installed: `{UNINSTALL}` takes it away again")


def answers() -> bool:
    """Whether a Docker engine answers."""
    if not shutil.which("docker"):
        return False
    try:
        done = subprocess.run(["docker", "version"], check=False, capture_output=True, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def is_debian() -> bool:
    """Whether this is Debian, or like it as Ubuntu is."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return False
    return "debian" in [system["ID"], *system.get("ID_LIKE", "").split()]


def remedy(*, debian: bool) -> str:
    """The one command that gives this user a Docker engine."""
    if shutil.which("dockerd"):
        return "sudo systemctl start docker"
    return "sudo apt-get install docker.io" if debian else "install Docker Engine: docs.docker.com/engine/install"


@contextmanager
def started(*, folder: Path = CACHE / "docker", options: Sequence[str] = ()) -> Iterator[None]:
    """Run `dockerd` with everything in `folder`, at a socket that DOCKER_HOST names meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    sockets = folder / "run"
    if len(str(sockets)) > SOCKET_PATH_LIMIT:
        sockets = Path(tempfile.mkdtemp(prefix="docker-"))
    host, log = f"unix://{sockets / 'docker.sock'}", folder / "log"
    network = _Network()
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *ends_with_its_parent(),
                "dockerd",
                f"--host={host}",
                f"--data-root={folder / 'data'}",
                f"--exec-root={sockets}",
                f"--pidfile={sockets / 'dockerd.pid'}",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the rehearsal, which still needs the engine to clean up
        )
    try:
        os.environ["DOCKER_HOST"] = host
        _wait(process, log)
        yield
    finally:
        with undisturbed():
            os.environ.pop("DOCKER_HOST", None)
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=ENDS_SECONDS)
            process.kill()
            process.wait()
            network.restore()
            shutil.rmtree(sockets, ignore_errors=True)


def _wait(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTS_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text().splitlines()[-10:])
            raise DockerError(f"dockerd did not start; its log is {log}:\n{last}")
        time.sleep(0.2)


class _Network:
    """The machine's network as it was before the engine, which leaves its bridge and its firewall rules behind."""

    def __init__(self) -> None:
        self._had_bridge = _has_bridge()
        self._rules = _rules()
        self._forwards = _FORWARDS.read_text() if _FORWARDS.exists() else ""

    def restore(self) -> None:
        if self._had_bridge:
            return  # another engine has it, and the rules
        if _has_bridge():
            _quietly("ip", "link", "delete", "docker0")
        for command in undo(before=self._rules, after=_rules()):
            _quietly("iptables", *command)
        if self._forwards:
            with suppress(OSError):
                _FORWARDS.write_text(self._forwards)


def undo(*, before: Sequence[str], after: Sequence[str]) -> list[list[str]]:
    """The arguments of `iptables` that take back what Docker added between two outputs of `iptables-save`."""
    known, policies, rules, chains = set(before), [], [], []
    table = ""
    for line in after:
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A") and line not in known and "docker" in line.lower():
            rules.append(["-t", table, "-D", *shlex.split(line)[1:]])
        elif line.startswith(":") and "DOCKER" in line:
            name = line[1:].split()[0]
            if not any(each.startswith(f":{name} ") for each in before):
                chains += [["-t", table, "-F", name], ["-t", table, "-X", name]]
        elif line.startswith(":FORWARD DROP") and any(each.startswith(":FORWARD ACCEPT") for each in before):
            policies.append(["-t", table, "-P", "FORWARD", "ACCEPT"])
    return [*policies, *rules, *chains]


def _has_bridge() -> bool:
    return Path("/sys/class/net/docker0").exists()


def _rules() -> list[str]:
    if not shutil.which("iptables-save"):
        return []
    return subprocess.run(["iptables-save"], check=False, capture_output=True, text=True).stdout.splitlines()


def _quietly(*command: str) -> None:
    subprocess.run(command, check=False, capture_output=True)
