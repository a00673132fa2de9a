"""The emulated account's service scheduler as a thread; what it does next is in test_deployments.py."""

import threading

import pytest

from rehearsal.account import scheduler, targets, tasks


def test_the_scheduler_goes_on_where_targets_can_not_be_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = threading.Event()
    turns: list[int] = []

    def synchronize() -> None:
        turns.append(len(turns))
        if turns[1:]:
            ending.set()
        raise KeyError("a target group that was deleted meanwhile")

    monkeypatch.setattr(targets, "synchronize", synchronize)
    monkeypatch.setattr(tasks, "ending", ending)
    monkeypatch.setattr(scheduler, "TICK", 0.0)
    scheduler.run()
    assert turns == [0, 1]
