"""SSM: the public parameters of ECS-optimized AMIs, those AMIs in EC2, and secure strings decrypted for tasks.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
"""
# ruff: noqa: ARG001, PLR0917 - a mend takes the parameters of what it replaces

import json
from dataclasses import dataclass
from typing import Any

from rehearsal.account.mending import Mends, ministack

_ec2 = ministack("services.ec2")
_responses = ministack("core.responses")
_ssm = ministack("services.ssm")
mend = Mends()

_PATH = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
_OWNER = "591542846629"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of the ECS-optimized AMI of Amazon Linux 2023; `date` is in its name."""

    date: str
    architecture: str
    image_id: str

    @property
    def name(self) -> str:
        """The AMI's name."""
        return f"al2023-ami-ecs-hvm-2023.0.{self.date}-kernel-6.1-{self.architecture}"

    @property
    def path(self) -> str:
        """Where the parameters of the architecture's releases are."""
        return _PATH + ("/arm64" if self.architecture == "arm64" else "")

    @property
    def details(self) -> str:
        """The parameter's own value, as AWS has it: JSON. Versions of Docker and the agent are left out."""
        return json.dumps(
            {
                "schema_version": 1,
                "image_name": self.name,
                "image_id": self.image_id,
                "os": "Amazon Linux 2023",
                "image_version": f"2023.0.{self.date}",
                "region": _responses.get_region(),
            }
        )


RELEASES = (
    Release(date="20260903", architecture="x86_64", image_id="ami-0ec52026090300864"),
    Release(date="20261101", architecture="x86_64", image_id="ami-0ec52026110100864"),
    Release(date="20260903", architecture="arm64", image_id="ami-0ec52026090300a64"),
    Release(date="20261101", architecture="arm64", image_id="ami-0ec52026110100a64"),
)
"""What the account announces, oldest first: the last of an architecture is the recommended one."""


def public_parameters() -> dict[str, str]:
    """The parameters by name: `.../recommended` and `.../NAME`, each with `/image_id` and `/image_name`."""
    found = {}
    for release in RELEASES:
        for place in (release.name, "recommended"):
            found[f"{release.path}/{place}"] = release.details
            found[f"{release.path}/{place}/image_id"] = release.image_id
            found[f"{release.path}/{place}/image_name"] = release.name
    return found


@mend.replaces(_ssm, "_public_parameter")
def public_parameter(original: Any, name: str) -> Any:
    """A public parameter belongs to no account, so each of its ARNs leaves the account out."""
    value = public_parameters().get(name)
    if value is None:
        return original(name)
    arn = f"arn:aws:ssm:{_responses.get_region()}::parameter{name}"
    return {
        "Name": name,
        "Type": "String",
        "Value": value,
        "Version": 1,
        "LastModifiedDate": 1793491200,
        "ARN": arn,
        "DataType": "text",
    }


@mend.replaces(_ec2, "_stub_image_view")
def image_view(
    original: Any, ami_id: str, name: str, desc: str, platform: str, root_device: str, owner_id: str, owner_alias: Any
) -> Any:
    """An AMI has its own architecture, and the volume that an instance of it boots from.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Image.html
    """
    view = original(ami_id, name, desc, platform, root_device, owner_id, owner_alias)
    if name.endswith("arm64"):
        view["Architecture"] = "arm64"
    return view


@mend.afterwards
def announce_images() -> None:
    """EC2 has the AMIs."""
    _ec2._STUB_AMIS += [
        (
            each.image_id,
            each.name,
            f"Amazon Linux AMI 2023.0.{each.date} {each.architecture} ECS HVM EBS",
            "",
            "/dev/xvda",
            _OWNER,
            "amazon",
        )
        for each in RELEASES
    ]


@mend.replaces(_ssm, "resolve_parameter_value")
def decrypted(original: Any, name_or_arn: str, version: Any = None, decrypt: bool = False) -> Any:
    """What other services read of a parameter is its plain text: ECS decrypts a SecureString for the container.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-ssm-paramstore.html
    """
    return original(name_or_arn, version, True)
