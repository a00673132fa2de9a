"""Trust and policies of GitHub's roles, decided by the emulated account's own evaluation of policies."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from components.github_policies import (
    AUDIENCE,
    ISSUER,
    MANAGED_POLICY_LIMIT,
    Environment,
    State,
    boundary_policy,
    deploy_policies,
    deploy_subjects,
    github_trust,
    preview_policy,
    preview_subjects,
    size,
)
from components.policies import Policy, SecretAccess, execution_policy, instance_policy, task_policy
from components.service import Account
from rehearsal.account.mending import ministack
from tests.unit.aws_answers import ACCOUNT, REGION, ZONE_ID, arn

_evaluator = ministack("core.iam_evaluator")

REPOSITORY = "booklink/backend"
DOMAIN = "pre-be.booklinktrove.com"
KEY = arn("kms", "key/1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d")
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
NAME = "backend-pre"
CLUSTER = arn("ecs", f"cluster/{NAME}-1a2b3c4")
SECRET = arn("secretsmanager", "secret:pre1/postgres-AbCdEf")
LIVES_SECRET = arn("secretsmanager", "secret:live1/postgres-AbCdEf")
PARAMETER = arn("ssm", "parameter/pre/api-key")
OURS = {"Project": "backend", "Environment": "pre"}
LIVES = {**OURS, "Environment": "live"}


def environment(**changes: Any) -> Environment:
    given: dict[str, Any] = {
        "account": Account(partition="aws", region=REGION, id=ACCOUNT),
        "name": NAME,
        "path": "/backend/pre/",
        "tags": OURS,
        "repository": "backend",
        "zone_id": ZONE_ID,
        "domain": DOMAIN,
        "injectable": SecretAccess(secret_arns=[SECRET], parameter_arns=[PARAMETER]),
        "readable": SecretAccess(secret_arns=[SECRET], own_key_arns=[SECRET]),
        "builds": True,
        "state": State(project="backend", stack="pre", bucket="states", key_arn=KEY),
    }
    return Environment(**(given | changes))


def may(policies: Sequence[Policy], action: str, resource: str, **context: object) -> bool:
    """Whether IAM allows `action` on `resource`; `context` has condition keys, with `__` for `:`."""
    keys = {key.replace("__", ":").lower(): value for key, value in context.items()}
    asked = _evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/role/github",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
        service_context={"aws:tagkeys": None, **keys},
    )
    parsed = [_evaluator.parse_policy_document(each) for each in policies]
    return bool(_evaluator.evaluate(asked, parsed).decision == "Allow")


def previewer(action: str, resource: str, **context: object) -> bool:
    return may([preview_policy(environment())], action, resource, **context)


def deployer(action: str, resource: str, *, of: Environment | None = None, **context: Any) -> bool:
    of = of or environment()
    return may([preview_policy(of), *deploy_policies(of).values()], action, resource, **context)


def tagged(tags: dict[str, str]) -> dict[str, object]:
    return {f"aws__ResourceTag/{key}": value for key, value in tags.items()}


def tagging(tags: dict[str, str]) -> dict[str, object]:
    return {f"aws__RequestTag/{key}": value for key, value in tags.items()}


def trusts(subjects: list[str], subject: str, *, audience: str = AUDIENCE, provider: str = PROVIDER) -> bool:
    asked = _evaluator.EvalContext(
        principal_arn=provider,
        principal_type="WebIdentityUser",
        principal_account=ACCOUNT,
        action="sts:AssumeRoleWithWebIdentity",
        resource_arn="*",
        region=REGION,
        service_context={f"{ISSUER}:sub": subject, f"{ISSUER}:aud": audience},
    )
    return bool(_evaluator.evaluate_trust_policy(github_trust(PROVIDER, subjects), provider, asked))


NUMBERED = deploy_subjects("booklink@12/backend@34", branch="master", environment="live", builds=False)
BUILDING = deploy_subjects(REPOSITORY, branch="master", environment="pre", builds=True)
RELEASED = deploy_subjects(REPOSITORY, branch="master", environment="live", builds=False)
PREVIEWING = preview_subjects(REPOSITORY, branch="master")


@pytest.mark.parametrize(
    ("subjects", "subject", "expected"),
    [
        (PREVIEWING, "repo:booklink/backend:pull_request", True),
        (PREVIEWING, "repo:booklink/backend:ref:refs/heads/master", True),
        (PREVIEWING, "repo:booklink/backend:ref:refs/heads/other", False),
        (PREVIEWING, "repo:stranger/backend:pull_request", False),
        (NUMBERED, "repo:booklink@12/backend@34:environment:live", True),
        (NUMBERED, "repo:booklink@12/backend@35:environment:live", False),
        (NUMBERED, "repo:booklink/backend:environment:live", False),
        (BUILDING, "repo:booklink/backend:ref:refs/heads/master", True),
        (BUILDING, "repo:booklink/backend:ref:refs/tags/v1.2.3", True),
        (BUILDING, "repo:booklink/backend:ref:refs/tags/other", False),
        (BUILDING, "repo:booklink/backend:ref:refs/heads/master2", False),
        (BUILDING, "repo:booklink/backend:ref:refs/heads/v1", False),
        (BUILDING, "repo:booklink/backend:pull_request", False),
        (BUILDING, "repo:booklink/backend:environment:pre", False),
        (RELEASED, "repo:booklink/backend:environment:live", True),
        (RELEASED, "repo:booklink/backend:environment:live2", False),
        (RELEASED, "repo:booklink/backend:ref:refs/heads/master", False),
        (RELEASED, "repo:booklink/backend:ref:refs/tags/v1.2.3", False),
        (RELEASED, "repo:booklink/backend2:environment:live", False),
    ],
)
def test_a_role_is_for_these_subjects_alone(subjects: list[str], subject: str, expected: bool) -> None:
    assert trusts(subjects, subject) is expected


def test_a_role_is_for_aws_as_audience_and_github_as_issuer_alone() -> None:
    subject = "repo:booklink/backend:environment:live"
    assert trusts(RELEASED, subject)
    assert not trusts(RELEASED, subject, audience="https://github.com/booklink")
    assert not trusts(RELEASED, subject, provider=PROVIDER.replace(ISSUER, "gitlab.com"))


def test_a_repository_with_its_ids_is_no_other_of_its_name() -> None:
    subjects = preview_subjects("booklink@12/backend@345", branch="master")
    assert trusts(subjects, "repo:booklink@12/backend@345:pull_request")
    assert not trusts(subjects, "repo:booklink@12/backend@346:pull_request")
    assert not trusts(subjects, "repo:booklink/backend:pull_request")


def test_no_trust_has_a_wildcard_but_for_the_tags_of_releases() -> None:
    patterns = [each for subjects in (PREVIEWING, BUILDING, RELEASED) for each in subjects if "*" in each]
    assert patterns == ["repo:booklink/backend:ref:refs/tags/v*"]


LONG = environment(
    name=f"{'a' * 40}-{'b' * 20}",
    path=f"/{'a' * 40}/{'b' * 20}/",
    tags={"Project": "a" * 40, "Environment": "b" * 20},
    repository="a" * 40,
    domain=f"{'c' * 40}.example.org",
    vpc_id="vpc-0a1b2c3d4e5f60718",
    injectable=SecretAccess(secret_arns=[f"{SECRET}{i}" for i in range(6)], parameter_arns=[PARAMETER]),
    readable=SecretAccess(secret_arns=[f"{SECRET}{i}" for i in range(6, 8)]),
    state=State(project="a" * 40, stack="b" * 20, bucket="states" * 5, key_arn=KEY),
)


@pytest.mark.parametrize("of", [environment(), LONG], ids=["usual", "long names and many secrets"])
def test_each_policy_is_as_long_as_iam_allows(of: Environment) -> None:
    sizes = {
        "preview": size(preview_policy(of)),
        "boundary": size(boundary_policy(of)),
        **{name: size(each) for name, each in deploy_policies(of).items()},
    }
    assert {name: length for name, length in sizes.items() if length > MANAGED_POLICY_LIMIT} == {}


def test_names_fit_and_differ_however_long_the_project_is() -> None:
    names = {environment(name=f"{'a' * 90}-{end}").github_name("preview") for end in ("pre", "live")}
    assert len(names) == 2
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ec2:DescribeVpcs", "*"),
        ("ecs:DescribeServices", arn("ecs", f"service/{NAME}-1a2b3c4/{NAME}-1a2b3c4")),
        ("ecr:BatchGetImage", arn("ecr", "repository/backend")),
        ("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/backend/pre/{NAME}-task-1a2b3c4"),
        ("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/github/backend/pre/{NAME}-deploy"),
        ("iam:GetPolicyVersion", f"arn:aws:iam::{ACCOUNT}:policy/github/backend/pre/{NAME}-deploy-service"),
        ("secretsmanager:DescribeSecret", SECRET),
        ("secretsmanager:ListSecretVersionIds", SECRET),
        ("secretsmanager:GetResourcePolicy", SECRET),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}::parameter/aws/service/ecs/optimized-ami/x"),
        ("ssm:GetParameter", PARAMETER),
        ("s3:GetObject", "arn:aws:s3:::states/.pulumi/stacks/backend/pre.json"),
        ("s3:GetObject", "arn:aws:s3:::states/.pulumi/meta.yaml"),
        ("s3:ListBucket", "arn:aws:s3:::states"),
        ("kms:Decrypt", KEY),
    ],
)
def test_a_preview_may_look(action: str, resource: str) -> None:
    assert previewer(action, resource)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("secretsmanager:GetSecretValue", SECRET, {}),
        ("secretsmanager:DescribeSecret", LIVES_SECRET, {}),
        ("kms:Decrypt", KEY, {"kms__ViaService": f"ssm.{REGION}.amazonaws.com"}),
        ("kms:Decrypt", KEY, {"kms__ViaService": f"secretsmanager.{REGION}.amazonaws.com"}),
        ("kms:Encrypt", KEY, {}),
        ("logs:GetLogEvents", arn("logs", "log-group:/backend/pre/1:log-stream:a"), {}),
        ("ecr:PutImage", arn("ecr", "repository/backend"), {}),
        ("ecs:UpdateService", arn("ecs", f"service/{NAME}-1a2b3c4/{NAME}-1a2b3c4"), {}),
        ("s3:PutObject", "arn:aws:s3:::states/.pulumi/stacks/backend/pre.json", {}),
        ("s3:GetObject", "arn:aws:s3:::states/.pulumi/stacks/backend/live.json", {}),
        ("s3:GetObject", "arn:aws:s3:::states/.pulumi/stacks/backend/pre-two.json", {}),
        ("ec2:CreateTags", arn("ec2", "vpc/vpc-1"), tagged(OURS)),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/backend/pre/a", {"iam__PassedToService": "ec2.amazonaws.com"}),
    ],
)
def test_a_preview_changes_nothing_and_gets_no_value(action: str, resource: str, context: dict[str, Any]) -> None:
    assert not previewer(action, resource, **context)


def test_a_preview_has_nothing_but_the_names_of_reading_actions() -> None:
    reading = ("Describe", "Get", "List", "BatchGet", "Decrypt")
    for statement in json.loads(json.dumps(preview_policy(environment())))["Statement"]:
        if statement["Effect"] == "Allow":
            assert [each for each in statement["Action"] if not each.partition(":")[2].startswith(reading)] == []


BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/github/backend/pre/{NAME}-boundary"
BOUNDED = {"iam__PermissionsBoundary": BOUNDARY}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/backend/pre/{NAME}-task-1a2b3c4"
SERVICE = arn("ecs", f"service/{NAME}-1a2b3c4/{NAME}-1a2b3c4")
ZONE = f"arn:aws:route53:::hostedzone/{ZONE_ID}"
NAMES, TYPES = "route53__ChangeResourceRecordSetsNormalizedRecordNames", "route53__ChangeResourceRecordSetsRecordTypes"
TEMPLATE = arn("ec2", "launch-template/lt-1")
CAPACITY = arn("ecs", f"capacity-provider/{NAME}-capacity-1a2b3c4")
FARGATE = arn("ecs", "capacity-provider/FARGATE")
ON_OURS: dict[str, object] = {"ecs__cluster": CLUSTER, "ecs__capacity-provider": [CAPACITY]}
LAUNCHED: dict[str, object] = {"ec2__LaunchTemplate": TEMPLATE}
TARGET = arn("application-autoscaling", "scalable-target/1")
ALARM = arn("cloudwatch", f"alarm:TargetTracking-service/{NAME}-1a2b3c4/{NAME}-1a2b3c4-AlarmHigh-1")
GROUP = arn("autoscaling", f"autoScalingGroup:1:autoScalingGroupName/{NAME}-1a2b3c4")
SCALES = arn("autoscaling", f"scalingPolicy:1:resource/ecs/service/{NAME}-1a2b3c4/{NAME}-1a2b3c4:policyName/cpu")


def of_kind(service: str) -> dict[str, object]:
    """The condition key for a service whose targets Application Auto Scaling scales."""
    return {"application-autoscaling__service-namespace": service}


def records(*names: str, kind: str = "A") -> dict[str, object]:
    return {NAMES: list(names), TYPES: [kind]}


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ecs:CreateService", SERVICE, {"ecs__task-definition": arn("ecs", f"task-definition/{NAME}:3")}),
        ("ecs:UpdateService", SERVICE, {}),
        ("ecs:RunTask", arn("ecs", f"task-definition/{NAME}:3"), dict(ON_OURS)),
        ("ecs:PutClusterCapacityProviders", CLUSTER, {"ecs__capacity-provider": [CAPACITY]}),
        ("ecs:PutClusterCapacityProviders", CLUSTER, {}),
        ("ecs:CreateCluster", CLUSTER, {}),
        ("ecs:StopTask", arn("ecs", f"task/{NAME}-1a2b3c4/1"), {}),
        ("ecs:StopServiceDeployment", SERVICE.replace(":service/", ":service-deployment/") + "/1", {}),
        ("iam:CreateRole", ROLE, BOUNDED),
        ("iam:PutRolePolicy", ROLE, BOUNDED),
        ("iam:PassRole", ROLE, {"iam__PassedToService": "ecs-tasks.amazonaws.com"}),
        ("ec2:CreateVpc", arn("ec2", "vpc/*"), tagging(OURS)),
        ("ec2:CreateSubnet", arn("ec2", "subnet/*"), tagging(OURS)),
        ("ec2:CreateSubnet", arn("ec2", "vpc/vpc-1"), tagged(OURS)),
        ("ec2:DeleteVpc", arn("ec2", "vpc/vpc-1"), tagged(OURS)),
        ("ec2:RunInstances", TEMPLATE, {**tagged(OURS), "ec2__LaunchTemplate": TEMPLATE}),
        ("ec2:RunInstances", arn("ec2", "subnet/subnet-1"), {**tagged(OURS), **LAUNCHED}),
        ("ec2:RunInstances", arn("ec2", "security-group/sg-1"), {**tagged(OURS), **LAUNCHED}),
        ("ec2:RunInstances", arn("ec2", "volume/*"), {**tagging(OURS), **LAUNCHED}),
        ("ec2:CreateTags", arn("ec2", "vpc/vpc-1"), {**tagged(OURS), "aws__RequestTag/Name": "new"}),
        ("ec2:CreateTags", arn("ec2", "vpc/vpc-1"), {**tagged(OURS), **tagging(OURS)}),
        ("ec2:CreateTags", arn("ec2", "security-group/sg-1"), tagging(OURS)),
        ("cloudwatch:PutMetricAlarm", ALARM, {"cloudwatch__AlarmActions": [SCALES]}),
        ("application-autoscaling:RegisterScalableTarget", TARGET, {**tagging(OURS), **of_kind("ecs")}),
        ("application-autoscaling:TagResource", TARGET, tagging(OURS)),
        ("autoscaling:UpdateAutoScalingGroup", GROUP, {}),
        ("autoscaling:UpdateAutoScalingGroup", GROUP, {"autoscaling__LaunchTemplateVersionSpecified": "true"}),
        ("route53:ChangeResourceRecordSets", ZONE, records(DOMAIN, kind="AAAA")),
        ("route53:ChangeResourceRecordSets", ZONE, records(f"_0a1b.{DOMAIN}", kind="CNAME")),
        ("acm:RequestCertificate", "*", {**tagging(OURS), "acm__DomainNames": [DOMAIN]}),
        ("acm:AddTagsToCertificate", arn("acm", "certificate/*"), tagging(OURS)),
        ("ecr:PutImage", arn("ecr", "repository/backend"), {}),
        ("ecr:UploadLayerPart", arn("ecr", "repository/backend"), {}),
        ("logs:GetLogEvents", arn("logs", "log-group:/backend/pre/1:log-stream:a"), {}),
        ("s3:PutObject", "arn:aws:s3:::states/.pulumi/stacks/backend/pre.json.bak", {}),
        ("s3:PutObject", "arn:aws:s3:::states/.pulumi/history/backend/pre/pre-1.history.json", {}),
        ("s3:PutObject", "arn:aws:s3:::states/.pulumi/backups/backend/pre/pre.1.json", {}),
        ("s3:DeleteObject", "arn:aws:s3:::states/.pulumi/locks/organization/backend/pre/1.json", {}),
        ("kms:GenerateDataKey", KEY, {}),
        ("ecs:DescribeClusters", arn("ecs", "cluster/backend-live-1a2b3c4"), {}),
        ("ecs:DescribeCapacityProviders", "*", {}),
        ("iam:ListRoles", "*", {}),
        (
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
            {"iam__AWSServiceName": "ecs.amazonaws.com"},
        ),
    ],
)
def test_a_deployment_may_change_its_own(action: str, resource: str, context: dict[str, Any]) -> None:
    assert deployer(action, resource, **context)


TERMINATE = f"arn:aws:automate:{REGION}:ec2:terminate"
FOREIGN: list[tuple[str, str, dict[str, object]]] = [
    ("ecs:UpdateService", SERVICE.replace("pre", "live"), {}),
    ("ecs:UpdateService", SERVICE.replace(NAME, f"{NAME}-two"), {}),
    ("ecs:DeleteCluster", arn("ecs", f"cluster/{NAME}-two-1a2b3c4"), {}),
    ("ecs:UpdateService", SERVICE, {"ecs__task-definition": arn("ecs", "task-definition/backend-live:3")}),
    ("ecs:UpdateService", SERVICE, {"ecs__subnet": ["subnet-1"]}),
    ("ecs:RunTask", arn("ecs", "task-definition/backend-live:3"), dict(ON_OURS)),
    (
        "ecs:RunTask",
        arn("ecs", f"task-definition/{NAME}:3"),
        {**ON_OURS, "ecs__cluster": CLUSTER.replace("pre", "live")},
    ),
    ("ecs:RunTask", arn("ecs", f"task-definition/{NAME}:3"), {"ecs__cluster": CLUSTER}),
    (
        "ecs:RunTask",
        arn("ecs", f"task-definition/{NAME}:3"),
        {**ON_OURS, "ecs__capacity-provider": [CAPACITY, FARGATE]},
    ),
    ("ecs:RunTask", arn("ecs", f"task-definition/{NAME}:3"), {**ON_OURS, "ecs__subnet": ["subnet-1"]}),
    ("ecs:PutClusterCapacityProviders", CLUSTER, {"ecs__capacity-provider": [CAPACITY, FARGATE]}),
    ("iam:CreateRole", ROLE, {}),
    ("iam:CreateRole", ROLE, {"iam__PermissionsBoundary": BOUNDARY.replace("pre", "live")}),
    ("iam:CreateRole", ROLE.replace("/pre/", "/live/"), dict(BOUNDED)),
    ("iam:PutRolePolicy", ROLE, {}),
    ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/github/backend/pre/{NAME}-deploy", {}),
    ("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/github/backend/pre/{NAME}-preview", {}),
    ("iam:DeleteRolePermissionsBoundary", ROLE, dict(BOUNDED)),
    ("iam:PutRolePermissionsBoundary", ROLE, dict(BOUNDED)),
    ("iam:AttachRolePolicy", ROLE, dict(BOUNDED)),
    ("iam:CreatePolicyVersion", BOUNDARY, {}),
    ("iam:SetDefaultPolicyVersion", BOUNDARY, {}),
    ("iam:DeletePolicy", BOUNDARY, {}),
    ("iam:DeleteOpenIDConnectProvider", PROVIDER, {}),
    ("iam:AddClientIDToOpenIDConnectProvider", PROVIDER, {}),
    ("iam:PassRole", ROLE, {"iam__PassedToService": "lambda.amazonaws.com"}),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {"iam__PassedToService": "ec2.amazonaws.com"}),
    ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/a", {}),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {}),
    ("secretsmanager:GetSecretValue", SECRET, {}),
    ("secretsmanager:GetSecretValue", LIVES_SECRET, {}),
    ("secretsmanager:PutSecretValue", SECRET, {}),
    ("ec2:DeleteVpc", arn("ec2", "vpc/vpc-1"), tagged(LIVES)),
    ("ec2:DeleteVpc", arn("ec2", "vpc/vpc-1"), {}),
    ("ec2:CreateSubnet", arn("ec2", "vpc/vpc-1"), {**tagged(LIVES), **tagging(OURS)}),
    ("ec2:CreateTags", arn("ec2", "vpc/vpc-1"), {**tagged(LIVES), **tagging(OURS)}),
    ("ec2:CreateTags", arn("ec2", "vpc/vpc-1"), tagging(OURS)),
    ("ec2:CreateTags", arn("ec2", "security-group/sg-1"), {**tagged(LIVES), **tagging(OURS)}),
    ("ec2:AuthorizeSecurityGroupIngress", arn("ec2", "security-group/sg-1"), {**tagged(LIVES), **tagging(OURS)}),
    ("ec2:RunInstances", arn("ec2", "instance/*"), tagging(OURS)),
    ("ec2:RunInstances", TEMPLATE, {**tagged(LIVES), "ec2__LaunchTemplate": TEMPLATE}),
    ("ec2:RunInstances", arn("ec2", "subnet/subnet-1"), {**tagged(LIVES), **LAUNCHED}),
    ("ec2:RunInstances", arn("ec2", "subnet/subnet-1"), dict(LAUNCHED)),
    ("ec2:RunInstances", arn("ec2", "security-group/sg-1"), {**tagged(LIVES), **LAUNCHED}),
    ("ec2:RunInstances", arn("ec2", "security-group/sg-1"), dict(LAUNCHED)),
    ("ec2:CreateTags", arn("ec2", "launch-template/lt-1"), {**tagged(OURS), **tagging(LIVES)}),
    ("ec2:TerminateInstances", arn("ec2", "instance/i-1"), tagged(LIVES)),
    ("cloudwatch:PutMetricAlarm", ALARM, {"cloudwatch__AlarmActions": [SCALES, TERMINATE]}),
    ("cloudwatch:PutMetricAlarm", ALARM, {"cloudwatch__AlarmActions": [SCALES.replace("pre", "live")]}),
    ("application-autoscaling:RegisterScalableTarget", TARGET, {**tagging(OURS), **of_kind("dynamodb")}),
    ("acm:AddTagsToCertificate", arn("acm", "certificate/1"), {**tagged(OURS), **tagging(LIVES)}),
    ("route53:ChangeResourceRecordSets", ZONE, records("be.booklinktrove.com")),
    ("route53:ChangeResourceRecordSets", ZONE, records(DOMAIN, "be.booklinktrove.com")),
    ("route53:ChangeResourceRecordSets", ZONE, records(DOMAIN, kind="NS")),
    ("route53:DeleteHostedZone", ZONE, {}),
    ("acm:RequestCertificate", "*", {**tagging(OURS), "acm__DomainNames": ["be.booklinktrove.com"]}),
    ("acm:DeleteCertificate", arn("acm", "certificate/1"), tagged(LIVES)),
    ("acm:AddTagsToCertificate", arn("acm", "certificate/1"), {**tagged(LIVES), **tagging(OURS)}),
    ("acm:AddTagsToCertificate", arn("acm", "certificate/1"), tagging(LIVES)),
    ("elasticloadbalancing:DeleteLoadBalancer", arn("elasticloadbalancing", "loadbalancer/app/backend-live-1/2"), {}),
    ("autoscaling:DeleteAutoScalingGroup", arn("autoscaling", f"autoScalingGroup:1:autoScalingGroupName/{NAME}-2"), {}),
    ("autoscaling:UpdateAutoScalingGroup", GROUP, {"autoscaling__LaunchTemplateVersionSpecified": "false"}),
    ("autoscaling:CreateAutoScalingGroup", GROUP, {"autoscaling__LaunchConfigurationName": "anothers"}),
    ("application-autoscaling:DeregisterScalableTarget", arn("application-autoscaling", "scalable-target/1"), {}),
    (
        "application-autoscaling:TagResource",
        arn("application-autoscaling", "scalable-target/1"),
        {**tagged(LIVES), **tagging(OURS)},
    ),
    ("ecr:PutImage", arn("ecr", "repository/other"), {}),
    ("ecr:DeleteRepository", arn("ecr", "repository/backend"), {}),
    ("ecr:BatchDeleteImage", arn("ecr", "repository/backend"), {}),
    ("ecr:SetRepositoryPolicy", arn("ecr", "repository/backend"), {}),
    ("ecr:PutImageTagMutability", arn("ecr", "repository/backend"), {}),
    ("ecr:PutLifecyclePolicy", arn("ecr", "repository/backend"), {}),
    ("logs:DeleteLogGroup", arn("logs", "log-group:/backend/pre/1"), {}),
    ("logs:GetLogEvents", arn("logs", "log-group:/backend/live/1:log-stream:a"), {}),
    ("s3:PutObject", "arn:aws:s3:::states/.pulumi/stacks/backend/live.json", {}),
    ("s3:DeleteObject", "arn:aws:s3:::states/.pulumi/stacks/backend/pre.json", {}),
    ("s3:PutBucketPolicy", "arn:aws:s3:::states", {}),
    ("kms:ScheduleKeyDeletion", KEY, {}),
]


@pytest.mark.parametrize(("action", "resource", "context"), FOREIGN)
def test_a_deployment_may_not_touch_anything_else(action: str, resource: str, context: dict[str, Any]) -> None:
    assert not deployer(action, resource, **context)


def test_a_stack_that_does_not_build_labels_images_and_pushes_none() -> None:
    of = environment(builds=False)
    repository = arn("ecr", "repository/backend")
    assert deployer("ecr:PutImage", repository, of=of)
    for action in ("InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"):
        assert deployer(f"ecr:{action}", repository)
        assert not deployer(f"ecr:{action}", repository, of=of)


def test_a_security_group_is_made_in_a_network_that_exists_and_nothing_else_is() -> None:
    of = environment(vpc_id="vpc-2")
    assert deployer("ec2:CreateSecurityGroup", arn("ec2", "vpc/vpc-2"), of=of)
    assert not deployer("ec2:CreateSubnet", arn("ec2", "vpc/vpc-2"), of=of)
    assert not deployer("ec2:CreateSecurityGroup", arn("ec2", "vpc/vpc-2"))


def test_in_a_network_that_exists_instances_run_in_that_alone_and_no_security_group_is_claimed() -> None:
    of, subnet, group = environment(vpc_id="vpc-2"), arn("ec2", "subnet/subnet-1"), arn("ec2", "security-group/sg-1")
    within = {**LAUNCHED, "ec2__Vpc": arn("ec2", "vpc/vpc-2")}
    assert deployer("ec2:RunInstances", subnet, of=of, **within)
    assert not deployer("ec2:RunInstances", subnet, of=of, **{**within, "ec2__Vpc": arn("ec2", "vpc/vpc-3")})
    assert deployer("ec2:RunInstances", group, of=of, **{**within, **tagged(OURS)})
    assert not deployer("ec2:RunInstances", group, of=of, **within), "another's security group"
    assert not deployer("ec2:CreateTags", group, of=of, **tagging(OURS)), "it is the network's owner's"


def test_without_a_bucket_and_a_key_there_is_no_right_to_any() -> None:
    of = environment(state=State(project="backend", stack="pre"))
    text = json.dumps([preview_policy(of), *deploy_policies(of).values()])
    assert "s3:" not in text
    assert "kms:Encrypt" not in text
    assert not deployer("kms:Decrypt", KEY, of=of)


def test_the_boundary_lets_every_role_of_the_environment_do_what_it_does() -> None:
    of = environment()
    boundary = [boundary_policy(of)]
    log_group = arn("logs", "log-group:/backend/pre/2026")
    own = [
        instance_policy(CLUSTER),
        execution_policy(repository_arn=of.repository_arn, log_group_arn=log_group, injectable=of.injectable),
        task_policy(of.readable),
    ]
    for document in own:
        for statement in json.loads(json.dumps(document))["Statement"]:
            keys = {
                key.replace(":", "__"): value[0] if isinstance(value, list) else value
                for block in statement.get("Condition", {}).values()
                for key, value in block.items()
            }
            for action in statement["Action"]:
                for resource in statement["Resource"]:
                    assert may(boundary, action, resource, **keys), f"{action} on {resource}"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("secretsmanager:GetSecretValue", LIVES_SECRET),
        ("iam:CreateRole", ROLE),
        ("s3:GetObject", "arn:aws:s3:::states/.pulumi/stacks/backend/pre.json"),
        ("ecr:PutImage", arn("ecr", "repository/backend")),
        ("ecs:RegisterContainerInstance", arn("ecs", "cluster/backend-live-1a2b3c4")),
    ],
)
def test_the_boundary_caps_whatever_a_role_is_given(action: str, resource: str) -> None:
    assert not may([boundary_policy(environment())], action, resource)
