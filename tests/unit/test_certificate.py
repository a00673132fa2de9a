"""The certificate, and that what needs it waits."""

import pulumi
import pulumi_aws as aws
import pytest

from components.certificate import Certificate, CertificateArgs
from tests.unit.aws_answers import ZONE_ID
from tests.unit.mocked_engine import Deployment, run

CERTIFICATE = "aws:acm/certificate:Certificate"
RECORD = "aws:route53/record:Record"
VALIDATION = "aws:acm/certificateValidation:CertificateValidation"


@pytest.fixture(scope="module")
def made() -> Deployment:
    def program() -> None:
        certificate = Certificate("pre", CertificateArgs(domain="pre-be.example.com", zone_id=ZONE_ID))
        aws.lb.Listener(
            "user", load_balancer_arn="arn", certificate_arn=certificate.arn, default_actions=[{"type": "forward"}]
        )
        pulumi.export("arn", certificate.arn)

    return run(program)


def test_the_domain_is_validated_through_dns(made: Deployment) -> None:
    inputs = made.one(CERTIFICATE).inputs
    assert (inputs["domainName"], inputs["validationMethod"]) == ("pre-be.example.com", "DNS")


def test_the_record_is_the_one_that_acm_asks_for(made: Deployment) -> None:
    inputs = made.one(RECORD).inputs
    assert inputs["zoneId"] == ZONE_ID
    assert (inputs["name"], inputs["type"]) == ("_proof.pre-be.example.com.", "CNAME")
    assert inputs["records"] == ["_proof.acm-validations.aws."]


def test_a_record_left_behind_is_taken_over(made: Deployment) -> None:
    assert made.one(RECORD).inputs["allowOverwrite"] is True, "ACM asks for the same one each time"


def test_the_record_outlives_the_certificate(made: Deployment) -> None:
    assert made.one(RECORD).retain_on_delete, "it renews every certificate of this name, those from elsewhere too"


def test_what_uses_the_certificate_waits_until_it_is_issued(made: Deployment) -> None:
    user = made.one("aws:lb/listener:Listener")
    assert made.depends_on(user, made.one(VALIDATION)), "a listener with a pending certificate is refused"
    assert user.inputs["certificateArn"] == made.one(CERTIFICATE).outputs["arn"] == made.outputs["arn"]


def test_the_wait_is_for_the_record_and_has_an_end(made: Deployment) -> None:
    validation = made.one(VALIDATION)
    assert validation.inputs["validationRecordFqdns"] == [made.one(RECORD).outputs["fqdn"]]
    assert validation.create_timeout == "20m", "75 minutes, the provider's own, say nothing for longer"


def test_its_output_is_registered(made: Deployment) -> None:
    assert made.component_outputs[made.one("booklink:backend:Certificate").urn] == {"arn": made.outputs["arn"]}
