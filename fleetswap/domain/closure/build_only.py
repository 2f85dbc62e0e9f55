"""What a derivation names and its output does not refer to: what is there for the build alone.

Nix finds the references of an output in its bytes, after the build. Before that, only nixpkgs' conventions say which of
the paths in a derivation compile it, check it, or run while it is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from fleetswap.domain.closure.derivation import Derivation
from fleetswap.domain.closure.kinds import KERNEL
from fleetswap.domain.closure.names import name_of, split

SOURCES = frozenset(
    {"src", "srcs", "patches", "cargoDeps", "goModules", "npmDeps", "pnpmDeps", "yarnOfflineCache"},
)
"""What is unpacked and compiled. Of these, another hash is another content."""

BUILD_ONLY = SOURCES | {
    # What runs while something is built: nixpkgs manual, "Specifying dependencies".
    *("stdenv", "builder", "nativeBuildInputs", "propagatedNativeBuildInputs"),
    *("depsBuildBuild", "depsBuildBuildPropagated", "depsBuildTarget", "depsBuildTargetPropagated"),
    *("nativeCheckInputs", "checkInputs", "nativeInstallCheckInputs", "installCheckInputs"),
    *("unpackPhase", "checkPhase", "preCheck", "postCheck"),
    *("installCheckPhase", "preInstallCheck", "postInstallCheck"),
    *("setupHook", "setupHooks", "envHooks", "phases"),
    # What an output may refer to, or must not: Nix manual, "Advanced attributes".
    *("allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites", "outputChecks"),
}
"""Attributes that name what an output does not refer to."""

SYSTEM = re.compile(r"nixos-system-.+")
"""The name of a NixOS machine (nixos/modules/system/activation/top-level.nix)."""

SYSTEM_ONLY = frozenset({"passedChecks", "closureInfo", "perl", "localeArchive"})
"""Attributes of a NixOS machine that its output does not refer to; the same file says so."""

RUN = (
    (SYSTEM, frozenset({"jq"})),
    (re.compile(r"etc-dump"), frozenset({"python3"})),
    (re.compile(r"(?:system|user|initrd|nspawn)-units"), frozenset({"lndir"})),
)
"""What NixOS's own scripts run to make an output of that name: that file and bootspec.nix, nixos/lib/systemd-lib.nix,
nixos/modules/system/etc/etc.nix."""

TOOLS = re.compile(r"nuke-references|remove-references-to|linux-headers|bootstrap-(?:stage[0-9]|tools).*")
"""Names of what no output refers to, wherever it is named: what takes references away, and what the first compiler and
C library are made with (pkgs/stdenv/linux/default.nix)."""

HOOK = "$out/nix-support/setup-hook"
"""What makes one is a part of builds (makeSetupHook, pkgs/build-support/trivial-builders)."""

FORBIDDEN = ("disallowedReferences", "disallowedRequisites")
"""What the output must not refer to, or the build fails (Nix manual, "Advanced attributes")."""

REPLACED = re.compile(r"(/\S*?/[0-9a-df-np-sv-z]{32}-[^\s\"]+)\"?\s+/no-such-path")
"""What nixpkgs' packages write in the place of a path that their output must not refer to (perl's compiler, say)."""

COMPILES = re.compile(r"(?<!\S)(?:CC|CXX|LD|AR|AS|NM|RANLIB|STRIP|OBJCOPY|OBJDUMP|READELF|HOST\w+|BUILD_\w+)=\S+")
"""What make is told to compile with, in `makeFlags`."""

CONFIG = "linux-config"
"""What a kernel is configured with (pkgs/os-specific/linux/kernel/generic.nix)."""


@lru_cache
def references(store: str) -> re.Pattern[str]:
    """Finds the paths of a store, a folder with `/`, wherever they stand in a text: the hash and the name of each."""
    return re.compile(re.escape(store) + r"([0-9a-df-np-sv-z]{32})-([0-9a-zA-Z+\-._?=]+)")


def attributes(at: Derivation) -> Iterator[tuple[str, str]]:
    """What a derivation is made of, as texts. Without stdenv nothing says what is there for the build alone."""
    for name, value in sorted(at.attributes.items()):
        yield name, value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    if "stdenv" not in at.attributes:
        yield "args", "\n".join(at.args)


def without_compilers(name: str, value: str, paths: re.Pattern[str]) -> str:
    """The text of an attribute, with the paths of what make compiles with as `unversioned` names."""
    if name != "makeFlags":
        return value
    return COMPILES.sub(lambda flag: paths.sub(lambda found: unversioned(found[2]), flag[0]), value)


def is_run_by(at: Derivation, name: str) -> Callable[[str], bool]:
    """Says of the name of a path in an attribute whether it is there for the build alone."""
    if _is_for_build(at, name):
        return _yes
    run = _run(at) if name == "buildCommand" else None
    return (lambda its_name: split(its_name).name in run) if run else _no


def _yes(_: str) -> bool:
    return True


def _no(_: str) -> bool:
    return False


def forbidden(at: Derivation, texts: Sequence[tuple[str, str]]) -> set[str]:
    """Hashes of the paths that a derivation, with its `attributes`, says its output does not refer to."""
    values = [value for _, value in texts if "/no-such-path" in value]
    paths = [path for value in values for path in REPLACED.findall(value)]
    paths += [str(at.attributes.get(name, "")) for name in FORBIDDEN]
    return {found[1] for found in references(at.path.rpartition("/")[0] + "/").finditer(" ".join(paths))}


@lru_cache(maxsize=65536)
def is_tool(name: str) -> bool:
    """Whether nothing refers to a path of that name."""
    return TOOLS.fullmatch(split(name).name) is not None


def is_hook(at: Derivation) -> bool:
    """Whether it makes a setup hook of stdenv."""
    return HOOK in str(at.attributes.get("buildCommand", ""))


def is_kernel(at: Derivation) -> bool:
    """Whether it is named as a kernel. The output of one refers to nothing: all that is named compiles it."""
    return KERNEL.fullmatch(split(at.name).name) is not None


def is_configuration(path: str) -> bool:
    """Whether a derivation makes what a kernel is configured with."""
    return split(name_of(path)).name == CONFIG


@lru_cache(maxsize=65536)
def unversioned(name: str) -> str:
    """What stands for a path of that name in a text, without hash and version."""
    return f"<{split(name).name}>"


def _run(at: Derivation) -> frozenset[str]:
    """Names of packages that the build command of a derivation runs, and does not write into the output."""
    if "pathsToLink" in at.attributes:  # pkgs/build-support/buildenv
        return frozenset({"perl"})
    return next((names for pattern, names in RUN if pattern.fullmatch(at.name)), frozenset())


def _is_for_build(at: Derivation, name: str) -> bool:
    if name == "builder" and "stdenv" not in at.attributes:
        return False
    return name in BUILD_ONLY or (name in SYSTEM_ONLY and SYSTEM.fullmatch(at.name) is not None)
