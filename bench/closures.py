"""Closures like those of a NixOS server, and what happens to them: the application changes, a library, the kernel.

It decides names, sizes, references and contents, from a seed; there is no nixpkgs here to take real ones from. What
makes a layout move is in it: a path's hash depends on all of its inputs, and files hold the hashes of what they refer
to, so that a change of one library rebuilds, with new names and new bytes, everything that uses it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from random import Random

KIB, MIB = 1024, 1024 * 1024
ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"


@dataclass(frozen=True)
class Package:
    """One store path: its files by name with their sizes, and what it refers to, by name."""

    name: str
    version: str
    files: dict[str, int]
    uses: tuple[str, ...] = ()
    edition: dict[str, int] = field(default_factory=dict)
    """Files with other content than at first, and which."""
    links: int = 0
    """How many symlinks into what it uses: a folder of many packages together."""


def server(mib: int) -> dict[str, Package]:
    """The packages of a server whose closure has about so many MiB, by name, what is used before what uses it."""
    random = Random(11)
    share = mib / 1024
    found: dict[str, Package] = {}

    def add(name: str, version: str, files: dict[str, int], uses: tuple[str, ...] = (), links: int = 0) -> None:
        found[name] = Package(name, version, files, uses, links=links)

    add("glibc", "2.40", _files(random, "lib", 300, 24 * MIB * share) | {"lib/locale/locale-archive": 3 * MIB})
    add("openssl", "3.4.1", _files(random, "lib", 40, 8 * MIB * share), ("glibc",))
    base = ["glibc", "openssl"]
    tools = [f"{_word(random)}{n}" for n in range(260)]
    for n, name in enumerate(tools):
        bulk = min(48 * MIB, math.exp(random.gauss(13.6, 1.7))) * share + 8 * KIB
        # Nearly everything uses openssl, through something or other; a leaf library has few users.
        uses = [*base, *random.sample(tools[: max(1, n // 2)], min(2, n // 2))]
        add(
            name,
            f"{random.randint(0, 9)}.{random.randint(0, 40)}",
            _files(random, "share", _count(bulk), bulk),
            tuple(uses),
        )
    add("leaf", "1.2.0", _files(random, "lib", 30, 900 * KIB), ("glibc",))
    modules = [f"python3.12-{_word(random)}{n}" for n in range(90)]
    for n, name in enumerate(modules):
        bulk = math.exp(random.gauss(12.2, 1.1)) * share + 8 * KIB
        add(
            name,
            f"{random.randint(0, 9)}.{n}",
            _files(random, "lib/python3.12/site-packages", _count(bulk), bulk),
            ("openssl",),
        )
    for n in range(8):
        add(f"user-of-leaf{n}", f"0.{n}", _files(random, "bin", 6, 200 * KIB), ("glibc", "leaf"))
    # What NixOS has in scripts, wrappers and configuration files: hundreds of paths of one file.
    for n in range(int(300 * share) + 60):
        add(f"{_word(random)}{n}.conf", "", {"": random.randint(200, 6000)}, (random.choice(tools),))
    left = mib * MIB - sum(map(size, found.values())) - 25 * MIB
    add("linux", "6.12.8", {"bzImage": 12 * MIB, "System.map": 5 * MIB})
    kernel = _files(random, "lib/modules/6.12.8/kernel", int(3200 * share) + 400, max(8 * MIB, left / 3))
    add("linux-modules", "6.12.8", kernel)
    add("linux-firmware", "20250211", _files(random, "lib/firmware", 200, max(4 * MIB, left / 3)))
    add("postgresql", "17.2", _files(random, "lib", 400, max(4 * MIB, left / 3)), (*base, tools[9]))
    add("app", "7", _files(random, "lib/app", 600, 8 * MIB), (*base, *modules[:25]))
    units = []
    for n in range(280):
        name = "unit-app.service" if n == 0 else f"unit-{_word(random)}{n}.service"
        used = "app" if n == 0 else random.choice(tools)
        add(name, "", {name.removeprefix("unit-"): random.randint(500, 2500)}, (used,))
        units.append(name)
    add("system-path", "", {}, (*tools, *modules[:5]), links=int(4000 * share) + 500)
    add("system-units", "", {}, tuple(units), links=len(units))
    add(
        "etc",
        "",
        _files(random, "etc", 40, 160 * KIB),
        ("system-units", *(n for n in found if n.endswith(".conf"))),
        links=200,
    )
    leaves = tuple(name for name in found if name.startswith("user-of-leaf"))
    add(
        "nixos-system-web",
        "25.11",
        {"init": 3000, "activate": 9000, "kernel-params": 200},
        ("etc", "system-path", "linux", "linux-modules", "linux-firmware", "postgresql", "app", *leaves),
        links=12,
    )
    return found


def size(package: Package) -> int:
    """Bytes in its files."""
    return sum(package.files.values())


def changes(before: dict[str, Package]) -> dict[str, dict[str, Package]]:
    """What happens to a server, by name: the closure afterwards."""
    app, leaf, openssl, kernel = (before[name] for name in ("app", "leaf", "openssl", "linux-modules"))
    edited = list(app.files)[100:600:100]
    newer = _resized(kernel, 310 * KIB)
    added = {
        "new-library": Package("new-library", "2.0", _files(Random(5), "lib", 60, 5 * MIB), ("glibc", "openssl")),
        "new.conf": Package("new.conf", "", {"": 900}, ("new-library",)),
        "unit-new.service": Package("unit-new.service", "", {"new.service": 900}, ("new-library",)),
    }
    system = before["nixos-system-web"]
    units = before["system-units"]
    without = {name: package for name, package in before.items() if name != "unit-app.service"}
    return {
        "app": before | {"app": _grown(replace(app, version="8"), dict.fromkeys(edited, 29 * KIB // 5))},
        "leaf": before | {"leaf": _grown(replace(leaf, version="1.2.1"), {list(leaf.files)[7]: 9 * KIB})},
        "lib": before | {"openssl": _grown(replace(openssl, version="3.4.2"), {list(openssl.files)[7]: 9 * KIB})},
        "kernel": before
        | {"linux-modules": replace(kernel, version="6.12.9", files=newer, edition=dict.fromkeys(kernel.files, 1))},
        "added": {name: package for name, package in before.items() if name not in ("system-units", "etc", system.name)}
        | added
        | {
            "system-units": replace(units, uses=(*units.uses, "unit-new.service"), links=units.links + 1),
            "etc": replace(before["etc"], uses=(*before["etc"].uses, "new.conf")),
            system.name: system,
        },
        "removed": without | {"system-units": replace(units, uses=units.uses[1:], links=units.links - 1)},
    }


def write(packages: dict[str, Package], root: Path, closure: Path) -> None:
    """Write the store paths that are not there yet under `root`, and the closure as `closure.json` has it."""
    store = root / "nix/store"
    store.mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    infos = []
    for package in packages.values():
        uses = [names[name] for name in package.uses]
        said = repr((package.name, package.version, package.files, package.edition, package.links, uses))
        digest = sha256(said.encode()).digest()
        hashed = "".join(ALPHABET[byte % 32] for byte in digest)
        name = f"{hashed}-{package.name}" + (f"-{package.version}" if package.version else "")
        names[package.name] = name
        if not (store / name).exists():
            _write(package, store / name, [each[:32] for each in uses], hashed, uses)
        infos.append(
            {
                "path": f"/nix/store/{name}",
                "narHash": f"sha256:{hashed}",
                "narSize": size(package),
                "references": [f"/nix/store/{each}" for each in uses],
            }
        )
    top = f"/nix/store/{names['nixos-system-web']}"
    closure.write_text(json.dumps({"version": 1, "root": top, "paths": infos, "licences": {}}))


def _write(package: Package, path: Path, hashes: list[str], own: str, uses: list[str]) -> None:
    if "" in package.files:
        path.write_bytes(_content(package, "", [own, *hashes]))
        return
    path.mkdir()
    for name in package.files:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_content(package, name, [own, *hashes]))
        file.chmod(0o555 if "bin/" in name else 0o444)
    for n in range(package.links):
        link = path / "links" / f"{n % 50}" / f"link{n}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/nix/store/{uses[n % len(uses)]}/share/{n}")


def _content(package: Package, name: str, hashes: list[str]) -> bytes:
    """Half random, half text that compresses; the references in the first of its bytes."""
    size = package.files[name]
    random = Random(f"{package.name}/{name}/{package.edition.get(name, 0)}")
    head = " ".join(hashes[:20]).encode()
    return (head + random.randbytes(size // 2) + b"the same words in every file of it\n" * (size // 70 + 1))[:size]


def _grown(package: Package, by: dict[str, int]) -> Package:
    files = {name: size + by.get(name, 0) for name, size in package.files.items()}
    return replace(package, files=files, edition=package.edition | dict.fromkeys(by, 1))


def _resized(package: Package, by: int) -> dict[str, int]:
    random = Random(6)
    each = by // len(package.files)
    return {name: size + random.randint(-size // 50, size // 50) + each for name, size in package.files.items()}


def _files(random: Random, folder: str, count: int, size: float) -> dict[str, int]:
    """Files of most unequal sizes, that together have `size` bytes."""
    weights = [math.exp(random.gauss(0, 1.4)) for _ in range(count)]
    scale = size / sum(weights)
    return {f"{folder}/{_word(random)}{n}": max(1, int(weight * scale)) for n, weight in enumerate(weights)}


def _count(size: float) -> int:
    return max(1, min(900, int(size / (24 * KIB))))


def _word(random: Random) -> str:
    return "".join(random.choice("abcdefghilmnoprstu") for _ in range(5))
