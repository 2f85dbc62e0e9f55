"""The package changes of an image, as lines that a reviewer reads in a preview. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The differences between two manifests (package to version), by name.

    `busybox 1.35.0-4 → 1.36.1-1` for another version, `+ x 1` for what came, `- y 2` for what went. An empty manifest
    means that nobody wrote one, not that the image is empty: there is nothing to compare, and the answer is no lines.
    """
    if not before or not after:
        return []
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None:
            lines.append(f"+ {name} {new}")
        elif new is None:
            lines.append(f"- {name} {old}")
        elif old != new:
            lines.append(f"{name} {old} → {new}")
    return lines
