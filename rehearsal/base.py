"""A base image for the sample, made of this machine's own system packages, where no public image can be pulled.

`python -m rehearsal.base` (`make base`) makes booklink-base:local: the smallest Debian or Ubuntu that debootstrap can
make, with Python and boto3, in about a minute; a second time in seconds. It needs root.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rehearsal.folders import CACHE, locked
from rehearsal.progress import CommandError, Say, run

IMAGE = "booklink-base:local"
PACKAGES = ("python3", "python3-boto3")
LABEL = "booklink.base"

UNUSED = (
    "debootstrap",
    "dev/*",
    "usr/share/doc/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "usr/share/zoneinfo/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)
"""What a container of the sample never reads."""

API_DATA = "usr/lib/python3/dist-packages/botocore/data"
KEPT_API = "secretsmanager"
"""The one AWS service that the sample speaks to. The descriptions of the others are most of botocore."""


class BaseError(Exception):
    """The image can't be made here; the message says what would help."""


@dataclass(frozen=True)
class Mirror:
    """Where apt gets this system's packages from."""

    address: str
    release: str
    components: tuple[str, ...]


def make(*, say: Say = print) -> str:
    """Make the image unless Docker has it, and give its name."""
    mirror = mirror_of(_apt_targets(), release=platform.freedesktop_os_release().get("VERSION_CODENAME", ""))
    key = hashlib.sha256(repr((mirror, platform.machine(), PACKAGES, UNUSED, KEPT_API)).encode()).hexdigest()[:12]
    with locked("base"):
        if _has_image(key):
            say(f"  {IMAGE} is there")
            return IMAGE
        packed = CACHE / "base" / f"{key}.tar"
        if not packed.exists():
            _pack(packed, mirror=mirror, say=say)
        say(f"  giving it to Docker as {IMAGE}")
        command = ["docker", "import", "--change", f"LABEL {LABEL}={key}", "--change", "ENV LANG=C.UTF-8"]
        run([*command, str(packed), IMAGE], what="docker import", say=say)
    return IMAGE


def mirror_of(targets: Iterable[str], *, release: str) -> Mirror:
    """The mirror of the system's own release, from lines of `apt-get indextargets`: address|release|component."""
    rows = [line.split("|") for line in targets if line.count("|") == 2]  # noqa: PLR2004 - three fields
    own = [(address, component) for address, of, component in rows if of == release]
    if not own:
        raise BaseError(f"apt has no source for {release or 'this system'}: its packages can't make a base image")
    address = own[0][0]
    return Mirror(
        address=address,
        release=release,
        components=tuple(dict.fromkeys(component for at, component in own if at == address)),
    )


def _apt_targets() -> list[str]:
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Identifier: Packages"]
    if not shutil.which("apt-get"):
        raise BaseError(
            "only Debian and Ubuntu have packages to make a base image of: give build.args.BASE another image"
        )
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def _has_image(key: str) -> bool:
    command = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', IMAGE]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() == key


def _pack(packed: Path, *, mirror: Mirror, say: Say) -> None:
    """Make the file system, and pack it without what is never read."""
    if os.geteuid() != 0:
        raise BaseError("only root can make a base image of system packages: sudo make base")
    if not shutil.which("debootstrap"):
        say("  installing debootstrap from the system's packages")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "debootstrap"]
        run(install, what="apt-get install debootstrap", say=say)
    root, packages = packed.with_suffix(".root"), packed.parent / "packages"
    shutil.rmtree(root, ignore_errors=True)
    packages.mkdir(parents=True, exist_ok=True)
    options = [
        "--variant=minbase",
        "--force-check-gpg",  # without it, debootstrap takes packages that nobody signed where it finds no keyring
        f"--include={','.join(PACKAGES)}",
        f"--components={','.join(mirror.components)}",
        f"--cache-dir={packages}",
    ]
    say(f"  making a small {mirror.release} with Python of this system's packages: about a minute")
    try:
        # In a mount namespace of its own, so that an interrupted debootstrap leaves nothing mounted.
        command = ["unshare", "--mount", "debootstrap", *options, mirror.release, str(root), mirror.address]
        run(command, what="debootstrap", say=say)
        apis = root / API_DATA
        for api in apis.iterdir():
            if api.is_dir() and api.name != KEPT_API:
                shutil.rmtree(api)
        unfinished = packed.with_suffix(".unfinished")
        exclude = [f"--exclude=./{path}" for path in UNUSED]
        tar = [
            "tar",
            "--create",
            "--numeric-owner",
            "--anchored",
            *exclude,
            "-C",
            str(root),
            "-f",
            str(unfinished),
            ".",
        ]
        run(tar, what="tar", say=say)
        unfinished.rename(packed)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    try:
        make()
    except (BaseError, CommandError) as error:
        sys.exit(f"make base: {error}")
