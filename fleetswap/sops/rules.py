"""The creation rules of sops (`.sops.yaml`): who can open a new file. Reads them as sops does, and adds one.

Source: sops 3.9 to 3.13, `config/config.go`: the first rule whose `path_regex` is found in the path of a file, relative
to the folder of the rules, is the file's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from fleetswap.domain.errors import InputError
from fleetswap.domain.text import one_line

NAME = ".sops.yaml"

_OTHER_KEYS = ("pgp", "age", "gcp_kms", "hckms", "azure_keyvault", "hc_vault_transit_uri", "hc_vault", "merge")
"""What a rule, or a group of keys in it, can name besides keys of AWS KMS."""


@dataclass(frozen=True)
class Rule:
    """A creation rule. It seals for these KMS keys, each with its encryption context."""

    path_regex: str
    """Empty: it is the rule of every file."""
    keys: tuple[tuple[str, Mapping[str, str]], ...]
    is_simple: bool
    """Whether it has nothing but KMS keys, in one group."""

    @property
    def arns(self) -> tuple[str, ...]:
        """The ARNs of its KMS keys."""
        return tuple(arn for arn, _ in self.keys)

    @property
    def context(self) -> Mapping[str, str] | None:
        """The encryption context of all its keys; None if they do not have the same one."""
        contexts = [context for _, context in self.keys]
        return contexts[0] if contexts and all(each == contexts[0] for each in contexts) else None


@dataclass(frozen=True)
class Rules:
    """The rules in a file; the file's path says which files they are for."""

    path: Path
    text: str
    rules: tuple[Rule, ...] = ()

    @property
    def folder(self) -> Path:
        """What the paths of the rules are relative to."""
        return self.path.parent

    def of(self, file: Path) -> Rule | None:
        """The rule of a file, which need not exist."""
        name = self.name(file)
        return next((rule for rule in self.rules if _is_for(rule, name)), None)

    def name(self, file: Path) -> str:
        """A file as the rules see it."""
        path = file if file.is_absolute() else Path.cwd() / file
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.as_posix()


def find(folder: Path) -> Path | None:
    """The rules that sops would take in this folder: the nearest file, in it or above."""
    return next((path for each in (folder, *folder.parents) if (path := each / NAME).is_file()), None)


def load(path: Path) -> Rules:
    """The rules of a file. `InputError` if it cannot be read or has an invalid rule."""
    try:
        return parse(path.read_bytes().decode("utf-8"), path)  # `read_text` would change the ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def parse(text: str, path: Path) -> Rules:
    """The rules in the text of a file. `InputError` as from `load`."""
    return Rules(path, text, tuple(_rule(path, each) for each in _listed(path, _document(path, text))))


def with_rule(rules: Rules, file: Path, keys: Sequence[str], context: Mapping[str, str]) -> str:
    """The text of the rules with one that seals `file` for these keys; all else, comments included, stays as it is.

    `InputError`, with the rule, if the text cannot be changed for certain.
    """
    wanted = _plain(rules.name(file), keys, context)
    document = _document(rules.path, rules.text)
    before = list(_listed(rules.path, document))
    same = [at for at, each in enumerate(before) if each.get("path_regex") == wanted["path_regex"]]
    first = next((at for at, rule in enumerate(rules.rules) if _is_for(rule, rules.name(file))), None)
    if same and same[0] == first:
        if before[same[0]] == wanted:
            return rules.text
        after, at = [*before[: same[0]], wanted, *before[same[0] + 1 :]], same[0]
    else:
        at = len(before) if first is None else first  # before the rule that would be taken in its place
        after = [*before[:at], wanted, *before[at:]]
    lines = rules.text.splitlines(keepends=True)
    text = _spliced(lines, rules.text, wanted, at, replaces=bool(same) and same[0] == first)
    try:
        good = text is not None and yaml.safe_load(text) == {**document, "creation_rules": after}
    except yaml.YAMLError:
        good = False
    if text is None or not good:
        raise InputError(
            f"{rules.path} cannot be edited automatically: add this to its creation_rules, before any other that is for"
            f" {rules.name(file)}: {json.dumps(wanted)}"
        )
    return text


def _spliced(lines: list[str], text: str, wanted: Mapping[str, Any], at: int, *, replaces: bool) -> str | None:
    """The text with the rule as the one of this number, or in its place; None for what is not in block style."""
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    items = _items(text)
    if items is None:
        gap = "" if not text or text.endswith("\n") else ending
        return text + gap + "".join(f"{line}{ending}" for line in ("creation_rules:", *_block(wanted, "  ")))
    if not items:
        return None
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += ending
    starts = [item.start_mark.line for item in items]
    ends = [_last_line(item) + 1 for item in items]
    dash = lines[starts[0]].find("-")
    if dash < 0 or lines[starts[0]][:dash].strip():
        return None
    block = [f"{line}{ending}" for line in _block(wanted, " " * dash)]
    if replaces:
        start, end = starts[at], ends[at]
    elif at == len(items):
        start = end = ends[-1]
    else:
        start = starts[at]
        while lines[start - 1].lstrip().startswith("#"):  # the comment is of the rule below it
            start -= 1
        end = start
    return "".join([*lines[:start], *block, *lines[end:]])


def _items(text: str) -> list[yaml.Node] | None:
    """The nodes of the rules; None if there is no list of them, an empty list if it is not in block style."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    rules = next((value for key, value in root.value if key.value == "creation_rules"), None)
    if rules is None:
        return [] if root.flow_style else None
    return rules.value if isinstance(rules, yaml.SequenceNode) and not rules.flow_style else []


def _last_line(node: yaml.Node) -> int:
    """The line where what is written of a node ends: its own end is that of the comments behind it."""
    if isinstance(node, yaml.ScalarNode):
        # A block of text ends where the next line begins.
        return int(node.end_mark.line) - (node.style in ("|", ">"))
    children = [each for pair in node.value for each in (pair if isinstance(pair, tuple) else (pair,))]
    return max((_last_line(each) for each in children), default=int(node.end_mark.line))


def _block(wanted: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}- path_regex: {_scalar(wanted['path_regex'])}"
    yield f"{indent}  key_groups:"
    yield f"{indent}    - kms:"
    for key in wanted["key_groups"][0]["kms"]:
        yield f"{indent}        - arn: {_scalar(key['arn'])}"
        yield f"{indent}          context:"
        yield from (f"{indent}            {_scalar(name)}: {_scalar(value)}" for name, value in key["context"].items())


def _scalar(text: str) -> str:
    """A text as YAML reads it back."""
    try:
        is_plain = yaml.safe_load(f"- {text}") == [text]
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _plain(name: str, keys: Sequence[str], context: Mapping[str, str]) -> dict[str, Any]:
    """The rule of one file. The escapes are those that Go's regular expressions and Python's have in common."""
    escaped = re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", name)
    return {
        "path_regex": f"^{escaped}$",
        "key_groups": [{"kms": [{"arn": key, "context": dict(context)} for key in keys]}],
    }


def _is_for(rule: Rule, name: str) -> bool:
    return re.search(rule.path_regex, str(PurePosixPath(name))) is not None


def _document(path: Path, text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {one_line(error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InputError(f"{path} does not have the rules of sops: expected a mapping with creation_rules")
    return document


def _listed(path: Path, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = document.get("creation_rules") or []
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise InputError(f"{path} does not have the rules of sops: creation_rules is not a list of rules")
    return rules


def _rule(path: Path, plain: Mapping[str, Any]) -> Rule:
    regex = plain.get("path_regex") or ""
    try:
        re.compile(str(regex))
    except re.error as error:
        raise InputError(f"{path}: path_regex {regex!r} is not one that Python reads as Go does ({error})") from error
    groups = plain.get("key_groups") or [plain]
    others = [each for group in groups if isinstance(group, Mapping) for each in _OTHER_KEYS if group.get(each)]
    return Rule(
        str(regex),
        tuple(key for group in groups if isinstance(group, Mapping) for key in _keys(group.get("kms"))),
        is_simple=len(groups) == 1 and not others,
    )


def _keys(given: object) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The keys of a group, or in the short form, which has no context: `ARN,ARN` or a list, each also `ARN+ROLE`."""
    for each in given.split(",") if isinstance(given, str) else given if isinstance(given, list) else ():
        if isinstance(each, str) and each.strip():
            yield each.strip().partition("+arn:")[0], {}
        elif isinstance(each, Mapping) and isinstance(each.get("arn"), str):
            context = each.get("context")
            yield each["arn"], dict(context) if isinstance(context, Mapping) else {}
