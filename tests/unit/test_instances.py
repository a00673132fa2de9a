"""What instance types have to offer."""

import pytest

from components.instances import instance_type


@pytest.mark.parametrize(
    ("name", "architecture", "vcpus", "gibibytes"),
    [
        ("t3.nano", "x86_64", 2, 0.5),
        ("t3.micro", "x86_64", 2, 1),
        ("t3a.small", "x86_64", 2, 2),
        ("t4g.micro", "arm64", 2, 1),
        ("t4g.2xlarge", "arm64", 8, 32),
        ("c7g.medium", "arm64", 1, 2),
        ("c6i.large", "x86_64", 2, 4),
        ("m7i.xlarge", "x86_64", 4, 16),
        ("r8g.4xlarge", "arm64", 16, 128),
    ],
)
def test_types_have_what_aws_lists(name: str, architecture: str, vcpus: int, gibibytes: float) -> None:
    found = instance_type(name)
    assert (found.architecture, found.cpu, found.memory) == (architecture, vcpus * 1024, int(gibibytes * 1024))


@pytest.mark.parametrize(("name", "seen"), [("t3.small", 1901), ("t3.medium", 3828), ("c5.large", 3704)], ids=str)
def test_no_more_memory_is_counted_on_than_was_seen(name: str, seen: int) -> None:
    assert instance_type(name).registered_memory <= seen - 32, "what is called fitting would wait for ever"


@pytest.mark.parametrize(("name", "registered"), [("t3.nano", 362), ("t3.micro", 870), ("t3.small", 1740)])
def test_what_the_kernel_keeps_does_not_shrink_with_the_instance(name: str, registered: int) -> None:
    assert instance_type(name).registered_memory == registered


@pytest.mark.parametrize(("name", "platform"), [("t3.micro", "linux/amd64"), ("t4g.micro", "linux/arm64")])
def test_the_platform_follows_the_architecture(name: str, platform: str) -> None:
    assert instance_type(name).platform == platform


@pytest.mark.parametrize(
    "name", ["", "t3", "t3.", "t2.micro", "t3.4xlarge", "m5.medium", "c6i.medium", "m5.metal", "x1.large", "t3.micro.x"]
)
def test_an_unknown_type_says_which_are_known(name: str) -> None:
    with pytest.raises(ValueError, match="unknown instance type; known are t3, t3a, t4g "):
        instance_type(name)
