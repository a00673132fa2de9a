"""The emulated account's S3, in which a rehearsal may keep Pulumi's state, and what it refuses."""

import http.client
import uuid
from collections.abc import Iterator
from contextlib import closing

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from rehearsal.surroundings import REGION, Account, account


@pytest.fixture(scope="module")
def running() -> Iterator[Account]:
    with account() as started:
        yield started


@pytest.fixture
def bucket(running: Account) -> str:
    name = f"state-{uuid.uuid4().hex}"
    s3 = running.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=name, Key="state.json", Body=b"one")
    return name


def asked(running: Account, path: str, *, method: str = "GET", body: str = "", **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
        connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_an_earlier_version_can_be_read_again(running: Account, bucket: str) -> None:
    s3 = running.client("s3")
    s3.put_object(Bucket=bucket, Key="state.json", Body=b"two")
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    bodies = [s3.get_object(Bucket=bucket, Key="state.json", VersionId=each["VersionId"]) for each in versions]
    assert sorted(each["Body"].read() for each in bodies) == [b"one", b"two"]


def test_nothing_is_read_or_written_without_a_signature(running: Account, bucket: str) -> None:
    for method, path in (("GET", "/"), ("GET", f"/{bucket}"), ("GET", f"/{bucket}/state.json")):
        assert asked(running, path, method=method)[0] == 403, path
    assert asked(running, f"/{bucket}/state.json", method="PUT", body="three")[0] == 403
    form = "--x\r\nContent-Disposition: form-data; name=key\r\n\r\nevil\r\n--x--\r\n"
    posted = asked(running, f"/{bucket}", method="POST", body=form, Content_Type="multipart/form-data; boundary=x")
    assert posted[0] == 403, "a web page's form could be sent without asking first"
    assert running.client("s3").get_object(Bucket=bucket, Key="state.json")["Body"].read() == b"one"


def test_a_wrong_signature_is_refused(running: Account, bucket: str) -> None:
    wrong = boto3.session.Session().client(
        "s3",
        endpoint_url=running.endpoint,
        region_name=REGION,
        aws_access_key_id=running.key.id,
        aws_secret_access_key="test",
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        wrong.get_object(Bucket=bucket, Key="state.json")


def test_a_link_with_a_signature_is_refused(running: Account, bucket: str) -> None:
    link = running.client("s3").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "state.json"})
    assert asked(running, link.removeprefix(running.endpoint))[0] == 403


def test_a_public_bucket_is_none_here(running: Account, bucket: str) -> None:
    s3 = running.client("s3")
    s3.delete_public_access_block(Bucket=bucket)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "state.json"}})
    for host in ("127.0.0.1", f"{bucket}.s3-website.eu-central-1.amazonaws.com", f"{bucket}.localhost"):
        assert asked(running, f"/{bucket}/state.json", Host=f"{host}:{running.port}")[0] == 403, host


def test_a_bucket_is_named_in_the_path_and_not_in_the_host(running: Account, bucket: str) -> None:
    assert asked(running, f"/{bucket}/state.json", **signed(running, f"127.0.0.1:{running.port}", bucket))[0] == 200
    for host in (f"{bucket}.localhost", f"{bucket}.s3.{REGION}.amazonaws.com"):
        assert asked(running, "/state.json", **signed(running, f"{host}:{running.port}"))[0] == 403


def signed(running: Account, host: str, *folders: str) -> dict[str, str]:
    """The headers of a request for state.json that the root's key signed."""
    request = AWSRequest("GET", f"http://{'/'.join([host, *folders])}/state.json", headers={"Host": host})
    S3SigV4Auth(Credentials(running.key.id, running.key.secret), "s3", REGION).add_auth(request)
    return {name.replace("-", "_"): value for name, value in request.headers.items()}


def test_a_bucket_with_a_zones_name_does_not_take_its_load_balancers_requests(running: Account) -> None:
    running.client("route53").create_hosted_zone(Name="example.org", CallerReference=uuid.uuid4().hex)
    s3 = running.client("s3")
    s3.create_bucket(Bucket="be.example.org", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="be.example.org", Key="page", Body=b"state")
    status, body = asked(running, "/page", Host="be.example.org")
    assert (status, b"No load balancer" in body) == (404, True)
