"""Names as Amazon's DNS server tells them in a VPC."""

from __future__ import annotations

import struct

import pytest

from localcloud.network.frames import text
from localcloud.network.names import answer, lookup

KNOWN = {
    "kms.us-east-1.amazonaws.com": ("10.66.1.9", "10.66.2.9"),
    "*.kms.us-east-1.amazonaws.com": ("10.66.1.9",),
    "ip-10-66-1-4.ec2.internal": ("10.66.1.4",),
}
RANGES = {"s3": "52.216.0.10"}


def query(name: str, kind: int = 1, opcode: int = 0) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    # With an OPT record, as resolvers send it (RFC 6891).
    return (
        struct.pack("!HBBHHHH", 77, 1 | opcode << 3, 0x20, 1, 0, 0, 1)
        + labels
        + struct.pack("!HH", kind, 1)
        + b"\0\0\x29\x10\0\0\0\0\0\0\0"
    )


def told(name: str, kind: int = 1, opcode: int = 0) -> tuple[int, list[str]]:
    """The code and the addresses of an answer."""
    data = answer(query(name, kind, opcode), KNOWN, RANGES)
    assert data is not None
    number, flags, questions, records = struct.unpack("!HHHH", data[:8])
    assert (number, flags & 0x8100, questions) == (77, 0x8100, 1)
    return flags & 15, [text(data[len(data) - 16 * n - 4 :][:4]) for n in reversed(range(records))]


@pytest.mark.parametrize(
    ("name", "code", "addresses"),
    [
        ("kms.us-east-1.amazonaws.com", 0, ["10.66.1.9", "10.66.2.9"]),
        ("KMS.us-east-1.Amazonaws.com", 0, ["10.66.1.9", "10.66.2.9"]),
        ("x.kms.us-east-1.amazonaws.com", 0, ["10.66.1.9"]),
        ("ip-10-66-1-4.ec2.internal", 0, ["10.66.1.4"]),
        ("ip-10-66-1-5.ec2.internal", 3, []),
        ("bucket.s3.us-east-1.amazonaws.com", 0, ["52.216.0.10"]),
        ("vpce-1.kms.us-east-1.vpce.amazonaws.com", 3, []),
        ("localhost", 3, []),
        ("nothing.invalid", 3, []),
    ],
)
def test_names_lead_where_the_vpc_says(name: str, code: int, addresses: list[str]) -> None:
    """A machine would ask the internet for a service that has an endpoint in its VPC, or find one that has none."""
    assert told(name) == (code, addresses)


def test_services_and_the_internet_have_addresses_outside_of_every_vpc() -> None:
    """Without an endpoint, a service would seem to be in the VPC."""
    assert told("logs.us-east-1.amazonaws.com")[1][0].startswith("198.51.100.")
    assert told("example.com")[1][0].startswith("203.0.113.")
    assert lookup("example.com", {}, {}) == lookup("EXAMPLE.com.", {}, {})


def test_a_name_without_such_a_record_exists_all_the_same() -> None:
    """A resolver that asks for IPv6 first would take the name for missing, and never ask for its address."""
    assert told("kms.us-east-1.amazonaws.com", kind=28) == (0, [])
    assert told("nothing.invalid", kind=28) == (3, [])
    assert told("example.com", opcode=4) == (4, [])


@pytest.mark.parametrize("data", [b"", b"\0" * 12, query("a.b")[:20], query("a.b")[:12] + b"\xc0\x0c\0\1\0\1"])
def test_what_is_no_query_gets_no_answer(data: bytes) -> None:
    """A guest could end the router with one packet."""
    assert answer(data, KNOWN, RANGES) is None


def test_an_answer_is_never_answered() -> None:
    """Two servers would answer each other for ever."""
    asked = bytearray(query("a.b"))
    asked[2] |= 0x80
    assert answer(bytes(asked), KNOWN, RANGES) is None
