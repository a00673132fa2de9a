"""The certificate for the name that clients use."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import CustomTimeouts, Input, Output, ResourceOptions

ISSUING_TIMEOUT = "20m"
"""ACM issues within minutes of seeing the record. Where it doesn't, the domain's name servers aren't the zone's."""

RECORD_TTL = 300


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """`domain` is the name to certify, and `zone_id` the hosted zone it is in."""

    domain: str
    zone_id: Input[str]


class Certificate(pulumi.ComponentResource):
    """An ACM certificate that the zone's DNS validates and, by the same record, renews.

    Makes: certificate, the record that proves the domain ours, and the wait until it is issued. Costs: nothing.
    Depends on: the hosted zone.
    """

    arn: Output[str]

    def __init__(self, name: str, args: CertificateArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:Certificate", name, None, opts)
        certificate = aws.acm.Certificate(
            f"{name}-certificate",
            domain_name=args.domain,
            validation_method="DNS",
            opts=ResourceOptions(parent=self),
        )
        proof = certificate.domain_validation_options[0]
        record = aws.route53.Record(
            f"{name}-validation",
            zone_id=args.zone_id,
            name=proof.resource_record_name,
            type=proof.resource_record_type,
            records=[proof.resource_record_value],
            ttl=RECORD_TTL,
            # ACM asks for the same record each time, so one that an earlier certificate left behind is ours to keep.
            allow_overwrite=True,
            # The same record renews every certificate of this name in the account, those from elsewhere too.
            opts=ResourceOptions(parent=self, retain_on_delete=True),
        )
        validation = aws.acm.CertificateValidation(
            f"{name}-issued",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn],
            opts=ResourceOptions(parent=self, custom_timeouts=CustomTimeouts(create=ISSUING_TIMEOUT)),
        )
        self.arn = validation.certificate_arn
        self.register_outputs({"arn": self.arn})
