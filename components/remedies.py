"""What to do about a deployment that failed, by what ECS and its agent say: pure text.

The agent on EC2 words its errors otherwise than Fargate does, and its words change with the AWS SDK that it is built
with: so a sign is a part that all of them have.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
"""

import re
from collections.abc import Sequence

KILLED = 137
"""Exit code of a process that SIGKILL ended: 128 and the signal's number."""

NO_ROOM = "no instance has room for the task; raise capacity.max, or see why no instance has joined the cluster"
"""What to do about a task that has no instance, where ECS says no more."""

_SETTING = "in container.secrets"
_SLOW = "where it only starts slowly, raise health.gracePeriod"
_DENIED = (
    r"assumed-role/(?P<role>[^/\s]+)/\S+ is not authorized to perform: (?P<action>\S+) on resource: (?P<resource>\S+)"
)
_QUOTA = "`aws service-quotas get-service-quota --service-code ec2 --quota-code L-1216C47A` shows the limit"

_REMEDIES = (
    (
        rf"{_DENIED}.* explicit deny",
        "a policy denies the role {role} {action} on {resource}: look for it at the role, at what the resource itself "
        "allows, and in the organization's policies",
    ),
    (
        _DENIED,
        "the role {role} may not do {action} on {resource}; `pulumi up --refresh` gives back what somebody took away",
    ),
    (
        r"Access to KMS is not allowed",
        f"the execution role may not use the KMS key of a secret {_SETTING}: the key's policy must let this "
        "account's IAM decide, and `pulumi up` gives the role its right to a key that the secret got since",
    ),
    (
        r"did not contain json key (?P<key>[^\s;]+)",
        f"a secret {_SETTING} has no JSON key {{key}}: correct the setting, or put the key into the secret with "
        "`aws secretsmanager put-secret-value`",
    ),
    (
        r"looking for beginning of value",
        f"a secret {_SETTING} holds no JSON, but the setting asks for a JSON key: name the secret alone, or store "
        "JSON in it",
    ),
    (
        r"(?P<arn>arn:[\w-]+:secretsmanager:\S+?)[:']? .*marked for deletion",
        "somebody deleted the secret; `aws secretsmanager restore-secret --secret-id {arn}` brings it back",
    ),
    (
        r"(?P<arn>arn:[\w-]+:secretsmanager:\S+?)[:']? .*ResourceNotFoundException",
        "the secret {arn} is gone since it was looked up: make it again, and `pulumi up` finds its new ARN",
    ),
    (
        r"invalid parameters: (?P<names>[^\s;]+)",
        f"there is no SSM parameter {{names}}: make it, or correct its ARN {_SETTING}",
    ),
    (
        r"specified log group does not exist",
        "the log group is gone; `pulumi up --refresh` makes it again",
    ),
    (
        r"CannotPull.*(manifest unknown|not found|does not exist|requested access to the resource is denied)",
        "the image can't be pulled: the registry hasn't got it any more; deploy another tag, or where this stack "
        "builds, change something in build.context",
    ),
    (
        r"CannotPull",
        "the image can't be pulled; the reason above says why: where it is a timeout, the instances have no way to the "
        "registry",
    ),
    (
        r"ResourceInitializationError",
        "something that the task needs to start can't be had, most often a secret; the reason above names it",
    ),
    (
        r"executable file not found|no such file or directory|permission denied",
        "the image has no such program, or may not run it; see container.command, or the image's own command",
    ),
    (
        r"OutOfMemory",
        "the container needed more memory than container.memory allows; raise it, or have it use less",
    ),
    (
        r"failed container health checks",
        "the container runs, but health.command doesn't end with 0 in it; try it there (the runbook has a shell), "
        f"and {_SLOW}",
    ),
    (
        r"ELB health checks|is unhealthy in",
        "the container runs, but doesn't answer health.path with a code of health.matcher within health.timeout; "
        f"{_SLOW}",
    ),
)
"""What to do, by a pattern of what ECS says of tasks that stopped; of several, the first counts."""

_PLACES = (
    (
        r"insufficient memory|RESOURCE:MEMORY",
        "no instance has room for the task's memory beside what runs there; raise capacity.max, take a larger "
        "capacity.instanceType, or lower container.memory; other tasks in the cluster take room too",
    ),
    (
        r"insufficient CPU|RESOURCE:CPU",
        "no instance has room for the task's CPU units beside what runs there; raise capacity.max, take a larger "
        "capacity.instanceType, or lower container.cpu; other tasks in the cluster take room too",
    ),
    (
        r"already using a port|RESOURCE:PORTS",
        "something on each instance has the port that container.hostPort names; hostPort 0 lets the instance pick one",
    ),
    (
        r"No Container Instances were found",
        "no instance has joined the cluster: see the Auto Scaling group's activities, and the ECS agent's log on one",
    ),
    (
        r"unable to place a task",
        "no instance has room for the task; the event above says of what, and capacity.max how many instances there "
        "may be",
    ),
)
"""The same, of tasks that find no instance."""

_LAUNCHES = (
    (r"vCPU", f"the account's quota of vCPUs is used up: {_QUOTA}; ask AWS for more, or end what runs"),
    (
        r"[Ii]nsufficient.*[Cc]apacity|do not have sufficient",
        "AWS has no such instance left in these zones: try again later, or take another capacity.instanceType",
    ),
    (r"", "the Auto Scaling group can't launch an instance; AWS's reason above names what is short or wrong"),
)
"""The same, of instances that can't be launched."""


def remedy(
    *,
    endings: Sequence[str],
    words: Sequence[str],
    exit_codes: Sequence[int],
    failed_launches: Sequence[str] = (),
    waiting: bool = False,
    unready: bool = False,
) -> str:
    """Return what to do, by the most telling of the signs.

    Args:
        endings: why tasks stopped, and their containers.
        words: what else ECS says: the deployment's reason, and the service's events.
        exit_codes: of the containers that ended.
        failed_launches: why instances could not be launched.
        waiting: whether tasks have no instance.
        unready: whether tasks run that did not get healthy in time.
    """
    return (
        _first(_REMEDIES, endings)
        or (_first(_LAUNCHES, failed_launches) if failed_launches else "")
        or _first(_PLACES, words)
        or _first(_REMEDIES, words)
        or _by_state(set(exit_codes), waiting=waiting, unready=unready)
    )


def _first(remedies: Sequence[tuple[str, str]], texts: Sequence[str]) -> str:
    for pattern, advice in remedies:
        for text in texts:
            if found := re.search(pattern, text):
                return advice.format(**found.groupdict()) if found.groupdict() else advice
    return ""


def _by_state(exit_codes: set[int], *, waiting: bool, unready: bool) -> str:
    if waiting:
        return NO_ROOM
    if KILLED in exit_codes:
        return "the container was killed: by itself, or for memory (container.memory)"
    if exit_codes - {0}:
        return "the container ended by itself; its last log lines above say why"
    if exit_codes:
        return "the container ended by itself, with success: a service's program must run until it is told to stop"
    if unready:
        return (
            "the container runs, but was not healthy in time; its last log lines above say how far it came; where it "
            "needs longer, raise health.gracePeriod and service.deploymentTimeout"
        )
    return "look at the events above, and at the service in the ECS console"
