"""Watching a deployment: how each of its ends is told, and what is gathered of a failure."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.deployment import (
    APPEARANCE_TIMEOUT,
    LOG_LINES,
    TASKS_IN_REPORT,
    DeploymentWatch,
    newest_deployment,
    progress_of,
    serving,
    told,
    why_gone,
)
from components.failure_report import UnhealthyTarget
from tests.unit.fake_ecs import NEW, OLD, TARGET, FakeAccount, deployment, stopped

BEFORE = deployment("ecs-svc/1", OLD, "COMPLETED", status="ACTIVE")


def watch(account: FakeAccount, *, timeout: float = 900) -> DeploymentWatch:
    return DeploymentWatch(clients=account.clients(), target=TARGET, timeout=timeout, clock=account.clock)


def test_a_deployment_runs_until_it_is_completed() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE], [deployment("ecs-svc/2", NEW, "COMPLETED")]])
    seen = watch(account)
    assert [seen.look(), seen.look()] == ["running", "completed"]
    assert seen.deployment_id == "ecs-svc/2"


def test_one_that_is_complete_already_is_completed_at_once() -> None:
    assert watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW, "COMPLETED")]])).look() == "completed"


def test_where_ecs_tells_no_state_the_deployment_is_complete() -> None:
    assert watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW, None)]])).look() == "completed"


def test_one_that_ecs_gives_up_failed_for_its_reason() -> None:
    failed = deployment("ecs-svc/2", NEW, "FAILED", rolloutStateReason="tasks failed to start.")
    seen = watch(FakeAccount(states=[[failed]]))
    assert seen.look() == "failed"
    assert seen.reason == "tasks failed to start."


def test_one_that_ecs_gives_up_without_a_reason_failed_too() -> None:
    seen = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW, "FAILED")]]))
    assert (seen.look(), seen.reason) == ("failed", "ECS gave the deployment up")


def test_a_rollback_is_no_success_though_the_service_is_steady() -> None:
    back = deployment("ecs-svc/3", OLD, "COMPLETED")
    seen = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE], [back]]))
    assert [seen.look(), seen.look()] == ["running", "failed"]
    assert seen.reason == "ECS has gone back from it; the service is at backend:1"


def test_a_rollback_under_the_old_deployments_id_is_no_success_either() -> None:
    back = deployment("ecs-svc/1", OLD, "COMPLETED")
    seen = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE], [back]]))
    assert [seen.look(), seen.look()] == ["running", "failed"]


def test_one_that_another_of_the_same_revision_replaced_is_told_from_a_rollback() -> None:
    other = deployment("ecs-svc/3", NEW, "COMPLETED")
    seen = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW)], [other]]))
    assert [seen.look(), seen.look()] == ["running", "failed"]
    assert seen.reason == "another deployment of the same task definition has taken its place"


def test_one_that_takes_too_long_failed() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]])
    seen = watch(account, timeout=60)
    account.now = 60
    assert seen.look() == "running", "the last second counts"
    account.now = 61
    assert seen.look() == "failed"
    assert seen.reason == "it was not complete after 60 s (service.deploymentTimeout)"


def test_one_that_is_complete_in_the_end_is_no_timeout() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW, "COMPLETED")]])
    seen = watch(account, timeout=60)
    account.now = 100
    assert seen.look() == "completed"


def test_one_that_does_not_show_yet_is_waited_for() -> None:
    account = FakeAccount(states=[[BEFORE], [deployment("ecs-svc/2", NEW), BEFORE]])
    seen = watch(account)
    assert [seen.look(), seen.look()] == ["running", "running"]
    assert seen.deployment_id == "ecs-svc/2"


def test_only_the_primary_deployment_counts_as_completed() -> None:
    changed = [
        deployment("ecs-svc/2", OLD, "IN_PROGRESS"),
        {**deployment("ecs-svc/1", NEW, "COMPLETED"), "status": "ACTIVE"},
    ]
    seen = watch(FakeAccount(states=[changed]))
    assert seen.look() == "failed", "what drains serves no more, though it was complete once"
    assert seen.reason == "ECS has gone back from it; the service is at backend:1"


def test_one_that_never_shows_failed_before() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/1", OLD, "COMPLETED")]])
    seen = watch(account)
    assert seen.look() == "running"
    account.now = APPEARANCE_TIMEOUT
    assert seen.look() == "failed"
    assert seen.reason == (
        "the service is at backend:1; the state has backend:2, which it never got, or from which ECS went back, or "
        "which somebody changed"
    )
    assert seen.report().try_again == "pulumi up --refresh", "the state must be told that ECS has gone back"


def test_a_first_deployment_that_failed_has_nothing_to_go_back_to() -> None:
    failed = deployment("ecs-svc/2", NEW, "FAILED", runningCount=0)
    seen = watch(FakeAccount(states=[[failed]]))
    assert seen.look() == "failed"
    assert seen.has_gone_back(), "or the report would wait for a rollback that never comes"
    assert seen.report().serving == "nothing: no task of the service runs"


def test_ecs_has_gone_back_once_the_old_one_is_complete() -> None:
    going = deployment("ecs-svc/3", OLD, "IN_PROGRESS")
    account = FakeAccount(
        states=[
            [deployment("ecs-svc/2", NEW, "FAILED", status="ACTIVE"), going],
            [going],
            [deployment("ecs-svc/3", OLD, "COMPLETED")],
        ]
    )
    seen = watch(account)
    assert seen.look() == "failed"
    assert [seen.has_gone_back(), seen.has_gone_back()] == [False, True]


def test_a_service_without_deployments_has_nothing_to_go_back_to() -> None:
    assert watch(FakeAccount(states=[[]])).has_gone_back()


def test_progress_says_how_many_tasks_there_are() -> None:
    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW, runningCount=1, desiredCount=3, pendingCount=2, failedTasks=1)]]
    )
    seen = watch(account)
    seen.look()
    assert seen.progress == "1 of 3 tasks run, 2 start, 1 failed"


def test_progress_leaves_out_what_there_is_none_of() -> None:
    assert progress_of({"runningCount": 1, "desiredCount": 1, "pendingCount": 0}) == "1 of 1 tasks run"


def test_stopped_tasks_are_remembered_when_ecs_forgets_them() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE]], stopped_tasks=[stopped("a")])
    seen = watch(account)
    seen.look()
    account.stopped_tasks = []
    assert [task.id for task in seen.report().stopped_tasks] == ["a"]


def test_tasks_that_stopped_after_the_last_look_are_told_of_too() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE]])
    seen = watch(account)
    seen.look()
    account.stopped_tasks = [stopped("late")]
    assert [task.id for task in seen.report().stopped_tasks] == ["late"]


def test_tasks_of_another_revision_are_not_told_of() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], stopped_tasks=[stopped("a", task_definition=OLD)])
    assert watch(account).report().stopped_tasks == []


def test_tasks_that_are_still_stopping_are_looked_at_again() -> None:
    stopping = {**stopped("a"), "lastStatus": "STOPPING", "containers": [{}]}
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], stopped_tasks=[stopping])
    seen = watch(account)
    seen.look()
    account.stopped_tasks = [stopped("a", containers=[{"exitCode": 137}])]
    assert [task.exit_code for task in seen.report().stopped_tasks] == [137]


def test_the_newest_tasks_are_told_of_and_the_others_counted() -> None:
    tasks = [stopped(f"t{at}", at=at) for at in range(TASKS_IN_REPORT + 2)]
    report = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], stopped_tasks=tasks)).report()
    assert [task.id for task in report.stopped_tasks] == [f"t{at}" for at in range(TASKS_IN_REPORT + 1, 1, -1)]
    assert report.stopped_count == TASKS_IN_REPORT + 2


def test_more_stopped_tasks_than_ecs_describes_at_once_are_no_error() -> None:
    tasks = [stopped(f"t{n}") for n in range(150)]
    seen = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], stopped_tasks=tasks))
    seen.look()
    assert seen.report().stopped_count == 150


def test_each_task_brings_its_reasons_and_its_last_log_lines() -> None:
    task = stopped("a", stoppedReason="it ended", containers=[{"exitCode": 137, "reason": "OutOfMemoryError: killed"}])
    lines = [f"line {n}" for n in range(40)]
    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW)]], stopped_tasks=[task], logs={"backend/backend/a": lines}
    )
    (told,) = watch(account).report().stopped_tasks
    assert (told.reason, told.exit_code, told.container_reason) == ("it ended", 137, "OutOfMemoryError: killed")
    assert told.log_lines == lines[-LOG_LINES:]


def test_a_task_that_never_logged_has_no_lines() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], stopped_tasks=[stopped("a")])
    (told,) = watch(account).report().stopped_tasks
    assert told.log_lines == []


def test_a_task_that_never_had_a_container_is_told_of() -> None:
    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW)]],
        stopped_tasks=[stopped("a", containers=[], stoppedReason="ResourceInitializationError: no secret")],
    )
    (told,) = watch(account).report().stopped_tasks
    assert (told.exit_code, told.container_reason) == (None, "")


@pytest.mark.parametrize("call", ["ListTasks", "GetLogEvents", "DescribeTargetHealth", "DescribeScalingActivities"])
def test_what_aws_refuses_to_say_of_the_causes_is_named_and_the_rest_is_told(call: str) -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW, "FAILED")]], stopped_tasks=[stopped("a")])
    seen = watch(account)
    seen.look()
    account.refused = (call,)
    report = seen.report()
    assert [task.id for task in report.stopped_tasks] == ["a"]
    assert report.reason == "ECS gave the deployment up"
    (unread,) = report.unread
    assert f"no {call}" in unread


def test_what_aws_refuses_to_say_of_the_deployment_itself_passes_through() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], refused=("DescribeServices",))
    with pytest.raises(ClientError, match="no DescribeServices"):
        watch(account).look()


def test_a_service_that_is_not_known_yet_is_waited_for() -> None:
    class NotYet(FakeAccount):
        def describe_services(self, **_: object) -> dict[str, list[str]]:
            return {"services": []}

    assert watch(NotYet(states=[[]])).look() == "running"


def test_tasks_that_wait_for_an_instance_are_counted() -> None:
    def running(task_id: str, status: str, task_definition: str = NEW) -> dict[str, object]:
        return stopped(task_id, task_definition=task_definition, lastStatus=status)

    tasks = [running("a", "PROVISIONING"), running("b", "RUNNING"), running("c", "PROVISIONING", OLD)]
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], running_tasks=tasks)
    assert watch(account).report().waiting_tasks == 1


def test_why_instances_could_not_be_launched_is_told_once_each() -> None:
    def activity(status: str, message: str) -> dict[str, str]:
        return {"StatusCode": status, "StatusMessage": message}

    activities = [
        activity("Failed", "no capacity"),
        activity("Successful", "fine"),
        activity("Failed", "no capacity"),
        {"StatusCode": "Failed"},
        activity("Failed", "a quota"),
        activity("Failed", "older"),
    ]
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], activities=activities)
    assert watch(account).report().failed_launches == ["no capacity", "a quota"]


def test_a_deployment_that_still_stands_is_tried_again_through_ecs() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW, "FAILED")]])
    assert watch(account).report().try_again == (
        "aws ecs update-service --cluster cluster --service backend --force-new-deployment"
    )


def test_unhealthy_targets_are_told_of_and_healthy_ones_are_not() -> None:
    def target(id_: str, state: str) -> dict[str, object]:
        health = {"State": state, "Reason": "Target.Timeout", "Description": "Request timed out"}
        return {"Target": {"Id": id_, "Port": 32768}, "TargetHealth": health}

    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW)]], targets=[target("i-1", "healthy"), target("i-2", "unhealthy")]
    )
    assert watch(account).report().unhealthy_targets == [
        UnhealthyTarget(id="i-2:32768", reason="Target.Timeout", description="Request timed out")
    ]


def test_the_newest_events_are_told_of() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW)]], events=[f"event {n}" for n in range(9)])
    assert watch(account).report().events == [f"event {n}" for n in range(5)]


def test_the_report_names_the_deployment_its_revision_and_what_serves() -> None:
    seen = watch(FakeAccount(states=[[deployment("ecs-svc/2", NEW, "FAILED", runningCount=0), BEFORE]]))
    seen.look()
    report = seen.report()
    assert (report.service, report.deployment, report.task_definition) == ("backend", "ecs-svc/2", "backend:2")
    assert report.serving == "1 task(s) of backend:1"


def test_the_newest_deployment_of_a_revision_is_the_primary_one() -> None:
    older = deployment("ecs-svc/1", NEW, status="ACTIVE", createdAt="2026-01-02")
    assert newest_deployment([older, deployment("ecs-svc/2", NEW, createdAt="2026-01-01")], NEW) == "ecs-svc/2"


def test_of_those_that_are_not_primary_the_newest_by_time_counts() -> None:
    first, second = (deployment(f"ecs-svc/{n}", NEW, status="ACTIVE", createdAt=f"2026-01-0{n}") for n in (1, 2))
    assert newest_deployment([first, second], NEW) == "ecs-svc/2"


def test_there_may_be_no_deployment_of_a_revision() -> None:
    assert newest_deployment([BEFORE], NEW) == ""


def test_a_service_without_deployments_is_said_to_have_none() -> None:
    assert why_gone({"deployments": []}, NEW, was_seen=True).endswith("the service has no deployment")


def test_all_revisions_that_serve_are_named() -> None:
    both = [deployment("ecs-svc/2", NEW, runningCount=2), BEFORE]
    assert serving({"deployments": both}) == "2 task(s) of backend:2, 1 task(s) of backend:1"


def late(account: FakeAccount) -> DeploymentWatch:
    """A watch of a deployment whose time is over."""
    seen = watch(account, timeout=60)
    account.now = 61
    assert seen.look() == "failed"
    return seen


ONGOING = {"serviceDeploymentArn": "arn:new", "status": "IN_PROGRESS", "sourceServiceRevisions": [{"arn": "revision"}]}
LATE = "it was not complete after 60 s (service.deploymentTimeout); "


def test_a_deployment_whose_time_is_over_goes_back_where_the_breaker_would() -> None:
    back = deployment("ecs-svc/3", OLD, "IN_PROGRESS")
    going = [deployment("ecs-svc/2", NEW, "FAILED", status="ACTIVE"), back]
    account = FakeAccount(
        states=[
            [deployment("ecs-svc/2", NEW), BEFORE],
            [deployment("ecs-svc/2", NEW), BEFORE],
            [deployment("ecs-svc/2", NEW), BEFORE],
            going,
            [deployment("ecs-svc/3", OLD, "COMPLETED")],
        ],
        breaker=True,
        history=[
            {"serviceDeploymentArn": "arn:new", "status": "IN_PROGRESS", "sourceServiceRevisions": [{"arn": "r"}]}
        ],
    )
    seen = late(account)
    seen.end_trying()
    assert account.stopped_deployments == [("arn:new", "ROLLBACK")]
    assert seen.reason == LATE + "ECS was told to go back"
    assert [seen.has_gone_back(), seen.has_gone_back(), seen.has_gone_back()] == [False, False, True], (
        "ECS takes a while"
    )


def test_a_first_deployment_whose_time_is_over_is_left_to_ecs() -> None:
    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW)]],
        breaker=True,
        history=[{**ONGOING, "sourceServiceRevisions": []}],
    )
    seen = late(account)
    seen.end_trying()
    assert account.stopped_deployments == []
    assert seen.reason == LATE + "it is the service's first, with nothing to go back to, so ECS goes on trying"
    assert seen.has_gone_back(), "there is nothing to wait for"


def test_without_a_circuit_breaker_ecs_goes_on_trying() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE]])
    seen = late(account)
    seen.end_trying()
    assert (account.stopped_deployments, seen.reason) == ([], LATE + "ECS goes on trying")


def test_what_has_ended_meanwhile_is_not_stopped() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW), BEFORE]], breaker=True)
    seen = late(account)
    seen.end_trying()
    assert (account.stopped_deployments, seen.reason) == ([], LATE + "ECS ended it then")


@pytest.mark.parametrize("call", ["ListServiceDeployments", "DescribeServiceDeployments", "StopServiceDeployment"])
def test_what_ecs_could_not_be_told_is_said(call: str) -> None:
    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW), BEFORE]],
        breaker=True,
        history=[
            {"serviceDeploymentArn": "arn:new", "status": "IN_PROGRESS", "sourceServiceRevisions": [{"arn": "r"}]}
        ],
        refused=(call,),
    )
    seen = late(account)
    seen.end_trying()
    assert seen.reason.startswith(LATE + "ECS could not be told to go back, and goes on trying: ")
    assert f"no {call}" in seen.reason


def test_one_that_ecs_gave_up_is_not_stopped() -> None:
    account = FakeAccount(states=[[deployment("ecs-svc/2", NEW, "FAILED", rolloutStateReason="r")]], breaker=True)
    seen = watch(account)
    seen.look()
    seen.end_trying()
    assert (account.stopped_deployments, seen.reason) == ([], "r")


def test_what_still_ran_and_waited_is_told_though_ecs_has_gone_back() -> None:
    def live(task_id: str, **more: Any) -> dict[str, Any]:
        return stopped(task_id, lastStatus="RUNNING", createdAt=task_id, **more)

    account = FakeAccount(
        states=[[deployment("ecs-svc/2", NEW), BEFORE]],
        running_tasks=[live("a"), live("b", healthStatus="UNHEALTHY"), stopped("c", lastStatus="PROVISIONING")],
        targets=[
            {"Target": {"Id": "i-1", "Port": 1}, "TargetHealth": {"State": "unhealthy", "Reason": "Target.Timeout"}}
        ],
        logs={"backend/backend/a": ["starting"]},
    )
    seen = late(account)
    seen.end_trying()
    account.running_tasks, account.targets = [], []
    report = seen.report()
    assert [(each.id, each.status, each.log_lines) for each in report.unready_tasks] == [
        ("b", "RUNNING and UNHEALTHY", []),
        ("a", "RUNNING", ["starting"]),
    ]
    assert report.waiting_tasks == 1
    assert [each.reason for each in report.unhealthy_targets] == ["Target.Timeout"]


def test_a_cause_that_was_told_before_the_last_few_events_is_kept() -> None:
    def event(message: str, at: int) -> dict[str, object]:
        return {"message": message, "createdAt": at}

    later = [event(f"event {at}", at) for at in range(9, 4, -1)]
    events = [*later, event("(port 1) is unhealthy in x", 4), event("more", 3), event("unable to place a task", 1)]
    assert told(events, since=2) == [
        "event 9",
        "event 8",
        "event 7",
        "event 6",
        "event 5",
        "(port 1) is unhealthy in x",
    ]
