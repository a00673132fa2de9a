"""What the settings mean to the components."""

from components.container_definition import ContainerArgs, ContainerHealthArgs
from components.github_access import GitHubAccessArgs
from components.github_policies import Environment, State
from components.image import BuildArgs
from components.load_balancer import HealthCheckArgs
from components.migration import MigrationPlan
from components.policies import SecretAccess
from components.secret_references import SecretReference
from components.secrets import Secret
from components.service import Account
from settings.model import Settings


def build_args(settings: Settings) -> BuildArgs | None:
    build = settings.build
    if build is None:
        return None
    return BuildArgs(
        context=build.context,
        dockerfile=build.dockerfile,
        target=build.target,
        args=build.args,
        platform=build.platform or settings.capacity.instance.platform,
    )


def health_check_args(settings: Settings) -> HealthCheckArgs:
    health = settings.health
    return HealthCheckArgs(
        path=health.path,
        matcher=health.matcher,
        interval=health.interval,
        timeout=health.timeout,
        healthy_threshold=health.healthy_threshold,
        unhealthy_threshold=health.unhealthy_threshold,
    )


def labels(settings: Settings, versions: dict[str, str]) -> dict[str, str]:
    """Return what the task definition is to change for, though nothing else in it does.

    Another health check comes with a deployment, which can fail; and so does another version of an injected secret,
    which no running task would notice.
    """
    health = settings.health
    found = {"health-check": f"{health.matcher} from {health.path} within {health.timeout} s"}
    if versions:
        found["injected-versions"] = " ".join(f"{variable}={version}" for variable, version in sorted(versions.items()))
    return found


def container_args(settings: Settings) -> ContainerArgs:
    container = settings.container
    return ContainerArgs(
        port=container.port,
        host_port=container.host_port,
        cpu=container.cpu,
        memory=container.memory,
        memory_reservation=container.memory_reservation,
        command=container.command,
        environment=container.environment,
        read_only_root_filesystem=container.read_only_root_filesystem,
        user=container.user,
        stop_timeout=container.stop_timeout,
    )


def container_health_args(settings: Settings) -> ContainerHealthArgs | None:
    health = settings.health
    if health.command is None:
        return None
    return ContainerHealthArgs(
        command=health.command,
        interval=health.interval,
        timeout=health.timeout,
        retries=health.unhealthy_threshold,
        start_period=health.grace_period,
    )


def migration_plan(settings: Settings, *, profile: str | None) -> MigrationPlan | None:
    migration = settings.migration
    if migration is None:
        return None
    return MigrationPlan(command=migration.command, timeout=migration.timeout, profile=profile)


def injected_references(settings: Settings) -> dict[str, SecretReference]:
    """Return, for each environment variable, the secret or parameter whose value it is to have."""
    return {variable: SecretReference.parse(text) for variable, text in settings.container.secrets.items()}


def readable_references(settings: Settings) -> list[SecretReference]:
    return [SecretReference.parse(text) for text in settings.container.readable_secrets]


def value_from(reference: SecretReference, secrets: dict[str, Secret]) -> str:
    """Return what ECS takes for a secret: its whole ARN, and after it what of the secret is wanted."""
    return reference.name if reference.is_parameter else secrets[reference.name].arn + reference.selector


def secret_access(references: list[SecretReference], secrets: dict[str, Secret]) -> SecretAccess:
    """Return what a role must be allowed to read for `references`."""
    found = [secrets[reference.name] for reference in references if not reference.is_parameter]
    return SecretAccess(
        secret_arns=sorted({secret.arn for secret in found}),
        parameter_arns=sorted({reference.name for reference in references if reference.is_parameter}),
        own_key_arns=sorted({secret.arn for secret in found if secret.has_own_key}),
    )


def github_args(
    settings: Settings,
    *,
    account: Account,
    zone_id: str,
    secrets: dict[str, Secret],
    owns_provider: bool,
    project: str,
    stack: str,
) -> GitHubAccessArgs | None:
    github = settings.github
    if github is None:
        return None
    return GitHubAccessArgs(
        repository=github.repository,
        branch=github.branch,
        owns_provider=owns_provider,
        environment=Environment(
            account=account,
            name=f"{project}-{stack}",
            path=f"/{project}/{stack}/",
            tags={"Project": project, "Environment": stack},
            repository=project,
            zone_id=zone_id,
            domain=settings.domain,
            vpc_id=settings.network.vpc_id,
            injectable=secret_access([*injected_references(settings).values()], secrets),
            readable=secret_access(readable_references(settings), secrets),
            builds=settings.build is not None,
            state=State(project=project, stack=stack, bucket=github.state_bucket, key_arn=github.state_key),
        ),
    )
