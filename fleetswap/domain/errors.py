"""The errors that Fleetswap raises on purpose, and the exit status of each.

    FleetswapError            any of the below; the message is the one line that the user sees
    ├── InputError            the request is invalid; nothing was changed
    │   └── EvaluationError   Nix cannot evaluate the image
    ├── Aborted               the gate aborted; the live release kept all the traffic, or has it again
    └── CloudError            AWS refused, or did not respond within the time budget
        ├── TryAgain          the same call may succeed later: a 5xx, a lost connection, a malformed response
        │   └── Throttled     ... at a slower pace: a quota of requests is used up for the moment
        ├── NotFound          the resource does not exist: not yet, or no longer
        └── Invalid           the request is not valid for its resource

A message is one line: what failed, the IDs that matter, the remedy. It never contains a secret. Only that of an
`EvaluationError` has Nix's own message, which may be a list, below its first line.
"""

from __future__ import annotations


class FleetswapError(Exception):
    """Base of every error raised on purpose. `exit_status` is what a command line ends with."""

    exit_status = 1


class InputError(FleetswapError):
    """A setting, a file or an argument is wrong. Raised before anything is created or changed."""

    exit_status = 2


class EvaluationError(InputError):
    """Nix does not evaluate the image. The message may have several lines, without escapes or control characters."""


class Aborted(FleetswapError):
    """A rollout was given up for a reason found in the evidence. Live has all the traffic."""

    exit_status = 3


class CloudError(FleetswapError):
    """An AWS call failed for good, or did not succeed within its time budget."""

    exit_status = 1


class TryAgain(CloudError):
    """The call failed in a way that may pass. A reading is then unknown; a change may have been made or not.

    How long to try again is the workflow's business.
    """


class Throttled(TryAgain):
    """A quota of requests is used up for this moment: not a failure, but a sign to go slower."""


class NotFound(CloudError):
    """What was asked about does not exist: not yet, or no longer. Trying again helps only while it is new."""


class Invalid(CloudError):
    """The request does not fit: a value that AWS refuses, or a resource whose state does not allow it.

    `reason` is the service's, if it gave one (EBS direct APIs, ValidationException).
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
