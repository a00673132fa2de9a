"""The tests here start containers, so they need a Docker engine: the one that runs, or one for as long as they last.

What these containers run is built with Go. Without either, the tests fail rather than pass unrun.
"""

import shutil
import sys
from contextlib import ExitStack

import pytest

from rehearsal import docker_engine


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have Docker ready before there are several processes."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    if not shutil.which("go"):
        pytest.exit("tests/account needs Go, which builds what its containers run", returncode=1)
    ready = ExitStack()
    try:
        ready.enter_context(docker_engine.engine(say=_tell))
    except docker_engine.DockerError as error:
        pytest.exit(str(error), returncode=1)
    session.config.add_cleanup(ready.close)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
