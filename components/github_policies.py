"""What GitHub's workflows may do in AWS, and whose: trust and policies of their roles, with no more than each needs.

Which actions a program needs was read from a record of its calls (rehearsal/README.md); which of them AWS restricts by
resource or by tag, in the Service Authorization Reference.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from components.names import autonamed, load_balancer_name, shortened
from components.policies import (
    Policy,
    SecretAccess,
    Statement,
    allow,
    execution_policy,
    instance_policy,
    policy,
    task_policy,
)
from components.service import Account

Condition = dict[str, dict[str, object]]

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"

RELEASE_REFS = "refs/tags/v*"
"""The tags of releases, which on GitHub a tag ruleset must keep for those who may release."""

MANAGED_POLICY_LIMIT = 6144
"""Characters, without white space, of a managed policy.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

ROLE_NAME_LIMIT = 64

SERVICE_LINKED = (
    "autoscaling.amazonaws.com",
    "ecs.amazonaws.com",
    "ecs.application-autoscaling.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "spot.amazonaws.com",
)
"""Services whose own role AWS makes in an account when they are first used."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where Pulumi keeps the state of `stack` of `project`: an S3 bucket, and the KMS key of its secrets."""

    project: str
    stack: str
    bucket: str | None = None
    key_arn: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The one environment that the roles are for.

    `name` is what the names of its resources begin with, `path` that of its roles and log groups, `tags` those that all
    of it has. `vpc_id` is of a network that exists already. `builds` where it pushes images to `repository`.
    """

    account: Account
    name: str
    path: str
    tags: Mapping[str, str]
    repository: str
    zone_id: str
    domain: str
    vpc_id: str | None = None
    injectable: SecretAccess = field(default_factory=SecretAccess)
    readable: SecretAccess = field(default_factory=SecretAccess)
    builds: bool
    state: State

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:{self.account.partition}:{service}:{self.account.region}:{self.account.id}:{resource}"

    def global_arn(self, service: str, resource: str, *, account: bool = True) -> str:
        """The ARN of a resource that is in no region; of one that is in no account either, without the account."""
        return f"arn:{self.account.partition}:{service}::{self.account.id if account else ''}:{resource}"

    @property
    def github_path(self) -> str:
        """The path of what only a person changes: not below `path`, where the deploying role may."""
        return f"/github{self.path}"

    def github_name(self, what: str) -> str:
        """The name of a role or policy for GitHub. It stays the same, since GitHub's variables hold its ARN."""
        return f"{shortened(self.name, length=ROLE_NAME_LIMIT - 1 - len(what))}-{what}"

    @property
    def provider_arn(self) -> str:
        return self.global_arn("iam", f"oidc-provider/{ISSUER}")

    @property
    def boundary_arn(self) -> str:
        return self.global_arn("iam", f"policy{self.github_path}{self.github_name('boundary')}")

    @property
    def cluster(self) -> str:
        return self.arn("ecs", f"cluster/{autonamed(self.name)}")

    @property
    def ecs_resources(self) -> list[str]:
        """Everything of ECS that is this environment's, besides its task definitions."""
        cluster, service = autonamed(self.name), autonamed(self.name)
        return [
            self.cluster,
            self.arn("ecs", f"capacity-provider/{autonamed(self.name + '-capacity')}"),
            self.arn("ecs", f"container-instance/{cluster}/*"),
            self.arn("ecs", f"service/{cluster}/{service}"),
            self.arn("ecs", f"service-deployment/{cluster}/{service}/*"),
            self.arn("ecs", f"service-revision/{cluster}/{service}/*"),
            self.arn("ecs", f"task/{cluster}/*"),
        ]

    @property
    def task_definitions(self) -> str:
        return self.arn("ecs", f"task-definition/{self.name}:*")

    @property
    def repository_arn(self) -> str:
        return self.arn("ecr", f"repository/{self.repository}")

    @property
    def log_groups(self) -> str:
        return self.arn("logs", f"log-group:{self.path}*")

    @property
    def roles(self) -> str:
        return self.global_arn("iam", f"role{self.path}*")

    @property
    def instance_profiles(self) -> str:
        return self.global_arn("iam", f"instance-profile{self.path}*")

    @property
    def tagged(self) -> Condition:
        """The condition that a resource has this environment's tags."""
        return {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in self.tags.items()}}

    @property
    def tagging(self) -> Condition:
        """The condition that a request gives this environment's tags to what it creates."""
        return {"StringEquals": {f"aws:RequestTag/{key}": value for key, value in self.tags.items()}}

    @property
    def claiming(self) -> Condition:
        """The condition that a request gives this environment's tags to what has none of them yet."""
        return {"Null": {f"aws:ResourceTag/{key}": "true" for key in self.tags}, **self.tagging}

    @property
    def keeping(self) -> Condition:
        """The condition that a resource has this environment's tags, and a request gives it no other's."""
        return {**self.tagged, "StringEqualsIfExists": self.tagging["StringEquals"]}


def preview_subjects(repository: str, *, branch: str) -> list[str]:
    """Return whose tokens may preview: pull requests, and what runs on the branch, such as the nightly look for drift.

    Pull requests from forks get no token of GitHub.
    https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims
    """
    return [f"repo:{repository}:pull_request", f"repo:{repository}:ref:refs/heads/{branch}"]


def deploy_subjects(repository: str, *, branch: str, environment: str, builds: bool) -> list[str]:
    """Return whose tokens may deploy: where images are built the branch and the tags of releases, else an environment.

    Anybody who may push can name an environment in a workflow, and push a tag: on GitHub the environment must have
    required reviewers and a rule for its branches, and a ruleset must keep `v*` for those who may release.
    https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims
    """
    if builds:
        return [f"repo:{repository}:ref:refs/heads/{branch}", f"repo:{repository}:ref:{RELEASE_REFS}"]
    return [f"repo:{repository}:environment:{environment}"]


def github_trust(provider_arn: str, subjects: Sequence[str]) -> Policy:
    """Return the policy by which workflows with one of these subjects take a role on: exact, but for those with `*`.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html#idp_oidc_Create_GitHub
    """
    patterns = [each for each in subjects if "*" in each]
    exact = [each for each in subjects if each not in patterns]

    def trusted(conditions: dict[str, dict[str, object]]) -> Statement:
        return {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": conditions,
        }

    audience: dict[str, object] = {f"{ISSUER}:aud": AUDIENCE}
    subject = f"{ISSUER}:sub"
    statements = [trusted({"StringEquals": {**audience, subject: exact}})] if exact else []
    if patterns:
        statements.append(trusted({"StringEquals": audience, "StringLike": {subject: patterns}}))
    return policy(*statements)


def preview_policy(environment: Environment) -> Policy:
    """Return what a preview asks AWS for, with `--refresh` too: it changes nothing, and gets no secret's value.

    SSM lets everybody decrypt its parameters who may get them, where AWS's own key encrypts them; hence the refusal.
    https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
    """
    return policy(*_reads(environment), _no_values(environment), *_state(environment, writes=False))


def deploy_policies(environment: Environment) -> dict[str, Policy]:
    """Return what creating, changing and deleting this environment asks for, besides `preview_policy`, in four parts.

    By name where Pulumi names a resource, by tag where AWS does. Roles only below the environment's path, and only with
    its boundary; task definitions only its own, since one of another environment would bring that one's role.
    """
    return {
        "deploy-capacity": policy(*_ec2(environment)),
        "deploy-service": policy(*_ecs(environment), *_iam(environment)),
        "deploy-entrance": policy(
            *_entrance(environment), *_images_and_logs(environment), *_state(environment, writes=True)
        ),
        "deploy-scaling": policy(*_scaling(environment)),
    }


def boundary_policy(environment: Environment) -> Policy:
    """Return the most that any role of the environment can do, whoever changes its policies: what they have now.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    """
    parts = [
        instance_policy(environment.cluster),
        execution_policy(
            repository_arn=environment.repository_arn,
            log_group_arn=environment.log_groups,
            injectable=environment.injectable,
        ),
    ]
    if environment.readable.secret_arns:
        parts.append(task_policy(environment.readable))
    return policy(*(statement for part in parts for statement in cast(list[Statement], part["Statement"])))


def size(document: Policy) -> int:
    """Return how many characters IAM counts of a policy: all but white space."""
    return len(json.dumps(document, separators=(",", ":")))


def _reads(environment: Environment) -> list[Statement]:
    secrets = sorted({*environment.injectable.secret_arns, *environment.readable.secret_arns})
    public = f"arn:{environment.account.partition}:ssm:{environment.account.region}::parameter/aws/service/ecs/*"
    statements = [
        # What AWS restricts by no resource.
        allow(
            [
                "application-autoscaling:Describe*",
                "autoscaling:Describe*",
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeImages",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribeNetworkAcls",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeRouteTables",
                "ec2:DescribeSecurityGroupRules",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
                "ecr:GetAuthorizationToken",
                "ecs:DescribeTaskDefinition",
                "ecs:ListClusters",
                "ecs:ListTaskDefinitions",
                "elasticloadbalancing:Describe*",
                "iam:ListOpenIDConnectProviders",
                "logs:DescribeLogGroups",
                "route53:ListHostedZones",
                "route53:ListHostedZonesByName",
            ],
            ["*"],
        ),
        allow(["ec2:DescribeVpcAttribute"], [environment.arn("ec2", "vpc/*")]),
        allow(["ecs:Describe*", "ecs:List*"], [*environment.ecs_resources, environment.task_definitions]),
        # Tasks are listed by a container instance, which not every request names.
        allow(
            ["ecs:ListServices", "ecs:ListTasks"], ["*"], condition={"ArnLike": {"ecs:cluster": environment.cluster}}
        ),
        allow(
            ["iam:Get*", "iam:List*"],
            [
                environment.roles,
                environment.instance_profiles,
                environment.global_arn("iam", f"role{environment.github_path}*"),
                environment.global_arn("iam", f"policy{environment.github_path}*"),
                environment.provider_arn,
            ],
        ),
        allow(
            [
                "ecr:BatchGetImage",
                "ecr:Describe*",
                "ecr:GetDownloadUrlForLayer",
                "ecr:GetLifecyclePolicy",
                "ecr:List*",
            ],
            [environment.repository_arn],
        ),
        allow(
            ["route53:Get*", "route53:List*"],
            [
                environment.global_arn("route53", f"hostedzone/{environment.zone_id}", account=False),
                environment.global_arn("route53", "change/*", account=False),
            ],
        ),
        allow(["acm:DescribeCertificate", "acm:ListTagsForCertificate"], [environment.arn("acm", "certificate/*")]),
        allow(["logs:ListTagsForResource"], [environment.log_groups]),
        allow(["ssm:GetParameter", "ssm:GetParameters"], [public, *environment.injectable.parameter_arns]),
        allow(
            ["application-autoscaling:ListTagsForResource"],
            [environment.arn("application-autoscaling", "scalable-target/*")],
        ),
    ]
    if secrets:
        statements.append(
            allow(
                [
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:GetResourcePolicy",
                    "secretsmanager:ListSecretVersionIds",
                ],
                secrets,
            )
        )
    return statements


def _no_values(environment: Environment) -> Statement:
    suffix = "amazonaws.com.cn" if environment.account.partition == "aws-cn" else "amazonaws.com"
    services = [f"{service}.{environment.account.region}.{suffix}" for service in ("secretsmanager", "ssm")]
    return {
        "Effect": "Deny",
        "Action": ["kms:Decrypt"],
        "Resource": ["*"],
        "Condition": {"StringEquals": {"kms:ViaService": services}},
    }


def _ecs(environment: Environment) -> list[Statement]:
    own, definitions = environment.ecs_resources, environment.task_definitions
    provider = f"capacity-provider/{autonamed(environment.name + '-capacity')}"
    placed: Condition = {"ForAllValues:ArnLike": {"ecs:capacity-provider": [environment.arn("ecs", provider)]}}
    return [
        # Tasks run on the environment's own instances, in the network of these: Fargate's, and those in `awsvpc` mode,
        # would run in any network, with any security group.
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_service-with-iam.html
        allow(
            [
                "ecs:CreateCapacityProvider",
                "ecs:CreateCluster",
                "ecs:Delete*",
                "ecs:PutClusterCapacityProviders",
                "ecs:StopServiceDeployment",
                "ecs:StopTask",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:UpdateCapacityProvider",
                "ecs:UpdateCluster",
                "ecs:UpdateClusterSettings",
            ],
            own,
            condition=placed,
        ),
        allow(
            ["ecs:CreateService", "ecs:UpdateService"],
            own,
            condition={"ArnLikeIfExists": {"ecs:task-definition": definitions}, "Null": {"ecs:subnet": "true"}},
        ),
        # AWS's denials say that it is on "*", whatever the Reference lists. What is registered has no roles but those
        # that may be passed.
        allow(["ecs:RegisterTaskDefinition"], ["*"]),
        allow(["ecs:TagResource"], [definitions]),
        allow(
            ["ecs:RunTask"],
            [definitions],
            condition={
                "ArnLike": {"ecs:cluster": environment.cluster},
                "Null": {"ecs:capacity-provider": "false", "ecs:subnet": "true"},
                **placed,
            },
        ),
        # What an interrupted update left behind is looked for in the whole account.
        allow(
            [
                "acm:ListCertificates",
                "ecs:DescribeCapacityProviders",
                "ecs:DescribeClusters",
                "iam:ListInstanceProfiles",
                "iam:ListRoles",
            ],
            ["*"],
        ),
    ]


def _iam(environment: Environment) -> list[Statement]:
    bounded: Condition = {"StringEquals": {"iam:PermissionsBoundary": environment.boundary_arn}}
    return [
        allow(
            [
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:DeleteRolePolicy",
                "iam:PutRolePolicy",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
                "iam:UpdateRoleDescription",
            ],
            [environment.roles],
            condition=bounded,
        ),
        allow(["iam:TagRole", "iam:UntagRole"], [environment.roles]),
        allow(
            [
                "iam:AddRoleToInstanceProfile",
                "iam:CreateInstanceProfile",
                "iam:DeleteInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:TagInstanceProfile",
                "iam:UntagInstanceProfile",
            ],
            [environment.instance_profiles],
        ),
        allow(
            ["iam:PassRole"],
            [environment.roles],
            condition={"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]}},
        ),
        allow(
            ["iam:CreateServiceLinkedRole"],
            [environment.global_arn("iam", "role/aws-service-role/*")],
            condition={"StringEquals": {"iam:AWSServiceName": list(SERVICE_LINKED)}},
        ),
    ]


def _ec2(environment: Environment) -> list[Statement]:
    def of(*kinds: str) -> list[str]:
        return [environment.arn("ec2", f"{kind}/*") for kind in kinds]

    templates = environment.arn("ec2", "launch-template/*")
    launched: Condition = {"ArnLike": {"ec2:LaunchTemplate": templates}}
    own: Condition = {**launched, **environment.tagged}
    if environment.vpc_id:
        existing = environment.arn("ec2", f"vpc/{environment.vpc_id}")
        placed = [
            allow(["ec2:CreateSecurityGroup"], [existing]),
            allow(["ec2:RunInstances"], of("subnet"), condition={**launched, "ArnEquals": {"ec2:Vpc": existing}}),
        ]
    else:
        placed = [
            # The security group that AWS makes with a VPC has no tags until the program gives it some.
            allow(["ec2:CreateTags"], of("security-group"), condition=environment.claiming),
            allow(["ec2:RunInstances"], of("subnet"), condition=own),
        ]
    return [
        allow(["ec2:CreateVpc"], of("vpc"), condition=environment.tagging),
        allow(
            [
                "ec2:CreateInternetGateway",
                "ec2:CreateLaunchTemplate",
                "ec2:CreateRouteTable",
                "ec2:CreateSecurityGroup",
                "ec2:CreateSubnet",
            ],
            of("internet-gateway", "launch-template", "route-table", "security-group", "subnet"),
            condition=environment.tagging,
        ),
        allow(["ec2:AuthorizeSecurityGroup*"], of("security-group-rule"), condition=environment.tagging),
        allow(
            ["ec2:CreateTags"],
            [environment.arn("ec2", "*/*")],
            condition={
                "StringEquals": {
                    **environment.tagging["StringEquals"],
                    "ec2:CreateAction": [
                        "AuthorizeSecurityGroupEgress",
                        "AuthorizeSecurityGroupIngress",
                        "CreateInternetGateway",
                        "CreateLaunchTemplate",
                        "CreateRouteTable",
                        "CreateSecurityGroup",
                        "CreateSubnet",
                        "CreateVpc",
                        "RunInstances",
                    ],
                }
            },
        ),
        allow(["ec2:CreateTags"], [environment.arn("ec2", "*/*")], condition=environment.keeping),
        allow(
            [
                "ec2:Associate*",
                "ec2:Attach*",
                "ec2:AuthorizeSecurityGroup*",
                "ec2:CreateLaunchTemplateVersion",
                "ec2:CreateRoute",
                "ec2:CreateRouteTable",
                "ec2:CreateSecurityGroup",
                "ec2:CreateSubnet",
                "ec2:Delete*",
                "ec2:Detach*",
                "ec2:Disassociate*",
                "ec2:Modify*",
                "ec2:ReplaceRoute",
                "ec2:RevokeSecurityGroup*",
                "ec2:UpdateSecurityGroupRuleDescriptions*",
            ],
            [environment.arn("ec2", "*/*")],
            condition=environment.tagged,
        ),
        *placed,
        # Auto Scaling tries the launch template with the rights of whoever names it.
        # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
        allow(["ec2:RunInstances"], [templates], condition=environment.tagged),
        # Neither in another's network nor with another's security group: what these let in is not for this environment.
        allow(["ec2:RunInstances"], of("security-group"), condition=own),
        allow(
            ["ec2:RunInstances"],
            [
                *of("instance", "network-interface", "volume"),
                f"arn:{environment.account.partition}:ec2:{environment.account.region}::image/*",
            ],
            condition=launched,
        ),
    ]


def _scaling(environment: Environment) -> list[Statement]:
    group = environment.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{autonamed(environment.name)}")
    targets = environment.arn("application-autoscaling", "scalable-target/*")
    service = f"service/{autonamed(environment.name)}/{autonamed(environment.name)}"
    of_ecs = {"application-autoscaling:service-namespace": "ecs"}
    scales = environment.arn("autoscaling", f"scalingPolicy:*:resource/ecs/{service}:*")
    return [
        allow(
            [
                "autoscaling:CancelInstanceRefresh",
                "autoscaling:DeleteAutoScalingGroup",
                "autoscaling:DeleteTags",
                "autoscaling:SetInstanceProtection",
                "autoscaling:StartInstanceRefresh",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
                "autoscaling:*TargetGroups",
                "autoscaling:*TrafficSources",
            ],
            [group],
        ),
        # Of a launch template a version by its number alone: what comes later, or a launch configuration, isn't tried
        # with the rights of whoever names it.
        # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
        allow(
            ["autoscaling:Create*", "autoscaling:UpdateAutoScalingGroup"],
            [group],
            condition={
                "BoolIfExists": {"autoscaling:LaunchTemplateVersionSpecified": "true"},
                "Null": {"autoscaling:LaunchConfigurationName": "true"},
            },
        ),
        # Application Auto Scaling numbers its targets, so that they are told by their tags alone.
        allow(
            ["application-autoscaling:RegisterScalableTarget"],
            [targets],
            condition={**environment.claiming, "StringEquals": {**environment.tagging["StringEquals"], **of_ecs}},
        ),
        allow(["application-autoscaling:TagResource"], [targets], condition=environment.claiming),
        allow(
            [
                "application-autoscaling:DeleteScalingPolicy",
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:PutScalingPolicy",
                "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:UntagResource",
            ],
            [targets],
            condition=environment.tagged,
        ),
        # Application Auto Scaling asks for its alarms with the rights of whoever gives it a policy.
        # https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
        allow(["cloudwatch:DescribeAlarms"], [environment.arn("cloudwatch", "alarm:*")]),
        allow(["cloudwatch:DeleteAlarms"], [environment.arn("cloudwatch", f"alarm:TargetTracking-{service}-*")]),
        # An alarm can do more than scale: stop or terminate any instance of the account.
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-alarm-actions.html
        allow(
            ["cloudwatch:PutMetricAlarm"],
            [environment.arn("cloudwatch", f"alarm:TargetTracking-{service}-*")],
            condition={"ForAllValues:StringLike": {"cloudwatch:AlarmActions": [scales]}},
        ),
    ]


def _entrance(environment: Environment) -> list[Statement]:
    balancer = autonamed(load_balancer_name(environment.name))
    proofs = f"_*.{environment.domain}"
    records: Condition = {
        "ForAllValues:StringLike": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [environment.domain, proofs]
        },
        "ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": ["A", "AAAA", "CNAME"]},
    }
    domains: Condition = {"ForAllValues:StringEquals": {"acm:DomainNames": [environment.domain]}}
    certificates = [environment.arn("acm", "certificate/*")]
    return [
        allow(
            [
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:Create*",
                "elasticloadbalancing:Delete*",
                "elasticloadbalancing:Modify*",
                "elasticloadbalancing:RemoveTags",
                "elasticloadbalancing:Set*",
            ],
            [
                environment.arn("elasticloadbalancing", f"loadbalancer/app/{balancer}/*"),
                environment.arn("elasticloadbalancing", f"listener/app/{balancer}/*"),
                environment.arn("elasticloadbalancing", f"targetgroup/{balancer}/*"),
            ],
        ),
        allow(
            ["route53:ChangeResourceRecordSets"],
            [environment.global_arn("route53", f"hostedzone/{environment.zone_id}", account=False)],
            condition=records,
        ),
        allow(["acm:RequestCertificate"], ["*"], condition={**environment.tagging, **domains}),
        # ACM asks for the right to tag too, where a request has tags: of a certificate that has none yet.
        # https://github.com/hashicorp/terraform-provider-aws/issues/11903
        allow(["acm:AddTagsToCertificate"], certificates, condition=environment.claiming),
        allow(["acm:AddTagsToCertificate"], certificates, condition=environment.keeping),
        allow(
            ["acm:DeleteCertificate", "acm:RemoveTagsFromCertificate"],
            certificates,
            condition=environment.tagged,
        ),
    ]


def _images_and_logs(environment: Environment) -> list[Statement]:
    building = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:CompleteLayerUpload",
        "ecr:InitiateLayerUpload",
        "ecr:TagResource",
        "ecr:UploadLayerPart",
    ]
    return [
        # A label of an image that is there: a release's, or what says that an environment has served it. What keeps
        # releases as they are, the repository's own settings, is a person's to change: other environments run them.
        allow(["ecr:PutImage", *(building if environment.builds else [])], [environment.repository_arn]),
        allow(
            [
                "logs:CreateLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:GetLogEvents",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
                "logs:UntagResource",
            ],
            [environment.log_groups],
        ),
    ]


def _state(environment: Environment, *, writes: bool) -> list[Statement]:
    """Return the right to one stack's files, as Pulumi lays them out in a bucket, and to the key of its secrets.

    A preview reads the stack and takes no lock. To list the bucket shows the names of other stacks, no more; without
    it, S3 says of a file that isn't there that it is forbidden, which Pulumi takes for an error.
    """
    state, statements = environment.state, []
    if state.bucket:
        bucket = environment.global_arn("s3", state.bucket, account=False)
        stack = f"{state.project}/{state.stack}"
        files = f"{bucket}/.pulumi/stacks/{stack}.*"
        if writes:
            kept = [f"{bucket}/.pulumi/{kind}/{stack}/*" for kind in ("backups", "history")]
            locks = f"{bucket}/.pulumi/locks/organization/{stack}/*"
            statements.append(allow(["s3:GetObject", "s3:PutObject"], [files, *kept, locks]))
            statements.append(allow(["s3:DeleteObject"], [locks]))
        else:
            statements.append(allow(["s3:ListBucket"], [bucket]))
            statements.append(allow(["s3:GetObject"], [f"{bucket}/.pulumi/meta.yaml", files]))
    if state.key_arn:
        actions = ["kms:Encrypt", "kms:GenerateDataKey"] if writes else ["kms:Decrypt", "kms:DescribeKey"]
        statements.append(allow(actions, [state.key_arn]))
    return statements
