"""The whole program, as it is committed, for both stacks."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from components import rollout
from components.deployment import Clients, Target
from components.lookups import Missing
from settings import WrongSettings
from tests.unit.aws_answers import ACCOUNT, DIGEST, REGION, REGISTRY, SERVED
from tests.unit.fake_ecs import FakeAccount, deployment
from tests.unit.mocked_engine import PROJECT, AwsError, Deployment
from tests.unit.stack_files import STACKS, run_program, stack_file, values

OUTPUTS = {"url", "image", "tag", "repository", "cluster", "service", "taskDefinition", "logGroup", "runbook"}
RELEASE = {f"{PROJECT}:tag": "v1.2.3"}

OF_BOTH = {
    "pulumi:providers:aws": 1,
    "booklink:backend:Image": 1,
    "booklink:backend:Network": 1,
    "booklink:backend:Certificate": 1,
    "booklink:backend:LoadBalancer": 1,
    "booklink:backend:Capacity": 1,
    "booklink:backend:Service": 1,
    "booklink:backend:Rollout": 1,
    "aws:acm/certificate:Certificate": 1,
    "aws:acm/certificateValidation:CertificateValidation": 1,
    "aws:appautoscaling/policy:Policy": 1,
    "aws:appautoscaling/target:Target": 1,
    "aws:autoscaling/group:Group": 1,
    "aws:cloudwatch/logGroup:LogGroup": 1,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
    "aws:ec2/internetGateway:InternetGateway": 1,
    "aws:ec2/launchTemplate:LaunchTemplate": 1,
    "aws:ec2/route:Route": 2,
    "aws:ec2/routeTable:RouteTable": 1,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": 2,
    "aws:ec2/securityGroup:SecurityGroup": 2,
    "aws:ec2/subnet:Subnet": 2,
    "aws:ec2/vpc:Vpc": 1,
    "aws:ecs/capacityProvider:CapacityProvider": 1,
    "aws:ecs/cluster:Cluster": 1,
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": 1,
    "aws:ecs/service:Service": 1,
    "aws:ecs/taskDefinition:TaskDefinition": 1,
    "aws:iam/instanceProfile:InstanceProfile": 1,
    "aws:iam/role:Role": 3,
    "aws:iam/rolePolicy:RolePolicy": 3,
    "aws:lb/listener:Listener": 1,
    "aws:lb/loadBalancer:LoadBalancer": 1,
    "aws:lb/targetGroup:TargetGroup": 1,
    "aws:route53/record:Record": 3,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": 3,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": 3,
}
OF_PRE = {
    "booklink:backend:Repository": 1,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": 1,
    "aws:ecr/repository:Repository": 1,
    "docker:index/image:Image": 1,
}
TYPES = {"pre": {**OF_BOTH, **OF_PRE}, "live": OF_BOTH}


@dataclass
class FakeRepository:
    """ECR, as far as what serves gets labels there."""

    labels: set[str] = field(default_factory=set)

    def batch_get_image(self, **asked: Any) -> dict[str, Any]:
        assert (asked["registryId"], asked["repositoryName"]) == (ACCOUNT, PROJECT)
        by_tag = "imageTag" in asked["imageIds"][0]
        return {"images": [] if by_tag else [{"imageManifest": "{}", "imageManifestMediaType": "x"}]}

    def put_image(self, **put: str) -> None:
        assert put["imageDigest"] == DIGEST
        self.labels.add(put["imageTag"])


def given(stack: str) -> dict[str, Any]:
    return {**values(stack_file(stack)), **(RELEASE if stack == "live" else {})}


@pytest.fixture(scope="module")
def stacks() -> dict[str, Deployment]:
    return {stack: run_program(stack, given(stack), preview=True) for stack in STACKS}


@pytest.fixture(params=STACKS)
def made(stacks: dict[str, Deployment], request: pytest.FixtureRequest) -> Deployment:
    return stacks[request.param]


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_makes_exactly_these(stacks: dict[str, Deployment], stack: str) -> None:
    assert Counter(resource.type for resource in stacks[stack].resources) == TYPES[stack]


def test_the_outputs_are_those_of_the_contract(made: Deployment) -> None:
    assert set(made.outputs) == OUTPUTS
    assert made.secret_outputs == frozenset(), "an output that is shown as [secret] helps nobody"


def test_the_outputs_are_what_was_made(stacks: dict[str, Deployment]) -> None:
    pre = stacks["pre"]
    assert pre.outputs["url"] == "https://pre-be.booklinktrove.com"
    assert pre.outputs["tag"] == "master"
    assert pre.outputs["repository"] == f"{REGISTRY}/{PROJECT}"
    assert pre.outputs["cluster"] == pre.one("aws:ecs/cluster:Cluster").outputs["name"]
    assert pre.outputs["service"] == pre.one("aws:ecs/service:Service").outputs["name"]
    assert pre.outputs["taskDefinition"] == pre.one("aws:ecs/taskDefinition:TaskDefinition").outputs["arn"]
    assert pre.outputs["logGroup"] == pre.one("aws:cloudwatch/logGroup:LogGroup").outputs["name"]


def test_the_image_that_is_told_is_the_one_that_runs(made: Deployment) -> None:
    (container,) = json.loads(made.one("aws:ecs/taskDefinition:TaskDefinition").inputs["containerDefinitions"])
    assert container["image"] == made.outputs["image"] == f"{REGISTRY}/{PROJECT}@{DIGEST}"


def test_the_runbook_names_what_was_made(made: Deployment) -> None:
    text = " ".join(made.outputs["runbook"].values())
    for output in ("cluster", "service", "logGroup"):
        assert made.outputs[output] in text


def test_every_resource_is_a_child_of_its_component(made: Deployment) -> None:
    for resource in made.resources:
        if resource.is_component or resource.type.startswith("pulumi:providers:"):
            assert resource.parent_type == "pulumi:pulumi:Stack", resource.urn
        else:
            assert resource.parent_type.startswith("booklink:backend:"), resource.urn


def test_every_aws_resource_and_look_up_uses_the_one_explicit_provider(made: Deployment) -> None:
    provider = made.one("pulumi:providers:aws")
    reference = f"{provider.urn}::{provider.outputs['id']}"
    for resource in made.resources:
        if resource.type.startswith("aws:"):
            assert resource.provider == reference, f"{resource.urn} would miss the default tags, and the profile"
    assert {invocation.provider for invocation in made.invocations} == {reference}


@pytest.mark.parametrize("stack", STACKS)
def test_the_provider_tags_everything(stacks: dict[str, Deployment], stack: str) -> None:
    inputs = stacks[stack].one("pulumi:providers:aws").inputs
    assert inputs["region"] == REGION
    tags = (
        json.loads(inputs["defaultTags"])["tags"]
        if isinstance(inputs["defaultTags"], str)
        else inputs["defaultTags"]["tags"]
    )
    assert tags == {"Project": PROJECT, "Environment": stack, "ManagedBy": "pulumi"}


def test_every_component_registers_its_outputs(made: Deployment) -> None:
    components = {resource.urn for resource in made.resources if resource.is_component}
    assert set(made.component_outputs) == components, "or Pulumi shows them as unfinished"


def test_names_of_children_begin_with_their_components(made: Deployment) -> None:
    by_urn = {resource.urn: resource for resource in made.resources}
    for resource in made.resources:
        if resource.parent in by_urn:
            assert resource.name.startswith(by_urn[resource.parent].name), resource.urn


def test_nothing_warns(made: Deployment) -> None:
    assert made.warnings() == []


def test_only_the_repository_is_protected(stacks: dict[str, Deployment]) -> None:
    protected = [r.type for r in stacks["pre"].resources if r.protect]
    assert sorted(protected) == ["aws:ecr/lifecyclePolicy:LifecyclePolicy", "aws:ecr/repository:Repository"]
    assert not [r for r in stacks["live"].resources if r.protect], "or live could not be destroyed"


def test_live_finds_the_image_of_its_tag_in_the_repository_of_pre(stacks: dict[str, Deployment]) -> None:
    asked = {invocation.token: invocation.arguments for invocation in stacks["live"].invocations}
    assert asked["aws:ecr/getRepository:getRepository"] == {"name": PROJECT}
    assert asked["aws:ecr/getImage:getImage"] == {"repositoryName": PROJECT, "imageTag": "v1.2.3"}
    name = stacks["pre"].one("aws:ecr/repository:Repository").inputs["name"]
    assert name == PROJECT, "live would look elsewhere"


def test_pre_looks_for_no_image(stacks: dict[str, Deployment]) -> None:
    assert "aws:ecr/getImage:getImage" not in {invocation.token for invocation in stacks["pre"].invocations}


def test_the_task_reads_its_secret_and_the_agent_reads_none(stacks: dict[str, Deployment]) -> None:
    def policy(role: str) -> str:
        return json.dumps(json.loads(stacks["pre"].one("aws:iam/rolePolicy:RolePolicy", role).inputs["policy"]))

    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:pre1/postgres-AbCdEf"
    assert secret in policy("-task")
    assert "secretsmanager" not in policy("-execution")


def test_live_without_a_tag_is_refused() -> None:
    asked = Deployment()
    with pytest.raises(WrongSettings, match="tag: is missing"):
        run_program("live", values(stack_file("live")), into=asked)
    assert (asked.resources, asked.invocations) == ([], [])


def test_wrong_settings_create_nothing_and_ask_nothing() -> None:
    asked = Deployment()
    with pytest.raises(WrongSettings, match=r"2 settings are wrong in Pulumi\.pre\.yaml; nothing was changed"):
        run_program(
            "pre",
            {**given("pre"), f"{PROJECT}:host": "a.b", f"{PROJECT}:contaner": {}, f"{PROJECT}:budget": 3},
            into=asked,
        )
    assert (asked.resources, asked.invocations) == ([], [])


def test_a_region_that_is_none_creates_nothing() -> None:
    asked = Deployment()
    with pytest.raises(WrongSettings, match="aws:region"):
        run_program("pre", {**given("pre"), "aws:region": "Frankfurt"}, into=asked)
    assert asked.resources == []


def test_everything_that_is_missing_is_told_at_once_and_nothing_is_created() -> None:
    asked, gone = Deployment(), AwsError("not found")
    answers = {
        "aws:route53/getZone:getZone": gone,
        "aws:ssm/getParameter:getParameter": gone,
        "aws:secretsmanager/getSecret:getSecret": gone,
        "aws:ecr/getImage:getImage": gone,
    }
    with pytest.raises(Missing) as raised:
        run_program("live", given("live"), answers=answers, into=asked)
    head, *lines = str(raised.value).split("\n")
    assert head == "What must exist was not found; nothing was changed:"
    assert sorted(line.split(":")[0].strip() for line in lines) == [
        "capacity.ami",
        "container.secrets, container.readableSecrets",
        "tag",
        "zone",
    ]
    assert [resource.type for resource in asked.resources] == ["pulumi:providers:aws"]


def test_an_update_waits_for_the_service_that_it_made(stacks: dict[str, Deployment]) -> None:
    outputs = stacks["pre"].outputs
    target = Target(
        cluster=outputs["cluster"],
        service=outputs["service"],
        task_definition=outputs["taskDefinition"],
        target_group=stacks["pre"].one("aws:lb/targetGroup:TargetGroup").outputs["arn"],
        log_group=outputs["logGroup"],
        auto_scaling_group=stacks["pre"].one("aws:autoscaling/group:Group").outputs["name"],
    )
    account = FakeAccount(states=[[deployment("ecs-svc/1", outputs["taskDefinition"], "COMPLETED")]], target=target)
    ecr = FakeRepository()

    def clients(region: str, _: str | None) -> Clients:
        assert region == REGION
        return account.clients()

    made = run_program("pre", given("pre"), clients=clients, ecr=ecr)
    assert ecr.labels == {SERVED, "serving-pre"}, "and what serves is labelled"
    assert account.looks == 1
    assert made.outputs == outputs


def test_outputs_are_there_where_the_deployment_fails(stacks: dict[str, Deployment]) -> None:
    def clients(*_: object) -> Clients:
        raise ConnectionError("AWS is away")

    asked = Deployment()
    with pytest.raises(rollout.RolloutFailed):
        run_program("pre", given("pre"), into=asked, clients=clients)
    assert asked.outputs == stacks["pre"].outputs, "the runbook is never needed more than then"


def test_a_version_that_pre_has_never_served_is_refused_in_live_before_anything_is_declared() -> None:
    asked, answers = Deployment(), {"aws:ecr/getImage:getImage": {"id": DIGEST, "imageDigest": DIGEST, "imageTags": []}}
    with pytest.raises(Missing, match=r"tag: v1\.2\.3 is an image that pre has never served"):
        run_program("live", given("live"), answers=answers, into=asked)
    assert [resource.type for resource in asked.resources] == ["pulumi:providers:aws"]


def test_so_is_one_for_another_architecture() -> None:
    asked = Deployment()
    with pytest.raises(Missing, match=r"tag: v1\.2\.3 was built for arm64, and capacity\.instanceType is amd64"):
        run_program("live", given("live"), built_for="arm64", into=asked)
    assert [resource.type for resource in asked.resources] == ["pulumi:providers:aws"]
