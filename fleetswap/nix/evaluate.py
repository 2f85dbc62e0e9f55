"""Names an image by one evaluation with the real nix, which builds nothing.

The evaluation also writes the derivation, so that it can be built and read. `expression.nix` and `image.nix` select the
image and say what it says of itself; this module runs them, and turns what is wrong into an error with its remedy.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import FlakeImage, NixImage
from fleetswap.nix.errors import JSON, Complaint, Place, complaint
from fleetswap.nix.process import pairs, run, version
from fleetswap.nix.remedies import NO_BUILD, remedy

HERE = Path(__file__).parent

STORE_PATH = re.compile(r"/.+/[0-9a-df-np-sv-z]{32}-[^/]+")
"""Where an output will be. One whose path follows from its content has a placeholder instead until it is built."""

FLAKES = ["--extra-experimental-features", "nix-command flakes"]
"""What nix 2.4 and later let do without more settings."""

SHOWN = 20
"""So many names of what there is are shown."""

LINES = 40
"""So many lines of a message are shown. NixOS's longest are lists of failed assertions."""

IN_STORE = re.compile(r"/nix/store/[0-9a-z]{32}-source/(.+)")
"""A file of a flake, as nix names it."""


def evaluate(image: NixImage | FlakeImage, root: Path, *, preview: bool) -> Evaluation:
    """What nix says of the image, whose paths are relative to `root`. `InputError` unless it is exactly one image.

    In a `preview` nothing may be built: an evaluation that would have to (import from derivation) fails, unless the
    image's options allow it; and an argument that nothing takes is an error.
    """
    if isinstance(image, FlakeImage):
        return _evaluation(image.flake, _of_flake(image, root, preview=preview))
    return _evaluation(image.expression, _of_expression(image, root, preview=preview))


def _of_expression(image: NixImage, root: Path, *, preview: bool) -> Mapping[str, Any]:
    name, file = image.expression, (root / image.expression).absolute()
    if not file.exists():
        raise InputError(f"{name} does not exist: use the path of a Nix expression, relative to the project folder")
    request = {"file": str(file), "path": _parts(image.attr or ""), "args": image.args}
    asked = ["--eval", "--strict", "--json", "--read-write-mode", str(HERE / "expression.nix")]
    selection = [*(["--attr", image.attr] if image.attr else []), *pairs("--argstr", image.args)]
    said = _json(
        name,
        [
            "nix-instantiate",
            *_options(image, preview=preview),
            *JSON,
            *asked,
            "--argstr",
            "request",
            json.dumps(request),
        ],
        root,
        by_hand=["nix-instantiate", "--show-trace", name, *selection, *pairs("--option", image.options)],
    )
    stop = said.get("stop")
    if stop is not None:
        raise InputError(f"{name}: {_stop(image.attr or '', stop)}")
    if preview and said["untaken"]:
        raise InputError(
            f"{name} does not take the argument {', '.join(said['untaken'])}:"
            " correct or remove it in `args` of the image"
        )
    found: Mapping[str, Any] = said["image"]
    return found


def _of_flake(image: FlakeImage, root: Path, *, preview: bool) -> Mapping[str, Any]:
    # Nix's own cache of evaluations would tell a failure only once; and it does not have what is asked here.
    fixed = ["--no-update-lock-file", "--option", "eval-cache", "false"]
    asked = ["--json", "--apply", (HERE / "image.nix").read_text()]
    return _json(
        image.flake,
        ["nix", *FLAKES, "eval", image.flake, *fixed, *_options(image, preview=preview), *asked, *JSON],
        root,
        by_hand=[
            *("nix", *FLAKES, "build", "--dry-run", "--show-trace", image.flake),
            *fixed,
            *pairs("--option", image.options),
        ],
    )


def _options(image: NixImage | FlakeImage, *, preview: bool) -> list[str]:
    return pairs("--option", {**({NO_BUILD: "false"} if preview else {}), **image.options})


def _json(name: str, command: list[str], root: Path, *, by_hand: list[str]) -> Mapping[str, Any]:
    """What nix answers. `by_hand` is the command that shows a person the whole trace of what failed."""
    done = run(command, folder=root)
    if done.returncode != 0:
        raise InputError(_failure(name, complaint(done.stderr), root, by_hand))
    said: Mapping[str, Any] = json.loads(done.stdout)
    return said


def _failure(name: str, why: Complaint, root: Path, by_hand: list[str]) -> str:
    """The error: its first line says what, where and why; nix's message follows whole, then what to do about it."""
    at = _place(why, root)
    head = f"{name} does not evaluate{f' ({at})' if at else ''}: {why.lines[0]}"
    left = len(why.lines) - LINES
    more = [f"  {line}".rstrip() for line in why.lines[1:LINES]] + ([f"  … {left} more lines"] if left > 0 else [])
    mends = remedy(why.text, version(by_hand[0]))
    trace = f"`{shlex.join(by_hand)}` shows the trace"
    if not more:
        return ": ".join([head.rstrip(":;."), *([mends] if mends else [trace])])
    return "\n".join([head, *more, *([mends] if mends else []), trace])


def _place(why: Complaint, root: Path) -> str | None:
    """Where to look: the innermost place in the user's own files, or where nix says, if that is not in this package."""
    for place in ((why.at,) if why.at else ()) + why.trace:
        own = _own(place, root)
        if own is not None:
            return own
    return None if why.at is None or Path(why.at.file).parent == HERE else _words(why.at, why.at.file)


def _own(place: Place, root: Path) -> str | None:
    """A place relative to the project, if it is there; nix copies a flake into its store first."""
    copied = IN_STORE.fullmatch(place.file)
    if copied is not None:
        return _words(place, copied[1]) if (root / copied[1]).is_file() else None
    with suppress(ValueError):
        inside = Path(place.file).relative_to(root.absolute())
        if Path(place.file).parent != HERE:
            return _words(place, str(inside))
    return None


def _words(place: Place, file: str) -> str:
    return f"{file}:{place.line}:{place.column}"


def _parts(path: str) -> list[str]:
    """The parts of an attribute path as nix reads it (libexpr/attr-path.cc): dots separate, quotes keep them."""
    if path.count('"') % 2:
        raise InputError(f"the attribute path {path} has no closing quote: correct `attr` of the image")
    inside, parts = False, [""]
    for char in path:
        if char == '"':
            inside = not inside
        elif char == "." and not inside:
            parts.append("")
        else:
            parts[-1] += char
    return parts if parts[-1] else parts[:-1]


def _stop(path: str, stop: Mapping[str, Any]) -> str:
    """Why an attribute path leads nowhere, in words."""
    name = stop.get("name")
    match stop["kind"]:
        case "unset":
            return f"it needs {_names(stop['names'])}: set it in `args` of the image"
        case "no attribute":
            close = difflib.get_close_matches(str(name), stop["there"], 3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            return f"there is no attribute {name!r} on the path {path!r}{hint} There are: {_names(stop['there'])}"
        case "no element":
            return f"there is no element {name} on the path {path!r}: the list has {stop['length']}"
        case _:
            return f"{name!r} on the path {path!r} is looked up in a {stop['type']}: correct `attr` of the image"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more


def _evaluation(name: str, said: Mapping[str, Any]) -> Evaluation:
    """What image.nix answered, checked."""
    there = [".".join(path) for path in said["derivations"]]
    if len(there) != 1:
        raise InputError(f"{name} is {_no_image(said, there)}")
    outputs, identity = said["outputs"], str(said["output"])
    if len(outputs) != 1:
        raise InputError(
            f"{name}: {said['derivation']} has {len(outputs)} outputs, not one:"
            " use a derivation whose only output is a disk"
        )
    if not STORE_PATH.fullmatch(identity):
        raise InputError(
            f"{name}: the path of {said['derivation']} is not known before it is built:"
            " do not make the image content-addressed"
        )
    register = said["register"]
    if not isinstance(register, dict):
        raise InputError(f"{name}: the attribute registerImage must be a set of EC2's parameters")
    return Evaluation(
        identity=identity,
        derivation=str(said["derivation"]),
        system=str(said["system"]),
        packages=_texts(name, "packages", "package = version", said["packages"]),
        register=register,
        licences=_texts(name, "licences", "package = license", said["licences"]),
    )


def _no_image(said: Mapping[str, Any], there: list[str]) -> str:
    if there:
        return f"{len(there)} derivations, not one: name the image with its attribute ({_names(there)})"
    if said["nixos"]:
        return (
            "a NixOS configuration, and 0 derivations: add the attribute of its image, as in config.system.build.image"
        )
    return f"0 derivations, not one, but a {said['type']}: name the image with its attribute"


def _texts(name: str, attribute: str, shape: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InputError(f"{name}: attribute {attribute!r} must be a set of {shape}, all of them strings")
    return value
