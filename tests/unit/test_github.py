"""What the workflows say on GitHub: the comment, the issue, the summary, and how they get there."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from commands import github as command
from commands.github import HEADLINES, LIMIT, MARKER, comment_text, drift_text, fenced, main, shortened, summary_text
from commands.preview import Outcome, Preview
from commands.stack import StackError
from tests.workflows.fake_gh import FakeGitHub

RUN = "https://github.com/booklink/backend/actions/runs/4711"
COMMIT = "4f2c" * 10


def preview(stack: str = "pre", outcome: Outcome = "changes", output: str = "", note: str = "") -> Preview:
    return Preview(stack=stack, outcome=outcome, note=note, output=output or "Resources:\n    ~ 2 to update\n")


# Texts


@pytest.mark.parametrize(
    ("text", "fence"), [("a `b`", "```"), ("```js\n@anna\n```", "````"), ("`" * 7 + "\n", "`" * 8)]
)
def test_nothing_in_a_block_ends_it(text: str, fence: str) -> None:
    lines = fenced(text).splitlines()
    assert (lines[0], lines[-1]) == (f"{fence}text", fence)
    assert not any(fence in line for line in lines[1:-1])


def test_what_is_too_long_loses_its_middle() -> None:
    text = "first " + "x" * 5000 + " last"
    cut = shortened(text, 1000)
    assert len(cut) == 1000
    assert cut.startswith("first ")
    assert cut.endswith(" last")
    assert "the run's log has all of it" in cut
    assert shortened(text, len(text)) == text


def test_a_comment_names_what_changes_in_each_stack() -> None:
    live = preview("live", "unchanged", note="With v1.2.3, which live runs.")
    text = comment_text([preview(), live], commit=COMMIT, run=RUN)
    assert text.startswith(MARKER)
    assert COMMIT[:12] in text
    assert RUN in text
    assert "### pre: ~ 2 to update" in text
    assert "### live: no changes\n\nWith v1.2.3, which live runs." in text


def test_a_comment_names_the_resources_up_to_some() -> None:
    line = "    + aws:x/y:Y: (create)\n        [urn=urn:pulumi:pre::p::aws:x/y:Y::y{}]\n"
    few, many = (preview(output="".join(line.format(each) for each in range(count))) for count in (20, 25))
    assert "- `create aws:x/y:Y y19`\n" in comment_text([few], commit=COMMIT, run=RUN)
    assert "more" not in comment_text([few], commit=COMMIT, run=RUN)
    assert "- `create aws:x/y:Y y19`\n- and 5 more\n" in comment_text([many], commit=COMMIT, run=RUN)


def test_a_name_in_a_comment_is_no_mention_link_or_picture() -> None:
    output = "    + aws:x/y:Y: (create)\n        [urn=urn:pulumi:pre::p::aws:x/y:Y::`@everyone![](https://a.example)]\n"
    text = comment_text([preview(output=output)], commit=COMMIT, run=RUN)
    assert "- `create aws:x/y:Y '@everyone![](https://a.example)`\n" in text


@pytest.mark.parametrize("filling", ["x", "`", "ü", "line\n"])
def test_a_comment_is_never_longer_than_github_takes(filling: str) -> None:
    long = preview(output=filling * 200_000 + "\nerror: the end\n", outcome="failed")
    text = comment_text([long, long], commit=COMMIT, run=RUN)
    assert len(text) <= LIMIT
    assert len(drift_text(long, run=RUN)) <= LIMIT
    if filling != "`":
        assert len(text) > LIMIT * 0.99, "what fits is there"
        assert text.count("error: the end") == 2


@pytest.mark.parametrize(
    ("outcome", "headline", "mend"),
    [
        ("changes", "~ 2 to update", "Deploying again makes it as the settings say"),
        ("not served", HEADLINES["not served"], "Mend the cause, then deploy again"),
        ("failed", "the preview failed", "It could not be compared"),
    ],
)
def test_an_issue_says_what_to_do(outcome: Outcome, headline: str, mend: str) -> None:
    text = drift_text(preview("live", outcome), run=RUN)
    assert f"### live: {headline}\n" in text
    assert mend in text
    assert RUN in text


FOUND = {"url": "https://be.booklinktrove.com", "image": "repository@sha256:1"}


def summary(**given: Any) -> str:
    asked: dict[str, Any] = {
        "succeeded": True,
        "runs": "v1.2.3",
        "version": "v1.2.3",
        "before": "v1.2.2",
        "found": FOUND,
        "log": "",
        "workflow": "live.yml",
    }
    return summary_text("live", **(asked | given))


def test_a_summary_says_what_runs_and_how_to_go_back() -> None:
    text = summary()
    assert text.startswith("## live runs v1.2.3\n\nhttps://be.booklinktrove.com with `repository@sha256:1`\n")
    assert "To go back, run this workflow with v1.2.2: `gh workflow run live.yml -f version=v1.2.2`" in text


@pytest.mark.parametrize(("before", "said"), [("", "nothing to go back to"), ("v1.2.3", "")])
def test_where_there_is_nothing_to_go_back_to(before: str, said: str) -> None:
    text = summary(before=before)
    assert "To go back" not in text
    assert said in text


def test_a_merge_has_no_version_and_nothing_to_go_back_to() -> None:
    text = summary(version="", before="")
    assert text.startswith("## live runs this commit\n")
    assert "go back" not in text


@pytest.mark.parametrize(
    ("runs", "serving"), [("v1.2.2", "live runs v1.2.2."), ("", "What live runs is in the report.")]
)
def test_a_failed_deployment_says_what_serves_and_why(runs: str, serving: str) -> None:
    text = summary(succeeded=False, runs=runs, log="Updating\nDiagnostics:\n  error: it failed\n")
    assert text.startswith(f"## v1.2.3 was not deployed to live\n\n{serving} Why it failed:\n\n```text\n")
    assert "error: it failed" in text
    assert "Updating" not in text
    assert "no diagnostics here" in summary(succeeded=False, log="no diagnostics here")


# GitHub


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGitHub:
    made = FakeGitHub.make(tmp_path)
    environment = {
        "PATH": made.path,
        "GH_TOKEN": "token",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "booklink/backend",
        "GITHUB_RUN_ID": "4711",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return made


def saved(folder: Path, found: Preview) -> str:
    file = folder / f"{found.stack}.json"
    file.write_text(json.dumps(asdict(found)))
    return str(file)


def say(*previews: str) -> int:
    return main(["comment", "--pull-request", "17", "--commit", COMMIT, *previews])


def test_a_pull_request_has_one_comment_which_is_updated(github: FakeGitHub, tmp_path: Path) -> None:
    others = [
        {"id": 1, "issue": 17, "user": {"login": "anna"}, "body": f"{MARKER} mine"},
        {"id": 2, "issue": 17, "user": {"login": "github-actions[bot]"}, "body": "of another workflow"},
    ]
    github.write({"issues": [], "comments": [*others]})
    assert say(saved(tmp_path, preview()), str(tmp_path / "live.json")) == 0
    assert say(saved(tmp_path, preview(outcome="unchanged"))) == 0
    *untouched, ours = github.read()["comments"]
    assert untouched == others
    assert "### pre: no changes" in ours["body"]


def test_a_preview_that_failed_is_said_and_fails(
    github: FakeGitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(saved(tmp_path, preview(outcome="failed"))) == 1
    assert "The preview of pre failed." in capsys.readouterr().err
    assert "### pre: the preview failed" in github.read()["comments"][0]["body"]


def look(github: FakeGitHub, folder: Path, outcome: Outcome) -> list[tuple[str, str]]:
    assert main(["drift", saved(folder, preview("live", outcome))]) == (1 if outcome == "failed" else 0)
    return [(each["title"], each["state"]) for each in github.read()["issues"]]


def test_an_issue_is_opened_updated_and_closed(github: FakeGitHub, tmp_path: Path) -> None:
    theirs: Mapping[str, Any] = {"number": 1, "state": "open", "user": {"login": "anna"}, "title": "Drift of live"}
    github.write({"issues": [theirs], "comments": []})
    assert look(github, tmp_path, "unchanged") == [("Drift of live", "open")], "theirs"
    assert look(github, tmp_path, "changes")[1:] == [("Drift of live", "open")]
    assert look(github, tmp_path, "not served")[1:] == [("Drift of live", "open")]
    assert "ECS went back" in github.read()["issues"][1]["body"]
    assert look(github, tmp_path, "unchanged")[1:] == [("Drift of live", "closed")]
    assert [each["issue"] for each in github.read()["comments"]] == [2]
    assert look(github, tmp_path, "failed")[1:] == [("Drift of live", "closed"), ("Drift of live", "open")]
    assert github.read()["issues"][0] == theirs


def test_what_github_refuses_is_one_clear_error(
    github: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GH_TOKEN")
    assert say(saved(tmp_path, preview())) == 1
    assert capsys.readouterr().err.startswith("GitHub: GET issues/17/comments?per_page=100: gh: To use GitHub CLI")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert say(saved(tmp_path, preview())) == 1
    assert capsys.readouterr().err == "GitHub: there is no gh command on PATH\n"
    assert github.read()["comments"] == []


def nothing(_: str) -> dict[str, str]:
    raise StackError("live runs nothing yet")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_summary_is_printed_for_the_step(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "up.log"
    log.write_text("Diagnostics:\n  error: it failed\n")
    monkeypatch.setattr(command, "outputs", (lambda _: FOUND) if is_there else nothing)
    monkeypatch.setattr(command, "running_version", lambda *_: "v1.2.2")
    monkeypatch.setenv("GITHUB_WORKFLOW_REF", "booklink/app/.github/workflows/backend.yml@refs/heads/master")
    asked = ["summary", "--stack", "live", "--log", str(log), "--version", "v1.2.3", "--before", "v1.2.2"]
    assert main([*asked, "--outcome", "failure"]) == 0
    text = capsys.readouterr().out
    assert ("live runs v1.2.2." in text) is is_there
    assert main([*asked, "--outcome", "success"]) == 0
    text = capsys.readouterr().out
    assert "## live runs v1.2.3" in text
    assert "`gh workflow run backend.yml -f version=v1.2.2`" in text
