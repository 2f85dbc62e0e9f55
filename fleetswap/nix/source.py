"""An image that Nix builds: named without a build, built, and kept until it is sent.

Implements `fleetswap.workflows.image.ports.Source`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleetswap.domain.image.source import NixImage
from fleetswap.nix import build

LINK_DAYS = 2
"""Age at which the link of an image that was never sent whole is removed, by the next build beside it."""


class NixSource:
    """One image. Nix is asked once; what it said is kept."""

    def __init__(self, image: NixImage, folder: Path, *, link: Path | None = None) -> None:
        """The expression is in `folder`. `link` keeps what is built from Nix's garbage collector, until it is sent."""
        self._image = image
        self._expression = folder / image.expression
        self._link = link
        self._derivation: build.Derivation | None = None

    def identity(self) -> str:
        """The store path that the image will have; builds nothing. `InputError` if the expression is not an image."""
        return str(self._instantiated().out_path)

    def packages(self) -> dict[str, str]:
        """The image's manifest; see `fleetswap.nix.build.evaluate_packages`."""
        image = self._image
        return build.evaluate_packages(self._expression, attr=image.attr, args=image.args, options=image.options)

    def bring(self, say: Callable[[str], None]) -> Path:
        """Build the image, or find it built. `FleetswapError` if that fails; a repeat finds what is there."""
        derivation = self._instantiated()
        if self._link is not None:
            build.drop_roots(self._link.parent, older_than=LINK_DAYS * 86_400)
        out = build.realise(derivation, root=self._link, options=self._image.options, say=say)
        return build.find_disk(out)

    def sent(self) -> None:
        """From here on EBS keeps the image: with a link for each one, no store would ever become smaller."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _instantiated(self) -> build.Derivation:
        if self._derivation is None:
            image = self._image
            self._derivation = build.instantiate(
                self._expression, attr=image.attr, args=image.args, options=image.options
            )
        return self._derivation
