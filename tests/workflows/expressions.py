"""GitHub's expressions, as far as the workflows use them: `${{ vars.X != '' && inputs.y }}`.

https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Contexts = Mapping[str, Any]

STATUS_FUNCTIONS = {"success", "failure", "always", "cancelled"}

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w.-]*)|(?P<sign>==|!=|&&|\|\||[!(),]))")
_EMBEDDED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class ExpressionError(Exception):
    """What the evaluator doesn't know; GitHub may."""


def evaluate(expression: str, contexts: Contexts, *, status: str = "success") -> Any:
    """Return the value of an expression; what a known context lacks is "", as GitHub's null is in a text.

    `status` is how the job's steps went so far: success, failure or cancelled.
    """
    parser = _Parser(_tokens(expression), contexts, status)
    value = parser.alternatives()
    if parser.tokens:
        raise ExpressionError(f"{expression}: {parser.tokens[0]} is left over")
    return value


def holds(condition: str, contexts: Contexts, *, status: str = "success") -> bool:
    """Return whether an `if:` holds; without a status function, it holds only where nothing failed before."""
    inner = _EMBEDDED.fullmatch(condition.strip())
    expression = inner[1] if inner else condition
    if status != "success" and not any(f"{name}()" in expression for name in STATUS_FUNCTIONS):
        return False
    return bool(evaluate(expression, contexts, status=status))


def filled_in(text: str, contexts: Contexts) -> Any:
    """Return a text with its expressions' values; the value itself where it is one expression and nothing else."""
    if whole := re.fullmatch(r"\$\{\{((?:(?!\}\}).)*)\}\}", text, re.DOTALL):
        return evaluate(whole[1], contexts)
    return _EMBEDDED.sub(lambda found: str(evaluate(found[1], contexts)), text)


def _tokens(expression: str) -> list[str]:
    tokens, position = [], 0
    expression = expression.strip()
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if not match:
            raise ExpressionError(f"{expression}: can't be read from {expression[position:]!r}")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[str], contexts: Contexts, status: str) -> None:
        self.tokens = tokens
        self._contexts = contexts
        self._status = status

    def alternatives(self) -> Any:
        value = self._conjunction()
        while self._take("||"):
            other = self._conjunction()
            value = value or other
        return value

    def _conjunction(self) -> Any:
        value = self._comparison()
        while self._take("&&"):
            other = self._comparison()
            value = value and other
        return value

    def _comparison(self) -> Any:
        value = self._single()
        while self.tokens[:1] in (["=="], ["!="]):
            is_equal = self.tokens.pop(0) == "=="
            other = self._single()
            value = (_comparable(value) == _comparable(other)) is is_equal
        return value

    def _single(self) -> Any:
        if self._take("!"):
            return not self._single()
        if self._take("("):
            value = self.alternatives()
            self._need(")")
            return value
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self._take("("):
            arguments = [] if self.tokens[:1] == [")"] else [self.alternatives()]
            self._need(")")
            return self._call(token, arguments)
        return self._look_up(token)

    def _call(self, name: str, arguments: list[Any]) -> Any:
        functions: Mapping[str, Callable[..., Any]] = {
            "fromJSON": json.loads,
            "always": lambda: True,
            "success": lambda: self._status == "success",
            "failure": lambda: self._status == "failure",
            "cancelled": lambda: self._status == "cancelled",
        }
        if name not in functions:
            raise ExpressionError(f"{name} is no function that is known here")
        return functions[name](*arguments)

    def _look_up(self, path: str) -> Any:
        root, *parts = path.split(".")
        if root not in self._contexts:
            raise ExpressionError(f"{path}: the test gives no context {root}")
        value = self._contexts[root]
        for part in parts:
            value = value.get(part, "") if isinstance(value, Mapping) else ""
        return value

    def _take(self, token: str) -> bool:
        if self.tokens[:1] == [token]:
            self.tokens.pop(0)
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise ExpressionError(f"{token} is missing before {self.tokens}")


def _comparable(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
