"""The engine of these tests is tested itself: a harness that can't fail proves nothing."""

from collections.abc import Callable

import pulumi
import pulumi_aws as aws
import pytest

from tests.unit.mocked_engine import Deployment, run


def fail(value: object) -> None:
    raise AssertionError(f"{value} is wrong")


def test_a_failing_assertion_inside_apply_fails_the_run() -> None:
    with pytest.raises(AssertionError, match="wrong"):
        run(lambda: aws.ec2.Vpc("vpc").id.apply(fail))


def test_a_failing_assertion_on_a_second_step_fails_the_run() -> None:
    with pytest.raises(AssertionError, match="wrong"):
        run(lambda: pulumi.Output.all(aws.ec2.Vpc("vpc").id).apply(lambda ids: ids[0]).apply(fail))


def test_a_resource_without_a_mock_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="aws:sqs/queue:Queue"):
        run(lambda: aws.sqs.Queue("queue"))


def test_a_look_up_without_a_mock_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="aws:sqs/getQueue:getQueue"):
        run(lambda: aws.sqs.get_queue_output(name="queue").apply(lambda found: found.url))


def test_asking_for_the_one_resource_of_a_type_fails_where_there_is_none() -> None:
    with pytest.raises(AssertionError, match="0 of aws:ec2/vpc:Vpc"):
        Deployment().one("aws:ec2/vpc:Vpc")


def test_what_was_asked_for_before_a_failure_is_kept() -> None:
    asked = Deployment()

    def program() -> None:
        aws.ec2.Vpc("vpc")
        raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        run(program, into=asked)
    assert [resource.name for resource in asked.resources] == ["vpc"], "or 'nothing was created' would always hold"


def test_options_are_recorded() -> None:
    def program() -> None:
        first = aws.ec2.Vpc("first", opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")]))
        aws.ec2.Vpc(
            "second",
            opts=pulumi.ResourceOptions(
                parent=first,
                protect=True,
                depends_on=[first],
                ignore_changes=["cidrBlock"],
                custom_timeouts=pulumi.CustomTimeouts(create="1m"),
            ),
        )

    deployment = run(program)
    first, second = deployment.one("aws:ec2/vpc:Vpc", "first"), deployment.one("aws:ec2/vpc:Vpc", "second")
    assert (first.protect, second.protect) == (False, True)
    assert first.aliases == ["old"]
    assert second.parent_type == "aws:ec2/vpc:Vpc"
    assert deployment.depends_on(second, first)
    assert not deployment.depends_on(first, second)
    assert second.ignore_changes == ["cidrBlock"]
    assert second.create_timeout == "1m"


def test_secrets_are_recorded_as_such_with_their_plain_values() -> None:
    deployment = run(lambda: aws.ec2.Vpc("vpc", tags={"key": pulumi.Output.secret("value")}))
    vpc = deployment.one("aws:ec2/vpc:Vpc")
    assert vpc.inputs["tags"] == {"key": "value"}
    assert vpc.secret_inputs, "or a password in clear text would pass"


def test_exports_and_warnings_are_recorded() -> None:
    def program() -> None:
        pulumi.export("id", aws.ec2.Vpc("vpc").id)
        pulumi.warn("careful")

    deployment = run(program)
    assert deployment.outputs == {"id": "vpc-vpc"}
    assert deployment.warnings() == ["careful"]


@pytest.mark.parametrize("stack", ["pre", "live"])
def test_a_run_leaves_nothing_to_the_next(stack: str) -> None:
    seen: list[tuple[str, str | None]] = []
    program: Callable[[], None] = lambda: seen.append((pulumi.get_stack(), pulumi.Config("a").get("b")))  # noqa: E731
    run(program, stack=stack, config={"a:b": "c"})
    run(program, stack="other")
    assert seen == [(stack, "c"), ("other", None)]
