"""Stand-ins for commands that a test puts first on PATH."""

import os
import sys
from pathlib import Path

import pytest


def put_on_path(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a command on PATH that runs a Python program."""
    folder.mkdir(exist_ok=True)
    command = folder / name
    command.write_text(f"#!{sys.executable}\n{source}")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
