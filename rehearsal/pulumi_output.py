"""What `pulumi` prints as it works, without a terminal: a line where an operation begins, and one where it ends.

Of some fifty operations most end in a moment. Those are counted in one line; what takes longer, fails or has a message
is shown as Pulumi says it, and while nothing is printed, a line now and then says what is under way.
"""

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType

from rehearsal.progress import Say

QUIET_SECONDS = 15
"""After so long without a line, one says what is still under way."""

LOOKS_EVERY = 1.0

_OPERATION = re.compile(
    r"^ *(?P<sign>[-+~<>=.]{1,2}) +(?P<type>\w+:\w[\w/]*:\w+) (?P<name>\S+) "
    r"(?P<verb>\w+ing|\w+ed)(?P<of> (?:replacement|original))?"
    r"(?: \((?P<seconds>[\d.]+)s\))?(?P<rest>.*)$"
)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A line of Pulumi about a resource: `creating` when it begins, `created` when it ended."""

    sign: str
    type: str
    name: str
    verb: str
    seconds: float | None
    message: str

    @property
    def ended(self) -> bool:
        return self.verb.endswith("ed")

    @property
    def is_pulumis_own(self) -> bool:
        """Whether it is of a component, a provider or the stack: nothing in AWS."""
        return self.type.startswith(("pulumi:", "booklink:"))

    @property
    def short_type(self) -> str:
        return self.type.rpartition(":")[2]

    @classmethod
    def parse(cls, line: str) -> "Operation | None":
        """The operation that a line tells of; None for every other line."""
        match = _OPERATION.match(line.rstrip())
        if not match:
            return None
        return cls(
            sign=match["sign"],
            type=match["type"],
            name=match["name"],
            verb=match["verb"] + (match["of"] or ""),
            seconds=float(match["seconds"]) if match["seconds"] else None,
            message=match["rest"].strip(),
        )


def changed(output: str) -> list[str]:
    """The types of the resources that an update changed, of all but Pulumi's own, each once and sorted."""
    found = [operation for line in output.splitlines() if (operation := Operation.parse(line)) and operation.ended]
    return sorted({each.type for each in found if not each.is_pulumis_own})


class Progress:
    """Shows what Pulumi prints, each line after `prefix`. A context: it has a thread that breaks long silences."""

    def __init__(self, say: Say, *, prefix: str = "  ") -> None:
        self._say = say
        self._prefix = prefix
        self._lock = threading.Lock()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._under_way: dict[str, Operation] = {}
        self._begun = self._told = time.monotonic()
        self._blank_before = False
        self._ended = threading.Event()
        self._silences = threading.Thread(target=self._break_silences, daemon=True)

    def __enter__(self) -> "Progress":
        self._silences.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._silences.join()
        self._tell_counted()

    def line(self, line: str) -> None:
        """Take the next line that Pulumi printed."""
        with self._lock:
            operation = Operation.parse(line)
            if operation and self._is_kept_for_later(operation):
                return
            self._tell_counted()
            self._tell(line.rstrip())

    def _is_kept_for_later(self, operation: Operation) -> bool:
        """Keep what is under way, what it says meanwhile, and what ended in a moment."""
        thing = f"{operation.type} {operation.name}"
        if not operation.ended:
            self._under_way[thing] = operation
            return True
        self._under_way.pop(thing, None)
        if (operation.seconds or 0) >= 1 or (operation.message and operation.is_pulumis_own):
            return False
        if not operation.is_pulumis_own:
            self._counted[operation.sign, operation.short_type] += 1
        return True

    def _tell(self, line: str) -> None:
        if line:
            for each in ("", line) if self._blank_before else (line,):
                self._say(f"{self._prefix}{each}".rstrip())
            self._told = time.monotonic()
        self._blank_before = not line

    def _tell_counted(self) -> None:
        for sign in dict.fromkeys(sign for sign, _ in self._counted):
            of_it = {kind: count for (each, kind), count in self._counted.items() if each == sign}
            kinds = ", ".join(kind if count == 1 else f"{kind} x {count}" for kind, count in sorted(of_it.items()))
            self._tell(f" {sign:2} {sum(of_it.values())} at once: {kinds}")
        self._counted.clear()

    def _break_silences(self) -> None:
        while not self._ended.wait(LOOKS_EVERY):
            with self._lock:
                if time.monotonic() - self._told >= QUIET_SECONDS:
                    self._tell_counted()
                    self._tell(f"    after {time.monotonic() - self._begun:.0f} s: {self._doing()}")

    def _doing(self) -> str:
        things = [each for each in self._under_way.values() if not each.is_pulumis_own]
        return ", ".join(f"{each.verb} {each.short_type} {each.message}".rstrip() for each in things) or "waiting still"
