"""The rehearsal: both environments brought up, looked at, changed, broken and taken down, as their users would."""

import functools
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from commands.processes import is_running
from components.failure_report import NOT_SERVED
from components.secret_references import SecretReference
from rehearsal import outsider, page, pulumi_output, surroundings
from rehearsal.base import BaseError
from rehearsal.docker_engine import DockerError
from rehearsal.folders import CACHE
from rehearsal.outsider import Outsider, Unexpected, expect
from rehearsal.progress import CommandError, Say
from rehearsal.pulumi_engine import EngineError
from rehearsal.surroundings import (
    Account,
    Outcome,
    Prober,
    Stack,
    SurroundingsError,
    UnreachableError,
    Workspace,
    interruptible,
    undisturbed,
)
from rehearsal.table import Report, Step
from rehearsal.tools import tools
from settings import Settings, WrongSettings, parse

LOGS = CACHE / "rehearsal" / "logs"
RELEASE, FAULTY, MENDED = "v1.0.0", "v1.1.0", "v1.2.0"
"""The releases: a first one, one that works in pre and not in live, and one that is well again."""

ENVIRONMENTS = ("pre", "live")
OLD_TASKS_GONE_SECONDS = 90
CRASH_LOG = "cannot reach database"
"""What the sample logs where it crashes: app/README.md."""

CRASHES_IN_LIVE = "crash:live"
"""The sample's fault of the faulty release: what it needs is there in pre, and not in live."""

CHANGED_BY_A_NEW_IMAGE = ["aws:ecs:Service", "aws:ecs:TaskDefinition", "docker:index:Image"]
INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended: 128 and the signal's number."""

EXPECTED_ERRORS = (
    BaseError,
    BotoCoreError,
    ClientError,
    CommandError,
    DockerError,
    EngineError,
    LookupError,
    OSError,
    SurroundingsError,
    Unexpected,
    UnreachableError,
    WrongSettings,
    http.client.HTTPException,
)
"""What ends a rehearsal with its message; anything else is a defect of the rehearsal, and shows its traceback."""


def rehearse(*, keep: bool, say: Say) -> int:
    """Run the rehearsal, and give its exit status: 0 only where everything held. Nothing is left running.

    With `keep` it ends once both environments serve: they go on until Ctrl-C.
    """
    report, status, logs = Report(say), 1, fresh_logs()
    with interruptible():
        try:
            with ExitStack() as surrounding:
                try:
                    _rehearse(report, surrounding, logs=logs, keep=keep, say=say)
                except BaseException:
                    say("\n  ending what was started")
                    raise
            status = 0
        except KeyboardInterrupt:
            status = INTERRUPTED
        except EXPECTED_ERRORS as error:
            say(f"\nThis did not hold: {error or type(error).__name__}\n")
    if report.steps:
        say(f"\n{report.table()}")
    say(
        {
            0: "\nEverything held, and nothing is left running.",
            1: f"\nThe rehearsal failed; nothing is left running. Its logs: {os.path.relpath(logs)}",
            INTERRUPTED: "\nThe rehearsal was interrupted; nothing is left running.",
        }[status]
    )
    return status


def fresh_logs() -> Path:
    """A folder for the logs of this rehearsal; those of rehearsals that have ended go."""
    for folder in LOGS.glob("*"):
        if not (folder.name.isdigit() and is_running(int(folder.name))):
            shutil.rmtree(folder, ignore_errors=True)
    own = LOGS / str(os.getpid())
    own.mkdir(parents=True, exist_ok=True)
    return own


def _rehearse(report: Report, surrounding: ExitStack, *, logs: Path, keep: bool, say: Say) -> None:
    """All steps; whatever they start is ended by `surrounding`."""
    with report.step("tools", "Docker runs the containers, Pulumi's engine the program") as step:
        have = surrounding.enter_context(tools(say=say))
        step.saw("Docker answers, Pulumi's engine is ready")
        step.saw(f"base image {have.base_image or 'of the Dockerfile'}")
    with report.step("account", "an emulated AWS account, with what a real one has before a first deployment") as step:
        account = surrounding.enter_context(surroundings.account())
        surrounding.callback(shutil.copy, account.folder / "log", logs / "account.log")
        workspace = surrounding.enter_context(surroundings.workspace(account, have.variables))
        walk = Walk(account=account, workspace=workspace, logs=logs, report=report, say=say)
        walk.prepare(step, base_image=have.base_image)
    walk.merge()
    if not keep:
        walk.look("pre", "what anybody with read access to the account sees of pre")
        walk.preview_again()
        walk.merge_again()
    walk.release()
    walk.bring_up_live()
    if keep:
        say(walk.instructions())
        _wait_for_interrupt()
        return
    walk.look("live", "the same checks of live")
    walk.release_what_fails()
    walk.mend()
    walk.roll_back()
    walk.destroy()


def _wait_for_interrupt() -> None:
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        pass


@dataclass(kw_only=True)
class Walk:
    """The steps through both environments, and what one needs of those before it.

    `served` has the sample's version of each release that live has served, and `commit` is the one of the last merge.
    """

    account: Account
    workspace: Workspace
    logs: Path
    report: Report
    say: Say
    settings: dict[str, Settings] = field(default_factory=dict)
    stacks: dict[str, Stack] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    served: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def __post_init__(self) -> None:
        self.client = functools.cache(self.account.client)

    # Steps

    def prepare(self, step: Step, *, base_image: str | None) -> None:
        """Fill the account, and give the copy's stacks what only a rehearsal wants."""
        directory = self.workspace.directory
        self.settings = {name: settings_of(directory, name) for name in ENVIRONMENTS}
        zones = sorted({settings.zone for settings in self.settings.values()})
        names = sorted({name for settings in self.settings.values() for name in secret_ids(settings)})
        value = {"username": "booklink", "password": self.password}
        for number, zone in enumerate(zones):
            surroundings.seed(self.account, zone=zone, secrets={} if number else dict.fromkeys(names, value))
        number = self.client("sts").get_caller_identity()["Account"]
        self.say(f"  account {number} answers at {self.account.endpoint}")
        for name, settings in self.settings.items():
            self.stacks[name] = self.workspace.stack(name)
            # So that the page tells that it can read its own secrets, and not those of the other environment.
            self._configure(name, "container.environment.APP_READS_SECRETS", ",".join(names))
            if base_image and settings.build:
                self._configure(name, "build.args.BASE", base_image)
        step.saw(f"hosted zone {', '.join(zones)}, secrets {', '.join(names)}, and nothing else")

    def merge(self) -> None:
        purpose = "a merge: `pulumi up --stack pre` builds the image, pushes it as master and brings pre up"
        with self.report.step("merge", purpose) as step:
            self._merge()
            step.saw(self._page("pre"))

    def look(self, name: str, purpose: str) -> None:
        with self.report.step(f"{name}, seen from outside", purpose) as step:
            seen = self._outsider(name)
            checks: list[Callable[[], str]] = [*seen.checks(), functools.partial(self._no_secret_is_told, name, seen)]
            if name != "pre":
                checks.append(self._runs_what_pre_runs)
            failed = outsider.failures(checks, say=self.say)
            step.saw(f"{len(checks) - len(failed)} of {len(checks)} checks hold")
            expect(not failed, "; ".join(failed))

    def preview_again(self) -> None:
        with self.report.step("preview", "a second `pulumi preview` must find nothing to change") as step:
            outcome = self._pulumi("pre", "preview", "--expect-no-changes")
            expect(outcome.status == 0, "a second preview of pre would change something")
            step.saw(f"no changes, after {outcome.seconds:.1f} s")

    def merge_again(self) -> None:
        purpose = "a second merge, with another version of the sample, while a client asks ten times a second"
        with self.report.step("second merge", purpose) as step:
            with self._prober("pre") as prober:
                outcome = self._merge(version="1.0.1")
                self._old_tasks_are_gone("pre")
            self._nothing_was_lost(prober)
            self._page("pre")
            step.saw(f"version {self._version()} serves in pre")
            step.saw(prober.summary())
            changed = pulumi_output.changed(outcome.output)
            expect(changed == CHANGED_BY_A_NEW_IMAGE, f"changed were {changed}, not {CHANGED_BY_A_NEW_IMAGE} alone")
            step.saw(f"changed: {', '.join(each.rpartition(':')[2] for each in changed)}")

    def release(self) -> None:
        purpose = f"a release: the image that pre runs gets the label {RELEASE}; nothing is built or pulled"
        with self.report.step("release", purpose) as step:
            self._release(RELEASE)
            again = self._release(RELEASE)
            expect("nothing to do" in again.output, "the same release again did something")
            step.saw(f"{RELEASE} is {outsider.short(self._digest('pre'))}, which pre runs; the same again does nothing")

    def bring_up_live(self) -> None:
        purpose = f"`pulumi up --stack live --config tag={RELEASE}` brings live up with that image, byte for byte"
        with self.report.step("live", purpose) as step:
            self._up("live", "--config", f"tag={RELEASE}")
            step.saw(self._page("live"))
            self.served[RELEASE] = self._version()

    def release_what_fails(self) -> None:
        purpose = (
            f"{FAULTY} works in pre and crashes in live: `pulumi up` must fail and say why, while {RELEASE} serves on"
        )
        with self.report.step("failed release", purpose) as step:
            self._merge(version="1.1.0", fault=CRASHES_IN_LIVE)
            self._page("pre")
            self._release(FAULTY)
            before = self.stacks["live"].outputs()["taskDefinition"]
            with self._prober("live") as prober:
                outcome = self._pulumi(
                    "live", "up", "--yes", "--skip-preview", "--suppress-outputs", "--config", f"tag={FAULTY}"
                )
            expect(outcome.status, f"`pulumi up` of {FAULTY} succeeded")
            missing = [
                text for text in ("ecs-svc/", "exit code 1", CRASH_LOG, "Serving now:") if text not in outcome.output
            ]
            expect(not missing, f"the report of the failure lacks {missing}")
            step.saw(f"failed after {outcome.seconds:.0f} s, with deployment, exit code and log line")
            self._nothing_was_lost(prober)
            running = {task["taskDefinitionArn"] for task in self._outsider("live").tasks()}
            expect(running == {before}, f"{running} run, not {before}")
            self._page("live", version=self.served[RELEASE])
            step.saw(f"version {self.served[RELEASE]} serves on")
            step.saw(prober.summary())
            outcome = self._pulumi("live", "preview")
            expect(NOT_SERVED in outcome.output, "the next preview doesn't tell of the failure")
            step.saw("the next preview says so too")

    def mend(self) -> None:
        purpose = f"the cause is mended in the next merge, and {MENDED} released to live"
        with self.report.step("mended release", purpose) as step:
            self._merge(version="1.2.0", fault="")
            self._release(MENDED)
            self._up("live", "--suppress-outputs", "--config", f"tag={MENDED}")
            self._page("live")
            step.saw(f"version {self._version()} serves in live")

    def roll_back(self) -> None:
        purpose = f"back by hand: `pulumi up --stack live --config tag={RELEASE}`, while a client asks"
        with self.report.step("roll back", purpose) as step:
            with self._prober("live") as prober:
                outcome = self._up("live", "--suppress-outputs", "--config", f"tag={RELEASE}")
                self._old_tasks_are_gone("live")
            self._nothing_was_lost(prober)
            self._page("live", version=self.served[RELEASE])
            step.saw(f"version {self.served[RELEASE]} serves in live again, after {outcome.seconds:.0f} s")
            step.saw(prober.summary())
            preview = self._pulumi("live", "preview", "--expect-no-changes")
            expect(preview.status == 0, "a preview after the way back would change something")

    def destroy(self) -> None:
        purpose = "both environments go, side by side; nothing that costs by the hour may stay"
        with self.report.step("destroy", purpose) as step:
            arguments = ("destroy", "--yes", "--skip-preview", "--suppress-outputs")
            outcomes = self._side_by_side({"pre": (*arguments, "--exclude-protected"), "live": arguments})
            failed = [name for name, outcome in outcomes.items() if outcome.status]
            expect(not failed, f"`pulumi destroy` failed for {failed}")
            left = outsider.costing_by_the_hour(self.client) + surroundings.containers(self.account.port)
            expect(not left, f"this is left, and costs: {left}")
            step.saw("nothing that costs by the hour is left, and no container")
            kept = {kind: names for kind, names in outsider.staying(self.client).items() if names}
            self.say("  stays on purpose: " + "; ".join(f"{kind} {', '.join(names)}" for kind, names in kept.items()))
            step.saw("on purpose stay " + ", ".join(f"{len(names)} {kind}" for kind, names in kept.items()))

    # What the steps are made of

    def instructions(self) -> str:
        """How to use what runs, from another terminal."""
        own = {name: value for name, value in self.workspace.environment.items() if os.environ.get(name) != value}
        own |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        hosts = [f"{settings.host}.{settings.zone}" for settings in self.settings.values()]
        gone = sorted(name for name in os.environ if name.startswith("AWS_") and name not in self.account.variables)
        lines = [
            "",
            "Both environments run until Ctrl-C, which deletes them and the copy of the project.",
            "To use them from another terminal:",
            "",
            *([f"unset {' '.join(gone)}"] if gone else []),
            *(f"export {name}={shlex.quote(value)}" for name, value in sorted(own.items())),
            f"cd {shlex.quote(str(self.workspace.directory))}  # a copy: change its files, not yours",
            "",
            "    pulumi stack output --stack pre",
            "    pulumi up --stack pre                  # deploys what you change in app/",
            "    make preview STACK=live",
            "    make release VERSION=v1.0.1",
            "    pulumi up --stack live --config tag=v1.0.1",
            "    aws ecs list-clusters",
            *(f"    curl -H 'Host: {host}:443' {self.account.endpoint}/" for host in hosts),
            "",
        ]
        return "\n".join(lines)

    def _configure(self, name: str, path: str, value: str) -> None:
        self.stacks[name].run(
            "set", "--plaintext", "--path", f"{project_of(self.workspace.directory)}:{path}", value, group="config"
        )

    def _pulumi(self, name: str, *arguments: str, prefix: str = "  ") -> Outcome:
        """Run `pulumi` on a stack and show its progress; all that it prints is in the logs."""
        self.say(f"  $ pulumi {' '.join(arguments)} --stack {name}")
        with pulumi_output.Progress(self.say, prefix=prefix) as progress:
            options = ("--suppress-progress", "--color", "never")
            outcome = self.stacks[name].run(*arguments, *options, say=progress.line, check=False)
        self.printed.append(outcome.output)
        (self.logs / f"{len(self.printed):02}-{arguments[0]}-{name}.log").write_text(f"{outcome.output}\n")
        return outcome

    def _command(self, target: str, *arguments: str, **variables: str) -> Outcome:
        """Run what `make TARGET` runs, and show it as a person would type it."""
        self.say(f"  $ make {target} {' '.join(f'{name}={value}' for name, value in variables.items())}")
        outcome = surroundings.run_in_session(
            [sys.executable, "-m", *arguments],
            directory=self.workspace.directory,
            environment=self.workspace.environment,
            say=lambda line: self.say(f"  {line}"),
        )
        expect(outcome.status == 0, f"`make {target}` ended with {outcome.status}")
        return outcome

    def _merge(self, *, version: str | None = None, fault: str | None = None) -> Outcome:
        """Do what a merge does: change the sample, deploy it to pre, label its image with the commit."""
        app = self.workspace.directory / "app"
        if version is not None:
            (app / "VERSION").write_text(f"{version}\n")
        if fault is not None:
            lines = [line for line in (app / "Dockerfile").read_text().splitlines() if "SAMPLE_FAULT" not in line]
            lines += [f"ENV SAMPLE_FAULT={fault}"] if fault else []
            (app / "Dockerfile").write_text("\n".join([*lines, ""]))
        self.commit = secrets.token_hex(20)
        outcome = self._up("pre", *(["--suppress-outputs"] if version else []))
        self._command("label", "commands.release", "--commit", self.commit, COMMIT=self.commit)
        return outcome

    def _release(self, version: str) -> Outcome:
        arguments = ("commands.release", version, "--commit", self.commit)
        return self._command("release", *arguments, VERSION=version, COMMIT=self.commit)

    def _digest(self, name: str) -> str:
        return str(self.stacks[name].outputs()["image"].partition("@")[2])

    def _up(self, name: str, *arguments: str) -> Outcome:
        outcome = self._pulumi(name, "up", "--yes", "--skip-preview", *arguments)
        expect(outcome.status == 0, f"`pulumi up --stack {name}` ended with {outcome.status}; it says above why")
        return outcome

    def _side_by_side(self, commands: Mapping[str, Sequence[str]]) -> dict[str, Outcome]:
        """Run `pulumi` on several stacks at once; all of them are stopped where this is interrupted."""
        width = max(map(len, commands))
        with ThreadPoolExecutor(len(commands)) as pool:
            asked = {
                pool.submit(self._pulumi, name, *arguments, prefix=f"  {name:{width}} | "): name
                for name, arguments in commands.items()
            }
            try:
                return {asked[each]: each.result() for each in as_completed(asked)}
            except BaseException:
                with undisturbed():
                    surroundings.end_sessions()
                    pool.shutdown()
                raise

    def _page(self, name: str, *, version: str | None = None) -> str:
        """Get an environment's page as a client would, and give in words what it says.

        It must be of `version`, which is the one of the last merge where none is given.
        """
        settings, url = self.settings[name], self.stacks[name].outputs()["url"]
        answer = surroundings.get(self.account, url, accept="application/json")
        expect(answer.status == http.HTTPStatus.OK, f"{url} answers {answer.status}: {answer.body[:200]}")
        own = secret_ids(settings)
        others = sorted({each for other in self.settings.values() for each in secret_ids(other)} - set(own))
        expected = page.Expected(
            version=version or self._version(),
            settings=settings,
            readable=own,
            denied=others,
        )
        differences = expected.differences(page.parse(answer.body))
        expect(not differences, f"the page of {url}: {'; '.join(differences)}")
        self.say(f"  {url} by its alias and listener: {expected.words()}")
        return expected.words()

    def _version(self) -> str:
        return (self.workspace.directory / "app" / "VERSION").read_text().strip()

    def _outsider(self, name: str) -> Outsider:
        return Outsider(self.client, settings=self.settings[name], outputs=self.stacks[name].outputs())

    def _no_secret_is_told(self, name: str, seen: Outsider) -> str:
        stack = self.stacks[name]
        places = {
            "what pulumi printed": "\n".join(self.printed),
            "the state": stack.run("stack", "export", "--show-secrets").output,
            "the outputs": json.dumps(stack.outputs()),
            "the task definition": seen.task_definition_text(),
        }
        told = [place for place, text in places.items() if self.password in text]
        expect(not told, f"the value of a secret is in {told}")
        return f"no secret's value is in {', '.join(places)}"

    def _runs_what_pre_runs(self) -> str:
        digests = {name: self._digest(name) for name in ENVIRONMENTS}
        expect(len(set(digests.values())) == 1, f"pre and live run {digests}")
        return f"live runs what pre runs: {outsider.short(digests['live'])}"

    def _prober(self, name: str) -> Prober:
        return Prober(self.account, self.stacks[name].outputs()["url"])

    def _nothing_was_lost(self, prober: Prober) -> None:
        self.say(f"  meanwhile: {prober.summary()}")
        expect(prober.probes and not prober.lost, f"requests were lost: {prober.lost[:5]}")

    def _old_tasks_are_gone(self, name: str) -> None:
        """Wait until only tasks of the newest task definition are there: the client must not notice that either."""
        seen, wanted = self._outsider(name), self.stacks[name].outputs()["taskDefinition"]
        deadline = time.monotonic() + OLD_TASKS_GONE_SECONDS
        while {task["taskDefinitionArn"] for task in seen.tasks()} != {wanted}:
            expect(time.monotonic() < deadline, f"tasks of the old version still run after {OLD_TASKS_GONE_SECONDS} s")
            time.sleep(1)


def project_of(directory: Path) -> str:
    """The project's name, which is also the namespace of its settings."""
    return str(yaml.safe_load((directory / "Pulumi.yaml").read_text())["name"])


def settings_of(directory: Path, stack: str) -> Settings:
    """The settings in a stack's committed file; the tag of one that gets it at each release is the rehearsal's.

    Raises:
        WrongSettings: which names every wrong one.
    """
    config = yaml.safe_load((directory / f"Pulumi.{stack}.yaml").read_text())["config"]
    namespace = f"{project_of(directory)}:"
    given = {key.removeprefix(namespace): value for key, value in config.items() if key.startswith(namespace)}
    return parse({"tag": RELEASE} | given, stack=stack)


def secret_ids(settings: Settings) -> list[str]:
    """The IDs of the secrets that an environment reads; what is named by ARN is in an account of its own."""
    texts = [*settings.container.readable_secrets, *settings.container.secrets.values()]
    references = [SecretReference.parse(text) for text in texts]
    return sorted({each.name for each in references if not each.is_arn})
