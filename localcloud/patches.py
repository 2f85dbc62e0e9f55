"""Replaces attributes of moto's classes, and puts them back.

Decides nothing. A patch lasts as long as a server: tests start several in one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FunctionType

    from localcloud.moto_state import Moto

_MISSING: Any = object()


class Patches:
    """A pile of replaced attributes."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Moto, str, Moto]] = []

    def set(self, owner: Moto, name: str, value: object) -> None:
        """Replace `owner.name`, or add it."""
        self._replaced.append((owner, name, vars(owner).get(name, _MISSING)))
        setattr(owner, name, value)

    def methods(self, owner: Moto, *functions: object) -> None:
        """Replace, or add, the methods of `owner` that have the functions' names."""
        for function in functions:
            named: FunctionType = function  # type: ignore[assignment] # every function has a name
            self.set(owner, named.__name__, function)

    def undo(self) -> None:
        """Put everything back, last first. Doing it again is harmless."""
        while self._replaced:
            owner, name, before = self._replaced.pop()
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
