"""Commands that take long: run with a line of progress now and then, and with their last lines where they fail."""

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, cast

Say = Callable[[str], None]

PROGRESS_SECONDS = 10
LAST_LINES = 15


class CommandError(Exception):
    """A command failed; the message has its last lines."""


def run(command: Sequence[str], *, what: str, say: Say, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, saying every few seconds what it printed last. `what` names it in an error."""
    process = subprocess.Popen(
        command,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    following = _lines(cast(IO[str], process.stdout))
    begun = told = time.monotonic()
    written: list[str] = []
    try:
        while (line := following()) is not None:
            written += [line] if line else []
            if written and time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                say(f"    {told - begun:.0f} s: {written[-1]}")
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
    if process.returncode:
        raise CommandError(f"{what} failed:\n" + "\n".join(written[-LAST_LINES:]))


def _lines(stream: Iterable[str]) -> Callable[[], str | None]:
    """A function that gives the stream's next line, "" where none comes within a second, None at its end."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line.strip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()

    def following() -> str | None:
        try:
            return lines.get(timeout=1)
        except queue.Empty:
            return ""

    return following
