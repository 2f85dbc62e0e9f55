"""The wanted release: the image of the settings, or a release of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from time import monotonic

import pulumi

from fleetswap.domain.closure.derivation import UnknownDerivation
from fleetswap.domain.closure.known import Known
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.info import Said, known, of_builder, of_register, resolve
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.hardware import Volume
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine, release_id
from fleetswap.nix.closures import of_disk, of_evaluation
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.ship import FileSource
from fleetswap_pulumi.image_info import said_beside, said_if_built
from fleetswap_pulumi.image_settings import ImageSettings
from fleetswap_pulumi.package_changes import Manifests, changes_since
from fleetswap_pulumi.project import evaluations, root
from fleetswap_pulumi.settings import Settings

WARNINGS = 20
"""So many of an image's warnings are shown; a configuration that needs an update may have hundreds."""


class ImageOnce:
    """The image of the settings, which all regions share: Nix is asked, or the file is read, once."""

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self.evaluated: tuple[datetime, float] | None = None
        """When Nix was asked, and how many seconds that took; None if it was not."""

    @cached_property
    def evaluation(self) -> Evaluation:
        """What Nix says of an image that it builds. Its warnings are shown."""
        source = self.settings.source
        if isinstance(source, FileImage):
            raise TypeError(f"{source.file} is a file")
        began, clock = datetime.now(UTC), monotonic()
        made = NixSource(source, root(), preview=True, cache=evaluations()).evaluate()
        self.evaluated = began, round(monotonic() - clock, 3)
        for warning in made.warnings[:WARNINGS]:
            pulumi.log.warn(f"the image: {warning}")
        return made

    @cached_property
    def of_file(self) -> str:
        """The identity of an image that is a file."""
        source = self.settings.source
        if not isinstance(source, FileImage):
            raise TypeError("Nix builds the image")
        return FileSource(root() / source.file).identity()


def same_image(settings: Settings, ledger: Ledger, home: Entry) -> Entry:
    """The release of a further region with the image that the home region goes back to by the setting `release`.

    It has another ID where the region has other machines. `InputError` if the region no longer has the image.
    """
    found = [entry for entry in ledger.entries if entry.image.identity == home.image.identity]
    named = [entry for entry in found if entry.release == home.release]
    if not found:
        raise InputError(
            f"{settings.region} no longer has a release with the image of {home.release}: choose another release"
        )
    return (named or found)[0]


def wanted_entry(settings: Settings, ledger: Ledger, manifests: Manifests, once: ImageOnce | None = None) -> Entry:
    """The entry of the wanted release.

    A release named in the settings is taken from the ledger as it is. An image is named without building it: Nix says
    its store path; a file is read, hashed, and refused if it is not a disk. Of a release that the ledger does not have,
    the entry says what it changes since the live one (`fleetswap_pulumi.package_changes`).
    """
    if settings.release is not None:
        return ledger.entry(settings.release)
    image, contents = _image(once or ImageOnce(settings.image), ledger)
    health = HealthCheck(**settings.health.model_dump(exclude={"drain", "grace"}))
    machines = _machines(settings, image.info.architecture)
    ids = {release_id(settings.service, image.identity, one, health, image.info): one for one in machines}
    release = _preferred(ids, ledger)
    machine = ids[release]
    if all(entry.release != release for entry in ledger.entries):
        live = None if ledger.live is None else ledger.entry(ledger.live)
        image = replace(
            image,
            changes=changes_since(live, contents(), manifests, settings.service),
            kms_key=settings.upload.kms_key,
        )
    return Entry(release, image, machine, health, max_size=settings.capacity.max)


def _machines(settings: Settings, architecture: str) -> Iterator[Machine]:
    """The machines that the settings ask for, then those that the same settings meant to earlier versions."""
    asked = settings.machine
    machine = Machine(
        **asked.model_dump(exclude={"instance_types", "requirements", "volume", "monitoring"}),
        instance_types=asked.types_for(architecture),
        weights=asked.weights,
        requirements=asked.attributes,
        monitoring=asked.monitoring is not False,
        volume=Volume.of(asked.volume.model_dump()),
        path=settings.iam.path,
        secrets=None if settings.secrets is None else settings.secrets.sealing,
    )
    yield machine
    if asked.monitoring is None:
        yield replace(machine, monitoring=False)


def _preferred(ids: Collection[str], ledger: Ledger) -> str:
    """Of releases that the same settings mean, the live one, else the newest that the ledger has, else the first.

    So an upgrade of Fleetswap that changes a default deploys nothing: it is for releases made from now on.
    """
    known = [*([ledger.live] if ledger.live is not None else []), *(entry.release for entry in ledger.entries)]
    return next((release for release in known if release in ids), next(iter(ids)))


def _image(once: ImageOnce, ledger: Ledger) -> tuple[Image, Callable[[], Known]]:
    """The image, and how to find out what it contains."""
    source, asserted = once.settings.source, once.settings.asserted
    packages: Mapping[str, str] = {}
    contents: Callable[[], Known]
    if isinstance(source, FileImage):
        disk = root() / source.file
        identity = once.of_file
        said: Said = {**_said_before(identity, ledger), **said_beside(disk)}
        info, contents = resolve(said, asserted), partial(of_disk, disk)
    else:
        made = once.evaluation
        identity, packages = made.identity, made.packages
        said = {**_said_before(identity, ledger), **said_if_built(Path(identity))}
        if made.register:
            said = of_register(made.register, "the image's derivation")
        info, contents = resolve(said, asserted, of_builder(made.system)), partial(_evaluated, made)
    return Image(identity, source, packages, info=info, asserted=tuple(asserted)), contents


def _evaluated(made: Evaluation) -> Known:
    try:
        return of_evaluation(made)
    except UnknownDerivation as error:
        pulumi.log.warn(f"the package changes are not known: {error}")
        return Known(packages=made.packages)


def _said_before(identity: str, ledger: Ledger) -> Said:
    """What the newest release of the same image said of it. The same image cannot say anything else of itself."""
    same = [entry.image for entry in ledger.entries if entry.image.identity == identity]
    return known(same[0].info, same[0].asserted) if same else {}
