"""Serve the account: `python -m rehearsal.account PORT`, until SIGTERM or SIGINT; then its containers are removed.

It listens on loopback, and on the Docker bridge for its containers. It prints nothing but errors.
"""

import asyncio
import importlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import docker
from docker.errors import DockerException
from hypercorn.asyncio import serve as serve_asgi
from hypercorn.config import Config

MODULES = (
    "network",
    "parameters",
    "images",
    "alarms",
    "credentials",
    "instances",
    "groups",
    "capacity",
    "scaling",
    "loadbalancers",
    "ecs",
)


def settings(port: int) -> dict[str, str]:
    """What MiniStack reads from the environment when it is imported: its port, region, account and how much it logs."""
    return {
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": os.environ.get("AWS_REGION", "eu-central-1"),
        "MINISTACK_ACCOUNT_ID": os.environ.get("MINISTACK_ACCOUNT_ID", "123456789012"),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "ERROR"),
        # IAM decides about sessions of roles; the key `test` is the account's root and may do everything.
        "AUTH": "true",
    }


def bridge() -> list[str]:
    """The addresses of the Docker bridge by which containers reach this machine; none where it isn't this machine's."""
    try:
        network = docker.from_env(timeout=5).networks.get("bridge")
    except (DockerException, OSError):
        return []
    # A bridge that an engine has just made is described without its gateway, which is the first address.
    described = network.attrs["IPAM"]["Config"]
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
    config.keep_alive_timeout = 75
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
    os.environ.update(settings(port))

    # MiniStack reads its settings when it is imported, which these modules do.
    from rehearsal.account import background, credentials, loadbalancers  # noqa: PLC0415
    from rehearsal.account.mending import Changed, ministack  # noqa: PLC0415

    responses = ministack("core.responses")
    try:
        with responses.request_scope(responses.get_account_id(), responses.get_region()):
            for name in MODULES:
                importlib.import_module(f"rehearsal.account.{name}").mend()
    except Changed as changed:
        raise SystemExit(str(changed)) from None
    binds = [f"{host}:{port}" for host in ["127.0.0.1", *bridge()]] + [f"fd://{fd}" for fd in credentials.listen(port)]
    try:
        asyncio.run(serve(loadbalancers.front(ministack("app").app), binds))
    except OSError as error:
        raise SystemExit(f"the account can't listen on port {port}: {error}") from None
    finally:
        background.end()
        credentials.give_up_address()


if __name__ == "__main__":
    main()
