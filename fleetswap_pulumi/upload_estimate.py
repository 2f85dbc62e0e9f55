"""What the upload of a new release will move, as a message in the preview: blocks, size, time, price.

A message and no input: it depends on what is on this computer and in AWS at this moment, so as an input it would change
from preview to preview. It is there only if the image is: a file, or one that Nix has built already. Whatever is wrong,
the preview goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pulumi

from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.keys import Keys
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image.cost import Estimate
from fleetswap.domain.image.manifest import Manifest, encode
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.secrets.sealing import STACK
from fleetswap.nix.output import read
from fleetswap.nix.stated import beside
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.image.estimate import estimate, seconds_left
from fleetswap.workflows.image.request import AUTO, NONE, UploadRequest
from fleetswap_pulumi.project import root
from fleetswap_pulumi.settings import Settings

SECONDS = 5.0
"""How long blocks are compared: some GiB on two cores. A preview must not wait for the rest."""

Estimates = Callable[[Path, UploadRequest, Callable[[str], None]], Estimate | None]
"""What an upload would send; None if that takes too long. See `fleetswap.workflows.image.estimate`."""


def of(cloud: Cloud) -> Estimates:
    """Estimates out of the stack's snapshots."""

    def ask(disk: Path, request: UploadRequest, say: Callable[[str], None]) -> Estimate | None:
        def by_default() -> bool:
            return Keys(cloud).ebs_default().by_default

        clock = SystemClock()
        port = DirectSnapshots(*cloud.ebs_and_ec2(1))
        return estimate(disk, request, port, say, enough=seconds_left(clock, SECONDS), clock=clock, encrypts=by_default)

    return ask


def tell_upload(
    settings: Settings, wanted: Entry, ledger: Ledger, estimates: Estimates, own_key: str | None = None
) -> None:
    """Show what the upload of a new release will move. In an update nothing is shown: it uploads right away.

    `own_key` is the ARN of the stack's key for volumes and snapshots, if it is made already.
    """
    if not pulumi.runtime.is_dry_run() or any(entry.release == wanted.release for entry in ledger.entries):
        return
    reasons: list[str] = []
    try:
        disk = _disk(wanted)
        if disk is None:
            return
        planned = estimates(disk, _request(settings, wanted, disk, own_key), reasons.append)
    except FleetswapError as error:
        pulumi.log.info(f"{wanted.release}: how many blocks will be sent is not known: {error}")
        return
    if planned is None:
        pulumi.log.info(f"{wanted.release}: how many blocks will be sent takes longer than {SECONDS:.0f} s to find out")
        return
    why = f" ({reasons[-1]})" if reasons and planned.parent is None and planned.adopted is None else ""
    pulumi.log.info(f"{wanted.release}: {planned}{why}")


def _disk(wanted: Entry) -> Path | None:
    """The disk of the image, if it is on this computer; nothing is built."""
    if isinstance(wanted.image.source, FileImage):
        return root() / wanted.image.source.file
    out = Path(wanted.image.identity)
    return read(out).disk if out.exists() else None


def _request(settings: Settings, wanted: Entry, disk: Path, own_key: str | None) -> UploadRequest:
    """The request of the upload, as far as it decides what is sent. The derivations' closure is left out of the
    manifest: to derive it takes longer than the block that it may add.
    """
    image = wanted.image
    stated = beside(disk, image.identity)
    closure = None if stated is None else stated.closure
    contains = Manifest(image.identity, closure, packages=image.packages)
    # Of an image of Nix there is always one, of its derivations if of nothing else.
    manifest = encode(contains) or (b"" if isinstance(image.source, FileImage) else b"{}")
    kms_key = own_key if image.kms_key == STACK else image.kms_key
    return UploadRequest(
        image.identity,
        settings.stack,
        encrypted=kms_key is not None,
        kms_key=kms_key,
        lineage=settings.service,
        # Nothing can be encrypted yet with a key that this update makes.
        parent=NONE if image.kms_key is not None and kms_key is None else AUTO,
        sparse=settings.upload.sparse,
        trusted_stacks=settings.upload.stacks,
        trusted_accounts=settings.upload.accounts,
        manifest=manifest,
    )
