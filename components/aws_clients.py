"""boto3's clients, for what the program asks AWS by itself."""

from typing import Any


def clients(*services: str, region: str, profile: str | None) -> list[Any]:
    """Return a client of each of `services`, such as "ecs", that tries again where AWS is busy."""
    # Loading boto3 takes half a second, which what needs no answer of its own is spared.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    patient = Config(retries={"mode": "standard", "max_attempts": 10})
    session: Any = boto3.session.Session(region_name=region, profile_name=profile)
    return [session.client(service, config=patient) for service in services]
