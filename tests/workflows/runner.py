"""A runner for jobs of the workflows: their commands run, in bash, as on GitHub; their actions are only noted.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell
"""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rehearsal.folders import ROOT
from tests.workflows.expressions import Contexts, filled_in, holds

WORKFLOWS = ROOT / ".github" / "workflows"
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
"""What `shell: bash` means on GitHub."""

FILES = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH")


def read(file: Path) -> dict[str, Any]:
    """Return a workflow or an action; YAML 1.1 takes its key `on` for a truth value."""
    content: dict[Any, Any] = yaml.safe_load(file.read_text())
    return {"on" if key is True else key: value for key, value in content.items()}


def workflow(name: str) -> dict[str, Any]:
    """Return one of the project's workflows."""
    return read(WORKFLOWS / f"{name}.yml")


def local_action(uses: str) -> dict[str, Any]:
    """Return the action of the project that `./PATH` names."""
    return read(ROOT / uses / "action.yml")


@dataclass(frozen=True)
class Step:
    """What became of a step."""

    name: str
    outcome: str
    output: str


@dataclass
class Job:
    """What became of a job."""

    steps: list[Step] = field(default_factory=list)
    actions: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """The actions that GitHub would run, with what they would get."""

    summary: str = ""

    @property
    def status(self) -> str:
        return "failure" if any(step.outcome == "failure" for step in self.steps) else "success"

    @property
    def output(self) -> str:
        return "\n".join(f"[{step.name}: {step.outcome}]\n{step.output}" for step in self.steps)

    def outcome(self, name: str) -> str:
        """Return the outcome of the step with this name."""
        return next(step.outcome for step in self.steps if step.name == name)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Where jobs run: a folder that a checkout has filled, and the environment that a runner has."""

    folder: Path
    environment: Mapping[str, str]
    contexts: Contexts
    only_shown: Sequence[str] = ()
    """Commands of make that aren't run, but shown by `make --dry-run`: they have tests of their own."""

    ran: set[str] = field(default_factory=set)
    """The texts of all `run:` that ran, in all jobs."""

    def run(self, workflow_name: str, job_name: str, **more: Any) -> Job:
        """Run a job; `more` are contexts besides, such as `matrix`."""
        content = workflow(workflow_name)
        contexts = {"github": {}, "vars": {}, "inputs": {}, "secrets": {}, "job": {}} | dict(self.contexts) | more
        contexts["env"] = {name: str(filled_in(text, contexts)) for name, text in content.get("env", {}).items()}
        job = Job()
        with tempfile.TemporaryDirectory() as temporary:
            self._run_steps(content["jobs"][job_name]["steps"], contexts | {"steps": {}}, job, Path(temporary))
            summary = Path(temporary) / "GITHUB_STEP_SUMMARY"
            job.summary = summary.read_text() if summary.exists() else ""
        return job

    def run_action(self, uses: str, **inputs: str) -> Job:
        """Run the steps of one of the project's own actions."""
        job = Job()
        contexts = {"env": {}} | dict(self.contexts) | {"inputs": inputs, "steps": {}}
        with tempfile.TemporaryDirectory() as temporary:
            self._run_steps(local_action(uses)["runs"]["steps"], contexts, job, Path(temporary))
        return job

    def _run_steps(self, steps: Sequence[dict[str, Any]], contexts: dict[str, Any], job: Job, temporary: Path) -> None:
        for step in steps:
            name = str(filled_in(step.get("name", step.get("uses", "")), contexts))
            if not holds(step.get("if", "success()"), contexts, status=job.status):
                job.steps.append(Step(name, "skipped", ""))
            elif "run" in step:
                job.steps.append(self._run_command(name, step, contexts, temporary))
            else:
                given = {key: filled_in(str(text), contexts) for key, text in step.get("with", {}).items()}
                if step["uses"].startswith("./"):
                    inner = contexts | {"inputs": given, "steps": {}}
                    self._run_steps(local_action(step["uses"])["runs"]["steps"], inner, job, temporary)
                else:
                    job.actions.append((step["uses"].partition("@")[0], given))
            if "id" in step:
                outputs = dict(_pairs(temporary / "GITHUB_OUTPUT"))
                contexts["steps"][step["id"]] = {"outcome": job.steps[-1].outcome, "outputs": outputs}

    def _run_command(self, name: str, step: Mapping[str, Any], contexts: Contexts, temporary: Path) -> Step:
        text = step["run"]
        self.ran.add(text)
        (temporary / "GITHUB_OUTPUT").unlink(missing_ok=True)
        environment = {
            **self.environment,
            **contexts["env"],
            "RUNNER_TEMP": str(temporary),
            **{file: str(temporary / file) for file in FILES},
            **{variable: str(filled_in(str(value), contexts)) for variable, value in step.get("env", {}).items()},
        }
        if text in self.only_shown:
            environment["MAKEFLAGS"] = f"-n {environment.get('MAKEFLAGS', '')}"
        script = temporary / "script.sh"
        script.write_text(text)
        done = subprocess.run(
            [*BASH, str(script)],
            check=False,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Step(name, "failure" if done.returncode else "success", done.stdout)


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines() if file.exists() else ():
        name, _, value = line.partition("=")
        yield name, value


def all_steps() -> Iterator[dict[str, Any]]:
    """Yield each step of all workflows and of the project's own actions."""
    for file in WORKFLOWS.glob("*.yml"):
        for job in read(file)["jobs"].values():
            yield from job["steps"]
    for file in (ROOT / ".github" / "actions").glob("*/action.yml"):
        yield from read(file)["runs"]["steps"]
