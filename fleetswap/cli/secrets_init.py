"""`fleetswap secrets init`: the key of a stack, the rule for sops, and the sealed file, in this order.

What is there already stays. If it dies in between, a repeat does the rest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from fleetswap.cli import engine, project, sops_access, way
from fleetswap.cli.engine import Engine, EngineError
from fleetswap.cli.project import Project, StackFile
from fleetswap.cli.secrets_files import absolute, shown
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.secrets.sealed_file import METADATA
from fleetswap.domain.secrets.sealing import encryption_context
from fleetswap.sops import change, program, rules
from fleetswap.sops.program import KeyRefused, Sops
from fleetswap.sops.sealed import Unreadable, parse, read

TARGET = "**fleetswap:components:SealedSecrets**"
"""The key with all that belongs to it, in the URNs of Pulumi. While there is no key, the program declares nothing that
needs an image: what is sealed with the key cannot be in one yet."""

OUTPUT = "secrets"
"""The stack output of `fleetswap_pulumi.sealed_secrets`."""

NEW_KEY_TRIES, NEW_KEY_SECONDS = 20, 3.0
"""A new key, and what its policy allows, are not known everywhere in KMS at once (KMS developer guide, "AWS KMS
eventual consistency"): how often, and how far apart, it is tried to seal with it."""

NOT_KNOWN_YET = {"AccessDeniedException", "NotFoundException"}


@dataclass(frozen=True)
class Done:
    """What a stack has now, and what of it was made."""

    stack: str
    file: str
    rules: str
    key: str
    replicas: tuple[str, ...]
    context: Mapping[str, str]
    key_made: bool
    rule_written: bool
    file_made: bool
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For `--json`."""
        return {name: value for name, value in asdict(self).items() if name != "notes"}

    def next_steps(self) -> Iterator[str]:
        """What to do now."""
        yield f"{self.stack}: secrets are sealed with {self.key}"
        yield from self.notes
        yield f"next: `fleetswap secrets edit {self.file}`, then commit {self.rules} and {self.file}"


def init(stack: str | None, *, yes: bool) -> Done:
    """Make what is not there. Raises `InputError` before anything is changed; `EngineError`, or what KMS refused."""
    program.find()
    here = project.find(project.here())
    if here is None:
        raise InputError("no Pulumi project here: run this in the folder of Pulumi.yaml")
    pulumi = None if stack is not None else engine.find(here.folder)
    name = stack or (pulumi.selected() if pulumi is not None else "")
    file = here.stack(name)
    if file is None:
        raise InputError(
            f"stack {name or '(none is selected)'} has no {here.file(name).name} here: name one with --stack"
        )
    wanted = _wanted(here, file)
    found, missing = _rules(here), not wanted.file.exists()
    _refuse_place(wanted.file, found)
    made = False
    key: str | None = wanted.key
    replicas: tuple[str, ...] = ()
    if key is None:
        key, replicas, made = _own_key(pulumi or engine.find(here.folder), name, yes=yes)
    text = rules.with_rule(found, wanted.file, [key, *replicas], wanted.context)
    if text != found.text:
        project.replace(found.path, text)
    if missing:
        to, region = way.of_settings(file, None, None, None), key.split(":")[3]
        with sops_access.connected(to, found.path, region) as sops, sops_access.explained(shown(wanted.file)):
            sealed = _seal_nothing(sops, wanted.file, tries=NEW_KEY_TRIES if made else 1)
        try:
            wanted.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{shown(wanted.file)} cannot be written: {error.strerror or error}") from error
        project.replace(wanted.file, sealed)
    return Done(
        stack=file.tag,
        file=shown(wanted.file),
        rules=shown(found.path),
        key=key,
        replicas=replicas,
        context=wanted.context,
        key_made=made,
        rule_written=text != found.text,
        file_made=missing,
        notes=tuple(_of_file(wanted.file, {key, *replicas})),
    )


def _refuse_place(file: Path, found: rules.Rules) -> None:
    """`InputError` for a path that no rule can name, or that cannot become a file."""
    setting = "correct `file` in fleetswap:secrets"
    if not file.is_relative_to(found.folder):
        raise InputError(f"{shown(file)} is not below {found.folder}, where the rules of sops are: {setting}")
    above = next(each for each in file.parents if each.exists())
    if file.is_dir() or not above.is_dir():
        raise InputError(
            f"{shown(file)} cannot be a file, because {shown(file if file.is_dir() else above)} is"
            f" {'a' if file.is_dir() else 'no'} folder: {setting}"
        )


@dataclass(frozen=True)
class _Wanted:
    file: Path
    key: str | None
    """An existing key; None for one of the stack's own."""
    context: Mapping[str, str]


def _wanted(here: Project, file: StackFile) -> _Wanted:
    # Here and not above: the models of the settings are the library's for Pulumi programs, and take a second to load.
    from fleetswap_pulumi.permissions import settings_of  # noqa: PLC0415

    settings = settings_of(file.config()).secrets
    if settings is None or settings.sealing is None or settings.file is None:
        line = f"fleetswap:secrets: {{file: secrets/{file.stack}.yaml}}"
        raise InputError(f"{file.path.name} does not name a file for secrets: add `{line}` below `config:`")
    return _Wanted(absolute(here.folder / settings.file), settings.kms_key, encryption_context(file.tag))


def _own_key(pulumi: Engine, stack: str, *, yes: bool) -> tuple[str, tuple[str, ...], bool]:
    """The key that the stack has, or gets now, with its replicas; and whether it got it now."""
    known = _key(pulumi.outputs(stack))
    if known is not None:
        return *known, False
    if not (yes or (sys.stdin.isatty() and sys.stderr.isatty())):
        raise InputError("there is no terminal to ask for confirmation: add --yes; nothing was changed")
    unasked = ["--yes", "--skip-preview"] if yes else []
    status = pulumi.run(stack, "up", "--target", TARGET, *unasked, "--suppress-outputs")
    if status != 0:
        raise EngineError(
            f"`pulumi up` exited with status {status}, for the reason above: nothing is sealed yet; run this again",
            status,
        )
    known = _key(pulumi.outputs(stack))
    if known is None:
        raise FleetswapError(f"the update of {stack} made no key: was it declined? Run this again")
    return *known, True


def _key(outputs: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    told = outputs.get(OUTPUT) or {}
    key = told.get("stack_key", told.get("key"))
    return (key, tuple(told.get("replicas", ()))) if isinstance(key, str) else None


def _rules(here: Project) -> rules.Rules:
    path = rules.find(here.folder)
    return rules.load(path) if path is not None else rules.parse("", here.folder / rules.NAME)


def _seal_nothing(sops: Sops, file: Path, *, tries: int) -> str:
    with tempfile.TemporaryDirectory(prefix="fleetswap-") as folder:
        empty = Path(folder, file.name)
        empty.write_text("{}")
        for left in reversed(range(tries)):
            try:
                return change.seal(sops, file, empty)
            except KeyRefused as error:
                if left == 0 or error.code not in NOT_KNOWN_YET:
                    raise
            if left == tries - 1:
                typer.echo("waiting until KMS knows the new key, and who may use it", err=True)
            time.sleep(NEW_KEY_SECONDS)
    raise AssertionError("unreachable: the last try returns or raises")


def _of_file(file: Path, keys: set[str]) -> Iterator[str]:
    """What to do with a file that was there before."""
    try:
        metadata = parse(read(file), file.name).get(METADATA)
        sealed_for = {entry["arn"] for entry in metadata["kms"]}
    except (Unreadable, AttributeError, TypeError, KeyError):
        yield f"{shown(file)} is not sealed: `fleetswap secrets encrypt {shown(file)}`"
        return
    if sealed_for != keys:
        yield f"{shown(file)} is sealed with other keys: `fleetswap secrets rotate {shown(file)}`"
