"""Who may ask the account for what, before MiniStack sees a request: it runs containers on this machine's engine.

- Every request to the API is signed, with the root key of this run, which answers on loopback alone, or with that of a
  session or an IAM user. By the Docker bridge and the address of task credentials, sessions of roles may ask.
- No web page may ask: a request from another origin is refused, so is a host name that isn't the account's own (a page
  can have its own name point here), and no answer allows one to read it.
- Without a signature, tasks get their credentials and their metadata, and whoever asked for a layer's URL the layer, by
  paths that nobody guesses. The registry asks for the password of this run.

Requests for load balancers never come here: they are everybody's, as on AWS, and reach containers only.
"""

import base64
import hmac
import os
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs

from rehearsal.account import images
from rehearsal.account.loadbalancers import Application, Receive, Scope, Send, joined_headers
from rehearsal.account.mending import Mends, ministack
from rehearsal.account.repeats import Repeats

_app = ministack("app")
_ecr = ministack("services.ecr")
_evaluator = ministack("core.iam_evaluator")
_imds = ministack("services.imds")
_metadata = ministack("services.ecs_metadata")
_sigv4 = ministack("core.sigv4")
mend = Mends()
_repeats = Repeats()

Headers = Mapping[str, str]
Failure = tuple[str, str]
"""An error of AWS: its code, and its message."""

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost", "host.docker.internal")
HEALTH = "/_ministack/health"
CREDENTIALS, METADATA = "/v2/credentials/", "/v4/"
_UNKNOWN_KEY = ("UnrecognizedClientException", "The security token included in the request is invalid.")


def foreign(method: str, headers: Headers, addresses: Collection[str]) -> str | None:
    """Why a request comes from a web page, or through a name that isn't the account's; None where it doesn't."""
    if "origin" in headers or method == "OPTIONS":
        return "The rehearsal's AWS account answers no web page."
    host = headers.get("host", "")
    if re.sub(r":\d+$", "", host).lower() not in {*NAMES, *addresses}:
        return f"The rehearsal's AWS account has no such name: {host}"
    return None


def unauthenticated(
    method: str, raw_path: str, query: Mapping[str, list[str]], headers: Headers, body: bytes, *, inside: bool
) -> Failure | None:
    """Why a request's signature isn't a known key's, or its key may not ask from there; None where all is well.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    if {name.lower() for name in query} & {"x-amz-credential", "x-amz-signature", "awsaccesskeyid"}:
        return "AccessDenied", "This rehearsal takes credentials in the Authorization header alone."
    if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        return "MissingAuthenticationToken", "Request is missing Authentication Token"
    signature = _sigv4.parse_header_signature(headers)
    if isinstance(signature, tuple):
        return signature[0], signature[1]
    token = headers.get("x-amz-security-token", "")
    credential = _evaluator.resolve_credential(signature.access_key_id, session_token=token)
    if isinstance(credential, _evaluator.CredentialResolutionError):
        return credential.code, credential.message
    if inside and credential.principal_type != "AssumedRole":
        return _UNKNOWN_KEY
    wrong: Failure | None = _sigv4.request_time_failure(signature) or _sigv4.header_signature_failure(
        signature, credential.secret_access_key, method, raw_path, query, headers, body
    )
    return wrong


def knows_password(headers: Headers) -> bool:
    """Whether a request to the registry has the password that GetAuthorizationToken gives."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    wanted = base64.b64encode(f"{images.USER}:{images.PASSWORD}".encode())
    return kind.lower() == "basic" and hmac.compare_digest(given.strip().encode(), wanted)


def front(app: Application, addresses: Collection[str]) -> Application:
    """The account's application, behind all of this; `addresses` are those that it listens at, beside loopback."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "http":
            await _serve(app, addresses, scope, receive, _without_cors(send))
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    return serve


async def _serve(app: Application, addresses: Collection[str], scope: Scope, receive: Receive, send: Send) -> None:
    method, path, headers = scope["method"], scope["path"], joined_headers(scope)
    inside = (scope.get("server") or ("",))[0] != LOOPBACK
    if reason := foreign(method, headers, addresses):
        await _answer(send, (403, {"Content-Type": "text/plain"}, f"{reason}\n".encode()))
    elif method == "GET" and path == HEALTH and not inside:
        await _answer(send, (200, {"Content-Type": "text/plain"}, b"It answers.\n"))
    elif method == "GET" and path.startswith((CREDENTIALS, METADATA)):
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
        service = _imds if path.startswith(CREDENTIALS) else _metadata
        await _answer(send, await service.handle_request(method, path, {}, b"", {}))
    elif method == "GET" and path.startswith(images.LAYERS):
        await _answer(send, images.layer(path))
    elif _app._is_ecr_registry_path(path):
        if inside or not knows_password(headers):
            refused = _ecr._registry_error(401, "UNAUTHORIZED", "no basic auth credentials", {})
            refused[1]["WWW-Authenticate"] = 'Basic realm="Amazon ECR",service="ecr.amazonaws.com"'
            await _answer(send, refused)
        else:
            kept = [each for each in scope["headers"] if each[0].lower() != b"authorization"]
            await app({**scope, "headers": kept}, receive, send)
    else:
        await _serve_signed(app, scope, receive, send, inside=inside)


async def _serve_signed(app: Application, scope: Scope, receive: Receive, send: Send, *, inside: bool) -> None:
    headers, body = joined_headers(scope), await _body(receive)
    if body is None:
        return
    raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    failure = unauthenticated(scope["method"], raw_path, query, headers, body, inside=inside)
    # What MiniStack offers its own users beside AWS's API resets and reconfigures it.
    if failure is None and scope["path"].startswith(("/_ministack", "/_localstack", "/_aws")):
        failure = ("AccessDenied", "This rehearsal has AWS's API alone.")
    if failure is not None:
        service = (re.findall(r"Credential=[^/,]+/\d+/[\w-]*/([\w-]+)/", headers.get("authorization", "")) or [""])[0]
        await _answer(send, _app._credential_failure(service, "", "", _evaluator.AuthError(*failure), headers))
        return
    whole = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return whole.pop() if whole else await receive()

    await _repeats.serve(app, scope, replay, send, headers=headers, body=body)


async def _body(receive: Receive) -> bytes | None:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, answer: tuple[int, dict[str, str], Any]) -> None:
    await _app._send_response(_app._with_date_header(send), *answer)


def _without_cors(send: Send) -> Send:
    async def stripped(message: Any) -> None:
        if "headers" in message:
            kept = [each for each in message["headers"] if not each[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return stripped


@mend.replaces(_evaluator, "is_root_access_key")
def one_root_key(_original: Any, access_key_id: str) -> bool:
    """The account's root has the key of this run, and no other: MiniStack has some that are in its documentation.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user.html
    """
    return access_key_id == os.environ["AWS_ACCESS_KEY_ID"]
