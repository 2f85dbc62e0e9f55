"""What is wrong with a sealed file: values that are not sealed, and who else than the environment could open it.

It looks at the file alone: it decrypts nothing, so it needs neither sops nor AWS nor credentials. It never repeats a
value, because what it finds may be a secret. Sources: sops 3.9 to 3.13 (`aes/cipher.go` for the form of a value,
`stores/stores.go` for the metadata, `Tree.shouldBeEncrypted` for what is left in plaintext).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fleetswap.domain.text import visible

METADATA = "sops"
"""The top-level key of sops' own metadata."""

UNENCRYPTED_SUFFIX = "_unencrypted"
"""sops leaves what is below a key with this end in plaintext, if a file has no other rule (sops, `sops.go`)."""

_SEALED = re.compile(
    r"ENC\[AES256_GCM,data:(?P<data>[A-Za-z0-9+/]+={0,2}),iv:(?P<iv>[A-Za-z0-9+/]+={0,2}),tag:(?P<tag>[A-Za-z0-9+/]+={0,2}),"
    r"type:(?:str|int|float|bytes|bool|time|comment)\]"
)
"""A sealed value, from its beginning to its end: sops itself ignores what stands behind it."""

_IV_BYTES, _TAG_BYTES = 32, 16
"""Length of the nonce that sops uses, and of a tag of AES-GCM."""

_RULES = (
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
)
"""Metadata with which sops leaves a part of the values, or of the comments, in plaintext."""

_SINGLE = frozenset(
    {"lastmodified", "mac", "mac_only_encrypted", "shamir_threshold", "unencrypted_suffix", "version", *_RULES}
)
_ENTRY = frozenset({"arn", "aws_profile", "context", "created_at", "enc", "role"})
"""What sops writes into its metadata besides keys, and into an entry for KMS (`stores/stores.go`)."""

_PLAIN_NAME = re.compile(r"[\w-]+")


def problems(document: object, keys: Collection[str] | None, context: Mapping[str, str] | None) -> list[str]:
    """What is wrong with a parsed sops file, one line each, without any value of it; empty if nothing is.

    `document` is a tree without cycles. `keys` are the ARNs of all KMS keys that must be able to open the file: the
    environment's, and its replicas. `context` is the encryption context. None: it is not known yet, and anything is
    accepted in its place.
    """
    if not isinstance(document, Mapping):
        return ["is not sealed: it is not a mapping of names to values"]
    metadata = document.get(METADATA)
    if not isinstance(metadata, Mapping):
        return ["is not sealed: it has no metadata of sops"]
    values = {name: value for name, value in document.items() if name != METADATA}
    return [
        *_plaintext(values),
        *_strange(metadata),
        *_rules(metadata),
        *_integrity(metadata),
        *_recipients(metadata, keys, context),
    ]


def is_sealed(value: object) -> bool:
    """Whether a value has exactly the form of what sops writes in place of a value."""
    found = _SEALED.fullmatch(value) if isinstance(value, str) else None
    return (
        found is not None
        and _size(found["data"]) > 0
        and _size(found["iv"]) == _IV_BYTES
        and _size(found["tag"]) == _TAG_BYTES
    )


def _size(text: object) -> int:
    """The number of bytes that a text in base64 stands for; 0 for what is not base64."""
    try:
        return len(base64.b64decode(text, validate=True)) if isinstance(text, str) else 0
    except (binascii.Error, ValueError):
        return 0


def _plaintext(values: Mapping[Any, Any]) -> Iterator[str]:
    left: list[tuple[str, bool, object]] = [("", False, values)]
    while left:
        path, unencrypted, value = left.pop()
        if isinstance(value, Mapping):
            yield from (
                f"{_below(path, key)} is not a name: sops takes only text" for key in value if not isinstance(key, str)
            )
            inner = [
                (_below(path, key), unencrypted or str(key).endswith(UNENCRYPTED_SUFFIX), each)
                for key, each in value.items()
            ]
            left += reversed(inner)
        elif isinstance(value, (list, tuple)):
            left += reversed([(f"{path}[{number}]", unencrypted, each) for number, each in enumerate(value)])
        elif value is None or value == "":
            pass  # sops has nothing to encrypt there
        elif unencrypted:
            yield f"{path} is not sealed, because a name on its path ends in {UNENCRYPTED_SUFFIX}: rename it"
        elif not is_sealed(value):
            yield f"{path} is in plaintext"


def _below(path: str, key: object) -> str:
    if isinstance(key, str) and _PLAIN_NAME.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key, default=str)}]"


def _strange(metadata: Mapping[Any, Any]) -> Iterator[str]:
    """What is in the metadata that sops passes over: a line at the end of a file, too far to the right, is there."""
    for name, value in metadata.items():
        is_many = isinstance(value, (Mapping, list, tuple))
        is_key_kind = isinstance(value, (list, tuple)) and name not in _SINGLE
        if value and not is_key_kind and (is_many or name not in _SINGLE):
            yield f"{_below(METADATA, name)} is not of sops, and in plaintext: move it to the top level, and seal it"
    entries = metadata.get("kms")
    for number, entry in enumerate(entries if isinstance(entries, (list, tuple)) else ()):
        for name in entry if isinstance(entry, Mapping) else ():
            if name not in _ENTRY:
                yield f"{_below(f'{METADATA}.kms[{number}]', name)} is not of sops, and in plaintext: remove it"


def _rules(metadata: Mapping[Any, Any]) -> Iterator[str]:
    for rule in _RULES:
        if metadata.get(rule):
            yield f"the metadata has {rule}, with which sops leaves values in plaintext"
    if metadata.get("unencrypted_suffix") not in (None, "", UNENCRYPTED_SUFFIX):
        yield "the metadata has an unencrypted_suffix of its own, with which sops leaves values in plaintext"


def _integrity(metadata: Mapping[Any, Any]) -> Iterator[str]:
    if not metadata.get("mac"):
        yield "the metadata has no mac: a change of the file would not be noticed"
    elif not is_sealed(metadata["mac"]):
        yield "the mac in the metadata is not one that sops writes"


def _recipients(
    metadata: Mapping[Any, Any], keys: Collection[str] | None, context: Mapping[str, str] | None
) -> Iterator[str]:
    if metadata.get("key_groups") or metadata.get("shamir_threshold"):
        yield "the data key is split between key groups, which machines cannot join: use one group"
    for kind, entries in metadata.items():
        if kind not in ("kms", "key_groups") and entries and isinstance(entries, (list, tuple)):
            yield f"the metadata has entries for {_below('', kind)}: only KMS keys of the environment may open the file"
    entries = metadata.get("kms")
    found = []
    for entry in entries if isinstance(entries, (list, tuple)) else ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("arn"), str):
            yield "an entry for KMS in the metadata has no ARN"
            continue
        found.append(entry["arn"])
        yield from _entry(entry, entry["arn"], keys, context)
    if keys is None:
        if not found:
            yield "no KMS key can open the file"
        return
    for key in sorted(set(keys) - set(found)):
        yield f"the file has no data key for {key}, which cannot open it"


def _entry(
    entry: Mapping[Any, Any], key: str, keys: Collection[str] | None, context: Mapping[str, str] | None
) -> Iterator[str]:
    name = visible(key)
    if keys is not None and key not in keys:
        yield f"{name} can open the file, and is not a key of the environment"
        return
    if not _size(entry.get("enc")):
        yield f"the data key for {name} is missing"
    given = entry.get("context") or {}
    if context is not None and given != dict(context):
        yield f"the data key for {name} has the encryption context {_said(given)}, not {_said(context)}"
    if entry.get("aws_profile"):
        yield f"the data key for {name} names an aws_profile, which no machine has: remove it, and set AWS_PROFILE"
    if entry.get("role"):
        yield f"the data key for {name} names a role to assume, and machines use their own: remove it"


def _said(context: object) -> str:
    if not isinstance(context, Mapping) or not context:
        return "(none)"
    return visible(", ".join(sorted(f"{key}={value}" for key, value in context.items())))
