"""The one tag policy: which tags every taggable resource of a stack carries.

The tags, not the state, are how a command finds live and standby when the state backend is gone, so their keys are
part of the product's interface and never change meaning.
"""

from __future__ import annotations

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
"""The name under which images follow one another: a snapshot's parent is one of the same lineage, in any stack."""

PARENT = "fleetswap:parent"
"""The snapshot that a snapshot was started from, or `none`. Only with the same parent can an upload be resumed."""

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


def refuse_reserved(key: str) -> None:
    """Raise `InputError` for the key of a user's tag that is not the user's to choose."""
    if key.lower().startswith(RESERVED_PREFIXES):
        raise InputError(f"tag {key!r} is reserved: choose a key that starts with none of {RESERVED_PREFIXES}")
