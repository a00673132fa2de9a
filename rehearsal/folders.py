"""Where the rehearsal keeps what it makes: one ignored folder of the project, so that deleting it leaves nothing."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time do what `name` says: two rehearsals may start together."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
