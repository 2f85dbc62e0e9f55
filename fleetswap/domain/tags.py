"""The one tag policy: which tags every taggable resource of a stack carries.

Without the state, a command finds live and standby by these tags. So their keys are part of the product's interface and
never change their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleetswap.domain.errors import InputError

STACK = "fleetswap:stack"
"""`project/stack`: who may change or delete the resource."""

SERVICE = "fleetswap:service"
"""The service whose traffic the resource takes part in."""

RELEASE = "fleetswap:release"
"""The release that the resource belongs to; absent on what releases share."""

IMAGE = "fleetswap:image"
"""The image's identity: its Nix store path, or `sha256:…` of a given file."""

LINEAGE = "fleetswap:lineage"
"""The name under which images follow one another: a snapshot's parent is one of the same lineage and stack."""

PARENT = "fleetswap:parent"
"""The snapshot that a snapshot was started from, or `none`. Only with the same parent can an upload be resumed."""

UPLOAD = "fleetswap:upload"
"""The snapshot's own id, written by the upload that started it. Backup tools copy the tags of volumes and snapshots; of
what they make, this tag names another snapshot, if it is there at all."""

COPY = "fleetswap:copy"
"""On a copy of a snapshot that another account shares: the identity of the image that it should hold. It is the parent
of one upload, and is deleted when that ends (`fleetswap.workflows.image.promote`)."""

MANIFEST = "fleetswap:manifest"
"""Digest of the manifest that a snapshot was started for, absent if for none. Only with the same can an upload be
resumed. What a completed snapshot has, its header says."""

KEYS = "fleetswap:keys"
"""On an auto scaling group: the ARNs of the KMS keys without which its release cannot start machines, in one line."""

OWN_KEY = "fleetswap:own-key"
"""On a snapshot that the own key of a stack encrypts: that stack. It can be read as long as the stack has the key, so
only an upload with this key makes another one from it (`fleetswap.domain.image.snapshots.is_others`)."""

MOST = 40
"""Tags of the user, at most: a resource has 50, and a group under a rollout carries ten of ours (`rollout_tags`)."""

KEY_CHARS, VALUE_CHARS = 127, 255
"""The shortest limits of those that take our tags (EBS direct, StartSnapshot)."""

_TAKEN = re.compile(r"[\w .:/=+@-]*")
"""What every service takes: letters, digits, spaces and these (IAM and ELBv2, Tag)."""

RESERVED_PREFIXES = ("aws:", "fleetswap:")
"""`aws:` is reserved by AWS (Tagging best practices), `fleetswap:` by this policy."""


def policy(
    stack: str,
    service: str,
    *,
    name: str,
    release: str | None = None,
    image: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The tags of one resource. `extra` are the user's; a reserved key among them is an `InputError`."""
    for key in extra or {}:
        refuse_reserved(key)
    tags = dict(extra or {}) | {"Name": name, STACK: stack, SERVICE: service}
    if release is not None:
        tags[RELEASE] = release
    if image is not None:
        tags[IMAGE] = image
    return tags


def check(extra: Mapping[str, str]) -> None:
    """Raise `InputError` for tags of the user that some service would refuse, half-way through a deploy."""
    if len(extra) > MOST:
        raise InputError(
            f"{len(extra)} tags are too many: the maximum is {MOST}, because AWS allows 50 including those of Fleetswap"
        )
    for key, value in extra.items():
        refuse_reserved(key)
        if key.lower() == "name":
            raise InputError(f"tag {key!r} cannot be set: Fleetswap sets `Name` to the name of each resource")
        if not 1 <= len(key) <= KEY_CHARS or len(value) > VALUE_CHARS:
            raise InputError(f"tag {key!r}: a key has 1 to {KEY_CHARS} characters, a value at most {VALUE_CHARS}")
        if not (_TAKEN.fullmatch(key) and _TAKEN.fullmatch(value)):
            raise InputError(f"tag {key!r}: key and value may hold letters, digits, spaces and . : / = + - @ _")
    twice = sorted(key for key in extra if [each.lower() for each in extra].count(key.lower()) > 1)
    if twice:
        raise InputError(f"tags {', '.join(twice)} differ only in case, which IAM does not distinguish")


def refuse_reserved(key: str) -> None:
    """Raise `InputError` for the key of a user's tag that is not the user's to choose."""
    if key.lower().startswith(RESERVED_PREFIXES):
        raise InputError(
            f"tag {key!r} is reserved: use a key that does not start with {' or '.join(RESERVED_PREFIXES)}"
        )
