"""What the emulated account refuses, so that nobody gets power over the machine that it runs on."""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from rehearsal.account.__main__ import bridge
from rehearsal.surroundings import REGION, Account, account, free_port
from tests.waiting import until

CREDENTIALS_ADDRESS = "169.254.170.2"
ROOT = Path(__file__).resolve().parents[2]
TRUST = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]
}


@pytest.fixture(scope="module")
def running() -> Iterator[Account]:
    """One account for all tests; none needs an image or a running container."""
    with account() as started:
        yield started


def client(running: Account, service: str, *, host: str = "127.0.0.1", **key: str) -> Any:
    keys = {"aws_access_key_id": running.key.id, "aws_secret_access_key": running.key.secret} | key
    return boto3.session.Session().client(
        service, endpoint_url=f"http://{host}:{running.port}", region_name=REGION, **keys
    )


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def ask(
    running: Account, path: str, *, method: str = "GET", host: str = "127.0.0.1", **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    with closing(http.client.HTTPConnection(host, running.port, timeout=10)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def signed(running: Account, **headers: str) -> dict[str, str]:
    """The headers of a call of STS that the root's key signed."""
    url = f"http://127.0.0.1:{running.port}/?Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest("GET", url, headers={"Host": f"127.0.0.1:{running.port}", **headers})
    SigV4Auth(Credentials(running.key.id, running.key.secret), "sts", REGION).add_auth(request)
    return {name.replace("-", "_"): value for name, value in request.headers.items()}


CALLER = "/?Action=GetCallerIdentity&Version=2011-06-15"


# --- who ---


def test_only_this_runs_key_is_root(running: Account) -> None:
    assert client(running, "sts").get_caller_identity()["Arn"].endswith(":root")
    for other in ("test", "123456789012", "AKIAIOSFODNN7EXAMPLE"):
        code = refused(client(running, "ecs", aws_access_key_id=other).list_clusters)
        assert code in ("UnrecognizedClientException", "InvalidClientTokenId"), f"{other} is none of this account's"


def test_another_account_has_another_key(running: Account, tmp_path: Path) -> None:
    other = Account(port=1, folder=tmp_path)
    assert (other.key.id, other.key.secret) != (running.key.id, running.key.secret)
    assert running.key.secret not in repr(running), "what shows an account doesn't show its secret"


def test_a_signature_is_checked(running: Account) -> None:
    for service, call in (("ecs", "list_clusters"), ("sts", "get_caller_identity"), ("route53", "list_hosted_zones")):
        wrong = client(running, service, aws_secret_access_key="test")
        assert refused(getattr(wrong, call)) in ("SignatureDoesNotMatch", "InvalidSignatureException"), service


def test_nothing_is_answered_without_a_signature(running: Account) -> None:
    target = "AmazonEC2ContainerServiceV20141113.ListClusters"
    credential = f"{running.key.id}/20260101/{REGION}/sts/aws4_request"
    in_link = f"{CALLER}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}"
    for status, _, body in (
        ask(running, CALLER),
        ask(running, "/", method="POST", X_Amz_Target=target),
        ask(
            running, "/", method="POST", X_Amz_Target=target, Authorization=f"AWS4-HMAC-SHA256 Credential={credential}"
        ),
        ask(running, in_link),
        ask(running, in_link, **signed(running)),
        ask(running, "/latest/meta-data/iam/info"),
        ask(running, "/bucket/key"),
    ):
        assert status in (400, 403), body


@pytest.mark.parametrize(
    "path",
    ["/_ministack/reset", "/_ministack/config", "/_localstack/init", "/_aws/lambda-url/x/", "/_ministack/health"],
)
def test_ministacks_own_switches_are_out_of_reach(running: Account, path: str) -> None:
    assert ask(running, path, method="POST")[0] == 403
    assert ask(running, path, method="POST", **signed(running))[0] == 403


# --- from where ---


def test_no_web_page_may_ask(running: Account) -> None:
    assert ask(running, CALLER, **signed(running))[0] == 200
    status, headers, _ = ask(running, CALLER, Origin="http://evil.example", **signed(running))
    assert (status, [name for name in headers if name.startswith("access-control-")]) == (403, [])
    preflight = ask(running, "/", method="OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST")
    assert preflight[0] == 403
    assert ask(running, "/", method="OPTIONS")[0] == 403


def test_no_answer_lets_a_web_page_read_it(running: Account) -> None:
    for path, headers in ((CALLER, signed(running)), (CALLER, {}), ("/_ministack/health", {})):
        assert not [name for name in ask(running, path, **headers)[1] if name.startswith("access-control-")], path


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "bucket.localhost", ""])
def test_a_name_that_somebody_pointed_here_is_refused(running: Account, host: str) -> None:
    assert ask(running, CALLER, **signed(running) | {"Host": host})[0] in (400, 403)


def test_names_of_hosted_zones_are_the_load_balancers(running: Account) -> None:
    client(running, "route53").create_hosted_zone(Name="example.org", CallerReference=uuid.uuid4().hex)
    status, _, body = ask(running, CALLER, **signed(running) | {"Host": "be.example.org"})
    assert (status, body) == (404, b"No load balancer listens at be.example.org.\n"), "and lead to no API"


def inside(running: Account) -> list[str]:
    """The addresses for containers at which the account listens here."""
    found = []
    for host in (*bridge(), CREDENTIALS_ADDRESS):
        with socket.socket() as trying:
            if trying.connect_ex((host, running.port)) == 0:
                found.append(host)
    return found


def test_containers_may_not_use_the_root_key(running: Account) -> None:
    addresses = inside(running)
    assert addresses, "a loop over none would pass"
    for host in addresses:
        assert refused(client(running, "ecs", host=host).list_clusters) == "UnrecognizedClientException"
        assert ask(running, "/_ministack/health", host=host)[0] == 403
        assert ask(running, "/v2/", host=host)[0] == 401, "images are pulled by this machine's Docker alone"


def test_containers_may_use_their_roles_session(running: Account) -> None:
    iam = client(running, "iam")
    trust = {"Statement": [{**TRUST["Statement"][0], "Principal": {"AWS": "*"}}]}
    role = iam.create_role(RoleName=f"r{uuid.uuid4().hex}", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    session = client(running, "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="task")["Credentials"]
    key = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    for host in (*inside(running), "127.0.0.1"):
        identity = client(running, "sts", host=host, **key).get_caller_identity()
        assert f"assumed-role/{role['RoleName']}/" in identity["Arn"]
        assert "AccessDenied" in refused(client(running, "ecs", host=host, **key).list_clusters), (
            "IAM allows it nothing"
        )
        assert refused(client(running, "sts", host=host, **key | {"aws_session_token": "x"}).get_caller_identity)


def test_an_unsigned_path_leads_to_no_other_service(running: Account) -> None:
    token = "a" * 43
    assert ask(running, f"/v4/{token}")[0] == 404
    for path in (
        f"/v4/{token}?Action=ListUsers&Version=2010-05-08",
        f"/v2/credentials/{uuid.uuid4()}?Action=ListUsers",
    ):
        answer = ask(running, path, X_Amz_Target="AmazonEC2ContainerServiceV20141113.ListClusters")
        assert answer[0] == 404, answer


# --- the registry ---


def test_the_registry_takes_the_password_of_this_run_alone(running: Account) -> None:
    [given] = client(running, "ecr").get_authorization_token()["authorizationData"]
    assert ask(running, "/v2/", Authorization=f"Basic {given['authorizationToken']}")[0] == 200
    guessed = base64.b64encode(b"AWS:ministack-auth-token").decode()
    for headers in ({}, {"Authorization": f"Basic {guessed}"}):
        status, answered, _ = ask(running, "/v2/", **headers)
        assert (status, answered["www-authenticate"][:5]) == (401, "Basic")
    assert ask(running, "/v2/be/blobs/uploads/", method="POST")[0] == 401


# --- what ---


@pytest.mark.parametrize("service", ["lambda", "codebuild", "rds", "eks", "batch", "cloudformation"])
def test_services_that_run_code_here_are_absent(running: Account, service: str) -> None:
    call = {
        "lambda": "list_functions",
        "codebuild": "list_projects",
        "rds": "describe_db_instances",
        "eks": "list_clusters",
        "batch": "describe_job_queues",
        "cloudformation": "list_stacks",
    }[service]
    with pytest.raises((ClientError, ResponseParserError), match=r"Unsupported service|400"):
        getattr(client(running, service), call)()


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss lists what listens")
def test_it_listens_where_it_says_and_nowhere_else(running: Account) -> None:
    listening = subprocess.run(["ss", "-ltnpH"], check=True, capture_output=True, text=True).stdout.splitlines()
    ports = [line.split()[3] for line in listening if f":{running.port} " in line]
    [process] = {line.rpartition("pid=")[2].split(",")[0] for line in listening if f"127.0.0.1:{running.port} " in line}
    assert [line.split()[3] for line in listening if f"pid={process}," in line] == ports
    hosts = {each.rpartition(":")[0] for each in ports}
    assert "127.0.0.1" in hosts
    # Where tasks find their credentials, it listens from the first task on, be it another account's.
    assert hosts <= {"127.0.0.1", *bridge(), CREDENTIALS_ADDRESS}


def test_a_task_gets_no_power_over_the_machine(running: Account, tmp_path: Path) -> None:
    ecs, ec2 = client(running, "ecs"), client(running, "ec2")
    ecs.create_cluster(clusterName="hardening")
    user_data = base64.b64encode(b"#!/bin/sh\necho ECS_CLUSTER=hardening >> /etc/ecs/ecs.config\n").decode()
    ec2.create_launch_template(
        LaunchTemplateName="hardening",
        LaunchTemplateData={"ImageId": "ami-0ec5a2023x8664001", "InstanceType": "m5.large", "UserData": user_data},
    )
    client(running, "autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="hardening",
        MinSize=1,
        MaxSize=1,
        LaunchTemplate={"LaunchTemplateName": "hardening", "Version": "1"},
        VPCZoneIdentifier=ec2.describe_subnets()["Subnets"][0]["SubnetId"],
    )
    until("an instance joins", lambda: ecs.list_container_instances(cluster="hardening")["containerInstanceArns"])
    ecs.register_task_definition(
        family="evil",
        volumes=[{"name": "machine", "host": {"sourcePath": str(tmp_path)}}],
        containerDefinitions=[
            {
                "name": "evil",
                "image": "evil",
                "memory": 32,
                "mountPoints": [{"sourceVolume": "machine", "containerPath": "/machine"}],
            }
        ],
    )
    [task] = ecs.run_task(cluster="hardening", taskDefinition="evil")["tasks"]
    described = until(
        "the task stops",
        lambda: [each for each in describe(ecs, task["taskArn"]) if each["lastStatus"] == "STOPPED"],
    )
    assert described[0]["stopCode"] == "TaskFailedToStart"
    wanted = "CannotCreateContainerError: this rehearsal gives no container power over its machine: volumes"
    assert described[0]["stoppedReason"] == wanted
    made = docker.from_env().containers.list(
        all=True, filters={"label": f"com.amazonaws.ecs.task-arn={task['taskArn']}"}
    )
    assert made == []


def describe(ecs: Any, arn: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ecs.describe_tasks(cluster="hardening", tasks=[arn])["tasks"]
    return found


# --- started by hand ---


@pytest.mark.parametrize("given", [{}, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}])
def test_started_by_hand_it_prints_a_new_key_or_takes_the_given_one(given: dict[str, str]) -> None:
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal.account", str(port)],
        cwd=ROOT,
        env=clean | given,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = "" if given else process.stdout.readline()
        shown = given or dict(each.split("=", 1) for each in line.removeprefix("export ").split())
        sts = boto3.client(
            "sts",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id=shown["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=shown["AWS_SECRET_ACCESS_KEY"],
        )
        until("it answers", lambda: listens(port))
        assert sts.get_caller_identity()["Arn"].endswith(":root")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout and process.stdout.close()


def listens(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
            connection.request("GET", "/_ministack/health")
            return connection.getresponse().status == 200
    except OSError:
        return False


def test_a_call_that_is_sent_again_is_done_once_and_answered_as_before(running: Account) -> None:
    iam = running.client("iam")

    def say(**sent: Any) -> None:
        sent["request"].context["retries"]["invocation-id"] = "one call"

    iam.meta.events.register_first("request-created.iam.CreateInstanceProfile", say)
    made = iam.create_instance_profile(InstanceProfileName="once")["InstanceProfile"]
    again = iam.create_instance_profile(InstanceProfileName="once")["InstanceProfile"]
    assert again["InstanceProfileId"] == made["InstanceProfileId"], "its answer was lost, and it asks again"
    iam.meta.events.unregister("request-created.iam.CreateInstanceProfile", say)
    with pytest.raises(ClientError, match="EntityAlreadyExists"):
        iam.create_instance_profile(InstanceProfileName="once")
