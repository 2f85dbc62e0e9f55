"""`fleetswap secrets`: makes, edits, rotates and checks sealed files, by calling sops.

The files stay plain sops files: everything but `init` and `check` can be done with sops alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetswap.cli import options, project, secrets_files, way
from fleetswap.cli.display import print_json, print_result
from fleetswap.cli.secrets_files import Declared, Found, Index, Tree, absolute, shown
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.secrets.sealed_file import METADATA
from fleetswap.domain.text import counted
from fleetswap.sops import change
from fleetswap.sops.rules import NAME, Rules
from fleetswap.sops.sealed import Unreadable, parse, read

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from fleetswap.sops.program import Sops

secrets = typer.Typer(
    help="Make, edit, rotate and check files of secrets that are sealed with sops and KMS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(metavar="FILE")]
OfStack = Annotated[
    str | None,
    typer.Option(
        metavar="STACK",
        show_default="that of FILE, or the only one",
        help="In a Pulumi project, the stack whose settings say how to reach AWS.",
    ),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", show_default="the settings', or AWS's own", help="Endpoint of KMS, such as the local cloud."
    ),
]


class NotSealed(FleetswapError):
    """A file is not sealed as it must be."""

    exit_status = 4


@secrets.command("init")
def init(
    *,
    stack: Annotated[
        str | None, typer.Option(metavar="STACK", show_default="the selected one", help="The stack, by Pulumi's name.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make the key without asking for confirmation.")] = False,
    as_json: options.Json = False,
) -> None:
    """Make what a stack needs for secrets: its KMS key, the rule for sops, and an empty sealed file.

    Run in the project folder, once for each stack with the setting fleetswap:secrets. The key is made with `pulumi up`,
    of the key and the role of the machines alone. What is there already stays, so that it can be repeated.
    """
    from fleetswap.cli import secrets_init  # noqa: PLC0415 - it needs Pulumi's settings, which the others do not

    done = secrets_init.init(stack, yes=yes)
    if as_json:
        print_json(done.plain())
        return
    for line in done.next_steps():
        typer.echo(line, err=True)
    print_result(done.file)


@secrets.command("edit", no_args_is_help=True)
def edit(
    file: File,
    *,
    stack: OfStack = None,
    profile: options.Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Edit the secrets in the sealed file FILE with $EDITOR, and seal them again.

    The plaintext is in a file only while the editor runs: in memory where the system has a folder for that, and removed
    even after Ctrl-C. Values that stay as they are keep their ciphertext. FILE is replaced in one step.
    """
    target = _target(file, stack)
    before = _sealed(target)
    if change.memory() is None:
        typer.echo("warning: no folder in memory (tmpfs): the plaintext is on disk while the editor runs", err=True)
    with target.sops(profile, endpoint_url) as sops, _explained(target.name):
        after = change.edit(sops, target.path)
    if after is None:
        typer.echo(f"{target.name} was not changed", err=True)
        return
    if _is_lost(after, target.path.name):
        raise InputError(
            f"what you edited is empty: {target.name} stays as it was; to take all secrets out, leave {{}}"
        )
    if not target.has(before):
        beside = target.path.with_name(f"{target.path.name}.edited")
        project.replace(beside, after)
        raise InputError(f"{target.name} was changed meanwhile: what you edited is sealed in {shown(beside)}")
    project.replace(target.path, after)
    target.refuse_problems(after)
    print_result(target.name)


@secrets.command("encrypt", no_args_is_help=True)
def encrypt(
    file: File,
    *,
    stack: OfStack = None,
    profile: options.Profile = None,
    endpoint_url: EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Seal the plaintext file FILE in place, for the keys of its rule in .sops.yaml.

    FILE is replaced in one step, and no other file is written. If git or a backup of an editor still has the plaintext,
    the command says so.
    """
    target = _target(file, stack)
    try:
        if _is_sealed(parse(read(target.path), target.path.name)):
            raise InputError(f"{target.name} is sealed already: change it with `fleetswap secrets edit {target.name}`")
    except Unreadable as error:
        raise InputError(f"{target.name} {error}") from error
    with target.sops(profile, endpoint_url) as sops, _explained(target.name):
        after = change.seal(sops, target.path, target.path)
    target.refuse_problems(after)
    was_public = secrets_files.in_history(target.path)
    project.replace(target.path, after)
    left = [shown(each) for each in secrets_files.copies(target.path)]
    if was_public:
        typer.echo(f"warning: git has {target.name} in plaintext: change these secrets if it was ever pushed", err=True)
    if left:
        typer.echo(f"warning: these may have the plaintext of {target.name}: {', '.join(left)}", err=True)
    if as_json:
        print_json({"file": target.name, "in_git": was_public, "copies": left})
    else:
        print_result(target.name)


@secrets.command("rotate", no_args_is_help=True)
def rotate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")],
    *,
    stack: OfStack = None,
    profile: options.Profile = None,
    endpoint_url: EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Give each sealed FILE a new data key, and the KMS keys of its rule in .sops.yaml if they have changed.

    Whoever had the old data key can no longer read what is sealed from now on. The secrets themselves stay the same: to
    take one away from somebody, change its value. A KMS key that is taken away must still be able to open FILE.
    """
    targets = [_target(file, stack) for file in files]
    contents = [_sealed(target) for target in targets]
    done: list[dict[str, Any]] = []
    for target, before in zip(targets, contents, strict=True):
        moved = target.is_of_other_keys(before)
        with target.sops(profile, endpoint_url) as sops, _explained(target.name):
            if moved:
                after = change.rotate_to_rules(sops, target.path, target.rules.name(target.path))
            else:
                after = change.rotate(sops, target.path)
        target.refuse_problems(after)
        project.replace(target.path, after)
        done.append({"file": target.name, "keys_changed": moved})
        if not as_json:
            print_result(target.name)
    if as_json:
        print_json({"files": done})


@secrets.command("check")
def check(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]")] = None,
    *,
    staged: Annotated[
        bool, typer.Option("--staged", help="Check what git is about to commit, in place of what is on disk.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Check that files are sealed: no value in plaintext, and no other key or encryption context.

    Without FILE it checks the sealed files of all stacks, and every file in the project that a rule in .sops.yaml
    names. It needs neither sops nor AWS nor credentials, decrypts nothing, and never prints a value. Exits with status
    4 if anything is wrong. For CI, and as a hook of git.
    """
    here = project.find(project.here())
    folder = here.folder if here is not None else project.here()
    source = Index(folder) if staged else Tree()
    stacks = secrets_files.declared(here)
    rules = secrets_files.rules_of(folder, source)
    paths = [absolute(file) for file in files or ()] or secrets_files.covered(folder, rules, stacks, source)
    if not paths and rules is None:
        raise InputError(f"there is nothing to check: no {NAME}, and no stack with a `file` in fleetswap:secrets, here")
    found = [secrets_files.check(path, rules, stacks, source) for path in paths]
    skipped = [shown(path) for path, each in zip(paths, found, strict=True) if each is None]
    _report([each for each in found if each is not None], skipped, as_json=as_json)


def _report(found: list[Found], skipped: list[str], *, as_json: bool) -> None:
    wrong = [each for each in found if each.problems]
    if as_json:
        print_json(
            {
                "sealed": not wrong,
                "files": [{"file": each.name, "problems": list(each.problems)} for each in found],
                "skipped": skipped,
            }
        )
    else:
        for each in wrong:
            for problem in each.problems:
                print_result(f"{each.name}: {problem}")
    for name in skipped:
        typer.echo(f"{name} was not checked: its rule in {NAME} is not for KMS keys alone", err=True)
    if wrong:
        raise NotSealed(f"{' and '.join(each.name for each in wrong)}: not sealed as it must be{_remedy(wrong)}")
    typer.echo(f"{counted(len(found), 'file')} checked", err=True)


def _remedy(wrong: list[Found]) -> str:
    if not any(each.is_read for each in wrong):
        return ""
    return (
        ": seal a plaintext file with `fleetswap secrets encrypt`, change a sealed one with `fleetswap secrets edit`,"
        " and change every secret that was pushed in plaintext"
    )


@dataclass(frozen=True)
class _Target:
    """A file, the rules that it is sealed by, and the stack that it is of."""

    path: Path
    rules: Rules
    stack: project.StackFile | None
    stacks: list[Declared]

    @property
    def name(self) -> str:
        return shown(self.path)

    def sops(self, profile: str | None, endpoint: str | None) -> AbstractContextManager[Sops]:
        from fleetswap.cli import sops_access  # noqa: PLC0415 - botocore, which `check` does without

        rule = self.rules.of(self.path)
        region = rule.arns[0].split(":")[3] if rule is not None and rule.arns else None
        return sops_access.connected(way.of_settings(self.stack, None, endpoint, profile), self.rules.path, region)

    def has(self, content: bytes) -> bool:
        """Whether the file still has this content."""
        try:
            return read(self.path) == content
        except Unreadable:
            return False

    def refuse_problems(self, content: str) -> None:
        """Raise `NotSealed` if what sops made of the file is not what `check` wants."""
        found = secrets_files.check(self.path, self.rules, self.stacks, _Given(content))
        if found is not None and found.problems:
            raise NotSealed(f"{self.name}: {'; '.join(found.problems)}")

    def is_of_other_keys(self, content: bytes) -> bool:
        """Whether the file is sealed for others than its rule names."""
        rule = self.rules.of(self.path)
        if rule is None:
            return False
        document = parse(content, self.path.name)
        kinds = {kind for kind, entries in document[METADATA].items() if isinstance(entries, list) and entries}
        entries = document[METADATA].get("kms") or []
        return kinds != {"kms"} or _entries(entries) != {(arn, tuple(sorted(of.items()))) for arn, of in rule.keys}


class _Given(Tree):
    """A content that is not on disk yet."""

    def __init__(self, content: str) -> None:
        self._content = content.encode()

    def read(self, path: Path) -> bytes:
        del path
        return self._content


def _entries(entries: list[Any]) -> set[tuple[Any, tuple[tuple[str, str], ...]]]:
    listed = [each for each in entries if isinstance(each, Mapping)]
    return {(each.get("arn"), tuple(sorted((each.get("context") or {}).items()))) for each in listed}


def _target(file: Path, stack: str | None) -> _Target:
    """What is known of a file before it is read; `InputError` if sops would have no rule for it."""
    path = absolute(file)
    here = project.find(project.here())
    stacks = secrets_files.declared(here)
    rules = secrets_files.rules_of(here.folder if here is not None else project.here(), Tree())
    if rules is None or rules.of(path) is None:
        raise InputError(
            f"{shown(path)}: no rule in {NAME} says which keys it is sealed for: `fleetswap secrets init` makes one for"
            " the file of a stack"
        )
    if not path.is_relative_to(rules.folder):
        raise InputError(f"{shown(path)} is not below {shown(rules.folder)}, where {NAME} is: run this in its project")
    if not path.is_file():
        raise InputError(f"{shown(path)} does not exist: make it with `fleetswap secrets init`")
    of_file = next((each.stack for each in stacks if each.file == path), None) if stack is None else None
    return _Target(path, rules, of_file or way.settings_of(here, None, stack), stacks)


def _sealed(target: _Target) -> bytes:
    """The content of a sealed file; `InputError` for another."""
    try:
        content = read(target.path)
        document = parse(content, target.path.name)
    except Unreadable as error:
        raise InputError(f"{target.name} {error}") from error
    if not _is_sealed(document):
        raise InputError(f"{target.name} is not sealed: seal it with `fleetswap secrets encrypt {target.name}`")
    if _names_vault(document[METADATA]):
        raise InputError(
            f"{target.name} names a Vault server in its metadata, and sops would send your Vault token to it: take"
            " hc_vault out of the metadata, or use sops itself if you trust the server"
        )
    return content


def _names_vault(metadata: Mapping[str, Any]) -> bool:
    """Whether sops would ask a Vault. The file says where that is (`hcvault/keysource.go`)."""
    groups = metadata.get("key_groups")
    listed = [metadata, *(groups if isinstance(groups, list) else [])]
    return any(each.get("hc_vault") for each in listed if isinstance(each, Mapping))


def _is_lost(content: str, name: str) -> bool:
    """Whether nothing is left of a sealed file. One that sops alone can read is there."""
    try:
        return not _is_sealed(parse(content.encode(), name))
    except Unreadable:
        return False


def _is_sealed(document: object) -> bool:
    return isinstance(document, Mapping) and isinstance(document.get(METADATA), Mapping)


def _explained(name: str) -> AbstractContextManager[None]:
    from fleetswap.cli import sops_access  # noqa: PLC0415 - as above

    return sops_access.explained(name)
