"""Brings a stack's state in order after an interrupted update: `python -m commands.recover pre`.

It releases the lock of a process that is gone, takes what AWS has made already into the state, so that the next update
doesn't make it again, and lists what AWS has and the state doesn't. It deletes nothing.
"""

import argparse
import copy
import getpass
import json
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from commands.interrupted import FINDERS, MADE_AGAIN, Environment
from commands.orphans import SERVICES, Orphan, orphans
from commands.processes import is_running
from commands.stack import PulumiError, StackError, exported, pulumi, session

_LOCK = re.compile(r"created by (?P<user>.*)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)")
_TORN, _ATTRIBUTES = "EOF", ".attrs"
PROVIDER = "pulumi:providers:aws"

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Who holds a stack: the engine writes this beside a state that is in a bucket or a folder."""

    user: str
    host: str
    pid: int
    since: str


def locks(answer: str) -> list[Lock]:
    """Return the locks that the engine names where it refuses a stack that is locked."""
    return [
        Lock(user=found["user"], host=found["host"], pid=int(found["pid"]), since=found["since"])
        for found in _LOCK.finditer(answer)
    ]


def held(lock: Lock, *, host: str, alone: str | None = None) -> str | None:
    """Why a lock may still be in use, as far as that can be told on `host`; None where its process is gone.

    So is one of the user `alone` on another host, who is known to do nothing else now.
    """
    holder = f"{lock.user}@{lock.host}, process {lock.pid}, since {lock.since}"
    if lock.host != host and lock.user == alone:
        return None
    if lock.host != host:
        return f"{holder}: whether that runs can't be told from {host}"
    if _runs_pulumi(lock.pid):
        return f"{holder}: it runs"
    return None


def _runs_pulumi(pid: int) -> bool:
    """Whether the process is there and is Pulumi's: the number of one that is gone may be another's by now."""
    try:
        shown = subprocess.run(["ps", "-p", str(pid), "-o", "comm="], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return is_running(pid)
    return "pulumi" in shown.stdout


def backend() -> str:
    """Return the URL of where the state is kept."""
    return str(json.loads(pulumi("whoami", "--verbose", "--json"))["url"])


def release_locks(stack: str, *, alone: str | None = None) -> list[str]:
    """Release the locks of processes that are gone, and say so; raises StackError where one may be in use.

    `alone` is a user who works on the stack nowhere else.
    """
    if backend().startswith("http"):
        return []  # Pulumi Cloud ends a lock by itself, and says by itself who has one
    try:
        # The engine says who holds a stack when it is refused one; under its own name, a stack is never renamed.
        pulumi("stack", "rename", stack, "--stack", stack)
    except PulumiError as error:
        if _TORN in str(error):
            raise
        found = locks(str(error))
    else:
        found = []
    host = socket.gethostname()
    in_use = [reason for lock in found if (reason := held(lock, host=host, alone=alone))]
    if in_use:
        raise StackError(
            "\n  ".join([f"{stack} is locked:", *in_use])
            + f"\nWait for it. Where you know that it has ended: pulumi cancel --yes --stack {stack}, and this again"
        )
    if found:
        pulumi("cancel", "--yes", "--stack", stack)
    return [f"released the lock of {lock.user}@{lock.host}, process {lock.pid}, which is gone" for lock in found]


def environment(state: State, aws: Any) -> Environment | None:
    """Return where a stack's resources are, by the tags of its provider; None where it never began to make any."""
    for resource in _resources(state):
        tags = json.loads(resource.get("inputs", {}).get("defaultTags", "{}")).get("tags")
        if resource["type"] == PROVIDER and tags:
            begun = datetime.fromisoformat(resource["created"])
            return Environment(session=aws, tags=tags, since=int(begun.timestamp() * 1000))
    return None


def found_id(env: Environment, resource: Mapping[str, Any], state: State) -> str | None:
    """Return the ID of what an interrupted creation has made, or None; raises StackError where that can't be told.

    What the state has already isn't it.
    """
    kind = resource["type"]
    if kind in MADE_AGAIN or kind.startswith("pulumi:"):
        return None
    if kind not in FINDERS:
        raise StackError(
            f"{resource['urn']}: nothing here finds resources of type {kind}. Where AWS has it, delete it there; then "
            "`pulumi refresh --clear-pending-creates`"
        )
    known = {each.get("id") for each in _resources(state) if each["type"] == kind}
    candidates = [each for each in FINDERS[kind](env, resource["inputs"]) if each not in known]
    if len(candidates) > 1:
        raise StackError(
            f"{resource['urn']}: {', '.join(candidates)} may be it. Delete all but one in AWS, then this again"
        )
    return candidates[0] if candidates else None


def resolved(state: State, ids: Mapping[str, str]) -> State:
    """Return the state in which nothing is pending: what has one of the `ids`, by URN, is a resource of the stack."""
    new = copy.deepcopy(state)
    deployment = new["deployment"]
    resources = deployment.setdefault("resources", [])
    for operation in deployment.pop("pending_operations", None) or []:
        resource = operation["resource"]
        if operation["type"] != "creating" or resource["urn"] not in ids:
            continue
        for each in resources:
            # It was to be replaced; the engine deletes what is marked so, once the new one is in use.
            if each["urn"] == resource["urn"]:
                each["delete"] = True
        identity = ids[resource["urn"]]
        needed = _needs(resource)
        # The engine wants each resource behind what it needs.
        place = max((index + 1 for index, each in enumerate(resources) if each["urn"] in needed), default=0)
        resources.insert(place, {**resource, "id": identity, "outputs": {**resource["inputs"], "id": identity}})
    return new


def _needs(resource: Mapping[str, Any]) -> set[str]:
    provider = str(resource.get("provider", "")).rpartition("::")[0]
    return {*(resource.get("dependencies") or []), resource.get("parent", ""), provider}


def mended(folder: Path) -> list[str]:
    """Delete the records of attributes in a state's folder that a killed engine left empty, and say so.

    Without one, the engine takes a file as it is; an empty one it can't read.
    """
    torn = [each for each in sorted(folder.rglob(f"*{_ATTRIBUTES}")) if each.stat().st_size == 0]
    for each in torn:
        each.unlink()
    return [
        f"{each.name.removesuffix(_ATTRIBUTES)} can be read again: {each} was empty, and is deleted" for each in torn
    ]


def recover(stack: str, *, alone: str | None = None) -> list[str]:
    """Bring the state of `stack` in order, and say what was done, line by line; raises StackError where it can't.

    `alone` is a user who works on the stack nowhere else.
    """
    try:
        return _recovered(stack, alone)
    except PulumiError as error:
        folder = urlsplit(backend())
        is_torn = _TORN in str(error) and folder.scheme == "file"
        done = mended(Path(unquote(folder.path)) / ".pulumi") if is_torn else []
        if not done:
            raise
        return done + _recovered(stack, alone)


def _recovered(stack: str, alone: str | None) -> list[str]:
    with ThreadPoolExecutor() as pool:
        aws, state_there = pool.submit(_ready, stack), pool.submit(exported, stack)
        done = release_locks(stack, alone=alone)
        env = environment(state := state_there.result(), aws.result())
    if env is None:
        return done
    pending = state["deployment"].get("pending_operations") or []
    ids: dict[str, str] = {}
    for operation in pending:
        resource, kind = operation["resource"], operation["type"]
        name = f"{resource['type'].rpartition(':')[2]} {resource['urn'].rpartition('::')[2]}"
        if kind != "creating":
            done.append(f"{name}: {kind} was interrupted; the next update does it again")
        elif identity := found_id(env, resource, state):
            ids[resource["urn"]] = identity
            done.append(f"{name}: AWS has made it, {identity}: taken into the state")
        else:
            reason = MADE_AGAIN.get(resource["type"], "is not in AWS")
            done.append(f"{name}: {reason}; the next update makes it")
    if pending:
        state = _save(stack, state, ids)
    return done + _lines(orphans(env, [str(each.get("id")) for each in _resources(state)]))


def _ready(stack: str) -> Any:
    """Return a session that has read what it needs to know of AWS's services: half a second, while Pulumi answers."""
    aws = session(stack)
    for service in SERVICES:
        aws.client(service)
    return aws


def _save(stack: str, state: State, ids: Mapping[str, str]) -> State:
    """Write the state with nothing pending, and let the engine read from AWS what it doesn't know yet."""
    pending = state["deployment"]["pending_operations"]
    new = resolved(state, ids)
    pulumi("stack", "import", "--stack", stack, given=json.dumps(new))
    there = {each["urn"] for each in _resources(new)}
    unsure = [urn for each in pending if (urn := each["resource"]["urn"]) in there and not urn.startswith("pulumi:")]
    refresh = ["refresh", "--yes", "--skip-preview", "--stack", stack]
    refresh += [word for urn in unsure for word in ("--target", urn)]
    if unsure:
        try:
            pulumi(*refresh)
        except PulumiError as error:
            command = shlex.join(["pulumi", *refresh])
            raise StackError(f"{error}\nNothing is lost. Mend that, and then, before `pulumi up`: {command}") from None
    return exported(stack)


def _lines(left: list[Orphan]) -> list[str]:
    if not left:
        return []
    return [
        "In AWS with this environment's tags, and not in its state. Where you know that nothing needs it, delete it:",
        *(f"  {each.command}" for each in left),
    ]


def _resources(state: State) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state["deployment"].get("resources") or []
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make recover", description=__doc__)
    parser.add_argument("stack", help="such as pre")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="this user works on the stack nowhere else, as GitHub's concurrency sees to for its runners: a lock of "
        "this user's on another host is released too (make: ALONE=1)",
    )
    arguments = parser.parse_args()
    stack = arguments.stack
    try:
        done = recover(stack, alone=getpass.getuser() if arguments.alone else None)
    except (StackError, BotoCoreError, ClientError) as error:
        print(f"Not recovered: {error}", file=sys.stderr)
        return 1
    print("\n".join(done or [f"Nothing of {stack} is interrupted, and nothing is left over."]))
    if done:
        print(f"Next: pulumi up --stack {stack}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
