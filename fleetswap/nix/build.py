"""Builds an image with the real nix, and keeps it until it is sent.

Nix decides what is built and where the result is; this module never chooses nix's settings (the caller passes them),
and deletes only links that it created (`drop_roots`).
"""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.nix.errors import build_failure
from fleetswap.nix.process import end, pairs, start, version
from fleetswap.nix.remedies import remedy

NEAR_END = 20
"""So many last lines of a failed build's log are searched for what mends it."""

SAY_EVERY = 2.0
"""Seconds between two progress lines out of a build log, which may have thousands of lines."""


def realise(
    image: Evaluation,
    *,
    root: Path | None,
    say: Callable[[str], None],
    options: Mapping[str, str] | None = None,
) -> Path:
    """Build the image, or find it built, and answer with its store path.

    `root` is a link that will keep the image from nix's garbage collector, until someone deletes the link. `say` gets
    what is being built, and the log's latest line now and then. A build that fails is a `FleetswapError` with the end
    of its log. A repeat finds what is there; a build that was cut short starts again.
    """
    command = ["nix-store", *pairs("--option", options), "--realise", image.derivation]
    if root is not None:
        root.parent.mkdir(parents=True, exist_ok=True)
        command += ["--add-root", str(root), "--indirect"]
    with start(command, stdout=subprocess.DEVNULL) as process:
        try:
            log = _follow(process, say)
        except BaseException:
            end(process)
            raise
    if process.returncode != 0:
        why = build_failure(log)
        # A builder's own error stands above what its programs say on their way out.
        mends = remedy(" ".join([why, *log[-NEAR_END:]]), version("nix-store"))
        log_of = f"see `nix-store --read-log {image.derivation}`"
        raise FleetswapError(f"nix could not build {image.derivation}: {why}: {mends or log_of}")
    return Path(image.identity)


def drop_roots(folder: Path, *, older_than: float) -> None:
    """Take the links out of `folder` that keep images from nix's garbage collector, and are older than so many seconds.

    Such a link is made anew by each `realise`, so an old one is of a build that nobody came back to.
    """
    for link in folder.glob("*"):
        with suppress(FileNotFoundError):  # another deploy has taken it away
            if link.is_symlink() and time.time() - link.lstat().st_mtime >= older_than:
                link.unlink()


def _follow(process: subprocess.Popen[str], say: Callable[[str], None]) -> list[str]:
    """Read the log to its end, passing some of it on; answers with its last lines."""
    last: deque[str] = deque(maxlen=1000)
    next_at = time.monotonic() + SAY_EVERY
    if process.stderr is not None:  # it is a pipe; this only tells mypy
        for line in process.stderr:
            text = line.rstrip()
            if not text:
                continue
            last.append(text)
            if text.startswith("building '") or time.monotonic() >= next_at:
                say(text)
                next_at = time.monotonic() + SAY_EVERY
    return list(last)
