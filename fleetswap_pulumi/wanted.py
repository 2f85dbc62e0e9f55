"""Which release is asked for: the image of the settings, or one that the ledger has."""

from __future__ import annotations

from fleetswap.domain.errors import InputError
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine, Nix, release_id
from fleetswap.domain.release.packages import changes
from fleetswap.nix import build
from fleetswap.workflows.image.image_file import identify
from fleetswap_pulumi.disk_image import PROJECT_ROOT
from fleetswap_pulumi.settings import ImageSettings, Settings


def wanted_entry(settings: Settings, ledger: Ledger) -> Entry:
    """The entry of the wanted release.

    A release named in the settings is taken from the ledger as it is. An image is named without building it: Nix says
    its store path; a file is read, hashed, and refused if it is not a disk.
    """
    if settings.release is not None:
        return ledger.entry(settings.release)
    machine = Machine(**settings.machine.model_dump())
    health = HealthCheck(**settings.health.model_dump(exclude={"drain", "grace"}))
    image = _image(settings.image, ledger)
    release = release_id(settings.service, image.identity, machine, health)
    return Entry(release, image, machine, health, max_size=settings.capacity.max)


def _image(source: ImageSettings, ledger: Ledger) -> Image:
    if source.file is not None:
        path = PROJECT_ROOT / source.file
        return Image(identity=identify(path), file=source.file)
    if source.nix is None:
        raise InputError("setting fleetswap:image: give exactly one of `nix` and `file`")
    nix = Nix(**source.nix.model_dump())
    expression = PROJECT_ROOT / nix.expression
    derivation = build.instantiate(expression, attr=nix.attr, args=nix.args, options=nix.options)
    packages = build.evaluate_packages(expression, attr=nix.attr, args=nix.args, options=nix.options)
    before = ledger.entry(ledger.live).image.packages if ledger.live is not None else {}
    return Image(
        identity=str(derivation.out_path), nix=nix, packages=packages, changes=tuple(changes(before, packages))
    )
