"""The emulated account's pure parts, and how its mends refuse another MiniStack."""

import base64
import dataclasses
import importlib
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal.account import credentials, images, loadbalancers, mending, parameters, placement
from rehearsal.account.__main__ import MODULES
from rehearsal.account.hardware import hardware
from rehearsal.account.instances import ContainerInstance, agent_settings, free_address
from rehearsal.account.mending import Changed, Mends
from rehearsal.account.needs import DYNAMIC_PORTS, host_ports, need
from rehearsal.account.network import generated_block
from rehearsal.account.query import nested, timestamp, xml

# --- mends ---


def module(**functions: Any) -> Any:
    """A stand-in for a module of MiniStack."""
    return SimpleNamespace(__name__="ministack.services.some", _ACTION_MAP={}, **functions)


def test_this_ministack_is_the_one_that_the_mends_are_for() -> None:
    modules = {name: importlib.import_module(f"rehearsal.account.{name}") for name in MODULES}
    assert {name: each.mend.differences() for name, each in modules.items()} == {name: [] for name in MODULES}


def test_a_mend_wraps_what_it_replaces() -> None:
    def answer(data: int, more: int = 0) -> int:
        return data + more

    some, mend = module(answer=answer), Mends()

    @mend.replaces(some, "answer")
    def doubled(original: Any, data: int, more: int = 0) -> int:
        return int(2 * original(data, more))

    assert mend.differences() == []
    assert doubled(answer, 3, 4) == 14


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({}, "ministack.services.some.answer is gone"),
        ({"answer": lambda data, fresh: (data, fresh)}, "ministack.services.some.answer takes (data, fresh)"),
        ({"answer": lambda data=None: data}, "ministack.services.some.answer takes (data=)"),
    ],
)
def test_a_mend_refuses_a_function_that_changed(functions: dict[str, Any], said: str) -> None:
    mend = Mends()

    @mend.replaces(module(**functions), "answer")
    def same(original: Any, data: int) -> Any:
        return original(data)

    with pytest.raises(Changed, match="pip install ministack==") as refusal:
        mend()
    assert said in str(refusal.value)


def test_a_mend_refuses_an_action_that_ministack_learned() -> None:
    some, mend = module(), Mends()
    mend.adds(some, "NewAction")(lambda data: data)
    some._ACTION_MAP["NewAction"] = print
    assert mend.differences() == ["ministack.services.some answers NewAction by itself"]


def test_a_mend_refuses_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "version", lambda _: "1.6.0")
    assert Mends().differences() == ["its version is 1.6.0"]


# --- the Query protocol ---


def test_query_parameters_nest() -> None:
    asked = {"A": "1", "B.C.member.2": "y", "B.C.member.1": ["x"], "D.member.1.E": "z", "F.1.G": "w"}
    assert nested(asked) == {"A": "1", "B": {"C": ["x", "y"]}, "D": [{"E": "z"}], "F": [{"G": "w"}]}


def test_values_become_xml() -> None:
    value = {"A": ["x", {"B": True}], "C": None, "D": "<&>"}
    assert xml(value) == "<A><member>x</member><member><B>true</B></member></A><D>&lt;&amp;&gt;</D>"
    assert timestamp(0) == "1970-01-01T00:00:00Z"


# --- instances ---


@pytest.mark.parametrize(
    ("name", "vcpus", "memory", "architecture"),
    [
        ("t2.small", 1, 2048, "x86_64"),
        ("t3.micro", 2, 1024, "x86_64"),
        ("t3a.2xlarge", 8, 32768, "x86_64"),
        ("t4g.small", 2, 2048, "arm64"),
        ("m7g.medium", 1, 4096, "arm64"),
        ("m5.large", 2, 8192, "x86_64"),
        ("c6i.4xlarge", 16, 32768, "x86_64"),
        ("r6gd.xlarge", 4, 32768, "arm64"),
    ],
)
def test_instance_types_have_what_aws_lists(name: str, vcpus: int, memory: int, architecture: str) -> None:
    found = hardware(name)
    assert (found.vcpus, found.memory, found.architecture) == (vcpus, memory, architecture)
    assert found.registered_cpu == vcpus * 1024
    assert 0.9 * memory < found.registered_memory < memory


@pytest.mark.parametrize("name", ["", "t3", "t3.huge", "t3.16xlarge", "x2gd.large", "m5.small"])
def test_other_instance_types_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="instance type"):
        hardware(name)


def test_user_data_names_the_cluster() -> None:
    script = "#!/bin/bash\ncat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=\"pre\"\nECS_RESERVED_MEMORY=64\nEOF\n"
    encoded = base64.b64encode(script.encode()).decode()
    assert agent_settings(encoded) == {"ECS_CLUSTER": "pre", "ECS_RESERVED_MEMORY": "64"}
    assert agent_settings("not base64") == {}


def test_addresses_leave_out_what_aws_keeps() -> None:
    assert free_address("10.0.0.0/28", ["10.0.0.4"]) == "10.0.0.5"


def test_generated_blocks_are_as_long_as_amazons() -> None:
    assert generated_block().endswith("/56")


# --- placement ---


def definition(**container: Any) -> dict[str, Any]:
    return {"family": "be", "containerDefinitions": [{"name": "be", **container}]}


def instance(number: int, zone: str) -> ContainerInstance:
    return ContainerInstance(
        arn=f"arn:instance/{number}",
        instance_id=f"i-{number}",
        zone=zone,
        status="ACTIVE",
        cpu=2048,
        memory=1934,
        joined_at=0.0,
    )


def test_a_task_needs_its_reservation_or_its_own_limit() -> None:
    assert need(definition(memory=512, memoryReservation=256, cpu=512)).memory == 256
    assert need(definition(memory=512)).memory == 512
    assert need({**definition(memory=512), "memory": "1024", "cpu": "256"}).cpu == 256


def test_ports_are_fixed_or_the_first_that_are_free() -> None:
    wanted = need(definition(portMappings=[{"containerPort": 8080}, {"containerPort": 9090, "hostPort": 8888}]))
    assert host_ports(wanted, {DYNAMIC_PORTS[0]}) == {8080: DYNAMIC_PORTS[1], 9090: 8888}
    assert host_ports(wanted, {8888}) is None
    assert need({**definition(portMappings=[{"containerPort": 1}]), "networkMode": "awsvpc"}).ports == ()


def test_tasks_spread_over_zones_first() -> None:
    instances = [instance(1, "a"), instance(2, "a"), instance(3, "b")]
    tasks = [{"containerInstanceArn": "arn:instance/1"}]
    ordered = placement.order(instances, [], tasks, tasks)
    assert [each.instance_id for each in ordered] == ["i-3", "i-2", "i-1"]


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"memory": 1935}, "RESOURCE:MEMORY"),
        ({"memory": 1, "cpu": 2049}, "RESOURCE:CPU"),
        ({"memory": 1934, "cpu": 2048}, None),
    ],
)
def test_what_does_not_fit_says_why(container: dict[str, Any], reason: str | None) -> None:
    found = placement.obstacle(need(definition(**container)), instance(1, "a"), [])
    assert (found and found[1]) == reason


def test_security_options_need_an_agent_that_takes_them() -> None:
    wanted = need(definition(memory=1, dockerSecurityOptions=["no-new-privileges"]))
    found = placement.obstacle(wanted, instance(1, "a"), [])
    assert found == ("is missing an attribute required by your task.", "ATTRIBUTE")
    takes = dataclasses.replace(instance(1, "a"), security_options=True)
    assert placement.obstacle(wanted, takes, []) is None


# --- credentials ---

ROUTE = "              |-- 169.254.170.2\n                 /32 host LOCAL\n"


@pytest.mark.parametrize(
    ("environment", "table", "ours", "taken"),
    [
        ({}, "", False, False),
        ({}, ROUTE, True, False),
        ({}, ROUTE, False, True),
        ({}, ROUTE.replace("169.254.170.2", "169.254.0.0"), False, False),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}, "", False, True),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}, ROUTE, True, True),
    ],
)
def test_a_machine_keeps_the_address_of_its_own_credentials(
    environment: dict[str, str], table: str, ours: bool, taken: bool
) -> None:
    assert credentials.taken(environment, table, ours=lambda: ours) is taken


# --- images, load balancers, parameters ---


@pytest.mark.parametrize(
    ("setting", "tag", "stays"),
    [
        ("MUTABLE", "v1", False),
        ("IMMUTABLE", "master", True),
        ("IMMUTABLE_WITH_EXCLUSION", "master", False),
        ("IMMUTABLE_WITH_EXCLUSION", "v1", True),
        ("MUTABLE_WITH_EXCLUSION", "master", True),
        ("MUTABLE_WITH_EXCLUSION", "v1", False),
    ],
)
def test_tags_stay_by_the_repositorys_setting(setting: str, tag: str, stays: bool) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "mas*"}]
    repository = {"imageTagMutability": setting, "imageTagMutabilityExclusionFilters": filters}
    assert images.immutable(repository, tag) is stays


def test_an_images_size_is_that_of_its_layers() -> None:
    assert images.size("r", '{"config": {"size": 5}, "layers": [{"size": 7}, {"size": 11}]}') == 23


def test_invalid_header_names_are_dropped() -> None:
    assert loadbalancers.valid_headers({"x-a": "1", "x_b": "2", "x c": "3"}) == {"x-a": "1"}


def test_the_last_release_is_the_recommended_one() -> None:
    found = parameters.public_parameters()
    for architecture in ("", "/arm64"):
        path = f"/aws/service/ecs/optimized-ami/amazon-linux-2023{architecture}/recommended"
        name = found[f"{path}/image_name"]
        assert "20261101" in name
        assert found[f"{path}/image_id"] == found[path.replace("recommended", name) + "/image_id"]


def test_a_layers_link_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images._ecr, "_repositories", {"be": {}})
    monkeypatch.setattr(images._ecr, "_layer_blobs", {"be": {"sha256:1": b"layer"}})
    monkeypatch.setenv("GATEWAY_PORT", "4566")

    def path() -> str:
        asked = {"repositoryName": "be", "layerDigest": "sha256:1"}
        answer = images.download_url(images._ecr._get_download_url_for_layer, asked)
        return str(json.loads(answer[2])["downloadUrl"]).removeprefix("http://127.0.0.1:4566")

    first = path()
    assert images.layer(first)[::2] == (200, b"layer")
    later = time.monotonic() + images.LAYER_VALID
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert images.layer(first)[0] == 403
    path()
    assert len(images._links) == 1, "links that have ended are forgotten"
