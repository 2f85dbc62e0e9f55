"""Seals, rotates and edits with sops. What comes out is returned, and never written over the file that it is of: sops
itself would truncate that first.

Plaintext is in memory only: where sops needs a file for the editor, it is in a file system of memory, if there is one,
and is removed whatever happens. Source: sops 3.9 to 3.12 leave that file behind after Ctrl-C (`cmd/sops/edit.go`;
3.13 does not).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from fleetswap.domain.errors import InputError
from fleetswap.sops.program import NOT_MODIFIED, Sops, fail
from fleetswap.sops.rules import NAME

STDERR = 2
"""Where the editor draws, by number: what stands for `sys.stderr` may be no file."""

MOUNTS = Path("/proc/mounts")
IN_MEMORY = ("tmpfs", "ramfs")

_TRY_AGAIN = "to return to the editor"
"""So sops asks to press a key (3.9 to 3.12) or Enter (3.13; both mean Enter) if what was edited cannot be sealed. The
reason before it can have a part of the text."""

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def seal(sops: Sops, name: Path, plaintext: Path) -> str:
    """The content of `plaintext`, sealed as the rules say for `name`. Raises `SopsError`."""
    return sops.ask("encrypt", "--filename-override", str(name), str(plaintext))


def rotate(sops: Sops, file: Path) -> str:
    """The content of a sealed file with a new data key, for the same KMS keys. Raises `SopsError`."""
    return sops.ask("rotate", str(file))


def rotate_to_rules(sops: Sops, file: Path, name: str) -> str:
    """The same for the KMS keys that the rules name for `name`, the file's path from the folder of the rules.

    The old keys must still open it. Raises `SopsError`.
    """
    with tempfile.TemporaryDirectory(prefix="fleetswap-") as folder:  # of what is sealed: `updatekeys` writes in place
        copy, rules = Path(folder, "files", name), Path(folder, "files", NAME)
        copy.parent.mkdir(parents=True)
        shutil.copyfile(file, copy)
        shutil.copyfile(sops.rules, rules)
        there = replace(sops, rules=rules)
        there.ask("updatekeys", "--yes", str(copy))
        return there.ask("rotate", str(copy))


def edit(sops: Sops, file: Path) -> str | None:
    """What is left of a sealed file after the user has edited it; None if nothing was changed. Raises `SopsError`."""
    with _scratch() as folder:
        copy = folder / file.name
        shutil.copyfile(file, copy)
        status, said = _run_editor(sops, copy, folder)
        if status == NOT_MODIFIED:
            return None
        if status != 0:
            fail(status, said)
        return copy.read_text("utf-8")


def memory(mounts: Path = MOUNTS, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A folder in memory that this user can write to, or None."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return None
    kinds = {Path(line[1]): line[2] for line in lines if len(line) > 2}
    for name in (environment.get("XDG_RUNTIME_DIR", ""), "/dev/shm"):  # noqa: S108 - a new folder is made in it
        folder = Path(name).resolve()
        above = [mount for mount in kinds if name and folder.is_relative_to(mount)]
        nearest = max(above, key=lambda mount: len(mount.parts), default=None)
        if nearest is not None and kinds[nearest] in IN_MEMORY and os.access(folder, os.W_OK):
            return folder
    return None


@contextmanager
def _scratch() -> Iterator[Path]:
    """A new folder for this user alone. Nothing stops its removal."""
    folder = Path(tempfile.mkdtemp(prefix="fleetswap-", dir=memory()))
    try:
        yield folder
    finally:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        shutil.rmtree(folder, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_editor(sops: Sops, copy: Path, folder: Path) -> tuple[int, str]:
    """Its exit status, and what it printed. It is never left alone: the interruption is raised when it has ended."""
    # sops' words are ours to judge. The editor's are not: it has our standard error, and standard output stays free.
    editor = shlex.join(["sh", "-c", 'exec "$@" 2>&1', "editor", *_editor(sops.environment)])
    with subprocess.Popen(
        [sops.program, "--config", str(sops.rules), "edit", str(copy)],
        env={**sops.environment, "TMPDIR": str(folder), "SOPS_EDITOR": editor},
        cwd=sops.rules.parent,
        stdout=STDERR,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        return _wait(process)


def _wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    said: list[str] = []
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    reader = threading.Thread(target=_read, args=(process.stderr, said), daemon=True)
    reader.start()
    interrupted: KeyboardInterrupt | None = None
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt as end:  # the terminal sends Ctrl-C to sops and to the editor as well
            interrupted = interrupted or end
            if hasattr(end, "number"):  # a SIGTERM (`fleetswap.cli.app.Ended`) has reached only us
                process.send_signal(signal.SIGTERM)
    if interrupted is not None:
        raise interrupted
    reader.join(1)  # an editor that goes on by itself can hold the pipe open
    return status, "".join(said)


def _read(pipe: IO[str], said: list[str]) -> None:
    for line in pipe:
        said.append(line)
        if _TRY_AGAIN in line:
            sys.stderr.write("this cannot be sealed: press Enter to edit it again, or Ctrl-C to give up\n")
            sys.stderr.flush()


def _editor(environment: Mapping[str, str]) -> list[str]:
    """The user's editor, as sops finds it. `InputError` if there is none."""
    named = os.environ.get("SOPS_EDITOR") or environment.get("EDITOR")
    if named:
        try:
            return shlex.split(named)
        except ValueError as error:
            raise InputError(f"EDITOR={named} is not a command ({error})") from error
    found = next((name for name in ("vim", "nano", "vi") if shutil.which(name)), None)
    if found is None:
        raise InputError("there is no editor: set EDITOR")
    return [found]
