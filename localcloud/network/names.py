"""Amazon's DNS server of a VPC: what a guest's query is answered with.

Decides what a name is: an endpoint's private DNS name, a machine's, a service of AWS, or a name of the internet, which
has an address of the stand-in for it. Only names of the first two kinds lead into the VPC. Knows A; a name that exists
has no other records here. Sources: RFC 1035; VPC user guide, "DNS attributes"; AWS PrivateLink guide, "Private DNS".
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from localcloud.network.frames import ip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORT = 53
TTL_SECONDS = 60  # of the names of endpoints and services in AWS
_A, _IN = 1, 1
_NOERROR, _NXDOMAIN, _NOTIMP = 0, 3, 4

SERVICES, INTERNET = "198.51.100.", "203.0.113."
"""The addresses of AWS's public services, and of everything else outside of a VPC (RFC 5737: of no real machine)."""

_NOWHERE = frozenset({"internal", "local", "localhost", "invalid", "test", "example", "onion", "arpa", "home", "lan"})
"""Top-level domains that the internet does not have (RFC 6761, RFC 8375, ICANN for `internal`)."""


def answer(query: bytes, known: Mapping[str, Sequence[str]], ranges: Mapping[str, str]) -> bytes | None:
    """The answer to a DNS query; None for what is no query.

    `known` are the names of the VPC, `*.` for any name below. `ranges` are the first addresses of services that a
    gateway endpoint may lead to, by the service's name.
    """
    if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
        return None
    name, at = _name(query)
    if name is None or len(query) < at + 4:
        return None
    kind, group = struct.unpack_from("!HH", query, at)
    question = query[12 : at + 4]
    if query[2] & 0x78:
        return _message(query, question, _NOTIMP, ())
    found = lookup(name, known, ranges)
    if found is None:
        return _message(query, question, _NXDOMAIN, ())
    return _message(query, question, _NOERROR, found if (kind, group) == (_A, _IN) else ())


def lookup(name: str, known: Mapping[str, Sequence[str]], ranges: Mapping[str, str]) -> Sequence[str] | None:
    """The addresses of a name; None for one that does not exist."""
    name = name.lower().rstrip(".")
    for candidate in (name, "*." + name.partition(".")[2]):
        if candidate in known:
            return known[candidate]
    labels = name.split(".")
    if len(labels) < 2 or labels[-1] in _NOWHERE or name.endswith("vpce.amazonaws.com"):
        return None
    number = 1 + zlib.crc32(name.encode()) % 254
    if name.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        service = next((ranges[label] for label in labels if label in ranges), None)
        return (service or f"{SERVICES}{number}",)
    return (f"{INTERNET}{number}",)


def _message(query: bytes, question: bytes, code: int, addresses: Sequence[str]) -> bytes:
    recursion = query[2] & 1
    head = query[:2] + bytes([0x80 | (query[2] & 0x78) | recursion, 0x80 | code])
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", _A, _IN, TTL_SECONDS, 4) + ip(address) for address in addresses
    )
    return head + struct.pack("!HHHH", 1, len(addresses), 0, 0) + question + records


def _name(query: bytes) -> tuple[str | None, int]:
    """The name of the first question and where it ends."""
    labels: list[str] = []
    at = 12
    while at < len(query):
        length = query[at]
        if length == 0:
            return ".".join(labels), at + 1
        if length > 63:  # compressed: a question has nothing to refer to
            return None, at
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    return None, at
