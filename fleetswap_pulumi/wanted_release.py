"""The wanted release: the image of the settings, or a release of the ledger."""

from __future__ import annotations

from fleetswap.domain.image.source import FileImage, ImageSource
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine, release_id
from fleetswap.domain.release.packages import changes
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.ship import FileSource
from fleetswap_pulumi.project import root
from fleetswap_pulumi.settings import Settings


def wanted_entry(settings: Settings, ledger: Ledger) -> Entry:
    """The entry of the wanted release.

    A release named in the settings is taken from the ledger as it is. An image is named without building it: Nix says
    its store path; a file is read, hashed, and refused if it is not a disk.
    """
    if settings.release is not None:
        return ledger.entry(settings.release)
    machine = Machine(**settings.machine.model_dump(), path=settings.iam.path)
    health = HealthCheck(**settings.health.model_dump(exclude={"drain", "grace"}))
    image = _image(settings.image.source, ledger)
    release = release_id(settings.service, image.identity, machine, health)
    return Entry(release, image, machine, health, max_size=settings.capacity.max)


def _image(source: ImageSource, ledger: Ledger) -> Image:
    if isinstance(source, FileImage):
        return Image(FileSource(root() / source.file).identity(), source)
    nix = NixSource(source, root())
    identity, packages = nix.identity(), nix.packages()
    before = ledger.entry(ledger.live).image.packages if ledger.live is not None else {}
    return Image(identity, source, packages, tuple(changes(before, packages)))
