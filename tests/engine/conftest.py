"""Each file of tests has an emulated account and a copy of the project of its own, so that files can run side by side:
`pytest tests/engine --numprocesses 6 --dist loadfile`. Within a file tests run in the order in which they stand, since
each goes on with what the ones before have deployed.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from rehearsal import surroundings
from rehearsal.base import BaseError
from rehearsal.docker_engine import DockerError
from rehearsal.progress import CommandError
from rehearsal.pulumi_engine import EngineError
from rehearsal.surroundings import Account, Workspace
from rehearsal.tools import Tools
from rehearsal.tools import tools as have_tools
from tests.engine.deployments import ZONE


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the tools ready before there are several processes: they are made once, and what it takes is told."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    ready = ExitStack()
    try:
        ready.enter_context(have_tools(say=_tell))
    except (BaseError, CommandError, DockerError, EngineError) as error:
        pytest.exit(str(error), returncode=1)
    session.config.add_cleanup(ready.close)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    with have_tools(say=_tell) as ready:
        yield ready


@pytest.fixture(scope="session")
def password() -> str:
    """What the seeded secrets hold, and what must be found nowhere else."""
    return secrets.token_urlsafe(24)


@pytest.fixture(scope="module")
def account(tools: Tools, password: str) -> Iterator[Account]:  # noqa: ARG001 - it needs Docker
    """An account with what exists before the first deployment: the hosted zone and the secrets."""
    held = {"username": "backend", "password": password}
    with surroundings.account() as started:
        surroundings.seed(started, zone=ZONE, secrets={"pre1/postgres": held, "live1/postgres": held})
        yield started


@pytest.fixture(scope="module")
def workspace(account: Account, tools: Tools) -> Iterator[Workspace]:
    with surroundings.workspace(account, tools.variables) as made:
        yield made
