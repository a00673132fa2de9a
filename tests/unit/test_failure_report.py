"""The report of a failed deployment, as its reader sees it."""

from typing import Any

import pytest

from components.failure_report import FailedDeployment, StoppedTask, UnhealthyTarget, UnreadyTask, render


def failed(**changes: Any) -> FailedDeployment:
    known: dict[str, Any] = {
        "service": "backend-1a2b3c4",
        "deployment": "ecs-svc/2",
        "task_definition": "backend:2",
        "reason": "tasks failed to start.",
        "serving": "1 task(s) of backend:1",
    }
    return FailedDeployment(**{**known, **changes})


def ended(**changes: Any) -> FailedDeployment:
    """A deployment of which one task stopped."""
    return failed(stopped_tasks=[StoppedTask(id="a", **changes)], stopped_count=1)


def advice(deployment: FailedDeployment) -> str:
    return render(deployment).rsplit("What to do: ", 1)[1]


def test_a_container_that_ends_by_itself() -> None:
    task = StoppedTask(
        id="0a1b", reason="Essential container in task exited", exit_code=1, log_lines=["starting", "no database"]
    )
    report = render(failed(stopped_tasks=[task], stopped_count=3, events=["(service backend) deployment failed"]))
    assert report == (
        "The deployment of backend:2 failed.\n"
        "  Deployment: ecs-svc/2 of service backend-1a2b3c4\n"
        "  Reason: tasks failed to start.\n"
        "  Task 0a1b stopped: Essential container in task exited\n"
        "    Container: exit code 1\n"
        "    Its last log lines:\n"
        "      | starting\n"
        "      | no database\n"
        "  2 more task(s) stopped before these.\n"
        "  What ECS says, newest first:\n"
        "    | (service backend) deployment failed\n"
        "  Serving now: 1 task(s) of backend:1\n"
        "  What to do: the container ended by itself; its last log lines above say why"
    )


def test_a_container_that_never_gets_well() -> None:
    task = StoppedTask(id="0a1b", reason="Task failed ELB health checks in (target-group arn)", exit_code=143)
    target = UnhealthyTarget(id="i-1:32768", reason="Target.ResponseCodeMismatch", description="codes: [500]")
    report = render(failed(stopped_tasks=[task], stopped_count=1, unhealthy_targets=[target]))
    assert report == (
        "The deployment of backend:2 failed.\n"
        "  Deployment: ecs-svc/2 of service backend-1a2b3c4\n"
        "  Reason: tasks failed to start.\n"
        "  Task 0a1b stopped: Task failed ELB health checks in (target-group arn)\n"
        "    Container: exit code 143\n"
        "    It logged nothing.\n"
        "  Target i-1:32768 is unhealthy: Target.ResponseCodeMismatch codes: [500]\n"
        "  Serving now: 1 task(s) of backend:1\n"
        "  What to do: the container runs, but doesn't answer health.path with a code of health.matcher within "
        "health.timeout; where it only starts slowly, raise health.gracePeriod"
    )


def test_a_deployment_of_which_nothing_is_known() -> None:
    report = render(failed(deployment="", reason="it was not complete after 60 s"))
    assert report == (
        "The service backend-1a2b3c4 does not run backend:2.\n"
        "  Reason: it was not complete after 60 s\n"
        "  Serving now: 1 task(s) of backend:1\n"
        "  What to do: look at the events above, and at the service in the ECS console"
    )


def test_a_deployment_whose_tasks_find_no_instance() -> None:
    report = render(
        failed(
            waiting_tasks=2,
            failed_launches=["You have requested more vCPU capacity than your current vCPU limit"],
            try_again="pulumi up --refresh",
            unread=["An error occurred (AccessDenied)"],
        )
    )
    assert report == (
        "The deployment of backend:2 failed.\n"
        "  Deployment: ecs-svc/2 of service backend-1a2b3c4\n"
        "  Reason: tasks failed to start.\n"
        "  2 task(s) wait for an instance with room.\n"
        "  An instance could not be launched: You have requested more vCPU capacity than your current vCPU limit\n"
        "  Serving now: 1 task(s) of backend:1\n"
        "  What to do: the account's quota of vCPUs is used up: `aws service-quotas get-service-quota --service-code "
        "ec2 --quota-code L-1216C47A` shows the limit; ask AWS for more, or end what runs\n"
        "  Where the cause was outside of this program, once it is mended: pulumi up --refresh\n"
        "  (AWS would not say more: An error occurred (AccessDenied))"
    )


def test_a_task_without_a_container_says_only_its_own_reason() -> None:
    report = render(ended(reason=""))
    assert "  Task a stopped: ECS gives no reason\n" in report
    assert "Container:" not in report
    assert "logged nothing" not in report, "it never ran"


def test_a_containers_reason_stands_beside_its_exit_code() -> None:
    report = render(ended(reason="", exit_code=137, container_reason="OutOfMemoryError: Container killed"))
    assert "    Container: exit code 137, OutOfMemoryError: Container killed\n" in report


def test_a_containers_reason_may_stand_alone() -> None:
    assert "    Container: CannotPullContainerError\n" in render(
        ended(reason="", container_reason="CannotPullContainerError")
    )


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (ended(reason="", exit_code=137, container_reason="OutOfMemoryError: killed"), "raise it, or have it use less"),
        (ended(reason="CannotPullContainerError: not found"), "the image can't be pulled"),
        (ended(reason="ResourceInitializationError: no secret"), "most often a secret"),
        (ended(reason="Task failed ELB health checks", exit_code=143), "raise health.gracePeriod"),
        (failed(events=["(port 8080) is unhealthy in (target-group x)"]), "raise health.gracePeriod"),
        (failed(events=["was unable to place a task because no instance"]), "no instance has room for the task"),
        (failed(reason="ECS was unable to place a task"), "capacity.max how many instances there may be"),
        (failed(failed_launches=["an AMI that is gone"]), "can't launch an instance"),
        (failed(failed_launches=["We currently do not have sufficient t3.micro capacity"]), "no such instance left"),
        (failed(failed_launches=["x"], events=["unable to place a task"]), "can't launch an instance"),
        (failed(waiting_tasks=1), "raise capacity.max, or see why no instance has joined"),
        (ended(reason="", exit_code=137), "the container was killed"),
        (ended(reason="", exit_code=0), "must run until it is told to stop"),
        (failed(), "look at the events above"),
    ],
)
def test_the_advice_follows_the_most_telling_sign(deployment: FailedDeployment, words: str) -> None:
    assert words in advice(deployment)


def test_what_a_container_logs_can_neither_move_the_cursor_nor_command_a_runner() -> None:
    report = render(ended(reason="", exit_code=1, log_lines=["\x1b[2Jgone", "::error::fake", "a\r\tb"]))
    assert "\x1b" not in report
    assert "\r" not in report
    assert "\tb" in report, "a tab is harmless"
    assert not [line for line in report.split("\n") if line.lstrip().startswith("::")]


def test_tasks_that_ended_alike_are_told_of_once() -> None:
    def task(task_id: str, line: str) -> StoppedTask:
        return StoppedTask(id=task_id, reason="it ended", exit_code=1, log_lines=[line])

    tasks = [task("a", "no database"), task("b", "no database"), task("c", "no secret"), task("d", "no database")]
    report = render(failed(stopped_tasks=tasks, stopped_count=4))
    assert "  Task a stopped, and 2 more like it: it ended\n" in report
    assert "  Task c stopped: it ended\n" in report
    assert report.count("no database") == 1
    assert "stopped before these" not in report


def test_tasks_that_differ_by_their_own_ids_ended_alike() -> None:
    def task(task_id: str, request: str) -> StoppedTask:
        return StoppedTask(id=task_id, reason=f"RequestID: {request}, User: assumed-role/r/{task_id} may not")

    report = render(failed(stopped_tasks=[task("0a", "1b-2c"), task("3d", "4e-5f")], stopped_count=2))
    assert "  Task 0a stopped, and 1 more like it: " in report


def test_what_the_agent_says_twice_is_told_once() -> None:
    error = "operation error SSM: GetParameters, api error AccessDeniedException: no"
    assert f" stopped: secret s: {error}\n" in render(ended(reason=f"secret s: {error}: {error}"))


def test_a_containers_reason_that_is_the_tasks_too_is_told_once() -> None:
    report = render(ended(reason="CannotPullContainerError: no", container_reason="CannotPullContainerError: no"))
    assert report.count("CannotPullContainerError: no") == 1


def test_tasks_that_were_not_healthy_in_time_bring_their_log() -> None:
    unready = [UnreadyTask(id="a", status="RUNNING", log_lines=["starting"]), UnreadyTask(id="b", status="PENDING")]
    report = render(failed(unready_tasks=unready))
    assert (
        "  Task a was RUNNING when the time was over.\n"
        "    Its last log lines:\n"
        "      | starting\n"
        "  Task b was PENDING when the time was over.\n"
        "    It logged nothing.\n"
    ) in report
    assert "raise health.gracePeriod and service.deploymentTimeout" in advice(failed(unready_tasks=unready))


def test_memory_is_a_more_telling_sign_than_health() -> None:
    signs = ended(reason="Task failed ELB health checks", exit_code=137, container_reason="OutOfMemoryError")
    assert "container.memory" in advice(signs)
