"""What `pulumi` prints as it works, without a terminal: a line where an operation begins, and one where it ends.

Of some fifty operations most end in a moment. Those are counted in one line; what takes longer, fails or has a message is
shown as Pulumi says it, and while nothing is printed, a line now and then says what is under way.
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
    return sorted({each.type for each in found if not each.type.startswith(("pulumi:", "booklink:"))})


class Progress:
    """Shows what Pulumi prints, each line after `prefix`. A context: it has a thread that breaks long silences."""

    def __init__(self, say: Say, *, prefix: str = "  ") -> None:
        self._say = say
        self._prefix = prefix
        self._lock = threading.Lock()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._under_way: dict[str, Operation] = {}
        self._begun = self._told = time.monotonic()
        self._is_blank = False
        self._ended = threading.Event()

    def __enter__(self) -> "Progress":
        threading.Thread(target=self._break_silences, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        with self._lock:
            self._tell_counted()

    def line(self, line: str) -> None:
        """Take the next line that Pulumi printed."""
        with self._lock:
            operation = Operation.parse(line)
            if operation and not operation.ended and not operation.message:
                self._under_way[f"{operation.type} {operation.name}"] = operation
                return
            if operation and operation.ended:
                self._under_way.pop(f"{operation.type} {operation.name}", None)
                if (operation.seconds or 0) < 1 and not operation.message:
                    self._counted[operation.sign, operation.short_type] += 1
                    return
            self._tell_counted()
            self._tell(line.rstrip())

    def _tell(self, line: str) -> None:
        if line or not self._is_blank:
            self._say(f"{self._prefix}{line}".rstrip())
        self._is_blank = not line
        self._told = time.monotonic()

    def _tell_counted(self) -> None:
        for sign in dict.fromkeys(sign for sign, _ in self._counted):
            of_it = {kind: count for (each, kind), count in self._counted.items() if each == sign}
            kinds = ", ".join(kind if count == 1 else f"{kind} x {count}" for kind, count in sorted(of_it.items()))
            self._tell(f" {sign:2} {sum(of_it.values())} in a moment: {kinds}")
        self._counted.clear()

    def _break_silences(self) -> None:
        while not self._ended.wait(1):
            with self._lock:
                if time.monotonic() - self._told >= QUIET_SECONDS:
                    self._tell_counted()
                    doing = ", ".join(f"{each.short_type} {each.verb}" for each in self._under_way.values())
                    self._tell(f"    after {time.monotonic() - self._begun:.0f} s: {doing or 'waiting'}")
