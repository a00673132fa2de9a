"""An update isn't begun over one that was interrupted."""

import json
import os
import stat
import time
from pathlib import Path

import pytest

from components.lookups import find_all
from settings import interrupted as guard
from settings.interrupted import Interrupted, find_interrupted, interrupted
from tests.unit.mocked_engine import run
from tests.unit.stack_files import run_program, stack_file, values

LOAD_BALANCER = "urn:pulumi:pre::backend::booklink:backend:LoadBalancer$aws:lb/loadBalancer:LoadBalancer::backend-pre"


def state(kind: str = "creating", type_: str = "aws:lb/loadBalancer:LoadBalancer") -> str:
    operation = {"type": kind, "resource": {"urn": LOAD_BALANCER, "type": type_}}
    return json.dumps({"deployment": {"pending_operations": [operation]}})


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` that prints a file, in the surroundings that the engine gives a program."""
    return command(tmp_path, monkeypatch, f'[ "$2" = export ] && cat {tmp_path}/state')


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    program = folder / "pulumi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_CONFIG", "{}")
    return folder


def begun(*, preview: bool = False) -> list[str]:
    """What a program is told that looks for it."""
    found: list[str] = []

    def program() -> None:
        lookup = find_interrupted("pre")
        find_all([lookup])
        found.extend(lookup.value)

    run(program, preview=preview)
    return found


def test_a_creation_that_was_begun_is_found(engine: Path) -> None:
    (engine / "state").write_text(state())
    assert begun() == [LOAD_BALANCER]


def test_a_preview_does_not_ask(engine: Path) -> None:
    (engine / "state").write_text(state())
    assert begun(preview=True) == []


def test_without_an_engine_nobody_is_asked(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine / "state").write_text(state())
    monkeypatch.delenv("PULUMI_CONFIG")
    assert begun() == []


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo '{}'", "echo '[]'"])
def test_where_it_can_not_be_told_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command(tmp_path, monkeypatch, script)
    assert begun() == []


def test_without_the_command_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG", "{}")
    monkeypatch.setenv("PATH", "")
    assert begun() == []


def test_an_answer_is_not_waited_for_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, monkeypatch, "exec sleep 30")
    monkeypatch.setattr(guard, "ANSWERS_SECONDS", 0.1)
    since = time.monotonic()
    assert begun() == []
    assert time.monotonic() - since < 10


@pytest.mark.parametrize(
    "exported", [state("updating"), state("deleting"), state(type_="pulumi:providers:aws"), '{"deployment": {}}']
)
def test_what_the_next_update_does_again_by_itself_is_none(exported: str) -> None:
    assert interrupted(exported) == []


def test_the_program_ends_with_one_error_before_it_declares_anything(engine: Path) -> None:
    (engine / "state").write_text(state())
    with pytest.raises(Interrupted) as refused:
        run_program("pre", values(stack_file("pre")))
    assert str(refused.value) == (
        "An update of pre was interrupted while AWS was making LoadBalancer backend-pre. This one might make it a "
        "second time, so nothing was changed. `make recover STACK=pre` finds what is there; then again."
    )
