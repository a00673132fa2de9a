"""What the tests of the engine have in common: settings and images to deploy, and ways to look at what came of it."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import yaml

from components.registry import MANIFESTS, PushedImage, digest_of, give_labels, served_label
from rehearsal import outsider
from rehearsal.folders import ROOT
from rehearsal.outsider import Outsider
from rehearsal.surroundings import Account, Outcome, Prober, Stack, Workspace, containers, docker_login, get
from rehearsal.tools import Tools
from settings import parse

PROJECT = "booklink-backend"
ZONE = "booklinktrove.com"

QUICK_HEALTH = {"interval": 5, "timeout": 2, "healthyThreshold": 2, "unhealthyThreshold": 2, "gracePeriod": 5}
"""The shortest intervals that AWS has: a test waits for each of them."""

SERVICE_ALONE = {"aws:ecs/taskDefinition:TaskDefinition": "replace", "aws:ecs/service:Service": "update"}
"""What a deployment may change, by type."""


def adjust(workspace: Workspace, stack: str, changes: Mapping[str, Any]) -> None:
    """Change settings in the copy's stack file: a group's are merged into it, and None takes a setting away."""
    file = _stack_file(workspace, stack)
    content = yaml.safe_load(file.read_text())
    for setting, value in changes.items():
        _merge(content["config"], {setting if ":" in setting else f"{PROJECT}:{setting}": value})
    file.write_text(yaml.safe_dump(content))


def _stack_file(workspace: Workspace, stack: str) -> Path:
    return workspace.directory / f"Pulumi.{stack}.yaml"


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def prepare_pre(workspace: Workspace, tools: Tools, changes: Mapping[str, Any] | None = None) -> None:
    """Have pre's file build the sample with what is here, and wait no longer than it must; then change it further."""
    adjust(workspace, "pre", {"health": QUICK_HEALTH, "service": {"deploymentTimeout": 120}, **(changes or {})})
    if tools.base_image:
        adjust(workspace, "pre", {"build": {"args": {"BASE": tools.base_image}}})


def prepare_live(
    workspace: Workspace, account: Account, tools: Tools, faults: Mapping[str, str], changes: Mapping[str, Any]
) -> Stack:
    """The stack that finds its image, with `changes` to its file: releases are there, by label, each with a fault."""
    account.client("ecr").create_repository(repositoryName=PROJECT)
    for tag, fault in faults.items():
        push(account, tag, base=tools.base_image, fault=fault)
    adjust(workspace, "live", {"health": QUICK_HEALTH, **changes})
    return workspace.stack("live")


def change_sample(workspace: Workspace, *, version: str) -> None:
    """Make the copy's sample another one, of `version`."""
    (workspace.directory / "app" / "VERSION").write_text(f"{version}\n")


def push(account: Account, tag: str, *, base: str | None, fault: str = "") -> None:
    """Put the sample into ECR as version and label `tag`, as another environment does that builds it."""
    repository = f"127.0.0.1:{account.port}/{PROJECT}"
    built = [] if base is None else ["--build-arg", f"BASE={base}"]
    docker("build", "--quiet", *built, "--tag", f"{repository}:built", str(ROOT / "app"))
    variant = f'FROM {repository}:built\nENV APP_VERSION="{tag}" SAMPLE_FAULT="{fault}"\n'
    docker("build", "--quiet", "--tag", f"{repository}:{tag}", "-", given=variant)
    docker(*docker_login(account), "push", "--quiet", f"{repository}:{tag}")


def pushed(account: Account, tag: str) -> PushedImage:
    """The image that has a label in ECR."""
    number = account.client("sts").get_caller_identity()["Account"]
    image = PushedImage(account=number, repository=PROJECT, digest="")
    return PushedImage(account=number, repository=PROJECT, digest=digest_of(account.client("ecr"), image, tag))


def has_served(account: Account, *tags: str) -> None:
    """Give images the label that they get where pre serves them."""
    for tag in tags:
        image = pushed(account, tag)
        give_labels(account.client("ecr"), image, served_label(image.digest))


def put_for(account: Account, tag: str, *, of: str, architecture: str) -> None:
    """Put an image under `tag` that is the one with the label `of`, but says that it is for another architecture."""
    ecr, place = account.client("ecr"), pushed(account, of).place
    answer = ecr.batch_get_image(**place, imageIds=[{"imageTag": of}], acceptedMediaTypes=MANIFESTS)["images"][0]
    manifest = json.loads(answer["imageManifest"])
    address = ecr.get_download_url_for_layer(**place, layerDigest=manifest["config"]["digest"])["downloadUrl"]
    with urlopen(address) as link:  # noqa: S310 ECR's own address
        content = json.dumps({**json.load(link), "architecture": architecture}).encode()
    manifest["config"] |= {"digest": _pushed_blob(account, content), "size": len(content)}
    ecr.put_image(
        **place,
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=answer["imageManifestMediaType"],
        imageTag=tag,
    )


def _pushed_blob(account: Account, content: bytes) -> str:
    """Push a blob to the account's registry as `docker push` does, and return its digest."""
    [given] = account.client("ecr").get_authorization_token()["authorizationData"]
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    headers = {"Authorization": f"Basic {given['authorizationToken']}", "Content-Type": "application/octet-stream"}
    begin = Request(f"{account.endpoint}/v2/{PROJECT}/blobs/uploads/", method="POST", headers=headers)  # noqa: S310
    with urlopen(begin) as begun:  # noqa: S310 the account on this machine
        place = urljoin(account.endpoint, begun.headers["Location"])
    end = f"{place}{'&' if '?' in place else '?'}digest={digest}"
    with urlopen(Request(end, method="PUT", headers=headers, data=content)):  # noqa: S310
        return digest


def labels(account: Account, digest: str) -> set[str]:
    """The labels that an image has in ECR."""
    found = account.client("ecr").describe_images(repositoryName=PROJECT, imageIds=[{"imageDigest": digest}])
    return set(found["imageDetails"][0].get("imageTags", []))


def command(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project, such as `commands.release v1.0.0`, as make does."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=workspace.directory,
        env=workspace.environment,
    )


def docker(*arguments: str, given: str = "") -> str:
    """What the `docker` command answers; `given` is its standard input."""
    command = ["docker", *arguments]
    done = subprocess.run(command, check=False, input=given, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def errors(outcome: Outcome) -> int:
    """How many errors of the program a command ended with.

    Pulumi's closing line after one doesn't count, nor what the AWS plugin logs of a look-up that found nothing.
    """
    lines = [line.strip() for line in outcome.output.partition("Diagnostics:")[2].splitlines()]
    others = ("error: an unhandled error occurred: Program exited", "error: [ERROR] :")
    return sum(line.startswith("error:") and not line.startswith(others) for line in lines)


def deploy(stack: Stack, tag: str, *options: str, check: bool = True) -> Outcome:
    """Deploy the image that `tag` names."""
    return stack.run("up", "--yes", "--skip-preview", "--config", f"tag={tag}", *options, check=check)


def fails(outcome: Outcome) -> None:
    """Assert that a command failed as it should: with one error, and no traceback."""
    assert outcome.status != 0, outcome.output
    assert errors(outcome) == 1, outcome.output
    assert "Traceback" not in outcome.output, outcome.output


def fails_while_another_serves(stack: Stack, tag: str, *, seconds: float) -> Outcome:
    """Deploy what fails: within so many seconds, and one task of the version before serves on; no request is lost."""
    before = version(stack)
    with Prober(stack.workspace.account, stack.outputs()["url"]) as prober:
        outcome = deploy(stack, tag, check=False)
    fails(outcome)
    assert outcome.seconds < seconds
    assert prober.probes, "a client asked"
    assert prober.lost == [], prober.summary()
    assert version(stack) == before
    assert re.search(rf"Serving now: 1 task\(s\) of {PROJECT}-{stack.name}:\d+", outcome.output)
    return outcome


def version(stack: Stack) -> str:
    """The version that answers at the stack's URL."""
    page = get(stack.workspace.account, f"{stack.outputs()['url']}/info")
    return str(json.loads(page.body)["version"])


def advice(outcome: Outcome) -> str:
    """What the report of a failed deployment tells to do."""
    [found] = [line.strip() for line in outcome.output.splitlines() if line.strip().startswith("What to do: ")]
    return found


def state(stack: Stack, *options: str) -> list[dict[str, Any]]:
    """The resources in the stack's state."""
    deployment = answer(stack.run("stack", "export", *options))["deployment"]
    found: list[dict[str, Any]] = deployment.get("resources") or []
    return found


def answer(outcome: Outcome) -> dict[str, Any]:
    """The JSON object in what a command printed."""
    text = outcome.output
    found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return found


def changes(stack: Stack, *options: str) -> dict[str, str]:
    """What an update would do, by each resource's type; what would stay as it is is left out.

    Of a replacement the engine lists three steps, which are one here.
    """
    steps = answer(stack.run("preview", "--json", *options))["steps"]
    done = {each["urn"].split("::")[2].rpartition("$")[2]: each["op"] for each in steps if each["op"] != "same"}
    return {kind: "replace" if "replace" in op else op for kind, op in done.items()}


def service(stack: Stack) -> dict[str, Any]:
    """The stack's service, as ECS describes it."""
    outputs = stack.outputs()
    ecs = stack.workspace.account.client("ecs")
    found: dict[str, Any] = ecs.describe_services(cluster=outputs["cluster"], services=[outputs["service"]])[
        "services"
    ][0]
    return found


def costs_by_the_hour(account: Account) -> list[str]:
    """What is in the account that costs by the hour, and the containers that stand for it here."""
    return [*outsider.costing_by_the_hour(account.client), *containers(account.port)]


def looked_at(stack: Stack) -> list[str]:
    """What an outsider sees of an environment that is up; raises Unexpected where something isn't as it should be."""
    content = yaml.safe_load(_stack_file(stack.workspace, stack.name).read_text())["config"]
    given = {name.removeprefix(f"{PROJECT}:"): value for name, value in content.items() if name.startswith(PROJECT)}
    settings = parse(given, stack=stack.name)
    seen = Outsider(stack.workspace.account.client, settings=settings, outputs=stack.outputs())
    return [check() for check in seen.checks()]
