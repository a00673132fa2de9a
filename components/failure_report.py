"""The report of a deployment that failed: pure text, for a person who has to act on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.remedies import remedy

NOT_SERVED = "The service does not run what it should:"
"""How the warning of a preview begins, for whoever looks for it in what Pulumi prints."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

_TWICE = re.compile(r"(operation error .+): \1$")
"""How the ECS agent has an error of AWS's: explained, and then once more."""

_REQUEST = re.compile(r"(?i)request ?id: [\w-]+")


@dataclass(frozen=True, kw_only=True)
class StoppedTask:
    """A task that ended: ECS's reason, and its container's exit code, reason and last log lines."""

    id: str
    reason: str
    exit_code: int | None = None
    container_reason: str = ""
    log_lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class UnreadyTask:
    """A task that ran when the time was over, and its last log lines."""

    id: str
    status: str
    log_lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class UnhealthyTarget:
    """A target that the load balancer finds unwell, and its reason."""

    id: str
    reason: str
    description: str


@dataclass(frozen=True, kw_only=True)
class FailedDeployment:
    """What is known of a deployment that failed.

    `unready_tasks` ran, but not well enough in time; `waiting_tasks` have no instance yet, and `failed_launches` say
    why instances could not be launched. `try_again` is the command that deploys the same once more; `unread` is what
    AWS refused to say.
    """

    service: str
    deployment: str
    task_definition: str
    reason: str
    serving: str
    stopped_tasks: Sequence[StoppedTask] = field(default_factory=list)
    stopped_count: int = 0
    unready_tasks: Sequence[UnreadyTask] = field(default_factory=list)
    waiting_tasks: int = 0
    failed_launches: Sequence[str] = field(default_factory=list)
    unhealthy_targets: Sequence[UnhealthyTarget] = field(default_factory=list)
    events: Sequence[str] = field(default_factory=list)
    try_again: str = ""
    unread: Sequence[str] = field(default_factory=list)


def render(failed: FailedDeployment) -> str:
    """Return the report: the deployment and ECS's reason, how its tasks ended, what serves now, what to do.

    What the container and AWS say is quoted without control characters, and no line of it stands first: it is shown in
    terminals and by CI, which take some lines for commands.
    """
    return _quoted(_lines(failed))


def _quoted(lines: Sequence[str]) -> str:
    return "\n".join(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", line) for line in lines)


def _lines(failed: FailedDeployment) -> list[str]:
    lines = [f"The service {failed.service} does not run {failed.task_definition}."]
    if failed.deployment:
        lines = [
            f"The deployment of {failed.task_definition} failed.",
            f"  Deployment: {failed.deployment} of service {failed.service}",
        ]
    lines.append(f"  Reason: {failed.reason}")
    for alike in _alike(failed.stopped_tasks):
        lines += _ending(alike)
    if failed.stopped_count > len(failed.stopped_tasks):
        lines.append(f"  {failed.stopped_count - len(failed.stopped_tasks)} more task(s) stopped before these.")
    for unready in failed.unready_tasks:
        lines += [f"  Task {unready.id} was {unready.status} when the time was over.", *_log(unready.log_lines)]
    lines += [f"  Target {t.id} is unhealthy: {t.reason} {t.description}".rstrip() for t in failed.unhealthy_targets]
    if failed.waiting_tasks:
        lines.append(f"  {failed.waiting_tasks} task(s) wait for an instance with room.")
    lines += [f"  An instance could not be launched: {reason}" for reason in failed.failed_launches]
    if failed.events:
        lines += ["  What ECS says, newest first:", *(f"    | {event}" for event in failed.events)]
    lines.append(f"  Serving now: {failed.serving}")
    lines.append(f"  What to do: {_advice(failed)}")
    if failed.try_again:
        lines.append(f"  Where the cause was outside of this program, once it is mended: {failed.try_again}")
    lines += [f"  (AWS would not say more: {reason})" for reason in failed.unread]
    return lines


def _alike(tasks: Sequence[StoppedTask]) -> list[list[StoppedTask]]:
    """Return the tasks in groups that ended alike, newest first: one cause is to be read once."""
    groups: dict[tuple[object, ...], list[StoppedTask]] = {}
    for task in tasks:
        reasons = (_REQUEST.sub("", text.replace(f"/{task.id}", "")) for text in (task.reason, task.container_reason))
        groups.setdefault((*reasons, task.exit_code, *task.log_lines), []).append(task)
    return list(groups.values())


def _ending(alike: list[StoppedTask]) -> list[str]:
    task, *others = alike
    also = f", and {len(others)} more like it" if others else ""
    lines = [f"  Task {task.id} stopped{also}: {_once(task.reason) or 'ECS gives no reason'}"]
    # ECS gives a container's reason as the task's too, where it kept the task from starting.
    reason = "" if task.container_reason in task.reason else _once(task.container_reason)
    if task.exit_code is not None or reason:
        ending = [] if task.exit_code is None else [f"exit code {task.exit_code}"]
        lines.append("    Container: " + ", ".join(ending + [reason] * bool(reason)))
    return lines + _log(task.log_lines, ran=task.exit_code is not None)


def _once(reason: str) -> str:
    return _TWICE.sub(r"\1", reason)


def _log(log_lines: Sequence[str], *, ran: bool = True) -> list[str]:
    if log_lines:
        return ["    Its last log lines:", *(f"      | {line}" for line in log_lines)]
    return ["    It logged nothing."] if ran else []


def _advice(failed: FailedDeployment) -> str:
    return remedy(
        endings=_endings(failed.stopped_tasks),
        words=[failed.reason, *failed.events],
        exit_codes=_exit_codes(failed.stopped_tasks),
        failed_launches=failed.failed_launches,
        waiting=bool(failed.waiting_tasks),
        unready=bool(failed.unready_tasks),
    )


def _endings(tasks: Sequence[StoppedTask]) -> list[str]:
    return [f"{task.reason} {task.container_reason}" for task in tasks]


def _exit_codes(tasks: Sequence[StoppedTask]) -> list[int]:
    return [task.exit_code for task in tasks if task.exit_code is not None]


@dataclass(frozen=True, kw_only=True)
class FailedMigration:
    """What is known of a migration that failed; `serving` says what serves on, `unread` what AWS refused to say.

    `what_to_do` is for a reason that no ending of its task tells.
    """

    task_definition: str
    reason: str
    serving: str
    task: StoppedTask | None = None
    what_to_do: str = ""
    unread: Sequence[str] = ()


def render_migration(failed: FailedMigration) -> str:
    """Return the report, quoted as `render`'s: the reason, how the task ended, what serves on, what to do."""
    tasks = [failed.task] if failed.task else []
    advice = failed.what_to_do or remedy(endings=_endings(tasks), words=[failed.reason], exit_codes=_exit_codes(tasks))
    return _quoted(
        [
            f"The migration of {failed.task_definition} failed.",
            f"  Reason: {failed.reason}",
            *(_ending(tasks) if tasks else []),
            f"  Nothing was switched: {failed.serving}",
            f"  What to do: {advice}",
            "  Once it is mended, `pulumi up` runs the migration again.",
            *(f"  (AWS would not say more: {reason})" for reason in failed.unread),
        ]
    )
