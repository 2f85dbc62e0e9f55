"""Which configuration an update of the stack `local` gets: pure decisions, no effects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

from tools.local.work import PROJECT, STACK, LocalError

DEFAULT_PORT = 4510
# Nothing in this stack is secret, so its passphrase is no secret either; with the fixed salt that belongs to it, pulumi
# has no reason to write one into the committed Pulumi.local.yaml.
PASSPHRASE = "local"  # noqa: S105
SALT = "v1:fXeOJBrUkp0=:v1:kAyku2GdsoxXWZCl:+y7vLkxfcbsUkG7JpO1Q3+pD07tlVw=="
DEMO = "nix/demo"
"""The image that takes a sealed file, as its argument `secrets`."""

VERSION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def checked_version(value: str | None) -> str | None:
    """`VERSION` as given, None if it is empty. It becomes a Nix argument and part of a page, so it is kept plain."""
    if not value:
        return None
    if not VERSION_PATTERN.fullmatch(value):
        message = f"VERSION={value!r} is not a version: use up to 64 letters, digits, and . _ + - after the first"
        raise LocalError(message)
    return value


def checked_port(value: str | None) -> int | None:
    """`PORT` as given, None if it is empty."""
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
        raise LocalError(f"PORT={value!r} is not a port: use a number from 1 to 65535")
    return int(value)


def needs_secret(committed: Mapping[str, Any]) -> bool:
    """Whether the stack has secrets, and the demo image, which opens one."""
    config = committed["config"]
    nix = _nix(config) or {}
    return config.get(f"{PROJECT}:secrets") not in (None, False) and nix.get("expression") == DEMO


def _nix(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What Nix builds the image from. A text is a flake, which takes no arguments."""
    image = config.get(f"{PROJECT}:image")
    return image.get("nix") if isinstance(image, dict) else None


def configuration(
    committed: Mapping[str, Any],
    chosen: Mapping[str, Any],
    *,
    port: int,
    sealed: Path | None = None,
    is_sealed: bool = True,
) -> dict[str, Any]:
    """The stack's configuration: the committed file, with the version, the release and the port that were chosen.

    `sealed` is the sealed file of the demo secret, which is checked, and which the image is built with. If it is not
    there yet (`is_sealed`), this is of the update that makes its key. Raises LocalError where a version was chosen and
    the image is not one that Nix builds.
    """
    result = deepcopy(dict(committed))
    result["encryptionsalt"] = SALT
    config = result["config"]
    if committed_port(committed) != port:
        config[f"{PROJECT}:endpoint"] = f"http://127.0.0.1:{port}"
    if chosen.get("version"):
        nix = _nix(config)
        if nix is None:
            raise LocalError(f"VERSION needs an image that Nix builds: set {PROJECT}:image.nix in Pulumi.{STACK}.yaml")
        nix.setdefault("args", {})["version"] = chosen["version"]
    if sealed is not None and needs_secret(committed):
        secrets = config[f"{PROJECT}:secrets"]
        config[f"{PROJECT}:secrets"] = {**(secrets if isinstance(secrets, dict) else {}), "file": str(sealed)}
        if is_sealed:
            config[f"{PROJECT}:image"]["nix"].setdefault("args", {})["secrets"] = str(sealed)
    if chosen.get("release"):
        config[f"{PROJECT}:release"] = chosen["release"]
    return result


def listener_port(committed: Mapping[str, Any]) -> int:
    """The port that the fleet is to answer at."""
    front = committed["config"].get(f"{PROJECT}:front") or {}
    return int(front.get("port") or 80)


def home_region(committed: Mapping[str, Any]) -> str:
    """The region that the local cloud stands for."""
    return str(committed["config"].get("aws:region") or "us-east-1")


def front_address(region: str) -> str:
    """Where load balancer 1 of a region's local cloud answers; `localcloud.regions` has the same arithmetic."""
    return f"127.66.{0 if region == 'us-east-1' else 1 + crc32(region.encode()) % 250}.1"


def committed_port(committed: Mapping[str, Any]) -> int:
    """The port of the local cloud that the committed configuration names."""
    return urlsplit(committed["config"].get(f"{PROJECT}:endpoint", "")).port or DEFAULT_PORT
