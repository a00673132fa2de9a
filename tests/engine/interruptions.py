"""Ways to interrupt `pulumi up` at a moment that is told by what has happened, and to look at what it left behind."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, cast

from rehearsal.surroundings import Account, Outcome, Stack, session_members
from tests.engine.deployments import answer, command, state

MOMENT_COMES_SECONDS = 150
Moment = Callable[[str], object]
"""Whether it is time, by what the command has printed so far and by whatever else it looks at."""


def interrupted(stack: Stack, moment: Moment, *, how: Callable[[int], None]) -> Outcome:
    """Run `pulumi up`, and interrupt it at a moment: `how` gets the number of its process, which leads its session.

    Where the moment doesn't come, or the command has ended before, this is an error.
    """
    begun = time.monotonic()
    process = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name],
        cwd=stack.workspace.directory,
        env=stack.workspace.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(cast(IO[str], process.stdout)), daemon=True)
    reader.start()
    try:
        while not moment("".join(lines)):
            assert process.poll() is None, f"it ended before the moment came:\n{''.join(lines)}"
            assert time.monotonic() - begun < MOMENT_COMES_SECONDS, f"the moment didn't come:\n{''.join(lines)}"
            time.sleep(0.05)
        how(process.pid)
        process.wait(timeout=MOMENT_COMES_SECONDS)
    finally:
        killed(process.pid)
        process.wait()
        reader.join()
    return Outcome(status=process.returncode, output="".join(lines), seconds=time.monotonic() - begun)


def killed(session: int) -> None:
    """Kill a session's processes, all of them, as a machine that goes down does."""
    for _ in range(3):  # one may be starting another
        for member in session_members(session):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.02)


def seen(*patterns: str, and_then: Callable[[], object] = lambda: True) -> Moment:
    """The moment at which lines with all the patterns were printed, and then something holds."""
    return lambda output: all(re.search(pattern, output) for pattern in patterns) and and_then()


def recovered(stack: Stack, *, clean: bool = True) -> str:
    """What `make recover` says of the stack; that nothing is left over, where it is to be `clean`."""
    done = command(stack.workspace, "commands.recover", stack.name)
    assert done.returncode == 0, done.stderr
    assert not (clean and "not in its state" in done.stdout), done.stdout
    return done.stdout


def pending(stack: Stack) -> list[str] | None:
    """The types of the creations that the state has as begun; None where a killed engine left it unreadable."""
    exported = stack.run("stack", "export", check=False)
    if exported.status:
        assert "EOF" in exported.output, exported.output
        return None
    operations = answer(exported)["deployment"].get("pending_operations") or []
    return [each["resource"]["type"] for each in operations if each["type"] == "creating"]


def begin_again(stack: Stack, *types: str) -> list[dict[str, Any]]:
    """Make the state what it was before AWS had answered for resources of these types; returns them."""
    file = next((stack.workspace.directory.parent / "state").rglob(f"stacks/*/{stack.name}.json"))
    content = json.loads(file.read_text())
    latest = content["checkpoint"]["latest"]
    again = [
        {name: value for name, value in each.items() if name not in ("id", "outputs", "created", "modified")}
        for each in latest["resources"]
        # A record that may be overwritten is made again, and what needs it isn't.
        if each["type"] in types and not each["inputs"].get("allowOverwrite")
    ]
    urns = {each["urn"] for each in again}
    latest["resources"] = [each for each in latest["resources"] if each["urn"] not in urns]
    latest["pending_operations"] = [{"type": "creating", "resource": each} for each in again]
    file.write_text(json.dumps(content))
    return again


# What there is


def in_account(account: Account) -> Counter[str]:
    """The IDs of all that an environment is made of, as AWS lists them; task definitions excepted, which stay."""
    ec2, elb, ecs, iam = (account.client(name) for name in ("ec2", "elbv2", "ecs", "iam"))
    found = [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]]
    found += [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    found += [each["InternetGatewayId"] for each in ec2.describe_internet_gateways()["InternetGateways"]]
    found += [each["GroupId"] for each in ec2.describe_security_groups()["SecurityGroups"]]
    found += [each["SecurityGroupRuleId"] for each in ec2.describe_security_group_rules()["SecurityGroupRules"]]
    found += [each["LaunchTemplateId"] for each in ec2.describe_launch_templates()["LaunchTemplates"]]
    for table in ec2.describe_route_tables()["RouteTables"]:
        associations = table.get("Associations", [])
        if not any(each.get("Main") for each in associations):
            found += [table["RouteTableId"], *(each["RouteTableAssociationId"] for each in associations)]
    balancers = [each["LoadBalancerArn"] for each in elb.describe_load_balancers()["LoadBalancers"]]
    found += balancers
    found += [each["TargetGroupArn"] for each in elb.describe_target_groups()["TargetGroups"]]
    for balancer in balancers:
        found += [each["ListenerArn"] for each in elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]]
    groups = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    found += [each["AutoScalingGroupName"] for each in groups]
    for cluster in ecs.list_clusters()["clusterArns"]:
        found += [cluster, *ecs.list_services(cluster=cluster)["serviceArns"]]
    providers = ecs.describe_capacity_providers()["capacityProviders"]
    found += [each["capacityProviderArn"] for each in providers if "FARGATE" not in each["name"]]
    for role in (each["RoleName"] for each in iam.list_roles()["Roles"] if "service-role" not in each["Path"]):
        found += [role, *(f"{role}:{each}" for each in iam.list_role_policies(RoleName=role)["PolicyNames"])]
    found += [each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]]
    found += [each["logGroupName"] for each in account.client("logs").describe_log_groups()["logGroups"]]
    certificates = account.client("acm").list_certificates()["CertificateSummaryList"]
    found += [each["CertificateArn"] for each in certificates]
    names = account.client("route53")
    for zone in names.list_hosted_zones()["HostedZones"]:
        for record in names.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]:
            if record["Type"] not in ("NS", "SOA"):
                found.append(f"{record['Name'].rstrip('.')} {record['Type']}")
    scaling = account.client("application-autoscaling")
    targets = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    found += [each["ResourceId"] for each in targets]
    policies = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    found += [each["PolicyName"] for each in policies]
    return Counter(found)


NOT_BY_ITSELF = (
    "pulumi:",
    "docker:",
    "aws:acm/certificateValidation:",
    "aws:ec2/route:",
    "aws:ecr/",
    "aws:ecs/clusterCapacityProviders:",
    "aws:ecs/taskDefinition:",
)
"""Types in the state that are nothing of their own in AWS, or can't be there twice."""


def in_state(stack: Stack) -> Counter[str]:
    """The IDs of what the state has, as AWS lists them."""
    found = []
    for each in state(stack):
        if each["type"] == "aws:route53/record:Record":
            found.append(f"{each['outputs']['fqdn']} {each['outputs']['type']}")
        elif each.get("id") and not each["type"].startswith(NOT_BY_ITSELF):
            found.append(each["id"])
    return Counter(found)
