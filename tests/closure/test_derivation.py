"""The files of derivations, as each version of Nix writes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleetswap.domain.closure.derivation import UnknownDerivation, parse
from tests.closure.store import path

AT = path("app-1.0.drv")
LIB = path("lib-2.0.drv")
TEXTS = ['"quoted" \\ and \\" (parentheses) [brackets]', "line\nline\r\n\ttab", "\x01\x1b bell", "ünïcode → 日本"]


@pytest.mark.nix
def test_what_nix_writes_is_read_back(tmp_path: Path) -> None:
    """A text with quotes, newlines or parentheses would end the derivation in the middle, or come back as another."""
    texts = [*TEXTS, "$${not a variable}"]
    for number, text in enumerate(texts):
        (tmp_path / f"text{number}").write_text(text)
    # Latin-1, which is not UTF-8.
    (tmp_path / "text9").write_bytes(b"caf\xe9 (\xff)")
    names = [*(f"text{number}" for number in range(len(texts))), "text9"]
    values = " ".join(f"{name} = builtins.readFile ./{name};" for name in names)
    expression = tmp_path / "default.nix"
    expression.write_text(
        'derivation { name = "app-1.0"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "(\\"x\\")" ];'
        f' outputs = [ "out" "dev" ]; {values} }}'
    )
    made = subprocess.run(["nix-instantiate", str(expression)], capture_output=True, text=True, check=True)
    at = made.stdout.split("!")[0].strip()
    found = parse(at, Path(at).read_bytes())
    assert [found.environment[name] for name in names[:-1]] == texts
    assert found.environment["text9"].encode("utf-8", "surrogateescape") == b"caf\xe9 (\xff)"
    assert (found.name, found.builder, found.args, found.is_fixed) == ("app-1.0", "/bin/sh", ("-c", '("x")'), False)
    assert found.outputs == {name: found.environment[name] for name in ("out", "dev")}


def _derive(inputs: str = "[]", outputs: str = '[("out","/nix/store/x","","")]', environment: str = "[]") -> bytes:
    return f'Derive({outputs},{inputs},[],"x86_64-linux","/bin/sh",[],{environment})'.encode()


def test_inputs_are_paths_of_derivations() -> None:
    """What a package depends on would be missing, or an output be taken for a derivation."""
    assert parse(AT, _derive(f'[("{LIB}",["dev","out"])]')).inputs == (LIB,)


def test_a_fixed_output_is_known_by_its_hash() -> None:
    """Each source that is fetched would be listed as a package of the machine."""
    outputs = '[("out","/nix/store/x","r:sha256","00ff")]'
    assert parse(AT, _derive(outputs=outputs)).is_fixed
    # Content-addressed: a method, and no hash before it is built.
    floating = parse(AT, _derive(outputs='[("out","","r:sha256","")]'))
    assert (floating.is_fixed, floating.outputs) == (False, {"out": ""})


def test_structured_attributes_are_values() -> None:
    """Of a derivation with __structuredAttrs, neither version nor dependencies would be known."""
    found = parse(AT, _derive(environment='[("__json","{\\"version\\":\\"1.0\\",\\"paths\\":[\\"a\\"]}")]'))
    assert found.attributes == {"version": "1.0", "paths": ["a"]}
    assert parse(AT, _derive(environment='[("__json","[]")]')).attributes == {}


def test_an_input_of_the_versioned_form_may_be_plain() -> None:
    """A derivation beside a dynamic one would not be read, though nothing about it is unknown."""
    body = _derive(f'[("{LIB}",(["out"],[]))]').decode().removeprefix("Derive(")
    assert parse(AT, f'DrvWithVersion("xp-dyn-drv",{body}'.encode()).inputs == (LIB,)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a derivation: it begins with ''"),
        (b"\x7fELF", "is not a derivation: it begins with"),
        (b"Derive([", "is not a derivation"),
        (b"Derive([],[])", "is not a derivation"),
        (b"DrvWithVersion()", "has version None, which this program does not know"),
        (b'DrvWithVersion("xp-2030",[],[])', "has version 'xp-2030', which this program does not know"),
        pytest.param(_derive("[" * 100_000), "is not a derivation", id="deep"),
        (_derive("[(1,[])]"), "is not a derivation"),
        (_derive('[("x",[1])]'), "is not a derivation"),
        (_derive(environment='[("version",1)]'), "is not a derivation"),
        (_derive(outputs="[(1,2,3,4)]"), "is not a derivation"),
        (_derive(f'[("{LIB}",(["out"],[("out",["out"])]))]'), f"derivations that only {LIB} will make"),
    ],
)
def test_what_cannot_be_read_is_said(data: bytes, said: str) -> None:
    """A derivation of a newer Nix, or a damaged one, would be a traceback in a preview."""
    with pytest.raises(UnknownDerivation, match=said) as raised:
        parse(AT, data)
    assert AT in str(raised.value)


def test_damaged_attributes_are_said() -> None:
    """A damaged derivation would be a traceback in a preview."""
    found = parse(AT, _derive(environment='[("__json","{")]'))
    with pytest.raises(UnknownDerivation, match="its __json is not JSON"):
        _ = found.attributes


def test_a_file_that_was_cut_short_is_read_once() -> None:
    """After a full disk, a preview would hang for hours: each quote in the text would be tried as its beginning."""
    quotes = r"\"" * 200_000
    whole = _derive(environment=f'[("buildCommand","{quotes}")]')
    with pytest.raises(UnknownDerivation, match="is not a derivation"):
        parse(AT, whole[:-4])
