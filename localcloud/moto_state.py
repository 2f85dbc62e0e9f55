"""Where moto keeps the state of the local cloud, and the lock that guards it.

Decides nothing. Everything that reads or changes moto's backends, from whatever thread, holds `LOCK` meanwhile: moto's
backends are plain dictionaries. Whoever holds `LOCK` must not wait for a thread that may want it.
"""

from __future__ import annotations

import threading
from typing import Any, TypeAlias

from moto.backends import get_backend

from localcloud import regions

Moto: TypeAlias = Any  # moto ships no types that mypy can read

ACCOUNT_ID = "123456789012"  # moto's own, and what its STS answers
REGION = regions.REGION
GLOBAL = frozenset({"iam", "route53", "s3", "sts"})  # services of which moto has one backend a partition

LOCK = threading.RLock()


def backend(service: str) -> Moto:
    """Moto's backend of a service (`ec2`, `autoscaling`, `elbv2`, `kms`, …) in our account and region."""
    return get_backend(service)[ACCOUNT_ID]["aws" if service in GLOBAL else REGION]
