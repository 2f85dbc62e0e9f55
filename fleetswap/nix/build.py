"""Names and builds an image with the real nix: instantiate, evaluate its manifest, realise, find the disk.

Instantiating is quick and builds nothing, so a preview may do it. Nix decides what is built and where the result is;
this module never inspects an expression, never chooses nix's settings (the caller passes them), and deletes only links
that it created (`drop_roots`).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.text import one_line

DISK_SUFFIXES = (".raw", ".img", ".vhd", ".qcow2")
"""What an image is called, by its makers in nixpkgs. Whether it can be read is the uploader's to say."""

SAY_EVERY = 2.0
"""Seconds between two progress lines out of a build log, which may have thousands of lines."""

TERM_TRIES = 20
"""How often nix is asked to stop, a second apart, before it is killed."""

OWN_ERRORS = ("error: builder for '", "error: hash mismatch in fixed-output derivation '")
"""How nix begins to say that a build failed, and nothing else says."""

AFTER_MESSAGE = ("at ", "… ", "... ", "> ", "last ", "For full logs", "note: ")
"""How lines begin that stand below an error's message and are none of it."""

MESSAGE_CHARS = 1_000
"""A throw may print a whole attribute set; the end of it would push the remedy off the screen."""

LAST_LINES = 3
"""How much of a failed build's log goes into the one line of the error."""


@dataclass(frozen=True)
class Derivation:
    """An image that nix can build: its derivation, and the store path that it will have. The same each time."""

    drv_path: Path
    out_path: Path


def instantiate(
    expression: Path, *, attr: str | None, args: Mapping[str, str], options: Mapping[str, str] | None = None
) -> Derivation:
    """Name the image of `expression` (a file, or a folder with a default.nix), or of its attribute `attr`.

    `args` are handed over as strings (`--argstr`), `options` as nix settings (`--option`). Builds nothing. An
    expression that does not evaluate, or that is not exactly one derivation with one output, is an `InputError`.
    """
    selection = ["--attr", attr] if attr else []
    made = _evaluate(expression, [*selection, *_pairs("--argstr", args)], options)
    # A derivation of several outputs is printed as `path!output`; warnings go to stderr.
    drvs = [line for line in made.splitlines() if line]
    if len(drvs) != 1:
        raise InputError(
            f"{expression} is {len(drvs)} derivations, not one: name the image with the setting `attr` of its nix image"
        )
    drv = drvs[0].partition("!")[0]
    queried = _run(["nix-store", *_pairs("--option", options), "--query", "--outputs", drv])
    if queried.returncode != 0:
        raise InputError(f"{expression}: cannot query the outputs of {drv}: {_reason(queried.stderr)}")
    outputs = queried.stdout.split()
    if len(outputs) != 1:
        raise InputError(
            f"{expression}: {drv} has {len(outputs)} outputs, not one: use a derivation whose only output is a disk"
        )
    return Derivation(Path(drv), Path(outputs[0]))


def evaluate_packages(
    expression: Path, *, attr: str | None, args: Mapping[str, str], options: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The image's manifest, package to version, out of the derivation's attribute `packages`; `{}` if it has none.

    Builds nothing. An attribute of another shape, or one that does not evaluate, is an `InputError`.
    """
    path = f"{attr}.packages" if attr else "packages"
    arguments = ["--eval", "--json", "--strict", "--attr", path, *_pairs("--argstr", args)]
    try:
        value = json.loads(_evaluate(expression, arguments, options))
    except _NoPackages:
        return {}
    if not isinstance(value, dict) or not all(isinstance(version, str) for version in value.values()):
        raise InputError(f"{expression}: attribute {path!r} must be a set of package = version, all of them strings")
    return value


def realise(
    derivation: Derivation,
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
    command = ["nix-store", *_pairs("--option", options), "--realise", str(derivation.drv_path)]
    if root is not None:
        root.parent.mkdir(parents=True, exist_ok=True)
        command += ["--add-root", str(root), "--indirect"]
    with _start(command, stdout=subprocess.DEVNULL) as process:
        try:
            log = _follow(process, say)
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        raise FleetswapError(
            f"nix could not build {derivation.drv_path}: {_build_failure(log)}: "
            f"see `nix-store --read-log {derivation.drv_path}`"
        )
    return derivation.out_path


def drop_roots(folder: Path, *, older_than: float) -> None:
    """Take the links out of `folder` that keep images from nix's garbage collector, and are older than so many seconds.

    Such a link is made anew by each `realise`, so an old one is of a build that nobody came back to.
    """
    for link in folder.glob("*"):
        with suppress(FileNotFoundError):  # another deploy has taken it away
            if link.is_symlink() and time.time() - link.lstat().st_mtime >= older_than:
                link.unlink()


def find_disk(out: Path) -> Path:
    """The disk of a build's output: the file itself, or the only file in the folder that is named like one."""
    if out.is_file():
        return out
    kinds = ", ".join(f"*{suffix}" for suffix in DISK_SUFFIXES)
    if not out.is_dir():
        raise InputError(f"{out} is neither a file nor a folder: build the image first")
    disks = sorted(path for path in out.iterdir() if path.suffix in DISK_SUFFIXES and path.is_file())
    if not disks:
        there = ", ".join(sorted(path.name for path in out.iterdir())) or "nothing"
        raise InputError(
            f"{out} does not contain a disk ({kinds}) but {there}: use a derivation whose output is a disk"
        )
    if len(disks) > 1:
        names = ", ".join(disk.name for disk in disks)
        raise InputError(f"{out} holds {len(disks)} disks ({names}): use a derivation whose output has only one")
    return disks[0]


class _NoPackages(InputError):
    """The expression evaluates, but its derivation has no attribute `packages`."""


def _evaluate(expression: Path, arguments: list[str], options: Mapping[str, str] | None) -> str:
    """What nix-instantiate prints. The error names the file, since nix's own first line seldom does."""
    if not expression.exists():
        raise InputError(
            f"{expression} does not exist: use the path of a Nix expression, relative to the project folder"
        )
    done = _run(["nix-instantiate", *_pairs("--option", options), *arguments, str(expression)])
    if done.returncode != 0:
        reason = _reason(done.stderr)
        kind = _NoPackages if reason.startswith("attribute 'packages' in selection path") else InputError
        raise kind(f"{expression} does not evaluate: {reason}: `nix-instantiate --show-trace {expression}` shows where")
    return done.stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    with _start(command, stdout=subprocess.PIPE) as process:
        try:
            stdout, stderr = process.communicate()
        except BaseException:
            _end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _start(command: list[str], *, stdout: int) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # a build log may hold anything
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{command[0]} is not on PATH: install Nix (Debian: nix-bin; elsewhere: see nixos.org)"
        ) from error


def _end(process: subprocess.Popen[str]) -> None:
    """Stop nix, which stops its builders before it ends. Killed, it would leave them running: that comes last.

    It can miss a signal that arrives just as it goes to sleep (Nix 2.8, seen with a builder that prints nothing), so it
    is asked again each second.
    """
    for _ in range(TERM_TRIES):
        process.terminate()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


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


def _reason(stderr: str) -> str:
    """The message of nix's error, all of it on one line.

    Nix prints it last, at the beginning of a line, whatever traces said before. A newer nix heads it with a bare
    `error:`, and the message is then the last that stands indented below (Nix 2.8 to 2.26).
    """
    lines = stderr.splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("error:")]
    if not heads:
        return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
    start = heads[-1]
    if lines[start].strip() == "error:":
        inner = [number for number in range(start, len(lines)) if lines[number].strip().startswith("error: ")]
        start = inner[-1] if inner else start
    return _message(lines, start)


def _message(lines: list[str], start: int) -> str:
    """The error that begins at `start`, with the lines that go on with it; where it happened comes after those."""
    parts = [lines[start].strip().removeprefix("error:")]
    for line in lines[start + 1 :]:
        if not line.startswith(" ") or not line.strip() or line.strip().startswith(AFTER_MESSAGE):
            break
        parts.append(line)
    message = one_line(" ".join(parts)).rstrip(":;")
    return message if len(message) <= MESSAGE_CHARS else message[:MESSAGE_CHARS] + "…"


def _build_failure(log: list[str]) -> str:
    """Nix's reason and the end of the builder's own words, on one line."""
    heads = [number for number, line in enumerate(log) if line.startswith("error:")]
    # What a builder prints may look like an error too; and what fails for another's failure is told after that.
    own = [number for number in heads if log[number].startswith(OWN_ERRORS)]
    at = own[0] if own else heads[-1] if heads else len(log)
    reason = _message(log, at) if at < len(log) else _reason("\n".join(log))
    # After its error, nix quotes the end of the builder's log behind `>`, unless it has shown that log already.
    words = [line.strip().removeprefix("> ") for line in log[at:] if line.strip().startswith("> ")]
    if not words:
        starts = [number for number, line in enumerate(log[:at]) if line.startswith("building '")]
        # Of a long log the beginning, and with it that line, is not kept.
        words = [line.strip() for line in log[starts[-1] + 1 if starts else 0 : at]]
    return " | ".join([reason, *words[-LAST_LINES:]])


def _pairs(flag: str, values: Mapping[str, str] | None) -> list[str]:
    """`--option name value` for each, by name, so that the same settings make the same command."""
    return [part for name, value in sorted((values or {}).items()) for part in (flag, name, value)]
