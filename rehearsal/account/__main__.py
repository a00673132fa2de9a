"""Serve the account: `python -m rehearsal.account PORT`, until SIGTERM or SIGINT; then its containers are removed.

It listens on loopback, and on the Docker bridge for its containers. Its root has the access key of AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY; where they aren't both set it has a new one, which is printed as what a shell has to export.
"""

import asyncio
import importlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import docker
from docker.errors import DockerException
from hypercorn.asyncio import serve as serve_asgi
from hypercorn.config import Config

from rehearsal.account.keys import Key, random_key

MODULES = (
    "network",
    "parameters",
    "images",
    "alarms",
    "authorization",
    "credentials",
    "instances",
    "groups",
    "capacity",
    "scaling",
    "loadbalancers",
    "guard",
    "ecs",
)

SERVICES = (
    "acm",
    "autoscaling",
    "budgets",
    "ec2",
    "ecr",
    "ecs",
    "elasticloadbalancing",
    "events",
    "iam",
    "kms",
    "logs",
    "monitoring",
    "route53",
    "s3",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "sts",
    "tagging",
)
"""The services that the account has, by MiniStack's names. None of them runs a caller's code on this machine itself, as
MiniStack's Lambda does, or starts containers other than as ECS's are here."""


def root_key(environment: Mapping[str, str]) -> Key | None:
    """The key that the environment gives the account's root; None where it gives none."""
    identity, secret = (environment.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    return Key(id=identity, secret=secret) if identity and secret else None


def exports(port: int, key: Key, region: str) -> str:
    """The line by which a shell uses the account."""
    return (
        f"export AWS_ENDPOINT_URL=http://127.0.0.1:{port} AWS_REGION={region} "
        f"AWS_ACCESS_KEY_ID={key.id} AWS_SECRET_ACCESS_KEY={key.secret}"
    )


def settings(port: int, key: Key) -> dict[str, str]:
    """What MiniStack reads from the environment when it is imported: port, region, account, services, root key."""
    return {
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": os.environ.get("AWS_REGION", "eu-central-1"),
        "MINISTACK_ACCOUNT_ID": os.environ.get("MINISTACK_ACCOUNT_ID", "123456789012"),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "ERROR"),
        "SERVICES": ",".join(SERVICES),
        # IAM decides about sessions of roles; the root may do everything.
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        # MiniStack's own listeners, for services that aren't here; the first is on all addresses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def bridge() -> list[str]:
    """The addresses of the Docker bridge by which containers reach this machine; none where it isn't this machine's."""
    try:
        network = docker.from_env(timeout=5).networks.get("bridge")
    except (DockerException, OSError):
        return []
    # A bridge that an engine has just made is described without its gateway, which is the first address.
    described = network.attrs["IPAM"]["Config"] or []
    gateways = [each.get("Gateway") or str(next(ip_network(each["Subnet"]).hosts())) for each in described]
    return [each for each in gateways if _is_here(each)]


def _is_here(address: str) -> bool:
    with socket.socket() as trying:
        try:
            trying.bind((address, 0))
        except OSError:
            return False
        return True


async def serve(app: Any, binds: Sequence[str]) -> None:
    """Serve an application until SIGTERM or SIGINT; requests that are being answered have two seconds more."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)

    async def ended() -> None:
        await ending.wait()

    config = Config()
    config.bind = list(binds)
    # Longer than clients keep a connection (90 s in Go): one that ends as a request arrives loses its answer.
    config.keep_alive_timeout = 3600
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = 2
    config.loglevel = os.environ["LOG_LEVEL"]
    await serve_asgi(app, config, shutdown_trigger=ended)


def main() -> None:
    """Mend MiniStack, then serve it.

    Raises:
        SystemExit: without a port, where it is taken, or where MiniStack is not the one that the mends are for.
    """
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():  # noqa: PLR2004 - the program and its one argument
        raise SystemExit("usage: python -m rehearsal.account PORT")
    port = int(sys.argv[1])
    given = root_key(os.environ)
    key = given or random_key()
    os.environ.update(settings(port, key))

    # MiniStack reads its settings when it is imported, which these modules do.
    from rehearsal.account import background, credentials, guard, loadbalancers  # noqa: PLC0415
    from rehearsal.account.mending import Changed, ministack  # noqa: PLC0415

    responses = ministack("core.responses")
    try:
        with responses.request_scope(responses.get_account_id(), responses.get_region()):
            for name in MODULES:
                importlib.import_module(f"rehearsal.account.{name}").mend()
    except Changed as changed:
        raise SystemExit(str(changed)) from None
    addresses = bridge()
    binds = [f"{host}:{port}" for host in ["127.0.0.1", *addresses]] + [f"fd://{fd}" for fd in credentials.listen(port)]
    guarded = guard.front(ministack("app").app, [*addresses, credentials.ADDRESS])
    if given is None:
        os.environ.pop("AWS_SESSION_TOKEN", None)
        print(exports(port, key, responses.get_region()), flush=True)
    try:
        asyncio.run(serve(loadbalancers.front(guarded), binds))
    except OSError as error:
        raise SystemExit(f"the account can't listen on port {port}: {error}") from None
    finally:
        background.end()
        credentials.give_up_address()


if __name__ == "__main__":
    main()
