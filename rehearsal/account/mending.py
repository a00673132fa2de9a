"""How MiniStack is mended: every mend names the function that it replaces, and takes it as its first argument.

    mend = Mends()

    @mend.replaces(alb, "_delete_tg")
    def keep_used_target_groups(original, params): ...

    mend()    # checks all of this module's mends, then puts them in place

A mend's further parameters are those of the function that it replaces. Where MiniStack has another version than the one
that the mends were written for, or a function is gone or takes other parameters, `mend()` raises `Changed` with all
differences in one message, and changes nothing.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar

MINISTACK = "1.5.33"
OK = 200
"""The status, first of three, of an answer of MiniStack that did what it was asked for."""
Function = TypeVar("Function", bound=Callable[..., Any])


class Changed(Exception):
    """MiniStack is not the one that the mends were written for."""


def ministack(module: str) -> Any:
    """A module of MiniStack, by its name below `ministack`. It has no types: this is the one place that says so."""
    return importlib.import_module(f"ministack.{module}")


def parameters(function: Callable[..., Any]) -> list[str]:
    """The parameters of a function in order, as `name`, `*name`, `**name`, or `name=` where it has a default."""
    marks: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        marks.get(each.kind, "") + each.name + ("" if each.default is inspect.Parameter.empty else "=")
        for each in inspect.signature(function).parameters.values()
    ]


class Mends:
    """The mends of one module. Called, it puts them in place; a second call does nothing."""

    def __init__(self) -> None:
        self._replacements: list[tuple[Any, str, Callable[..., Any]]] = []
        self._actions: list[tuple[Any, str, Callable[..., Any]]] = []
        self._afterwards: list[Callable[[], None]] = []
        self._done = False

    def replaces(self, module: Any, name: str) -> Callable[[Function], Function]:
        """The decorated function stands in for `module.name`, wherever MiniStack holds that function."""

        def register(mend: Function) -> Function:
            self._replacements.append((module, name, mend))
            return mend

        return register

    def adds(self, module: Any, action: str) -> Callable[[Function], Function]:
        """The decorated function answers an API action that MiniStack's service `module` doesn't know."""

        def register(mend: Function) -> Function:
            self._actions.append((module, action, mend))
            return mend

        return register

    def afterwards(self, step: Callable[[], None]) -> Callable[[], None]:
        """The decorated function runs once, when the mends are in place and the account's scope is set."""
        self._afterwards.append(step)
        return step

    def differences(self) -> list[str]:
        """What of MiniStack is otherwise than these mends expect, a sentence each."""
        found = [] if version("ministack") == MINISTACK else [f"its version is {version('ministack')}"]
        for module, name, mend in self._replacements:
            original = getattr(module, name, None)
            if original is None:
                found.append(f"{module.__name__}.{name} is gone")
            elif parameters(original) != parameters(mend)[1:]:
                found.append(f"{module.__name__}.{name} takes ({', '.join(parameters(original))})")
        found += [
            f"{module.__name__} answers {action} by itself"
            for module, action, _ in self._actions
            if action in module._ACTION_MAP
        ]
        return found

    def __call__(self) -> None:
        """Put the mends in place.

        Raises:
            Changed: MiniStack differs from what they were written for; nothing was changed.
        """
        if self._done:
            return
        if found := self.differences():
            raise Changed(
                f"The account's mends are for MiniStack {MINISTACK} (pip install ministack=={MINISTACK}): "
                + "; ".join(found)
                + "."
            )
        for module, name, mend in self._replacements:
            _put(getattr(module, name), functools.partial(mend, getattr(module, name)))
        for module, action, mend in self._actions:
            module._ACTION_MAP[action] = mend
        for step in self._afterwards:
            step()
        self._done = True


def _put(original: Callable[..., Any], mend: functools.partial[Any]) -> None:
    """Put a mend wherever a loaded MiniStack module holds the original: by name, or in one of its tables of actions."""
    functools.update_wrapper(mend, original)
    for module in [each for name, each in list(sys.modules.items()) if name.split(".")[0] == "ministack"]:
        for holder in [vars(module), *(each for each in vars(module).values() if isinstance(each, dict))]:
            for key in [key for key, held in holder.items() if held is original]:
                holder[key] = mend
