"""A store in memory: derivations written as Nix writes them, without Nix."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"


def path(name: str, seed: str = "") -> str:
    """A store path of that name; another seed makes another hash."""
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return f"/nix/store/{''.join(BASE32[byte % 32] for byte in digest)}-{name}"


def quoted(text: str) -> str:
    """As libstore's printString."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def listed(texts: Sequence[str]) -> str:
    return f"[{','.join(texts)}]"


@dataclass
class Store:
    """Files by path, and how often each was read."""

    files: dict[str, bytes] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)

    def reads(self, at: str) -> bytes:
        self.read[at] = self.read.get(at, 0) + 1
        try:
            return self.files[at]
        except KeyError as error:
            raise FileNotFoundError(2, "No such file or directory", at) from error

    def add(
        self,
        name: str,
        environment: Mapping[str, str],
        *,
        inputs: Sequence[str] = (),
        sources: Sequence[str] = (),
        outputs: Sequence[str] = ("out",),
        fixed: str = "",
        args: Sequence[str] = (),
        seed: str = "",
    ) -> str:
        """Add a derivation; its path. `fixed` is the hash of what it fetches."""
        at = path(f"{name}.drv", seed)
        made = {each: output(at, each) for each in outputs}
        method = "sha256" if fixed else ""
        terms = [
            listed([f'({quoted(each)},{quoted(made[each])},"{method}","{fixed}")' for each in outputs]),
            listed([f'({quoted(each)},["out"])' for each in inputs]),
            listed([quoted(each) for each in sources]),
            '"x86_64-linux"',
            '"/bin/sh"',
            listed([quoted(each) for each in args]),
            listed([f"({quoted(key)},{quoted(value)})" for key, value in sorted({**environment, **made}.items())]),
        ]
        self.files[at] = f"Derive({','.join(terms)})".encode()
        return at


def output(derivation: str, name: str = "out") -> str:
    """The store path of an output."""
    base, _, its_name = derivation.partition("-")
    seed = base.rpartition("/")[2]
    its_name = its_name.removesuffix(".drv")
    return path(its_name if name == "out" else f"{its_name}-{name}", seed)
