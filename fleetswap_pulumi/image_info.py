"""What an image says of its AMI: read before it is made, where that is possible, and compared with it once it is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.info import ImageInfo, Said, of_info, refuse_other
from fleetswap.nix.output import INFO, Output, read


def said_beside(disk: Path) -> Said:
    """What the `nix-support/image-info.json` beside a disk says of it. Raises `InputError` as `of_info` does."""
    return _said(read(disk))


def said_if_built(out: Path) -> Said:
    """The same of the output of a build, if Nix has it in its store. A build that was cut short leaves half of one."""
    try:
        output = read(out)
    except InputError:
        return {}
    return _said(output)


def refuse_other_ami(output: Output, info: ImageInfo, asserted: Collection[str]) -> None:
    """Refuse an image that was made and says something else than its AMI is declared with. See `refuse_other`."""
    refuse_other(info, asserted, _said(output), _where(output.disk))


def _said(output: Output) -> Said:
    return {} if output.info is None else of_info(output.info, _where(output.disk))


def _where(disk: Path) -> str:
    return str(disk.parent / "nix-support" / INFO)
