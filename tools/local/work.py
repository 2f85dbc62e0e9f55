"""Where the stack `local` keeps its things, how they are written, and who may change them.

It knows no AWS and starts nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = "fleetswap"
STACK = "local"
ROOT = Path(__file__).resolve().parents[2]


class LocalError(Exception):
    """Something is wrong before pulumi was started; the message is the one line that the user sees."""


@dataclass(frozen=True)
class Work:
    """Where things lie. `FLEETSWAP_WORK` gives a test a work folder of its own; the engine is shared."""

    root: Path
    folder: Path

    @property
    def cloud(self) -> Path:
        """Folder of the local cloud."""
        return self.folder / "cloud"

    @property
    def cloud_seen(self) -> Path:
        """Port and pid of the local cloud that the stack's state belongs to: its account lives in its memory."""
        return self.folder / "cloud-seen.json"

    @property
    def state(self) -> Path:
        """The state of the stack, in pulumi's own file backend."""
        return self.folder / "state"

    @property
    def stack_state(self) -> Path:
        """The state of the stack in the backend; pulumi's layout of a file backend."""
        return self.state / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json"

    @property
    def has_stack(self) -> bool:
        """Whether the backend knows the stack."""
        return self.stack_state.exists()

    @property
    def chosen(self) -> Path:
        """What the last successful update was told to deploy: `version` and `release`, each if it was given."""
        return self.folder / "chosen.json"

    @property
    def config(self) -> Path:
        """The configuration that an update gets."""
        return self.folder / f"Pulumi.{STACK}.yaml"

    @property
    def preview_config(self) -> Path:
        """The configuration that a preview gets, apart so that no update uses it."""
        return self.folder / "preview" / f"Pulumi.{STACK}.yaml"

    @property
    def sealed(self) -> Path:
        """The sealed file of the demo secret: of use as long as the account of the local cloud has its key."""
        return self.folder / "secrets" / f"{STACK}.yaml"

    @property
    def credentials(self) -> Path:
        """Whose keys the verbs use, if it is there: a shared credentials file with a profile for each `Purpose`.

        Without it, they are the root of the local cloud. `tests/e2e` writes it, to deploy with the printed policies.
        """
        return self.folder / "credentials"

    @property
    def pulumi_home(self) -> Path:
        """Pulumi's own folder, with the plugins it installs; shared by all work folders."""
        return self.root / ".work" / "pulumi"


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty if there is none."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def write(path: Path, text: str) -> None:
    """Write `text` so that whoever reads or is killed meets the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def heal_state(work: Work) -> bool:
    """Put the copy that pulumi made before its last write in the place of a state that was cut off; True if it was.

    On a full disk pulumi's file backend leaves half a state behind, and then fails for ever with "failed to load
    checkpoint". What the last write would have added is not in the copy: an update finds or makes it again. The damaged
    file is kept beside it. Call it with the stack held. Raises LocalError where the copy is damaged, too.
    """
    state = work.stack_state
    if not state.exists() or _is_json(state):
        return False
    copy = state.with_name(f"{state.name}.bak")
    if not _is_json(copy):
        raise LocalError(f"the state {state} is damaged (was the disk full?), and so is its backup: run `make down`")
    text = copy.read_text()
    shutil.copy2(state, state.with_name(f"{state.name}.damaged"))
    write(state, text)
    return True


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def lock(work: Work, what: str) -> Iterator[None]:
    """Hold the stack for `what`. Raises LocalError, naming the holder, where another process holds it."""
    work.folder.mkdir(parents=True, exist_ok=True)
    with (work.folder / "local.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LocalError(f"the stack {STACK} is currently locked by {holder}: wait for it to end") from None
        file.truncate(0)
        file.write(f"`make {what}` (pid {os.getpid()})")
        file.flush()
        yield
