"""An engine that creates nothing: it runs a program to its end, records what it asked for, and answers as AWS would.

What AWS assigns and components compose (ARNs, IDs, DNS names) it assigns too, or a test could only compare `None` with
`None`. What it doesn't know it refuses, so that a new resource or look-up can't pass unseen.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc  # type: ignore[import-untyped] # it has no types
import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import engine_pb2

from tests.unit.aws_answers import ANSWERS, ASSIGNED

PROJECT = "booklink-backend"
STACK_TYPE = "pulumi:pulumi:Stack"

_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # how Pulumi's wire format marks a secret
_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
"""https://www.pulumi.com/docs/iac/using-pulumi/extending-pulumi/build-a-provider/ (the special signature key)"""


class AwsError(grpc.RpcError):  # type: ignore[misc] # nor has its class
    """What the engine passes on where a look-up finds nothing, in the AWS provider's wording."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._details = f"invocation of aws:module/function:function returned an error: 1 error occurred:\n\t* {reason}"

    def code(self) -> object:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._details


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource that a program asked for, with plain inputs in the provider's own spelling, and its options."""

    type: str
    name: str
    urn: str
    parent: str
    provider: str
    inputs: dict[str, Any]
    secret_inputs: frozenset[str]
    outputs: dict[str, Any]
    depends_on: frozenset[str]
    ignore_changes: list[str]
    aliases: list[str]
    create_timeout: str
    protect: bool
    retain_on_delete: bool

    @property
    def is_component(self) -> bool:
        return self.type.startswith("booklink:")

    @property
    def parent_type(self) -> str:
        """The type of the resource that it is a child of, such as `booklink:backend:Network`."""
        return self.parent.split("::")[2].rsplit("$", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """A look-up that a program asked for."""

    token: str
    arguments: dict[str, Any]
    provider: str


@dataclass(kw_only=True)
class Deployment:
    """What a program asked for; `outputs` are the stack's, and `component_outputs` those of components, by URN."""

    resources: list[Resource] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: frozenset[str] = frozenset()
    component_outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[tuple[str, str]] = field(default_factory=list)

    def all(self, type_: str) -> list[Resource]:
        """Return the resources of a type, such as `aws:ec2/vpc:Vpc`, in the order of their names."""
        return sorted((resource for resource in self.resources if resource.type == type_), key=lambda r: r.name)

    def one(self, type_: str, name_end: str = "") -> Resource:
        """Return the only resource of a type whose name ends so; raises where there are none or more."""
        found = [resource for resource in self.all(type_) if resource.name.endswith(name_end)]
        assert len(found) == 1, f"{len(found)} of {type_} end in {name_end!r}: {[r.name for r in self.resources]}"
        return found[0]

    def depends_on(self, dependent: Resource, needed: Resource) -> bool:
        """Whether one resource waits for another by itself, and so is deleted before it."""
        return needed.urn in dependent.depends_on

    def warnings(self) -> list[str]:
        return [text for severity, text in self.messages if severity == "WARNING"]


class Engine(Mocks, MockMonitor):
    """Pulumi's mocks, which also record the options that `MockResourceArgs` leaves out."""

    def __init__(self, stack: str, answers: Mapping[str, Any], deployment: Deployment) -> None:
        MockMonitor.__init__(self, self)
        self.deployment = deployment
        self._stack = stack
        self._answers = {**ANSWERS, **answers}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        # Pulumi's own takes the stack from the context, which the threads that registrations run in don't have.
        around = parent.split("::")[2] + "$" if parent and STACK_TYPE not in parent else ""
        return f"urn:pulumi:{self._stack}::{PROJECT}::{around}{type_}::{name}"

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.custom:
            return None, {}
        if args.typ not in ASSIGNED:
            raise NotImplementedError(f"no mock for a resource of type {args.typ}: add it to aws_answers.py")
        inputs, _ = plain(args.inputs)
        assigned = ASSIGNED[args.typ](args.name, inputs)
        return str(assigned.get("id", f"{args.name}-id")), {**args.inputs, **assigned}

    def call(self, args: MockCallArgs) -> Any:
        arguments, _ = plain(args.args)
        self.deployment.invocations.append(Invocation(token=args.token, arguments=arguments, provider=args.provider))
        if args.token not in self._answers:
            raise NotImplementedError(f"no mock for the look-up {args.token}: add it to aws_answers.py")
        answer = self._answers[args.token]
        answer = answer(arguments) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 the name in Pulumi's protocol
        monitor: Any = super()
        response = monitor.RegisterResource(request)
        if request.type == STACK_TYPE:
            return response
        inputs, secrets = plain(rpc.deserialize_properties(request.object))
        outputs, _ = plain(self.resources[response.urn].state)
        self.deployment.resources.append(
            Resource(
                type=request.type,
                name=request.name,
                urn=response.urn,
                parent=request.parent,
                provider=request.provider,
                inputs=inputs,
                secret_inputs=secrets,
                outputs=outputs,
                depends_on=frozenset(request.dependencies),
                ignore_changes=list(request.ignoreChanges),
                aliases=[*request.aliasURNs, *(alias.spec.name for alias in request.aliases)],
                create_timeout=request.customTimeouts.create,
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
            )
        )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 the name in Pulumi's protocol
        outputs, secrets = plain(rpc.deserialize_properties(request.outputs))
        if STACK_TYPE in request.urn:
            self.deployment.outputs, self.deployment.secret_outputs = outputs, secrets
        else:
            assert request.urn not in self.deployment.component_outputs, f"{request.urn} registers its outputs twice"
            self.deployment.component_outputs[request.urn] = outputs
        monitor: Any = super()
        return monitor.RegisterResourceOutputs(request)

    def Log(self, request: Any) -> None:  # noqa: N802 the name in Pulumi's protocol
        if request.severity != engine_pb2.DEBUG:
            self.deployment.messages.append((engine_pb2.LogSeverity.Name(request.severity), request.message))


def plain(properties: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return properties without the marks of secrets in them, and the paths at which secrets are."""
    secrets = set()

    def unwrapped(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            if value.get(_SIGNATURE_KEY) == _SECRET_SIGNATURE:
                secrets.add(path)
                return unwrapped(value["value"], path)
            return {k: unwrapped(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [unwrapped(v, f"{path}[{i}]") for i, v in enumerate(value)]
        # Numbers travel as floating-point ones.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return unwrapped(properties, ""), frozenset(secrets)


def run(
    program: Callable[[], object],
    *,
    stack: str = "pre",
    config: Mapping[str, str] | None = None,
    secret_config: Sequence[str] = (),
    answers: Mapping[str, Any] | None = None,
    preview: bool = False,
    into: Deployment | None = None,
) -> Deployment:
    """Run `program` as Pulumi runs one, and return what it asked for; what it raises passes through.

    `answers` are for look-ups, by token, in place of those in aws_answers.py: a result, an exception to raise, or a
    function of the arguments that gives one of both. `into` keeps what was asked for before the program failed. Each
    run has a context of its own: nothing is left to the next.
    """
    engine = Engine(stack, answers or {}, into or Deployment())

    def isolated() -> None:
        settings = pulumi.runtime.Settings(
            project=PROJECT, stack=stack, monitor=engine, engine=engine, dry_run=preview, organization="organization"
        )
        pulumi.runtime.set_all_config(dict(config or {}), list(secret_config))
        pulumi.runtime.configure(settings)
        with _event_loop() as loop:
            loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: _nothing(program())))

    contextvars.copy_context().run(isolated)
    return engine.deployment


def _nothing(_: object) -> None:
    """A program's result is no awaitable to wait for."""


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # The run raises what failed; asyncio would tell of it once more, later, for each output that hung on it.
    loop.set_exception_handler(lambda *_: None)
    executor = ThreadPoolExecutor(max_workers=8)
    loop.set_default_executor(executor)
    try:
        yield loop
    finally:
        # A program that failed leaves registrations behind that wait for what never comes.
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        executor.shutdown(wait=True)
        asyncio.set_event_loop(None)
        loop.close()
