"""Credentials of a task's own role, at the address where AWS's SDKs ask for them.

SDKs take credentials over plain HTTP from loopback and from ECS's own link-local address alone. A Docker network whose
gateway has that address gives it to this machine, where containers reach it; accounts on one machine share the network
and differ by their ports. https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""
# ruff: noqa: PLR0917 - a mend takes the parameters of what it replaces

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.types import IPAMConfig, IPAMPool

from rehearsal.account.mending import Mends, ministack
from rehearsal.account.query import timestamp

_ecs = ministack("services.ecs")
_imds = ministack("services.imds")
_responses = ministack("core.responses")
_sts = ministack("services.sts")
_logger = logging.getLogger("account")
mend = Mends()

ADDRESS = "169.254.170.2"
VALID = 3600
"""Seconds for which credentials are valid; an SDK asks for new ones before. Six hours on AWS."""
_NETWORK = "ecs-task-credentials"
_IP_FREEBIND = 15  # of Linux; Python has no name for it
# Which role of which task has the credentials at a path's last part.
_roles: dict[str, tuple[str, str]] = {}


def listen(port: int) -> list[int]:
    """The file descriptor of a socket that listens at the address, which this machine need not have yet, in a list.

    An empty one where that can't be, which is everywhere but on Linux, and where it is another's.
    """
    if taken(os.environ, _table(), ours=_have_network):
        return []
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((ADDRESS, port))
    except OSError:
        listener.close()
        return []
    listener.listen()
    return [listener.detach()]


def have_address() -> None:
    """Give this machine the address, where it hasn't got it.

    It is asked for again for each container: another account that ends may have taken it away.
    """
    if _have_network():
        return
    if taken(os.environ, _table(), ours=_have_network):
        _logger.error("tasks get no credentials: %s is this machine's own, where it asks for its role's", ADDRESS)
        return
    client = docker.from_env(timeout=10)
    pool = IPAMPool(subnet="169.254.170.0/24", gateway=ADDRESS)
    try:
        client.networks.create(_NETWORK, ipam=IPAMConfig(pool_configs=[pool]))
    except APIError as error:
        # Another account was faster, or something else has these addresses.
        if not client.networks.list(names=[f"^{_NETWORK}$"]):
            _logger.error("tasks get no credentials at %s: %s", ADDRESS, error)


def taken(environment: Mapping[str, str], table: str, *, ours: Callable[[], bool]) -> bool:
    """Whether the address is this machine's way to credentials of its own: a task of ECS has it, a build of CodeBuild.

    Args:
        environment: of this process.
        table: the kernel's table of routes and of its own addresses, `/proc/net/fib_trie`.
        ours: whether Docker has the network of this account, or of another beside it.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    if any(name.startswith("AWS_CONTAINER_CREDENTIALS_") for name in environment):
        return True
    return f"-- {ADDRESS.rpartition('.')[0]}." in table and not ours()


def _table() -> str:
    try:
        return Path("/proc/net/fib_trie").read_text(encoding="ascii")
    except OSError:
        return ""


def _have_network() -> bool:
    try:
        return bool(docker.from_env(timeout=10).networks.list(names=[f"^{_NETWORK}$"]))
    except (DockerException, OSError):
        return False


def give_up_address() -> None:
    """Take the address from this machine, unless another account listens there."""
    if _listened():
        return
    try:
        for network in docker.from_env(timeout=10).networks.list(names=[f"^{_NETWORK}$"]):
            network.remove()
    except (DockerException, OSError):
        pass


def _listened() -> bool:
    """Whether a process listens at the address, by the kernel's table of sockets (state 0A)."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(ADDRESS.split(".")))
    try:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return False
    return any(line.split()[1].startswith(wanted) and line.split()[3] == "0A" for line in lines)


@mend.replaces(_ecs, "_register_metadata")
def name_credentials(
    original: Any,
    task_arn: str,
    cluster_arn: str,
    td: Mapping[str, Any],
    cdef: Mapping[str, Any],
    launch_type: str,
    env: dict[str, str],
    host_mode: bool,
    ministack_net_ip: Any,
) -> Any:
    """A container is told where its task role's credentials are; without a task role, nothing.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    token = original(task_arn, cluster_arn, td, cdef, launch_type, env, host_mode, ministack_net_ip)
    address = env.pop("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    del env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    if role := td.get("taskRoleArn"):
        have_address()
        identity = address.rsplit("/", 1)[-1]
        port = address.split("/")[2].rsplit(":", 1)[-1]
        _roles[identity] = (role, task_arn.rsplit("/", 1)[-1])
        host = "127.0.0.1" if host_mode else ADDRESS
        env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{host}:{port}/v2/credentials/{identity}"
    return token


@mend.replaces(_imds, "handle_request")
async def give_credentials(original: Any, method: str, path: str, headers: Any, body: Any, query_params: Any) -> Any:
    """A container's credentials are a session of its task's role: IAM decides what they may.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    if not path.startswith("/v2/credentials/"):
        return await original(method, path, headers, body, query_params)
    known = _roles.get(path.rsplit("/", 1)[-1])
    if known is None or method != "GET":
        return _responses.error_response_json("InvalidIdInRequest", "Credentials not found", 404)
    return _responses.json_response(session(*known))


def session(role_arn: str, name: str) -> dict[str, str]:
    """Credentials of a new session of a role, as the ECS agent answers them."""
    account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    key, secret, token = "ASIA" + secrets.token_hex(8).upper(), secrets.token_hex(20), secrets.token_urlsafe(60)
    expires = time.time() + VALID
    _sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
            "UserId": f"{_sts._role_id(role_arn)}:{name}",
            "SecretAccessKey": secret,
            "SessionToken": token,
            "Expiration": expires,
            "AccountId": account,
            "PrincipalType": "AssumedRole",
        },
    )
    return {
        "AccessKeyId": key,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": timestamp(expires),
        "RoleArn": role_arn,
    }
