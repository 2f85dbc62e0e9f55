"""The manifest of an image: what it consists of, as it travels with the snapshot.

It decides what a manifest says, how it is written, and whether what was read can be believed. Where it is found,
`fleetswap.domain.image.blockmap` says; this module never reads or sends.

Version 1. The bytes are a zlib stream (RFC 1950) of one JSON object:

    version     1
    identity    of the image
    spdx        the SPDX document (`fleetswap.domain.image.spdx`)
    packages    what its author says is in it, by name and version, and
    licences    their SPDX license expressions; `spdx` has them if there is no closure
    sizes       bytes of the NAR of each store path in `spdx`, in its order, null where unknown; null if there is no
                closure
    derived     the closure as it was derived from the derivations, so that a preview, which has no other, compares
                like with like; null if there is none

The same manifest is always the same bytes: nothing in it is of the time or the computer.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.image import spdx
from fleetswap.domain.image.blockmap import NO_MANIFEST, Sealed
from fleetswap.domain.image.blocks import BLOCK_SIZE, block_count
from fleetswap.domain.text import visible

VERSION = 1
"""Raised with every change that an older reader would misread. A reader takes its own version and older ones."""

LEVEL = 6
"""Of zlib. Nine is slower and saves nothing: most of the bytes are hashes."""

MAX_BLOCKS = 16
"""Blocks of a manifest, at most: 8 MiB. 10,000 store paths with ten references each take two or three."""

MAX_BYTES = 64 << 20
"""Bytes of the JSON, at most: a foreign stream must not fill the memory. Of 10,000 store paths it has some 20 MB."""


class BadManifest(Exception):
    """The manifest cannot be believed; the message says why, in words that follow "its manifest"."""


@dataclass(frozen=True)
class Manifest:
    """What an image consists of, as far as that is known."""

    identity: str
    closure: Closure | None = None
    """Exact: the store paths that are in it."""

    derived: Closure | None = None
    """As the derivations say, before anything was built."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """Package to version, as the author of the image says."""

    licences: Mapping[str, str] = field(default_factory=dict)
    """SPDX license expressions by package, of `packages`."""

    @property
    def says_something(self) -> bool:
        """Whether it is worth a block."""
        return bool(self.closure or self.derived or self.packages)


def encode(manifest: Manifest) -> bytes:
    """The manifest as bytes: the same manifest, the same bytes. Empty if it says nothing.

    What is larger than a reader takes goes without `derived`, which costs a preview some precision; and if that is too
    large as well, there is no manifest: nothing that an upload should fail for.
    """
    for each in (manifest, replace(manifest, derived=None)):
        data = _packed(each) if each.says_something else b""
        if data:
            return data
    return b""


def _packed(manifest: Manifest) -> bytes:
    closure = manifest.closure
    plain = {
        "version": VERSION,
        "identity": manifest.identity,
        "spdx": spdx.document(manifest.identity, closure, packages=manifest.packages, licences=manifest.licences),
        "packages": dict(sorted(manifest.packages.items())),
        "licences": dict(sorted(manifest.licences.items())),
        "sizes": None if closure is None else [closure.components[path].size for path in sorted(closure.components)],
        "derived": None if manifest.derived is None else _plain(manifest.derived),
    }
    # Half a surrogate pair, as JSON may have it, has no UTF-8; as Python escapes it, it is JSON again.
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode(errors="backslashreplace")
    data = zlib.compress(text, LEVEL) if len(text) <= MAX_BYTES else b""
    return data if block_count(len(data)) <= MAX_BLOCKS else b""


def seal(data: bytes) -> Sealed:
    """What the header says of these bytes; of none, what all headers said before there were manifests."""
    if not data:
        return NO_MANIFEST
    return Sealed(len(data), hashlib.sha256(padded(data)).digest())


def padded(data: bytes) -> bytes:
    """The bytes as whole blocks."""
    return data.ljust(block_count(len(data)) * BLOCK_SIZE, b"\0")


def opened(blocks: bytes | bytearray, sealed: Sealed) -> Manifest:
    """The manifest in these whole blocks. `BadManifest` unless they are those that the header states."""
    if len(blocks) != sealed.blocks * BLOCK_SIZE or hashlib.sha256(blocks).digest() != sealed.digest:
        raise BadManifest("is damaged: its checksum is wrong")
    return decode(bytes(blocks[: sealed.size]))


def decode(data: bytes) -> Manifest:
    """What `encode` wrote. `BadManifest` for anything else.

    Its texts are made visible: they end in terminals, and whoever made the image chose them.
    """
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(data, MAX_BYTES)
        if not unpacking.eof or unpacking.unused_data:
            raise BadManifest("is truncated or too large")
        value = json.loads(text)
        if value["version"] != VERSION:
            raise BadManifest(f"has version {value['version']}, but this Fleetswap reads version {VERSION}")
        return _manifest(value)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError, zlib.error) as error:
        raise BadManifest(f"cannot be read ({error!r})") from error


def _manifest(value: Mapping[str, Any]) -> Manifest:
    sizes, derived = value["sizes"], value["derived"]
    return Manifest(
        str(value["identity"]),
        None if sizes is None else spdx.closure(value["spdx"], sizes),
        None if derived is None else _closure(derived),
        {visible(str(name)): visible(str(version)) for name, version in value["packages"].items()},
        {visible(str(name)): visible(str(licence)) for name, licence in value["licences"].items()},
    )


def _plain(closure: Closure) -> dict[str, Any]:
    """A closure as columns: references are numbers of rows, which is what makes it small."""
    paths = sorted(closure.components)
    rows = {path: row for row, path in enumerate(paths)}
    components = [closure.components[path] for path in paths]
    return {
        "root": closure.root,
        "path": paths,
        "name": [each.name for each in components],
        "version": [each.version for each in components],
        "output": [each.output for each in components],
        "licence": [each.licence for each in components],
        "own": [each.own for each in components],
        "references": [[rows[one] for one in each.references if one in rows] for each in components],
    }


def _closure(plain: Mapping[str, Any]) -> Closure:
    paths, root = [visible(str(each)) for each in plain["path"]], visible(str(plain["root"]))
    if root not in paths:
        raise ValueError("the derivations' closure does not have its top")
    columns = [plain[key] for key in ("name", "version", "output", "licence", "own", "references")]
    components = {
        path: Component(
            path,
            visible(str(name)),
            visible(str(version)),
            visible(str(output)),
            references=tuple(paths[row] for row in rows),
            licence=None if licence is None else visible(str(licence)),
            own=str(own),
        )
        for path, name, version, output, licence, own, rows in zip(paths, *columns, strict=True)
    }
    return Closure(root, exact=False, components=components)
