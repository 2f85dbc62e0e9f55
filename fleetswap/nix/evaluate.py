"""Names an image by one evaluation with the real nix, which builds nothing.

The evaluation also writes the derivation, so that it can be built and read. `expression.nix` and `image.nix` select the
image and say what it says of itself; this module runs them, and turns what is wrong into an error with its remedy.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetswap.domain.errors import EvaluationError, InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import FlakeImage, NixImage
from fleetswap.nix.errors import JSON, complaint, warnings
from fleetswap.nix.failures import failure, listed
from fleetswap.nix.process import pairs, run
from fleetswap.nix.remedies import NO_BUILD

HERE = Path(__file__).parent

STORE_PATH = re.compile(r"/.+/[0-9a-df-np-sv-z]{32}-[^/]+")
"""Where an output will be. One whose path follows from its content has a placeholder instead until it is built."""

REGISTERED = re.compile(r"[A-Za-z][\w-]*(/[\w./-]+)?")
"""A reference that is looked up in nix's registry (flakeref.cc)."""

FLAKES = ["--extra-experimental-features", "nix-command flakes"]
"""What nix 2.4 and later let do without more settings."""


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
    options = _options(image, preview=preview)
    done = run(["nix-instantiate", *asked, "--argstr", "request", json.dumps(request), *options, *JSON], folder=root)
    if done.returncode != 0:
        by_hand = ["nix-instantiate", "--show-trace", name, *selection, *pairs("--option", image.options)]
        raise EvaluationError(failure(name, complaint(done.stderr, done.returncode), [root], by_hand))
    said: Mapping[str, Any] = json.loads(done.stdout)
    stop = said.get("stop")
    if stop is not None:
        raise InputError(f"{name}: {_stop(image.attr or '', stop)}")
    if preview and said["untaken"]:
        raise InputError(
            f"{name} does not take the argument {', '.join(said['untaken'])}:"
            " correct or remove it in `args` of the image"
        )
    return {**said["image"], "warnings": warnings(done.stderr)}


def _of_flake(image: FlakeImage, root: Path, *, preview: bool) -> Mapping[str, Any]:
    reference, _, _ = image.flake.partition("#")
    if REGISTERED.fullmatch(reference) and (root / reference).is_dir():
        raise InputError(f"{image.flake} is a name in nix's registry of flakes; for the folder, write ./{image.flake}")
    if image.flake.startswith("-"):
        raise InputError(f"{image.flake} is not a flake reference: nix would take it for an option")
    # Nix's own cache of evaluations would tell a failure only once; and it does not have what is asked here.
    fixed = ["--no-update-lock-file", "--option", "eval-cache", "false"]
    options = _options(image, preview=preview)
    asked = ["--json", "--apply", (HERE / "image.nix").read_text()]

    def names(system: str) -> list[str]:
        these = ["eval", f"{reference}#packages.{system}", "--json", "--apply", "builtins.attrNames"]
        done = run(["nix", *FLAKES, *these, *fixed, *options], folder=root)
        return list(json.loads(done.stdout)) if done.returncode == 0 else []

    done = run(["nix", *FLAKES, "eval", image.flake, *asked, *fixed, *options, *JSON], folder=root)
    if done.returncode != 0:
        by_hand = ["nix", *FLAKES, "build", "--dry-run", "--show-trace", image.flake, *fixed]
        by_hand += pairs("--option", image.options)
        folders = _folders(reference, root)
        raise EvaluationError(failure(image.flake, complaint(done.stderr, done.returncode), folders, by_hand, names))
    return {**json.loads(done.stdout), "warnings": warnings(done.stderr)}


def _folders(reference: str, root: Path) -> list[Path]:
    """Where the files of a flake may be on this computer: in its folder, and around it in that of its repository."""
    path = reference.partition("?")[0].removeprefix("path:").removeprefix("git+file:")
    here = (root / path).resolve()
    return [root, here, *here.parents[:-1]] if here.is_dir() else [root]


def _options(image: NixImage | FlakeImage, *, preview: bool) -> list[str]:
    return pairs("--option", {**({NO_BUILD: "false"} if preview else {}), **image.options})


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
            return f"it needs {listed(stop['names'])}: set it in `args` of the image"
        case "no attribute":
            close = difflib.get_close_matches(str(name), stop["there"], 3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            return f"there is no attribute {name!r} on the path {path!r}, but {listed(stop['there'])}{hint}"
        case "no element":
            return f"there is no element {name} on the path {path!r}: the list has {stop['length']}"
        case _:
            return f"{name!r} on the path {path!r} is looked up in a {stop['type']}: correct `attr` of the image"


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
        warnings=said["warnings"],
    )


def _no_image(said: Mapping[str, Any], there: list[str]) -> str:
    if there:
        return f"{len(there)} derivations, not one: name the image with its attribute ({listed(there)})"
    if said["nixos"]:
        return (
            "a NixOS configuration, and 0 derivations: add the attribute of its image, as in config.system.build.image"
        )
    return f"0 derivations, not one, but a {said['type']}: name the image with its attribute"


def _texts(name: str, attribute: str, shape: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InputError(f"{name}: attribute {attribute!r} must be a set of {shape}, all of them strings")
    return value
