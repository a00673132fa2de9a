"""How health checks turn a target healthy or unhealthy."""

import pytest

from rehearsal.account import targets
from rehearsal.account.targets import CHECKING, HEALTHY, Health, after_check, matches

FAILURE = ("Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]")


def after(health: Health, *checks: bool) -> Health:
    for passed in checks:
        health = after_check(health, None if passed else FAILURE, healthy=3, unhealthy=2)
    return health


def test_the_first_success_makes_a_new_target_healthy() -> None:
    assert after(Health(), True).state == "healthy"


def test_a_new_target_stays_initial_until_it_failed_often_enough() -> None:
    assert after(Health(), False).state == "initial"
    assert after(Health(), False).reason == CHECKING.reason


def test_failures_in_a_row_turn_a_target_unhealthy_with_the_last_reason() -> None:
    found = after(HEALTHY, False, False)
    assert (found.state, found.reason, found.description) == ("unhealthy", *FAILURE)


def test_a_success_between_failures_begins_the_row_again() -> None:
    assert after(HEALTHY, False, True, False).state == "healthy"


def test_an_unhealthy_target_needs_the_whole_row_of_successes() -> None:
    sick = after(HEALTHY, False, False)
    assert after(sick, True, True).state == "unhealthy"
    assert after(sick, True, True, True).state == "healthy"
    assert after(sick, True, True, False, True).state == "unhealthy"


@pytest.mark.parametrize(
    ("status", "matcher", "passes"),
    [
        (200, "200", True),
        (204, "200", False),
        (204, "200-299", True),
        (301, "200-299,301", True),
        (500, "200,301", False),
    ],
)
def test_the_matcher_lists_codes_and_ranges(status: int, matcher: str, passes: bool) -> None:
    assert matches(status, matcher) is passes


@pytest.mark.parametrize(
    ("states", "ports"),
    [
        ({8001: "healthy", 8002: "unhealthy", 8003: "initial"}, [8001]),
        ({8001: "unhealthy", 8002: "unhealthy", 8003: "draining"}, [8001, 8002]),
        ({8001: "initial", 8002: "draining"}, []),
    ],
)
def test_unhealthy_targets_get_no_requests_while_a_healthy_one_exists(
    states: dict[int, str], ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    watches = {}
    for port, state in states.items():
        watches["group", "10.0.0.1", port] = targets._Watch("123456789012", "eu-central-1")
        watches["group", "10.0.0.1", port].health = Health(state=state)
    watches["another", "10.0.0.1", 1] = targets._Watch("123456789012", "eu-central-1")
    monkeypatch.setattr(targets, "_watches", watches)
    assert [each.port for each in targets.ready("group")] == ports
