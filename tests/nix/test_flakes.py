"""Flakes, and what both versions of nix say, without a network: the flakes here have no inputs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import FlakeImage, NixImage
from fleetswap.nix import cache
from fleetswap.nix import evaluate as nix_evaluate
from fleetswap.nix import source as nix_source
from fleetswap.nix.evaluate import evaluate
from fleetswap.nix.source import NixSource
from tests.nix.conftest import FLAKE, OPTIONS, Write, WriteFlake, name, small


def refused(image: NixImage | FlakeImage, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        evaluate(image, folder, preview=True)
    return str(error.value)


@pytest.mark.usefixtures("nix")
def test_a_flake_is_evaluated_as_an_expression_is(flake: WriteFlake, expression: Write, tmp_path: Path) -> None:
    """The same image would be another release, depending on how it is named; or a preview change the user's files."""
    image = flake()
    found = evaluate(image, tmp_path, preview=True)
    assert found.identity == name(expression(small(f"echo {tmp_path} > $out"))).identity
    assert (found.system, found.packages, found.register) == ("x86_64-linux", {"a": "1"}, {"BootMode": "uefi"})
    assert Path(found.derivation).is_file(), "it can be built, and be compared"
    assert evaluate(FlakeImage("./flake#web", OPTIONS), tmp_path, preview=True) == found, "relative to the project"
    assert [each.name for each in (tmp_path / "flake").iterdir()] == ["flake.nix"]


@pytest.mark.usefixtures("nix")
@pytest.mark.parametrize(
    ("text", "selection"),
    [
        (f"{{ a ? {{}}, ... }}: {small()}", []),
        (f"{{ text ? 1, ... }}@args: {small()} args", ["--argstr", "text", "x"]),
        (f"{{ text ? 1 }}@args: {{ b = {{ text, ... }}: {small()} args; }}", ["-A", "b", "--argstr", "text", "x"]),
        (f'{{ "a.b" = [ 1 ({small()}) ]; }}', ["-A", '"a.b".1']),
        (f"{{ __functor = self: {{ text }}: {small()} {{ inherit text; }}; }}", ["--argstr", "text", "y"]),
        (f"x: {small()} {{}}", []),
        (f"{{ one = {small()} {{}}; other = 1; }}", []),
        (f"{{ more = {{ recurseForDerivations = true; one = {small()} {{}}; }}; }}", []),
    ],
)
def test_an_expression_is_called_as_nix_instantiate_calls_it(
    expression: Write, text: str, selection: list[str]
) -> None:
    """A setting that worked with nix-build would name another image here, or none."""
    path = expression(text)
    options = [part for pair in OPTIONS.items() for part in ("--option", *pair)]
    real = subprocess.run(["nix-instantiate", path, *selection, *options], capture_output=True, text=True, check=False)
    args = {
        key: value for flag, key, value in zip(selection, selection[1:], selection[2:], strict=False) if "arg" in flag
    }
    attr = selection[1] if "-A" in selection else None
    if real.returncode == 0:
        assert name(path, attr=attr, **args).derivation == real.stdout.strip()
    else:
        with pytest.raises(InputError):
            name(path, attr=attr, **args)


@pytest.mark.usefixtures("nix")
def test_all_of_an_error_is_told_with_the_place(flake: WriteFlake, expression: Write, tmp_path: Path) -> None:
    """Of all failed assertions of a NixOS configuration only the last would be told, or not in which file to look."""
    listed = "\nFailed assertions:\n- The option is\n  not set.\n\n- error: another\nDid you mean `this'?"
    told = refused(flake("listed", listed_txt=listed), tmp_path)
    lines = told.splitlines()
    assert lines[0].startswith(f"path:{tmp_path}/flake#listed does not evaluate")
    assert lines[0].endswith("Failed assertions:")
    assert lines[1:6] == ["  - The option is", "    not set.", "", "  - error: another", "  Did you mean `this'?"]
    path = expression('let f = x:\n  throw "one\\ntwo"; in { a = f 1; }')
    with pytest.raises(InputError, match=r"^image.nix does not evaluate \(image.nix:[12]:\d+\): one\n  two\n"):
        name(path, attr="a")
    with pytest.raises(InputError, match=r"^image.nix does not evaluate \(image.nix:1:\d+\): infinite recursion"):
        name(expression("let x = x; in x"))


@pytest.mark.usefixtures("nix")
def test_the_command_for_the_trace_shows_it(flake: WriteFlake, expression: Write, tmp_path: Path) -> None:
    """Whoever has to find an error in a configuration of many files would copy a command that fails otherwise."""
    failing = '{ a }: builtins.addErrorContext "while looking" (throw "the reason")'
    for told in (
        refused(flake("listed", listed_txt="the reason"), tmp_path),
        refused(NixImage(expression(failing).name, {"a": "b c"}, OPTIONS), tmp_path),
    ):
        command = told.split("`")[1]
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "the reason" in done.stderr
        assert "while looking" in done.stderr


@pytest.mark.usefixtures("nix")
@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("webb", "does not provide attribute 'packages.x86_64-linux.webb'"),
        ("webb", "\n  Did you mean "),
        ("webb", "The packages of the flake for x86_64-linux are both, built, listed, web, wrong."),
        ("both", "is 2 derivations, not one: name the image with its attribute (0, 1)"),
        ("nixosConfigurations.web", "is a NixOS configuration, and 0 derivations: add the attribute of its image"),
        (
            "built",
            'a preview builds nothing: avoid import from derivation, or set allow-import-from-derivation: "',
        ),
    ],
)
def test_a_flake_that_has_no_such_image_is_refused(
    flake: WriteFlake, tmp_path: Path, attribute: str, told: str
) -> None:
    """The user would not learn what the flake has, or a preview build for minutes."""
    assert told in refused(flake(attribute), tmp_path)


@pytest.mark.usefixtures("nix")
def test_a_flake_that_is_not_locked_is_refused(flake: WriteFlake, tmp_path: Path) -> None:
    """The image of a preview would not be that of the update, if its nixpkgs is another one by then."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "flake.nix").write_text("{ outputs = { self }: { }; }")
    text = f'{{ inputs.other.url = "path:{other}"; outputs = {{ self, other }}: {{ }}; }}'
    assert "the flake is not locked, so its inputs could be others each time: run `nix flake lock`" in refused(
        flake(text=text), tmp_path
    )
    assert [each.name for each in (tmp_path / "flake").iterdir()] == ["flake.nix"], "a preview changes no file"


def test_a_reference_is_not_taken_for_an_option(tmp_path: Path) -> None:
    """Nix would read a setting of an image as one of its own, and evaluate whatever follows."""
    assert refused(FlakeImage("--file#web", OPTIONS), tmp_path).startswith("--file#web is not a flake reference")


def test_a_folder_is_not_taken_for_a_name_in_the_registry(flake: WriteFlake, tmp_path: Path) -> None:
    """Nix would ask the internet for a flake of that name, and evaluate whatever that is."""
    flake()
    assert refused(FlakeImage("flake#web", OPTIONS), tmp_path).endswith("write ./flake#web")


@pytest.mark.usefixtures("nix")
def test_a_file_that_git_does_not_know_is_told(flake: WriteFlake, tmp_path: Path) -> None:
    """The error names a file in the store that does not exist, while the user sees it in the editor."""
    image = FlakeImage(flake("wrong", wrong_nix="1").flake.removeprefix("path:"), OPTIONS)
    folder = tmp_path / "flake"
    subprocess.run(["git", "init", "-q", folder], check=True)
    assert "nix sees only what Git knows of a flake: `git add flake.nix`" in refused(image, tmp_path)
    subprocess.run(["git", "-C", folder, "add", "flake.nix"], check=True)
    told = refused(image, tmp_path)
    assert "wrong.nix" in told
    assert told.endswith("the file is there, but nix sees only what Git knows of a flake: `git add wrong.nix`")
    inner = folder / "inner"
    inner.mkdir()
    (inner / ".git").touch()
    (inner / "wrong.nix").touch()
    flake_nix = folder / "flake.nix"
    flake_nix.write_text(flake_nix.read_text().replace("./wrong.nix", "./inner/wrong.nix"))
    assert refused(image, tmp_path).endswith("add `?submodules=1` to the reference of the flake")
    flake_nix.write_text(flake_nix.read_text().replace("./inner/wrong.nix", "./wrong.nix"))
    (folder / "wrong.nix").unlink()
    assert "git add" not in refused(image, tmp_path), "of a file that is nowhere"


def test_an_argument_that_nothing_takes_is_refused(expression: Write, tmp_path: Path) -> None:
    """A misspelt version would deploy the default one."""
    path = expression(small())
    told = refused(NixImage(path.name, {"txet": "1"}, OPTIONS), tmp_path)
    assert told == "image.nix does not take the argument txet: correct or remove it in `args` of the image"
    again = evaluate(NixImage(path.name, {"txet": "1"}, OPTIONS), tmp_path, preview=False)
    assert again == name(path), "a release of an older version, which took it, can be made again"


@pytest.mark.parametrize(
    ("text", "attr", "told"),
    [
        ("{ a, b ? 1 }: a", None, "image.nix: it needs a: set it in `args` of the image"),
        ("{ web = 1; b = 2; }", "wbe", "there is no attribute 'wbe' on the path 'wbe', but b, web; did you mean web?"),
        ("{ a = [ 1 ]; }", "a.3", "there is no element 3 on the path 'a.3': the list has 1"),
        ("{ a = [ 1 ]; }", "a.b", "'b' on the path 'a.b' is looked up in a list"),
        ("{ a = 1; }", 'a."b', 'the attribute path a."b has no closing quote'),
        ("1", None, "image.nix is 0 derivations, not one, but a int"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(expression: Write, text: str, attr: str | None, told: str) -> None:
    """A typing error would be a puzzle."""
    with pytest.raises(InputError) as error:
        name(expression(text), attr=attr)
    assert told in str(error.value)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[FlakeImage | NixImage]:
    """The evaluations that were made."""
    made: list[FlakeImage | NixImage] = []

    def evaluate(image: FlakeImage | NixImage, folder: Path, *, preview: bool) -> Evaluation:
        made.append(image)
        return nix_evaluate.evaluate(image, folder, preview=preview)

    monkeypatch.setattr(nix_source, "evaluate", evaluate)
    return made


@pytest.mark.usefixtures("nix")
def test_the_same_flake_is_evaluated_once(flake: WriteFlake, tmp_path: Path, asked: list[FlakeImage]) -> None:
    """Each preview of a NixOS configuration would take its seconds again; or show the image of an older source."""
    kept = tmp_path / "evaluations"

    def again(image: FlakeImage) -> Evaluation:
        return NixSource(image, tmp_path, preview=True, cache=kept).evaluate()

    first = again(flake())
    assert again(flake()) == first
    assert len(asked) == 1
    other = FlakeImage(flake().flake, {**OPTIONS, "cores": "1"})
    assert again(other) == first, "with other options it could have been another one"
    assert len(asked) == 2
    changed = again(flake(text=(tmp_path / "flake" / "flake.nix").read_text().replace('a = "1"', 'a = "2"')))
    assert changed.packages == {"a": "2"}
    for file in kept.iterdir():
        damaged = json.loads(file.read_text())
        damaged["evaluation"]["packages"] = {"a": "3"}
        file.write_text(json.dumps(damaged))
    assert again(flake()) == first, "what was changed on the disk does not count"
    options = [part for pair in OPTIONS.items() for part in ("--option", *pair)]
    subprocess.run(["nix-store", *options, "--delete", "--ignore-liveness", first.derivation], check=True)
    del asked[:]
    assert again(flake()) == first
    assert len(asked) == 1, "its derivation was not there any more"
    assert Path(first.derivation).is_file()


def test_what_a_flake_reads_elsewhere_is_read_again(
    flake: WriteFlake, expression: Write, tmp_path: Path, asked: list[FlakeImage | NixImage]
) -> None:
    """An image would stay what it was, although a file outside of the flake has changed; so with any expression."""
    impure = FlakeImage(flake().flake, {**OPTIONS, "pure-eval": "false"})
    for image in (impure, NixImage(expression(small()).name, {}, OPTIONS)):
        del asked[:]
        for _ in range(2):
            NixSource(image, tmp_path, preview=True, cache=tmp_path / "evaluations").evaluate()
        assert len(asked) == 2


def test_a_flake_that_makes_itself_impure_is_evaluated_again(
    flake: WriteFlake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `accept-flake-config`, the image would stay that of an older environment, and this one be deployed."""
    text = FLAKE.format(small=small()).replace("{", "{ nixConfig.pure-eval = false;", 1)
    image = FlakeImage(
        flake(text=text.replace('a = "1"', 'a = builtins.getEnv "SAID"')).flake,
        {**OPTIONS, "accept-flake-config": "true"},
    )
    for said in ("one", "two"):
        monkeypatch.setenv("SAID", said)
        made = NixSource(image, tmp_path, preview=True, cache=tmp_path / "evaluations").evaluate()
        assert made.packages == {"a": said}


def test_an_image_is_built_as_it_was_named(expression: Write, tmp_path: Path, asked: list[NixImage]) -> None:
    """An update would evaluate a second time; or refuse a release that could be built, since its source has changed."""
    kept = tmp_path / "evaluations"
    image = NixImage(expression(small("echo > $out")).name, {}, OPTIONS)
    named = NixSource(image, tmp_path, preview=True, cache=kept).identity()
    expression(small("exit 1"))
    source = NixSource(image, tmp_path, cache=kept, named=named)
    assert source.bring(lambda _: None) == Path(named)
    assert source.identity() == named
    assert len(asked) == 1
    assert NixSource(image, tmp_path, cache=kept, named="/nix/store/other").identity() != named
    old = time.time() - (cache.DAYS + 1) * 86_400
    for each in kept.iterdir():
        os.utime(each, (old, old))
    NixSource(image, tmp_path, cache=kept).identity()
    assert [each for each in kept.iterdir() if each.stat().st_mtime <= old] == [], "old ones are removed"


def test_a_cache_that_cannot_be_written_only_costs_time(flake: WriteFlake, tmp_path: Path) -> None:
    """A full disk, or a checkout of another user, would stop a preview that changes nothing."""
    (tmp_path / "file").touch()
    assert NixSource(flake(), tmp_path, preview=True, cache=tmp_path / "file").evaluate().packages == {"a": "1"}


def test_a_user_without_a_home_is_no_traceback(
    flake: WriteFlake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container whose user is only a number, a preview would end in a traceback instead of Nix's answer."""
    image = flake()

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME")
    assert NixSource(image, tmp_path, preview=True, cache=tmp_path / "evaluations").evaluate().packages == {"a": "1"}


def test_an_endless_list_in_the_cache_is_no_traceback(tmp_path: Path, flake: WriteFlake) -> None:
    """A damaged file would end each preview, until somebody finds it."""
    kept = tmp_path / "evaluations"
    NixSource(flake(), tmp_path, preview=True, cache=kept).evaluate()
    for file in kept.iterdir():
        file.write_text("[" * 100_000)
    assert NixSource(flake(), tmp_path, preview=True, cache=kept).evaluate().packages == {"a": "1"}


@pytest.mark.usefixtures("nix")
def test_what_a_configuration_warns_of_is_kept(flake: WriteFlake, expression: Write, tmp_path: Path) -> None:
    """Nobody would see that an option is going away, or that the image has changes that are in no commit."""
    folder = Path(flake().flake.removeprefix("path:").partition("#")[0])
    text = (folder / "flake.nix").read_text()
    flake(text=text.replace("web = (", 'web = builtins.trace "evaluation warning: a\nb" (builtins.trace "no" '))
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "add", "."], check=True)
    for _ in range(2):
        source = NixSource(FlakeImage(f"{folder}#web", OPTIONS), tmp_path, preview=True, cache=tmp_path / "evaluations")
        assert set(source.evaluate().warnings) == {"a b", f"Git tree '{folder}' is dirty"}
    assert name(expression(f'builtins.trace "warning: c" ({small()} {{}})')).warnings == ("c",)
