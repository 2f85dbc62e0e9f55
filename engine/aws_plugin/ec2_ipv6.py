"""The IPv6 block of a VPC or a subnet, which AWS associates and dissociates in its own time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.aws_plugin.kind import Call, OperationError

Find = Callable[[], dict[str, Any] | None]
"""Describes the VPC or the subnet; None if it is gone."""


def associated(owner: dict[str, Any]) -> dict[str, Any]:
    """The block that a VPC or a subnet has, with its association; empty if it has none."""
    return next((item for item in _all(owner) if item["Ipv6CidrBlockState"]["State"] == "associated"), {})


def wait_associated(call: Call, owner_id: str, association: str, find: Find) -> None:
    """Wait until a block is associated; raises OperationError if AWS could not."""
    what = f"the IPv6 block of {owner_id}"

    def done() -> bool:
        state = _state(find(), association)
        if state.get("State") in {"failing", "failed"}:
            message = f"{what} was not associated: {state.get('StatusMessage', 'no reason given')}"
            raise OperationError(message)
        return state.get("State") == "associated"

    call.wait(f"{what} being associated", done)


def wait_dissociated(call: Call, owner_id: str, association: str, find: Find) -> None:
    """Wait until a block is free again."""
    call.wait(
        f"the IPv6 block of {owner_id} being dissociated",
        lambda: _state(find(), association).get("State") in {None, "disassociated"},
    )


def _all(owner: dict[str, Any]) -> list[dict[str, Any]]:
    return list(owner.get("Ipv6CidrBlockAssociationSet") or [])


def _state(owner: dict[str, Any] | None, association: str) -> dict[str, str]:
    return next(
        (dict(item["Ipv6CidrBlockState"]) for item in _all(owner or {}) if item["AssociationId"] == association), {}
    )
