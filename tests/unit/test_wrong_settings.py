"""Each wrong setting gives one line, which names it, its value, what is allowed and an example."""

from collections.abc import Mapping
from typing import Any

import pytest

from settings import WrongSettings, parse
from settings.reading import _HINTS
from tests.unit.settings_examples import ABSENT, RIGHT, at, changed, examples

ALLOWED = {
    "zone": 'a domain name in lower case, without a dot at its end, such as "booklinktrove.com"',
    "host": 'one label of at most 63 lower-case letters, digits and hyphens, without a dot, such as "pre-be"',
    "tag": 'letters, digits, _, . and -, at most 128, not beginning with . or -, such as "v1.2.3"',
    "container": 'port, cpu and memory at least, such as {"port": 8080, "cpu": 512, "memory": 512}',
    "container.port": "a whole number from 1 to 65535, such as 8080",
    "container.hostPort": "a whole number from 0 to 32767, such as 0",
    "container.cpu": "a whole number of CPU units from 2 to 16384, such as 512",
    "container.memory": "a whole number of MiB from 6 to 131072, such as 512",
    "container.memoryReservation": "a whole number of MiB from 6 to 131072, such as 256",
    "container.command": 'a list of texts, such as ["serve", "--verbose"]',
    "container.environment": 'names (letters, digits, _ and .) and values, such as {"APP_ENV": "pre"}',
    "container.secrets": "names, each with a secret's ID or ARN, with :json-key:: or without, or an SSM parameter's "
    'ARN, in quotes, such as {"DB_PASSWORD": "pre1/postgres:password::"}',
    "container.readableSecrets": 'a list of IDs or ARNs of secrets, such as ["pre1/postgres"]',
    "container.readOnlyRootFilesystem": "true or false, such as true",
    "container.user": 'a user, or user:group, by number or name, in quotes, such as "10001:10001"',
    "container.stopTimeout": "a whole number of seconds from 2 to 120, such as 30",
    "health.path": 'a path that begins with /, of at most 1,024 characters and no spaces, such as "/actuator/health"',
    "health.matcher": 'codes from 200 to 499 and ranges of them, between commas, in quotes, such as "200-299"',
    "health.interval": "a whole number of seconds from 5 to 300, such as 10",
    "health.timeout": "a whole number of seconds from 2 to 120, such as 5",
    "health.healthyThreshold": "a whole number from 2 to 10, such as 2",
    "health.unhealthyThreshold": "a whole number from 2 to 10, such as 3",
    "health.gracePeriod": "a whole number of seconds from 0 to 7200, such as 45",
    "health.command": "a list of texts that begins with CMD or CMD-SHELL, such as "
    '["CMD-SHELL", "curl -fs http://localhost:8080/actuator/health"]',
    "service.min": "a whole number from 1 to 100, such as 1",
    "service.cpuTarget": "a whole number of per cent from 10 to 95, such as 60",
    "service.circuitBreaker": "true or false, such as true",
    "service.deploymentTimeout": "a whole number of seconds from 60 to 7200, such as 900",
    "capacity.instanceType": "t3, t3a or t4g (nano to 2xlarge), or a c, m or r type of generation 5 to 8 (large to "
    '4xlarge), such as "t4g.micro"',
    "capacity.max": "a whole number from 1 to 100, such as 2",
    "capacity.spot": "true or false, such as true",
    "capacity.ami": "recommended, the name of a release of the ECS-optimized AL2023 AMI, or an AMI's ID, such as "
    '"al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-x86_64"',
    "capacity.volumeSize": "a whole number of GiB from 30 to 16384, such as 30",
    "network.cidr": 'a private IPv4 range from /16 to /26, such as "10.20.0.0/16"',
    "network.vpcId": 'the ID of a VPC, such as "vpc-0a1b2c3d4e5f60718"',
    "network.subnetIds": "a list of two or more IDs of subnets, such as "
    '["subnet-0a1b2c3d4e5f60718", "subnet-1a2b3c4d5e6f70819"]',
    "logs.retentionDays": "one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, "
    "2557, 2922, 3288, 3653, such as 90",
    "build.context": 'the path of a folder, such as "app"',
    "build.args": 'names and values, such as {"BASE": "python:3.13-slim"}',
    "build.platform": 'linux/amd64 or linux/arm64, as capacity.instanceType has it, such as "linux/amd64"',
}

NOT_ALLOWED: list[tuple[str, Any, str]] = [
    ("zone", "example.com.", '"example.com."'),
    ("zone", "Example.com", '"Example.com"'),
    ("zone", "example", '"example"'),
    ("host", "a.b", '"a.b"'),
    ("host", "-be", '"-be"'),
    ("host", "x" * 64, f'"{"x" * 64}"'),
    ("tag", "feature/x", '"feature/x"'),
    ("tag", ".x", '".x"'),
    ("tag", "x" * 129, f'"{"x" * 129}"'),
    ("container", "8080", '"8080"'),
    ("container.port", "8080", '"8080"'),
    ("container.port", 0, "0"),
    ("container.port", 65536, "65536"),
    ("container.port", 80.5, "80.5"),
    ("container.port", True, "true"),
    ("container.hostPort", -1, "-1"),
    ("container.hostPort", 32768, "32768"),
    ("container.cpu", 1, "1"),
    ("container.memory", 5, "5"),
    ("container.memoryReservation", 1, "1"),
    ("container.command", [], "[]"),
    ("container.command", "serve", '"serve"'),
    ("container.readableSecrets", "id", '"id"'),
    ("container.readOnlyRootFilesystem", "yes", '"yes"'),
    ("container.user", "a b", '"a b"'),
    ("container.stopTimeout", 1, "1"),
    ("container.stopTimeout", 121, "121"),
    ("health.path", "health", '"health"'),
    ("health.path", "/a b", '"/a b"'),
    ("health.matcher", 200, "200"),
    ("health.matcher", "20x", '"20x"'),
    ("health.interval", 4, "4"),
    ("health.timeout", 1, "1"),
    ("health.healthyThreshold", 1, "1"),
    ("health.unhealthyThreshold", 11, "11"),
    ("health.gracePeriod", -1, "-1"),
    ("service.min", 0, "0"),
    ("service.cpuTarget", 5, "5"),
    ("service.circuitBreaker", "on", '"on"'),
    ("service.deploymentTimeout", 10, "10"),
    ("capacity.max", 0, "0"),
    ("capacity.spot", "true", '"true"'),
    ("capacity.ami", "ubuntu", '"ubuntu"'),
    ("capacity.volumeSize", 8, "8"),
    ("network.vpcId", "vpc-1", '"vpc-1"'),
    ("network.subnetIds", ["subnet-0a1b2c3d"], '["subnet-0a1b2c3d"]'),
    ("logs.retentionDays", "14", '"14"'),
]
"""The setting, a wrong value, and how the line shows it."""

NOT_ALLOWED_FOR_A_REASON: list[tuple[str, Any, str, str]] = [
    ("container.hostPort", 22, "22", "the instance uses this port itself"),
    ("container.hostPort", 2375, "2375", "the instance uses this port itself"),
    ("health.matcher", "200-599", '"200-599"', "a code is outside 200-499"),
    ("health.command", ["curl", "x"], '["curl", "x"]', "must begin with CMD or CMD-SHELL"),
    (
        "health.command",
        ["CMD-SHELL", "a", "b"],
        '["CMD-SHELL", "a", "b"]',
        "CMD takes a program and its arguments, CMD-SHELL exactly one text",
    ),
    ("health.command", ["CMD"], '["CMD"]', "CMD takes a program and its arguments, CMD-SHELL exactly one text"),
    ("network.cidr", "ten", '"ten"', "not an IPv4 range"),
    ("network.cidr", "10.0.0.0/33", '"10.0.0.0/33"', "not an IPv4 range"),
    ("network.cidr", "10.0.0.0", '"10.0.0.0"', "too narrow"),
    ("network.cidr", "10.0.0.0/30", '"10.0.0.0/30"', "too narrow"),
    (
        "network.cidr",
        "10.0.0.0/27",
        '"10.0.0.0/27"',
        "10.0.0.0/27 is too narrow for 2 subnets of /27 or wider: use /26 or wider",
    ),
    ("network.cidr", "10.0.0.0/8", '"10.0.0.0/8"', "too wide"),
    ("network.cidr", "8.8.0.0/16", '"8.8.0.0/16"', "not a private range"),
    (
        "network.cidr",
        "10.0.0.1/16",
        '"10.0.0.1/16"',
        "the address has bits beyond the prefix; the range is 10.0.0.0/16",
    ),
]

INSIDE: list[tuple[str, Any, str, str]] = [
    ("container.environment", {"A-B": "x"}, "A-B", '"A-B" is not allowed'),
    ("container.environment", {"A": ["x"]}, "A", '["x"] is not allowed'),
    ("network.subnetIds", ["subnet-0a1b2c3d", "x"], "1", '"x" is not allowed'),
    *(
        (
            "container.secrets",
            {"A": wrong},
            "A",
            "(not shown) is not allowed: not a secret's ID or ARN (after which :json-key:: may stand), nor an SSM "
            "parameter's ARN",
        )
        for wrong in ("arn:aws:s3:::bucket", "id:key", "hunter2!")
    ),
    (
        "container.readableSecrets",
        ["id:key::"],
        "0",
        '"id:key::" is not allowed: the task reads a whole secret: give its ID or ARN alone',
    ),
    (
        "container.readableSecrets",
        ["arn:aws:ssm:eu-central-1:123456789012:parameter/x"],
        "0",
        '"arn:aws:ssm:eu-central-1:123456789012:parameter/x" is not allowed: the task reads a whole secret: give its '
        "ID or ARN alone",
    ),
]
"""The setting, what it holds, which part of that is wrong, and what is said of it."""

MISSING = ["zone", "host", "tag", "container", "container.port", "container.cpu", "container.memory"]

OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"contaner": {"port": 1}}, "contaner: is no setting; did you mean container?"),
    (
        {"colour": "blue"},
        "colour: is no setting; known are zone, host, tag, build, container, health, migration, promotedOnly, service, "
        "capacity, network, logs, github",
    ),
    (at("container.prot", 80), "container.prot: is no setting; did you mean port?"),
    (at("container.host_port", 80), "container.host_port: is no setting; did you mean hostPort?"),
    (at("logs.level", 1), "logs.level: is no setting; known are retentionDays"),
    (
        at("host", "a" * 60),
        f"host: {'a' * 60}.example.com has 72 characters, and a certificate's first name at most 64; use a shorter "
        "host",
    ),
    (
        at("container.memoryReservation", 600),
        "container.memoryReservation: 600 MiB is more than container.memory (512); use at most 512",
    ),
    (
        at("tag", "master"),
        "tag: master is no release, and may be another image tomorrow; an environment without build runs a version, "
        "such as v1.2.3 (`make release VERSION=v1.2.3` makes one)",
    ),
    *(
        (
            at(f"container.environment.{name}", "x"),
            f"container.environment.{name}: is a secret by its name, which would stand in clear text in the state and "
            "the task definition; put it into Secrets Manager and name it under container.secrets; the ID of one "
            "may stand here where container.readableSecrets has it too",
        )
        for name in ("DB_PASSWORD", "GITHUB_TOKEN", "aws_secret")
    ),
    (
        {"container": {"secrets": {"A": "x"}, "environment": {"A": "y"}}},
        "container.secrets.A: stands under container.environment too; keep one of the two",
    ),
    (
        at("health.timeout", 10),
        "health.timeout: 10 seconds is not less than health.interval (10); use at most 9",
    ),
    (
        {"health": {"interval": 100, "timeout": 90, "command": ["CMD", "true"]}},
        "health.timeout: 90 seconds is more than Docker may take for health.command; use at most 60",
    ),
    ({"service": {"min": 3, "max": 2}}, "service.max: 2 is less than service.min (3); use 3 or more"),
    (at("capacity.min", 3), "capacity.max: 2 is less than capacity.min (3); use 3 or more"),
    (
        at("service.max", 9),
        "service.max: 9 tasks don't fit on capacity.max = 2 instance(s), which have room for 6 (3 task(s) an instance "
        "by memory: 256 MiB each); set capacity.max to 3 or more, or service.max to 6 or less",
    ),
    (
        at("container.memory", 900),
        "container.memory: 900 MiB is more than an instance has (t3.micro has 870 MiB and 2048 CPU units for tasks); "
        "use at most 870, or a larger capacity.instanceType",
    ),
    (
        at("container.cpu", 4096),
        "container.cpu: 4096 CPU units are more than an instance has (t3.micro has 870 MiB and 2048 CPU units for "
        "tasks); use at most 2048, or a larger capacity.instanceType",
    ),
    (
        {"container": {"hostPort": 8888}, "service": {"max": 3}},
        "service.max: 3 tasks don't fit on capacity.max = 2 instance(s), which have room for 2 (one task an instance, "
        "since container.hostPort is fixed at 8888); set capacity.max to 3 or more, or service.max to 2 or less",
    ),
    (
        {"container": {"memoryReservation": 512}, "capacity": {"max": 1}},
        "capacity.max: 1 instance(s) have room for 1 task(s) (1 task(s) an instance by memory: 512 MiB each), all of "
        "which service.max = 1 needs, so a deployment could never start its first new task; set capacity.max to 2 or "
        "more",
    ),
    (
        at("capacity.ami", "al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-arm64"),
        "capacity.ami: al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-arm64 is not for t3.micro, which is x86_64; use a "
        "release whose name ends in x86_64",
    ),
    (
        at("network.vpcId", "vpc-0a1b2c3d"),
        "network.subnetIds: is missing; name two or more subnets of network.vpcId",
    ),
    (
        at("network.subnetIds", ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]),
        "network.vpcId: is missing; name the VPC of network.subnetIds",
    ),
    (
        {"network": {"vpcId": "vpc-0a1b2c3d", "subnetIds": ["subnet-0a1b2c3d", "subnet-0a1b2c3d"]}},
        "network.subnetIds: names a subnet twice; name two or more different ones",
    ),
    (
        {
            "network": {
                "cidr": "10.0.0.0/16",
                "vpcId": "vpc-0a1b2c3d",
                "subnetIds": ["subnet-0a1b2c3d", "subnet-1b2c3d4e"],
            }
        },
        "network.cidr: is for a network of its own, while network.vpcId names one that exists; keep one of the two",
    ),
    (at("logs.retentionDays", 10), "logs.retentionDays: CloudWatch doesn't know 10 days; the nearest is 7"),
    (
        at("build", {"context": "app", "platform": "windows"}),
        f'build.platform: "windows" is not allowed; allowed is {ALLOWED["build.platform"]}',
    ),
    (at("build.context", ""), f'build.context: "" is not allowed; allowed is {ALLOWED["build.context"]}'),
    (at("build.target", "x"), f"build.context: is missing; allowed is {ALLOWED['build.context']}"),
    (
        at("build", {"context": "app", "platform": "linux/arm64"}),
        "build.platform: an image for linux/arm64 doesn't run on t3.micro, which is x86_64; leave it out, or use "
        "linux/amd64",
    ),
    (
        {"migration": {"command": ["migrate"]}, **at("container.hostPort", 8888), "capacity": {"min": 1, "max": 1}},
        "migration: its task finds container.hostPort 8888 in use on all instances; use hostPort 0, or set "
        "capacity.max to 2 or more",
    ),
    (
        {"promotedOnly": "true", "build": {"context": "app"}, "tag": "master"},
        "promotedOnly: is for a stack that finds its image, while this one builds it; leave it out",
    ),
    (
        at("alarms.email", "a@b.c"),
        "alarms: not yet: mail when the environment is not well, in a later version; leave it out",
    ),
    (at("budget", "30"), "budget: not yet: a monthly limit in USD, in a later version; leave it out"),
    (at("schedule.up", "0 7 * * *"), "schedule: not yet: when the environment is up, in a later version; leave it out"),
    (at("parked", "true"), "parked: not yet: nothing that costs by the hour, in a later version; leave it out"),
    (at("promotedOnly", "maybe"), 'promotedOnly: "maybe" is not allowed; allowed is true or false, such as true'),
    (
        {"migration": {"command": ["x"], "timeout": 5}},
        "migration.timeout: 5 is not allowed; allowed is a whole number of seconds from 10 to 7200, such as 600",
    ),
    (
        at("github.repository", "backend"),
        'github.repository: "backend" is not allowed; allowed is OWNER/NAME, or OWNER@ID/NAME@ID where GitHub\'s '
        'tokens have the IDs of both, such as "booklink/backend"',
    ),
    (
        at("github.repository", "booklink@1/backend"),
        'github.repository: "booklink@1/backend" is not allowed; allowed is OWNER/NAME, or OWNER@ID/NAME@ID where '
        'GitHub\'s tokens have the IDs of both, such as "booklink/backend"',
    ),
    (
        {"github": {"repository": "a/b", "branch": "*"}},
        'github.branch: "*" is not allowed; allowed is the name of a branch, without wildcards, such as "master"',
    ),
    (
        at("github.branch", "main"),
        "github.repository: is missing; allowed is OWNER/NAME, or OWNER@ID/NAME@ID where GitHub's tokens have the IDs "
        'of both, such as "booklink/backend"',
    ),
]

WILD: list[Any] = [
    *(None, True, -1, 10**9, 1.5, float("inf")),
    *("", "x y", "\u00e9\n"),
    *([], ["x"], [None]),
    *({}, {"x": "y"}, {"x": {"y": 1}}, {"x y": None}),
]
"""Values of every type that YAML has, most of them wrong wherever they stand."""

CASES: list[tuple[dict[str, Any], str]] = [
    *(
        (at(name, value), f"{name}: {shown} is not allowed; allowed is {ALLOWED[name]}")
        for name, value, shown in NOT_ALLOWED
    ),
    *(
        (at(name, value), f"{name}: {shown} is not allowed: {why}; allowed is {ALLOWED[name]}")
        for name, value, shown, why in NOT_ALLOWED_FOR_A_REASON
    ),
    *((at(name, value), f"{name}.{part}: {said}; allowed is {ALLOWED[name]}") for name, value, part, said in INSIDE),
    *((at(name, ABSENT), f"{name}: is missing; allowed is {ALLOWED[name]}{_HINTS.get(name, '')}") for name in MISSING),
    *OTHERS,
]


def problems(given: Mapping[str, object], **options: Any) -> list[str]:
    """Return the lines of what is wrong, without the head line."""
    with pytest.raises(WrongSettings) as raised:
        parse(given, stack="pre", **options)
    head, *lines = str(raised.value).split("\n")
    count = "1 setting is" if len(lines) == 1 else f"{len(lines)} settings are"
    assert head == f"{count} wrong in Pulumi.pre.yaml; nothing was changed:"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize(("change", "line"), CASES, ids=[line[:60] for _, line in CASES])
def test_a_wrong_setting_gives_one_line(change: dict[str, Any], line: str) -> None:
    assert problems(changed(change)) == [line]


def test_there_are_more_than_forty_cases_and_what_they_change_is_right() -> None:
    assert len(CASES) > 40
    parse(RIGHT, stack="pre")


def test_an_unknown_instance_type_names_the_known_ones() -> None:
    (line,) = problems(changed(at("capacity.instanceType", "t9.huge")))
    assert line.startswith(
        'capacity.instanceType: "t9.huge" is not allowed: unknown instance type; known are t3, t3a, t4g'
    )
    assert line.endswith(f"; allowed is {ALLOWED['capacity.instanceType']}")


def test_all_wrong_settings_are_told_at_once() -> None:
    change = {
        "host": "a.b",
        "tag": "a/b",
        "budget": "30",
        "contaner": "x",
        "container": {"port": 0, "memory": 1, "hostPort": 22},
        "health": {"timeout": 10},
        "network": {"cidr": "10.0.0.0/8"},
        "logs": {"retentionDays": 10},
    }
    names = [line.split(":")[0] for line in problems(changed(change))]
    assert sorted(names) == sorted(
        [
            "budget",
            "container.hostPort",
            "container.memory",
            "container.port",
            "contaner",
            "health.timeout",
            "host",
            "logs.retentionDays",
            "network.cidr",
            "tag",
        ]
    )


def test_one_group_may_contradict_itself_twice() -> None:
    change = {"container": {"memoryReservation": 600, "secrets": {"A": "x"}, "environment": {"A": "y"}}}
    assert len(problems(changed(change))) == 2


def test_an_encrypted_setting_is_refused_without_its_value() -> None:
    lines = problems(changed(at("tag", "hunter2/hunter2")), secret=["tag"])
    assert lines[0] == (
        "tag: is encrypted, but would stand in clear text in AWS; put the secret into Secrets Manager and name it "
        "under container.secrets"
    )
    assert "hunter2" not in "\n".join(lines)


def test_an_encrypted_setting_that_is_right_otherwise_is_refused_too() -> None:
    assert len(problems(RIGHT, secret=["tag"])) == 1


@pytest.mark.parametrize("name", ["container.environment.A", "build.args.A"])
@pytest.mark.parametrize(
    ("value", "what", "hidden"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "an AWS access key", "AKIA"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "a private key", "MIIE"),
        ("postgres://user:hunter2@db/x", "a password in an address", "hunter2"),
        ("redis://:hunter2@cache", "a password in an address", "hunter2"),
        ("amqp://user:hunter2/x@queue", "a password in an address", "hunter2"),
        ("jdbc:postgresql://db/x?user=a&password=hunter2", "a password in an address", "hunter2"),
        (f"ghp_{'a' * 36}", "a GitHub token", "ghp_"),
    ],
)
def test_an_inline_secret_is_refused_and_not_repeated(name: str, value: str, what: str, hidden: str) -> None:
    (line,) = problems(changed(at(name, value), {**RIGHT, "build": {"context": "app"}}))
    assert line.startswith(f"{name}: (not shown) is not allowed: looks like {what}, which would stand in clear text")
    assert hidden not in line


@pytest.mark.parametrize("value", [["A=postgres://user:hunter2@db/x"], "postgres://user:hunter2@db/x"])
@pytest.mark.parametrize("name", ["host", "container.environment", "container.secrets.A", "health.command"])
def test_an_inline_secret_in_a_wrong_place_is_not_repeated_either(name: str, value: object) -> None:
    lines = problems(changed(at(name, value)))
    assert "(not shown)" in lines[0]
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize("name", [*(name for name, _ in examples()), "migration", "nonsense", "container.nonsense"])
def test_no_value_however_wrong_gives_anything_but_such_lines(name: str) -> None:
    first = name.split(".", 1)[0]
    for value in WILD:
        try:
            parse(changed(at(name, value), {**RIGHT, "build": {"context": "app"}}), stack="pre")
        except WrongSettings as error:
            _, *lines = str(error).split("\n")
            assert lines, f"{value!r} is refused without a reason"
            assert all(line.startswith(f"  {first}") for line in lines), f"{value!r}: another setting is blamed"


@pytest.mark.parametrize("value", ["https://example.com:8080/a@b", "jdbc:postgresql://db:5432/x", "a:b@c", "AKIA"])
def test_what_only_looks_a_little_like_a_secret_is_taken(value: str) -> None:
    assert parse(changed(at("container.environment.A", value)), stack="pre").container.environment == {"A": value}
