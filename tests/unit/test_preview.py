"""`make preview`: with which tag, and what it came to."""

import json
from pathlib import Path

import pytest

from commands import preview as command
from commands.preview import Outcome, Preview, chosen_tag, outcome_of
from components.failure_report import NOT_SERVED
from tests.unit.commands_on_path import put_on_path

UNCHANGED = "Previewing update (live):\nResources:\n    57 unchanged\n"
CHANGED = """Previewing update (pre):
  pulumi:pulumi:Stack: (same)
    [urn=urn:pulumi:pre::booklink-backend::pulumi:pulumi:Stack::booklink-backend-pre]
        ~ aws:cloudwatch/logGroup:LogGroup: (refresh)
            [id=/booklink-backend/pre/2026]
            [urn=urn:pulumi:pre::booklink-backend::booklink:backend:Service$aws:cloudwatch/logGroup:LogGroup::log]
            --outputs:--
          ~ retentionInDays: 90 => 7
    ~ docker:index/image:Image: (update)
        [id=1.dkr.ecr.eu-central-1.amazonaws.com/booklink-backend:master]
        [urn=urn:pulumi:pre::booklink-backend::booklink:backend:Image$docker:index/image:Image::image]
      ~ build: {
          ~ contextDigest: "e40" => "59c"
        }
    +-aws:ecs/taskDefinition:TaskDefinition: (replace)
        [id=booklink-backend-pre]
        [urn=urn:pulumi:pre::booklink-backend::booklink:backend:Service$aws:ecs/taskDefinition:TaskDefinition::task]
    + booklink:backend:Service: (create)
        [urn=urn:pulumi:pre::booklink-backend::booklink:backend:Service::service]
        + aws:ecs/service:Service: (create)
            [urn=urn:pulumi:pre::booklink-backend::booklink:backend:Service$aws:ecs/service:Service::service]
            [provider=urn:pulumi:pre::booklink-backend::pulumi:providers:aws::aws::04da6b54]
Resources:
    ~ 1 to update
    +-1 to replace
    2 changes. 53 unchanged
"""
"""What Pulumi 3.259 prints with --diff."""

PULUMI = """
import json, sys
from pathlib import Path
known = json.loads(Path(__file__).with_name("known.json").read_text())
arguments = sys.argv[1:]
if arguments[0] == "preview":
    file = Path(arguments[arguments.index("--config-file") + 1])
    Path(__file__).with_name("previewed.json").write_text(json.dumps([arguments, file.read_text()]))
    print(known["says"], end="")
    sys.exit(known["status"])
if "nope" in arguments:
    sys.exit("error: no stack named 'nope' found")
print(json.dumps(known["config" if arguments[0] == "config" else "outputs"]))
"""


@pytest.mark.parametrize(
    ("status", "output", "outcome"),
    [
        (0, UNCHANGED, "unchanged"),
        (0, CHANGED, "changes"),
        (0, f"{UNCHANGED}warning: {NOT_SERVED}\n  The deployment of it failed.\n", "not served"),
        (1, f"{CHANGED}error: no changes were expected for preview but changes were proposed\n", "changes"),
        (1, "error: 1 setting is wrong in Pulumi.live.yaml; nothing was changed:\n", "failed"),
        (255, UNCHANGED, "failed"),
        (0, "", "changes"),
    ],
)
def test_what_a_preview_came_to(status: int, output: str, outcome: Outcome) -> None:
    assert outcome_of(status, output) == outcome


def test_resources_are_counted_and_named_as_pulumi_does() -> None:
    changed, broken = (Preview(stack="pre", outcome="changes", note="", output=output) for output in (CHANGED, "error"))
    assert changed.resources == "~ 1 to update, +-1 to replace"
    assert changed.changed == [
        "update docker:index/image:Image image",
        "replace aws:ecs/taskDefinition:TaskDefinition task",
        "create aws:ecs/service:Service service",
    ]
    assert (broken.resources, broken.changed) == ("", [])


@pytest.mark.parametrize(
    ("in_file", "deployed", "tag", "note"),
    [
        ("master", "master", "master", ""),
        ("master", "", "master", ""),
        ("", "v1.2.3", "v1.2.3", "With v1.2.3, which was deployed last."),
        (
            "v1.2.2",
            "v1.2.3",
            "v1.2.2",
            "Pulumi.live.yaml has the tag v1.2.2, while v1.2.3 was deployed last; to preview with that one, take the "
            "line out.",
        ),
        ("", "", "", "live runs no version yet: `pulumi up --stack live --config tag=vX.Y.Z` brings it up."),
    ],
)
def test_the_tag_is_the_files_or_else_the_one_that_was_deployed(
    in_file: str, deployed: str, tag: str, note: str
) -> None:
    assert chosen_tag("live", in_file=in_file, deployed=deployed) == (tag, note)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose live runs v1.2.3, and a `pulumi` that knows it."""
    (tmp_path / "Pulumi.live.yaml").write_text("config: {}\n")
    put_on_path("pulumi", PULUMI, tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    knows(tmp_path)
    return tmp_path


def knows(folder: Path, *, deployed: str = "v1.2.3", says: str = UNCHANGED, status: int = 0) -> None:
    config = {"aws:region": {"value": "eu-central-1"}, "booklink-backend:tag": {"value": ""}}
    known = {"config": config, "outputs": {"tag": deployed} if deployed else {}, "says": says, "status": status}
    (folder / "bin" / "known.json").write_text(json.dumps(known))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["preview", *arguments])
    return command.main()


def test_it_previews_with_what_runs_and_leaves_the_stack_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--stack", "live") == 0
    arguments, file = json.loads((folder / "bin" / "previewed.json").read_text())
    assert arguments[-1] == "tag=v1.2.3"
    assert not {"--refresh", "--expect-no-changes"} & set(arguments)
    assert file == "config: {}\n"
    assert arguments[arguments.index("--config-file") + 1] != str(folder / "Pulumi.live.yaml")
    assert capfd.readouterr().out == f"With v1.2.3, which was deployed last.\n{UNCHANGED}"


@pytest.mark.parametrize(
    ("says", "status", "ends_with"),
    [(UNCHANGED, 0, (0, 0)), (CHANGED, 0, (1, 0)), (UNCHANGED + NOT_SERVED, 0, (1, 0)), ("error: no\n", 1, (1, 1))],
)
def test_with_refresh_it_fails_where_anything_differs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, says: str, status: int, ends_with: tuple[int, int]
) -> None:
    knows(folder, says=says, status=status)
    refreshed = run(monkeypatch, "--stack", "live", "--refresh")
    arguments, _ = json.loads((folder / "bin" / "previewed.json").read_text())
    assert {"--refresh", "--expect-no-changes"} <= set(arguments)
    assert (refreshed, run(monkeypatch, "--stack", "live")) == ends_with


def test_what_it_saves_is_for_others_to_judge(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knows(folder, says="error: no\n", status=1)
    assert run(monkeypatch, "--stack", "live", "--save", "live.json") == 0
    saved = Preview.read(folder / "live.json")
    assert saved == Preview(
        stack="live", outcome="failed", note="With v1.2.3, which was deployed last.", output="error: no\n"
    )


def test_a_stack_that_runs_nothing_yet_is_not_previewed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knows(folder, deployed="")
    assert run(monkeypatch, "--stack", "live") == 1
    assert run(monkeypatch, "--stack", "live", "--save", "live.json") == 0
    assert Preview.read(folder / "live.json").outcome == "not deployed"
    assert not (folder / "bin" / "previewed.json").exists()


def test_a_stack_that_is_not_there_is_one_clear_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--stack", "nope") == 1
    assert "no stack named 'nope' found" in capfd.readouterr().err
    assert run(monkeypatch, "--stack", "nope", "--save", "nope.json") == 0
    assert Preview.read(folder / "nope.json").outcome == "failed"
