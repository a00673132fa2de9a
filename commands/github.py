"""What the workflows say on GitHub: a comment on a pull request, an issue about drift, a summary of a deployment.

`python -m commands.github comment|drift|summary`. GitHub is asked through its own command, `gh`, with GH_TOKEN.
https://cli.github.com/manual/gh_api
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.preview import Preview
from commands.stack import StackError, outputs
from commands.version import running_version

LIMIT = 65_536
"""Characters that the body of a comment or an issue may have; GitHub refuses longer ones."""

LISTED = 20
"""Resources that are named one by one, above what Pulumi says of them."""

LOG_LIMIT = 20_000
"""Characters of a deployment's report in a summary, of the 1 MiB that a step's summary may have.
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits"""

MARKER = "<!-- pulumi preview -->"
"""By which the comment is found again; it isn't shown."""

AUTHOR = "github-actions[bot]"
"""Who writes with the token of a workflow. What others write is left alone, whatever is in it."""

HEADLINES = {
    "unchanged": "no changes",
    "not served": "no changes, but the service does not run what was deployed last",
    "not deployed": "not deployed yet",
    "failed": "the preview failed",
}


class GitHubError(Exception):
    """What GitHub refused, or why it could not be asked."""


# Texts


def fenced(text: str) -> str:
    """Return `text` as a block of code, which nothing in it can end: no mention, link or picture comes of it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def code(text: str) -> str:
    """Return one line as code, in which nothing is a mention, a link or a picture."""
    return f"`{text.replace('`', chr(39))}`"


def shortened(text: str, room: int) -> str:
    """Return `text`, without its middle where it has more than `room` characters: the end has the errors and counts."""
    if len(text) <= room:
        return text
    left_out = "\n... the middle is left out; the run's log has all of it ...\n"
    kept = max(room - len(left_out), 0)
    return text[: kept // 3] + left_out + text[len(text) - (kept - kept // 3) :]


def comment_text(previews: Sequence[Preview], *, commit: str, run: str) -> str:
    """Return the comment on a pull request: what it would change, by stack; at most LIMIT characters."""

    def text(room: int) -> str:
        sections = [_section(each, room=room) for each in previews]
        return "\n\n".join([MARKER, f"What {commit[:12]} would change ([run]({run})):", *sections])

    return text((LIMIT - len(text(0))) // max(len(previews), 1))


def drift_text(preview: Preview, *, run: str) -> str:
    """Return the issue about a stack whose surroundings are not as its settings say; at most LIMIT characters."""
    mend = {
        "not served": "The last deployment failed, and ECS went back. Mend the cause, then deploy again.",
        "failed": "It could not be compared. The last lines below say why.",
    }.get(
        preview.outcome,
        "What is there isn't what the settings say: somebody changed it, or AWS did. Where the service is among it, "
        "ECS may have gone back from a deployment that failed. Deploying again makes it as the settings say "
        "(`pulumi up --refresh`, as the workflows do); or change the settings to what is there.",
    )

    def text(room: int) -> str:
        closing = f"Updated by the [newest run]({run}), and closed by the first that finds nothing."
        return "\n\n".join([mend, _section(preview, room=room), closing])

    return text(LIMIT - len(text(0)))


def _section(preview: Preview, *, room: int) -> str:
    headline = HEADLINES.get(preview.outcome, preview.resources or "changes")
    listed = [f"- {code(each)}" for each in preview.changed[:LISTED]]
    if len(preview.changed) > LISTED:
        listed.append(f"- and {len(preview.changed) - LISTED} more")
    lines = [f"### {preview.stack}: {headline}", preview.note, "\n".join(listed)]
    if preview.output:
        shown = "<details open>" if preview.outcome == "failed" else "<details>"
        # A fence longer than three counts too: what is in it is shortened by as much.
        block = fenced(shortened(preview.output, room))
        if room and (over := len(block) - len(fenced("")) - room) > 0:
            block = fenced(shortened(preview.output, room - over))
        lines.append(f"{shown}<summary>pulumi preview</summary>\n\n{block}\n\n</details>")
    return "\n\n".join(line for line in lines if line)


def summary_text(
    stack: str,
    *,
    succeeded: bool,
    runs: str,
    version: str,
    before: str,
    found: Mapping[str, str],
    log: str,
    workflow: str,
) -> str:
    """Return the summary of a deployment: what runs, and how to go back.

    `version` was to run, `runs` does, `before` did; each is "" where no image of a version was meant or found.
    `workflow` is the file of the workflow that a person runs.
    """
    asked = version or "this commit"
    if succeeded:
        lines = [f"## {stack} runs {asked}", f"{found.get('url', '')} with `{found.get('image', '')}`"]
    else:
        serving = f"{stack} runs {runs}." if runs else f"What {stack} runs is in the report."
        report = fenced(shortened(log.partition("Diagnostics:")[2].strip("\n") or log, LOG_LIMIT))
        lines = [f"## {asked} was not deployed to {stack}", f"{serving} Why it failed:", report]
    if version and before and before != version:
        lines.append(f"To go back, run this workflow with {before}: `gh workflow run {workflow} -f version={before}`")
    elif version and not before:
        lines.append("There was no version before: nothing to go back to.")
    return "\n\n".join(lines) + "\n"


# GitHub


def api(method: str, path: str, **fields: str) -> str:
    """Return what GitHub's REST API answers, in lines of one JSON object each for a list; raises GitHubError."""
    command = ["gh", "api", "--method", method, f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}"]
    command += ["--paginate", "--jq", ".[]"] if method == "GET" else ["--input", "-"]
    try:
        done = subprocess.run(command, check=False, input=json.dumps(fields), capture_output=True, text=True)
    except FileNotFoundError:
        raise GitHubError("there is no gh command on PATH") from None
    if done.returncode:
        raise GitHubError(f"{method} {path}: {done.stderr.strip()}")
    return done.stdout


def listed(path: str) -> list[dict[str, Any]]:
    """Return the objects of a list, of all its pages."""
    return [json.loads(line) for line in api("GET", path).splitlines() if line]


def put_comment(pull_request: str, body: str) -> None:
    """Write the comment on a pull request, or over the one that is there."""
    comments = listed(f"issues/{pull_request}/comments?per_page=100")
    ours = [each for each in comments if each["user"]["login"] == AUTHOR and each["body"].startswith(MARKER)]
    if ours:
        api("PATCH", f"issues/comments/{ours[0]['id']}", body=body)
    else:
        api("POST", f"issues/{pull_request}/comments", body=body)


def put_issue(preview: Preview, *, run: str) -> str:
    """Open, update or close the issue about a stack's drift, and return what was done."""
    title = f"Drift of {preview.stack}"
    issues = listed("issues?state=open&creator=github-actions%5Bbot%5D&per_page=100")
    number = next((each["number"] for each in issues if each["title"] == title and "pull_request" not in each), None)
    if preview.outcome in ("unchanged", "not deployed"):
        if number is None:
            return f"{preview.stack}: no drift."
        api("POST", f"issues/{number}/comments", body=f"Nothing is left of it ([run]({run})).")
        api("PATCH", f"issues/{number}", state="closed")
        return f"{preview.stack}: no drift any more; issue {number} is closed."
    body = drift_text(preview, run=run)
    if number is None:
        api("POST", "issues", title=title, body=body)
        return f"{preview.stack}: drift; an issue is opened."
    api("PATCH", f"issues/{number}", body=body)
    return f"{preview.stack}: drift still; issue {number} is updated."


def _run_url() -> str:
    return "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ)


# Commands


def comment(arguments: argparse.Namespace) -> int:
    previews = [Preview.read(file) for file in arguments.previews if file.exists()]
    put_comment(arguments.pull_request, comment_text(previews, commit=arguments.commit, run=_run_url()))
    failed = [each.stack for each in previews if each.outcome == "failed"]
    if failed:
        print(f"The preview of {' and '.join(failed)} failed.", file=sys.stderr)
    return 1 if failed else 0


def drift(arguments: argparse.Namespace) -> int:
    preview = Preview.read(arguments.preview)
    print(put_issue(preview, run=_run_url()))
    return 1 if preview.outcome == "failed" else 0


def summary(arguments: argparse.Namespace) -> int:
    try:
        found = outputs(arguments.stack)
        runs = running_version(arguments.stack, found)
    except StackError:
        found, runs = {}, ""
    text = summary_text(
        arguments.stack,
        succeeded=arguments.outcome == "success",
        runs=runs,
        version=arguments.version,
        before=arguments.before,
        found=found,
        log=arguments.log.read_text(),
        workflow=os.environ["GITHUB_WORKFLOW_REF"].partition("@")[0].rpartition("/")[2],
    )
    print(text, end="")
    return 0


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m commands.github", description=__doc__)
    commands = parser.add_subparsers(required=True)
    of_comment = commands.add_parser("comment", help="write what a pull request would change")
    of_comment.add_argument("previews", nargs="+", type=Path, help="what `make preview SAVE=` saved; may be missing")
    of_comment.add_argument("--pull-request", required=True)
    of_comment.add_argument("--commit", required=True)
    of_comment.set_defaults(do=comment)
    of_drift = commands.add_parser("drift", help="open, update or close the issue about a stack's drift")
    of_drift.add_argument("preview", type=Path, help="what `make preview REFRESH=1 SAVE=` saved")
    of_drift.set_defaults(do=drift)
    of_summary = commands.add_parser("summary", help="print what a deployment came to, in Markdown")
    of_summary.add_argument("--stack", required=True)
    of_summary.add_argument("--outcome", required=True, help="of the step that deployed: success or failure")
    of_summary.add_argument("--log", required=True, type=Path, help="what `pulumi up` printed")
    of_summary.add_argument("--version", default="", help="which was to run")
    of_summary.add_argument("--before", default="", help="which ran before")
    of_summary.set_defaults(do=summary)
    arguments = parser.parse_args(given)
    try:
        status: int = arguments.do(arguments)
    except GitHubError as error:
        print(f"GitHub: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
