"""The disk image of a release, as an EBS snapshot: a dynamic provider over nix and the uploader.

What a reviewer must see is an input, computed in the program: the store path, and which packages change since the live
release. `create` builds and uploads; it adopts the finished snapshot of an image that this stack has already shipped.
Nothing is decided here: see `fleetswap.workflows.image.upload`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from pydantic import BaseModel, ConfigDict

from fleetswap.aws.image import snapshots
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.disk import refuse_unbootable
from fleetswap.domain.image.meter import Figures, Meter
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.text import counted
from fleetswap.nix import build
from fleetswap.workflows.image import adopt, upload
from fleetswap.workflows.image.image_file import ImageFile, identify
from fleetswap.workflows.image.request import NONE, SAMPLES, UploadRequest
from fleetswap.workflows.image.send import CONNECTIONS
from fleetswap.workflows.image.work_queue import Progress
from fleetswap.workflows.stop import Stop
from fleetswap_pulumi.cancel import hear
from fleetswap_pulumi.checks import ProviderInputs, check_failures
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.speech import Speech, urn_of

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""The paths in settings, ledger and state are relative to this, so that a state does not tie to one machine."""

STORE_HASH = re.compile(r"/nix/store/[0-9a-z]{32}-")
"""What stands before a name in Nix's store. A row has no room for it."""

NIX_ROOTS = PROJECT_ROOT / ".work" / "nix"
"""Where the links lie that keep built images from Nix's garbage collector, until they are sent."""

ROOT_DAYS = 2
"""Age at which the link of an image that was never sent whole is taken away, by whichever deploy comes next."""

REPLACING = ("identity", "region")
"""Another value of these is another snapshot. A renamed stack keeps its snapshots, with other tags."""

HOW = ("lineage", "shipping", "root_gib", "urn")
"""These say how a snapshot is made and checked; of one that is there they change nothing."""

RELEASE = "fleetswap:components:Release"
"""The type of what a disk image belongs to (`fleetswap_pulumi.release`)."""

CANCELLED = "cancelled before the image was uploaded"
"""Why building and uploading end after Ctrl-C or SIGTERM."""

JOURNALS = PROJECT_ROOT / ".work" / "uploads"
"""Where an upload that was killed left word of what EBS has already."""


class Shipping(BaseModel):
    """How the image is sent; see `fleetswap.workflows.image.request.UploadRequest`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sparse: str = NONE
    samples: int = SAMPLES
    trusted_stacks: tuple[str, ...] = ()
    connections: int = CONNECTIONS


class NixInputs(BaseModel):
    """See `fleetswap.domain.release.ledger.Nix`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expression: str
    attr: str | None = None
    args: dict[str, str]
    options: dict[str, str]


class Inputs(ProviderInputs):
    """The resource's inputs. No client, no secret. What is None has a default: Pulumi leaves it out on the way here."""

    schema_version: int
    stack: str
    release: str
    region: str
    endpoint: str | None = None
    identity: str
    nix: NixInputs | None = None
    file: str | None = None
    changes: list[str]
    tags: dict[str, str]
    lineage: str = ""
    shipping: Shipping = Shipping()
    root_gib: int | None = None
    urn: str = ""
    """In whose row building and uploading speak."""


class DiskImageProvider(ResourceProvider):
    """Creates, adopts, tags and deletes one snapshot. A repeat of `create` finds the snapshot that is there."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another image is another snapshot; tags change in place; how to rebuild an image changes nothing."""
        replaces = [key for key in REPLACING if _olds.get(key) != _news.get(key)]
        silent = {*REPLACING, *HOW}
        others = [key for key in Inputs.model_fields if key not in silent and _olds.get(key) != _news.get(key)]
        return DiffResult(changes=bool(replaces or others), replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Build (if Nix has not), upload (if this stack has not), and say what it took."""
        inputs = Inputs.of(props)
        cloud = _cloud(inputs)
        speech = Speech(inputs.urn)
        started = time.monotonic()
        # Before anything is built: the source of an older release is not in this checkout any more.
        ebs, ec2 = cloud.ebs_and_ec2(inputs.shipping.connections)
        port = DirectSnapshots(ebs, ec2)
        found = adopt.finished(port, inputs.stack, inputs.identity, speech.line)
        if found is not None:
            _check_root(inputs, found.volume_gib)
            speech.line(f"snapshot {found.snapshot_id} already holds the image: nothing to build or to send")
            outs = {"snapshot_id": found.snapshot_id, "volume_gib": found.volume_gib, "adopted": True}
            outs |= {"parent": "", "blocks": 0, "blocks_sent": 0}
            return CreateResult(found.snapshot_id, {**props, **outs, "build_seconds": 0, "upload_seconds": 0})
        build.drop_roots(NIX_ROOTS, older_than=ROOT_DAYS * 86_400)
        stop, meter = Stop(), Meter("puts")

        def status(text: str) -> None:
            if stop.take():
                raise FleetswapError(CANCELLED)
            speech.status(STORE_HASH.sub("", text))

        def progress(now: Progress) -> None:
            counts = (now.done, now.total, now.sent, now.bytes_sent, now.throttled, now.seconds)
            figures = Figures(*counts, now.trouble)
            status(f"uploading {meter.short(figures)}")

        with hear(lambda: stop.ask(CANCELLED)):
            path = bring(inputs, status)
            built = time.monotonic()
            with ImageFile(path) as image:
                refuse_unbootable(image.disk, name=str(path))
                _check_root(inputs, blockmap.layout(image.size).volume_gib)
            uploaded = upload.upload(
                path,
                UploadRequest(
                    identity=inputs.identity,
                    stack=inputs.stack,
                    tags=inputs.tags,
                    description=inputs.identity,
                    lineage=inputs.lineage,
                    sparse=inputs.shipping.sparse,
                    samples=inputs.shipping.samples,
                    trusted_stacks=inputs.shipping.trusted_stacks,
                    journal=JOURNALS,
                ),
                port,
                cloud.puts(ebs),
                speech.line,
                progress=progress,
                connections=inputs.shipping.connections,
            )
        if not uploaded.adopted:  # else it was told who finished it
            sent = f"{counted(uploaded.blocks, 'block')}, {uploaded.blocks_sent:,} sent, the map included"
            speech.line(f"snapshot {uploaded.snapshot_id} is complete: {sent}")
        outs = {
            **props,
            "snapshot_id": uploaded.snapshot_id,
            "volume_gib": uploaded.volume_gib,
            "adopted": uploaded.adopted,
            "parent": uploaded.parent or "",
            "blocks": uploaded.blocks,
            "blocks_sent": uploaded.blocks_sent,
            "build_seconds": round(built - started, 1),
            "upload_seconds": round(time.monotonic() - built, 1),
        }
        # From here on EBS keeps the image: with a link for each release, no store would ever become smaller.
        _root(inputs).unlink(missing_ok=True)
        return CreateResult(uploaded.snapshot_id, outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """A snapshot that is gone, or can never be used, has no id."""
        found = snapshots.exists(_cloud(Inputs.of(props)).ec2(), id_)
        return ReadResult(id_ if found else "", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Write the tags; everything else that is not a replacement is only remembered."""
        inputs = Inputs.of(_news)
        snapshots.write_tags(_cloud(inputs).ec2(), _id, inputs.tags, _olds.get("tags", {}))
        outputs = {key: value for key, value in _olds.items() if key not in Inputs.model_fields}
        return UpdateResult({**outputs, **_news})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete the snapshot. One that another release's AMI still uses stays, with that release.

        So does one that no upload has made: what an older version took for the image may be somebody's backup.
        """
        inputs = Inputs.of(_props)
        cloud, speech = _cloud(inputs), Speech(inputs.urn)
        port = DirectSnapshots(*cloud.ebs_and_ec2(1))
        if not adopt.is_ours(port, _id):
            speech.line(f"{_id} stays: no upload made it, so it may be a backup; delete it if nobody needs it")
        elif not snapshots.delete(cloud.ec2(), _id):
            speech.line(f"{_id} stays: an AMI of another release uses it")


class DiskImage(Resource, module="fleetswap", name="DiskImage"):
    """The snapshot of a release's image."""

    snapshot_id: pulumi.Output[str]
    build_seconds: pulumi.Output[float]
    upload_seconds: pulumi.Output[float]

    def __init__(
        self,
        name: str,
        context: Context,
        entry: Entry,
        shipping: Shipping,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        image = entry.image
        nix = image.nix
        inputs = Inputs(
            schema_version=SCHEMA,
            stack=context.stack,
            release=entry.release,
            region=context.region,
            endpoint=context.endpoint,
            identity=image.identity,
            nix=None
            if nix is None
            else NixInputs(expression=nix.expression, attr=nix.attr, args=dict(nix.args), options=dict(nix.options)),
            file=image.file,
            changes=list(image.changes),
            tags=context.tags(name, release=entry.release, image=image.identity),
            lineage=context.service,
            shipping=shipping,
            root_gib=entry.machine.root_gib,
            urn=urn_of("DiskImage", name, RELEASE),
        )
        outputs = dict.fromkeys(
            (
                "snapshot_id",
                "volume_gib",
                "adopted",
                "parent",
                "blocks",
                "blocks_sent",
                "build_seconds",
                "upload_seconds",
            ),
            None,
        )
        super().__init__(DiskImageProvider(), name, {**inputs.model_dump(), **outputs}, opts)


def bring(inputs: Inputs, say: Callable[[str], None]) -> Path:
    """The disk image on this machine. What comes out must be the image that the preview showed, or it is refused."""
    if inputs.nix is None:
        if inputs.file is None:
            raise InputError(f"release {inputs.release} has neither a Nix expression nor a file: see fleetswap:image")
        path = PROJECT_ROOT / inputs.file
        identity = identify(path)
    else:
        nix = inputs.nix
        derivation = build.instantiate(PROJECT_ROOT / nix.expression, attr=nix.attr, args=nix.args, options=nix.options)
        identity = str(derivation.out_path)
        if identity == inputs.identity:
            out = build.realise(derivation, root=_root(inputs), options=nix.options, say=say)
            path = build.find_disk(out)
    if identity != inputs.identity:
        raise FleetswapError(
            f"release {inputs.release} is {inputs.identity}, but its source now makes {identity}: "
            "check out the commit that made it, or deploy the new image as a release of its own"
        )
    return path


def _root(inputs: Inputs) -> Path:
    """The link of this image: two stacks may ship one release out of one checkout at once."""
    return NIX_ROOTS / f"{inputs.stack.replace('/', '.')}.{inputs.region}.{inputs.release}"


def _check_root(inputs: Inputs, volume_gib: int) -> None:
    """EC2 refuses a volume that is smaller than its snapshot, but only when a machine is launched."""
    if inputs.root_gib is not None and inputs.root_gib < volume_gib:
        raise InputError(
            f"fleetswap:machine.root_gib is {inputs.root_gib}, but the volume of release {inputs.release} has"
            f" {volume_gib} GiB (the image and its block map): raise it, or leave it out"
        )


def _cloud(inputs: Inputs) -> Cloud:
    return Cloud(inputs.region, inputs.endpoint)
