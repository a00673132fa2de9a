"""The settings of an environment: for each its type, default, meaning, what is allowed and an example.

This is the one place that says so. Pulumi.yaml's `config:` block and docs/settings.md are written from it by
`make settings`, and a test holds them to it.
"""

import re
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from components import host_ports
from components.cidrs import LOAD_BALANCER_SUBNET_PREFIX, NARROWEST_VPC_PREFIX, WIDEST_VPC_PREFIX, subnet_cidrs
from components.fit import Demand, deployment_bounds, misfits
from components.instances import InstanceType, instance_type
from components.secret_references import SecretReference

SUBNET_COUNT = 2
"""Zones in which a network of its own has a subnet: a load balancer needs two, and more cost more public addresses."""

RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
"""https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"""

NOT_YET = {
    "alarms": "mail when the environment is not well",
    "budget": "a monthly limit in USD",
    "schedule": "when the environment is up",
    "parked": "nothing that costs by the hour",
}
"""Settings whose names are taken, for what a later version will do."""

LONGEST_COMMAND_TIMEOUT = 60
"""Seconds. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""

CODES_OF_THE_WELL = range(200, 500)
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Matcher.html"""

RELEASE_TAG = r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?"
"""A version's tag: a v and a version. https://semver.org, less its build metadata, whose + no tag can have."""

LONGEST_CERTIFICATE_DOMAIN = 64
"""https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html"""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_OWNER, _REPOSITORY = r"[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?", r"[A-Za-z0-9._-]{1,100}"
_INLINE_SECRETS = {
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}"),
    "a password in an address": re.compile(r"://[^/\s:@]*:(?!\d+/)[^\s@]+@|[?&;]password=", re.IGNORECASE),
}
_NAME_OF_A_SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|ACCESS_KEY|PRIVATE_KEY|API_KEY)$", re.IGNORECASE)
_SECRETS_BELONG = (
    "which would stand in clear text in the state and the task definition; "
    "put it into Secrets Manager and name it under container.secrets"
)


def setting(default: Any, description: str, *, allowed: str, example: object, **limits: Any) -> Any:
    """Return a field's definition; `default` is `...` for a setting that must be given."""
    more: dict[str, Any] = {"allowed": allowed, "example": example}
    if isinstance(default, (dict, list)) or (isinstance(default, type) and issubclass(default, BaseModel)):
        factory = default if isinstance(default, type) else type(default)
        return Field(default_factory=factory, description=description, json_schema_extra=more, **limits)
    return Field(default, description=description, json_schema_extra=more, **limits)


def whole_number(default: Any, description: str, *, lowest: int, highest: int, example: int, unit: str = "") -> Any:
    of_unit = f" of {unit}" if unit else ""
    return setting(
        default,
        description,
        allowed=f"a whole number{of_unit} from {lowest} to {highest}",
        example=example,
        ge=lowest,
        le=highest,
    )


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the group of settings that a field holds, or None where it holds a value."""
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _refuse(problems: list[str]) -> None:
    """Raise what contradicts itself; each problem is a line of its own that names its setting."""
    if problems:
        raise ValueError("\n".join(problems))


class Group(BaseModel):
    """Settings that belong together; a name that it doesn't know, or a value of another type, is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=False
    )


def _is_a_matcher(value: str) -> str:
    codes = [int(code) for part in value.split(",") for code in part.split("-")]
    if not all(code in CODES_OF_THE_WELL for code in codes):
        raise ValueError("a code is outside 200-499")
    return value


def _is_known_instance_type(value: str) -> str:
    instance_type(value)
    return value


def _is_a_vpc_range(value: str) -> str:
    try:
        network = IPv4Network(value)
    except (AddressValueError, NetmaskValueError):
        raise ValueError("not an IPv4 range") from None
    except ValueError:
        canonical = IPv4Network(value, strict=False)
        raise ValueError(f"the address has bits beyond the prefix; the range is {canonical}") from None
    if not WIDEST_VPC_PREFIX <= network.prefixlen <= NARROWEST_VPC_PREFIX:
        raise ValueError("too wide" if network.prefixlen < WIDEST_VPC_PREFIX else "too narrow")
    subnet_cidrs(value, SUBNET_COUNT)
    if not network.is_private:
        raise ValueError("not a private range")
    return value


def _is_a_secret_reference(value: str) -> str:
    SecretReference.parse(value)
    return value


def _is_a_readable_secret(value: str) -> str:
    reference = SecretReference.parse(value)
    if reference.selector or reference.is_parameter:
        raise ValueError("the task reads a whole secret: give its ID or ARN alone")
    return value


def _is_free_host_port(value: int) -> int:
    if value in host_ports.RESERVED:
        raise ValueError("the instance uses this port itself")
    return value


def _is_a_health_command(value: list[str]) -> list[str]:
    if value[:1] not in (["CMD"], ["CMD-SHELL"]):
        raise ValueError("must begin with CMD or CMD-SHELL")
    shell, *texts = value
    if not texts or (shell == "CMD-SHELL" and texts[1:]):
        raise ValueError("CMD takes a program and its arguments, CMD-SHELL exactly one text")
    return value


def _as_text(value: object) -> object:
    """YAML reads 4000 and true as a number and a truth value; an environment holds text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


def _as_truth(value: object) -> object:
    """Pulumi hands a truth value that stands alone to the program as text."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def secret_in(text: str) -> str | None:
    """Return what kind of secret `text` looks to hold, or None; such a text isn't repeated in a message."""
    return next((what for what, pattern in _INLINE_SECRETS.items() if pattern.search(text)), None)


def _holds_no_secret(value: str) -> str:
    if what := secret_in(value):
        raise ValueError(f"looks like {what}, {_SECRETS_BELONG}")
    return value


VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
VariableValue = Annotated[str, BeforeValidator(_as_text), AfterValidator(_holds_no_secret)]
PlainText = Annotated[str, AfterValidator(_holds_no_secret)]
Reference = Annotated[str, AfterValidator(_is_a_secret_reference)]
ReadableSecret = Annotated[str, AfterValidator(_is_a_readable_secret)]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]


class Build(Group):
    """What to build and push under `tag`."""

    context: str = setting(
        ...,
        "folder that Docker builds from, relative to Pulumi.yaml",
        allowed="the path of a folder",
        example="app",
        min_length=1,
    )
    dockerfile: str | None = setting(
        None,
        "Dockerfile, relative to Pulumi.yaml; default: the one in the context",
        allowed="the path of a file",
        example="app/Dockerfile",
        min_length=1,
    )
    target: str | None = setting(
        None,
        "stage of the Dockerfile to build; default: the last",
        allowed="the name of a stage",
        example="runtime",
        min_length=1,
    )
    args: dict[str, VariableValue] = setting(
        {},
        "build arguments; never a secret, since they stay readable in the image",
        allowed="names and values",
        example={"BASE": "python:3.13-slim"},
    )
    platform: Literal["linux/amd64", "linux/arm64"] | None = setting(
        None,
        "platform of the image; default: the one of capacity.instanceType",
        allowed="linux/amd64 or linux/arm64, as capacity.instanceType has it",
        example="linux/amd64",
    )


class Container(Group):
    """The container that runs the backend."""

    port: int = whole_number(..., "port on which the backend listens", lowest=1, highest=65535, example=8080)
    host_port: Annotated[int, AfterValidator(_is_free_host_port)] = whole_number(
        0,
        "port of the instance; 0: the instance picks one, so that tasks share an instance and deployments have no gap",
        lowest=0,
        highest=host_ports.DYNAMIC[0] - 1,
        example=0,
    )
    cpu: int = whole_number(
        ..., "CPU units (1,024 a vCPU) set aside for it", lowest=2, highest=16384, example=512, unit="CPU units"
    )
    memory: int = whole_number(
        ..., "memory above which it is killed", lowest=6, highest=131072, example=512, unit="MiB"
    )
    memory_reservation: int | None = whole_number(
        None,
        "memory set aside for it; default: all of container.memory",
        lowest=6,
        highest=131072,
        example=256,
        unit="MiB",
    )
    command: list[PlainText] | None = setting(
        None,
        "command in place of the image's own",
        allowed="a list of texts",
        example=["serve", "--verbose"],
        min_length=1,
    )
    environment: dict[VariableName, VariableValue] = setting(
        {},
        "environment variables, besides AWS_REGION; never a secret",
        allowed="names (letters, digits, _ and .) and values",
        example={"APP_ENV": "pre"},
    )
    secrets: dict[VariableName, Reference] = setting(
        {},
        "environment variables whose values the ECS agent reads from Secrets Manager or Parameter Store",
        allowed="names, each with a secret's ID or ARN, with :json-key:: or without, or an SSM parameter's ARN, in "
        "quotes",
        example={"DB_PASSWORD": "pre1/postgres:password::"},
    )
    readable_secrets: list[ReadableSecret] = setting(
        [],
        "secrets that the running task may read by itself, with its task role",
        allowed="a list of IDs or ARNs of secrets",
        example=["pre1/postgres"],
    )
    read_only_root_filesystem: bool = setting(
        True,
        "whether the container can't write to its image's files; /tmp is writable either way",
        allowed="true or false",
        example=True,
    )
    user: str | None = setting(
        None,
        "user that it runs as, in place of the image's own",
        allowed="a user, or user:group, by number or name, in quotes",
        example="10001:10001",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
    )
    stop_timeout: int = whole_number(
        30, "time from SIGTERM to SIGKILL", lowest=2, highest=120, example=30, unit="seconds"
    )

    @model_validator(mode="after")
    def _agree(self) -> "Container":
        problems = []
        if self.memory_reservation is not None and self.memory_reservation > self.memory:
            problems.append(
                f"container.memoryReservation: {self.memory_reservation} MiB is more than container.memory "
                f"({self.memory}); use at most {self.memory}"
            )
        problems += [
            f"container.environment.{name}: is a secret by its name, {_SECRETS_BELONG}; "
            "the ID of one may stand here where container.readableSecrets has it too"
            for name, value in sorted(self.environment.items())
            if _NAME_OF_A_SECRET.search(name) and value not in self.readable_secrets
        ]
        problems += [
            f"container.secrets.{name}: stands under container.environment too; keep one of the two"
            for name in sorted(self.environment.keys() & self.secrets.keys())
        ]
        _refuse(problems)
        return self


class Health(Group):
    """How the load balancer, and optionally Docker, tell whether the container is well."""

    path: str = setting(
        "/",
        "path that answers with a code of health.matcher when the backend is well",
        allowed="a path that begins with /, of at most 1,024 characters and no spaces",
        example="/actuator/health",
        pattern=r"^/[!-~]*$",
        max_length=1024,
    )
    matcher: Annotated[str, AfterValidator(_is_a_matcher)] = setting(
        "200",
        "HTTP codes that mean well",
        allowed="codes from 200 to 499 and ranges of them, between commas, in quotes",
        example="200-299",
        pattern=r"^\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*$",
    )
    interval: int = whole_number(10, "time between two checks", lowest=5, highest=300, example=10, unit="seconds")
    timeout: int = whole_number(
        5, "time within which an answer counts", lowest=2, highest=120, example=5, unit="seconds"
    )
    healthy_threshold: int = whole_number(
        2, "good answers in a row after which it is well", lowest=2, highest=10, example=2
    )
    unhealthy_threshold: int = whole_number(
        3, "bad answers in a row after which it is not", lowest=2, highest=10, example=3
    )
    grace_period: int = whole_number(
        60,
        "time from the start for which bad answers are forgiven; more than the backend takes to start",
        lowest=0,
        highest=7200,
        example=45,
        unit="seconds",
    )
    command: Annotated[list[PlainText], AfterValidator(_is_a_health_command)] | None = setting(
        None,
        "command that Docker runs in the container every health.interval to tell whether it is well; default: none",
        allowed="a list of texts that begins with CMD or CMD-SHELL",
        example=["CMD-SHELL", "curl -fs http://localhost:8080/actuator/health"],
        min_length=1,
    )

    @model_validator(mode="after")
    def _agree(self) -> "Health":
        problems = []
        if self.timeout >= self.interval:
            problems.append(
                f"health.timeout: {self.timeout} seconds is not less than health.interval ({self.interval}); "
                f"use at most {self.interval - 1}"
            )
        if self.command and self.timeout > LONGEST_COMMAND_TIMEOUT:
            problems.append(
                f"health.timeout: {self.timeout} seconds is more than Docker may take for health.command; "
                f"use at most {LONGEST_COMMAND_TIMEOUT}"
            )
        _refuse(problems)
        return self


class Migration(Group):
    """One task of the new image that must end well before the service changes, and again before each deployment."""

    command: list[PlainText] = setting(
        ...,
        "command of the container, in place of container.command; may run twice after an interruption",
        allowed="a list of texts",
        example=["java", "-jar", "app.jar", "migrate"],
        min_length=1,
    )
    timeout: int = whole_number(
        600, "time after which it is stopped, and has failed", lowest=10, highest=7200, example=600, unit="seconds"
    )


class Service(Group):
    """How many tasks run, and how long a deployment may take."""

    min: int = whole_number(1, "tasks that always run", lowest=1, highest=100, example=1)
    max: int = whole_number(
        1,
        "tasks that run at most; more than service.min: their number follows the CPU load",
        lowest=1,
        highest=100,
        example=2,
    )
    cpu_target: int = whole_number(
        60,
        "mean CPU use, of what container.cpu sets aside, at which their number is right",
        lowest=10,
        highest=95,
        example=60,
        unit="per cent",
    )
    circuit_breaker: bool = setting(
        True,
        "whether ECS gives a deployment up whose tasks fail, and goes back to the one before",
        allowed="true or false",
        example=True,
    )
    deployment_timeout: int = whole_number(
        900,
        "time within which a deployment must be complete, or the command fails",
        lowest=60,
        highest=7200,
        example=900,
        unit="seconds",
    )

    @model_validator(mode="after")
    def _agree(self) -> "Service":
        if self.max < self.min:
            _refuse([f"service.max: {self.max} is less than service.min ({self.min}); use {self.min} or more"])
        return self


class Capacity(Group):
    """The instances that the tasks run on."""

    instance_type: Annotated[str, AfterValidator(_is_known_instance_type)] = setting(
        "t3.micro",
        "instance type; its architecture decides the AMI and the image's platform",
        allowed="t3, t3a or t4g (nano to 2xlarge), or a c, m or r type of generation 5 to 8 (large to 4xlarge)",
        example="t4g.micro",
    )
    min: int = whole_number(1, "instances that always run", lowest=1, highest=100, example=1)
    max: int = whole_number(2, "instances that run at most", lowest=1, highest=100, example=2)
    spot: bool = setting(
        False,
        "whether instances are Spot: about a third of the price, and AWS may take one back on two minutes' notice",
        allowed="true or false",
        example=True,
    )
    ami: str = setting(
        "recommended",
        "the newest ECS-optimized AMI at each update, or one release of it that stays",
        allowed="recommended, the name of a release of the ECS-optimized AL2023 AMI, or an AMI's ID",
        example="al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-x86_64",
        pattern=r"^(recommended|al2023-ami-ecs-hvm-[0-9.]+-kernel-[0-9.]+-(x86_64|arm64)|ami-[0-9a-f]{8,17})$",
    )
    volume_size: int = whole_number(
        30, "size of an instance's encrypted volume; the AMI needs 30", lowest=30, highest=16384, example=30, unit="GiB"
    )

    @model_validator(mode="after")
    def _agree(self) -> "Capacity":
        problems = []
        if self.max < self.min:
            problems.append(f"capacity.max: {self.max} is less than capacity.min ({self.min}); use {self.min} or more")
        architecture = self.instance.architecture
        if self.ami.startswith("al2023-") and not self.ami.endswith(architecture):
            problems.append(
                f"capacity.ami: {self.ami} is not for {self.instance_type}, which is {architecture}; "
                f"use a release whose name ends in {architecture}"
            )
        _refuse(problems)
        return self

    @property
    def instance(self) -> InstanceType:
        return instance_type(self.instance_type)


class Network(Group):
    """Where it runs: a network of its own, or one that exists."""

    cidr: Annotated[str, AfterValidator(_is_a_vpc_range)] | None = setting(
        None,
        "address range of a network of its own; default: 10.0.0.0/16, where no network is named",
        allowed=f"a private IPv4 range from /{WIDEST_VPC_PREFIX} to /{LOAD_BALANCER_SUBNET_PREFIX - 1}",
        example="10.20.0.0/16",
    )
    vpc_id: str | None = setting(
        None,
        "a VPC that exists",
        allowed="the ID of a VPC",
        example="vpc-0a1b2c3d4e5f60718",
        pattern=r"^vpc-[0-9a-f]{8,17}$",
    )
    subnet_ids: list[SubnetId] | None = setting(
        None,
        "subnets of that VPC, in two zones or more, that reach the internet and are reached from it",
        allowed="a list of two or more IDs of subnets",
        example=["subnet-0a1b2c3d4e5f60718", "subnet-1a2b3c4d5e6f70819"],
        min_length=2,
    )

    @model_validator(mode="after")
    def _agree(self) -> "Network":
        problems = []
        if self.cidr and (self.vpc_id or self.subnet_ids):
            problems.append(
                "network.cidr: is for a network of its own, while network.vpcId names one that exists; "
                "keep one of the two"
            )
        elif self.vpc_id and not self.subnet_ids:
            problems.append("network.subnetIds: is missing; name two or more subnets of network.vpcId")
        elif self.subnet_ids and not self.vpc_id:
            problems.append("network.vpcId: is missing; name the VPC of network.subnetIds")
        if self.subnet_ids and len(set(self.subnet_ids)) < len(self.subnet_ids):
            problems.append("network.subnetIds: names a subnet twice; name two or more different ones")
        _refuse(problems)
        return self


class Logs(Group):
    """The backend's log."""

    retention_days: int = setting(
        14,
        "days for which CloudWatch keeps what the backend logs",
        allowed="one of " + ", ".join(str(days) for days in RETENTION_DAYS),
        example=90,
    )

    @model_validator(mode="after")
    def _agree(self) -> "Logs":
        if self.retention_days not in RETENTION_DAYS:
            nearest = min(RETENTION_DAYS, key=lambda days: abs(days - self.retention_days))
            _refuse(
                [f"logs.retentionDays: CloudWatch doesn't know {self.retention_days} days; the nearest is {nearest}"]
            )
        return self


class GitHub(Group):
    """The repository whose workflows may preview and deploy this environment, by OIDC and without a stored key."""

    repository: str = setting(
        ...,
        "repository on GitHub whose workflows may",
        allowed="OWNER/NAME, or OWNER@ID/NAME@ID where GitHub's tokens have the IDs of both",
        example="booklink/backend",
        pattern=rf"^{_OWNER}(/{_REPOSITORY}|@\d+/{_REPOSITORY}@\d+)$",
    )
    branch: str = setting(
        "master",
        "branch from which a stack that builds is deployed",
        allowed="the name of a branch, without wildcards",
        example="master",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,254}$",
    )
    state_bucket: str | None = setting(
        None,
        "S3 bucket of Pulumi's state, which the workflows then may use; absent: the state is elsewhere",
        allowed="the name of a bucket",
        example="booklink-pulumi-state",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )
    state_key: str | None = setting(
        None,
        "KMS key that encrypts the state's secrets (`--secrets-provider awskms://…`)",
        allowed="the ARN of a key",
        example="arn:aws:kms:eu-central-1:111122223333:key/1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d",
        pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$",
    )


class Settings(Group):
    """All settings of one environment."""

    zone: str = setting(
        ...,
        "public hosted zone in Route53, which must exist",
        allowed="a domain name in lower case, without a dot at its end",
        example="booklinktrove.com",
        pattern=rf"^({_LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])$",
    )
    host: str = setting(
        ...,
        "name under the zone that clients use",
        allowed="one label of at most 63 lower-case letters, digits and hyphens, without a dot",
        example="pre-be",
        pattern=rf"^{_LABEL}$",
    )
    tag: str = setting(
        ...,
        "tag of the image that this environment runs",
        allowed="letters, digits, _, . and -, at most 128, not beginning with . or -",
        example="v1.2.3",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$",
    )
    build: Build | None = setting(
        None,
        "what to build and push under `tag`; a stack without it never builds, but finds `tag` in ECR",
        allowed="context, dockerfile, target, args, platform",
        example={"context": "app"},
    )
    container: Container = setting(
        ...,
        "the container that runs the backend",
        allowed="port, cpu and memory at least",
        example={"port": 8080, "cpu": 512, "memory": 512},
    )
    health: Health = setting(
        Health,
        "how the load balancer tells whether the backend is well",
        allowed="path, matcher, interval, timeout, healthyThreshold, unhealthyThreshold, gracePeriod, command",
        example={"path": "/actuator/health"},
    )
    migration: Migration | None = setting(
        None,
        "one task of the new image that must end well before the service changes; absent: none",
        allowed="command, timeout",
        example={"command": ["java", "-jar", "app.jar", "migrate"]},
    )
    promoted_only: Annotated[bool, BeforeValidator(_as_truth)] = setting(
        False,
        "whether a stack that doesn't build runs only images that pre has served; false: any that ECR has",
        allowed="true or false",
        example=True,
    )
    service: Service = setting(
        Service,
        "how many tasks run",
        allowed="min, max, cpuTarget, circuitBreaker, deploymentTimeout",
        example={"min": 1, "max": 2},
    )
    capacity: Capacity = setting(
        Capacity,
        "the instances that the tasks run on",
        allowed="instanceType, min, max, spot, ami, volumeSize",
        example={"instanceType": "t3.micro", "min": 1, "max": 2},
    )
    network: Network = setting(
        Network,
        "where it runs",
        allowed="cidr, or vpcId and subnetIds",
        example={"cidr": "10.20.0.0/16"},
    )
    logs: Logs = setting(Logs, "the backend's log", allowed="retentionDays", example={"retentionDays": 90})
    github: GitHub | None = setting(
        None,
        "who may preview and deploy by OIDC; absent: nobody",
        allowed="repository, branch, stateBucket, stateKey",
        example={"repository": "booklink/backend"},
    )

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        problems = misfits(self.demand, self.capacity.instance)
        if len(self.domain) > LONGEST_CERTIFICATE_DOMAIN:
            problems.append(
                f"host: {self.domain} has {len(self.domain)} characters, and a certificate's first name at most "
                f"{LONGEST_CERTIFICATE_DOMAIN}; use a shorter host"
            )
        if self.build is None and not re.fullmatch(RELEASE_TAG, self.tag):
            problems.append(
                f"tag: {self.tag} is no release, and may be another image tomorrow; an environment without build runs "
                "a version, such as v1.2.3 (`make release VERSION=v1.2.3` makes one)"
            )
        if self.build and self.promoted_only:
            problems.append("promotedOnly: is for a stack that finds its image, while this one builds it; leave it out")
        if self.migration and not problems and deployment_bounds(self.demand, self.capacity.instance).has_gap:
            problems.append(
                f"migration: its task finds container.hostPort {self.container.host_port} in use on all instances; use "
                f"hostPort 0, or set capacity.max to {self.capacity.max + 1} or more"
            )
        platform = self.build and self.build.platform
        if platform and platform != self.capacity.instance.platform:
            problems.append(
                f"build.platform: an image for {platform} doesn't run on {self.capacity.instance_type}, which is "
                f"{self.capacity.instance.architecture}; leave it out, or use {self.capacity.instance.platform}"
            )
        _refuse(problems)
        return self

    @property
    def domain(self) -> str:
        """The name that clients use."""
        return f"{self.host}.{self.zone}"

    @property
    def demand(self) -> Demand:
        """What the tasks ask of the instances."""
        return Demand(
            cpu=self.container.cpu,
            memory=self.container.memory,
            memory_reservation=self.container.memory_reservation,
            host_port=self.container.host_port,
            min_tasks=self.service.min,
            max_tasks=self.service.max,
            max_instances=self.capacity.max,
        )
