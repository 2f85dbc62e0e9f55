"""Which PCRs a NitroTPM has once a disk has booted: what a key policy can ask for before any machine runs.

It follows the firmware and systemd-stub from the bytes of the unified kernel image (UKI) alone, in the SHA-384 bank,
and refuses what it cannot follow, or what leaves a way to other code behind the same values.

- PCR 4 is what ran: the boot attempt, a separator, the UKI, and with systemd-stub before version 258 the kernel in it,
  which that stub starts through the firmware (TCG PC Client Platform Firmware Profile 1.06, 3.3.4.5; systemd
  src/boot/efi/linux.c, and pull request 37372 for 258). AWS's nitro-tpm-pcr-compute measures the same.
- PCR 12 is what was added to the UKI: another command line, credentials, addons, configuration extensions
  (systemd-stub(7)). Without any it stays zero. PCR 4 alone would allow another command line: GHSA-xrv8-2pf5-f3q7.
- PCR 13 is system extensions beside the UKI, and zero without any.

Without Secure Boot, PCR 7 says only that there is none. A file is hashed by "Windows Authenticode Portable Executable
Signature Format", as EDK II does it (SecurityPkg/Tcg/Tcg2Dxe/MeasureBootPeCoff.c).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from fleetswap.domain.errors import InputError

Measurements = tuple[tuple[str, str], ...]
"""Pairs of a PCR's number and its value in lower-case hex, as `fleetswap.domain.release.ledger` keeps them."""

BOOT_ATTEMPT = b"Calling EFI Application from Boot Option"
"""PC Client Platform Firmware Profile 1.06, table 14 (EV_EFI_ACTION). Firmware that tries another option first, as
QEMU's does without a boot order, has it twice; an instance of EC2 has one disk to start from."""

SEPARATOR = bytes(4)
"""The same, 3.3.2.2 (EV_SEPARATOR)."""

ZERO = "00" * hashlib.sha384().digest_size
"""A PCR that nothing was measured into."""

OLDEST_STUB = 252
"""Before, systemd-stub measured what is added to the UKI into other PCRs (NEWS, 252)."""

DIRECT_STUB = 258
"""Since, it starts the kernel itself: the firmware does not measure it a second time (NEWS, 258)."""

_PE_OFFSET, _CHECKSUM, _HEADERS, _DIRECTORIES = 0x3C, 64, 60, 108
"""PE Format: where the offset of the signature stands; and in the optional header the checksum, the size of all
headers, and the number of data directories, which follow it."""

_SECTION = struct.Struct("<8sIIII12xI")
"""Microsoft "PE Format", section table: name, size in memory, address, size in the file, its offset; the flags."""

_SECURITY = 4
"""PE Format, "Optional Header Data Directories": the index of the certificate table."""

_MAGIC = re.compile(rb"#### LoaderInfo: systemd-stub (\d+)")
_HASH = re.compile(r"(?:^|\s)(?:usrhash|roothash)=[0-9a-f]{64}(?=\s|$)")
"""systemd-veritysetup-generator(8): the root hash by which the kernel refuses another file system."""


@dataclass(frozen=True)
class Executable:
    """A PE/COFF file: its Authenticode hash, and its sections by name."""

    digest: bytes
    sections: dict[str, bytes]

    @classmethod
    def of(cls, content: bytes) -> Executable:
        """Read a 64-bit executable. `ValueError` if it is none, or does not have what its headers say."""
        try:
            return cls(*_read(content))
        except struct.error as error:
            raise ValueError("is truncated") from error


def measurements(uki: bytes, *, name: str, alone: bool) -> Measurements:
    """PCR 4, 12 and 13 after this UKI booted without Secure Boot.

    `InputError` if they are not known, or would protect nothing.

    `alone`: the disk has no other file than the UKI. Else the UKI must hold the hash of the file system that it mounts,
    or the same PCRs would stand for whatever somebody wrote into it.
    """
    try:
        outer = Executable.of(uki)
    except ValueError as error:
        raise _unknown(name, f"what its firmware starts {error}") from error
    if ".linux" not in outer.sections:
        raise _unknown(name, "its firmware starts something else than a unified kernel image")
    if ".profile" in outer.sections:
        raise _unknown(name, "its unified kernel image has several profiles")
    kernel = _kernel(outer, name)
    command_line = outer.sections.get(".cmdline", b"").rstrip(b"\0").decode("utf-8", "replace")
    if not alone and not _HASH.search(command_line):
        raise InputError(
            f"image {name} cannot be attested: no hash in its unified kernel image says what else its disk holds,"
            " so the same measurements would stand for a changed one: build it with dm-verity"
            " (fleetswap.image.verity.enable), or set fleetswap:secrets.attested: false"
        )
    executables = [outer.digest] if kernel is None else [outer.digest, kernel.digest]
    return (("4", boot_code(executables)), ("12", ZERO), ("13", ZERO))


def boot_code(executables: Iterable[bytes]) -> str:
    """PCR 4 after firmware has started executables with these hashes, in this order, at the first attempt."""
    events = [hashlib.sha384(each).digest() for each in (BOOT_ATTEMPT, SEPARATOR)]
    return extended([*events, *executables])


def extended(digests: Iterable[bytes]) -> str:
    """A PCR that these digests were measured into (TPM 2.0 Library, part 1, 17.2): each with all before it."""
    value = bytes.fromhex(ZERO)
    for each in digests:
        value = hashlib.sha384(value + each).digest()
    return value.hex()


def _kernel(uki: Executable, name: str) -> Executable | None:
    """The kernel if the firmware starts it; None if systemd-stub does so itself."""
    found = _MAGIC.match(uki.sections.get(".sdmagic", b""))
    if found is None:
        raise _unknown(name, "the stub of its unified kernel image is not systemd-stub")
    stub = int(found[1])
    if stub < OLDEST_STUB:
        raise _unknown(name, f"its systemd-stub is version {stub}, and must be {OLDEST_STUB} or newer")
    if stub >= DIRECT_STUB:
        return None
    content = uki.sections[".linux"]
    if content[4:8] == b"zimg":  # Linux drivers/firmware/efi/libstub/zboot-header.S: starts what it unpacks
        raise _unknown(name, "its kernel is compressed, and starts another one")
    try:
        return Executable.of(content)
    except ValueError as error:
        raise _unknown(name, f"the kernel in its unified kernel image {error}") from error


def _unknown(name: str, why: str) -> InputError:
    return InputError(
        f"image {name} cannot be attested: {why}, so its measurements are not known: build it as a unified kernel image"
        f" with systemd-stub {OLDEST_STUB} or newer, or set fleetswap:secrets.attested: false"
    )


def _read(content: bytes) -> tuple[bytes, dict[str, bytes]]:
    if content[:2] != b"MZ":
        raise ValueError("is not an EFI executable")
    (pe,) = struct.unpack_from("<I", content, _PE_OFFSET)
    if content[pe : pe + 4] != b"PE\0\0":
        raise ValueError("is not an EFI executable")
    count, optional_size = struct.unpack_from("<2xH12xH", content, pe + 4)
    optional = pe + 24
    (magic,) = struct.unpack_from("<H", content, optional)
    if magic != 0x20B:
        raise ValueError("is not for a 64-bit machine")
    (headers,) = struct.unpack_from("<I", content, optional + _HEADERS)
    (directories,) = struct.unpack_from("<I", content, optional + _DIRECTORIES)
    entry = optional + _DIRECTORIES + 4 + 8 * _SECURITY
    signed = struct.unpack_from("<II", content, entry)[1] if directories > _SECURITY else 0
    table = optional + optional_size
    sections = [_SECTION.unpack_from(content, table + 40 * number) for number in range(count)]
    filled = [(start, size) for _, _, _, size, start, _ in sections if size]
    if headers > len(content) or any(start + size > len(content) for start, size in filled):
        raise ValueError("is truncated")
    if sum(size for _, size in filled) > len(content):  # bounds what is read: 65,535 of them may lie on each other
        raise ValueError("has sections that overlap")
    digest = hashlib.sha384(content[: optional + _CHECKSUM])
    if directories > _SECURITY:
        digest.update(content[optional + _CHECKSUM + 4 : entry])
        digest.update(content[entry + 8 : headers])
    else:
        digest.update(content[optional + _CHECKSUM + 4 : headers])
    for start, size in sorted(filled):
        digest.update(content[start : start + size])
    # What follows the last section counts, but for the signatures, which stand at the end.
    hashed = headers + sum(size for _, size in filled)
    digest.update(content[hashed : max(hashed, len(content) - signed)])
    found: dict[str, bytes] = {}
    for raw, memory, _, size, start, _ in sections:
        found.setdefault(raw.rstrip(b"\0").decode("latin-1"), content[start : start + min(memory, size)])
    return digest.digest(), found
