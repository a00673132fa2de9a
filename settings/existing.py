"""What the settings name that must exist already: all of it is looked up before anything is created."""

from dataclasses import dataclass

import pulumi_aws as aws

from components.capacity import find_ami
from components.image import FoundImage, find_image
from components.load_balancer import find_zone
from components.lookups import LookUp, find_all
from components.network import NetworkArgs, find_network, find_zones
from components.secrets import Secret, find_secrets
from components.service import Account, find_account
from settings import arguments
from settings.interrupted import Interrupted, find_interrupted
from settings.model import SUBNET_COUNT, Settings

BUILDING_STACK = "pre"
"""The stack that builds images and owns the repository."""


@dataclass(frozen=True, kw_only=True)
class Existing:
    """What was found; `image` is None where the stack builds its own."""

    account: Account
    zone_id: str
    ami_id: str
    network: NetworkArgs
    image: FoundImage | None
    secrets: dict[str, Secret]


def find_existing(settings: Settings, provider: aws.Provider, *, region: str, repository: str, stack: str) -> Existing:
    """Return what the settings name, found in the account of `provider`; raises Missing, naming all that isn't.

    It also raises Interrupted where an earlier update of `stack` was, and left what this one might make again.
    """
    begun = find_interrupted(stack)
    account = find_account(provider, region=region)
    zone = find_zone(provider, zone=settings.zone)
    capacity = settings.capacity
    ami = find_ami(provider, release=capacity.ami, architecture=capacity.instance.architecture)
    network = _find_network(settings, provider)
    references = [*arguments.injected_references(settings).values(), *arguments.readable_references(settings)]
    secrets = find_secrets(provider, references, region=region)
    image = None
    if settings.build is None:
        image = find_image(provider, repository=repository, tag=settings.tag, owner=BUILDING_STACK)
    find_all([begun, account, zone, ami, network, *secrets.values(), *([image] if image else [])])
    if begun.value:
        raise Interrupted(stack, begun.value)
    return Existing(
        account=account.value,
        zone_id=zone.value,
        ami_id=ami.value,
        network=network.value,
        image=image.value if image else None,
        secrets={name: secret.value for name, secret in secrets.items()},
    )


def _find_network(settings: Settings, provider: aws.Provider) -> LookUp[NetworkArgs]:
    network = settings.network
    if network.vpc_id and network.subnet_ids:
        return find_network(provider, vpc_id=network.vpc_id, subnet_ids=network.subnet_ids)
    return find_zones(provider, count=SUBNET_COUNT, cidr=network.cidr or NetworkArgs.cidr)
