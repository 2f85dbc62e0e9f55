"""What an image is called on a command line: a file, an expression, a flake reference."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.source import FileImage, FlakeImage, ImageSource, NixImage


def image(text: str) -> ImageSource:
    """The image that a reference names, relative to this folder: PATH, PATH#ATTR, or a flake reference.

    A folder with a flake.nix is a flake; else with a default.nix it is an expression, as is a file `*.nix`; any other
    file is a disk. What is not here is a flake reference, such as `github:owner/repository#web`. `InputError` if it can
    only be a path, and nothing is there.
    """
    if not text:
        raise InputError("--to is empty: leave it out for the image of the settings")
    place, sign, attribute = text.partition("#")
    path = Path(place or ".")
    if path.is_dir() and not (path / "flake.nix").is_file():
        if not (path / "default.nix").is_file():
            raise InputError(f"--to {text}: {path} has neither flake.nix nor default.nix")
        return NixImage(str(path), {}, {}, attribute or None)
    if path.is_file():
        if path.suffix == ".nix":
            return NixImage(str(path), {}, {}, attribute or None)
        if sign:
            raise InputError(f"--to {text}: {path} is a disk, so it has no attribute {attribute!r}")
        return FileImage(str(path))
    if path.is_dir() and not place.startswith((".", "/")):
        return FlakeImage(f"./{text}", {})  # else Nix looks the folder's name up in its registry
    if place.startswith(("/", "./", "../")) and not path.exists():
        raise InputError(f"--to {text}: {path} does not exist")
    return FlakeImage(text, {})
