"""The Pulumi engine: the one that the Pulumi installer brings, or the same one built from Go modules.

`python -m rehearsal.pulumi_engine` prepares it and prints the environment to use it in.
"""

import hashlib
import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rehearsal.folders import CACHE, ROOT, locked
from rehearsal.progress import Say, run

SOURCES = ROOT / "rehearsal" / "engine"
PLUGINS = {"aws": "pulumi-aws", "docker": "pulumi-docker"}
"""The plugins that the program needs, and the Python packages that speak to them."""

BUILDS_KEPT = 2
GO = CACHE / "go"
"""What Go keeps while it builds the engine, where the user has no place of its own for it."""

NOTHING_ARRIVES_SECONDS = 20
"""How long a download may bring nothing before it is given up."""


class EngineError(Exception):
    """The engine can't be had here; the message says what would help."""


def prepare(*, say: Say = print) -> dict[str, str]:
    """Make the engine ready, and give the variables to add to the environment that `pulumi` is run in.

    The `pulumi` on PATH is used where its plugins are there or can be downloaded. Elsewhere the engine is built, once:
    about six minutes on two cores. State, plugins and caches are in the project's ignored folder.
    """
    versions = installed_versions()
    built = CACHE / "engine" / sources_key(versions)
    with locked("engine"):
        installed = _installed(versions, download=not built.exists(), say=say)
        if installed:
            return environment(home=installed) | caches()
        provider = terraform_provider(os.environ)
        if not built.exists():
            _build(built, versions=versions, say=say)
            prune(built.parent, keep=BUILDS_KEPT)
        os.utime(built)
    return environment(home=built, commands=built / "bin") | caches() | {"TERRAFORM_PROVIDER_AWS": str(provider)}


def prune(builds: Path, *, keep: int) -> None:
    """Remove all builds but those used last: each takes 300 MB, and each edit of the sources makes one."""
    for build in sorted(builds.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[keep:]:
        shutil.rmtree(build)


def installed_versions() -> dict[str, str]:
    """The versions of the Python packages, which the command and its plugins must have too."""
    return {name: importlib.metadata.version(name) for name in ("pulumi", *PLUGINS.values())}


def environment(*, home: Path, commands: Path | None = None) -> dict[str, str]:
    """What tells `pulumi` where its plugins and its state are, and to ask nobody for anything."""
    state = CACHE / "state"
    state.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("PATH", os.defpath)
    return {
        "PATH": f"{commands}{os.pathsep}{path}" if commands else path,
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "rehearsal",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        "PYTHONDONTWRITEBYTECODE": "",  # or Python compiles the program again for every preview
    }


def caches() -> dict[str, str]:
    """Package caches within the project, except those that the user has put somewhere."""
    go = {"GOCACHE": GO / "build", "PIP_CACHE_DIR": CACHE / "pip"}
    if "GOPATH" not in os.environ:
        go["GOMODCACHE"] = GO / "modules"
    return {name: str(path) for name, path in go.items() if name not in os.environ}


def sources_key(versions: Mapping[str, str]) -> str:
    """A short hash of the engine's sources and of the plugins' versions: another one, another build."""
    digest = hashlib.sha256(repr(sorted(versions.items())).encode())
    for file in sorted(path for path in SOURCES.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{file.relative_to(SOURCES)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def terraform_provider(variables: Mapping[str, str]) -> Path:
    """The Terraform AWS provider of this machine, which the built AWS plugin runs: the newest that is found.

    https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories
    """
    if given := variables.get("TERRAFORM_PROVIDER_AWS"):
        return Path(given)
    home = Path(variables.get("HOME", "/"))
    mirrors = [home / ".terraform.d", home / ".local/share/terraform", Path("/usr/local/share/terraform"),
               Path("/usr/share/terraform"), Path("/opt")]  # fmt: skip
    if shared := variables.get("TF_PLUGIN_CACHE_DIR"):
        mirrors.append(Path(shared).parent)
    machine = os.uname()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine, machine.machine)
    layout = f"*/*/hashicorp/aws/*/{machine.sysname.lower()}_{architecture}/terraform-provider-aws*"
    found = [path for mirror in mirrors for path in mirror.glob(layout)]
    if not found:
        looked = ", ".join(str(mirror) for mirror in mirrors)
        raise EngineError(
            "no Pulumi plugins can be downloaded here, and the engine built instead needs HashiCorp's AWS provider: "
            f"set TERRAFORM_PROVIDER_AWS to its file (looked for a provider mirror in {looked})"
        )
    return max(found, key=lambda path: [int(part) for part in path.parent.parent.name.split(".") if part.isdigit()])


def _installed(versions: Mapping[str, str], *, download: bool, say: Say) -> Path | None:
    """The PULUMI_HOME for the `pulumi` on PATH, with all plugins in it; None where that can't be had."""
    command = shutil.which("pulumi")
    if not command or Path(command).resolve().is_relative_to(CACHE) or not shutil.which("pulumi-language-python"):
        return None
    home = CACHE / "pulumi"
    for name, package in PLUGINS.items():
        version = versions[package]
        if _have_plugin(home, name=name, version=version):
            continue
        if not download or not _download(command, home, name=name, version=version, say=say):
            return None
    return home


def _have_plugin(home: Path, *, name: str, version: str) -> bool:
    """Whether the plugin is in `home`; one that the user already has is linked to."""
    folder, executable = f"resource-{name}-v{version}", f"pulumi-resource-{name}"
    plugin = home / "plugins" / folder
    users = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi").resolve() / "plugins" / folder
    if not (plugin / executable).exists() and (users / executable).exists():
        plugin.mkdir(parents=True, exist_ok=True)
        (plugin / executable).symlink_to(users / executable)
    return (plugin / executable).exists()


def _download(command: str, home: Path, *, name: str, version: str, say: Say) -> bool:
    """Let Pulumi download a plugin, for as long as something arrives."""
    say(f"  downloading Pulumi's plugin for {name}, {version}")
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as arriving:
        process = subprocess.Popen(
            [command, "plugin", "install", "resource", name, version],
            env=os.environ | {"PULUMI_HOME": str(home), "TMPDIR": arriving, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        size, since = 0, time.monotonic()
        try:
            while process.poll() is None and time.monotonic() - since < NOTHING_ARRIVES_SECONDS:
                time.sleep(0.2)
                arrived = sum(file.stat().st_size for file in home.rglob("*") if file.is_file())
                if arrived != size:
                    size, since = arrived, time.monotonic()
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        say("  it can't be had from here")
    return process.returncode == 0


def _build(home: Path, *, versions: Mapping[str, str], say: Say) -> None:
    """Build the engine from its Go modules into `home`, laid out as the Pulumi installer does it."""
    go = shutil.which("go")
    if not go:
        raise EngineError("no Pulumi plugins can be had here: install Pulumi, or Go to build its engine")
    unfinished = home.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    flags = ["-trimpath", "-buildvcs=false", "-v"]
    sdk = versions["pulumi"]
    command_flags = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{sdk}"
    cli = ["-C", str(SOURCES / "cli"), "build", *flags, "-ldflags", command_flags]
    say("  building the Pulumi engine from Go modules, once: some minutes")
    begun = time.monotonic()
    _go([go, *cli, "-o", f"{unfinished}/bin/", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"], say=say)
    targets = [("pulumi-language-python", "bin", sdk)]
    for name, version in ((name, versions[package]) for name, package in PLUGINS.items()):
        targets.append((f"pulumi-resource-{name}", f"plugins/resource-{name}-v{version}", version))
    for name, folder, version in targets:
        flagged = ["build", *flags, "-ldflags", f"-s -w -X main.version={version}"]
        _go([go, "-C", str(SOURCES), *flagged, "-o", f"{unfinished}/{folder}/", f"./cmd/{name}"], say=say)
    shutil.copy2(SOURCES / "cmd" / "pulumi-resource-pulumi-python", unfinished / "bin")
    unfinished.rename(home)
    # Go's own caches are gigabytes, and of no more use to anybody who doesn't change the engine's sources.
    shutil.rmtree(GO, ignore_errors=True)
    say(f"  the engine is built, in {time.monotonic() - begun:.0f} s")


def _go(command: Sequence[str], *, say: Say) -> None:
    # Go makes what it downloads read-only, so that deleting the project's folder would fail.
    own = caches() | {"GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()}
    if sys.platform == "linux":
        # What Go counts for its telemetry stays out of the user's home, while the user's settings of Go hold.
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        own |= {"GOENV": os.environ.get("GOENV", str(config / "go" / "env")), "XDG_CONFIG_HOME": str(GO / "config")}
    run(command, what="the engine's build", say=say, environment=own)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    for variable, value in prepare(say=_tell).items():
        sys.stdout.write(f"export {variable}={shlex.quote(value)}\n")
