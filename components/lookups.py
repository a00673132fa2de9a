"""Finds what must exist before anything is created.

All look-ups are under way at once, and the program waits for all of them before it declares a resource: where something
is missing, one error names everything that is, and nothing has been created.
"""

import asyncio
import re
from collections.abc import Awaitable, Iterable
from typing import Any, Generic, TypeVar

import pulumi
import pulumi_aws as aws
from pulumi.runtime.sync_await import _sync_await  # what pulumi's own blocking look-ups wait with

T = TypeVar("T")

_WRAPPING = re.compile(r"^(\* )?(invoke of \S+ failed: )?(invocation of \S+ returned an error: )?(\[\] )?")


class Missing(pulumi.RunError):
    """What must exist and doesn't; Pulumi shows the text and no traceback."""


class Unfit(Exception):
    """What was found won't do; the text says why, and what to do, as a line of the error."""


class LookUp(Generic[T]):
    """Something to find; `missing` says what is wrong, and what to do, where it isn't there or the answer is None."""

    def __init__(self, answer: Awaitable[T | None], *, missing: str) -> None:
        self._answer = answer
        self._missing = missing
        self._found: list[T] = []

    @property
    def value(self) -> T:
        """What was found, once `find_all` has returned."""
        return self._found[0]

    async def problem(self) -> str | None:
        """Wait for the answer; return what is wrong in one line, or None."""
        try:
            value = await self._answer
        except Unfit as unfit:
            return str(unfit)
        except Exception as error:  # noqa: BLE001 the engine has no narrower class for a failed look-up
            return f"{self._missing} (AWS: {_reason(error)})"
        if value is None:
            return self._missing
        self._found.append(value)
        return None


def find_all(lookups: Iterable[LookUp[Any]]) -> None:
    """Wait until every look-up is answered; raises Missing, which names all that were not found."""

    async def problems() -> list[str | None]:
        return await asyncio.gather(*(lookup.problem() for lookup in lookups))

    missing = [problem for problem in _sync_await(problems()) if problem]
    if missing:
        raise Missing("\n".join(["What must exist was not found; nothing was changed:", *(f"  {m}" for m in missing)]))


async def ask(provider: aws.Provider, function: str, answer: type[T], **arguments: object) -> T:
    """Ask a function of the provider, such as `aws:route53/getZone:getZone`, with arguments spelled as in its schema.

    The functions of pulumi_aws would do, but where one fails in its Output form, Pulumi ends with its traceback instead
    of our error, and in its blocking form one look-up waits for another.
    """
    options = pulumi.InvokeOptions(provider=provider)
    found: T = await pulumi.runtime.invoke_async(function, arguments, options, answer)
    return found


def _reason(error: Exception) -> str:
    """Return the provider's own words, without the engine's wrapping around them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _WRAPPING.sub("", lines[-1]).rstrip(":") if lines else type(error).__name__
