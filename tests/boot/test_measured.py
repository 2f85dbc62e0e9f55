"""What a NitroTPM measures is known before any machine runs: it agrees with what a TPM recorded of real boots."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.boot.measured import ZERO, Executable, boot_code, extended, measurements
from fleetswap.domain.errors import InputError
from tests.boot.executables import executable, uki

ALL = 512
"""Bytes of a section that is as long in the file as in memory."""

RECORDED = sorted((Path(__file__).parent / "measured").glob("*.json"))
"""Boots of a UKI by OVMF with swtpm: the event log and the PCRs as Linux showed them, and the Authenticode hashes of
the UKI and of the kernel in it. The file's name has the version of the stub, and what lay beside the UKI."""

HASH = "usrhash=" + "a" * 64


def overlapping(count: int) -> bytes:
    """An executable with so many sections, each of which is the whole file: 65,535 of them would take hours."""
    content = bytearray(executable({f".{number}": b"" for number in range(count)}))
    for number in range(count):
        struct.pack_into("<I", content, 64 + 24 + 240 + 40 * number + 16, len(content))
        struct.pack_into("<I", content, 64 + 24 + 240 + 40 * number + 20, 0)
    return bytes(content)


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


def events(log: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """PCR, type, SHA-384 digest and data of each event (TCG PC Client Platform Firmware Profile 1.06, 10.2)."""
    sizes = {0x4: 20, 0xB: 32, 0xC: 48, 0xD: 64}
    (length,) = struct.unpack_from("<I", log, 28)  # the first event has the form of TPM 1.2, and is a header
    at = 32 + length
    while at < len(log):
        pcr, kind, count = struct.unpack_from("<III", log, at)
        at += 12
        digests = {}
        for _ in range(count):
            (bank,) = struct.unpack_from("<H", log, at)
            digests[bank] = log[at + 2 : at + 2 + sizes[bank]]
            at += 2 + sizes[bank]
        (length,) = struct.unpack_from("<I", log, at)
        yield pcr, kind, digests[0xC], log[at + 4 : at + 4 + length]
        at += 4 + length


def test_a_recorded_boot_has_the_values_that_are_predicted(recorded: dict[str, Any]) -> None:
    """KMS would refuse every machine: what the key policy asks for is not what a TPM has."""
    assert recorded["pcrs"]["4"] == boot_code(bytes.fromhex(recorded[each]) for each in ("uki", "kernel"))


def test_a_recorded_log_is_replayed_to_what_the_tpm_had(recorded: dict[str, Any]) -> None:
    """The events that a prediction is made of would be others than the firmware's: their order, their texts."""
    by_pcr = defaultdict(list)
    log = list(events(base64.b64decode("".join(recorded["log"]))))
    for pcr, _, digest, _ in log:
        by_pcr[pcr].append(digest)
    assert {pcr: extended(by_pcr[int(pcr)]) for pcr in ("4", "7", "12", "13")} == {
        pcr: recorded["pcrs"][pcr] for pcr in ("4", "7", "12", "13")
    }
    action, separator, *started = [(kind, data) for pcr, kind, _, data in log if pcr == 4]
    assert action == (0x80000007, b"Calling EFI Application from Boot Option")
    assert separator == (0x4, bytes(4))
    assert [kind for kind, _ in started] == [0x80000003, 0x80000003]


def test_what_lies_beside_the_uki_is_in_pcr_12() -> None:
    """A credential that somebody puts beside the UKI would leave all values as they are predicted."""
    zero = {path.stem: json.loads(path.read_text())["pcrs"]["12"] == ZERO for path in RECORDED}
    assert zero == {"252-plain": True, "257-plain": True, "257-credential": False}


def test_a_uki_is_measured_with_its_kernel() -> None:
    """Machines of a stub that has the firmware start the kernel would be refused; so would those of newer ones."""
    kernel = executable({".text": b"linux"})
    of = {version: uki(version) for version in ("252", "257.13-1~deb13u1", "258~rc2", "260.1")}
    for version, image in of.items():
        outer = Executable.of(image).digest
        ran = [outer, Executable.of(kernel).digest] if version < "258" else [outer]
        assert measurements(image, name="x", alone=True) == (("4", boot_code(ran)), ("12", ZERO), ("13", ZERO))


@pytest.mark.parametrize(
    "changed",
    [
        uki(command_line="console=ttyS1"),
        uki(kernel=executable({".text": b"linuX"})),
        uki(initrd=b"x"),
        uki() + b"\1",
    ],
    ids=["argument", "kernel", "initrd", "behind"],
)
def test_any_change_has_another_value(changed: bytes) -> None:
    """A machine with other code, or with another argument of the kernel, would open the secrets."""
    assert measurements(changed, name="x", alone=True)[0] != measurements(uki(), name="x", alone=True)[0]


def test_each_changed_bit_that_is_measured_has_another_hash() -> None:
    """A part of an executable would not count, and code could be hidden there."""
    signed = executable({".text": b"code", ".data": b"x" * 600}, after=b"more", signature=b"signature")
    skipped = {*range(88 + 64, 88 + 68), *range(88 + 144, 88 + 148), *range(len(signed) - 9, len(signed))}
    seen = Executable.of(signed).digest
    headers = {*range(2), *range(60, 64), *range(64, 68), 70, 71, *range(84, 86), *range(88, 90)}
    sizes = {*range(88 + 60, 88 + 64), *range(88 + 108, 88 + 112), *range(88 + 148, 88 + 152), *range(328, 328 + 80)}
    for at in range(len(signed)):
        if at in headers | sizes:
            continue  # with another value there it is no executable, or another one
        changed = bytearray(signed)
        changed[at] ^= 1
        assert (Executable.of(bytes(changed)).digest == seen) is (at in skipped), at


def test_the_hash_is_that_of_authenticode() -> None:
    """Nothing that EDK II measures would match: neither checksum nor signature count, and sections by their place."""
    plain = executable({".b": b"2" * ALL, ".a": b"1" * ALL})
    headers = plain[: 88 + 64] + plain[88 + 68 : 88 + 144] + plain[88 + 152 : 512]
    assert Executable.of(plain).digest == hashlib.sha384(headers + plain[512:]).digest()
    few = executable({".b": b"2" * ALL}, directories=4)
    assert Executable.of(few).digest == hashlib.sha384(few[: 88 + 64] + few[88 + 68 :]).digest()


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"\x7fELF", "what its firmware starts is not an EFI executable"),
        (b"MZ" + bytes(100), "what its firmware starts is not an EFI executable"),
        (b"MZ" + bytes(20), "what its firmware starts is truncated"),
        (uki()[:1200], "what its firmware starts is truncated"),
        (uki().replace(b"\x0b\x02", b"\x0b\x01", 1), "what its firmware starts is not for a 64-bit machine"),
        (executable({".text": b"GRUB"}), "its firmware starts something else than a unified kernel image"),
        (uki(""), "the stub of its unified kernel image is not systemd-stub"),
        (overlapping(2), "what its firmware starts has sections that overlap"),
        (executable({})[:400], "what its firmware starts is truncated"),
        (uki("251.4"), "its systemd-stub is version 251, and must be 252 or newer"),
        (uki(profile=b"ID=a"), "its unified kernel image has several profiles"),
        (uki(kernel=b"MZ\0\0zimg" + bytes(90)), "its kernel is compressed, and starts another one"),
        (uki(kernel=b"bzImage"), "the kernel in its unified kernel image is not an EFI executable"),
    ],
)
def test_what_cannot_be_followed_is_refused(image: bytes, why: str) -> None:
    """A deploy would end with machines that KMS refuses, and nothing would say why."""
    with pytest.raises(InputError, match=f"^image x cannot be attested: {why}, so its measurements are not known: "):
        measurements(image, name="x", alone=True)


def test_other_partitions_need_a_hash_in_the_uki() -> None:
    """Whoever writes into the store of an image would get its secrets with the measurements of the old one."""
    for line in (HASH, f"quiet {HASH} panic=0", HASH.replace("usr", "root")):
        assert measurements(uki(command_line=line), name="x", alone=False)
    for line in ("", "root=/dev/xvda2", f"not{HASH}", f"{HASH}a", "usrhash=@usrhash@"):
        with pytest.raises(InputError, match=r"^image x cannot be attested: no hash in .* dm-verity"):
            measurements(uki(command_line=line), name="x", alone=False)
