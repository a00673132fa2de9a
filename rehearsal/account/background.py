"""Work that the account does by itself, on threads that end with it: health checks, scaling, replacing instances."""

import logging
import threading
from collections.abc import Callable

from rehearsal.account.mending import ministack

_responses = ministack("core.responses")
_ending = threading.Event()
_logger = logging.getLogger("account")


def every(seconds: float, work: Callable[[], None]) -> None:
    """Do work again and again, with so many seconds between; an exception is logged and doesn't end it."""
    account, region = _responses.get_account_id(), _responses.get_region()

    def run() -> None:
        while not _ending.wait(seconds):
            _do(work, account, region)

    threading.Thread(target=run, daemon=True).start()


def end() -> None:
    """No more background work begins."""
    _ending.set()


def _do(work: Callable[[], None], account: str, region: str) -> None:
    try:
        with _responses.request_scope(account, region):
            work()
    except Exception:
        _logger.exception("background work failed")
