"""One containerised backend on AWS: reads the stack's settings, wires the components, exports the outputs."""

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions

from components.capacity import Capacity, CapacityArgs
from components.certificate import Certificate, CertificateArgs
from components.fit import deployment_bounds
from components.github_access import GitHubAccess
from components.image import Image, ImageArgs
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.network import Network
from components.repository import Repository, RepositoryArgs
from components.rollout import Rollout, RolloutArgs
from components.runbook import runbook
from components.service import Service, ServiceArgs
from settings import arguments, load
from settings.existing import find_existing

project, stack = pulumi.get_project(), pulumi.get_stack()
name = f"{project}-{stack}"
settings, place = load(project, stack)
path = f"/{project}/{stack}/"
tags = {"Project": project, "Environment": stack, "ManagedBy": "pulumi"}
provider = aws.Provider(
    "aws",
    region=place.region,
    profile=place.profile,
    allowed_account_ids=place.account_ids,
    default_tags={"tags": tags},
)
existing = find_existing(settings, provider, place, project=project, stack=stack, tags=tags)
opts = ResourceOptions(providers=[provider])

found = existing.image
repository = found.repository if found else Repository(name, RepositoryArgs(repository_name=project), opts)
image = Image(
    name,
    ImageArgs(
        tag=settings.tag,
        repository_url=repository.url,
        build=arguments.build_args(settings),
        digest=found.digest if found else None,
    ),
    opts,
)
github_args = arguments.github_args(
    settings,
    account=existing.account,
    zone_id=existing.zone_id,
    secrets=existing.secrets,
    owns_provider=existing.owns_github_provider,
    project=project,
    stack=stack,
)
github = GitHubAccess(name, github_args, opts) if github_args else None
boundary = github.boundary_arn if github else None
network = Network(name, existing.network, opts)
certificate = Certificate(name, CertificateArgs(domain=settings.domain, zone_id=existing.zone_id), opts)
load_balancer = LoadBalancer(
    name,
    LoadBalancerArgs(
        vpc_id=network.vpc_id,
        subnet_ids=network.subnet_ids,
        has_ipv6=network.has_ipv6,
        certificate_arn=certificate.arn,
        domain=settings.domain,
        zone_id=existing.zone_id,
        host_port=settings.container.host_port,
        health_check=arguments.health_check_args(settings),
    ),
    opts,
)
capacity = Capacity(
    name,
    CapacityArgs(
        vpc_id=network.vpc_id,
        subnet_ids=network.subnet_ids,
        load_balancer_security_group_id=load_balancer.security_group_id,
        target_group_arn=load_balancer.target_group_arn,
        ami_id=existing.ami_id,
        instance_type=settings.capacity.instance_type,
        min_instances=settings.capacity.min,
        max_instances=settings.capacity.max,
        spot=settings.capacity.spot,
        volume_size=settings.capacity.volume_size,
        host_port=settings.container.host_port,
        role_path=path,
        permissions_boundary=boundary,
        tags=tags,
    ),
    opts,
)
bounds = deployment_bounds(settings.demand, settings.capacity.instance)
injected, readable = arguments.injected_references(settings), arguments.readable_references(settings)
service = Service(
    name,
    ServiceArgs(
        account=existing.account,
        cluster_arn=capacity.cluster_arn,
        cluster_name=capacity.cluster_name,
        capacity_provider_name=capacity.capacity_provider_name,
        target_group_arn=load_balancer.target_group_arn,
        listener_arn=load_balancer.listener_arn,
        repository_arn=repository.arn,
        image=image.reference,
        architecture=settings.capacity.instance.architecture,
        container=arguments.container_args(settings),
        container_health=arguments.container_health_args(settings),
        injected={variable: arguments.value_from(r, existing.secrets) for variable, r in injected.items()},
        injectable=arguments.secret_access([*injected.values()], existing.secrets),
        readable=arguments.secret_access(readable, existing.secrets),
        labels=arguments.labels(settings, existing.versions),
        health_grace_period=settings.health.grace_period,
        min_tasks=settings.service.min,
        max_tasks=settings.service.max,
        cpu_target=settings.service.cpu_target,
        circuit_breaker=settings.service.circuit_breaker,
        bounds=bounds,
        role_path=path,
        permissions_boundary=boundary,
        log_group_prefix=path,
        log_retention_days=settings.logs.retention_days,
        migration=arguments.migration_plan(settings, profile=place.profile),
    ),
    opts,
)
if bounds.has_gap:
    pulumi.warn(
        f"container.hostPort {settings.container.host_port} leaves no instance for a new task beside the old one, so "
        "each deployment has a moment without a task; with hostPort 0, an instance picks ports, and there is no gap",
        service,
    )
Rollout(
    name,
    RolloutArgs(
        cluster_name=capacity.cluster_name,
        service_name=service.name,
        task_definition_arn=service.task_definition_arn,
        target_group_arn=load_balancer.target_group_arn,
        log_group_name=service.log_group_name,
        auto_scaling_group_name=capacity.auto_scaling_group_name,
        image=image.reference,
        labelled_in=repository.arn if settings.build else None,
        stack=stack,
        region=place.region,
        profile=place.profile,
        timeout=settings.service.deployment_timeout,
    ),
    opts,
)

pulumi.export("url", load_balancer.url)
pulumi.export("image", image.reference)
pulumi.export("tag", settings.tag)
pulumi.export("repository", repository.url)
pulumi.export("cluster", capacity.cluster_name)
pulumi.export("service", service.name)
pulumi.export("taskDefinition", service.task_definition_arn)
pulumi.export("logGroup", service.log_group_name)
if github:
    pulumi.export("github", {"previewRole": github.preview_role_arn, "deployRole": github.deploy_role_arn})
pulumi.export(
    "runbook",
    pulumi.Output.all(
        cluster=capacity.cluster_name,
        service=service.name,
        log_group=service.log_group_name,
        auto_scaling_group=capacity.auto_scaling_group_name,
        task_definition=service.task_definition_arn,
    ).apply(
        lambda names: runbook(
            stack=stack,
            region=place.region,
            secrets=sorted(existing.secrets),
            builds=found is None,
            repository=project,
            **names,
        )
    ),
)
