"""What the settings mean when they are right, and how they are read."""

import json
from typing import Any

import pulumi
import pytest

from components.container_definition import ContainerArgs, ContainerHealthArgs
from components.image import BuildArgs
from components.load_balancer import HealthCheckArgs
from components.policies import SecretAccess
from components.secrets import Secret
from settings import Place, Settings, WrongSettings, arguments, load, parse
from tests.unit.mocked_engine import run
from tests.unit.settings_examples import RIGHT, at, changed

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/x"


def settings(change: dict[str, Any] | None = None) -> Settings:
    return parse(changed(change or {}), stack="pre")


def test_everything_that_is_not_given_has_its_default() -> None:
    found = settings()
    assert (found.build, found.health.path, found.health.matcher) == (None, "/", "200")
    assert (found.service.min, found.service.max, found.service.circuit_breaker) == (1, 1, True)
    assert (found.capacity.instance_type, found.capacity.max, found.capacity.ami) == ("t3.micro", 2, "recommended")
    assert (found.container.host_port, found.container.read_only_root_filesystem) == (0, True)
    assert found.container.environment == found.container.secrets == {}
    assert (found.network.cidr, found.network.vpc_id, found.logs.retention_days) == (None, None, 14)


@pytest.mark.parametrize("empty", ["", {}, []])
def test_an_empty_setting_counts_as_absent(empty: object) -> None:
    given = {**RIGHT, "build": empty, "health": empty, "budget": empty}
    assert parse(given, stack="pre") == settings()


def test_the_domain_is_the_host_under_the_zone() -> None:
    assert settings().domain == "be.example.com"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().tag = "other"


@pytest.mark.parametrize(
    ("given", "text"), [(4000, "4000"), (True, "true"), (False, "false"), (1.5, "1.5"), ("x", "x")]
)
def test_variables_are_text_whatever_yaml_makes_of_them(given: object, text: str) -> None:
    assert settings(at("container.environment.A", given)).container.environment == {"A": text}


@pytest.mark.parametrize("ami", ["ami-0a1b2c3d", "al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-x86_64"])
def test_an_ami_may_be_pinned(ami: str) -> None:
    assert settings(at("capacity.ami", ami)).capacity.ami == ami


def test_the_demand_on_instances_is_that_of_the_tasks() -> None:
    demand = settings({"service": {"min": 2, "max": 3}, "capacity": {"max": 4}}).demand
    assert (demand.cpu, demand.memory, demand.memory_reservation) == (512, 512, 256)
    assert (demand.min_tasks, demand.max_tasks, demand.max_instances, demand.host_port) == (2, 3, 4, 0)


def test_a_stack_without_build_builds_nothing() -> None:
    assert arguments.build_args(settings()) is None


@pytest.mark.parametrize(("instance", "platform"), [("t3.micro", "linux/amd64"), ("t4g.micro", "linux/arm64")])
def test_the_image_is_built_for_the_instances(instance: str, platform: str) -> None:
    found = settings({"build": {"context": "app", "args": {"A": 1}}, "capacity": {"instanceType": instance}})
    assert arguments.build_args(found) == BuildArgs(context="app", platform=platform, args={"A": "1"})


def test_the_build_is_passed_on_whole() -> None:
    build = {"context": "a", "dockerfile": "b", "target": "c", "platform": "linux/amd64"}
    assert arguments.build_args(settings({"build": build})) == BuildArgs(
        context="a", dockerfile="b", target="c", platform="linux/amd64"
    )


def test_the_health_check_is_passed_on_whole() -> None:
    health = {"path": "/h", "matcher": "200-204", "interval": 20, "timeout": 6, "healthyThreshold": 4}
    found = settings({"health": {**health, "unhealthyThreshold": 5}})
    assert arguments.health_check_args(found) == HealthCheckArgs(
        path="/h", matcher="200-204", interval=20, timeout=6, healthy_threshold=4, unhealthy_threshold=5
    )


def test_the_container_is_passed_on_whole() -> None:
    change = {"hostPort": 8888, "command": ["a"], "environment": {"A": "b"}, "user": "1:1", "stopTimeout": 60}
    found = settings({"container": {**change, "readOnlyRootFilesystem": False}})
    assert arguments.container_args(found) == ContainerArgs(
        port=8080,
        host_port=8888,
        cpu=512,
        memory=512,
        memory_reservation=256,
        command=["a"],
        environment={"A": "b"},
        read_only_root_filesystem=False,
        user="1:1",
        stop_timeout=60,
    )


def test_without_a_health_command_docker_checks_nothing() -> None:
    assert arguments.container_health_args(settings()) is None


def test_a_health_command_starts_as_late_as_the_load_balancers_check_counts() -> None:
    found = settings({"health": {"command": ["CMD", "true"], "gracePeriod": 45, "unhealthyThreshold": 4}})
    assert arguments.container_health_args(found) == ContainerHealthArgs(
        command=["CMD", "true"], interval=10, timeout=5, retries=4, start_period=45
    )


SECRETS = {
    "one": Secret(arn=ARN.format("one"), has_own_key=False),
    "two": Secret(arn=ARN.format("two"), has_own_key=True),
}


def references() -> Settings:
    return settings(
        {
            "container": {
                "secrets": {"A": "one:user::", "B": "one:password::", "C": "two", "D": PARAMETER},
                "readableSecrets": ["two"],
            }
        }
    )


def test_ecs_is_told_a_secrets_whole_arn_and_what_of_it_is_wanted() -> None:
    injected = arguments.injected_references(references())
    assert {variable: arguments.value_from(reference, SECRETS) for variable, reference in injected.items()} == {
        "A": f"{ARN.format('one')}:user::",
        "B": f"{ARN.format('one')}:password::",
        "C": ARN.format("two"),
        "D": PARAMETER,
    }


def test_what_is_injected_may_be_read_each_once() -> None:
    injected = arguments.injected_references(references())
    assert arguments.secret_access([*injected.values()], SECRETS) == SecretAccess(
        secret_arns=[ARN.format("one"), ARN.format("two")], parameter_arns=[PARAMETER], own_key_arns=[ARN.format("two")]
    )


def test_the_task_may_read_what_it_is_given_alone() -> None:
    readable = arguments.readable_references(references())
    assert arguments.secret_access(readable, SECRETS) == SecretAccess(
        secret_arns=[ARN.format("two")], parameter_arns=[], own_key_arns=[ARN.format("two")]
    )


CONFIG = {
    "booklink-backend:zone": "example.com",
    "booklink-backend:host": "be",
    "booklink-backend:tag": "v1.2.3",
    "booklink-backend:container": '{"port": 8080, "cpu": 512, "memory": 512, "memoryReservation": 256}',
    "aws:region": "eu-central-1",
}


def read(config: dict[str, str], secret: tuple[str, ...] = ()) -> tuple[Settings, Place]:
    found: list[tuple[Settings, Place]] = []
    run(lambda: found.append(load(pulumi.get_project(), pulumi.get_stack())), config=config, secret_config=secret)
    return found[0]


def loaded(config: dict[str, str], secret: tuple[str, ...] = ()) -> Settings:
    return read({"aws:region": "eu-central-1", **config}, secret)[0]


def test_settings_are_read_from_their_own_namespace() -> None:
    assert loaded({**CONFIG, "other:budget": "1"}) == settings()


def test_text_that_only_begins_like_json_is_text() -> None:
    with pytest.raises(WrongSettings, match=r'tag: "\{x" is not allowed'):
        loaded({**CONFIG, "booklink-backend:tag": "{x"})


def test_an_encrypted_setting_is_refused() -> None:
    with pytest.raises(WrongSettings, match="tag: is encrypted"):
        loaded(CONFIG, ("booklink-backend:tag",))


def place(config: dict[str, str]) -> Place:
    return read({**{key: text for key, text in CONFIG.items() if not key.startswith("aws:")}, **config})[1]


def test_the_region_the_profile_and_the_accounts_are_the_providers() -> None:
    assert place({"aws:region": "eu-central-1"}) == Place(region="eu-central-1", profile=None, account_ids=None)
    given = {"aws:region": "us-gov-west-1", "aws:profile": "work", "aws:allowedAccountIds": '["123456789012"]'}
    assert place(given) == Place(region="us-gov-west-1", profile="work", account_ids=["123456789012"])


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "aws:region: is missing"),
        ({"aws:region": "Frankfurt"}, 'aws:region: "Frankfurt" is not allowed'),
        ({"aws:region": "eu-central-1a"}, 'aws:region: "eu-central-1a" is not allowed'),
    ],
)
def test_a_wrong_region_is_refused_with_an_example(config: dict[str, str], problem: str) -> None:
    with pytest.raises(WrongSettings) as raised:
        place(config)
    assert str(raised.value) == (
        "1 setting is wrong in Pulumi.pre.yaml; nothing was changed:\n"
        f'  {problem}; allowed is a region of AWS, such as "eu-central-1"'
    )


def test_another_setting_of_the_provider_is_refused_since_it_would_have_no_effect() -> None:
    with pytest.raises(WrongSettings) as raised:
        place({"aws:region": "eu-central-1", "aws:assumeRoles": "[]", "aws:endpoints": "[]"})
    assert str(raised.value) == (
        "2 settings are wrong in Pulumi.pre.yaml; nothing was changed:\n"
        "  aws:assumeRoles: is not used; allowed are aws:region, aws:profile, aws:allowedAccountIds\n"
        "  aws:endpoints: is not used; allowed are aws:region, aws:profile, aws:allowedAccountIds"
    )


@pytest.mark.parametrize("given", ["123456789012", '["1234"]', "[]", "mine"])
def test_account_ids_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(
        WrongSettings, match=r"aws:allowedAccountIds: .* is not allowed; allowed is a list of account IDs"
    ):
        place({"aws:region": "eu-central-1", "aws:allowedAccountIds": given})


def test_a_wrong_region_is_told_together_with_all_else_that_is_wrong() -> None:
    with pytest.raises(WrongSettings, match="2 settings are wrong") as raised:
        read({**CONFIG, "aws:region": "Frankfurt", "booklink-backend:tag": "a/b"})
    assert "aws:region:" in str(raised.value)
    assert "tag:" in str(raised.value)


def test_settings_of_another_project_are_told_and_not_ignored() -> None:
    with pytest.raises(WrongSettings) as raised:
        loaded({**CONFIG, "booklink:tag": "v1"})
    assert "booklink:tag: is not read, since this project is booklink-backend (Pulumi.yaml)" in str(raised.value)
    assert "make it booklink-backend:tag" in str(raised.value)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        ('{"context": "nowhere"}', "build.context: there is no folder nowhere beside Pulumi.yaml"),
        ('{"context": "docs"}', "build.dockerfile: there is no file docs/Dockerfile beside Pulumi.yaml"),
        ('{"context": "app", "dockerfile": "No"}', "build.dockerfile: there is no file No beside Pulumi.yaml"),
    ],
)
def test_what_is_to_be_built_must_be_there(build: str, problem: str) -> None:
    with pytest.raises(WrongSettings, match=problem):
        loaded({**CONFIG, "booklink-backend:build": build})


def test_the_id_of_a_readable_secret_may_be_given_under_a_secrets_name() -> None:
    container = {"port": 1, "cpu": 2, "memory": 64, "environment": {"DB_SECRET": "a/b"}, "readableSecrets": ["a/b"]}
    found = loaded({**CONFIG, "booklink-backend:container": json.dumps(container)})
    assert found.container.environment == {"DB_SECRET": "a/b"}


def test_another_health_check_is_another_label_and_so_another_task_definition() -> None:
    labels = {
        arguments.labels(settings({"health": each}), {})["health-check"]
        for each in ({}, {"path": "/x"}, {"matcher": "204"})
    }
    assert len(labels) == 3


def test_another_version_of_an_injected_secret_is_another_label_too() -> None:
    assert set(arguments.labels(settings({}), {})) == {"health-check"}, (
        "where nothing is injected, nothing is said of it"
    )
    labels = arguments.labels(settings({}), {"B": "2", "A": "1"})
    assert labels["injected-versions"] == "A=1 B=2", "the same versions always give the same label"


@pytest.mark.parametrize("repository", ["booklink/backend", "booklink@12/backend@345"])
def test_a_repository_on_github_has_its_ids_or_none(repository: str) -> None:
    github = settings(at("github.repository", repository)).github
    assert github
    assert github.repository == repository
