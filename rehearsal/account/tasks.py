"""ECS tasks: from their place on an instance, through their containers, to the reason why they stopped.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.images import Image

from rehearsal.account import capacity, containers, execution, images, placement, targets
from rehearsal.account.mending import OK, Mends, ministack
from rehearsal.account.needs import need

_ec2 = ministack("services.ec2")
_ecs = ministack("services.ecs")
_metadata = ministack("services.ecs_metadata")
_reaper = ministack("core.container_reaper")
_responses = ministack("core.responses")
_logger = logging.getLogger("account")
mend = Mends()

Record = dict[str, Any]
Task = Record

_run_task = _ecs._run_task

TRIES_PLACES_EVERY = 0.5

LOG_DELIVERY = 5.0
"""Seconds that the last log lines of a container may take, once it has ended."""

lock = threading.RLock()
"""Held while a task or a service is changed or shown; never while Docker or a target is waited for."""

woken = threading.Event()
"""Set when something happened that the service scheduler has to look at."""

ending = threading.Event()
"""Set when the account ends: nothing is started any more."""


class StartError(Exception):
    """A task can't start; the text is ECS's reason."""


class RefusedError(Exception):
    """RunTask was refused; `answer` is MiniStack's."""

    def __init__(self, answer: tuple[Any, ...]) -> None:
        super().__init__(f"RunTask was refused: {answer}")
        self.answer = answer


class _Running(NamedTuple):
    """Which container of which task a Docker container is, and the thread that delivers its log."""

    task: Task
    container: Record
    definition: Record
    log: threading.Thread | None


_running: dict[str, _Running] = {}
_pulled: dict[tuple[str, str], Image] = {}
"""The images that an instance has, by its ID and what it pulled."""


def own_label() -> str:
    """The label of this account's containers, by its host and port: no two accounts on a Docker engine share it."""
    return f"{_reaper.INSTANCE_LABEL}={_reaper.instance_id()}"


def refused(answer: tuple[Any, ...]) -> bool:
    """Whether an API's answer is a refusal."""
    return bool(answer[0] != OK)


def service(data: Record) -> Record | None:
    """The service that a request names, or None where there is none."""
    cluster = _ecs._resolve_cluster_name(data.get("cluster", "default"))
    name = data.get("serviceName") or (_ecs._resolve_service_ref(data.get("service", "")) or ("",))[0]
    found: Record | None = _ecs._services.get(f"{cluster}/{name}")
    return found


def short_id(task: Task) -> str:
    """A task's ID, as events name it."""
    return str(task["taskArn"].rsplit("/", 1)[-1])


def definition(task_definition: str) -> Record | None:
    """A task definition by its ARN, or by its family with or without a revision."""
    found: Record | None = _ecs._task_defs.get(_ecs._resolve_td_key(task_definition))
    return found


def of_cluster(cluster_arn: str) -> list[Task]:
    """The tasks of a cluster that haven't stopped."""
    return [
        each for each in _ecs._tasks.values() if each["clusterArn"] == cluster_arn and each["lastStatus"] != "STOPPED"
    ]


def launch(data: Record) -> Task | placement.NoRoom:
    """Place one task and begin to start it, by a request as RunTask's.

    Raises:
        RefusedError: the request was wrong.
    """
    return _launch(_run_task, data, queues=False)


def _launch(run_task: Callable[[Record], Any], data: Record, *, queues: bool) -> Task | placement.NoRoom:
    """With `queues`, a task for which there is no room is PROVISIONING until there is."""
    cluster = _ecs._resolve_cluster_name(data.get("cluster", "default"))
    wanted = definition(data.get("taskDefinition", ""))
    with lock:
        place = _place(cluster, wanted, data) if wanted and cluster in _ecs._clusters else None
        if isinstance(place, placement.NoRoom) and not queues:
            return place
        answer = run_task({**data, "count": 1})
        if refused(answer) or wanted is None:
            raise RefusedError(answer)
        task: Task = _ecs._tasks[json.loads(answer[2])["tasks"][0]["taskArn"]]
        takes = need(wanted)
        task.update(
            group=task["group"] or f"family:{wanted['family']}",
            cpu=str(takes.cpu),
            memory=str(takes.memory),
            containerInstanceArn=None,
            stopCode=None,
            stoppedReason=None,
            _targets=[],
            _checked=set(),
            _begun=threading.Event(),
            _waiting=data if isinstance(place, placement.NoRoom) else None,
        )
        if isinstance(place, placement.Placement):
            _put(task, place, wanted)
        return task


def _place(cluster: str, wanted: Record, data: Record) -> placement.Placement | placement.NoRoom | None:
    """A place for a task, or None where it needs none of ours: on Fargate."""
    described = _ecs._clusters[cluster]
    if _capacity(data, described)[0] == "FARGATE":
        return None
    place = placement.place(cluster, wanted, of_cluster(described["clusterArn"]), data.get("placementStrategy") or [])
    if isinstance(place, placement.NoRoom):
        # Its capacity provider's managed scaling may add an instance.
        capacity.wants_room(cluster)
    return place


def _capacity(data: Record, cluster: Record) -> tuple[str, str | None]:
    """The launch type of a request's tasks, and their capacity provider."""
    launch_type, strategy, error = _ecs._launch_choice(data, cluster)
    found: tuple[str, str | None] = ("", None) if error else _ecs._task_capacity(launch_type, strategy)
    return found


def _queues(data: Record) -> bool:
    """Whether tasks wait for room: those of a capacity provider with managed scaling do.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
    """
    cluster = _ecs._clusters.get(_ecs._resolve_cluster_name(data.get("cluster", "default")))
    provider = _ecs._capacity_providers.get(_capacity(data, cluster)[1]) if cluster else None
    scaling = ((provider or {}).get("autoScalingGroupProvider") or {}).get("managedScaling") or {}
    return bool(scaling.get("status") == "ENABLED")


def _await_place(task: Task, wanted: Record) -> bool:
    """Wait until a task has a place. False where it was stopped before."""
    cluster = task["clusterArn"].rpartition("/")[2]
    while True:
        with lock:
            if task["desiredStatus"] == "STOPPED":
                return False
            place = _place(cluster, wanted, task["_waiting"]) if task["_waiting"] else None
            if isinstance(place, placement.Placement):
                _put(task, place, wanted)
            if not isinstance(place, placement.NoRoom):
                task.update(_waiting=None, lastStatus="PENDING")
                return True
        if ending.wait(TRIES_PLACES_EVERY):
            return False


def _put(task: Task, place: placement.Placement, wanted: Record) -> None:
    task["containerInstanceArn"], task["_instance_id"] = place.container_instance_arn, place.instance_id
    task["availabilityZone"] = place.availability_zone
    for container, described in zip(wanted["containerDefinitions"], task["containers"], strict=True):
        described["networkBindings"] = [
            {
                "bindIP": "0.0.0.0",  # noqa: S104 - on an emulated instance
                "containerPort": mapping["containerPort"],
                "hostPort": place.host_ports[mapping["containerPort"]],
                "protocol": mapping.get("protocol", "tcp"),
            }
            for mapping in container.get("portMappings") or []
            if mapping["containerPort"] in place.host_ports
        ]


def stop(task: Task, *, reason: str, code: str) -> bool:
    """Begin to stop a task: its targets drain, then its containers get SIGTERM. False where it was stopping already."""
    with lock:
        if task["desiredStatus"] == "STOPPED":
            return False
        _ecs._bump_task_version(task)
        task.update(desiredStatus="STOPPED", stoppedReason=reason, stopCode=code, stoppingAt=_ecs._iso())
    _metadata.set_task_status(task["taskArn"], desired_status="STOPPED")
    _in_background(_wind_down, task)
    woken.set()
    return True


def forget_older(seconds: float) -> None:
    """Forget tasks that stopped longer ago than this."""
    now = time.monotonic()
    for arn, task in _ecs._tasks.items():
        if task["lastStatus"] == "STOPPED" and now - task.get("_stopped", now) > seconds:
            _ecs._tasks.pop(arn, None)


def _in_background(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    account, region = _responses.get_account_id(), _responses.get_region()

    def run() -> None:
        with _responses.request_scope(account, region):
            work(*arguments)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _start(task: Task, wanted: Record, overrides: list[Record]) -> None:
    try:
        for container, described in zip(wanted["containerDefinitions"], task["containers"], strict=True):
            if task["desiredStatus"] == "STOPPED" or ending.is_set():
                return
            try:
                _start_container(task, wanted, {**container, **_override(overrides, container["name"])}, described)
            except StartError as failure:
                described["reason"] = str(failure)
                raise
    except StartError as failure:
        stop(task, reason=str(failure), code="TaskFailedToStart")
        return
    with lock:
        if task["desiredStatus"] == "STOPPED":
            return
        _register_targets(task)
        _ecs._bump_task_version(task)
        task.update(lastStatus="RUNNING", startedAt=_ecs._iso(), _started=time.monotonic())
    _metadata.set_task_status(task["taskArn"], known_status="RUNNING")
    woken.set()


def _override(overrides: list[Record], name: str) -> Record:
    found = next((each for each in overrides if each.get("name") == name), {})
    return {key: value for key, value in found.items() if key not in ("name", "environment")}


def _start_container(task: Task, wanted: Record, container: Record, described: Record) -> None:
    client = containers.engine()
    try:
        options = containers.docker_options(container, wanted)
    except containers.NotHereError as error:
        raise StartError(f"CannotCreateContainerError: {error}") from error
    who = execution.agent(task, wanted)
    try:
        secret = execution.injected(who, container)
        image = _pull(client, who, task, container, described)
        log = _log_stream(who, container, task)
    except execution.AgentError as error:
        raise StartError(str(error)) from error
    environment = {**options.get("environment", {}), **secret, **_environment_override(task, container["name"])}
    token = _ecs._register_metadata(
        task["taskArn"], task["clusterArn"], wanted, container, task["launchType"], environment,
        options.get("network_mode") == "host", None,
    )  # fmt: skip
    options["environment"] = environment
    options["labels"] = {**options.get("labels", {}), **_labels(task, wanted, container)}
    # Containers reach the account by this name, as those of a real instance reach their agent by a link-local address.
    options.setdefault("extra_hosts", {})["host.docker.internal"] = "host-gateway"
    container_name = f"ecs-{wanted['family']}-{wanted['revision']}-{container['name']}-{secrets.token_hex(8)}"
    try:
        created: Any = client.containers.create(image, name=container_name, **options)
    except (DockerException, OSError) as error:
        raise StartError(f"CannotCreateContainerError: {containers.explanation(error)}") from error
    with lock:
        task.setdefault("_metadata_tokens", []).append(token)
        task["_docker_ids"].append(created.id)
        described["runtimeId"] = created.id
        _running[created.id] = _Running(task, described, container, None)
    try:
        created.start()
    except (DockerException, OSError) as error:
        raise StartError(f"CannotStartContainerError: {containers.explanation(error)}") from error
    if log:
        thread = _in_background(_ecs._forward_awslogs, created, log, _responses.get_account_id(), log["region"])
        with lock:
            _running[created.id] = _running[created.id]._replace(log=thread)
    created.reload()
    networks = created.attrs["NetworkSettings"]["Networks"].values()
    with lock:
        described["_address"] = next((each["IPAddress"] for each in networks if each["IPAddress"]), "127.0.0.1")
        task.setdefault("_container_ip", described["_address"])
        if described["lastStatus"] != "STOPPED":
            described["lastStatus"] = "RUNNING"
    _metadata.set_docker_id(token, created.id)
    _metadata.set_container_status(token, "RUNNING")


def _environment_override(task: Task, name: str) -> dict[str, str]:
    overrides = (task.get("overrides") or {}).get("containerOverrides") or []
    found: Record = next((each for each in overrides if each.get("name") == name), {})
    return {each["name"]: each["value"] for each in found.get("environment") or []}


def _labels(task: Task, wanted: Record, container: Record) -> dict[str, str]:
    return {
        **_reaper.own_labels("ecs"),
        "com.amazonaws.ecs.cluster": task["clusterArn"],
        "com.amazonaws.ecs.container-name": container["name"],
        "com.amazonaws.ecs.task-arn": task["taskArn"],
        "com.amazonaws.ecs.task-definition-family": wanted["family"],
        "com.amazonaws.ecs.task-definition-version": str(wanted["revision"]),
    }


def _pull(client: docker.DockerClient, who: execution.Agent, task: Task, container: Record, described: Record) -> str:
    # All tasks of a deployment run the digest that its tag had first:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
    digests = task.get("_digests", {})
    reference: str = container["image"]
    repository = _ecs._image_repository(reference)
    if container["name"] in digests and "@" not in reference:
        reference = f"{repository}@{digests[container['name']]}"
    task["pullStartedAt"] = task.get("pullStartedAt") or _ecs._iso()
    pulled = (task.get("_instance_id", ""), reference)
    try:
        execution.may_pull(who, repository)
        name, _, tag = reference.partition("@") if "@" in reference else (repository, "", _tag(reference))
        image = client.images.pull(name, tag=tag, auth_config=images.login(name))
        _pulled[pulled] = image
    except (DockerException, OSError, execution.AgentError) as error:
        # The agent's default pull behaviour falls back to an image that the instance has. Docker here has more of them:
        # those of other instances, and what was built here.
        if pulled not in _pulled:
            raise StartError(_cannot_pull(error)) from error
        image = _pulled[pulled]
    task["pullStoppedAt"] = _ecs._iso()
    known = dict(each.split("@") for each in image.attrs["RepoDigests"])
    digest = known.get(repository)
    if digest:
        with lock:
            described["imageDigest"] = digests.setdefault(container["name"], digest)
    return str(image.id)


def _cannot_pull(error: Exception) -> str:
    if isinstance(error, execution.AgentError):
        return str(error)
    return f"CannotPullContainerError: {containers.explanation(error)}"


def _tag(reference: str) -> str:
    last = reference.rsplit("/", 1)[-1]
    return last.partition(":")[2] or "latest"


def _log_stream(who: execution.Agent, container: Record, task: Task) -> Record | None:
    """The log stream that a container writes to; None where it has none, or may not write to it."""
    config: Record | None = _ecs._awslogs_config(container, short_id(task), short_id(task))
    if config is None:
        return None
    config["region"] = config["region"] or _responses.get_region()
    execution.may_log(who, config)
    return config if execution.may_write(who, config) else None


def _register_targets(task: Task) -> None:
    registered = []
    for balancer in task.get("_load_balancers", []):
        arn = balancer.get("targetGroupArn")
        group = targets.group(arn)
        if group is None:
            continue
        container = next(each for each in task["containers"] if each["name"] == balancer["containerName"])
        if group["TargetType"] == "ip":
            target = (container["_address"], balancer["containerPort"])
        else:
            ports = {each["containerPort"]: each["hostPort"] for each in container["networkBindings"]}
            target = (task["_instance_id"], ports[balancer["containerPort"]])
        targets.register(arn, *target)
        registered.append((arn, *target))
    task["_targets"] = registered


def _wind_down(task: Task) -> None:
    # A task that is told to stop while it starts stops when it has started: only then is it known what to stop.
    task["_begun"].wait()
    ids = list(task["_docker_ids"])
    for target in task["_targets"]:
        targets.deregister(*target)
    delay = max((targets.deregistration_delay(arn) for arn, _, _ in task["_targets"]), default=0.0)
    if delay and not _host_gone(task):
        task["lastStatus"] = "DEACTIVATING"
        _wait_while(lambda: any(_running[each].container["lastStatus"] != "STOPPED" for each in ids), delay)
    task["lastStatus"] = "STOPPING"
    for each in [_in_background(_stop_container, each) for each in ids]:
        each.join()
    for token in task.get("_metadata_tokens", []):
        _metadata.unregister_token(token)
    with lock:
        for each in task["containers"]:
            each["lastStatus"] = "STOPPED"
        _ecs._bump_task_version(task)
        now = _ecs._iso()
        task.update(
            lastStatus="STOPPED", executionStoppedAt=now, stoppedAt=now, _stopped=time.monotonic(), _docker_ids=[]
        )
        for each in ids:
            _running.pop(each, None)
    woken.set()


def _host_gone(task: Task) -> bool:
    # A terminated instance takes its containers along, without telling them.
    instance = _ec2._instances.get(task.get("_instance_id"))
    return instance is not None and instance["State"]["Name"] != "running"


def _wait_while(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and condition() and not ending.wait(0.1):
        pass


def _stop_container(container_id: str) -> None:
    running = _running[container_id]
    client = containers.engine()
    try:
        if _host_gone(running.task):
            client.api.kill(container_id)
        client.api.stop(container_id, timeout=containers.stop_timeout(running.definition))
        _note_exit(client, container_id)
    except (DockerException, OSError):
        _note_exit(client, container_id)
    if running.log:
        running.log.join(LOG_DELIVERY)
    containers.remove(container_id)


def _note_exit(client: docker.DockerClient, container_id: str) -> None:
    try:
        state = client.api.inspect_container(container_id)["State"]
    except NotFound:
        state = {"Running": False, "ExitCode": 137}
    except (APIError, OSError):
        return
    if state.get("Running") or state.get("Status") == "created":
        return
    running = _running[container_id]
    with lock:
        running.container.update(lastStatus="STOPPED", exitCode=state["ExitCode"])
        if reason := containers.exit_reason(state):
            running.container.setdefault("reason", reason)
    if running.definition.get("essential", True):
        stop(running.task, reason="Essential container in task exited", code="EssentialContainerExited")


def _note_health(client: docker.DockerClient, container_id: str) -> None:
    running = _running[container_id]
    if not running.definition.get("healthCheck"):
        return
    status = containers.health_status(client.api.inspect_container(container_id)["State"])
    with lock:
        running.container["healthStatus"] = status
        known = {each["healthStatus"] for each in running.task["containers"]}
        running.task["healthStatus"] = "UNHEALTHY" if "UNHEALTHY" in known else status
    woken.set()


def _follow_docker() -> None:
    """Note containers that end, and their health, from Docker's events, for as long as the account lives."""
    filters = {"type": "container", "label": [own_label()], "event": ["die", "health_status"]}
    while not ending.is_set():
        try:
            client = containers.engine()
            events = client.events(decode=True, filters=filters)
            for container_id in list(_running):
                _scoped(_note_exit, client, container_id)
            for event in events:
                work = _note_exit if event["Action"] == "die" else _note_health
                if event["id"] in _running:
                    _scoped(work, client, event["id"])
        except (DockerException, OSError):
            _logger.exception("Docker's events broke off")
            ending.wait(1)


def _scoped(work: Callable[..., None], client: docker.DockerClient, container_id: str) -> None:
    running = _running.get(container_id)
    if running is None:
        return
    _, _, _, region, account, _ = running.task["taskArn"].split(":", 5)
    with _responses.request_scope(account, region):
        try:
            work(client, container_id)
        except (DockerException, OSError, KeyError):
            _logger.debug("container %s went away", container_id)


@mend.afterwards
def follow_docker() -> None:
    """Follow Docker's events from now on."""
    threading.Thread(target=_follow_docker, daemon=True).start()


@mend.replaces(_ecs, "_run_task_worker")
def start_as_defined(  # noqa: PLR0917 - MiniStack calls it so
    _original: Any,
    task: Any,
    td: Any,
    container_overrides: Any,
    docker_client: Any,  # noqa: ARG001 - MiniStack's own has too short a timeout
    account_id: Any,
    region: Any,
) -> None:
    """A task's containers get all that its task definition says, and its failures have ECS's reasons.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
    """
    with _responses.request_scope(account_id, region):
        try:
            if _await_place(task, td):
                _start(task, td, container_overrides)
        except Exception as error:
            _logger.exception("a task's start failed")
            stop(task, reason=f"Task failed to start: {error}", code="TaskFailedToStart")
        finally:
            task["_begun"].set()


@mend.replaces(_ecs, "_run_task")
def run_on_instances(original: Any, data: Any) -> Any:
    """RunTask places each task on a container instance, or says in `failures` why none takes it.

    Overrides are for containers that the task definition has, and tags are its own and those that are asked for.
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
    """
    if why := _unusable(data):
        return _responses.error_response_json("InvalidParameterException", why, 400)
    data = {**data, "tags": _tags(data)}
    started: list[Task] = []
    failures = []
    for _ in range(int(data.get("count", 1))):
        try:
            task = _launch(original, data, queues=_queues(data))
        except RefusedError as refused:
            return refused.answer
        if isinstance(task, placement.NoRoom):
            failures.append({"reason": task.reason, "detail": task.message})
        else:
            started.append(task)
    return _responses.json_response({"tasks": [_ecs._sanitize(each) for each in started], "failures": failures})


def _unusable(data: Record) -> str | None:
    wanted = definition(data.get("taskDefinition", ""))
    known = [each["name"] for each in wanted["containerDefinitions"]] if wanted else []
    for override in (data.get("overrides") or {}).get("containerOverrides") or []:
        if wanted and override.get("name") not in known:
            return f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
    if data.get("propagateTags") == "SERVICE":
        return "The value SERVICE of propagateTags is for the tasks of services."
    return None


def _tags(data: Record) -> list[dict[str, str]]:
    """The tags of a task of its own: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html"""
    tags = {each["key"]: each["value"] for each in data.get("tags") or []}
    wanted = definition(data.get("taskDefinition", ""))
    if data.get("propagateTags") == "TASK_DEFINITION" and wanted:
        own = {each["key"]: each["value"] for each in _ecs._tags.get(wanted["taskDefinitionArn"]) or []}
        tags = own | tags
    if data.get("enableECSManagedTags"):
        tags["aws:ecs:clusterName"] = data.get("cluster", "default").rpartition("/")[2]
    return [{"key": key, "value": value} for key, value in tags.items()]


@mend.replaces(_ecs, "_stop_task")
def stop_in_order(_original: Any, data: Any) -> Any:
    """StopTask answers at once; the task's targets drain first, then its containers have their stop timeout.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html
    """
    cluster = _ecs._resolve_cluster_name(data.get("cluster", "default"))
    if cluster is None or cluster not in _ecs._clusters:
        return _responses.error_response_json("ClusterNotFoundException", "Cluster not found.", 400)
    task = _ecs._resolve_task(data.get("task", ""), cluster)
    if not task:
        return _responses.error_response_json("InvalidParameterException", "The referenced task was not found.", 400)
    stop(task, reason=data.get("reason") or "Task stopped by user", code="UserInitiated")
    return _responses.json_response({"task": _ecs._sanitize(task)})


@mend.replaces(_ecs, "_maybe_mark_stopped")
def exits_come_as_events(_original: Any, task: Any, docker_client: Any = None) -> None:
    """A container's end is noted when Docker tells of it, not when somebody asks for the task."""


@mend.replaces(_ecs, "_list_tasks")
def list_of_instance(original: Any, data: Any) -> Any:
    """ListTasks can be asked for the tasks of one container instance; who started tasks is a filter for itself.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
    """
    if data.get("startedBy") and any(data.get(each) for each in ("family", "serviceName", "containerInstance")):
        message = "When you specify startedBy as the filter, it must be the only filter that you use."
        return _responses.error_response_json("InvalidParameterException", message, 400)
    answer = original(data)
    wanted = data.get("containerInstance")
    if not wanted or refused(answer):
        return answer
    found = json.loads(answer[2])
    on_it = [each for each in found["taskArns"] if _ecs._tasks[each]["containerInstanceArn"].endswith(wanted)]
    return _responses.json_response({**found, "taskArns": on_it})


@mend.replaces(_ecs, "_execute_command")
def no_agent_to_connect_to(_original: Any, data: Any) -> Any:
    """ExecuteCommand has nothing to connect to here, and says so as AWS does where the agent doesn't answer.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html
    """
    cluster = _ecs._resolve_cluster_name(data.get("cluster", "default"))
    task = _ecs._resolve_task(data.get("task", ""), cluster)
    if not task or task["lastStatus"] == "STOPPED":
        return _responses.error_response_json("InvalidParameterException", "The referenced task was not found.", 400)
    if not task.get("enableExecuteCommand"):
        return _responses.error_response_json(
            "InvalidParameterException",
            "The execute command failed because execute command was not enabled when the task was run or the execute "
            "command agent isn't running. Wait and try again or run a new task with execute command enabled and try "
            "again.",
            400,
        )
    return _responses.error_response_json(
        "TargetNotConnectedException", "The execute command failed because the target is not connected.", 400
    )
