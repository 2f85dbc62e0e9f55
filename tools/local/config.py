"""Which configuration an update of the stack `local` gets: pure decisions, no effects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

from tools.local.work import PROJECT, STACK, LocalError

DEFAULT_PORT = 4510
# Nothing in this stack is secret, so its passphrase is no secret either; with the fixed salt that belongs to it, pulumi
# has no reason to write one into the committed Pulumi.local.yaml.
PASSPHRASE = "local"  # noqa: S105
SALT = "v1:fXeOJBrUkp0=:v1:kAyku2GdsoxXWZCl:+y7vLkxfcbsUkG7JpO1Q3+pD07tlVw=="
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


def configuration(committed: Mapping[str, Any], chosen: Mapping[str, Any], *, port: int) -> dict[str, Any]:
    """The stack's configuration: the committed file, with the version, the release and the port that were chosen.

    Raises LocalError where a version was chosen and the image is not one that Nix builds.
    """
    result = deepcopy(dict(committed))
    result["encryptionsalt"] = SALT
    config = result["config"]
    if committed_port(committed) != port:
        config[f"{PROJECT}:endpoint"] = f"http://127.0.0.1:{port}"
    if chosen.get("version"):
        nix = (config.get(f"{PROJECT}:image") or {}).get("nix")
        if nix is None:
            raise LocalError(f"VERSION needs an image that Nix builds: set {PROJECT}:image.nix in Pulumi.{STACK}.yaml")
        nix.setdefault("args", {})["version"] = chosen["version"]
    if chosen.get("release"):
        config[f"{PROJECT}:release"] = chosen["release"]
    return result


def listener_port(committed: Mapping[str, Any]) -> int:
    """The port that the fleet is to answer at."""
    front = committed["config"].get(f"{PROJECT}:front") or {}
    return int(front.get("port") or 80)


def committed_port(committed: Mapping[str, Any]) -> int:
    """The port of the local cloud that the committed configuration names."""
    return urlsplit(committed["config"].get(f"{PROJECT}:endpoint", "")).port or DEFAULT_PORT
