"""Names that AWS limits in length."""

import hashlib

LOAD_BALANCER_NAME_LENGTH = 32
"""Characters in the name of a load balancer or a target group.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
"""

AUTONAME_SUFFIX_LENGTH = 8
"""Characters that Pulumi adds to a logical name to make a physical one: a hyphen and seven hexadecimal digits.

https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming
"""


def shortened(name: str, *, length: int) -> str:
    """Return `name`, or where it is longer than `length` characters its beginning and a digest of the whole.

    Two long names that begin alike stay different, and the same name always gives the same result.
    """
    if len(name) <= length:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: length - len(digest) - 1].rstrip('-')}-{digest}"


def load_balancer_name(name: str) -> str:
    """Return a logical name that leaves room for Pulumi's suffix within a load balancer's name."""
    return shortened(name, length=LOAD_BALANCER_NAME_LENGTH - AUTONAME_SUFFIX_LENGTH)


def autonamed(name: str) -> str:
    """Return the pattern, in a policy's resource, of the physical names that Pulumi makes of a logical one.

    So that `backend-pre` is no pattern for what belongs to `backend-pre-two`.
    """
    return f"{name}-" + "?" * (AUTONAME_SUFFIX_LENGTH - 1)
