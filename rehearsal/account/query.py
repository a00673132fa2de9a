"""AWS's Query protocol: requests as nested values, and values as the XML of an answer.

https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

import re
import time
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

Parameters = Mapping[str, Any]


def text(params: Parameters, key: str, default: str = "") -> str:
    """One parameter; MiniStack gives its services each value as a string or as a list of one."""
    value = params.get(key, default)
    return str((value or [default])[0] if isinstance(value, list) else value)


def nested(params: Parameters) -> dict[str, Any]:
    """`{"A.B.member.1.C": "x"}` as `{"A": {"B": [{"C": "x"}]}}`; also where `member` is left out, as EC2 does."""
    tree: dict[str, Any] = {}
    for key in params:
        node = tree
        *path, last = re.sub(r"\.member\.(\d+)", r".\1", key).split(".")
        for step in path:
            child = node.setdefault(step, {})
            node = child if isinstance(child, dict) else {}
        node[last] = text(params, key)
    return {key: _lists(value) for key, value in tree.items()}


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


def xml(value: Any, item: str = "member") -> str:
    """A value as XML: members of a mapping by their names, those of a list as `item`; what is None is left out."""
    if isinstance(value, Mapping):
        return "".join(f"<{key}>{xml(each, item)}</{key}>" for key, each in value.items() if each is not None)
    if isinstance(value, list):
        return "".join(f"<{item}>{xml(each, item)}</{item}>" for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))


def true(value: Any) -> bool:
    """A boolean of the Query protocol."""
    return str(value).lower() == "true"


def timestamp(seconds: float | None = None) -> str:
    """A moment (seconds since 1970; now if left out) as AWS writes it in XML."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
