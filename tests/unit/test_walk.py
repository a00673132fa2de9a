"""The rehearsal's walk, as far as it needs no account: what it reads, compares and shows."""

from pathlib import Path
from typing import Any

import pytest

from rehearsal import outsider, page, pulumi_output, table, tools, walk
from rehearsal.outsider import Unexpected, expect
from rehearsal.pulumi_output import Operation, Progress

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {name: walk.settings_of(ROOT, name) for name in walk.ENVIRONMENTS}

CREATING = " +  aws:lb:LoadBalancer booklink-backend-pre creating (0s) "
CREATED = " +  aws:lb:LoadBalancer booklink-backend-pre created (60s) "
IN_A_MOMENT = " +  aws:ecs:Service booklink-backend-pre created (0.07s) "


# What the committed stack files say


def test_the_account_gets_the_secrets_that_the_stack_files_name() -> None:
    assert {name: walk.secret_ids(settings) for name, settings in SETTINGS.items()} == {
        "pre": ["pre1/postgres"],
        "live": ["live1/postgres"],
    }


def test_live_is_read_with_the_tag_of_the_release_that_the_rehearsal_makes() -> None:
    assert (SETTINGS["pre"].tag, SETTINGS["live"].tag) == ("master", walk.RELEASE)


def test_the_samples_dockerfile_says_what_it_builds_on_by_default() -> None:
    assert tools.default_base(tools.DOCKERFILE.read_text()), "the rehearsal can't know what to pull"
    assert tools.default_base("FROM scratch\n") is None


def test_the_sample_logs_what_the_report_of_its_crash_is_searched_for() -> None:
    assert walk.CRASH_LOG in (ROOT / "app" / "backend.py").read_text()


# Security groups


def rule(**given: Any) -> dict[str, Any]:
    https = {"GroupId": "sg-balancer", "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IsEgress": False}
    return https | given


FROM_BALANCER = {"GroupId": "sg-instances", "ReferencedGroupInfo": {"GroupId": "sg-balancer"}}


@pytest.mark.parametrize(
    "allowed",
    [
        rule(CidrIpv4="0.0.0.0/0"),
        rule(CidrIpv6="::/0"),
        rule(**FROM_BALANCER, FromPort=32768, ToPort=65535),
    ],
)
def test_https_from_the_world_and_the_load_balancers_way_on_are_no_openings(allowed: dict[str, Any]) -> None:
    assert outsider.openings([allowed], balancer_groups=["sg-balancer"]) == []


@pytest.mark.parametrize(
    ("opening", "why"),
    [
        (rule(CidrIpv4="0.0.0.0/0", FromPort=80, ToPort=80), "another port is open to the world"),
        (rule(CidrIpv4="0.0.0.0/0", GroupId="sg-instances"), "the world reaches the instances"),
        (rule(CidrIpv4="10.0.0.0/8", FromPort=22, ToPort=22), "SSH is open to a network"),
        (rule(CidrIpv4="0.0.0.0/0", IpProtocol="-1", FromPort=-1, ToPort=-1), "everything is open"),
        (rule(**FROM_BALANCER, FromPort=0, ToPort=65535), "the range has SSH in it"),
        (rule(GroupId="sg-instances", ReferencedGroupInfo={"GroupId": "sg-else"}), "another group gets in"),
    ],
)
def test_whatever_else_is_let_in_is_an_opening(opening: dict[str, Any], why: str) -> None:
    assert outsider.openings([opening], balancer_groups=["sg-balancer"]), why


# Checks


def test_every_check_is_made_and_what_did_not_hold_is_named() -> None:
    def sees_a_sheep() -> str:
        return "a sheep"

    def sees_a_wolf() -> str:
        expect(False, "no wolf")
        return "a wolf"

    def looks_where_nothing_is() -> str:
        raise LookupError("nothing is there")

    told: list[str] = []
    failed = outsider.failures([looks_where_nothing_is, sees_a_wolf, sees_a_sheep], say=told.append)
    assert [each.split(":")[0] for each in failed] == ["looks_where_nothing_is", "sees_a_wolf"]
    assert told[2] == "  ok  a sheep", "one that fails keeps no other from being made"


def test_an_expectation_that_holds_says_nothing() -> None:
    expect([1], "unsaid")
    with pytest.raises(Unexpected, match="said"):
        expect([], "said")


class Ec2:
    """An EC2 with one instance that is gone, and one volume."""

    def describe_instances(self) -> dict[str, Any]:
        return {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": "terminated"}}]}]}

    def describe_volumes(self) -> dict[str, Any]:
        return {"Volumes": [{"VolumeId": "vol-1"}]}

    def describe_addresses(self) -> dict[str, Any]:
        return {"Addresses": []}

    def describe_nat_gateways(self) -> dict[str, Any]:
        return {"NatGateways": [{"NatGatewayId": "nat-1", "State": "deleted"}]}

    def describe_vpc_endpoints(self) -> dict[str, Any]:
        return {"VpcEndpoints": []}


class Others:
    """Services with a task that still runs, and nothing else."""

    def describe_auto_scaling_groups(self) -> dict[str, Any]:
        return {"AutoScalingGroups": []}

    def describe_load_balancers(self) -> dict[str, Any]:
        return {"LoadBalancers": []}

    def list_clusters(self) -> dict[str, Any]:
        return {"clusterArns": ["c"]}

    def list_services(self, cluster: str) -> dict[str, Any]:
        assert cluster == "c"
        return {"serviceArns": []}

    def list_tasks(self, cluster: str) -> dict[str, Any]:
        assert cluster == "c"
        return {"taskArns": ["task-1"]}


def test_what_costs_by_the_hour_is_found_and_what_is_gone_is_not() -> None:
    left = outsider.costing_by_the_hour(lambda service: Ec2() if service == "ec2" else Others())
    assert left == ["vol-1", "task-1"]


# The page

PAGE: dict[str, Any] = {
    "version": "1.0.0",
    "environment": {"APP_ENV": "pre"},
    "limits": {"memory": 512 * page.MIB, "cpuShares": 512, "user": 10001, "readOnlyRoot": True},
    "secrets": {"pre1/postgres": "readable", "live1/postgres": "denied: AccessDeniedException"},
}
EXPECTED = page.Expected(
    version="1.0.0", settings=SETTINGS["pre"], readable=["pre1/postgres"], denied=["live1/postgres"]
)


def test_a_page_that_says_what_the_settings_say_has_no_difference() -> None:
    assert EXPECTED.differences(PAGE) == []


def test_on_a_kernel_that_knows_weights_alone_some_weight_will_do() -> None:
    limits = {name: value for name, value in PAGE["limits"].items() if name != "cpuShares"}
    assert EXPECTED.differences(PAGE | {"limits": limits | {"cpuWeight": 20}}) == []
    assert EXPECTED.differences(PAGE | {"limits": limits}) == ["it has no CPU weight"]


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "0.9"},
        {"environment": {"APP_ENV": "live"}},
        {"limits": PAGE["limits"] | {"memory": None}},
        {"limits": PAGE["limits"] | {"cpuShares": 1024}},
        {"limits": PAGE["limits"] | {"user": 0}},
        {"limits": PAGE["limits"] | {"readOnlyRoot": False}},
        {"secrets": PAGE["secrets"] | {"pre1/postgres": "denied: AccessDeniedException"}},
        {"secrets": PAGE["secrets"] | {"live1/postgres": "readable"}},
        {"secrets": PAGE["secrets"] | {"live1/postgres": "failed: NoRegionError"}},
    ],
)
def test_whatever_a_page_says_otherwise_is_one_difference(changed: dict[str, Any]) -> None:
    assert len(EXPECTED.differences(PAGE | changed)) == 1


def test_a_page_that_is_no_json_says_nothing() -> None:
    assert page.parse("<html>") == page.parse("[]") == {}
    assert page.parse('{"version": "1"}') == {"version": "1"}


# What pulumi prints


def test_a_line_about_a_resource_tells_the_operation() -> None:
    assert Operation.parse(CREATED) == Operation(
        sign="+",
        type="aws:lb:LoadBalancer",
        name="booklink-backend-pre",
        verb="created",
        seconds=60.0,
        message="",
    )


@pytest.mark.parametrize("line", ["", "Outputs:", '    url: "https://x"', "    + 56 created", "Updating (pre):"])
def test_any_other_line_tells_none(line: str) -> None:
    assert Operation.parse(line) is None


def test_what_an_update_changed_is_read_from_what_it_printed() -> None:
    output = "\n".join(
        [
            "Updating (pre):",
            " ~  docker:index:Image booklink-backend-pre-image updating (0s) Step 1/10",
            " ~  docker:index:Image booklink-backend-pre-image updated (3s) master: digest: sha256:1 size: 943",
            " ++ aws:ecs:TaskDefinition booklink-backend-pre-task created replacement (0.05s)",
            " +- aws:ecs:TaskDefinition booklink-backend-pre-task replaced (0.00s)",
            " ~  aws:ecs:Service booklink-backend-pre updated (0.09s)",
            " -- aws:ecs:TaskDefinition booklink-backend-pre-task deleted original (0.05s)",
            "    booklink:backend:Rollout booklink-backend-pre  1 of 1 tasks run",
            "    pulumi:pulumi:Stack booklink-backend-pre  ",
        ]
    )
    assert pulumi_output.changed(output) == walk.CHANGED_BY_A_NEW_IMAGE


def shown(*lines: str) -> list[str]:
    told: list[str] = []
    with Progress(told.append, prefix="> ") as progress:
        for line in lines:
            progress.line(line)
    return told


def test_what_ends_in_a_moment_is_counted_and_what_takes_longer_is_shown() -> None:
    assert shown(IN_A_MOMENT, IN_A_MOMENT, CREATING, CREATED) == [
        ">  +  2 at once: Service x 2",
        f"> {CREATED}".rstrip(),
    ]


def test_what_a_resource_says_while_it_is_under_way_is_left_to_the_diagnostics_and_the_logs() -> None:
    assert shown(" +  docker:index:Image image creating (3s) Step 1/10 : FROM scratch") == []


def test_a_failure_is_shown() -> None:
    failed = " +  docker:index:Image image **creating failed** 1 error"
    assert shown(failed) == [f"> {failed}"]


def test_components_are_not_counted_but_what_they_say_is_shown() -> None:
    silent = " +  booklink:backend:Service booklink-backend-pre created (0.06s) "
    says = " +  booklink:backend:Rollout booklink-backend-pre created (0.06s) 0 of 1 tasks run, 1 start"
    assert shown(silent, says) == [f"> {says}"]


def test_of_several_empty_lines_one_is_shown() -> None:
    assert shown("Outputs:", "", "", "Resources:") == ["> Outputs:", ">", "> Resources:"]


def test_a_long_silence_is_broken_by_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi_output, "QUIET_SECONDS", 0)
    monkeypatch.setattr(pulumi_output, "LOOKS_EVERY", 0.01)
    told: list[str] = []
    with Progress(told.append) as progress:
        progress.line(CREATING)
        progress._ended.wait(0.1)
    assert any(line.endswith("creating LoadBalancer") for line in told), told


# The table


def test_the_table_has_each_step_its_time_and_what_was_seen_within_the_width() -> None:
    steps = [
        table.Step(name="pre", seen=["a page", "and " + "more " * 40], seconds=124.25, held=True),
        table.Step(name="live", seconds=3, held=False),
    ]
    lines = table.render(steps, total=127.25).splitlines()
    assert max(map(len, lines)) <= table.WIDTH
    assert lines[2].startswith("pre      124.2  a page; and more")
    assert lines[-2] == "live       3.0  FAILED"
    assert lines[-1] == "total    127.2  2 min 7 s"


def test_a_step_that_fails_is_in_the_table_with_what_it_saw() -> None:
    told: list[str] = []
    report = table.Report(told.append)
    step = report.step("pre", "why it is")
    step.__enter__().saw("a page")
    error = Unexpected("more")
    assert not step.__exit__(type(error), error, None), "the error goes on its way"
    assert told == ["\n1 pre: why it is"]
    assert "a page; FAILED" in report.table()


def test_seconds_are_said_as_people_say_them() -> None:
    assert (table.duration(59.4), table.duration(60), table.duration(540)) == ("59 s", "1 min 0 s", "9 min 0 s")


# The logs


def test_logs_of_rehearsals_that_have_ended_go_and_those_of_running_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "LOGS", tmp_path)
    ended, running = tmp_path / "999999999", tmp_path / "1"
    ended.mkdir()
    running.mkdir()
    own = walk.fresh_logs()
    assert {own.is_dir(), running.is_dir(), not ended.exists()} == {True}


# The whole, where it fails at once


def test_a_rehearsal_that_fails_says_so_and_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_tools(**_: object) -> None:
        raise Unexpected("there is no Docker engine")

    monkeypatch.setattr(walk, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(walk, "tools", no_tools)
    told: list[str] = []
    assert walk.rehearse(keep=False, say=told.append) == 1
    assert "there is no Docker engine" in "".join(told)
    assert "logs" in told[-1], "who reads the last line knows where to look"


def test_a_rehearsal_that_is_interrupted_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(walk, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(walk, "tools", interrupted)
    assert walk.rehearse(keep=False, say=lambda _: None) == walk.INTERRUPTED
