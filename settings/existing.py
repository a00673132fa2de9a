"""What the settings name that must exist already: all of it is looked up before anything is created."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi_aws as aws

from components.capacity import find_ami
from components.github_access import find_provider
from components.image import FoundImage, find_image
from components.load_balancer import find_zone
from components.lookups import LookUp, find_all
from components.network import NetworkArgs, find_network, find_zones
from components.secrets import Secret, find_secrets, find_versions
from components.service import Account, find_account
from settings import arguments
from settings.interrupted import Interrupted, find_interrupted
from settings.model import SUBNET_COUNT, Settings
from settings.reading import Place

BUILDING_STACK = "pre"
"""The stack that builds images and owns the repository."""


@dataclass(frozen=True, kw_only=True)
class Existing:
    """What was found; `image` is None where the stack builds its own.

    `versions` has, for each environment variable that a secret or a parameter gives its value, the current version.
    `owns_github_provider` where the stack is to declare the account's OIDC provider for GitHub.
    """

    account: Account
    zone_id: str
    ami_id: str
    network: NetworkArgs
    image: FoundImage | None
    secrets: dict[str, Secret]
    versions: dict[str, str]
    owns_github_provider: bool


def find_existing(
    settings: Settings, provider: aws.Provider, place: Place, *, project: str, stack: str, tags: Mapping[str, str]
) -> Existing:
    """Return what the settings name, found in the account of `provider`; raises Missing, naming all that isn't.

    `tags` are those that tell this environment's resources from others; the repository has the project's name. It also
    raises Interrupted where an earlier update of `stack` was, and left what this one might make again.
    """
    begun = find_interrupted(stack)
    region = place.region
    account = find_account(provider, region=region)
    zone = find_zone(provider, zone=settings.zone)
    capacity = settings.capacity
    ami = find_ami(provider, release=capacity.ami, architecture=capacity.instance.architecture)
    network = _find_network(settings, provider)
    injected = arguments.injected_references(settings)
    secrets = find_secrets(provider, [*injected.values(), *arguments.readable_references(settings)], region=region)
    versions = find_versions(provider, injected, region=region)
    image = None
    if settings.build is None:
        image = find_image(
            provider,
            repository=project,
            tag=settings.tag,
            owner=BUILDING_STACK,
            architecture=capacity.instance.architecture,
            promoted_only=settings.promoted_only,
            region=region,
            profile=place.profile,
        )
    github = None
    if settings.github:
        github = find_provider(provider, tags=tags, builds=settings.build is not None, owner=BUILDING_STACK)
    optional = [lookup for lookup in (image, github) if lookup]
    find_all([begun, account, zone, ami, network, *secrets.values(), *versions.values(), *optional])
    if begun.value:
        raise Interrupted(stack, begun.value)
    return Existing(
        account=account.value,
        zone_id=zone.value,
        ami_id=ami.value,
        network=network.value,
        image=image.value if image else None,
        secrets={name: secret.value for name, secret in secrets.items()},
        versions={variable: version.value for variable, version in versions.items()},
        owns_github_provider=github.value if github else False,
    )


def _find_network(settings: Settings, provider: aws.Provider) -> LookUp[NetworkArgs]:
    network = settings.network
    if network.vpc_id and network.subnet_ids:
        return find_network(provider, vpc_id=network.vpc_id, subnet_ids=network.subnet_ids)
    return find_zones(provider, count=SUBNET_COUNT, cidr=network.cidr or NetworkArgs.cidr)
