"""What a manifest says, as SPDX and as bytes, and damage of every kind."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.closure.exact import exact
from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.image import manifest, spdx
from fleetswap.domain.image.blockmap import NO_MANIFEST
from fleetswap.domain.image.manifest import BadManifest, Manifest
from fleetswap.domain.text import visible

BLOCK = 524_288
BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
IDENTITY = "/nix/store/9zfs1bp0hx22lr2i1f0lcw1rjcyqjwf3-image-web"


def store_path(number: int, name: str) -> str:
    digits = []
    for _ in range(32):
        number, digit = divmod(number, 32)
        digits.append(BASE32[digit])
    return f"/nix/store/{''.join(reversed(digits))}-{name}"


NAMES = ("nixos-system-web-25.11", "system-path", "nginx-1.28.0", "openssl-3.6.1", "openssl-3.6.1-dev", "glibc-2.40+66")


def made(names: tuple[str, ...] = NAMES, licences: dict[str, str] | None = None) -> Closure:
    """A closure in which each path refers to all that stand behind it; the last has no known size."""
    paths = [store_path(7 * row + 3, name) for row, name in enumerate(names)]
    rows = [
        {"path": path, "narSize": 100 * row if path != paths[-1] else None, "references": paths[row:]}
        for row, path in enumerate(paths)
    ]
    return exact(paths[0], rows, licences or {"openssl": "Apache-2.0", "nginx": "BSD-2-Clause AND (MIT OR ISC)"})


def derived(closure: Closure) -> Closure:
    """The same as the derivations might say."""
    components = {
        path: Component(
            path,
            each.name,
            each.version,
            each.output,
            None,
            each.references,
            each.licence,
            hashlib.sha256(path.encode()).hexdigest(),
        )
        for path, each in closure.components.items()
    }
    return Closure(closure.root, exact=False, components=components)


WHOLE = Manifest(IDENTITY, made(), derived(made()), {"nginx": "1.28.0"}, {"nginx": "BSD-2-Clause"})
LISTED = Manifest(IDENTITY, packages={"busybox": "1.36.1", "linux": ""}, licences={"busybox": "GPL-2.0-only"})


@pytest.mark.parametrize(
    "each", [WHOLE, Manifest(IDENTITY, made()), Manifest(IDENTITY, derived=derived(made())), LISTED]
)
def test_what_is_written_is_read(each: Manifest) -> None:
    """A preview would compare with another closure than the live image has."""
    assert manifest.decode(manifest.encode(each)) == each


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_every_closure_is_read_as_it_was_written(data: st.DataObject) -> None:
    """An edge of some graph, a strange version or a license that is no expression would be lost."""
    text = st.from_regex(r"[a-zA-Z][a-zA-Z0-9+._?=]{0,8}(-[0-9][0-9a-z.+]{0,5}(-(dev|lib|man))?)?", fullmatch=True)
    names = data.draw(st.lists(text, min_size=1, max_size=8))
    paths = [store_path(row, name) for row, name in enumerate(names)]
    rows = [
        {
            "path": path,
            "narSize": data.draw(st.none() | st.integers(0, 1 << 50)),
            "references": data.draw(st.lists(st.sampled_from(paths))),
        }
        for path in paths
    ]
    licences = data.draw(st.dictionaries(st.sampled_from(names), st.text(min_size=1, max_size=12).filter(str.strip)))
    licences = {key: visible(value) for key, value in licences.items() if value != "NOASSERTION"}
    closure = exact(paths[0], rows, licences)
    whole = Manifest(IDENTITY, closure, derived(closure))
    assert manifest.decode(manifest.encode(whole)) == whole


def test_an_image_of_which_nothing_is_known_has_no_manifest() -> None:
    """A plain file would get a block that says nothing, and another snapshot than an older version made of it."""
    assert manifest.encode(Manifest("sha256:00")) == b""
    assert manifest.seal(b"") == NO_MANIFEST


def test_the_same_image_is_the_same_bytes() -> None:
    """Two computers would not share an upload, and a reviewer could not compare what they made."""
    turned = derived(made())
    again = Closure(turned.root, exact=False, components=dict(reversed(list(turned.components.items()))))
    assert manifest.encode(replace(WHOLE, derived=again)) == manifest.encode(WHOLE)


DATA = manifest.encode(WHOLE)
SEALED = manifest.seal(DATA)
BLOCKS = manifest.padded(DATA)


def test_it_fills_whole_blocks_and_is_sealed() -> None:
    """A reader would ask for a wrong number of blocks."""
    assert (len(BLOCKS), SEALED.blocks, SEALED.size) == (BLOCK, 1, len(DATA))
    assert manifest.opened(BLOCKS, SEALED) == WHOLE


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.integers(0, len(DATA)), st.integers(0, BLOCK - 1)), st.integers(1, 255))
def test_a_change_of_any_byte_is_refused(at: int, change: int) -> None:
    """Packages that the image does not have would be shown, or `why` be answered wrongly."""
    damaged = bytearray(BLOCKS)
    damaged[at] ^= change
    with pytest.raises(BadManifest, match="is damaged: its checksum is wrong"):
        manifest.opened(damaged, SEALED)


@pytest.mark.parametrize("blocks", [b"", BLOCKS[:-1], BLOCKS + BLOCKS], ids=lambda blocks: str(len(blocks)))
def test_another_length_is_refused(blocks: bytes) -> None:
    """Half a manifest would be read as a whole one."""
    with pytest.raises(BadManifest, match="is damaged"):
        manifest.opened(blocks, SEALED)


def changed(**over: Any) -> bytes:
    return zlib.compress(json.dumps(json.loads(zlib.decompress(DATA)) | over).encode())


SPDX, DERIVED = (json.loads(zlib.decompress(DATA))[key] for key in ("spdx", "derived"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is truncated"),
        (DATA[:-5], "is truncated"),
        (DATA + b"x", "is truncated"),
        (b"no stream", "cannot be read"),
        (zlib.compress(b"[]"), "cannot be read"),
        (zlib.compress(b"\xff"), "cannot be read"),
        (zlib.compress(b"{}"), "cannot be read"),
        (zlib.compress(b"[" * 200_000), "cannot be read"),
        (changed(version=2), "has version 2, but this Fleetswap reads version 1"),
        (changed(sizes=[1]), "cannot be read"),
        (changed(derived={"root": "x"}), "cannot be read"),
        (changed(derived=DERIVED | {"root": "gone"}), "does not have its top"),
        (changed(sizes=["big"] * len(NAMES)), "has size 'big'"),
        (changed(sizes=[-1] * len(NAMES)), "has size -1"),
        (changed(sizes=[True] * len(NAMES)), "has size True"),
        (changed(spdx=SPDX | {"relationships": []}), "the image contains no store path"),
        (changed(spdx=SPDX | {"relationships": [{"spdxElementId": "SPDXRef-99"}]}), "cannot be read"),
    ],
    ids=[str(number) for number in range(17)],
)
def test_what_no_version_wrote_is_refused(data: bytes, said: str) -> None:
    """A preview would end with a traceback, because of a snapshot that a newer version made."""
    with pytest.raises(BadManifest, match=said):
        manifest.decode(data)


HOSTILE = "x\x1b]0;owned\x07\n\u202e\ud800"


def test_what_a_terminal_would_obey_is_made_visible() -> None:
    """Whoever makes an image could write to the terminal of whoever asks `fleetswap why`, or end it in a traceback."""
    columns = {key: [HOSTILE, *DERIVED[key][1:]] for key in ("name", "version", "output", "licence")}
    packages = [
        SPDX["packages"][0],
        *(each | {"name": HOSTILE, "versionInfo": HOSTILE} for each in SPDX["packages"][1:]),
    ]
    said = {HOSTILE: HOSTILE}
    data = changed(derived=DERIVED | columns, spdx=SPDX | {"packages": packages}, packages=said, licences=said)
    read = manifest.decode(data)
    assert read.closure is not None
    assert read.derived is not None
    shown: list[tuple[str, ...]] = [*read.packages.items(), *read.licences.items()]
    for each in (*read.closure.components.values(), *read.derived.components.values()):
        shown.append((each.path, each.name, each.version, each.output, each.licence or ""))
    for text in (word for row in shown for word in row):
        assert text.isprintable()
    assert "\\x1b]0;owned\\x07\\n\\u202e\\ud800" in "".join(read.packages)


def test_half_a_character_does_not_fail_an_upload() -> None:
    """An image whose author wrote such a license would be built, and never uploaded."""
    closure = made(licences={"openssl": HOSTILE})
    read = manifest.decode(manifest.encode(Manifest(IDENTITY, closure, packages={HOSTILE: HOSTILE})))
    assert read.closure is not None
    assert {each.licence for each in read.closure.components.values()} == {None, visible(HOSTILE)}
    assert read.packages == {visible(HOSTILE): visible(HOSTILE)}


def test_a_stream_that_unpacks_to_far_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to a snapshot could fill the memory of all who preview."""
    monkeypatch.setattr(manifest, "MAX_BYTES", 1_000)
    with pytest.raises(BadManifest, match="too large"):
        manifest.decode(zlib.compress(b" " * 1_001))


def test_what_is_too_large_goes_without_the_derivations_then_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload would write a manifest that no reader takes."""
    small = replace(WHOLE, derived=None)
    length = len(zlib.decompress(manifest.encode(small)))
    monkeypatch.setattr(manifest, "MAX_BYTES", length)
    assert manifest.decode(manifest.encode(WHOLE)) == small
    monkeypatch.setattr(manifest, "MAX_BYTES", length - 1)
    assert manifest.encode(WHOLE) == b""
    monkeypatch.undo()
    monkeypatch.setattr(manifest, "MAX_BLOCKS", 0)
    assert manifest.encode(WHOLE) == b""


def test_ten_thousand_store_paths_fit() -> None:
    """A large machine would have no manifest."""
    paths = [
        store_path(int.from_bytes(hashlib.sha256(row.to_bytes(4, "big")).digest()[:20], "big"), f"package{row}-1.{row}")
        for row in range(10_000)
    ]
    rows = [
        {"path": path, "narSize": row, "references": [paths[(row * step) % 10_000] for step in range(2, 12)]}
        for row, path in enumerate(paths)
    ]
    closure = exact(paths[0], rows, {})
    data = manifest.encode(Manifest(IDENTITY, closure, derived(closure)))
    assert zlib.decompress(data).count(paths[1].encode()) == 2  # in the closure, and in the derived one
    assert manifest.seal(data).blocks <= manifest.MAX_BLOCKS // 2


def document(each: Manifest = WHOLE) -> dict[str, Any]:
    return spdx.document(each.identity, each.closure, packages=each.packages, licences=each.licences)


@pytest.mark.parametrize("each", [WHOLE, LISTED])
def test_it_is_a_valid_spdx_document(each: Manifest) -> None:
    """Scanners would refuse it (SPDX 2.3, clauses 6, 7, 11: required fields, forms of identifiers, values)."""
    value = document(each)
    assert (value["spdxVersion"], value["dataLicense"], value["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    assert re.fullmatch(
        r"https://spdx\.org/spdxdocs/[^#\s]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value["documentNamespace"]
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value["creationInfo"]["created"])
    assert all(re.fullmatch(r"(Tool|Person|Organization): \S.*", one) for one in value["creationInfo"]["creators"])
    identifiers = [one["SPDXID"] for one in value["packages"]]
    assert len({*identifiers, value["SPDXID"]}) == len(identifiers) + 1
    assert all(re.fullmatch(r"SPDXRef-[a-zA-Z0-9.-]+", one) for one in identifiers)
    for one in value["packages"]:
        assert one["name"]
        assert one["downloadLocation"] == "NOASSERTION"
        assert one["filesAnalyzed"] is False
        for reference in one.get("externalRefs", []):
            assert (reference["referenceCategory"], reference["referenceType"]) == ("PACKAGE-MANAGER", "purl")
            assert re.fullmatch(r"pkg:nix/[A-Za-z0-9%._~-]+(@[A-Za-z0-9%._~-]+)?", reference["referenceLocator"])
    kinds = {(one["relationshipType"]) for one in value["relationships"]}
    assert kinds <= {"DESCRIBES", "CONTAINS", "DEPENDS_ON"}
    known = {*identifiers, value["SPDXID"]}
    for one in value["relationships"]:
        assert {one["spdxElementId"], one["relatedSpdxElement"]} <= known
    assert {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-image",
    } in (value["relationships"])


def test_packages_say_version_path_licence_and_what_they_depend_on() -> None:
    """A report would not find a package, or not say what brought it in."""
    value = document()
    openssl = next(
        one for one in value["packages"] if one["name"] == "openssl" and not one["packageFileName"].endswith("-dev")
    )
    assert (openssl["versionInfo"], openssl["licenseDeclared"]) == ("3.6.1", "Apache-2.0")
    assert openssl["packageFileName"] == store_path(24, "openssl-3.6.1")
    assert openssl["externalRefs"][0]["referenceLocator"] == "pkg:nix/openssl@3.6.1"
    glibc = next(one for one in value["packages"] if one["name"] == "glibc")
    assert glibc["externalRefs"][0]["referenceLocator"] == "pkg:nix/glibc@2.40%2B66"
    assert glibc["licenseDeclared"] == "NOASSERTION"
    depends = {
        "spdxElementId": openssl["SPDXID"],
        "relationshipType": "DEPENDS_ON",
        "relatedSpdxElement": glibc["SPDXID"],
    }
    assert depends in value["relationships"]
    contained = [one["relatedSpdxElement"] for one in value["relationships"] if one["relationshipType"] == "CONTAINS"]
    assert [one["name"] for one in value["packages"] if one["SPDXID"] in contained] == ["nixos-system-web"]


def test_an_image_without_a_closure_contains_each_of_its_packages() -> None:
    """The demo's manifest would name packages that nothing refers to."""
    value = document(LISTED)
    assert [one["relationshipType"] for one in value["relationships"]] == ["DESCRIBES", "CONTAINS", "CONTAINS"]
    assert [one["name"] for one in value["packages"]] == ["image-web", "busybox", "linux"]


def test_the_document_says_which_image_it_is_of() -> None:
    """Two images would have one namespace, which must be unique (clause 6.5), or a file's digest be lost."""
    digest = "ab" * 32
    of_file = document(Manifest(f"sha256:{digest}", packages={"a": "1"}))
    assert of_file["packages"][0]["checksums"] == [{"algorithm": "SHA256", "checksumValue": digest}]
    assert "checksums" not in document()["packages"][0]
    assert of_file["documentNamespace"] != document()["documentNamespace"]


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("MIT", "MIT"),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        ("(MIT OR ISC) AND GPL-1.0+", "(MIT OR ISC) AND GPL-1.0+"),
        ("LicenseRef-own", "NOASSERTION"),
        ("unfree, ask", "NOASSERTION"),
        ("(MIT", "NOASSERTION"),
        ("MIT) AND (ISC", "NOASSERTION"),
        ("(GPL-2.0-only) WITH Classpath-exception-2.0", "NOASSERTION"),
        ("GPL-2.0-only WITH (Classpath-exception-2.0)", "NOASSERTION"),
        ("GPL-2.0-only WITH Classpath-exception-2.0 WITH LLVM-exception", "NOASSERTION"),
        ("(GPL-2.0-only WITH Classpath-exception-2.0) OR MIT", "(GPL-2.0-only WITH Classpath-exception-2.0) OR MIT"),
        ("MIT AND", "NOASSERTION"),
        ("MIT AND NOASSERTION", "NOASSERTION"),
        ("", "NOASSERTION"),
        (None, "NOASSERTION"),
    ],
)
def test_only_an_expression_is_a_declared_license(licence: str | None, said: str) -> None:
    """One license that is none would make the whole document invalid."""
    assert spdx.declared(licence) == said
