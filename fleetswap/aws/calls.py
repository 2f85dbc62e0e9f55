"""What an AWS error means: try again, or a refusal, as one line that names the call, the thing and the remedy.

It decides from the error alone, makes no call and retries nothing: botocore's standard mode has retried already
(`fleetswap.aws.session`), and the state machine of the rollout decides how long to go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)

from fleetswap.aws.refusals import CREDENTIALS, lasting, no_credentials
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.gate import one_line

PASSING = frozenset(
    {
        "HealthUnavailable",  # elbv2 DescribeTargetHealth: "an internal error"
        "InternalError",
        "InternalFailure",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceContention",  # autoscaling: a pending update of the same resource
        "ScalingActivityInProgress",  # autoscaling UpdateAutoScalingGroup
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "Unavailable",
    }
)
"""Error codes that pass by themselves (botocore's standard retry mode, and the API references named above)."""

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
"""Error codes of a missing permission (IAM user guide, "Troubleshoot access denied error messages")."""


@contextmanager
def explained(permission: str, thing: str) -> Iterator[None]:
    """Turn the errors of one call into `TryAgain` or `CloudError`.

    `permission` is the IAM action that the call needs, `thing` the id that it is about.
    """
    try:
        yield
    except ClientError as error:
        raise _meaning(error, permission, thing) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise CloudError("there are no AWS credentials: set a profile or the AWS_* variables") from error
    except (HTTPClientError, NoConnection) as error:
        if (remedy := lasting(error)) is not None:
            raise CloudError(f"{permission} on {thing} failed: {remedy}") from error
        raise TryAgain(f"AWS does not answer to {permission} on {thing}: {one_line(str(error))}") from error
    except BotoCoreError as error:
        raise CloudError(f"{permission} on {thing} failed: {one_line(str(error))}") from error
    except CREDENTIALS as error:
        raise CloudError(no_credentials(error)) from error


def code(error: ClientError) -> str:
    """The error code, without the suffix that some services add."""
    return error.response.get("Error", {}).get("Code", "").removesuffix("Fault")


def _meaning(error: ClientError, permission: str, thing: str) -> CloudError:
    name, message = code(error), one_line(error.response.get("Error", {}).get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if name in PASSING or status >= 500 or status == 429:
        return TryAgain(f"AWS does not answer to {permission} on {thing} for now ({name or status})")
    if name in DENIED:
        # AWS often says which action it was, e.g. iam:PassRole of another call; then it knows better.
        told = re.search(r"not authorized to perform: ([\w-]+:\w+)(?: on resource: (\S+))?", message)
        if told and told.group(1) != permission:
            permission, thing = told.group(1), told.group(2) or thing
        if "use launch template" in message:
            # What a group launches is checked when the group is made or changed (Auto Scaling user guide, "Control
            # Amazon EC2 launch template usage"); AWS names neither the action nor the resource.
            permission = "ec2:RunInstances, ec2:CreateTags or iam:PassRole"
        return CloudError(f"AWS refuses {permission} on {thing}: give the deploying role that permission")
    return CloudError(f"{permission} on {thing} failed: {name}: {message}")


def answered_at(answer: Mapping[str, Any]) -> datetime:
    """When AWS sent an answer, by its own clock, to the second: the header `Date`. This machine's time if it has none.

    A deployer's clock may be wrong, and what AWS does at a time it does by its own.
    """
    try:
        date: str = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return parsedate_to_datetime(date)
    except (KeyError, ValueError):
        return datetime.now(UTC)
