"""What to do about what nix says. Its own words stand; this adds the step that mends it, where there is one.

The patterns are nix's words in versions 2.3 to 2.31, and those of nixpkgs (default.nix).
"""

from __future__ import annotations

import re

NO_BUILD = "allow-import-from-derivation"
"""Nix's setting that lets an evaluation build (nix.conf; true by default)."""

_REMEDIES = (
    (
        r"This version of Nixpkgs requires (?:Nix >= |.*reports at least )(?P<wanted>[0-9.]+[0-9])",
        "this nixpkgs needs nix {wanted} or later, and this machine has {nix}: install a newer nix",
    ),
    (
        r"attribute '\"?(?:readFileType|parseFlakeRef|flakeRefToString|convertHash|warn)\"?' missing",
        "this nixpkgs needs a builtin that {nix} does not have: install a newer nix (NixOS 25.11 needs 2.18 or later)",
    ),
    (
        r"unrecogni[sz]ed flag '--(?:extra-experimental-features|apply|no-update-lock-file)'",
        "flakes need nix 2.4 or later, and this machine has {nix}: install a newer nix",
    ),
    (
        r"lock file changes|lock file .* (?:out of date|outdated)|cannot update unlocked flake input",
        "the flake is not locked, so its inputs could be others each time: run `nix flake lock` and commit flake.lock",
    ),
    (
        rf"because the option '{NO_BUILD}' is disabled",
        f'a preview builds nothing: avoid import from derivation, or set {NO_BUILD}: "true" in `options` of the image',
    ),
    (
        r"experimental Nix feature '[^']*' is disabled",
        "set experimental-features in `options` of the image",
    ),
    (
        r"(?P<system>[a-z0-9_]+-[a-z0-9]+)' with features .* is required to build"
        r"|Required system: '(?P<other>[a-z0-9_]+-[a-z0-9]+)'"
        r"|a '(?P<third>[a-z0-9_]+-[a-z0-9]+)' is required to build",
        "this machine cannot build for {system}: give nix a remote builder (`builders`), or binfmt emulation and"
        " `extra-platforms`",
    ),
    (
        r"No space left on device|disk is full|ENOSPC",
        "the disk is full: free some space, for example with `nix-collect-garbage`",
    ),
    (r"Read-only file system|readonly database", "nix's store is read-only: make /nix writable"),
    (
        r"cannot connect to (?:socket|daemon)|daemon-socket",
        "nix's daemon does not run: start it (`systemctl start nix-daemon`)",
    ),
    (
        r"/nix/\S*'?: Permission denied",
        "this user has no access to nix's store: run nix's daemon, or deploy as the store's owner",
    ),
    (r"failed due to signal 9|killed by signal 9", "something killed it, usually because the memory was full"),
    (
        r"flake-registry\.json|cannot find flake 'flake:",
        "a name before `#` is looked up in Nix's registry of flakes: `.#web` is the flake of this folder, `./name#web`"
        " that of another one",
    ),
    (
        r"unable to (?:download|fetch)|Could ?n[o']t resolve host|Could not connect|timed out|Timeout was reached",
        "nix needs the network for what is not in its store: check the connection and its substituters",
    ),
)


def remedy(message: str, nix: str) -> str | None:
    """What mends an error whose message is on one line; `nix` is what there is (`nix 2.8.0`). None: only who wrote the
    source knows.
    """
    for pattern, words in _REMEDIES:
        found = re.search(pattern, message)
        if found is not None:
            groups = {name: value for name, value in found.groupdict().items() if value}
            system = groups.get("system") or groups.get("other") or groups.get("third") or ""
            return words.format(**{**groups, "system": system, "nix": nix})
    return None
