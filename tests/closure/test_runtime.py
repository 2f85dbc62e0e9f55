"""What a machine will need at run time, out of its derivations."""

from __future__ import annotations

import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.closure.derivation import UnknownDerivation
from fleetswap.domain.closure.model import Closure
from fleetswap.domain.closure.runtime import derive, is_system
from tests.closure.conftest import Derived
from tests.closure.store import Store, output, path


def named(closure: Closure) -> dict[str, str]:
    """Versions by name."""
    return {each.name: each.version for each in closure.components.values()}


def test_a_machine_is_what_runs_and_not_what_builds_it(nixos: Derived) -> None:
    """Compilers, sources, patches and the tools of the image would be shown as packages of the machine."""
    found = nixos()
    assert is_system(found)
    assert not found.exact
    assert {name: version for name, version in named(found).items() if version} == {
        "nixos-system-web": "25.11.20251101",
        "linux": "6.12.58",
        "initrd-linux": "6.12.58",
        "ena": "2.15.0-6.12.58",
        "linux-firmware": "20251111",
        "systemd": "258.2",
        "glibc": "2.40-66",
        "openssl": "3.6.0",
        "curl": "8.17.0",
        "bash-interactive": "5.3p3",
        "web": "1.4.1",
    }


def test_references_lead_from_the_machine_to_each_package(nixos: Derived) -> None:
    """What contains a package, and why, could not be said."""
    found = nixos()
    seen, waiting = {found.root}, [found.root]
    while waiting:
        for each in found.components[waiting.pop()].references:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    assert seen == set(found.components)
    app = next(each for each in found.components.values() if each.name == "web")
    assert {found.components[each].name for each in app.references} == {"openssl", "bash-interactive"}


def test_who_builds_against_a_package_refers_to_its_library(nixos: Derived) -> None:
    """Headers would be listed in place of the library that is loaded."""
    outputs = {(each.name, each.output) for each in nixos().components.values()}
    assert ("openssl", "out") in outputs
    assert {"dev", "man"}.isdisjoint(output for _, output in outputs)
    assert {("linux", "out"), ("linux", "modules"), ("glibc", "bin")} <= outputs


@pytest.mark.nix
def test_a_build_says_no_less(tmp_path: Path) -> None:
    """What a derivation leads to would be missing although the built output refers to it."""
    expression = tmp_path / "default.nix"
    expression.write_text(
        """
        let
          make = name: text: derivation {
            inherit name text; system = builtins.currentSystem; builder = "/bin/sh";
            args = [ "-c" "echo $text > $out" ];
          };
          lib = make "lib-1.0" "nothing";
          tool = make "tool-1.0" "nothing";
        in make "app-1.0" "${lib} ${tool} ${builtins.toFile "settings" "none"}"
        """
    )
    options = ["--option", "sandbox", "false", "--option", "build-users-group", ""]
    made = subprocess.run(["nix-instantiate", str(expression)], capture_output=True, text=True, check=True)
    at = made.stdout.strip()
    subprocess.run(["nix-store", *options, "--realise", at], capture_output=True, text=True, check=True)
    found = derive(at, lambda each: Path(each).read_bytes())
    real = subprocess.run(["nix-store", "-qR", found.root], capture_output=True, text=True, check=True).stdout.split()
    assert set(found.components) == set(real)


def test_a_tool_of_a_build_counts_where_a_machine_has_it(nixos: Derived) -> None:
    """Who puts jq or Perl on a machine would not find it in a preview, because NixOS's own scripts run them as well."""
    assert named(nixos(extra="1.8.1"))["jq"] == "1.8.1"
    store = Store()
    perl, python = (store.add(name, {"stdenv": ""}) for name in ("perl-5.42.0", "python3-3.13.9"))
    script = store.add(
        "report", {"stdenv": "", "buildCommand": f"echo {output(python)}/bin/python3 > $out"}, inputs=[python]
    )
    top = store.add(
        "system-path",
        {"stdenv": "", "pathsToLink": "/bin", "pkgs": f"{output(perl)} {output(script)}", "buildCommand": "run"},
        inputs=[perl, script],
    )
    assert {"perl", "python3", "report"} <= named(derive(top, store.reads)).keys()


def test_a_patch_that_is_made_of_paths_is_what_it_is_made_from() -> None:
    """Each rebuild of what a patch names (replaceVars) would be another patch, and its package changed."""

    def own(rebuilt: str, text: str) -> str:
        store = Store()
        tool = store.add("util-linux-2.41", {"stdenv": "", "of": rebuilt}, seed=rebuilt)
        patch = store.add(
            "fix.patch", {"stdenv": "", "src": text, "tool": output(tool)}, inputs=[tool], seed=rebuilt + text
        )
        top = store.add(
            "lvm2-2.03", {"stdenv": "", "patches": f"{output(patch)} {path('other.patch')}"}, inputs=[patch]
        )
        found = derive(top, store.reads)
        assert {*named(found)} == {"lvm2"}, "a patch is not there at run time"
        return found.components[found.root].own

    assert own("once", "a") == own("twice", "a") != own("once", "b")


def test_a_package_named_as_a_kernel_keeps_what_it_refers_to() -> None:
    """What a package such as linux-gpib needs would be missing."""
    store = Store()
    library = store.add("libusb-1.0.29", {"stdenv": ""})
    top = store.add("linux-gpib-4.3.7", {"stdenv": "", "buildInputs": output(library)}, inputs=[library])
    assert "libusb" in named(derive(top, store.reads))


def test_only_what_is_needed_is_read() -> None:
    """A preview would read the whole build graph, down to the first compiler."""
    store = Store()
    gcc = store.add("gcc-14", {})
    lib = store.add("lib-1", {"version": "1"})
    app = store.add(
        "app-1",
        {"stdenv": output(gcc), "nativeBuildInputs": output(gcc), "buildInputs": output(lib), "also": output(lib)},
        inputs=[gcc, lib],
    )
    assert set(named(derive(app, store.reads))) == {"app", "lib"}
    assert store.read == {app: 1, lib: 1}


def test_a_graph_may_be_deep() -> None:
    """An image with a long chain of dependencies would end in a RecursionError."""
    store = Store()
    below = store.add("link-0", {})
    for number in range(1, 3000):
        below = store.add(f"link-{number}", {"below": output(below)}, inputs=[below])
    assert len(derive(below, store.reads).components) == 3000


def test_the_work_grows_with_the_derivations() -> None:
    """With many packages that refer to many, a preview would take minutes: each is read once, and split once."""
    store = Store()
    made: list[str] = []
    for number in range(300):
        environment = {"buildInputs": " ".join(map(output, made))}
        made.append(store.add(f"package-{number}", environment, inputs=made))
    assert len(derive(made[-1], store.reads).components) == 300
    assert set(store.read.values()) == {1}


def test_lists_of_a_closure_are_followed() -> None:
    """An image that names its machine only in exportReferencesGraph would seem to be empty."""
    store = Store()
    system = store.add("nixos-system-web-25.11", {})
    other = store.add("nixos-system-rescue-25.11", {"of": output(system)}, inputs=[system])
    info = store.add(
        "image", {"exportReferencesGraph": f"closure {output(system)}", "b": output(other)}, inputs=[system, other]
    )
    assert derive(info, store.reads).root == output(system)


def test_what_stands_behind_a_path_is_no_part_of_it() -> None:
    """A path at the end of a sentence, or before a `=`, would not be found."""
    store = Store()
    lib = store.add("lib-1.0", {})
    sources = [path("settings"), path("other.drv")]
    text = f"see {output(lib)}. {sources[0]}=x {sources[1]}!out {path('unknown')}"
    app = store.add("app-1.0", {"text": text}, inputs=[lib], sources=sources)
    assert named(derive(app, store.reads)) == {"app": "1.0", "lib": "1.0", "settings": ""}


def test_without_stdenv_arguments_and_builder_count() -> None:
    """Of a plain derivation, which names its parts in its arguments, nothing would be known."""
    store = Store()
    tool, script = store.add("tool-1", {}), path("builder.sh")
    plain = store.add("app-1", {"builder": script}, args=["-c", output(tool)], inputs=[tool], sources=[script])
    assert set(named(derive(plain, store.reads))) == {"app", "tool", "builder.sh"}


def test_a_derivation_that_is_gone_is_said() -> None:
    """After a garbage collection, a preview would show all that is missing as removed."""
    store = Store()
    lib = store.add("lib-1", {})
    app = store.add("app-1", {"lib": output(lib)}, inputs=[lib])
    del store.files[lib]
    with pytest.raises(UnknownDerivation, match=f"{lib} cannot be read .No such file or directory.: if it was garbage"):
        derive(app, store.reads)


def test_without_store_paths_nothing_is_guessed() -> None:
    """Of content-addressed derivations, whose paths only a build shows, all packages would seem to be gone."""
    store = Store()
    app = store.add("app-1", {})
    store.files[app] = store.files[app].replace(output(app).encode(), b"")
    with pytest.raises(UnknownDerivation, match="has no store path before it is built"):
        derive(app, store.reads)


def _own(store: Store, at: str) -> str:
    return derive(at, store.reads).components[output(at)].own


def test_what_is_only_rebuilt_is_made_from_the_same() -> None:
    """A package would seem to be changed because one that it refers to was, or the compiler."""
    store = Store()
    owns = set()
    for seed in ("1", "2"):
        gcc, lib = store.add("gcc-14", {}, seed=seed), store.add(f"lib-{seed}", {}, seed=seed)
        environment = {"stdenv": output(gcc), "nativeBuildInputs": output(gcc), "lib": f"{output(lib)}/lib"}
        owns.add(_own(store, store.add("app-1", environment, inputs=[gcc, lib], seed=seed)))
    assert len(owns) == 1


@pytest.mark.parametrize("attribute", ["src", "patches", "text"])
def test_another_source_is_another_package(attribute: str) -> None:
    """A change of an application's sources would be counted as a rebuild, with no cause."""
    store = Store()
    owns = set()
    for seed in ("1", "2"):
        fetched, source = store.add("src.tar.gz", {}, fixed="ff", seed=seed), path("source", seed)
        environment = {"stdenv": "", attribute: f"{output(fetched)} source"}
        owns.add(_own(store, store.add("app-1", environment, inputs=[fetched], seed=seed)))
        owns.add(_own(store, store.add("app-1", {"stdenv": "", attribute: source}, sources=[source], seed=f"s{seed}")))
    assert len(owns) == 4


def test_the_text_of_a_derivation_is_not_kept() -> None:
    """A machine of derivations with long build scripts would take more memory than a runner of CI has."""
    store = Store()
    app = store.add("app-1", {"script": "x" * 1_000_000})
    for number in range(2, 40):
        app = store.add(f"app-{number}", {"script": "x" * 1_000_000, "below": output(app)}, inputs=[app])
    tracemalloc.start()
    try:
        assert len(derive(app, store.reads).components) == 39
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 15_000_000, "that of a few, while they are read"


@given(st.data())
def test_a_damaged_file_is_said(data: st.DataObject) -> None:
    """A byte that a disk has lost would be a traceback in a preview."""
    store = Store()
    lib = store.add("lib-1", {"__json": '{"version":"1"}'}, outputs=["out", "dev"])
    app = store.add("app-1", {"version": "1", "lib": output(lib, "dev")}, inputs=[lib], args=["-c"])
    damaged = data.draw(st.sampled_from([lib, app]))
    content = bytearray(store.files[damaged])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 5))] = data.draw(
        st.sampled_from([b"", b'"', b"[", b"1", b"\\", b"\xff"])
    )
    store.files[damaged] = bytes(content)
    with suppress(UnknownDerivation):
        assert derive(app, store.reads).root
