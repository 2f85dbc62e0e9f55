"""The errors that Fleetswap raises on purpose, and the exit status that stands for each.

    FleetswapError            anything below; the message is the one line that the user sees
    ├── InputError            what was asked for is wrong; nothing was touched
    ├── Aborted               the gate said no; the live release kept, or got back, all the traffic
    └── CloudError            AWS refused or stayed silent past the time budget

A message is one line: what failed, the ids that matter, the remedy. It never holds a secret.
"""

from __future__ import annotations


class FleetswapError(Exception):
    """Base of every error raised on purpose. `exit_status` is what a command line ends with."""

    exit_status = 1


class InputError(FleetswapError):
    """A setting, a file or an argument is wrong. Raised before anything is created or changed."""

    exit_status = 2


class Aborted(FleetswapError):
    """A rollout was given up for a reason found in the evidence. Live has all the traffic."""

    exit_status = 3


class CloudError(FleetswapError):
    """An AWS call failed for good, or did not succeed within its time budget."""

    exit_status = 1
