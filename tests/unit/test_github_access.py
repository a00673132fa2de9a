"""GitHub's roles as a stack makes them, and whether it is the one that declares GitHub's OIDC provider."""

import json
from typing import Any

import pulumi
import pytest

from components.github_access import GitHubAccess, GitHubAccessArgs
from components.github_policies import ISSUER, deploy_policies, preview_policy
from components.lookups import Missing
from components.policies import SecretAccess
from tests.unit.aws_answers import ACCOUNT, PROVIDER_ARN
from tests.unit.mocked_engine import PROJECT, AwsError, Deployment, run
from tests.unit.stack_files import run_program, stack_file, values
from tests.unit.test_github_policies import SECRET, environment

COMPONENT = "booklink:backend:GitHubAccess"
PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
POLICY, ROLE, ATTACHMENT = (
    f"aws:iam/{kind}:{kind[0].upper()}{kind[1:]}" for kind in ("policy", "role", "rolePolicyAttachment")
)
LOOK_UP = "aws:iam/getOpenIdConnectProvider:getOpenIdConnectProvider"
NOT_FOUND = AwsError(f"finding IAM OIDC Provider by url (https://{ISSUER}): not found")
NOT_FOUND_BY_6 = AwsError(f"reading IAM OIDC Provider (https://{ISSUER}): couldn't find resource")
OTHERS: dict[str, Any] = {"id": PROVIDER_ARN, "arn": PROVIDER_ARN, "tags": {"Team": "platform"}}
GITHUB = {f"{PROJECT}:github": {"repository": "booklink/backend"}}


def made(*, owns_provider: bool = True, **changes: Any) -> Deployment:
    args = GitHubAccessArgs(
        repository="booklink/backend",
        branch="master",
        owns_provider=owns_provider,
        environment=environment(**changes),
    )
    return run(lambda: GitHubAccess("backend-pre", args))


def program(stack: str, answer: object, *, into: Deployment | None = None) -> Deployment:
    release = {f"{PROJECT}:tag": "v1.2.3"} if stack == "live" else {}
    given = {**values(stack_file(stack)), **release, **GITHUB}
    return run_program(stack, given, answers={LOOK_UP: answer}, preview=True, into=into)


def tagged(stack: str) -> dict[str, Any]:
    return {**OTHERS, "tags": {"Project": PROJECT, "Environment": stack, "ManagedBy": "pulumi"}}


@pytest.fixture(scope="module")
def access() -> Deployment:
    return made()


def test_each_role_has_what_it_needs_and_the_previewing_one_no_more(access: Deployment) -> None:
    attached: dict[str, set[str]] = {}
    for each in access.all(ATTACHMENT):
        attached.setdefault(each.inputs["role"].rpartition("-")[0], set()).add(each.inputs["policyArn"])
    arns = {each.name: each.outputs["arn"] for each in access.all(POLICY)}
    preview = arns["backend-pre-preview"]
    parts = {arns[f"backend-pre-{part}"] for part in deploy_policies(environment())}
    assert attached == {"backend-pre-preview": {preview}, "backend-pre-deploy": {preview, *parts}}
    assert json.loads(access.one(POLICY, "-preview").inputs["policy"]) == preview_policy(environment())


def test_all_of_it_is_protected_and_outside_of_what_a_deployment_may_change(access: Deployment) -> None:
    own = [each for each in access.resources if not each.is_component]
    assert [each.name for each in own if not each.protect] == [], "a deployment's own destroy leaves it"
    paths = {each.inputs["path"] for each in [*access.all(POLICY), *access.all(ROLE)]}
    assert paths == {"/github/backend/pre/"}


def test_what_the_policies_name_is_what_is_made(access: Deployment) -> None:
    boundary = access.one(POLICY, "-boundary").inputs
    assert environment().boundary_arn == f"arn:aws:iam::{ACCOUNT}:policy{boundary['path']}{boundary['name']}"
    role = json.loads(access.one(ROLE, "-deploy").inputs["assumeRolePolicy"])
    assert {each["Principal"]["Federated"] for each in role["Statement"]} == {PROVIDER_ARN}


def test_one_stack_declares_the_provider_and_its_roles_wait_for_it(access: Deployment) -> None:
    provider = access.one(PROVIDER)
    assert provider.inputs["url"] == f"https://{ISSUER}"
    assert provider.inputs["clientIdLists"] == ["sts.amazonaws.com"]
    assert all(access.depends_on(role, provider) for role in access.all(ROLE))
    assert made(owns_provider=False).all(PROVIDER) == []


def test_it_hangs_on_nothing_that_destroy_takes_away(access: Deployment) -> None:
    urns = {each.urn for each in access.resources}
    assert [each.name for each in access.resources if each.depends_on - urns] == [], (
        "destroy --exclude-protected keeps what a protected resource depends on"
    )


def test_too_many_secrets_are_one_clear_error() -> None:
    many = SecretAccess(secret_arns=[f"{SECRET}{number}" for number in range(60)])
    with pytest.raises(pulumi.RunError, match=r"container\.readableSecrets"):
        made(readable=many)


@pytest.mark.parametrize(
    ("stack", "answer", "declares"),
    [
        ("pre", NOT_FOUND, True),
        ("pre", NOT_FOUND_BY_6, True),
        ("pre", tagged("pre"), True),
        ("pre", tagged("live"), False),
        ("pre", OTHERS, False),
        ("live", tagged("pre"), False),
        ("live", OTHERS, False),
    ],
    ids=[
        *("none, pre", "none by version 6, pre", "ours, pre", "of another stack, pre", "another's, pre"),
        *("of pre, live", "another's, live"),
    ],
)
def test_the_building_stack_declares_the_provider_unless_it_is_anothers(
    stack: str, answer: object, declares: bool
) -> None:
    assert bool(program(stack, answer).all(PROVIDER)) is declares


def test_live_without_a_provider_says_what_to_run_first() -> None:
    asked = Deployment()
    with pytest.raises(Missing, match="run `pulumi up --stack pre` first"):
        program("live", NOT_FOUND, into=asked)
    assert [each for each in asked.resources if each.type != "pulumi:providers:aws"] == []


def test_where_aws_does_not_say_nothing_is_declared() -> None:
    with pytest.raises(Missing, match="AccessDenied"):
        program("pre", AwsError("reading IAM OIDC Provider: AccessDenied"))


def test_the_environments_roles_have_the_boundary_and_githubs_have_none() -> None:
    deployed = program("pre", NOT_FOUND)
    boundary = deployed.one(POLICY, "-boundary").outputs["arn"]
    held = {
        role.name.removeprefix(f"{PROJECT}-pre-"): role.inputs.get("permissionsBoundary") for role in deployed.all(ROLE)
    }
    assert held == {"instance": boundary, "execution": boundary, "task": boundary, "preview": None, "deploy": None}
    names = {role.inputs["path"] for role in deployed.all(ROLE)}
    assert names == {f"/{PROJECT}/pre/", f"/github/{PROJECT}/pre/"}


def test_the_output_names_both_roles() -> None:
    deployed = program("pre", NOT_FOUND)
    assert deployed.outputs["github"] == {
        "previewRole": deployed.one(ROLE, "-preview").outputs["arn"],
        "deployRole": deployed.one(ROLE, "-deploy").outputs["arn"],
    }


def test_without_the_setting_there_is_nothing_of_it() -> None:
    deployed = run_program("pre", values(stack_file("pre")), preview=True)
    assert deployed.all(COMPONENT) == []
    assert "github" not in deployed.outputs
    assert all("permissionsBoundary" not in role.inputs for role in deployed.all(ROLE))
