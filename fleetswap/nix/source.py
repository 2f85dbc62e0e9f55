"""An image that Nix builds: named without a build, built, and kept until it is sent.

Implements `fleetswap.workflows.image.ports.Source`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleetswap.domain.closure.exact import from_file
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.image.source import FlakeImage, NixImage
from fleetswap.nix import build
from fleetswap.nix.cache import Cache, fingerprint
from fleetswap.nix.closures import derived
from fleetswap.nix.evaluate import evaluate
from fleetswap.nix.output import Output, read

LINK_DAYS = 2
"""Age at which the link of an image that was never sent whole is removed, by the next build beside it."""


class NixSource:
    """One image. Nix is asked once; what it said is kept."""

    def __init__(
        self,
        image: NixImage | FlakeImage,
        folder: Path,
        *,
        link: Path | None = None,
        preview: bool = False,
        cache: Path | None = None,
        named: str | None = None,
    ) -> None:
        """The image's paths are relative to `folder`. `link` keeps what is built from Nix's garbage collector, until it
        is sent. In a `preview` nothing may be built; see `fleetswap.nix.evaluate`. `cache` is a folder for evaluations.

        `named` is the store path of the image that is wanted. If its derivation is in the store since it was evaluated,
        that one is the image, whatever the source has become.
        """
        self._image = image
        self._folder = folder
        self._link = link
        self._preview = preview
        self._cache = None if cache is None else Cache(cache)
        self._named = named
        self._evaluation: Evaluation | None = None
        self.output: Output | None = None
        """What `bring` has built."""

    def evaluate(self) -> Evaluation:
        """What Nix says of the image; builds nothing. `InputError` if it is not one image."""
        if self._evaluation is None:
            self._evaluation = self._known(self._named) or self._evaluated()
        return self._evaluation

    def _known(self, key: str | None) -> Evaluation | None:
        return None if self._cache is None or key is None else self._cache.get(key)

    def _evaluated(self) -> Evaluation:
        """By its source, or by Nix. An expression may read anything, so nothing says whether it is the same."""
        source = self._fingerprint()
        found = self._known(source)
        if found is None:
            found = evaluate(self._image, self._folder, preview=self._preview)
            # A file may have changed while Nix read them: then nobody knows of which source this is.
            unchanged = source is not None and source == self._fingerprint()
            if self._cache is not None:
                self._cache.put(source if unchanged and source is not None else found.identity, found)
        return found

    def _fingerprint(self) -> str | None:
        if self._cache is None or not isinstance(self._image, FlakeImage):
            return None
        return fingerprint(self._image, self._folder)

    def identity(self) -> str:
        """The store path that the image will have; builds nothing. `InputError` if it is not one image."""
        return self.evaluate().identity

    def bring(self, say: Callable[[str], None]) -> Path:
        """Build the image, or find it built. `FleetswapError` if that fails; a repeat finds what is there."""
        evaluation = self.evaluate()
        if self._link is not None:
            build.drop_roots(self._link.parent, older_than=LINK_DAYS * 86_400)
        self.output = read(build.realise(evaluation, root=self._link, options=self._image.options, say=say))
        return self.output.disk

    def manifest(self) -> Manifest | None:
        """What the brought image consists of: the closure that its output states, and what its derivations say."""
        evaluation = self.evaluate()
        stated = None if self.output is None else self.output.closure
        try:
            closure = derived(evaluation.derivation)
        except InputError:
            closure = None  # it can be garbage-collected; no upload fails for that
        return Manifest(
            evaluation.identity,
            None if stated is None else from_file(stated),
            closure,
            evaluation.packages,
            evaluation.licences,
        )

    def sent(self) -> None:
        """From here on EBS keeps the image: with a link for each one, no store would ever become smaller."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
