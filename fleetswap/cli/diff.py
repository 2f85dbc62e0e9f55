"""`fleetswap diff`: shows which packages change from one release to another, or to an image that is not deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetswap.aws.image.amis import identities
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.cli import locate, options, project, references
from fleetswap.cli.contents import NONE
from fleetswap.cli.display import print_json, print_result
from fleetswap.cli.locate import Place
from fleetswap.domain.closure.changes import Changes
from fleetswap.domain.closure.known import Known, between
from fleetswap.domain.closure.render import lines, markdown, plain
from fleetswap.domain.errors import CloudError, FleetswapError, InputError
from fleetswap.domain.image.source import FileImage, ImageSource
from fleetswap.nix import closures
from fleetswap.nix.cache import evaluations
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.read_manifest import NoManifest, read_manifest
from fleetswap.workflows.image.ship import FileSource
from fleetswap.workflows.rollout import service as workflow


class Format(str, Enum):
    """How the changes are written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def diff(
    context: typer.Context,
    *,
    from_release: Annotated[
        str | None,
        typer.Option("--from", metavar="RELEASE", show_default="the live release", help="The release to compare with."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            show_default="the image of the settings",
            help="What is compared: a release, a flake reference, PATH[#ATTR] of a Nix expression, or a disk image.",
        ),
    ] = None,
    style: Annotated[
        Format, typer.Option("--format", help="Lines for a terminal, a comment for a pull request, or a JSON object.")
    ] = Format.TEXT,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.JsonFormat = False,
) -> None:
    """Show which packages change from a release to another one, or to an image.

    Nothing is built and nothing is changed; the image need not be deployed. What a release contains is read from its
    snapshot, so two releases are compared through AWS alone. What an image will contain is read from its derivations.
    The exit status is 0 whether or not anything changes.
    """
    if as_json and style is not Format.JSON:
        options.refuse(context, "fleetswap diff --json", {"style"})
    at = locate.find(service, stack, region, endpoint_url, profile)
    releases = _Releases(at)
    before, after = releases.side(_live(at) if from_release is None else from_release), _wanted(at, releases, to)
    found = between(before.known, after.known)
    if found is None:
        raise FleetswapError(f"{before.name} and {after.name} cannot be compared: {_says(before)}, and {_says(after)}")
    if as_json or style is Format.JSON:
        print_json(_figures(at, before, after, found))
    elif style is Format.MARKDOWN:
        print_result(markdown(found, before.name, after.name, at.service.name).rstrip())
    else:
        shown = lines(found, at.service.name) or ["no package changes"]
        print_result("\n".join([f"{before.name} → {after.name}", *(f"  {line}" for line in shown)]))


@dataclass(frozen=True)
class _Side:
    """One of the two that are compared."""

    name: str
    identity: str
    known: Known
    release: str | None = None


class _Releases:
    """The releases of a service that have an AMI, and what is in their images."""

    def __init__(self, at: Place) -> None:
        self._stack = at.service.stack
        self._port = DirectSnapshots(*at.cloud.ebs_and_ec2(1))
        self.images: Mapping[str, str] = identities(at.cloud.ec2(), at.service.stack, at.service.name)

    def side(self, release: str) -> _Side:
        """A release; `InputError` if there is none of that name, `FleetswapError` if nothing is known of its image."""
        identity = self.images.get(release)
        if identity is None:
            known = ", ".join(self.images) or "none"
            raise InputError(f"release {release!r} has no AMI in this account and region: choose one of {known}")
        try:
            found = read_manifest(self._port, self._stack, identity)
        except (CloudError, NoManifest) as reason:
            raise FleetswapError(f"what release {release} contains is not known: {reason}") from reason
        if found is None:
            raise FleetswapError(f"what release {release} contains is not known: {NONE}")
        return _Side(release, identity, Known(found.closure, found.derived, found.packages), release)


def _live(at: Place) -> str:
    """The release with the traffic; while two have some, the one that the last successful rollout made live."""
    now = workflow.status(at.service, balancer=at.balancer, fleet=at.fleet, switch=None)
    serving = [each.release for each in now.serving]
    live = serving[0] if len(serving) == 1 else now.live
    if live is None:
        raise InputError(f"no release of {at.service.name} is live: name one with --from")
    return live


def _wanted(at: Place, releases: _Releases, to: str | None) -> _Side:
    if to is None:
        source, root = _of_settings(at)
        return _image("the image of the settings", source, root)
    if to in releases.images:
        return releases.side(to)
    if re.fullmatch(r"[\w.-]+", to) and not Path(to).exists():  # Nix would look for it in its registry of flakes
        known = ", ".join(releases.images) or "none"
        raise InputError(f"--to {to}: there is no such release (there are: {known}), file or folder")
    return _image(to, references.image(to), project.here())


def _of_settings(at: Place) -> tuple[ImageSource, Path]:
    here = project.find(project.here())
    if here is None or at.settings is None:
        raise InputError(
            f"the settings of stack {at.service.stack} are not here: name an image or a release with --to, or run this"
            " in the Pulumi project"
        )
    # Here and not above: the models of the settings are the library's for Pulumi programs, and take a second to load.
    from fleetswap_pulumi.permissions import settings_of  # noqa: PLC0415

    return settings_of(at.settings.config()).image.source, here.folder


def _image(name: str, source: ImageSource, root: Path) -> _Side:
    if isinstance(source, FileImage):
        disk = root / source.file
        return _Side(name, FileSource(disk).identity(), closures.of_disk(disk))
    kept = evaluations(root)
    made = NixSource(source, root, preview=True, cache=kept if kept.parent.is_dir() else None).evaluate()
    known = closures.of_evaluation(made)
    if known.derived is not None and known.is_machine:  # if it is built, sizes are known too
        known = replace(known, exact=closures.in_store(known.derived.root))
    return _Side(name, made.identity, known)


def _says(side: _Side) -> str:
    known = side.known
    kinds = {
        "a closure": known.exact is not None,
        "derivations": known.derived is not None,
        "packages": bool(known.packages),
    }
    return f"{side.name} has {' and '.join(kind for kind, has in kinds.items() if has) or 'no list of its packages'}"


def _figures(at: Place, before: _Side, after: _Side, found: Changes) -> dict[str, Any]:
    """Everything, for `--format json`: a public interface, as `fleetswap.cli.results`."""
    return {
        "service": at.service.name,
        "stack": at.service.stack,
        "from": {"release": before.release, "image": before.identity},
        "to": {"release": after.release, "image": after.identity},
        **plain(found),
    }
