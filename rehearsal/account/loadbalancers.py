"""Application Load Balancers: what they keep, what they refuse, and how requests reach their targets.

A request is for a load balancer by its Host header: the load balancer's DNS name, or a name with an alias record to it.
Its port there tells the listener (`Host: NAME:443`); without one it is the first listener.
"""
# ruff: noqa: PLR0917 - a mend takes the parameters of what it replaces

import itertools
import json
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from rehearsal.account import targets
from rehearsal.account.mending import OK, Mends, ministack
from rehearsal.account.query import Parameters, nested, text, xml

_alb = ministack("services.alb")
_acm = ministack("services.acm")
_app = ministack("app")
_ec2 = ministack("services.ec2")
_responses = ministack("core.responses")
_route53 = ministack("services.route53")
mend = Mends()

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# --- which load balancer a request is for ---


def alias_target(name: str, kind: str = "A") -> str | None:
    """The DNS name that an alias record of this name and type (`A`, `AAAA`) points to, or None.

    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html
    """
    for records in list(_route53._records._data.values()):
        for record in records:
            if record["Name"].rstrip(".").lower() == name and record["Type"] == kind and "AliasTarget" in record:
                return str(record["AliasTarget"]["DNSName"]).rstrip(".").lower()
    return None


def load_balancer(host: str) -> tuple[str, str, dict[str, Any]] | None:
    """Account, region and record of the load balancer that a Host header names."""
    name = host.rsplit(":", 1)[0].rstrip(".").lower()
    wanted = (alias_target(name) or alias_target(name, "AAAA") or name).removeprefix("dualstack.")
    for (account, region, _), found in list(_alb._lbs._data.items()):
        if found["DNSName"].lower() == wanted:
            return account, region, found
    return None


def in_zone(host: str) -> bool:
    """Whether a Host header is a name in one of the account's hosted zones."""
    name = "." + host.rsplit(":", 1)[0].rstrip(".").lower()
    return any(name.endswith("." + zone["name"].rstrip(".").lower()) for zone in list(_route53._zones._data.values()))


def listens(balancer: Mapping[str, Any], host: str) -> bool:
    """Whether a load balancer listens on the port in a Host header; none, or this account's own, stands for any."""
    port = host.rpartition(":")[2]
    if not port.isdigit() or port == os.environ["GATEWAY_PORT"]:
        return True
    listeners = list(_alb._listeners._data.values())
    return any(
        str(each["Port"]) == port and each["LoadBalancerArn"] == balancer["LoadBalancerArn"] for each in listeners
    )


def front(app: Application) -> Application:
    """The account's application, with requests for load balancers answered before it sees them."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        headers = joined_headers(scope) if scope["type"] == "http" else {}
        host = headers.get("host", "")
        found = load_balancer(host)
        if found is None and not in_zone(host):
            await app(scope, receive, send)
        elif found is None or not listens(found[2], host):
            message = f"No load balancer listens at {host}.\n".encode()
            await _app._send_response(_app._with_date_header(send), 404, {"Content-Type": "text/plain"}, message)
        else:
            account, region, balancer = found
            with _responses.request_scope(account, region):
                await _answer(balancer, headers, scope, receive, _app._with_date_header(send))

    return serve


def joined_headers(scope: Scope) -> dict[str, str]:
    """A request's headers by their names in lower case; one that comes twice has both values."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joint = "; " if name == "cookie" else ", "
        headers[name] = headers[name] + joint + value if name in headers else value
    return headers


def valid_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers whose names a load balancer lets pass that drops invalid ones.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
    """
    return {name: value for name, value in headers.items() if re.fullmatch(r"[-A-Za-z0-9]+", name)}


async def _answer(
    balancer: Mapping[str, Any], headers: dict[str, str], scope: Scope, receive: Receive, send: Send
) -> None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if _alb._lb_attr(balancer["LoadBalancerArn"], "routing.http.drop_invalid_header_fields.enabled", "") == "true":
        headers = valid_headers(headers)
    port = headers["host"].rpartition(":")[2]
    query = scope.get("query_string", b"").decode("latin-1")
    status, answered, content = await _alb.dispatch_request(
        balancer,
        scope["method"],
        scope["path"],
        headers,
        body,
        parse_qs(query, keep_blank_values=True),
        int(port) if port.isdigit() else 0,
        client_ip=(scope.get("client") or ("127.0.0.1",))[0],
        raw_query_string=query,
        raw_path=scope["raw_path"].decode("latin-1") if scope.get("raw_path") else None,
    )
    head = scope["method"] == "HEAD"
    if isinstance(content, _responses.StreamingResponse):
        await _app._send_streaming_response(send, receive, status, answered, content)
    else:
        await _app._send_response(send, status, answered, content, head=head)


# --- how it reaches a target ---

_OF_CONNECTION = ("connection", "keep-alive")
_turns: dict[str, Iterator[int]] = {}
_NO_TARGET = b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"


@mend.replaces(_alb, "_forward_to_tg")
async def forward(
    original: Any,
    tg_arn: str,
    method: str,
    path: str,
    headers: Any,
    body: Any,
    query_params: Any,
    raw_query_string: Any = None,
    raw_path: Any = None,
) -> Any:
    """Requests go to targets that are ready, in turn; without one the answer is 503.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-503-issues
    """
    group = _alb._tgs.get(tg_arn)
    if group is None or group["TargetType"] == "lambda":
        return await original(tg_arn, method, path, headers, body, query_params, raw_query_string, raw_path)
    ready = targets.ready(tg_arn)
    if not ready:
        return 503, {"Content-Type": "text/html"}, _NO_TARGET
    chosen = ready[next(_turns.setdefault(tg_arn, itertools.count())) % len(ready)]
    target = {"Id": chosen.host, "Port": chosen.host_port}
    status, answered, content = await _alb._proxy_http_target(
        target, group, method, raw_path or path, headers, body, query_params, raw_query_string
    )
    # What the target says of its connection is not about the client's.
    return status, {name: value for name, value in answered.items() if name not in _OF_CONNECTION}, content


# --- what it keeps ---


@mend.replaces(_alb, "_parse_actions")
def parse_actions(original: Any, params: Parameters, prefix: str = "DefaultActions") -> Any:
    """A forward action may name several target groups, with weights.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ForwardActionConfig.html
    """
    actions = original(params, prefix)
    for action, asked in zip(actions, nested(params).get(prefix) or [], strict=False):
        if config := asked.get("ForwardConfig"):
            action["ForwardConfig"] = config
            if len(config["TargetGroups"]) == 1:
                action.setdefault("TargetGroupArn", config["TargetGroups"][0]["TargetGroupArn"])
    return actions


@mend.replaces(_alb, "_action_xml")
def action_xml(original: Any, a: Mapping[str, Any]) -> Any:
    """A forward action is described with its target groups and their weights.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Action.html
    """
    if a["Type"] != "forward":
        return original(a)
    config = a.get("ForwardConfig") or {"TargetGroups": [{"TargetGroupArn": a["TargetGroupArn"]}]}
    shown = {
        "TargetGroups": [{"Weight": 1, **each} for each in config["TargetGroups"]],
        "TargetGroupStickinessConfig": config.get("TargetGroupStickinessConfig", {"Enabled": False}),
    }
    return str(original(a)).removesuffix("</member>") + xml({"ForwardConfig": shown}) + "</member>"


@mend.replaces(_alb, "_execute_action")
async def execute_action(
    original: Any,
    action: Mapping[str, Any],
    method: str,
    path: str,
    headers: Any,
    body: Any,
    query_params: Any,
    raw_query_string: Any = None,
    raw_path: Any = None,
) -> Any:
    """A forward action with several target groups takes one by weight.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html
    """
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups", [])
    weights = [int(each.get("Weight", 1)) for each in groups]
    if sum(weights):
        action = {**action, "TargetGroupArn": random.choices(groups, weights)[0]["TargetGroupArn"]}  # noqa: S311
    return await original(action, method, path, headers, body, query_params, raw_query_string, raw_path)


@mend.replaces(_alb, "_create_tg")
def create_target_group(original: Any, params: Parameters) -> Any:
    """A target group keeps its protocol version and address type.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
    """
    answer = original(params)
    if answer[0] != OK:
        return answer
    group = next(each for each in _alb._tgs.values() if each["TargetGroupName"] == text(params, "Name"))
    if group["Protocol"] in ("HTTP", "HTTPS") and group["TargetType"] != "lambda":
        group["ProtocolVersion"] = text(params, "ProtocolVersion", "HTTP1")
    group["IpAddressType"] = text(params, "IpAddressType", "ipv4")
    return _alb._xml(200, "CreateTargetGroup", f"<TargetGroups>{_alb._tg_xml(group)}</TargetGroups>")


@mend.replaces(_alb, "_tg_xml")
def target_group_xml(original: Any, tg: dict[str, Any]) -> Any:
    """A target group is described with its protocol version and address type, and the load balancers that use it now.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroup.html
    """
    arn = tg["TargetGroupArn"]
    rules = [each["ListenerArn"] for each in _alb._rules.values() if arn in json.dumps(each["Actions"])]
    tg["LoadBalancerArns"] = sorted(
        {_alb._listeners[each]["LoadBalancerArn"] for each in rules if each in _alb._listeners}
    )
    more = {key: tg.get(key) for key in ("ProtocolVersion", "IpAddressType")}
    return str(original(tg)).removesuffix("</member>") + xml(more) + "</member>"


@mend.replaces(_alb, "_create_lb")
def create_load_balancer(original: Any, params: Parameters) -> Any:
    """A load balancer is in the VPC of its subnets, by whichever way they were named.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
    """
    answer = original(params)
    if answer[0] != OK:
        return answer
    balancer = next(each for each in _alb._lbs.values() if each["LoadBalancerName"] == text(params, "Name"))
    asked = nested(params)
    balancer["Subnets"] = balancer["Subnets"] or [each["SubnetId"] for each in asked.get("SubnetMappings", [])]
    for subnet in balancer["Subnets"]:
        balancer["VpcId"] = (_ec2._subnets.get(subnet) or {}).get("VpcId", balancer["VpcId"])
    return _alb._xml(200, "CreateLoadBalancer", f"<LoadBalancers>{_alb._lb_xml(balancer)}</LoadBalancers>")


@mend.replaces(_alb, "_lb_xml")
def load_balancer_xml(original: Any, lb: Mapping[str, Any]) -> Any:
    """A load balancer's zones are those of its subnets.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AvailabilityZone.html
    """
    shown = str(original(lb))
    for subnet in lb["Subnets"]:
        zone = (_ec2._subnets.get(subnet) or {}).get("AvailabilityZone")
        if zone:
            pattern = rf"<ZoneName>[\w-]+</ZoneName>(?=<SubnetId>{subnet}<)"
            shown = re.sub(pattern, f"<ZoneName>{zone}</ZoneName>", shown)
    return shown


# --- what it refuses ---


@mend.replaces(_alb, "_delete_tg")
def keep_used_target_group(original: Any, params: Parameters) -> Any:
    """A target group that a listener or rule forwards to can't be deleted, and one that is gone is deleted.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeleteTargetGroup.html
    """
    arn = text(params, "TargetGroupArn")
    if arn not in _alb._tgs:
        return _alb._empty("DeleteTargetGroup")
    if targets.in_use(arn):
        return _alb._error("ResourceInUse", f"Target group '{arn}' is currently in use by a listener or a rule")
    return original(params)


@mend.replaces(_alb, "_create_listener")
def check_listener(original: Any, params: Parameters) -> Any:
    """One listener a port, and none with HTTPS without a certificate that exists; the same once more is no error.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html
    """
    if existing := _listener(params):
        if existing.get("_asked") == dict(params):
            return _alb._xml(OK, "CreateListener", f"<Listeners>{_alb._listener_xml(existing)}</Listeners>")
        return _alb._error("DuplicateListener", "A listener already exists on this port for this load balancer")
    if refused := _certificate_refusal(params, text(params, "Protocol")):
        return refused
    if refused := _missing_group(_alb._parse_actions(params, "DefaultActions")):
        return refused
    answer = original(params)
    if created := _listener(params):
        created["_asked"] = dict(params)
    return answer


def _listener(params: Parameters) -> Any:
    """The listener on the load balancer and port that are asked for, or None."""
    balancer, port = text(params, "LoadBalancerArn"), text(params, "Port")
    found = (each for each in _alb._listeners.values() if each["LoadBalancerArn"] == balancer)
    return next((each for each in found if str(each["Port"]) == port), None)


@mend.replaces(_alb, "_modify_listener")
def check_modified_listener(original: Any, params: Parameters) -> Any:
    """A changed listener is checked like a new one.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyListener.html
    """
    listener = _alb._listeners.get(text(params, "ListenerArn")) or {}
    # A listener keeps its certificate where the change names none.
    protocol = "" if listener.get("Certificates") else text(params, "Protocol")
    if refused := _certificate_refusal(params, protocol):
        return refused
    if refused := _missing_group(_alb._parse_actions(params, "DefaultActions")):
        return refused
    return original(params)


def _certificate_refusal(params: Parameters, protocol: str) -> Any:
    arns = _alb._parse_certificate_arns(params)
    if protocol == "HTTPS" and not arns:
        return _alb._error("ValidationError", "A certificate must be specified for HTTPS listeners")
    for arn in arns:
        if ":acm:" in arn and arn not in _acm._certificates:
            return _alb._error("CertificateNotFound", f"Certificate '{arn}' not found")
    return None


def _missing_group(actions: list[dict[str, Any]]) -> Any:
    for action in actions:
        named = [each["TargetGroupArn"] for each in (action.get("ForwardConfig") or {}).get("TargetGroups", [])]
        for arn in [action["TargetGroupArn"], *named] if "TargetGroupArn" in action else named:
            if arn not in _alb._tgs:
                return _alb._error("TargetGroupNotFound", f"Target groups '{arn}' not found")
    return None


@mend.replaces(_alb, "_create_rule")
def check_rule(original: Any, params: Parameters) -> Any:
    """A listener's rules have different priorities.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateRule.html
    """
    listener, priority = text(params, "ListenerArn"), text(params, "Priority")
    if any(each["ListenerArn"] == listener and str(each["Priority"]) == priority for each in _alb._rules.values()):
        return _alb._error("PriorityInUse", f"Priority '{priority}' is currently in use")
    return original(params)


@mend.replaces(_alb, "_delete_lb")
def delete_load_balancer(original: Any, params: Parameters) -> Any:
    """A load balancer goes with its listeners and rules, and not at all where it is protected.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeleteLoadBalancer.html
    """
    arn = text(params, "LoadBalancerArn")
    if _alb._lb_attr(arn, "deletion_protection.enabled", "false") == "true":
        message = f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        return _alb._error("OperationNotPermitted", message)
    for listener in [each["ListenerArn"] for each in _alb._listeners.values() if each["LoadBalancerArn"] == arn]:
        _alb._delete_listener({"ListenerArn": listener})
    return original(params)


# --- DNS ---


@mend.replaces(_route53, "handle_request")
async def test_dns_answer(
    original: Any, method: str, path: str, headers: Any, body: Any, query_params: Parameters
) -> Any:
    """TestDNSAnswer: what Route 53 would answer. A load balancer's address is this machine's loopback.

    https://docs.aws.amazon.com/Route53/latest/APIReference/API_TestDNSAnswer.html
    """
    if method != "GET" or not path.endswith("/testdnsanswer"):
        return await original(method, path, headers, body, query_params)
    zone = text(query_params, "hostedzoneid").rsplit("/", 1)[-1]
    name, kind = text(query_params, "recordname").rstrip(".").lower(), text(query_params, "recordtype")
    if zone not in _route53._zones:
        return _route53._error_response("NoSuchHostedZone", f"No hosted zone found with ID: {zone}", 404)
    records = [each for each in _route53._records.get(zone) or [] if each["Name"].rstrip(".").lower() == name]
    shown = {
        "Nameserver": "127.0.0.1",
        "RecordName": name + ".",
        "RecordType": kind,
        "RecordData": _record_data(name, kind, records),
        "ResponseCode": "NOERROR" if records else "NXDOMAIN",
        "Protocol": "UDP",
    }
    answer = xml(shown, "RecordDataEntry")
    namespace = "https://route53.amazonaws.com/doc/2013-04-01/"
    content = f'<?xml version="1.0"?><TestDNSAnswerResponse xmlns="{namespace}">{answer}</TestDNSAnswerResponse>'
    return 200, {"Content-Type": "text/xml"}, content.encode()


def _record_data(name: str, kind: str, records: list[dict[str, Any]]) -> list[str]:
    if alias_target(name, kind):
        found = load_balancer(name)
        dual = found is not None and found[2].get("IpAddressType") != "ipv4"
        addresses = {"A": ["127.0.0.1"], "AAAA": ["::1"] if dual else []}
        return addresses.get(kind, []) if found else []
    values = [each.get("ResourceRecords", []) for each in records if each["Type"] == kind]
    return [str(each["Value"] if isinstance(each, Mapping) else each) for each in itertools.chain(*values)]
