"""What GitHub's workflows may do: sessions of the roles, on the engine, in an account where IAM decides."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from rehearsal.surroundings import NO_PROFILE, REGION, Account, Outcome, Stack, Workspace, get
from rehearsal.tools import Tools
from tests.engine.deployments import (
    PROJECT,
    ZONE,
    adjust,
    change_sample,
    costs_by_the_hour,
    prepare_pre,
    service,
    state,
)

REPOSITORY = "booklink/backend"
ISSUER = "token.actions.githubusercontent.com"
PULL_REQUEST = f"repo:{REPOSITORY}:pull_request"
BRANCH = f"repo:{REPOSITORY}:ref:refs/heads/master"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@dataclass(frozen=True)
class Session:
    """Credentials of a role, as a workflow has them."""

    key: str
    secret: str
    token: str
    account: Account

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_SESSION_TOKEN": self.token,
        }

    def client(self, service: str) -> Any:
        session = boto3.Session(botocore_session=botocore.session.Session(session_vars=NO_PROFILE))
        return session.client(
            service,
            endpoint_url=self.account.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            aws_session_token=self.token,
        )

    def stack(self, stack: Stack) -> Stack:
        """The same stack, on which `pulumi` is run with these credentials."""
        place = stack.workspace
        variables = {**place.variables, **self.variables}
        return Stack(
            name=stack.name, workspace=Workspace(directory=place.directory, variables=variables, account=place.account)
        )


def token(subject: str, *, audience: str = "sts.amazonaws.com") -> str:
    """A token as GitHub gives it, but for the signature, which the emulated account doesn't look at."""
    claims = {"iss": f"https://{ISSUER}", "sub": subject, "aud": audience}
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({}, claims)]
    return ".".join([*parts, "signature"])


def take_on(account: Account, role_arn: str, subject: str, *, audience: str = "sts.amazonaws.com") -> Session:
    sts = account.client("sts")
    # The emulated account answers no request without a signature; AWS asks for none here.
    sts.meta.events.register_first("choose-signer.sts.AssumeRoleWithWebIdentity", lambda **_: "v4")
    given = sts.assume_role_with_web_identity(
        RoleArn=role_arn, RoleSessionName="github", WebIdentityToken=token(subject, audience=audience)
    )["Credentials"]
    return Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], account)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The record of every call; the account takes its place from the environment, when it starts."""
    file = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REHEARSAL_CALLS", str(file))
        yield file


@pytest.fixture(scope="module")
def account(calls: Path, account: Account) -> Account:  # noqa: ARG001 - the record comes first
    return account


@pytest.fixture(scope="module")
def pre(workspace: Workspace, tools: Tools) -> Stack:
    prepare_pre(workspace, tools, {"github": {"repository": REPOSITORY}})
    change_sample(workspace, version="one")
    return workspace.stack("pre")


@pytest.fixture(scope="module")
def roles(pre: Stack) -> Mapping[str, str]:
    """The roles, made as an administrator does, with the repository, which no deploying role may make; no more yet."""
    pre.run("up", "--yes", "--target", "**GitHubAccess**", "--target", "**Repository**")
    found: dict[str, str] = pre.outputs()["github"]
    return found


@pytest.fixture(scope="module")
def previewer(account: Account, roles: Mapping[str, str]) -> Session:
    return take_on(account, roles["previewRole"], PULL_REQUEST)


@pytest.fixture(scope="module")
def deployer(account: Account, roles: Mapping[str, str]) -> Session:
    return take_on(account, roles["deployRole"], BRANCH)


@pytest.fixture(scope="module")
def up(pre: Stack, deployer: Session) -> Outcome:
    """The whole environment, from nothing, as a workflow deploys it."""
    return deployer.stack(pre).run("up", "--yes")


def refused(call: Any, **arguments: Any) -> bool:
    """Whether IAM refuses a call; any other error is the test's own mistake, and passes through."""
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in REFUSED:
            return True
        raise
    return False


def recorded(calls: Path, session: str) -> list[dict[str, Any]]:
    """What a role's sessions asked for, as the account recorded it."""
    lines = [json.loads(line) for line in calls.read_text().splitlines()]
    return [each for each in lines if f"assumed-role/{PROJECT}-pre-{session}/" in each["who"]]


@pytest.mark.parametrize(
    ("role", "subject", "audience"),
    [
        ("previewRole", f"repo:{REPOSITORY}:ref:refs/heads/other", "sts.amazonaws.com"),
        ("previewRole", "repo:stranger/backend:pull_request", "sts.amazonaws.com"),
        ("deployRole", PULL_REQUEST, "sts.amazonaws.com"),
        ("deployRole", f"repo:{REPOSITORY}:environment:pre", "sts.amazonaws.com"),
        ("deployRole", BRANCH, "somebody-else"),
    ],
)
def test_nobody_else_takes_a_role_on(
    account: Account, roles: Mapping[str, str], role: str, subject: str, audience: str
) -> None:
    with pytest.raises(ClientError, match="Not authorized"):
        take_on(account, roles[role], subject, audience=audience)


def test_the_tag_of_a_release_may_deploy(account: Account, roles: Mapping[str, str]) -> None:
    assert take_on(account, roles["deployRole"], f"repo:{REPOSITORY}:ref:refs/tags/v1.2.3").key


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("options", [(), ("--refresh",)], ids=["preview", "preview --refresh"])
def test_the_previewing_role_previews(pre: Stack, previewer: Session, options: tuple[str, ...]) -> None:
    previewer.stack(pre).run("preview", "--expect-no-changes", *options)


@pytest.mark.usefixtures("up")
def test_what_it_asked_for_was_allowed_and_changed_nothing(calls: Path, previewer: Session) -> None:
    asked = recorded(calls, "preview")
    assert len(asked) > 50, "the previews were recorded"
    assert [each for each in asked if not each["allowed"]] == []
    reading = ("Describe", "Get", "List", "BatchGet")
    assert [each["action"] for each in asked if not each["action"].partition(":")[2].startswith(reading)] == []
    assert previewer.client("sts").get_caller_identity()["Arn"].endswith("pre-preview/github")


@pytest.mark.usefixtures("up")
def test_it_may_not_deploy(pre: Stack, previewer: Session) -> None:
    adjust(pre.workspace, "pre", {"container": {"environment": {"CHANGED": "by a preview"}}})
    before = {each["urn"] for each in state(pre)}, service(pre)["taskDefinition"]
    outcome = previewer.stack(pre).run("up", "--yes", check=False)
    adjust(pre.workspace, "pre", {"container": {"environment": {"CHANGED": None}}})
    assert outcome.status != 0
    assert "AccessDenied" in outcome.output or "not authorized" in outcome.output
    assert "Traceback" not in outcome.output
    assert ({each["urn"] for each in state(pre)}, service(pre)["taskDefinition"]) == before, "nothing was changed"


@pytest.fixture(scope="module")
def changed(pre: Stack, deployer: Session, up: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    """A new image, and a change of what is beneath it, as a workflow deploys them."""
    change_sample(pre.workspace, version="two")
    settings = {
        "capacity": {"volumeSize": 31},
        "service": {"cpuTarget": 55},
        "logs": {"retentionDays": 30},
        "health": {"matcher": "200-201"},
    }
    adjust(pre.workspace, "pre", settings)
    return deployer.stack(pre).run("up", "--yes")


@pytest.fixture(scope="module")
def destroyed(pre: Stack, deployer: Session, changed: Outcome) -> Outcome:  # noqa: ARG001 - it comes first
    return deployer.stack(pre).run("destroy", "--yes", "--exclude-protected")


@pytest.mark.usefixtures("changed")
def test_the_deploying_role_deploys_a_change(pre: Stack) -> None:
    page = json.loads(get(pre.workspace.account, f"{pre.outputs()['url']}/info").body)
    assert page["version"] == "two"
    assert page["secrets"] == {"pre1/postgres": "readable"}, "the boundary lets the task read its secret"


FOREIGN: list[tuple[str, str, dict[str, Any]]] = [
    ("ecs", "update_service", {"cluster": "booklink-backend-live-1a2b3c4", "service": "live", "desiredCount": 0}),
    ("ecs", "delete_cluster", {"cluster": "booklink-backend-live-1a2b3c4"}),
    ("ecs", "run_task", {"cluster": "booklink-backend-live-1a2b3c4", "taskDefinition": f"{PROJECT}-pre"}),
    ("ecr", "batch_delete_image", {"repositoryName": PROJECT, "imageIds": [{"imageTag": "master"}]}),
    ("ecr", "delete_repository", {"repositoryName": PROJECT, "force": True}),
    ("ecr", "put_image_tag_mutability", {"repositoryName": PROJECT, "imageTagMutability": "MUTABLE"}),
    ("ecr", "put_lifecycle_policy", {"repositoryName": PROJECT, "lifecyclePolicyText": "{}" + " " * 100}),
    ("ecr", "put_image", {"repositoryName": "other", "imageManifest": "{}", "imageTag": "v9.9.9"}),
    ("secretsmanager", "get_secret_value", {"SecretId": "live1/postgres"}),
    ("secretsmanager", "get_secret_value", {"SecretId": "pre1/postgres"}),
    ("secretsmanager", "delete_secret", {"SecretId": "pre1/postgres"}),
    ("iam", "create_user", {"UserName": "somebody"}),
    ("ec2", "delete_vpc", {"VpcId": "vpc-00000001"}),
    ("ec2", "create_tags", {"Resources": ["vpc-00000001"], "Tags": [{"Key": "Environment", "Value": "pre"}]}),
    ("logs", "delete_log_group", {"logGroupName": "/booklink-backend/live/1"}),
]


@pytest.mark.parametrize(("service", "call", "arguments"), FOREIGN, ids=[f"{s}:{c}" for s, c, _ in FOREIGN])
def test_it_may_not_touch_what_is_anothers(
    deployer: Session, service: str, call: str, arguments: dict[str, Any]
) -> None:
    assert refused(getattr(deployer.client(service), call), **arguments)


def test_it_may_not_change_another_names_record(account: Account, deployer: Session) -> None:
    zone = account.client("route53").list_hosted_zones()["HostedZones"][0]["Id"]

    def change(name: str) -> bool:
        record = {"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        call = deployer.client("route53").change_resource_record_sets
        return refused(call, HostedZoneId=zone, ChangeBatch=batch)

    assert change(f"be.{ZONE}")
    assert change(ZONE)
    assert not change(f"_proof.pre-be.{ZONE}"), "of its own name it may"


@pytest.mark.usefixtures("up")
def test_it_may_not_give_itself_more(account: Account, roles: Mapping[str, str], deployer: Session) -> None:
    iam = deployer.client("iam")
    boundary = roles["deployRole"].replace(":role/", ":policy/").replace("-deploy", "-boundary")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    own = {"Path": f"/{PROJECT}/pre/", "AssumeRolePolicyDocument": trust}
    assert refused(iam.create_role, RoleName="a", **own), "a role without the boundary"
    assert refused(iam.create_role, RoleName="a", AssumeRolePolicyDocument=trust, PermissionsBoundary=boundary)
    assert refused(iam.create_policy_version, PolicyArn=boundary, PolicyDocument=EVERYTHING, SetAsDefault=True)
    for role in roles.values():
        name = role.rpartition("/")[2]
        assert refused(iam.put_role_policy, RoleName=name, PolicyName="more", PolicyDocument=EVERYTHING)
        assert refused(iam.update_assume_role_policy, RoleName=name, PolicyDocument=trust)
    task = next(each for each in account.client("iam").list_roles()["Roles"] if "-task-" in each["RoleName"])
    assert refused(iam.delete_role_permissions_boundary, RoleName=task["RoleName"])
    provider = account.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"][0]["Arn"]
    assert refused(iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=provider)


@pytest.mark.usefixtures("up")
def test_its_instances_stay_in_its_own_network(account: Account, deployer: Session) -> None:
    """In another's network, with another's security group, an instance would be let in where that one's are."""
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    groups = ec2.create_security_group(GroupName="lives", Description="live's", VpcId=vpc)["GroupId"]
    [group] = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    template = group["LaunchTemplate"]
    own = {"LaunchTemplateId": template["LaunchTemplateId"], "Version": template["Version"]}
    update, name = deployer.client("autoscaling").update_auto_scaling_group, group["AutoScalingGroupName"]
    assert not refused(update, AutoScalingGroupName=name, LaunchTemplate=own), "what it runs already"
    assert refused(update, AutoScalingGroupName=name, LaunchTemplate=own, VPCZoneIdentifier=subnet)
    assert refused(update, AutoScalingGroupName=name, LaunchTemplate={**own, "Version": "$Latest"})
    tags = [{"Key": "Project", "Value": PROJECT}, {"Key": "Environment", "Value": "pre"}]
    made = deployer.client("ec2").create_launch_template(
        LaunchTemplateName="made",
        LaunchTemplateData={"SecurityGroupIds": [groups]},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )["LaunchTemplate"]["LaunchTemplateId"]
    assert refused(update, AutoScalingGroupName=name, LaunchTemplate={"LaunchTemplateId": made, "Version": "1"})
    deployer.client("ec2").delete_launch_template(LaunchTemplateId=made)
    ec2.delete_security_group(GroupId=groups)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


@pytest.mark.usefixtures("up")
def test_its_tasks_run_on_its_own_instances(pre: Stack, deployer: Session) -> None:
    """A task of Fargate brings its own network and security groups: live's, if it likes."""
    network = {"awsvpcConfiguration": {"subnets": ["subnet-00000001"], "securityGroups": ["sg-00000001"]}}
    asked = {"cluster": pre.outputs()["cluster"], "taskDefinition": pre.outputs()["taskDefinition"]}
    ecs = deployer.client("ecs")
    assert refused(ecs.run_task, **asked, launchType="FARGATE", networkConfiguration=network)
    assert refused(ecs.update_service, **asked, service=pre.outputs()["service"], networkConfiguration=network)


def test_whatever_a_role_that_it_makes_is_given_the_boundary_caps_it(
    account: Account, roles: Mapping[str, str], deployer: Session
) -> None:
    boundary = roles["deployRole"].replace(":role/", ":policy/").replace("-deploy", "-boundary")
    iam, number = deployer.client("iam"), roles["deployRole"].split(":")[4]
    everybody = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{number}:root"}, "Action": "sts:AssumeRole"}
    made = iam.create_role(
        RoleName="made",
        Path=f"/{PROJECT}/pre/",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}),
        PermissionsBoundary=boundary,
    )["Role"]
    iam.put_role_policy(RoleName="made", PolicyName="everything", PolicyDocument=EVERYTHING)
    given = account.client("sts").assume_role(RoleArn=made["Arn"], RoleSessionName="made")["Credentials"]
    taken = Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], account)
    secrets = taken.client("secretsmanager")
    assert not refused(secrets.get_secret_value, SecretId="pre1/postgres"), "as the environment's task role may"
    assert refused(secrets.get_secret_value, SecretId="live1/postgres")
    assert refused(taken.client("iam").create_user, UserName="somebody")
    iam.delete_role_policy(RoleName="made", PolicyName="everything")
    iam.delete_role(RoleName="made")


@pytest.mark.usefixtures("changed")
def test_it_sees_no_drift_in_what_it_deployed(pre: Stack, deployer: Session) -> None:
    deployer.stack(pre).run("preview", "--refresh", "--expect-no-changes")


@pytest.mark.usefixtures("destroyed")
def test_it_takes_the_environment_away_and_leaves_its_way_in(pre: Stack, roles: Mapping[str, str]) -> None:
    account = pre.workspace.account
    assert costs_by_the_hour(account) == []
    left = {each["Arn"] for each in account.client("iam").list_roles()["Roles"]}
    assert left == set(roles.values()), "GitHub's variables stay right"
    assert account.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]


@pytest.mark.usefixtures("destroyed")
def test_what_it_deployed_with_is_what_the_policies_are_for(calls: Path) -> None:
    made = {each["action"] for each in recorded(calls, "deploy") if each["allowed"]}
    assert made >= {
        "ec2:CreateVpc",
        "ec2:DeleteVpc",
        "ec2:RunInstances",
        "ecs:CreateService",
        "ecs:DeleteService",
        "elasticloadbalancing:CreateLoadBalancer",
        "iam:CreateRole",
        "iam:PassRole",
        "application-autoscaling:RegisterScalableTarget",
        "route53:ChangeResourceRecordSets",
    }
