"""How tests wait for what takes an unknown time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, probe: Callable[[], T | None], *, seconds: float = 20, every: float = 0.1) -> T:
    """The first true answer of `probe`, asked again after `every` so many seconds until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")
