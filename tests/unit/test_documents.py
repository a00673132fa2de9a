"""What shows the settings besides their definitions: Pulumi.yaml, docs/settings.md and the stack files."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import parse
from settings.document import DOCUMENT, PROJECT_FILE, config_block, document, with_config_block
from settings.model import NOT_YET, Settings
from tests.unit.settings_examples import RIGHT, at, changed, examples
from tests.unit.stack_files import ROOT, SECOND_APPLICATION, STACKS, settings_of, stack_file, values

STACK_FILES = [*(stack_file(stack) for stack in STACKS), SECOND_APPLICATION]
COMMITTED = [stack_file(stack) for stack in STACKS]


def test_pulumi_yaml_declares_the_settings_as_they_are_defined() -> None:
    text = (ROOT / PROJECT_FILE).read_text()
    assert with_config_block(text) == text, "run `make settings`"


def test_the_document_describes_the_settings_as_they_are_defined() -> None:
    assert (ROOT / DOCUMENT).read_text() == document(), "run `make settings`"


def test_writing_the_block_anew_keeps_what_stands_before_it() -> None:
    assert with_config_block("name: x\nconfig:\n  old: {}\n") == "name: x\n" + config_block()


def test_both_are_written_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / PROJECT_FILE).write_text("name: x\nconfig:\n  old: {}\n")
    runpy.run_path(str(ROOT / "settings" / "document.py"), run_name="__main__")
    assert (tmp_path / PROJECT_FILE).read_text() == "name: x\n" + config_block()
    assert (tmp_path / DOCUMENT).read_text() == document()


def test_every_setting_is_declared_with_a_default_so_that_pulumi_does_not_demand_it() -> None:
    declared = yaml.safe_load(config_block())["config"]
    assert set(declared) == {field.alias for field in Settings.model_fields.values()}
    for name, declaration in declared.items():
        assert declaration["default"] in ("", {}), f"{name}: or Pulumi's own message would hide all others"
        assert "type" not in declaration, f"{name}: Pulumi's own check reports one wrong setting alone"


def test_the_names_that_are_taken_for_later_are_not_declared() -> None:
    assert not set(NOT_YET) & {field.alias for field in Settings.model_fields.values()}


@pytest.mark.parametrize(("name", "example"), list(examples()), ids=[name for name, _ in examples()])
def test_each_example_is_right(name: str, example: Any) -> None:
    pairs: dict[str, Any] = dict(examples())
    given = {**RIGHT, **({} if name == "promotedOnly" else {"build": {"context": "app"}})}
    for group, needed in (("github", "repository"), ("migration", "command")):
        if name.startswith(f"{group}."):
            given[group] = {needed: pairs[f"{group}.{needed}"]}
    if name in ("network.vpcId", "network.subnetIds"):
        given = changed({"network": {key: pairs[f"network.{key}"] for key in ("vpcId", "subnetIds")}}, given)
    parse(changed(at(name, example), given), stack="pre")


@pytest.mark.parametrize("name", [name for name, _ in examples()])
def test_each_setting_is_in_the_document(name: str) -> None:
    assert f"| `{name}` |" in document()


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_a_stack_file_holds_right_settings_and_nothing_else(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    assert set(content) == {"config"}, "a salt ties it to one passphrase, an import to one account"
    given = {"tag": "v1.2.3", **settings_of(file)}
    parse(given, stack=file.stem.removeprefix("Pulumi."))


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.name)
@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"encryptionsalt|secretsprovider|secure:", "encryption"),
        (r"\b\d{12}\b", "an account number"),
        (r"(?m)[\s:](~|\.{0,2})/(home|Users|root|tmp|work|var)\b", "a path of one machine"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", "an access key"),
    ],
)
def test_a_stack_file_works_with_any_account_and_passphrase(file: Path, pattern: str, what: str) -> None:
    assert not re.search(pattern, file.read_text()), f"{file.name} holds {what}"


def test_the_stacks_are_apart() -> None:
    pre, live = (settings_of(file) for file in COMMITTED)
    for name in ("host", "network"):
        assert pre[name] != live[name], f"{name} is shared"
    assert pre["container"]["readableSecrets"] != live["container"]["readableSecrets"]


def test_both_stacks_run_where_the_contract_says() -> None:
    for stack, host in (("pre", "pre-be"), ("live", "be")):
        config = values(stack_file(stack))
        assert config["aws:region"] == "eu-central-1"
        assert (config["booklink-backend:zone"], config["booklink-backend:host"]) == ("booklinktrove.com", host)


def test_pre_builds_and_live_does_not() -> None:
    pre, live = (settings_of(file) for file in COMMITTED)
    assert (pre["tag"], pre["build"]) == ("master", {"context": "app"})
    assert "build" not in live
    assert "tag" not in live, "it is given at each release"


def test_examples_are_written_as_json() -> None:
    assert json.dumps("booklinktrove.com") in document()
