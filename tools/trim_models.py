"""Writes `fleetswap/aws/models`: what botocore knows of EC2 and of endpoints, cut down to what an upload needs.

The whole model of EC2 costs 25 MiB of memory and 0.2 s, all endpoints 7 MiB; an upload has 64 MiB for everything. Run
it after an update of botocore (`python tools/trim_models.py`); a test says when. It never changes what it keeps, but
for leaving out the documentation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from botocore.loaders import Loader

KEPT = (
    "CopySnapshot",
    "CreateTags",
    "DeleteSnapshot",
    "DeleteTags",
    "DescribeAvailabilityZones",
    "DescribeImages",
    "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes",
    "DescribePrefixLists",
    "DescribeRouteTables",
    "DescribeSecurityGroups",
    "DescribeSnapshots",
    "DescribeSubnets",
    "DescribeVpcAttribute",
    "DescribeVpcEndpointServices",
    "DescribeVpcEndpoints",
    "DescribeVpcs",
    "GetEbsDefaultKmsKeyId",
    "GetEbsEncryptionByDefault",
    "GetInstanceTypesFromInstanceRequirements",
)
"""EC2's calls that `fleetswap.aws.image.ebs`, `snapshots`, `amis`, `account` and `network` make."""

SERVICES = frozenset({"ebs", "ec2", "kms", "oidc", "portal.sso", "signin", "sts"})
"""Services whose endpoints are kept: an upload's, that of keys, and those that the chain of credentials may ask."""

MODELS = Path(__file__).parent.parent / "fleetswap" / "aws" / "models"


def trimmed() -> dict[str, str]:
    """The files' contents by their paths below `MODELS`."""
    loader = Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH])
    version = loader.determine_latest_version("ec2", "service-2")
    model = loader.load_service_model("ec2", "service-2", version)
    pages = loader.load_service_model("ec2", "paginators-1", version)
    operations = {name: model["operations"][name] for name in KEPT}
    service = {
        "version": model["version"],
        "metadata": model["metadata"],
        "operations": operations,
        "shapes": _shapes(model["shapes"], operations),
    }
    paginators = {"pagination": {name: page for name, page in pages["pagination"].items() if name in KEPT}}
    endpoints = loader.load_data("endpoints")
    for partition in endpoints["partitions"]:
        partition["services"] = {name: service for name, service in partition["services"].items() if name in SERVICES}
    files = {
        f"ec2/{version}/service-2.json": _undocumented(service),
        f"ec2/{version}/paginators-1.json": paginators,
        "endpoints.json": endpoints,
    }
    return {path: json.dumps(content, indent=1, sort_keys=True) + "\n" for path, content in files.items()}


def _shapes(all_shapes: dict[str, Any], operations: dict[str, Any]) -> dict[str, Any]:
    """The shapes that the operations need, and those that these need."""
    kept: dict[str, Any] = {}
    wanted = _named(operations)
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = all_shapes[name]
            wanted |= _named(kept[name])
    return kept


def _named(content: Any) -> set[str]:  # noqa: ANN401 (JSON)
    """All shapes that are referred to: `{"shape": "Name"}`, at any depth."""
    if isinstance(content, dict):
        found = {content["shape"]} if isinstance(content.get("shape"), str) else set()
        return found.union(*map(_named, content.values()))
    if isinstance(content, list):
        return set().union(*map(_named, content))
    return set()


def _undocumented(content: Any) -> Any:  # noqa: ANN401 (JSON)
    """Without what only people read: texts, and the values that a string may have, which botocore does not check."""
    if isinstance(content, dict):
        # A member may be called "documentation" or "enum"; then it is no text, and no list.
        return {
            name: _undocumented(value)
            for name, value in content.items()
            if not (name == "documentation" and isinstance(value, str))
            and not (name == "enum" and isinstance(value, list))
        }
    if isinstance(content, list):
        return [_undocumented(value) for value in content]
    return content


def main() -> None:
    """Write the files."""
    for path, text in trimmed().items():
        (MODELS / path).parent.mkdir(parents=True, exist_ok=True)
        (MODELS / path).write_text(text)


if __name__ == "__main__":
    main()
