"""Answers a request that an SDK sends again as it was answered the first time, and does nothing twice.

An SDK sends a request again where the answer was lost on its way; on a busy machine that happens here more than on AWS.
All tries of one call have one invocation ID.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from rehearsal.account.loadbalancers import Application, Receive, Scope, Send

_logger = logging.getLogger("account")

KEPT = 500
"""Answers that are kept: a second try comes within seconds."""

SERVER_ERRORS = 500

Messages = list[dict[str, Any]]


class Repeats:
    """The answers of the last calls, by who asked what; one that is still to come is waited for."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, asyncio.Future[Messages | None]] = OrderedDict()

    async def serve(
        self, app: Application, scope: Scope, receive: Receive, send: Send, *, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Serve a request whose signature is right; a failure of the account's own is no answer."""
        invocation = headers.get("amz-sdk-invocation-id")
        if not invocation:
            await app(scope, receive, send)
            return
        call = _call(invocation, scope, headers, body)
        if call in self._answers and (answer := await asyncio.shield(self._answers[call])) is not None:
            _logger.error("%s came again, and is answered as before", call)
            for message in answer:
                await send(message)
            return
        self._answers[call] = coming = asyncio.get_running_loop().create_future()
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        answer = []

        async def recorded(message: Any) -> None:
            answer.append(message)
            await send(message)

        try:
            await app(scope, receive, recorded)
        finally:
            complete = answer and answer[0].get("status", SERVER_ERRORS) < SERVER_ERRORS
            coming.set_result(answer if complete and not answer[-1].get("more_body") else None)


def _call(invocation: str, scope: Scope, headers: Mapping[str, str], body: bytes) -> str:
    """Return what a call is known by: nobody gets another's answer, nor that to another question."""
    asked = [scope["method"], scope["path"], scope.get("query_string", b""), body]
    credential = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0]
    digest = hashlib.sha256(repr(asked).encode()).hexdigest()
    return f"{credential} {invocation} {digest[:16]}"
