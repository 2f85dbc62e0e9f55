"""What is kept of the last deploys: in the state, and together with what the records of this computer have.

A plain deploy of the state is never read to add another one: one that a newer version has written stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fleetswap.domain.errors import InputError
from fleetswap.domain.timeline.model import Deploy, time_of, to_plain

KEPT = 20
"""Deploys that a state keeps of a region."""

GREATEST = 64 * 1024
"""Characters of these as JSON. A deploy with three canary steps has about 1,700."""

ALIAS = "live"
"""Names the release that is live by the last deploy that succeeded."""


def added(kept: object, deploy: Deploy) -> list[Mapping[str, Any]]:
    """The history with one more deploy, the newest first. `kept` is what a state has, whatever that is."""
    before = [each for each in kept if isinstance(each, Mapping)] if isinstance(kept, list | tuple) else []
    found = [to_plain(deploy), *(each for each in before if each.get("run") != deploy.run)][:KEPT]
    while len(found) > 1 and len(json.dumps(found)) > GREATEST:
        found.pop()
    return found


def merged(state: Iterable[Deploy], records: Iterable[Deploy]) -> tuple[Deploy, ...]:
    """All deploys of both, the newest first. The state knows more of a run that both have."""
    found = {each.run: each for each in records} | {each.run: each for each in state}
    return tuple(sorted(found.values(), key=lambda each: (time_of(each.ended), each.run), reverse=True))


def chosen(deploys: Sequence[Deploy], name: str) -> Deploy:
    """The newest deploy of a release: its ID, the beginning of it, or `live`. `InputError` if that is not one release.

    The run of a deploy names it as well, so that an older one of the same release can be chosen.
    """
    if name == ALIAS:
        live = next((each for each in deploys if each.succeeded), None)
        if live is None:
            raise InputError("no deploy that succeeded is known: name a release")
        return live
    exact = [each for each in deploys if name in {each.release, each.run}]
    found = exact or [each for each in deploys if name and name in _beginnings(each, len(name))]
    releases = list(dict.fromkeys(each.release for each in found))
    if not found:
        known = ", ".join(dict.fromkeys(each.release for each in deploys)) or "none"
        raise InputError(f"no deploy of {name!r} is known (deploys are known of: {known})")
    if len(releases) > 1:
        raise InputError(f"{name!r} may be {' or '.join(releases)}: write more of it")
    return found[0]


def _beginnings(deploy: Deploy, length: int) -> set[str]:
    _, _, own = deploy.release.rpartition("-")
    return {deploy.release[:length], own[:length], deploy.run[:length]}
