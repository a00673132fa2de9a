"""The migration before a switch, inside of a Pulumi program."""

from typing import Any

import pulumi
import pytest

from components import migration
from components.failure_report import FailedMigration, StoppedTask, render_migration
from components.migration import Migration, MigrationArgs, MigrationFailed, MigrationPlan
from tests.unit.fake_ecs import NEW
from tests.unit.fake_migration import ENDED_WELL, JOB, FakeEcs
from tests.unit.mocked_engine import Deployment, run

COMPONENT = "booklink:backend:Migration"
PLAN = MigrationPlan(command=JOB.command, timeout=60, profile="work")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "POLL_INTERVAL", 0)
    monkeypatch.setattr(migration, "LOG_DELIVERY", 0)


def migrate(ecs: FakeEcs | Exception, monkeypatch: pytest.MonkeyPatch, *, preview: bool = False) -> Deployment:
    def clients(*services: str, region: str, profile: str | None) -> list[Any]:
        assert (services, region, profile) == (("ecs", "logs"), "eu-central-1", "work")
        if isinstance(ecs, Exception):
            raise ecs
        return [ecs, ecs.logs_client()]

    monkeypatch.setattr(migration, "clients", clients)
    args = MigrationArgs(
        plan=PLAN,
        task_definition_arn=NEW,
        cluster_name=JOB.cluster,
        capacity_provider_name=JOB.capacity_provider,
        log_group_name=JOB.log_group,
        needs=[],
        region="eu-central-1",
    )
    return run(lambda: pulumi.export("arn", Migration("pre", args).task_definition_arn), preview=preview)


def test_it_gives_the_task_definition_once_it_ended_well(monkeypatch: pytest.MonkeyPatch) -> None:
    ecs = FakeEcs(states=[{"lastStatus": "RUNNING"}, {"lastStatus": "RUNNING"}, ENDED_WELL])
    made = migrate(ecs, monkeypatch)
    assert made.outputs == {"arn": NEW}
    assert len(ecs.ran) == 1
    # Pulumi hands messages on side by side, so that only their number and their texts are certain.
    assert sorted(made.messages) == [
        ("INFO", "its task runs"),
        ("INFO", "its task starts"),
        ("INFO", "the migration of backend:2 ended well"),
    ]


def test_one_that_is_not_due_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ecs = FakeEcs(current=[NEW])
    made = migrate(ecs, monkeypatch)
    assert (made.outputs, ecs.ran, made.messages) == ({"arn": NEW}, [], [])


def test_where_the_history_cant_be_read_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = migrate(FakeEcs(refused=("ListServiceDeployments",)), monkeypatch)
    assert any("whether it ran before can't be told" in text for _, text in made.messages)


def test_a_preview_passes_the_task_definition_through(monkeypatch: pytest.MonkeyPatch) -> None:
    assert migrate(AssertionError("asked in a preview"), monkeypatch, preview=True).outputs == {"arn": NEW}


def test_it_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = migrate(FakeEcs(), monkeypatch)
    assert [r.type for r in made.resources] == [COMPONENT]
    assert made.component_outputs[made.one(COMPONENT).urn] == {}


def test_one_that_fails_ends_the_update_with_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {**ENDED_WELL, "containers": [{"exitCode": 1}], "stoppedReason": "Essential container in task exited"}
    with pytest.raises(MigrationFailed) as raised:
        migrate(FakeEcs(states=[task], logs={"new": ["no such table"]}), monkeypatch)
    assert str(raised.value) == (
        "The migration of backend:2 failed.\n"
        "  Reason: its command ended with exit code 1\n"
        "  Task new stopped: Essential container in task exited\n"
        "    Container: exit code 1\n"
        "    Its last log lines:\n"
        "      | no such table\n"
        "  Nothing was switched: 1 task(s) of backend:1 serve on\n"
        "  What to do: the container ended by itself; its last log lines above say why\n"
        "  Once it is mended, `pulumi up` runs the migration again."
    )


def test_an_error_of_aws_is_worded_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MigrationFailed) as raised:
        migrate(ConnectionError("AWS is away"), monkeypatch)
    assert str(raised.value) == (
        "The migration of backend:2 can't be run, or its end can't be told: AWS is away. Nothing was switched. Once it "
        "is mended, `pulumi up` takes it up again."
    )


def test_a_report_without_a_task_has_its_own_advice_and_what_was_not_said() -> None:
    report = render_migration(
        FailedMigration(
            task_definition="backend:2",
            reason="no instance takes its task",
            serving="no task of the service runs",
            what_to_do="make room",
            unread=["no GetLogEvents"],
        )
    )
    assert report == (
        "The migration of backend:2 failed.\n"
        "  Reason: no instance takes its task\n"
        "  Nothing was switched: no task of the service runs\n"
        "  What to do: make room\n"
        "  Once it is mended, `pulumi up` runs the migration again.\n"
        "  (AWS would not say more: no GetLogEvents)"
    )


def test_what_a_migration_logs_is_quoted() -> None:
    task = StoppedTask(id="a", reason="", exit_code=1, log_lines=["\x1b[2Jgone"])
    report = render_migration(FailedMigration(task_definition="backend:2", reason="", serving="", task=task))
    assert "\x1b" not in report
