"""boto3 clients, for what the AWS provider doesn't do: waiting for ECS, and asking what an image is made for."""

from typing import Any


def client(service: str, *, region: str, profile: str | None) -> Any:
    """Return a client that is patient where AWS is busy; boto3 has no types of its own."""
    # Loading boto3 takes half a second, which most previews are spared.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    patient = Config(retries={"mode": "standard", "max_attempts": 10})
    session: Any = boto3.session.Session(region_name=region, profile_name=profile)
    return session.client(service, config=patient)
