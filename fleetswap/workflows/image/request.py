"""The upload request: its options, and which of them contradict each other. It reads and sends nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetswap.domain import tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.snapshots import PENDING_MINUTES, SNAPSHOT_ID, Start, Wanted

AUTO = "auto"
NONE = "none"
HOLES = "holes"

MOST_TAGS = 50
"""Of a snapshot (EC2 user guide, "Tag restrictions")."""

DESCRIPTION_CHARS = 255
"""Of a snapshot's description (EBS direct, StartSnapshot)."""

_NO_TEXT = re.compile(r"[\ud800-\udfff]")
"""Bytes of a name or an argument that are no UTF-8, as Python carries them (PEP 383)."""

SAMPLES = 8
"""Unchanged blocks that are read back from a parent. Eight find a parent half of which is wrong in 255 of 256 cases;
a map that does not belong to its snapshot at all is found by the first."""


@dataclass(frozen=True)
class UploadRequest:
    """What the snapshot of an image is to be, and how the image is sent.

    `identity` says what the image is: its Nix store path, or what `image_file.identify` says of a file. `stack` says
    whose it is. Both go into the tags, whatever `tags` says. `kms_key` is a key's ARN, for encrypted snapshots only;
    without it EBS takes the account's default key. Wrong values raise `InputError`.

    `lineage` names the images of a stack that follow one another; without it the snapshot begins none and has no
    parent. `parent` is `auto` (the newest of the lineage, if it can be trusted), `none`, or a snapshot's id, and then
    whatever is wrong with it is an error. `trusted_stacks` are other stacks whose snapshots may be the parent too: who
    may upload for them decides what this stack's machines boot. `sparse`: `none` sends every block; `holes` skips what
    the file never had written, where nothing is inherited (such a block reads as garbage from an encrypted volume).
    `samples` is how many blocks of a parent are read back. `journal` is a folder for what a killed upload needs to go
    on. `manifest` is what `fleetswap.domain.image.manifest.encode` made, empty without one.
    """

    identity: str
    stack: str
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    encrypted: bool = False
    kms_key: str | None = None
    lineage: str = ""
    parent: str = AUTO
    trusted_stacks: tuple[str, ...] = ()
    trusted_accounts: tuple[str, ...] = ()
    """Other accounts: a snapshot of this image that one of them shares is copied, verified and made the parent."""

    data: bool = False
    """The image is a volume of data, which need not have a partition table."""

    sparse: str = NONE
    samples: int = SAMPLES
    journal: Path | None = None
    manifest: bytes = b""

    def __post_init__(self) -> None:
        if not self.identity.strip() or not self.stack.strip():
            raise InputError(
                "an upload needs the identity of its image and the name of its stack: neither may be blank"
            )
        if self.kms_key is not None and not self.encrypted:
            raise InputError("kms_key needs encrypted: set it, or remove the key")
        if self.kms_key is not None and ":key/" not in self.kms_key:
            raise InputError(f"kms_key {self.kms_key} is not the ARN of a key (arn:aws:kms:…:key/…), as EBS needs it")
        if self.parent not in (AUTO, NONE) and not SNAPSHOT_ID.fullmatch(self.parent):
            raise InputError(f"parent {self.parent} is not auto, none or a snapshot ID (snap-…)")
        if self.sparse not in (NONE, HOLES):
            raise InputError(f"sparse {self.sparse} is not none or holes")
        self._check_words()
        if self.samples < 0:
            raise InputError(f"samples {self.samples} is negative: give how many blocks of a parent are read back")

    def _check_words(self) -> None:
        """EBS would refuse these too, but only once all of the image has been read."""
        if len(self.description) > DESCRIPTION_CHARS:
            raise InputError(
                f"the description has {len(self.description)} characters, but at most {DESCRIPTION_CHARS} are allowed"
            )
        carried = {**self.tags, **self.own_tags, tags.PARENT: "", tags.UPLOAD: "", tags.LINEAGE: self.lineage}
        if len(carried) > MOST_TAGS:
            raise InputError(
                f"a snapshot has {MOST_TAGS} tags at most, {len(carried) - len(self.tags)} of them ours, and"
                f" {len(self.tags)} are given: leave some out"
            )
        for key, value in carried.items():
            if len(key) > tags.KEY_CHARS or len(value) > tags.VALUE_CHARS:
                limits = f"a key may have {tags.KEY_CHARS} characters, a value {tags.VALUE_CHARS}"
                raise InputError(f"tag {key[:40]} is too long: {limits}")
        words = "".join((self.description, *carried, *carried.values()))
        if _NO_TEXT.search(words):
            raise InputError("a tag, the description, or the identity is not UTF-8 text")

    @property
    def own_tags(self) -> dict[str, str]:
        """The tags that tell this stack's snapshots of this image."""
        return {tags.STACK: self.stack, tags.IMAGE: self.identity}

    @property
    def manifest_tag(self) -> str:
        """The tag that tells snapshots of an image with this manifest; empty without one."""
        return hashlib.sha256(self.manifest).hexdigest()[:32] if self.manifest else ""

    def wanted(self, volume_gib: int) -> Wanted:
        """What is asked of a snapshot that serves instead of a new one."""
        return Wanted(self.identity, volume_gib, self.encrypted, self.kms_key)

    def allows(self, parent: str | None) -> bool:
        """Whether a snapshot with this parent (None: with none) is what was asked for."""
        if self.parent == AUTO:
            return True
        return parent == (None if self.parent == NONE else self.parent)

    def start(self, volume_gib: int, parent: str | None, generation: str) -> Start:
        """What the snapshot is started with.

        The client token is made of all of it, so that two runs of one request get one snapshot, and EBS never sees
        a token with other parameters (ConflictException). How long EBS remembers a token is documented nowhere; another
        `generation` leads away from one whose snapshot is gone.
        """
        marked = dict(self.tags) | self.own_tags | {tags.PARENT: parent or NONE}
        if self.lineage:
            marked[tags.LINEAGE] = self.lineage
        # Who gives as many tags as there may be besides ours of before goes without: then an upload starts over.
        if self.manifest and len({*marked, tags.UPLOAD, tags.MANIFEST}) <= MOST_TAGS:
            marked[tags.MANIFEST] = self.manifest_tag
        encrypted = self.encrypted and parent is None
        kms_key = self.kms_key if encrypted else None
        # These are not sent, or not always, but two runs that differ in them must not share a snapshot.
        said = [volume_gib, sorted(marked.items()), self.description, encrypted, kms_key, parent, PENDING_MINUTES]
        token = hashlib.sha256(
            json.dumps([*said, *([self.manifest_tag] if self.manifest else []), self.sparse, generation]).encode()
        ).hexdigest()
        return Start(token, volume_gib, marked, self.description, encrypted, kms_key, parent)
