"""The disk image of a release, as an EBS snapshot: a dynamic provider that calls `fleetswap.workflows.image.ship`.

What a reviewer must see is an input, computed in the program: the store path, and the package changes since the live
release. `create` ships the image, and adopts the completed snapshot if this stack has already shipped it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pulumi
from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pydantic import BaseModel, TypeAdapter, WrapValidator, model_validator

from fleetswap.aws.image import snapshots
from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image import info as ami
from fleetswap.domain.image import source
from fleetswap.domain.image.info import ImageInfo
from fleetswap.domain.image.meter import Meter, Progress
from fleetswap.domain.image.source import FileImage, FlakeImage, ImageSource, NixImage
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.text import counted, without_store_hash
from fleetswap.nix.output import read as read_output
from fleetswap.nix.source import NixSource
from fleetswap.nix.stated import beside
from fleetswap.workflows.image import adopt, measure
from fleetswap.workflows.image.ports import Trial
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.ship import FileSource, Shipped, ship
from fleetswap.workflows.stop import Stop
from fleetswap_pulumi import project
from fleetswap_pulumi.boot_settings import BootTestSettings
from fleetswap_pulumi.boot_test import BootTestInputs
from fleetswap_pulumi.cancel import hear
from fleetswap_pulumi.checks import check_failures, wrong
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.elsewhere import Also, others, shipping_of, tags_of
from fleetswap_pulumi.image_info import refuse_other_ami
from fleetswap_pulumi.image_settings import UploadSettings
from fleetswap_pulumi.reach import ACCESS, ReachInputs, is_reached_otherwise
from fleetswap_pulumi.speech import Speech, urn_of

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""

REPLACING = ("identity", "region")
"""Another value of these is another snapshot. A renamed stack keeps its snapshots, with other tags."""

HOW = ("lineage", "shipping", "root_gib", "urn", "boot_test", "info", "asserted", "kms_key", "also")
"""These say how a snapshot is made and checked; of one that is there they change nothing."""

RELEASE = "fleetswap:components:Release"
"""The type of what a disk image belongs to (`fleetswap_pulumi.release`)."""

CANCELLED = "cancelled before the image was uploaded"
"""Why building and uploading end after Ctrl-C or SIGTERM."""


def _one_of_nix(value: object, _either: object) -> object:
    """Read as the one that it is: of a value that is neither, pydantic would tell what is wrong with it as both."""
    if value is None or isinstance(value, NixImage | FlakeImage):
        return value
    kind: type[NixImage | FlakeImage] = FlakeImage if isinstance(value, Mapping) and "flake" in value else NixImage
    read = TypeAdapter(kind).validate_python(value)
    for key in value if isinstance(value, Mapping) else ():
        if key not in asdict(read):
            raise wrong(key, "there is no such key")
    return read


class Inputs(ReachInputs):
    """The resource's inputs. No client, no secret. A field that is None has a default, because Pulumi omits null
    inputs.
    """

    schema_version: int
    stack: str
    release: str
    identity: str
    nix: Annotated[NixImage | FlakeImage | None, WrapValidator(_one_of_nix)] = None
    file: str | None = None
    changes: list[str]
    tags: dict[str, str]
    lineage: str = ""
    shipping: UploadSettings = UploadSettings()
    """The setting `upload`, by the name that it had in version 0.1."""
    root_gib: int | None = None
    boot_test: BootTestInputs | None = None
    """How the image is booted before it is uploaded; None, as in older states: it is not."""
    urn: str = ""
    """In whose row building and uploading speak."""
    info: dict[str, Any] | None = None
    """What the AMI is declared with, where it differs from `fleetswap.domain.image.info.DEFAULT`."""
    asserted: list[str] | None = None
    """Those of its fields that the settings said, whatever the image says of itself."""
    attested: bool | None = None
    """Whether it must be known what a NitroTPM measures of it; None, as in older states: it need not."""
    kms_key: str | None = None
    """ARN of the key that encrypts the snapshot; None: it is encrypted as the account encrypts by default."""
    also: list[Also] | None = None
    """Where else the image is sent when it is sent; None, as in older states: nowhere."""

    @model_validator(mode="after")
    def _have_one_source(self) -> Inputs:
        try:
            source.from_plain(self.model_dump())
        except ValueError as error:
            raise wrong("nix", str(error)) from error
        try:
            ami.from_plain(self.info or {})
        except ValueError as error:
            raise wrong("info", str(error)) from error
        return self

    @property
    def ami(self) -> ImageInfo:
        """What the AMI is declared with."""
        return ami.from_plain(self.info or {})

    @property
    def source(self) -> ImageSource:
        """What the image is built from."""
        return source.from_plain(self.model_dump())

    @property
    def request(self) -> UploadRequest:
        """The upload request for the snapshot."""
        return self.request_of(self)

    def request_of(self, place: Inputs | Also) -> UploadRequest:
        """The upload request for the snapshot in one of the places that the image is sent to."""
        return UploadRequest(
            identity=self.identity,
            stack=place.stack,
            tags=place.tags,
            description=self.identity,
            encrypted=place.kms_key is not None,
            kms_key=place.kms_key,
            lineage=place.lineage,
            sparse=place.shipping.sparse,
            samples=place.shipping.samples,
            trusted_stacks=place.shipping.stacks,
            trusted_accounts=place.shipping.accounts,
            journal=project.work() / "uploads",
        )


class Outputs(BaseModel):
    """The outputs of a disk image, without its inputs."""

    snapshot_id: str
    volume_gib: int
    adopted: bool
    parent: str
    blocks: int
    blocks_sent: int
    build_seconds: float
    upload_seconds: float
    trial_seconds: float | None = None
    """Of the boot test, between the two; None if there is none."""
    finished: str | None = None
    """When it was sent: UTC, ISO 8601. None of a snapshot that was adopted, and of one from an older version."""
    measured: dict[str, str] | None = None
    """PCRs by their numbers, of an attested release; None of another."""

    @classmethod
    def of(cls, shipped: Shipped) -> Outputs:
        """The outputs for a shipped image."""
        uploaded = shipped.uploaded
        return cls(
            snapshot_id=uploaded.snapshot_id,
            volume_gib=uploaded.volume_gib,
            adopted=uploaded.adopted,
            parent=uploaded.parent or "",
            blocks=uploaded.blocks,
            blocks_sent=uploaded.blocks_sent,
            build_seconds=round(shipped.build_seconds, 1),
            upload_seconds=round(shipped.upload_seconds, 1),
            trial_seconds=round(shipped.trial_seconds, 1) or None,
            finished=None if uploaded.adopted else datetime.now(UTC).isoformat(timespec="milliseconds"),
            measured=dict(shipped.measured) or None,
        )


class DiskImageProvider(ResourceProvider):
    """Creates, adopts, tags and deletes one snapshot. Repeating `create` finds the existing snapshot."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another image needs another snapshot. Tags change in place. How to rebuild an image is not a change."""
        replaces = [key for key in REPLACING if _olds.get(key) != _news.get(key)]
        silent = {*REPLACING, *HOW, ACCESS}
        others = [key for key in Inputs.model_fields if key not in silent and _olds.get(key) != _news.get(key)]
        unmeasured = bool(_news.get("attested")) and not _olds.get("measured")
        changes = bool(replaces or others) or is_reached_otherwise(_olds, _news) or unmeasured
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Build (if Nix has not), upload (if this stack has not), and report how long it took."""
        inputs = Inputs.of(props)
        speech, stop, meter = Speech(inputs.urn), Stop(), Meter("puts")
        connections = inputs.shipping.connections
        cloud = inputs.admitted()
        ebs, ec2 = cloud.ebs_and_ec2(connections)

        def status(text: str) -> None:
            if stop.take():
                raise FleetswapError(CANCELLED)
            speech.status(without_store_hash(text))

        def progress(now: Progress) -> None:
            status(f"uploading {meter.short(now)}")

        made_by = _source(inputs)

        def accept(disk: Path) -> None:
            built = made_by.output if isinstance(made_by, NixSource) else None
            refuse_other_ami(built or read_output(disk), inputs.ami, inputs.asserted or ())

        with hear(lambda: stop.ask(CANCELLED)):
            shipped = ship(
                inputs.request,
                made_by,
                DirectSnapshots(ebs, ec2),
                BlockPuts.of(cloud, ebs),
                speech.line,
                building=status,
                progress=progress,
                accept=accept,
                info=inputs.ami,
                root_gib=inputs.root_gib,
                attested=bool(inputs.attested),
                trial=_trial(inputs),
                connections=connections,
                others=others(inputs.region, inputs.also or (), inputs.request_of, speech, status),
            )
        uploaded = shipped.uploaded
        if not uploaded.adopted:  # else it was told who finished it
            sent = f"{counted(uploaded.blocks, 'block')}, {uploaded.blocks_sent:,} sent, including the block map"
            speech.line(f"snapshot {uploaded.snapshot_id} is complete: {sent}")
        return CreateResult(uploaded.snapshot_id, {**props, **Outputs.of(shipped).model_dump(exclude_none=True)})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """A snapshot that was deleted, or can never be used, has no ID."""
        found = snapshots.exists(Inputs.of(props).admitted().ec2(), id_)
        return ReadResult(id_ if found else "", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Write the tags. Every other change that does not replace the resource is only recorded.

        A snapshot of which it was not known what is measured of it is read once.
        """
        inputs = Inputs.of(_news)
        cloud = inputs.admitted()
        snapshots.write_tags(cloud.ec2(), _id, inputs.tags, _olds.get("tags", {}))
        outputs = {key: value for key, value in _olds.items() if key not in Inputs.model_fields}
        if inputs.attested and not outputs.get("measured"):
            port = DirectSnapshots(*cloud.ebs_and_ec2(1))
            outputs["measured"] = dict(measure.of_snapshot(port, _id, int(outputs["volume_gib"]), inputs.ami))
        return UpdateResult({**outputs, **_news})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete the snapshot. If another release's AMI still uses it, it stays with that release.

        So does one that no upload has made: what an older version took for the image may be somebody's backup.
        """
        inputs = Inputs.of(_props)
        cloud, speech = inputs.admitted(), Speech(inputs.urn)
        port = DirectSnapshots(*cloud.ebs_and_ec2(1))
        if not adopt.is_ours(port, _id):
            speech.line(f"{_id} is not deleted: no upload made it, so it may be a backup; delete it if nobody needs it")
        elif not snapshots.delete(cloud.ec2(), _id):
            speech.line(f"{_id} is not deleted: an AMI of another release, or one in the Recycle Bin, uses it")


class DiskImage(Resource, module="fleetswap", name="DiskImage"):
    """The snapshot of a release's image."""

    snapshot_id: pulumi.Output[str]
    build_seconds: pulumi.Output[float]
    upload_seconds: pulumi.Output[float]
    trial_seconds: pulumi.Output[float | None]
    finished: pulumi.Output[str | None]
    measured: pulumi.Output[dict[str, str] | None]

    def __init__(
        self,
        name: str,
        context: Context,
        entry: Entry,
        upload: UploadSettings,
        boot_test: BootTestSettings | None = None,
        kms_key: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
        *,
        also: Sequence[pulumi.Input[Mapping[str, Any]]] = (),
    ) -> None:
        """`also` are the other places that the image is sent to, each made by `elsewhere.elsewhere`. The disk image of
        such a place depends on this one, and then adopts what it has sent, or resumes it.
        """
        image = entry.image
        inputs = Inputs(
            schema_version=SCHEMA,
            stack=context.stack,
            release=entry.release,
            region=context.region,
            endpoint=context.endpoint,
            access=context.reach,
            identity=image.identity,
            **source.to_plain(image.source),
            changes=list(image.changes),
            tags=tags_of(name, context, entry),
            lineage=context.service,
            shipping=shipping_of(upload),
            root_gib=entry.machine.root_gib,
            boot_test=BootTestInputs.of(boot_test, entry) if boot_test is not None else None,
            info=ami.to_plain(image.info) or None,
            asserted=list(image.asserted) or None,
            attested=True if entry.machine.attested else None,
            urn=urn_of("DiskImage", name, *context.parents, RELEASE),
        )
        outputs = dict.fromkeys(Outputs.model_fields)
        given = {"kms_key": kms_key, "also": list(also) or None}
        super().__init__(DiskImageProvider(), name, {**inputs.model_dump(), **given, **outputs}, opts)


def _trial(inputs: Inputs) -> Trial | None:
    """The boot test, if there is one."""
    asked = inputs.boot_test
    return asked.trial(inputs.region, project.work() / "boot-tests") if asked is not None else None


def _source(inputs: Inputs) -> NixSource | FileSource:
    """What makes the image, on this machine."""
    image = inputs.source
    if isinstance(image, FileImage):
        disk = project.root() / image.file
        return FileSource(disk, lambda: beside(disk, inputs.identity))
    # Two stacks may ship one release out of one checkout at once.
    link = f"{inputs.stack.replace('/', '.')}.{inputs.region}.{inputs.release}"
    return NixSource(
        image,
        project.root(),
        link=project.work() / "nix" / link,
        cache=project.evaluations(),
        named=inputs.identity,
    )
