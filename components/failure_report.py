"""The report of a deployment that failed: pure text, for a person who has to act on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

KILLED = 137
"""Exit code of a process that SIGKILL ended: 128 and the signal's number."""


@dataclass(frozen=True, kw_only=True)
class StoppedTask:
    """A task that ended: ECS's reason, and its container's exit code, reason and last log lines."""

    id: str
    reason: str
    exit_code: int | None = None
    container_reason: str = ""
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

    `waiting_tasks` have no instance yet, and `failed_launches` say why instances could not be launched. `try_again` is
    the command that deploys the same once more; `unread` is what AWS refused to say.
    """

    service: str
    deployment: str
    task_definition: str
    reason: str
    serving: str
    stopped_tasks: Sequence[StoppedTask] = field(default_factory=list)
    stopped_count: int = 0
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
        groups.setdefault((task.reason, task.exit_code, task.container_reason, *task.log_lines), []).append(task)
    return list(groups.values())


def _ending(alike: list[StoppedTask]) -> list[str]:
    task, *others = alike
    also = f", and {len(others)} more like it" if others else ""
    lines = [f"  Task {task.id} stopped{also}: {task.reason or 'ECS gives no reason'}"]
    if task.exit_code is not None or task.container_reason:
        ending = [] if task.exit_code is None else [f"exit code {task.exit_code}"]
        lines.append("    Container: " + ", ".join(ending + [task.container_reason] * bool(task.container_reason)))
    if task.log_lines:
        lines += ["    Its last log lines:", *(f"      | {line}" for line in task.log_lines)]
    elif task.exit_code is not None:
        lines.append("    It logged nothing.")
    return lines


def _advice(failed: FailedDeployment) -> str:
    """Return what to do, by the most telling of the signs."""
    ends = " ".join(f"{task.reason} {task.container_reason}" for task in failed.stopped_tasks)
    signs = f"{ends} {failed.reason} {' '.join(failed.events)}"
    exit_codes = {task.exit_code for task in failed.stopped_tasks} - {None}
    for sign, advice in _ADVICE.items():
        if sign in signs:
            return advice
    if failed.failed_launches:
        return "the Auto Scaling group can't launch an instance; AWS's reason above names what is short or wrong"
    if failed.waiting_tasks:
        return "no instance has room for the task; raise capacity.max, or see why no instance has joined the cluster"
    if KILLED in exit_codes:
        return "the container was killed: by itself, or for memory (container.memory)"
    if exit_codes - {0}:
        return "the container ended by itself; its last log lines above say why"
    return "look at the events above, and at the service in the ECS console"


_ADVICE = {
    "OutOfMemory": "the container needed more memory than container.memory allows; raise it, or have it use less",
    "CannotPull": "the image can't be pulled; the reason above says whether it is missing, or may not be read",
    "ResourceInitializationError": "something that the task needs to start can't be had, most often a secret; "
    "the reason above names it",
    "ELB health checks": "the container runs, but doesn't answer health.path with a code of health.matcher within "
    "health.timeout; where it only starts slowly, raise health.gracePeriod",
    "is unhealthy in": "the container runs, but doesn't answer health.path with a code of health.matcher within "
    "health.timeout; where it only starts slowly, raise health.gracePeriod",
    "unable to place a task": "no instance has room for the task; the event above says of what, and capacity.max how "
    "many instances there may be",
}
"""What to do, by a part of what ECS says; of several, the first counts.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""


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
    signs = FailedDeployment(
        service="",
        deployment="",
        task_definition=failed.task_definition,
        reason=failed.reason,
        serving=failed.serving,
        stopped_tasks=tasks,
        stopped_count=len(tasks),
    )
    return _quoted(
        [
            f"The migration of {failed.task_definition} failed.",
            f"  Reason: {failed.reason}",
            *(_ending(tasks) if tasks else []),
            f"  Nothing was switched: {failed.serving}",
            f"  What to do: {failed.what_to_do or _advice(signs)}",
            "  Once it is mended, `pulumi up` runs the migration again.",
            *(f"  (AWS would not say more: {reason})" for reason in failed.unread),
        ]
    )
