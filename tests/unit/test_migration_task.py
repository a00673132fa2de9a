"""Running a migration: when it is due, how each of its ends is told, and what is gathered of a failure."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.migration_task import STOP_TIMEOUT, MigrationRun, serves_on
from tests.unit.fake_ecs import NEW, OLD, deployment
from tests.unit.fake_migration import ENDED_WELL, JOB, FakeEcs, migration

NO_MEMORY = {"reason": "RESOURCE:MEMORY", "detail": "1024 MiB are left"}


def begun(ecs: FakeEcs, *, timeout: float = 600) -> MigrationRun:
    return MigrationRun(ecs=ecs, logs=ecs.logs_client(), job=JOB, timeout=timeout, clock=ecs.clock)


def ended(**changes: Any) -> dict[str, Any]:
    return {**ENDED_WELL, "stoppedReason": "Essential container in task exited", **changes}


def failed(ecs: FakeEcs, **options: Any) -> MigrationRun:
    """One that was looked at until it failed."""
    run = begun(ecs, **options)
    while run.look() == "running":
        ecs.now += 1
    assert run.reason
    return run


def test_a_new_task_definition_is_due() -> None:
    assert begun(FakeEcs()).is_due()


def test_a_first_deployment_is_due() -> None:
    assert begun(FakeEcs(current=None)).is_due(), "there is no service yet"


def test_one_that_the_service_has_is_not() -> None:
    ecs = FakeEcs(current=[OLD, NEW], refused=("ListServiceDeployments",))
    assert not begun(ecs).is_due(), "ECS need not be asked for its history"


@pytest.mark.parametrize("history", [[NEW], [OLD, OLD, OLD, NEW, OLD]])
def test_one_that_ecs_has_gone_back_from_is_not(history: list[str]) -> None:
    assert not begun(FakeEcs(history=history)).is_due(), "it migrated well, or it had not been deployed"


def test_one_that_has_no_deployments_since_it_was_registered_is_due() -> None:
    assert begun(FakeEcs(history=[])).is_due()


def test_without_a_history_it_is_due_and_says_so() -> None:
    run = begun(FakeEcs(refused=("ListServiceDeployments",)))
    assert run.is_due()
    assert "no ListServiceDeployments" in run.doubt


def test_it_runs_the_command_in_the_task_definition_as_it_is() -> None:
    ecs = FakeEcs()
    begun(ecs).look()
    assert ecs.ran == [
        {
            "cluster": "cluster",
            "taskDefinition": NEW,
            "capacityProviderStrategy": [{"capacityProvider": "capacity", "weight": 1}],
            "overrides": {"containerOverrides": [{"name": "backend", "command": ["migrate", "--all"]}]},
            "startedBy": "migration",
            "enableECSManagedTags": True,
            "propagateTags": "TASK_DEFINITION",
        }
    ]


def test_it_is_complete_when_its_task_ended_with_0() -> None:
    states: list[dict[str, Any]] = [{"lastStatus": each} for each in ("PROVISIONING", "PENDING", "RUNNING", "STOPPING")]
    ecs = FakeEcs(states=[{}, *states, ENDED_WELL])
    run = begun(ecs)
    told = []
    while (state := run.look()) == "running":
        told.append(run.progress)
    assert (state, len(ecs.ran)) == ("completed", 1)
    assert told == [
        "its task starts",
        "its task starts",
        "its task waits for an instance with room",
        "its task starts",
        "its task runs",
        "its task stops",
    ]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (ended(containers=[{"exitCode": 3}]), "its command ended with exit code 3"),
        (ended(stopCode="TaskFailedToStart", containers=[{}]), "its task could not start"),
        (ended(stopCode="TaskFailedToStart", containers=[]), "its task could not start"),
        (ended(stopCode="UserInitiated"), "its task was stopped before it had ended"),
        (
            ended(stopCode="SpotInterruption", containers=[{"exitCode": 143}]),
            "its task was stopped before it had ended",
        ),
    ],
)
def test_any_other_end_is_a_failure(task: dict[str, Any], reason: str) -> None:
    assert failed(FakeEcs(states=[task])).reason == reason


def test_a_command_that_the_image_has_not_is_named_as_the_cause() -> None:
    reason = 'CannotStartContainerError: exec: "migrat": executable file not found in $PATH'
    task = ended(stopCode="TaskFailedToStart", stoppedReason=reason, containers=[])
    assert "migration.command fits the image" in failed(FakeEcs(states=[task])).report().what_to_do
    other = ended(stopCode="TaskFailedToStart", stoppedReason="CannotPullContainerError: no", containers=[])
    assert failed(FakeEcs(states=[other])).report().what_to_do == "", "the report has its own advice for that"


def test_the_report_has_how_the_task_ended_and_what_serves_on() -> None:
    task = ended(containers=[{"exitCode": 1, "reason": "OutOfMemoryError: killed"}])
    report = failed(FakeEcs(states=[task], logs={"new": ["one", "two"]})).report()
    assert (report.task_definition, report.serving) == ("backend:2", "1 task(s) of backend:1 serve on")
    assert report.task is not None
    assert (report.task.id, report.task.exit_code, report.task.container_reason) == (
        "new",
        1,
        "OutOfMemoryError: killed",
    )
    assert report.task.log_lines == ["one", "two"]


def test_a_first_one_has_nothing_that_serves_on() -> None:
    report = failed(FakeEcs(current=None, states=[ended(stopCode="UserInitiated")])).report()
    assert report.serving == "no task of the service runs"
    assert report.what_to_do == "see by ECS's reason above who stopped it"


def test_services_that_serve_are_all_named() -> None:
    one, other = (deployment("ecs-svc/1", each) for each in (OLD, NEW))
    idle = deployment("ecs-svc/3", NEW, runningCount=0)
    assert serves_on([{"deployments": [one, idle]}, {"deployments": [other]}]) == (
        "1 task(s) of backend:1, 1 task(s) of backend:2 serve on"
    )
    assert serves_on([{"deployments": [idle]}]) == "no task of the service runs"


def test_one_that_takes_too_long_is_stopped_and_then_told_of() -> None:
    stopped = ended(stopCode="UserInitiated", containers=[{"exitCode": 0}])
    ecs = FakeEcs(states=[{"lastStatus": "RUNNING"}, {"lastStatus": "RUNNING"}, {"lastStatus": "STOPPING"}, stopped])
    run = begun(ecs, timeout=60)
    run.look()
    ecs.now = 60
    assert (run.look(), ecs.stopped) == ("running", []), "the last second counts"
    ecs.now = 61
    assert (run.look(), ecs.stopped) == ("running", ["task/new"])
    assert [run.look(), run.look()] == ["running", "failed"], "its end is waited for"
    assert ecs.stopped == ["task/new"], "it is told once"
    assert run.reason == "it had not ended after 60 s (migration.timeout), and was stopped"
    assert "raise migration.timeout" in run.report().what_to_do


def test_one_that_ends_well_just_then_is_complete() -> None:
    ecs = FakeEcs(states=[{"lastStatus": "RUNNING"}, ENDED_WELL])
    run = begun(ecs, timeout=60)
    run.look()
    ecs.now = 61
    assert [run.look(), run.look()] == ["running", "completed"]


def test_one_that_found_no_room_says_so() -> None:
    ecs = FakeEcs(states=[{"lastStatus": "PROVISIONING"}] * 70 + [ended(stopCode="UserInitiated", containers=[{}])])
    run = failed(ecs, timeout=60)
    assert run.reason == "no instance had room for its task within 60 s (migration.timeout)"
    assert "raise capacity.max" in run.report().what_to_do


def test_one_that_does_not_stop_is_not_waited_for_without_an_end() -> None:
    ecs = FakeEcs(states=[{"lastStatus": "RUNNING"}])
    run = failed(ecs, timeout=60)
    assert run.reason.endswith("and was stopped; it was told to stop, and had not after 180 s")
    assert 60 + STOP_TIMEOUT < ecs.now < 65 + STOP_TIMEOUT
    assert run.report().task is None


def test_a_refusal_for_want_of_room_is_tried_again() -> None:
    ecs = FakeEcs(failures=[NO_MEMORY, {"reason": "AGENT"}])
    run = begun(ecs)
    assert (run.look(), run.progress) == ("running", "no instance takes its task: RESOURCE:MEMORY 1024 MiB are left")
    assert (run.look(), run.progress) == ("running", "no instance takes its task: AGENT")
    assert [run.look(), run.look()] == ["running", "completed"]


def test_room_is_not_waited_for_without_an_end() -> None:
    run = failed(FakeEcs(failures=[NO_MEMORY] * 100), timeout=60)
    assert run.reason == (
        "no instance takes its task: RESOURCE:MEMORY 1024 MiB are left; "
        "nothing had changed after 60 s (migration.timeout)"
    )
    assert "raise capacity.max" in run.report().what_to_do


def test_another_refusal_is_no_use_to_wait_for() -> None:
    ecs = FakeEcs(failures=[{"reason": "MISSING"}])
    assert failed(ecs).reason == "no instance takes its task: MISSING"
    assert ecs.now == 0


def test_the_task_of_an_update_that_was_killed_is_taken_over() -> None:
    ecs = FakeEcs(tasks=[migration("a", lastStatus="STOPPED", desiredStatus="STOPPED"), migration("b")])
    run = begun(ecs)
    assert (run.look(), run.progress) == ("running", "its task runs already")
    ecs.tasks[1].update(ENDED_WELL)
    assert (run.look(), ecs.ran) == ("completed", [])


@pytest.mark.parametrize(
    "other",
    [
        migration("a", task_definition=OLD),
        migration("a", overrides={"containerOverrides": [{"name": "backend", "command": ["else"]}]}),
        migration("a", desiredStatus="STOPPED", lastStatus="STOPPING"),
    ],
)
def test_the_end_of_another_is_waited_for(other: dict[str, Any]) -> None:
    ecs = FakeEcs(tasks=[other])
    run = begun(ecs)
    assert (run.look(), ecs.ran) == ("running", [])
    assert "has to end first" in run.progress
    other.update(lastStatus="STOPPED", desiredStatus="STOPPED")
    assert [run.look(), run.look()] == ["running", "completed"]
    assert len(ecs.ran) == 1


def test_the_end_of_another_is_not_waited_for_without_an_end() -> None:
    run = failed(FakeEcs(tasks=[migration("a", task_definition=OLD)]), timeout=60)
    assert (
        run.reason == "the migration of backend:1 has to end first; nothing had changed after 60 s (migration.timeout)"
    )
    assert run.report().what_to_do.endswith(f"--cluster cluster --task {migration('a')['taskArn']}")


def test_tasks_of_the_service_are_none_of_its_business() -> None:
    ecs = FakeEcs(tasks=[migration(each, startedBy="ecs-svc/1") for each in "abc"])
    begun(ecs).look()
    assert len(ecs.ran) == 1


def test_it_is_found_on_any_page() -> None:
    others = [migration(each, startedBy="ecs-svc/1") for each in "abc"]
    ecs = FakeEcs(tasks=[*others, migration("d")])
    run = begun(ecs)
    run.look()
    assert run.progress == "its task runs already"


@pytest.mark.parametrize("call", ["ListServices", "DescribeServices"])
def test_whether_it_is_due_must_be_known(call: str) -> None:
    with pytest.raises(ClientError, match=f"no {call}"):
        begun(FakeEcs(refused=(call,))).is_due()


@pytest.mark.parametrize("call", ["ListTasks", "RunTask"])
def test_what_aws_refuses_passes_through(call: str) -> None:
    tasks = [migration("a", startedBy="ecs-svc/1")]
    with pytest.raises(ClientError, match=f"no {call}"):
        begun(FakeEcs(tasks=tasks, refused=(call,))).look()
