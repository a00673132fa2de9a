"""What a rehearsal saw, step by step, and the table of it at the end."""

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rehearsal.progress import Say

WIDTH = 120


@dataclass(kw_only=True)
class Step:
    """One step: what for, what was seen, seconds it took, and whether all held (None while it is under way)."""

    name: str
    seen: list[str] = field(default_factory=list)
    seconds: float = 0
    held: bool | None = None

    def saw(self, what: str) -> None:
        """Note something for the table."""
        self.seen.append(what)


class Report:
    """The steps of a rehearsal, told as they begin."""

    def __init__(self, say: Say) -> None:
        self.steps: list[Step] = []
        self._say = say
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    @contextmanager
    def step(self, name: str, purpose: str) -> Iterator[Step]:
        """Tell what a step is for, and keep how long it takes, also where it fails."""
        step = Step(name=name)
        self.steps.append(step)
        self._say(f"\n{len(self.steps)} {name}: {purpose}")
        begun = time.monotonic()
        step.held = False
        try:
            yield step
            step.held = True
        finally:
            step.seconds = time.monotonic() - begun

    def table(self) -> str:
        """The table of all steps that began."""
        return render(self.steps, total=self.seconds)


def render(steps: Sequence[Step], *, total: float) -> str:
    """A table of steps, in plain text; what was seen is wrapped within its column."""
    names = max([len(step.name) for step in steps] + [len("total"), len("step")])
    seen_width = WIDTH - names - len("  seconds  ")
    lines = [f"{'step':{names}}  seconds  what was seen", f"{'-' * names}  -------  {'-' * seen_width}"]
    for step in steps:
        seen = "; ".join(step.seen if step.held else [*step.seen, "FAILED"])
        first, *others = textwrap.wrap(seen, seen_width, break_on_hyphens=False) or [""]
        lines.append(f"{step.name:{names}}  {step.seconds:7.1f}  {first}".rstrip())
        lines += [f"{'':{names}}  {'':7}  {line}" for line in others]
    lines.append(f"{'total':{names}}  {total:7.1f}  {duration(total)}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
