"""Tags of EC2 resources, which all have one API for them. It knows no resource type."""

from __future__ import annotations

from typing import Any

from engine.aws_plugin.convert import tag_changes, tag_list
from engine.aws_plugin.kind import Call
from engine.aws_plugin.wire import Props


def specification(resource_type: str, props: Props) -> dict[str, Any]:
    """The `TagSpecifications` of a create call; empty if there are no tags, since AWS refuses an empty list."""
    tags = props.get("tagsAll")
    return {"TagSpecifications": [{"ResourceType": resource_type, "Tags": tag_list(tags)}]} if tags else {}


def update(call: Call, resource_id: str, old: Props, new: Props) -> None:
    """Bring a resource's tags from old to new."""
    removed, changed = tag_changes(old, new)
    if removed:
        call.client("ec2").delete_tags(Resources=[resource_id], Tags=[{"Key": key} for key in removed])
    if changed:
        call.client("ec2").create_tags(Resources=[resource_id], Tags=tag_list(changed))
