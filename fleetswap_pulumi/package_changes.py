"""What a new release changes in what is installed, as lines that a reviewer reads in the preview.

They are an input of its disk image, made when the release is first wanted and kept with it in the ledger. So they come
from what every computer knows of both images, and not from what happens to be built on this one.
"""

from __future__ import annotations

from collections.abc import Callable

import pulumi

from fleetswap.domain.closure.known import Known, between
from fleetswap.domain.closure.render import PREVIEW_LINES, lines
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.release.ledger import Entry, Ledger

Manifests = Callable[[str], Manifest | None]
"""The manifest of an image by its identity, or None if it has none, or it cannot be read, which was then said."""


def changes_since(live: Entry | None, wanted: Known, manifests: Manifests, service: str) -> tuple[str, ...]:
    """What changes from the live release to the wanted image, in at most `PREVIEW_LINES` lines.

    None without a live release, or if nothing that is known of both can be compared, which is then said.
    """
    if live is None or wanted == Known():
        return ()
    found = between(_of_live(live, wanted, manifests), wanted)
    if found is None:
        pulumi.log.info(f"package changes are not known: nothing says what the live {live.release} contains")
        return ()
    return tuple(lines(found, service, PREVIEW_LINES))


def _of_live(live: Entry, wanted: Known, manifests: Manifests) -> Known:
    packages = live.image.packages
    if packages and wanted.packages and not wanted.is_machine:
        return Known(packages=packages)  # nothing else would be compared, so AWS is not asked
    manifest = manifests(live.image.identity)
    if manifest is None:
        return Known(packages=packages)
    return Known(manifest.closure, manifest.derived, manifest.packages or packages)


def tell(wanted: Entry, ledger: Ledger) -> None:
    """Show what a new release changes as a message, which a preview prints with its other diagnostics."""
    is_new = all(entry.release != wanted.release for entry in ledger.entries)
    if wanted.image.changes and is_new:
        text = "\n".join(f"  {line}" for line in wanted.image.changes)
        pulumi.log.info(f"package changes from {ledger.live}, which is live, to {wanted.release}:\n{text}")
