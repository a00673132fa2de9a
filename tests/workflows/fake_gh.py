"""A stand-in for the `gh` command: GitHub's issues and comments in a file.

https://docs.github.com/en/rest/issues
"""

import json
import os
import re
import shlex
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_BODY = 65_536
BOT = "github-actions[bot]"


@dataclass(frozen=True)
class FakeGitHub:
    """GitHub, as the stand-in keeps it in a folder, whose `bin` goes on PATH."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "FakeGitHub":
        """Make one without issues."""
        command = folder / "bin" / "gh"
        command.parent.mkdir(parents=True)
        arguments = [sys.executable, str(Path(__file__).resolve()), str(folder / "github.json")]
        command.write_text(f'#!/bin/sh\nexec {shlex.join(arguments)} "$@"\n')
        command.chmod(0o755)
        made = cls(folder)
        made.write({"issues": [], "comments": []})
        return made

    @property
    def path(self) -> str:
        """A PATH on which `gh` is the stand-in."""
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def read(self) -> dict[str, list[dict[str, Any]]]:
        """Return the issues and comments so far."""
        found: dict[str, list[dict[str, Any]]] = json.loads((self.folder / "github.json").read_text())
        return found

    def write(self, content: dict[str, Any]) -> None:
        """Set the issues and comments."""
        (self.folder / "github.json").write_text(json.dumps(content))


def answer(content: dict[str, Any], method: str, path: str, fields: dict[str, Any]) -> Any:
    """Do what a call asks for, and return what GitHub's API answers; raises LookupError for what isn't there."""
    resource, _, query = path.partition("?")
    asked = dict(urllib.parse.parse_qsl(query))
    if found := re.fullmatch(r"repos/[\w-]+/[\w.-]+/issues/comments/(\d+)", resource):
        return _changed(content["comments"], "id", int(found[1]), fields)
    if found := re.fullmatch(r"repos/[\w-]+/[\w.-]+/issues/(\d+)/comments", resource):
        if method == "GET":
            return [each for each in content["comments"] if each["issue"] == int(found[1])]
        made = {"id": 1000 + len(content["comments"]), "issue": int(found[1]), "user": {"login": BOT}, **fields}
        content["comments"].append(made)
        return made
    if found := re.fullmatch(r"repos/[\w-]+/[\w.-]+/issues/(\d+)", resource):
        return _changed(content["issues"], "number", int(found[1]), fields)
    if re.fullmatch(r"repos/[\w-]+/[\w.-]+/issues", resource):
        if method == "GET":
            of = (asked["state"], asked["creator"])
            return [each for each in content["issues"] if (each["state"], each["user"]["login"]) == of]
        made = {"number": 1 + len(content["issues"]), "state": "open", "user": {"login": BOT}, **fields}
        content["issues"].append(made)
        return made
    raise LookupError(path)


def _changed(things: list[dict[str, Any]], key: str, value: int, fields: dict[str, Any]) -> dict[str, Any]:
    found = next((each for each in things if each[key] == value), None)
    if found is None:
        raise LookupError(str(value))
    found.update(fields)
    return found


def main() -> int:
    file, arguments = Path(sys.argv[1]), sys.argv[2:]
    if not os.environ.get("GH_TOKEN"):
        sys.stderr.write("gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable.\n")
        return 4
    content = json.loads(file.read_text())
    command, option, method, path, *rest = arguments
    if (command, option) != ("api", "--method") or rest not in (["--paginate", "--jq", ".[]"], ["--input", "-"]):
        sys.stderr.write(f"unknown command or options: {shlex.join(arguments)}\n")
        return 1
    fields = json.load(sys.stdin) if "--input" in rest else {}
    if len(fields.get("body", "")) > LONGEST_BODY:
        sys.stderr.write("gh: Validation Failed (HTTP 422)\nbody is too long (maximum is 65536 characters)\n")
        return 1
    try:
        found = answer(content, method, path, fields)
    except LookupError:
        sys.stderr.write("gh: Not Found (HTTP 404)\n")
        return 1
    file.write_text(json.dumps(content))
    for each in found if isinstance(found, list) else [found]:
        sys.stdout.write(f"{json.dumps(each)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
