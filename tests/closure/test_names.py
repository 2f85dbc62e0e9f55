"""What the names of store paths say: those that NixOS really has."""

from __future__ import annotations

import pytest

from fleetswap.domain.closure.names import name_of, split

HASH = "0c1a2b3d4f5g6h7i8j9k0l1m2n3p4q5r"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("openssl-3.6.1", ("openssl", "3.6.1", "out")),
        ("openssl-3.6.1-bin", ("openssl", "3.6.1", "bin")),
        ("glibc-2.40-66-bin", ("glibc", "2.40-66", "bin")),
        ("gcc-14.3.0-lib", ("gcc", "14.3.0", "lib")),
        ("glibc-2.40-66-lib32", ("glibc", "2.40-66", "lib32")),
        ("linux-6.12.58-modules-shrunk", ("linux", "6.12.58", "modules-shrunk")),
        ("bash-interactive-5.3p3", ("bash-interactive", "5.3p3", "out")),
        ("python3.12-requests-2.32.3", ("python3.12-requests", "2.32.3", "out")),
        ("nixos-system-web-25.11.20251120.abcdef0", ("nixos-system-web", "25.11.20251120.abcdef0", "out")),
        ("libfoo-0-unstable-2024-01-01", ("libfoo", "0-unstable-2024-01-01", "out")),
        ("ruby-3.4.0-rc1", ("ruby", "3.4.0-rc1", "out")),
        ("go-1.25-rc", ("go", "1.25-rc", "out")),
        ("etc-os-release", ("etc-os-release", "", "out")),
        ("unit-web-2.service", ("unit-web-2.service", "", "out")),
        ("unit-script-web-2-start", ("unit-script-web", "2", "start")),
    ],
)
def test_a_name_is_split_as_nix_splits_it(name: str, parts: tuple[str, str, str]) -> None:
    """A version change would be shown as one package removed and another one added, or an output as a version."""
    assert tuple(split(name)) == parts


def test_a_path_in_any_store_has_a_name() -> None:
    """Of a store that is not /nix/store, every path would be named by its hash."""
    assert name_of(f"/nix/store/{HASH}-hello-2.12") == "hello-2.12"
    assert name_of(f"/home/ci/store/{HASH}-hello-2.12") == "hello-2.12"
    assert name_of("/nix/store/hello") == "hello"
