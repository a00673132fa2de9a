"""Targets of load balancers: their health checks, their draining, and which of them get requests.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

import dataclasses
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from rehearsal.account.mending import Mends, ministack

_alb = ministack("services.alb")
_ecs = ministack("services.ecs")
_responses = ministack("core.responses")
mend = Mends()

REGISTRATION = 1.0
"""Seconds between a target's registration and its first health check."""

DEFAULT_DELAY = 300

Key = tuple[str, str, int]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target that may get requests: its ID and port as registered, and the address where it answers."""

    id: str
    port: int
    host: str
    host_port: int


@dataclass(frozen=True, kw_only=True)
class Health:
    """A target's state as DescribeTargetHealth gives it, and how many checks agreed in a row (failures: negative)."""

    state: str = "initial"
    reason: str = "Elb.RegistrationInProgress"
    description: str = "Target registration is in progress"
    streak: int = 0


HEALTHY = Health(state="healthy", reason="", description="")
CHECKING = Health(reason="Elb.InitialHealthChecking", description="Initial health checks in progress")
UNUSED = Health(
    state="unused",
    reason="Target.NotInUse",
    description="Target group is not configured to receive traffic from the load balancer",
)
DRAINING = Health(
    state="draining",
    reason="Target.DeregistrationInProgress",
    description="Target deregistration is in progress",
)
UNREGISTERED = Health(
    state="unused", reason="Target.NotRegistered", description="Target is not registered to the target group"
)


def after_check(health: Health, failure: tuple[str, str] | None, *, healthy: int, unhealthy: int) -> Health:
    """A target's health after one more check, which failed with this reason code and description, or passed (None).

    The first success makes a new target healthy; otherwise so many in a row turn it, `healthy` or `unhealthy`.
    """
    if failure is None:
        streak = max(health.streak, 0) + 1
        if health.state in ("initial", "healthy", "unused") or streak >= healthy:
            return dataclasses.replace(HEALTHY, streak=streak)
        return dataclasses.replace(health, streak=streak)
    streak = min(health.streak, 0) - 1
    if -streak >= unhealthy or health.state == "unhealthy":
        return Health(state="unhealthy", reason=failure[0], description=failure[1], streak=streak)
    return dataclasses.replace(CHECKING if health.state in ("initial", "unused") else health, streak=streak)


def matches(status: int, matcher: str) -> bool:
    """Whether an HTTP status is one of a target group's success codes, such as `200` or `200-299,301`."""
    ranges = [each.strip().partition("-") for each in matcher.split(",")]
    return any(int(first) <= status <= int(last or first) for first, _, last in ranges)


class _Watch:
    """One registered target, which its own thread checks until it is deregistered."""

    def __init__(self, account: str, region: str) -> None:
        self.account, self.region = account, region
        self.health = Health()
        self.drained_at = 0.0
        self.ended = threading.Event()

    @property
    def drained(self) -> bool:
        return time.monotonic() >= self.drained_at


_watches: dict[Key, _Watch] = {}
_lock = threading.RLock()
_listeners: list[Callable[[], None]] = []


def on_change(listener: Callable[[], None]) -> None:
    """Call this whenever a target's health changes, or it has drained."""
    _listeners.append(listener)


def register(target_group_arn: str, target_id: str, port: int) -> None:
    """Register a target."""
    with _lock:
        registered = _alb._targets.setdefault(target_group_arn, [])
        if (target_id, port) not in _registered(target_group_arn):
            registered.append({"Id": target_id, "Port": port})
        synchronize()


def deregister(target_group_arn: str, target_id: str, port: int | None = None) -> None:
    """Deregister a target, by default on all its ports: it drains for the deregistration delay, then it is gone."""
    with _lock:
        _alb._targets[target_group_arn] = [
            each
            for each in _alb._targets.get(target_group_arn, [])
            if each["Id"] != target_id or (port is not None and _port(target_group_arn, each) != port)
        ]
        synchronize()


def state(target_group_arn: str, target_id: str, port: int) -> Health:
    """A target's health; one that isn't registered and has drained is unused."""
    watch = _watches.get((target_group_arn, target_id, port))
    return watch.health if watch else UNREGISTERED


def ready(target_group_arn: str) -> list[Target]:
    """The targets that get the load balancer's requests: the healthy ones; where there is none, all unhealthy ones."""
    found: dict[str, list[Target]] = {"healthy": [], "unhealthy": []}
    for (_, target_id, port), watch in _of(target_group_arn):
        if watch.health.state in found and (where := address(target_id, port)):
            found[watch.health.state].append(Target(id=target_id, port=port, host=where[0], host_port=where[1]))
    return found["healthy"] or found["unhealthy"]


def address(target_id: str, port: int) -> tuple[str, int] | None:
    """Where a target answers: an instance's port is the container's that holds it, or nothing does (None)."""
    if not target_id.startswith("i-"):
        return target_id, port
    for task in list(_ecs._tasks._data.values()):
        if task.get("_instance_id") != target_id or task["lastStatus"] == "STOPPED":
            continue
        for container in task["containers"]:
            for binding in container["networkBindings"]:
                if binding["hostPort"] == port and container.get("_address"):
                    return container["_address"], binding["containerPort"]
    return None


def group(target_group_arn: str) -> dict[str, Any] | None:
    """A target group, or None where there is none."""
    found: dict[str, Any] | None = _alb._tgs.get(target_group_arn)
    return found


def deregistration_delay(target_group_arn: str) -> float:
    """Seconds that a target of this group drains."""
    attributes = {each["Key"]: each["Value"] for each in _alb._tg_attrs.get(target_group_arn) or []}
    return float(attributes.get("deregistration_delay.timeout_seconds", DEFAULT_DELAY))


def in_use(target_group_arn: str) -> bool:
    """Whether a listener or a rule of a load balancer forwards to this target group."""
    return any(target_group_arn in json.dumps(each) for each in [*_alb._listeners.values(), *_alb._rules.values()])


def synchronize() -> None:
    """Begin to check targets that were registered, and to drain those that were deregistered, by whichever way."""
    with _lock:
        wanted: dict[Key, tuple[str, str]] = {}
        for account, arn in list(_alb._targets._data):
            region = arn.split(":")[3]
            with _responses.request_scope(account, region):
                if arn in _alb._tgs:
                    wanted |= {(arn, *each): (account, region) for each in _registered(arn)}
        for key, watch in list(_watches.items()):
            with _responses.request_scope(watch.account, watch.region):
                if key[0] not in _alb._tgs or (watch.health is DRAINING and (key in wanted or watch.drained)):
                    watch.ended.set()
                    del _watches[key]
                elif key not in wanted and watch.health is not DRAINING:
                    watch.ended.set()
                    watch.health, watch.drained_at = DRAINING, time.monotonic() + deregistration_delay(key[0])
        for key, (account, region) in wanted.items():
            if key not in _watches:
                _watches[key] = _Watch(account, region)
                threading.Thread(target=_check, args=(key, _watches[key]), daemon=True).start()


def _of(target_group_arn: str) -> list[tuple[Key, _Watch]]:
    return [(key, watch) for key, watch in list(_watches.items()) if key[0] == target_group_arn]


def _port(target_group_arn: str, target: dict[str, Any]) -> int:
    return int(target.get("Port") or _alb._tgs[target_group_arn]["Port"])


def _registered(target_group_arn: str) -> list[tuple[str, int]]:
    return [(each["Id"], _port(target_group_arn, each)) for each in _alb._targets.get(target_group_arn) or []]


def _check(key: Key, watch: _Watch) -> None:
    arn, target_id, port = key
    pause = REGISTRATION
    with _responses.request_scope(watch.account, watch.region):
        while not watch.ended.wait(pause):
            began = time.monotonic()
            checked = group(arn)
            if checked is None:
                return
            if not in_use(arn):
                pause = 0.2
                _note(watch, UNUSED)
                continue
            failure = _failure(checked, target_id, port)
            _note(
                watch,
                after_check(
                    watch.health,
                    failure,
                    healthy=checked["HealthyThresholdCount"],
                    unhealthy=checked["UnhealthyThresholdCount"],
                ),
            )
            pause = max(0.0, checked["HealthCheckIntervalSeconds"] - (time.monotonic() - began))


def _note(watch: _Watch, health: Health) -> None:
    with _lock:
        if watch.ended.is_set():
            return
        changed = watch.health.state != health.state
        watch.health = health
    if changed:
        for listener in _listeners:
            listener()


def _failure(group: dict[str, Any], target_id: str, port: int) -> tuple[str, str] | None:
    """Do one health check: None where it passed, else the reason code and description of its failure."""
    where = address(target_id, port)
    if where is None:
        return "Target.FailedHealthChecks", "Health checks failed"
    host, traffic_port = where
    check_port = traffic_port if group["HealthCheckPort"] == "traffic-port" else int(group["HealthCheckPort"])
    timeout = group["HealthCheckTimeoutSeconds"]
    connection = http.client.HTTPConnection(host, check_port, timeout=timeout)
    if group["HealthCheckProtocol"] == "HTTPS":
        unchecked = ssl._create_unverified_context()  # noqa: S323 - a load balancer trusts any certificate of a target
        connection = http.client.HTTPSConnection(host, check_port, timeout=timeout, context=unchecked)
    try:
        connection.request("GET", group["HealthCheckPath"], headers={"User-Agent": "ELB-HealthChecker/2.0"})
        status = connection.getresponse().status
    except TimeoutError:
        return "Target.Timeout", "Request timed out"
    except (OSError, http.client.HTTPException):
        return "Target.FailedHealthChecks", "Health checks failed"
    finally:
        connection.close()
    if matches(status, group["Matcher"]["HttpCode"]):
        return None
    return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"


@mend.replaces(_alb, "_register_targets")
def register_by_port(_original: Any, params: Any) -> Any:
    """A target is an ID and a port: one instance may be registered with several ports.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RegisterTargets.html
    """
    arn = _alb._p(params, "TargetGroupArn")
    if arn not in _alb._tgs:
        return _alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
    for each in _alb._parse_targets_param(params):
        register(arn, each["Id"], _port(arn, each))
    return _alb._empty("RegisterTargets")


@mend.replaces(_alb, "_deregister_targets")
def deregister_by_port(_original: Any, params: Any) -> Any:
    """Without a port, a target is deregistered on all of its ports.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
    """
    arn = _alb._p(params, "TargetGroupArn")
    if arn not in _alb._tgs:
        return _alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
    for each in _alb._parse_targets_param(params):
        deregister(arn, each["Id"], int(each["Port"]) if each.get("Port") else None)
    return _alb._empty("DeregisterTargets")


@mend.replaces(_alb, "_describe_target_health")
def describe_checked_health(_original: Any, params: Any) -> Any:
    """Targets have the health that their checks found.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html
    """
    arn = _alb._p(params, "TargetGroupArn")
    if arn not in _alb._tgs:
        return _alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
    synchronize()
    asked = [(each["Id"], _port(arn, each)) for each in _alb._parse_targets_param(params)]
    listed = asked or [key[1:] for key, _ in _of(arn)]
    members = "".join(_described(_alb._tgs[arn], each[0], each[1], state(arn, each[0], each[1])) for each in listed)
    return _alb._xml(200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>")


def _described(group: dict[str, Any], target_id: str, port: int, health: Health) -> str:
    check_port = port if group["HealthCheckPort"] == "traffic-port" else group["HealthCheckPort"]
    why = health.reason and (f"<Reason>{health.reason}</Reason><Description>{escape(health.description)}</Description>")
    return (
        f"<member><Target><Id>{escape(target_id)}</Id><Port>{port}</Port></Target>"
        f"<HealthCheckPort>{check_port}</HealthCheckPort>"
        f"<TargetHealth><State>{health.state}</State>{why}</TargetHealth></member>"
    )
