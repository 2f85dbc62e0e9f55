"""The packages of an image as an SPDX 2.3 document, in its JSON form, which scanners and lawyers' tools read.

It decides which field says what (SPDX Specification 2.3, clauses 6, 7 and 11), and reads back what it wrote. The
document is a function of the image alone: another computer, at another time, writes the same.

Each store path is a package: `name` and `versionInfo` as Nix's names say, the path in `packageFileName`, and
`DEPENDS_ON` for each path that it refers to. The image is a package too, which the document describes. It contains the
top of the closure, or each package of an image whose closure nobody knows.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import quote

from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.closure.names import name_of, split
from fleetswap.domain.text import visible

NOASSERTION = "NOASSERTION"
DOCUMENT, IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-image"

CREATED = "1970-01-01T00:00:01Z"
"""Required (clause 6.9), and no time at all: it is the one that every file of Nix's store has."""

NAMESPACE = "https://spdx.org/spdxdocs/"
"""Of documents whose creator has no web site to put them on (clause 6.5)."""

_WORDS = re.compile(r"[()]|[^\s()]+")
_LICENSE = re.compile(r"(?!(?:AND|OR|WITH|NONE|NOASSERTION)$)(?!(?:License|Document)Ref-)[A-Za-z0-9][A-Za-z0-9.-]*\+?")
"""A license or an exception in an expression (annex D). Not one that has its text in the document (clause 10): nobody
has it here."""


def document(
    identity: str, contents: Closure | None, *, packages: Mapping[str, str], licences: Mapping[str, str]
) -> dict[str, Any]:
    """The document of the image. Without a closure it has `packages`, package to version, with their `licences`."""
    name = name_of(identity)
    if contents is None:
        rows = [Component("", each, packages[each], licence=licences.get(each)) for each in sorted(packages)]
    else:
        rows = [contents.components[path] for path in sorted(contents.components)]
    tops = [row for row, each in enumerate(rows) if contents is None or each.path == contents.root]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": name,
        "documentNamespace": f"{NAMESPACE}{_quoted(name)}-{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "creationInfo": {"created": CREATED, "creators": ["Tool: fleetswap"]},
        "packages": [_image(identity, name), *(_package(row, each) for row, each in enumerate(rows))],
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in chain(
                [(DOCUMENT, "DESCRIBES", IMAGE)],
                ((IMAGE, "CONTAINS", _id(row)) for row in tops),
                _references(rows),
            )
        ],
    }


def closure(value: Mapping[str, Any], sizes: Sequence[int | None]) -> Closure:
    """The closure of a document. `sizes` are those of its store paths, in its order.

    Raises `KeyError`, `TypeError` or `ValueError` for what `document` did not write of a closure.
    """
    rows = value["packages"][1:]
    paths = {str(each["SPDXID"]): visible(str(each["packageFileName"])) for each in rows}
    references: dict[str, list[str]] = {path: [] for path in paths.values()}
    root = ""
    for each in value["relationships"]:
        one, kind, other = each["spdxElementId"], each["relationshipType"], each["relatedSpdxElement"]
        if kind == "DEPENDS_ON":
            references[paths[one]].append(paths[other])
        elif kind == "CONTAINS":
            root = paths[other]
    components = {}
    for each, size in zip(rows, sizes, strict=True):
        path = paths[str(each["SPDXID"])]
        name, version = visible(str(each["name"])), visible(str(each.get("versionInfo", "")))
        if not (size is None or (type(size) is int and size >= 0)):
            raise ValueError(f"{path} has size {size!r}")
        output = split(name_of(path)).output
        licence = _licence(each)
        components[path] = Component(path, name, version, output, size, tuple(references[path]), licence)
    if root not in components:
        raise ValueError("the image contains no store path")
    return Closure(root, exact=True, components=components)


def declared(licence: str | None) -> str:
    """What may be said as a declared license: the expression, or NOASSERTION if it is none that stands alone."""
    text = (licence or "").strip()
    return text if _is_expression(text) else NOASSERTION


def _is_expression(text: str) -> bool:
    """Whether this is a license expression (annex D). Which identifiers are on SPDX's list is not known here."""
    depth, before = 0, "("
    for word in _WORDS.findall(text):
        if before in {"(", "AND", "OR"}:
            sound = word == "(" or bool(_LICENSE.fullmatch(word))
            kind = word if word == "(" else "license"
        elif before == "WITH":
            sound, kind = bool(_LICENSE.fullmatch(word)), "exception"
        else:
            sound = word in {"AND", "OR", ")"} or (word == "WITH" and before == "license")
            kind = word
        depth += (word == "(") - (word == ")")
        if not sound or depth < 0:
            return False
        before = kind
    return depth == 0 and before in {"license", "exception", ")"}


def purl(component: Component) -> str:
    """The package URL. The type `nix` is a candidate (purl specification, "candidate purl types"; proposed in its
    repository, pull request 877), so only what no proposal disputes is in it: name and version.
    """
    version = f"@{_quoted(component.version)}" if component.version else ""
    return f"pkg:nix/{_quoted(component.name)}{version}"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _image(identity: str, name: str) -> dict[str, Any]:
    kind, _, digest = identity.partition(":")
    hashed = kind == "sha256" and re.fullmatch(r"[0-9a-f]{64}", digest)
    return {
        "SPDXID": IMAGE,
        "name": name,
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": NOASSERTION,
        "copyrightText": NOASSERTION,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        **({"checksums": [{"algorithm": "SHA256", "checksumValue": digest}]} if hashed else {}),
    }


def _package(row: int, component: Component) -> dict[str, Any]:
    said = declared(component.licence)
    return {
        "SPDXID": _id(row),
        "name": component.name,
        **({"versionInfo": component.version} if component.version or not component.path else {}),
        **({"packageFileName": component.path} if component.path else {}),
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": said,
        # What is no expression is not lost.
        **({"licenseComments": component.licence} if component.licence and said != component.licence else {}),
        "copyrightText": NOASSERTION,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl(component),
            }
        ],
    }


def _licence(package: Mapping[str, Any]) -> str | None:
    said = package.get("licenseComments", package["licenseDeclared"])
    return None if said == NOASSERTION else visible(str(said))


def _references(rows: Sequence[Component]) -> Iterator[tuple[str, str, str]]:
    numbers = {each.path: row for row, each in enumerate(rows)}
    for row, each in enumerate(rows):
        for one in each.references:
            if one in numbers:
                yield _id(row), "DEPENDS_ON", _id(numbers[one])


def _id(row: int) -> str:
    """A number and no hash: 100,000 references in a manifest of some blocks."""
    return f"SPDXRef-{row}"
