"""Names within AWS's limits."""

import pytest

from components.names import LOAD_BALANCER_NAME_LENGTH, load_balancer_name, shortened


def test_a_short_name_stays() -> None:
    assert shortened("backend-pre", length=24) == "backend-pre"


def test_a_name_of_exactly_the_length_stays() -> None:
    assert shortened("a" * 24, length=24) == "a" * 24


@pytest.mark.parametrize("name", ["a" * 25, "a-name-that-ends-in-hyphen-just-there", "x" * 200])
def test_a_long_name_is_cut_to_the_length(name: str) -> None:
    found = shortened(name, length=24)
    assert len(found) <= 24
    assert not found.endswith("-")
    assert "--" not in found, "a name cut at a hyphen would have two"


def test_long_names_that_begin_alike_stay_different() -> None:
    assert shortened("a" * 30 + "b", length=24) != shortened("a" * 30 + "c", length=24)


def test_the_same_name_always_gives_the_same_result() -> None:
    assert shortened("a" * 30, length=24) == "aaaaaaaaaaaaaaaaa-3a54fc", "another one would replace the load balancer"


def test_a_load_balancers_name_leaves_room_for_pulumis_suffix() -> None:
    assert len(load_balancer_name("x" * 100)) + len("-1234567") == LOAD_BALANCER_NAME_LENGTH
