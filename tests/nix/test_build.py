"""The calls to nix, against the real one, with derivations that build at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.nix import build
from tests.nix.conftest import OPTIONS, Write

SMALL = """
({{ text ? "nothing" }}:
derivation {{
  name = "small"; system = "x86_64-linux"; builder = "/bin/sh"; inherit text;
  args = [ "-c" "{script}" ];
}})
"""


def small(script: str = "echo $text > $out") -> str:
    return SMALL.format(script=script)


def name(path: Path, *, attr: str | None = None, **args: str) -> build.Derivation:
    return build.instantiate(path, attr=attr, args=args, options=OPTIONS)


def message(error: pytest.ExceptionInfo[FleetswapError]) -> str:
    """The error's text, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def test_instantiate_names_what_realise_builds(expression: Write, tmp_path: Path) -> None:
    """The store path in a preview would not be the path of the image that is deployed."""
    derivation = name(expression(small()), text="hello")
    root = tmp_path / "roots" / "web-1"
    out = build.realise(derivation, root=root, say=lambda _: None, options=OPTIONS)
    assert out == derivation.out_path
    assert out.read_text() == "hello\n"
    assert root.resolve() == out


def test_realise_again_builds_nothing(expression: Write) -> None:
    """A repeated deploy would build again."""
    derivation = name(expression(small()), text="again")
    build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    said: list[str] = []
    assert build.realise(derivation, root=None, say=said.append, options=OPTIONS) == derivation.out_path
    assert said == []


def test_realise_says_what_it_builds(expression: Write, tmp_path: Path) -> None:
    """A build of minutes would look like a hang."""
    derivation = name(expression(small()), text=str(tmp_path))  # a path of its own, so that it is not built yet
    said: list[str] = []
    build.realise(derivation, root=None, say=said.append, options=OPTIONS)
    assert said == [f"building '{derivation.drv_path}'..."]


def test_arguments_and_attributes_choose_the_image(expression: Write) -> None:
    """Another version or another attribute would name the same image."""
    path = expression(f"let make = {small()}; in {{ a = make {{}}; b = make; }}")
    outs = {name(path, attr="a"), name(path, attr="b", text="1"), name(path, attr="b", text="2")}
    assert len(outs) == 3
    assert name(path, attr="b", text="nothing") == name(path, attr="a")


def test_a_failed_build_shows_the_end_of_its_log(expression: Write) -> None:
    """Whoever deploys would have to guess why the image did not build."""
    derivation = name(expression(small("echo first; echo one; echo two >&2; echo no space left; exit 3")))
    with pytest.raises(FleetswapError, match="exit code 3") as error:
        build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    assert "| one | two | no space left:" in message(error)
    assert f"nix-store --read-log {derivation.drv_path}" in message(error)
    assert "first" not in message(error)


def test_a_long_log_keeps_the_builders_last_words(expression: Write) -> None:
    """Every NixOS image's log is longer than what is kept: the error would be an exit code and nothing else."""
    script = "i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); done; echo error: not nix; echo no space; exit 3"
    derivation = name(expression(small(script.replace("$", "\\$"))))
    with pytest.raises(FleetswapError, match="exit code 3") as error:
        build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    assert "| line 1499 | error: not nix | no space:" in message(error)


def test_a_hash_mismatch_is_told_with_both_hashes(expression: Write) -> None:
    """The new hash, which is all that one wants of this error, would stand nowhere."""
    wrong = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    fixed = f'name = "small"; outputHash = "{wrong}"; outputHashAlgo = "sha256"; outputHashMode = "flat";'
    derivation = name(expression(small().replace('name = "small";', fixed)))
    with pytest.raises(FleetswapError, match="hash mismatch in fixed-output derivation") as error:
        build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    assert f"specified: {wrong} got: sha256-" in message(error)


def test_all_of_a_message_is_told(expression: Write) -> None:
    """Of a reason in several lines the user would read the first only."""
    with pytest.raises(InputError) as error:
        name(expression("throw ''these are missing:\n  linux\n  busybox\n''"))
    assert "these are missing: linux busybox: `nix-instantiate" in message(error)


def test_a_trace_that_looks_like_an_error_is_none(expression: Write) -> None:
    """An expression that traces would be refused, or another reason be told than nix's."""
    traced = 'builtins.trace "x\\nerror: only a trace"'
    path = expression(f"{traced} ({small()} {{}})")
    assert build.evaluate_packages(path, attr=None, args={}, options=OPTIONS) == {}
    with pytest.raises(InputError, match="does not evaluate: the real one: "):
        name(expression(f'{traced} (throw "the real one")'))


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "trace: x\nerror:\n       … while calling\n\n         at /x.nix:1:1:\n\n       error: no\n       more",
            "no more",
        ),
        (
            "error: executing SQLite statement 'insert\n       into x;': disk is full (in '/nix')\n",
            "executing SQLite statement 'insert into x;': disk is full (in '/nix')",
        ),
        ("warning: a\nit broke\n\n", "it broke"),
        ("", "no reason given"),
    ],
)
def test_the_reason_is_found_in_what_other_versions_print(stderr: str, reason: str) -> None:
    """With another nix, or a full disk, the message would be a bare "error" or half a sentence."""
    assert build._reason(stderr) == reason


def test_an_interrupted_build_leaves_no_nix_behind(expression: Write, tmp_path: Path) -> None:
    """After Ctrl-C, nix and its builders would go on building."""
    mark = tmp_path / "pid"
    derivation = name(expression(small(f"echo $$ > {mark}; while :; do read -r x < /proc/uptime; done")))

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.realise(derivation, root=None, say=interrupt, options=OPTIONS)
    assert not mark.exists() or not Path("/proc", mark.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ }: throw ''this kernel is missing''", "this kernel is missing"),
        ("{ a = ", "unexpected end of file"),
        (f"[ ({small()} {{}}) ({small('exit 1')} {{}}) ]", "is 2 derivations, not one"),
        ("[ ]", "is 0 derivations, not one"),
    ],
)
def test_an_expression_that_is_no_image_is_refused(expression: Write, text: str, expected: str) -> None:
    """The error would not say what is wrong with the expression, or not which one."""
    path = expression(text)
    with pytest.raises(InputError) as error:
        name(path)
    assert expected in message(error)
    assert str(path) in message(error)


def test_a_derivation_of_two_outputs_is_refused(expression: Write) -> None:
    """Which of the outputs is the disk would be left to chance."""
    path = expression(small().replace('name = "small";', 'name = "small"; outputs = [ "out" "doc" ];'))
    with pytest.raises(InputError, match="has 2 outputs, not one"):
        name(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """The user would read nix's error about a path of its own."""
    with pytest.raises(InputError, match=r"nowhere\.nix does not exist"):
        name(tmp_path / "nowhere.nix")


def test_without_nix_the_remedy_is_to_install_it(
    expression: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without nix would show a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="nix-instantiate is not on PATH: install Nix"):
        name(expression(small()))


def test_packages_are_known_without_a_build(expression: Write) -> None:
    """A preview would have to build the image to show which packages change."""
    path = expression(f"let drv = {small('exit 1')} {{}}; in {{ image = drv // {{ packages = {{ a = ''1''; }}; }}; }}")
    assert build.evaluate_packages(path, attr="image", args={}, options=OPTIONS) == {"a": "1"}


def test_an_image_without_a_manifest_has_no_packages(expression: Write) -> None:
    """An ordinary NixOS image, which has no such attribute, could not be deployed."""
    assert build.evaluate_packages(expression(small()), attr=None, args={}, options=OPTIONS) == {}


@pytest.mark.parametrize(
    ("value", "expected"), [("[ ]", "must be a set"), ("{ a = 1; }", "must be a set"), ("throw ''no''", ": no:")]
)
def test_a_manifest_that_is_wrong_is_refused(expression: Write, value: str, expected: str) -> None:
    """A wrong manifest would pass for none, and the preview would hide what changes."""
    path = expression(f"{small()} {{}} // {{ packages = {value}; }}")
    with pytest.raises(InputError) as error:
        build.evaluate_packages(path, attr=None, args={}, options=OPTIONS)
    assert expected in message(error)


def test_the_disk_is_the_output_or_the_only_one_in_it(tmp_path: Path) -> None:
    """An image could not be found in its build's output."""
    disk = tmp_path / "nixos.img"
    disk.touch()
    (tmp_path / "nix-support").mkdir()
    (tmp_path / "packages").touch()
    assert build.find_disk(disk) == disk
    assert build.find_disk(tmp_path) == disk


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["readme", "log"], "does not contain a disk (*.raw, *.img, *.vhd, *.qcow2) but log, readme"),
        ([], "but nothing"),
        (["b.vhd", "a.raw", "log"], "holds 2 disks (a.raw, b.vhd): use a derivation whose output has only one"),
    ],
)
def test_an_output_without_exactly_one_disk_is_refused(tmp_path: Path, names: list[str], expected: str) -> None:
    """Some file would be shipped as the disk, or the user would not learn what there is."""
    for file in names:
        (tmp_path / file).touch()
    with pytest.raises(InputError) as error:
        build.find_disk(tmp_path)
    assert expected in message(error)


def test_an_output_that_is_gone_is_refused(tmp_path: Path) -> None:
    """An image that was collected as garbage would show as a traceback."""
    with pytest.raises(InputError, match="neither a file nor a folder"):
        build.find_disk(tmp_path / "gone")
