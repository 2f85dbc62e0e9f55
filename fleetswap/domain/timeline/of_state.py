"""The deploys that the state of a stack has, as `pulumi stack export` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetswap.domain.timeline.model import Deploy, of_plain

ROLLOUT = "pulumi-python:dynamic/fleetswap:Rollout"
"""The type of the resource that has the history of a region."""


def of_state(exported: Mapping[str, Any]) -> tuple[tuple[Deploy, ...], tuple[str, ...]]:
    """The deploys of all regions, and what is wrong with those that cannot be read."""
    deploys, problems = list[Deploy](), list[str]()
    for plain in _kept(exported):
        try:
            deploys.append(of_plain(plain))
        except ValueError as error:
            problems.append(f"a deploy in the state cannot be read: {error}")
    return tuple(deploys), tuple(dict.fromkeys(problems))


def _kept(exported: Mapping[str, Any]) -> list[object]:
    deployment = exported.get("deployment")
    resources = deployment.get("resources") if isinstance(deployment, Mapping) else None
    found = list[object]()
    for each in resources if isinstance(resources, list) else ():
        if isinstance(each, Mapping) and each.get("type") == ROLLOUT:
            outputs = each.get("outputs")
            history = outputs.get("history") if isinstance(outputs, Mapping) else None
            found += history if isinstance(history, list) else ()
    return found
