"""Each file of tests has an emulated account and a copy of the project of its own, so that files can run side by side:
`pytest tests/engine --numprocesses 4 --dist loadfile`. Within a file tests run in the order in which they stand, since
each goes on with what the ones before have deployed.
"""

import secrets
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from rehearsal import base as base_image
from rehearsal import docker_engine, pulumi_engine, surroundings
from rehearsal.surroundings import Account, Workspace
from tests.engine.deployments import ZONE


@pytest.fixture(scope="session")
def variables() -> Mapping[str, str]:
    """What makes the engine ready to run."""
    assert docker_engine.answers(), "no Docker engine answers, which these tests need"
    return pulumi_engine.prepare()


@pytest.fixture(scope="session")
def base() -> str | None:
    """What the sample's image is built on; None where the Dockerfile's own can be pulled."""
    public = "python:3.13-slim"
    pulled = subprocess.run(["docker", "pull", "--quiet", public], check=False, capture_output=True, timeout=120)
    return None if pulled.returncode == 0 else base_image.make()


@pytest.fixture(scope="session")
def password() -> str:
    """What the seeded secrets hold, and what must be found nowhere else."""
    return secrets.token_urlsafe(24)


@pytest.fixture(scope="module")
def account(password: str) -> Iterator[Account]:
    """An account with what exists before the first deployment: the hosted zone and the secrets."""
    held = {"username": "backend", "password": password}
    with surroundings.account() as started:
        surroundings.seed(started, zone=ZONE, secrets={"pre1/postgres": held, "live1/postgres": held})
        yield started


@pytest.fixture(scope="module")
def workspace(account: Account, variables: Mapping[str, str]) -> Iterator[Workspace]:
    with surroundings.workspace(account, variables) as made:
        yield made
