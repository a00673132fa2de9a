"""Ports of an instance on which containers are reached.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
"""

RESERVED = frozenset([22, 2375, 2376])
"""Ports below the dynamic ones that an instance's own services may use: SSH and Docker."""

DYNAMIC = (32768, 65535)
"""The first and the last port of the range from which an instance picks one, where `hostPort` is 0.

AL2023's kernel picks up to 60999; the agent falls back to 49153-65535 where it can't read the kernel's range.
"""
