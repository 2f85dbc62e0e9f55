"""A Pulumi project on disk: its directory, the settings of a stack, and the one setting that a rollback writes.

It reads `Pulumi.yaml` and `Pulumi.<stack>.yaml`, and needs neither `pulumi` nor a state backend. It changes nothing in
a file except `fleetswap:release`, and keeps comments.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetswap.domain import access
from fleetswap.domain.errors import InputError
from fleetswap.domain.text import one_line

RELEASE = "fleetswap:release"
SERVICE = "fleetswap:service"
REGION = "aws:region"
REGIONS = "fleetswap:regions"
ENDPOINT = "fleetswap:endpoint"
ACCOUNT = "fleetswap:account"

_LINE = re.compile(r"""^(\s+)(['"]?)fleetswap:release\2\s*:\s*(?:[^\s#]\S*)?(\s+#.*)?$""")
"""The line of the setting, as Pulumi and people write it."""


@dataclass(frozen=True)
class StackFile:
    """The settings of one stack, in a file."""

    project: str
    stack: str
    path: Path
    shared: Mapping[str, Any] = field(default_factory=dict)
    """The configuration that `Pulumi.yaml` has for all stacks."""
    region: Mapping[str, Any] = field(default_factory=dict)
    """What a further region says of the way to AWS, in place of the rest."""

    @property
    def tag(self) -> str:
        """The stack as in the tags of its resources."""
        return f"{self.project}/{self.stack}"

    def setting(self, key: str) -> str | None:
        """A string setting; None if it is not set. `InputError` if the file cannot be read."""
        value = self._all().get(key)
        return value if isinstance(value, str) else None

    def config(self) -> dict[str, str]:
        """The whole configuration as Pulumi gives it to a program: objects as JSON, and no secret ones.

        What `Pulumi.yaml` sets for all stacks is in it; what an environment of Pulumi ESC sets is not. `InputError` if
        the file cannot be read.
        """
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in self._all().items()}

    def access(self) -> access.Access:
        """How the stack reaches AWS, by its settings `aws:*`. `InputError` if they are not valid."""
        given = {key.removeprefix("aws:"): value for key, value in self._all().items() if key.startswith("aws:")}
        given.pop("region", None)
        try:
            found = access.Settings.of(given).access
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        account = self.setting(ACCOUNT)
        return found if account is None else found.only(account)

    def at(self, region: str | None) -> StackFile:
        """The same stack, with the way to AWS of one of its further regions; of any other region as it is.

        `InputError` if the file cannot be read.
        """
        regions = self._all().get(REGIONS)
        own = regions.get(region) if isinstance(regions, Mapping) else None
        if not isinstance(own, Mapping):
            return self
        provider = own.get("aws") or {}
        return dataclasses.replace(
            self,
            region={
                REGION: region,
                **{key: own[name] for key, name in ((ENDPOINT, "endpoint"), (ACCOUNT, "account")) if name in own},
                **{f"aws:{key}": value for key, value in provider.items()},
            },
        )

    def skipped(self) -> list[str]:
        """The further regions that an update leaves as they are. `InputError` if the file cannot be read."""
        regions = self._all().get(REGIONS)
        given = regions if isinstance(regions, Mapping) else {}
        return [name for name, own in given.items() if isinstance(own, Mapping) and own.get("skip") is True]

    def _all(self) -> dict[str, Any]:
        return {**self.shared, **_config(self.path, _text(self.path)), **self.region}

    def write_release(self, release: str) -> None:
        """Set the release in the settings; everything else in the file stays, character by character.

        Raises `InputError` if that cannot be done for certain; the file is then as it was.
        """
        before = _text(self.path)
        after = with_release(before, release)
        wanted = {**_config(self.path, before), RELEASE: release}
        try:
            good = _config(self.path, after) == wanted
        except InputError:
            good = False
        if not good:
            raise InputError(f"{self.path} cannot be edited automatically: add {RELEASE} to it manually")
        replace(self.path, after)


@dataclass(frozen=True)
class Project:
    """The project of a directory, as `pulumi` would find it."""

    name: str
    folder: Path
    settings: Path
    """The folder of the stacks' files."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of all stacks."""

    def file(self, stack: str) -> Path:
        """The path of a stack's settings, whether it exists or not. `stack` may be organization/project/stack."""
        return self.settings / f"Pulumi.{stack.rpartition('/')[2]}.yaml"

    def stack(self, stack: str) -> StackFile | None:
        """A stack's settings, if there is a file. `stack` may be `project/stack` if the project is this one."""
        project, _, name = stack.rpartition("/")
        path = self.file(name)
        here = project.rpartition("/")[2] in {"", self.name}
        return StackFile(self.name, name, path, self.shared) if here and path.is_file() else None

    def stacks(self) -> list[StackFile]:
        """The stacks that have a file, by name."""
        paths = sorted(self.settings.glob("Pulumi.*.yaml"))
        names = [path.name.split(".", 1)[1].removesuffix(".yaml") for path in paths]
        return [StackFile(self.name, name, path, self.shared) for name, path in zip(names, paths, strict=True)]


def here() -> Path:
    """The folder that we are in. `InputError` if someone has deleted it."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise InputError("the current folder no longer exists: change to one that does") from error


def find(folder: Path) -> Project | None:
    """The project that a directory is in, or None. `InputError` if its `Pulumi.yaml` cannot be read."""
    for each in (folder, *folder.parents):
        path = each / "Pulumi.yaml"
        if path.is_file():
            document = _mapping(path, _text(path))
            name, settings = document.get("name"), document.get("stackConfigDir")
            if not isinstance(name, str):
                raise InputError(f"{path} does not name a project")
            return Project(name, each, each / settings if isinstance(settings, str) else each, _shared(document))
    return None


def _shared(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a project's file sets for all stacks: a value, or an object with it (Pulumi project file reference)."""
    config = document.get("config")
    if not isinstance(config, dict):
        return {}
    values = {
        key: given.get("value", given.get("default")) if isinstance(given, dict) else given
        for key, given in config.items()
    }
    return {key: value for key, value in values.items() if value is not None and ":" in key}


def with_release(text: str, release: str) -> str:
    """The text of a stack's settings with the release set, in the existing line or in a new one."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        found = _LINE.match(line.rstrip("\r\n"))
        if found:
            lines[number] = f"{found[1]}{RELEASE}: {release}{found[3] or ''}{_ending(line)}"
            return "".join(lines)
    heads = [number for number, line in enumerate(lines) if re.match(r"config:\s*(#.*)?$", line.rstrip())]
    if not heads:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}config:\n  {RELEASE}: {release}\n"
    head = heads[0]
    indent = next(_indents(lines[head + 1 :]), "  ")
    lines[head] = f"{lines[head].rstrip()}{_ending(lines[head])}"
    lines.insert(head + 1, f"{indent}{RELEASE}: {release}{_ending(lines[head])}")
    return "".join(lines)


def _indents(lines: list[str]) -> Iterator[str]:
    """How deep the keys are."""
    for line in lines:
        kept = line.lstrip()
        if kept and not kept.startswith("#") and kept != line:
            yield line[: len(line) - len(kept)]


def _ending(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else "\n"


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _mapping(path: Path, text: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 (a command outside of a project reads no settings)

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {one_line(error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a Pulumi file: expected a mapping of keys")
    return document


def _config(path: Path, text: str) -> dict[str, Any]:
    config = _mapping(path, text).get("config") or {}
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a Pulumi file: `config` is not a mapping of keys")
    return config


def replace(path: Path, text: str, new: int = 0o644) -> None:
    """Write a file so that at any moment it is the old one or the new one. `InputError` if that is not possible.

    `new` is the mode of a file that did not exist.
    """
    try:
        target = path.resolve()  # of a link, what it leads to
        mode = target.stat().st_mode if target.exists() else new
        number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        part = Path(name)
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            part.chmod(mode)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:  # RuntimeError of links that lead to each other
        raise InputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
