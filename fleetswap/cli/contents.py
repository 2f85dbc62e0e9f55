"""`fleetswap why` and `fleetswap manifest`: what the releases of a service consist of, read out of their snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from fleetswap.aws.image.amis import identities
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.cli import locate, options
from fleetswap.cli.display import print_json, print_result
from fleetswap.domain.closure.model import Component
from fleetswap.domain.closure.why import Match, in_closure, in_packages
from fleetswap.domain.errors import CloudError, FleetswapError, InputError
from fleetswap.domain.image import spdx
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.rollout.view import ServiceView
from fleetswap.domain.text import amount
from fleetswap.workflows.image.read_manifest import NoManifest, read_manifest
from fleetswap.workflows.rollout import service as workflow

ANY = "*"

SIMILAR = 8
"""So many names that contain the one asked for are shown."""


class Absent(FleetswapError):
    """What was asked for is in no release. Everything could be read."""

    exit_status = 5


class Format(StrEnum):
    """Values of `--format`."""

    SPDX = "spdx"
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True)
class _Release:
    """A release and what it consists of, or why that is not known."""

    name: str
    role: str
    identity: str
    manifest: Manifest | None
    problem: str


def why(
    package: Annotated[str, typer.Argument(metavar="PACKAGE")],
    version: Annotated[str, typer.Argument(metavar="[VERSION]", show_default=False)] = ANY,
    *,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Show which live, standby and retained releases contain PACKAGE, and what brings it in.

    PACKAGE and VERSION are exact, or patterns with *, ? and [...]: quote them. The command reads the snapshots of the
    releases, which it finds by tags, and needs neither Pulumi, nor its state, nor Nix.
    """
    at = locate.find(service, stack, region, endpoint_url, profile)
    releases = [(each, *_matches(each.manifest, package, version)) for each in _releases(at)]
    if as_json:
        print_json(
            {
                "service": at.service.name,
                "stack": at.service.stack,
                "package": package,
                "version": None if version == ANY else version,
                "releases": [_figures(each, kind, found) for each, kind, found in releases],
            }
        )
    else:
        for each, kind, found in releases:
            for line in _lines(each, kind, found):
                print_result(line)
    if any(found for _, _, found in releases):
        return
    what = package if version == ANY else f"{package} {version}"
    unknown = [each for each, kind, _ in releases if not kind]
    if unknown:
        named = "; ".join(f"{each.name}: {each.problem}" for each in unknown)
        raise CloudError(f"{what} is in no release that is known; not known are {named}")
    similar = sorted({name for each, _, _ in releases for name in _names(each.manifest) if package in name})
    also = f", but there is {', '.join(similar[:SIMILAR])}" if similar and version == ANY else ""
    raise Absent(f"no release of {at.service.name} contains {what}{also}")


def manifest(
    context: typer.Context,
    release: Annotated[str | None, typer.Argument(metavar="[RELEASE]", show_default=False)] = None,
    *,
    form: Annotated[
        Format,
        typer.Option("--format", help="spdx: an SPDX 2.3 document; text: a table; json: one JSON object."),
    ] = Format.SPDX,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.JsonFormat = False,
) -> None:
    """Print what RELEASE (the live one if none is given) consists of.

    It is read out of the snapshot of the release, which is found by tags: neither Pulumi, nor its state, nor Nix is
    needed.
    """
    if as_json and form is not Format.JSON:
        options.refuse(context, "fleetswap manifest --json", {"form"})
    at = locate.find(service, stack, region, endpoint_url, profile)
    each = _chosen(at, release)
    form = Format.JSON if as_json else form
    found = each.manifest
    if found is None:
        problem = f"{each.name}: {each.problem}"
        raise Absent(problem) if each.problem == NONE else CloudError(problem)
    if form is Format.SPDX:
        print_json(spdx.document(found.identity, found.closure, packages=found.packages, licences=found.licences))
    elif form is Format.JSON:
        rows = [_row(component) for component in _components(found)]
        print_json(
            {
                "release": each.name,
                "role": each.role,
                "identity": each.identity,
                "exact": found.closure is not None,
                "packages": rows,
            }
        )
    else:
        for component in _components(found):
            size = "" if component.size is None else amount(component.size)
            cells = (component.name, component.version, component.licence or "", size, component.path)
            print_result("\t".join(cells).rstrip())


def _chosen(at: locate.Place, release: str | None) -> _Release:
    releases = _releases(at, only=release)
    live = [each for each in releases if each.role == "live"]
    if release is None and not live:
        raise InputError(f"no release of {at.service.name} is live: name one")
    if not releases:
        known = ", ".join(identities(at.cloud.ec2(), at.service.stack, at.service.name)) or "none"
        raise InputError(f"{at.service.name} has no AMI of release {release} (there are: {known})")
    return live[0] if release is None else releases[0]


def _releases(at: locate.Place, *, only: str | None = None) -> list[_Release]:
    """The releases with an AMI: those with machines first, by role. Each image is read once."""
    now = workflow.status(at.service, balancer=at.balancer, fleet=at.fleet, switch=None)
    images = identities(at.cloud.ec2(), at.service.stack, at.service.name)
    lost = [each.release for each in now.releases if each.release not in images]
    port = DirectSnapshots(*at.cloud.ebs_and_ec2(1))
    known: dict[str, tuple[Manifest | None, str]] = {}
    found = []
    for name in sorted((*images, *lost), key=lambda each: (_RANKS.index(_role(now, each)), each)):
        if only is not None and name != only:
            continue
        identity = images.get(name, "")
        if identity not in known:
            known[identity] = _read(port, at.service.stack, identity)
        found.append(_Release(name, _role(now, name), identity, *known[identity]))
    return found


_RANKS = ("live", "standby", "serving", "candidate", "retained")


def _role(now: ServiceView, name: str) -> str:
    """Live and standby are what the last rollout made them; others have machines, or only their image."""
    if name == now.live:
        return "live"
    if name == now.standby:
        return "standby"
    if any(each.release == name for each in now.serving):
        return "serving"
    return "candidate" if any(each.release == name for each in now.releases) else "retained"


def _read(port: DirectSnapshots, stack: str, identity: str) -> tuple[Manifest | None, str]:
    if not identity:
        return None, "it has no AMI"
    try:
        found = read_manifest(port, stack, identity)
    except (CloudError, NoManifest) as reason:
        return None, str(reason)
    return found, "" if found is not None else NONE


NONE = "its snapshot has no manifest: it was uploaded by an older version, or nothing says what is in its image"


def _matches(found: Manifest | None, package: str, version: str) -> tuple[str, tuple[Match, ...]]:
    """By what a release is known, and the matches: its closure, else what its author lists, else its derivations."""
    if found is None:
        return "", ()
    if found.closure is not None:
        return "closure", in_closure(found.closure, package, version)
    if found.packages:
        return "packages", in_packages(found.packages, package, version)
    return "derivations", () if found.derived is None else in_closure(found.derived, package, version)


def _names(found: Manifest | None) -> set[str]:
    return {each.name for each in _components(found)} if found is not None else set()


_SAYS = {"closure": "contains", "packages": "lists", "derivations": "may contain (from its derivations)"}


def _lines(each: _Release, kind: str, found: tuple[Match, ...]) -> Iterator[str]:
    who = f"{each.name} ({each.role})"
    if not kind:
        yield f"{who}: not known, because {each.problem}"
    elif not found:
        yield f"{who}: no"
    for match in found:
        yield f"{who} {_SAYS[kind]} {_named(match.name, match.version, ' ')}"
        if match.via:
            yield f"  {' → '.join(_named(one.name, one.version, '-') for one in match.via)}"


def _named(name: str, version: str, between: str) -> str:
    return f"{name}{between}{version}" if version else name


def _figures(each: _Release, kind: str, found: tuple[Match, ...]) -> dict[str, Any]:
    return {
        "release": each.name,
        "role": each.role,
        "identity": each.identity or None,
        "known_by": kind or None,
        "problem": each.problem or None,
        "matches": [
            {"name": one.name, "version": one.version, "via": [component.path for component in one.via]}
            for one in found
        ],
    }


def _components(found: Manifest) -> list[Component]:
    """By name. Packages whose closure nobody knows have no path."""
    if found.closure is None and found.packages:
        of: Mapping[str, str] = found.packages
        return [Component("", name, of[name], licence=found.licences.get(name)) for name in sorted(of)]
    closure = found.closure or found.derived
    components = closure.components.values() if closure is not None else ()
    return sorted(components, key=lambda each: (each.name, each.version, each.path))


def _row(each: Component) -> dict[str, Any]:
    return {
        "name": each.name,
        "version": each.version,
        "path": each.path or None,
        "size": each.size,
        "licence": each.licence,
        "references": list(each.references),
    }
