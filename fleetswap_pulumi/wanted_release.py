"""The wanted release: the image of the settings, or a release of the ledger."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.image.info import Said, known, of_builder, of_register, resolve
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine, release_id
from fleetswap.domain.release.packages import changes
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.ship import FileSource
from fleetswap_pulumi.image_info import said_beside, said_if_built
from fleetswap_pulumi.project import evaluations, root
from fleetswap_pulumi.settings import ImageSettings, Settings


def wanted_entry(settings: Settings, ledger: Ledger) -> Entry:
    """The entry of the wanted release.

    A release named in the settings is taken from the ledger as it is. An image is named without building it: Nix says
    its store path; a file is read, hashed, and refused if it is not a disk.
    """
    if settings.release is not None:
        return ledger.entry(settings.release)
    image = _image(settings.image, ledger)
    types = settings.machine.types_for(image.info.architecture)
    machine = Machine(**{**settings.machine.model_dump(), "instance_types": types}, path=settings.iam.path)
    health = HealthCheck(**settings.health.model_dump(exclude={"drain", "grace"}))
    release = release_id(settings.service, image.identity, machine, health, image.info)
    return Entry(release, image, machine, health, max_size=settings.capacity.max)


def _image(settings: ImageSettings, ledger: Ledger) -> Image:
    source, asserted = settings.source, settings.asserted
    if isinstance(source, FileImage):
        identity = FileSource(root() / source.file).identity()
        beside = {**_said_before(identity, ledger), **said_beside(root() / source.file)}
        return Image(identity, source, info=resolve(beside, asserted), asserted=tuple(asserted))
    made = NixSource(source, root(), preview=True, cache=evaluations()).evaluate()
    identity, packages = made.identity, made.packages
    before = ledger.entry(ledger.live).image.packages if ledger.live is not None else {}
    said: Said = {**_said_before(identity, ledger), **said_if_built(Path(identity))}
    if made.register:
        said = of_register(made.register, "the image's derivation")
    info = resolve(said, asserted, of_builder(made.system))
    return Image(identity, source, packages, tuple(changes(before, packages)), info, tuple(asserted))


def _said_before(identity: str, ledger: Ledger) -> Said:
    """What the newest release of the same image said of it. The same image cannot say anything else of itself."""
    same = [entry.image for entry in ledger.entries if entry.image.identity == identity]
    return known(same[0].info, same[0].asserted) if same else {}
