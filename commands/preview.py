"""Previews a stack with the version that it runs: `python -m commands.preview --stack live`.

A stack that builds has its tag in its file. One that doesn't (live) gets a version at each release, and its state alone
knows which: without it, `pulumi preview` would be refused, and with another it would show a release.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from commands.stack import StackError, pulumi
from components.failure_report import NOT_SERVED

Outcome = Literal["unchanged", "changes", "not served", "not deployed", "failed"]

UNEXPECTED = "no changes were expected"
"""What `pulumi preview --expect-no-changes` fails with where something would change."""

_RESOURCES = re.compile(r"^Resources:\n((?:    .+\n?)+)", re.MULTILINE)
_CHANGED = re.compile(
    r"^ +[^\w\s]{1,2} ?([a-z][\w/-]*:\S+): \((create|update|replace|delete)\).*\n"
    r"(?: +\[id=.*\]\n)? +\[urn=\S+::(\S+)\]$",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What `pulumi preview` said of a stack; `note` says of its tag what a reader must know."""

    stack: str
    outcome: Outcome
    note: str
    output: str

    @property
    def resources(self) -> str:
        """How many resources would be created, updated and so on, as Pulumi counts them; "" where none would."""
        found = _RESOURCES.findall(self.output)
        lines = [line.strip() for line in found[-1].splitlines()] if found else []
        return ", ".join(line for line in lines if " to " in line)

    @property
    def changed(self) -> list[str]:
        """What would be done to which resource, such as "update aws:ecs/service:Service booklink-backend-pre"."""
        return [
            f"{operation} {kind} {name}"
            for kind, operation, name in _CHANGED.findall(self.output)
            if not kind.startswith(("pulumi:", "booklink:"))
        ]

    @classmethod
    def read(cls, file: Path) -> "Preview":
        """Return the preview that was saved in a file."""
        return cls(**json.loads(file.read_text()))


def outcome_of(status: int, output: str) -> Outcome:
    """Return what a preview came to, by its exit status and what it printed.

    "not served": nothing would change, but the program warns that the service doesn't run what was deployed last.
    """
    if UNEXPECTED in output:
        return "changes"
    if status:
        return "failed"
    counts = _RESOURCES.findall(output)
    if not counts or any(not line.strip().endswith(" unchanged") for line in counts[-1].splitlines()):
        return "changes"
    return "not served" if NOT_SERVED in output else "unchanged"


def chosen_tag(stack: str, *, in_file: str, deployed: str) -> tuple[str, str]:
    """Return the tag to preview a stack with, "" where there is none yet, and what a reader must know of it."""
    if in_file:
        differs = deployed and deployed != in_file
        return in_file, (
            f"Pulumi.{stack}.yaml has the tag {in_file}, while {deployed} was deployed last; to preview with that one, "
            "take the line out."
            if differs
            else ""
        )
    if deployed:
        return deployed, f"With {deployed}, which was deployed last."
    return "", f"{stack} runs no version yet: `pulumi up --stack {stack} --config tag=vX.Y.Z` brings it up."


def preview(stack: str, *, refresh: bool) -> Preview:
    """Preview `stack`, printing what Pulumi prints; raises StackError where Pulumi can't read the stack.

    With `refresh`, what is there is compared, and not what the state has.
    """
    config = json.loads(pulumi("config", "--json", "--stack", stack))
    in_file = next((str(entry.get("value", "")) for key, entry in config.items() if key.endswith(":tag")), "")
    deployed = str(json.loads(pulumi("stack", "output", "--json", "--stack", stack)).get("tag", ""))
    tag, note = chosen_tag(stack, in_file=in_file, deployed=deployed)
    if note:
        print(note, flush=True)
    if not tag:
        return Preview(stack=stack, outcome="not deployed", note=note, output="")
    command = ["preview", "--stack", stack, "--diff", "--non-interactive", "--color", "never"]
    command += ["--refresh", "--expect-no-changes"] if refresh else []
    with tempfile.TemporaryDirectory() as folder:
        # Pulumi writes what `--config` says into the stack's file: here into a copy.
        copy = shutil.copy(f"Pulumi.{stack}.yaml", folder)
        status, output = _run(*command, "--config-file", copy, "--config", f"tag={tag}")
    return Preview(stack=stack, outcome=outcome_of(status, output), note=note, output=output)


def _run(*arguments: str) -> tuple[int, str]:
    process = subprocess.Popen(["pulumi", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout or ():
        print(line, end="", flush=True)
        lines.append(line)
    return process.wait(), "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make preview", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--refresh", action="store_true", help="compare what is there, and expect no changes")
    parser.add_argument("--save", type=Path, help="file for what it came to; then whoever reads it judges")
    arguments = parser.parse_args()
    try:
        found = preview(arguments.stack, refresh=arguments.refresh)
    except StackError as error:
        print(f"No preview: {error}", file=sys.stderr)
        if not arguments.save:
            return 1
        found = Preview(stack=arguments.stack, outcome="failed", note="", output=f"{error}\n")
    if arguments.save:
        arguments.save.write_text(json.dumps(asdict(found)))
        return 0
    return (
        1 if found.outcome in ("failed", "not deployed") or (arguments.refresh and found.outcome != "unchanged") else 0
    )


if __name__ == "__main__":
    sys.exit(main())
