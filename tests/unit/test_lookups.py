"""Looking for what must exist: all of it at once, and one error for all that is missing."""

import asyncio

import pulumi
import pulumi_aws as aws
import pytest

from components.lookups import LookUp, Missing, ask, find_all
from tests.unit.aws_answers import AMI_ID, ZONE_ID
from tests.unit.mocked_engine import AwsError, Deployment, run

ZONE = "aws:route53/getZone:getZone"
PARAMETER = "aws:ssm/getParameter:getParameter"


def lookups() -> list[LookUp[str]]:
    provider = aws.Provider("aws")

    async def zone() -> str:
        return (await ask(provider, ZONE, aws.route53.GetZoneResult, name="example.com")).zone_id

    async def ami() -> str:
        return (await ask(provider, PARAMETER, aws.ssm.GetParameterResult, name="/ami")).value

    return [
        LookUp(zone(), missing="zone: there is none"),
        LookUp(ami(), missing="capacity.ami: there is none"),
    ]


def test_what_is_found_has_its_value() -> None:
    values: list[str] = []

    def program() -> None:
        wanted = lookups()
        find_all(wanted)
        values.extend(lookup.value for lookup in wanted)

    run(program)
    assert values == [ZONE_ID, AMI_ID]


def test_one_error_names_all_that_is_missing() -> None:
    with pytest.raises(Missing) as raised:
        run(lambda: find_all(lookups()), answers={ZONE: AwsError("no zone"), PARAMETER: AwsError("no parameter")})
    assert str(raised.value) == (
        "What must exist was not found; nothing was changed:\n"
        "  zone: there is none (AWS: no zone)\n"
        "  capacity.ami: there is none (AWS: no parameter)"
    )


def test_what_is_there_is_not_named() -> None:
    with pytest.raises(Missing) as raised:
        run(lambda: find_all(lookups()), answers={PARAMETER: AwsError("no parameter")})
    assert "zone" not in str(raised.value)


def test_an_answer_that_does_not_do_is_named_without_awss_words() -> None:
    async def nothing() -> str | None:
        return None

    with pytest.raises(Missing, match=r"  subnets: are in one zone$"):
        run(lambda: find_all([LookUp(nothing(), missing="subnets: are in one zone")]))


def test_a_look_up_asks_with_the_explicit_provider() -> None:
    deployment = run(lambda: find_all(lookups()))
    (provider,) = deployment.resources
    assert {asked.provider for asked in deployment.invocations} == {f"{provider.urn}::{provider.outputs['id']}"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "invoke of a:b:c failed: invocation of a:b:c returned an error: [] reading Image: not found:",
            "reading Image: not found",
        ),
        (
            "invoke of a:b:c failed: invocation of a:b:c returned an error: 1 error occurred:\n\t* not found\n\n",
            "not found",
        ),
        ("credentials expired", "credentials expired"),
        ("", "ValueError"),
    ],
)
def test_awss_own_words_are_told_without_the_engines(text: str, reason: str) -> None:
    async def failing() -> str:
        raise ValueError(text)

    with pytest.raises(Missing) as raised:
        run(lambda: find_all([LookUp(failing(), missing="wanted")]))
    assert str(raised.value).endswith(f"  wanted (AWS: {reason})")


def test_an_error_of_the_program_itself_still_passes() -> None:
    def program() -> None:
        find_all(lookups())
        pulumi.Output.from_input(1).apply(lambda one: one / 0)

    with pytest.raises(ZeroDivisionError):
        run(program)


def test_nothing_is_declared_before_everything_was_found() -> None:
    asked = Deployment()

    def program() -> None:
        find_all(lookups())
        aws.ec2.Vpc("vpc")

    with pytest.raises(Missing):
        run(program, answers={ZONE: AwsError("no zone")}, into=asked)
    assert [resource.type for resource in asked.resources] == ["pulumi:providers:aws"]


def test_look_ups_are_under_way_side_by_side() -> None:
    """Each waits for the other: one after the other they would wait for ever."""

    def program() -> None:
        first, second = asyncio.Event(), asyncio.Event()

        async def meet(mine: asyncio.Event, other: asyncio.Event) -> str:
            mine.set()
            await asyncio.wait_for(other.wait(), timeout=5)
            return "met"

        find_all([LookUp(meet(first, second), missing="first"), LookUp(meet(second, first), missing="second")])

    run(program)
