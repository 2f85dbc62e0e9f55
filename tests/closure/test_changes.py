"""What changes from one image to the next."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.closure.changes import (
    BUILD_TOOLS,
    Changes,
    Names,
    Package,
    Source,
    annotated,
    compare,
    of_packages,
)
from fleetswap.domain.closure.kinds import Group, Kind, sort
from fleetswap.domain.closure.model import Closure, Component
from tests.closure.conftest import Derived
from tests.closure.store import path

DERIVED = Source.DERIVATIONS


def test_another_version_is_shown_and_what_it_rebuilds_is_counted(nixos: Derived) -> None:
    """One library that everything refers to would bury what changed under what was only rebuilt."""
    assert compare(nixos(), nixos(openssl="3.6.1")) == Changes(
        DERIVED, moved=(Package("openssl", ("3.6.0",), ("3.6.1",)),), rebuilt=("curl", "web"), because=("openssl",)
    )


def test_the_same_image_has_no_changes(nixos: Derived) -> None:
    """A reviewer would read of changes where there are none."""
    assert compare(nixos(), nixos()).is_empty


def test_a_kernel_is_not_a_package(nixos: Derived) -> None:
    """What reboots into another kernel would stand among a hundred packages, and each module would seem to be new."""
    found = compare(nixos(), nixos(kernel="6.12.60"))
    assert found.kernel == (Package("linux", ("6.12.58",), ("6.12.60",)),)
    assert (found.moved, found.changed, found.added, found.removed) == ((), (), (), ())
    assert (found.rebuilt, found.because) == (("ena",), ("linux",))
    assert found.files == Names(), "the initrd has the version of its kernel in its name"


def test_a_kernel_that_is_configured_otherwise_is_changed(nixos: Derived) -> None:
    """Another configuration of the same version would be a rebuild for no reason."""
    found = compare(nixos(), nixos(kernelConfig="EROFS_FS_ZIP_ZSTD y"))
    assert found.changed == (Package("linux", ("6.12.58",), ("6.12.58",)),)
    assert (found.kernel, found.moved, found.files) == ((), (), Names())


def test_parameters_of_the_kernel_are_shown(nixos: Derived) -> None:
    """A machine would start with others than its reviewer has seen."""
    assert compare(nixos(), nixos(parameters="panic=10 quiet")).files == Names(changed=("boot.json",))


def test_the_number_of_a_stage_of_the_boot_is_no_version() -> None:
    """A package `stage` would come and go with the scripts of NixOS."""
    before, after = (
        Closure("", exact=False, components={at: Component(at, "stage", "2", own=seed)})
        for seed in ("1", "2")
        for at in (path("stage-2-init.sh", seed),)
    )
    found = compare(before, after)
    assert (found.changed, found.files) == ((), Names(changed=("stage-2-init.sh",)))


def test_sources_of_ones_own_change_without_a_version(nixos: Derived) -> None:
    """A deploy of another commit of the application would show nothing, or only a rebuild."""
    found = compare(nixos(), nixos(webSource="two"))
    assert found.changed == (Package("web", ("1.4.1",), ("1.4.1",)),)
    assert (found.rebuilt, found.units) == ((), Names())


def test_a_patch_is_a_change_and_a_cause(nixos: Derived) -> None:
    """A security patch without a new version would be a rebuild for no reason."""
    found = compare(nixos(), nixos(glibcPatch="2"))
    assert found.changed == (Package("glibc", ("2.40-66",), ("2.40-66",)),)
    assert (len(found.rebuilt), found.because) == (5, ("glibc",))


def test_another_compiler_is_named_as_the_cause(nixos: Derived) -> None:
    """Everything would be rebuilt for no reason, or each package would seem to be changed."""
    found = compare(nixos(), nixos(gcc="15.2.0"))
    assert (found.moved, found.changed, found.because) == ((), (), (BUILD_TOOLS,))
    assert {"glibc", "curl", "web"} <= set(found.rebuilt)


def test_units_come_go_and_change_by_name(nixos: Derived) -> None:
    """A service that is new, gone, switched off or has another environment would not be seen."""
    assert compare(nixos(worker="no"), nixos()).units == Names(added=("worker.service",))
    assert compare(nixos(), nixos(worker="no")).units == Names(removed=("worker.service",))
    assert compare(nixos(), nixos(worker="off")).units == Names(changed=("worker.service",))
    assert compare(nixos(), nixos(environment="PORT=1")).units == Names(changed=("web.service",))


def test_a_unit_is_not_changed_by_what_it_starts(nixos: Derived) -> None:
    """Each new version of a library would list every unit of the machine."""
    assert compare(nixos(), nixos(openssl="3.6.1", web="1.4.2")).units == Names()


def test_another_release_of_nixos_is_shown(nixos: Derived) -> None:
    """The move to another NixOS would not be seen."""
    found = compare(nixos(), nixos(label="26.05.1"))
    assert found.moved == (Package("NixOS", ("25.11.20251101",), ("26.05.1",)),)


def component(
    name: str, version: str = "", *references: str, seed: str = "", own: str = "", size: int = 1
) -> Component:
    at = path(f"{name}-{version}" if version else name, seed)
    return Component(at, name, version, references=references, own=own, size=size)


def closure(*components: Component, exact: bool = True) -> Closure:
    return Closure(components[0].path, exact, {each.path: each for each in components})


def test_several_versions_of_a_package_are_shown_together() -> None:
    """With two versions in an image, one of them would hide what becomes of the other; 3.10 comes after 3.9."""
    before = closure(component("root"), component("ssl", "1.1"), component("ssl", "3.9"))
    after = closure(component("root"), component("ssl", "3.10"), component("ssl", "3.9"))
    assert compare(before, after).moved == (Package("ssl", ("1.1", "3.9"), ("3.9", "3.10"), (2, 2)),)


def test_sizes_are_those_of_all_outputs_and_of_all_paths() -> None:
    """The growth of an image would be wrong by what only one output has."""
    before = closure(component("root", size=5), component("a", "1", size=10), component("a", "1", seed="lib", size=7))
    after = closure(component("root", size=5), component("a", "2", size=30))
    found = compare(before, after)
    assert (found.moved, found.size) == ((Package("a", ("1",), ("2",), (17, 30)),), (22, 35))
    unknown = Closure(
        after.root, exact=True, components={k: replace(v, size=None) for k, v in after.components.items()}
    )
    assert compare(before, unknown).size is None
    assert compare(before, unknown).moved == (Package("a", ("1",), ("2",)),)


def test_of_real_closures_the_change_is_where_nothing_below_changed() -> None:
    """From what is in a store alone, every rebuilt package would seem to be changed, or none."""

    def image(libc_seed: str) -> Closure:
        libc = component("glibc", "2.40", seed=libc_seed)
        curl = component("curl", "8", libc.path, seed=libc_seed)
        unit = component("unit-web.service", "", curl.path, seed=libc_seed)
        return closure(component("root", "", unit.path, seed=libc_seed), unit, curl, libc)

    found = compare(image("1"), image("2"))
    assert found.source is Source.STORE
    assert found.changed == (Package("glibc", ("2.40",), ("2.40",), (1, 1)),)
    assert (found.rebuilt, found.because, found.units) == (("curl",), ("glibc",), Names())


def test_a_real_closure_learns_from_its_derivations(nixos: Derived) -> None:
    """Of an image that is built, less would be said than before it was: whether a unit's own text changed."""

    def real(derived: Closure) -> Closure:
        components = {path: replace(each, own="", size=1) for path, each in derived.components.items()}
        return Closure(derived.root, exact=True, components=components)

    before, after = nixos(), nixos(openssl="3.6.1", environment="PORT=1")
    assert compare(real(before), real(after)).units == Names()
    found = compare(annotated(real(before), before), annotated(real(after), after))
    assert (found.source, found.units) == (Source.STORE, Names(changed=("web.service",)))


def test_files_without_a_version_are_named_and_lists_of_them_are_not() -> None:
    """Each change of anything would show `etc` and `system-units`, which only list the others."""
    before = closure(component("etc", own="1"), component("etc-motd", own="1"), component("unit-script-a", own="1"))
    after = closure(component("etc", seed="2", own="2"), component("etc-motd", seed="2", own="2"), component("etc-new"))
    assert compare(before, after).files == Names(added=("etc-new",), changed=("etc-motd",))


def test_what_an_author_declares_is_compared_by_version() -> None:
    """An image that is not of NixOS would show no changes at all."""
    found = compare(
        of_packages({"busybox": "1.35", "kernel": "6.1", "y": "2"}),
        of_packages({"busybox": "1.36", "kernel": "6.1", "x": "1"}),
    )
    assert found == Changes(
        Source.PACKAGES,
        moved=(Package("busybox", ("1.35",), ("1.36",)),),
        added=(Package("x", (), ("1",)),),
        removed=(Package("y", ("2",), ()),),
    )


MANIFESTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), min_size=1)


@given(MANIFESTS, MANIFESTS)
def test_the_changes_lead_from_one_image_to_the_other(before: dict[str, str], after: dict[str, str]) -> None:
    """A change would be missing, or shown wrongly."""
    found = compare(of_packages(before), of_packages(after))
    result: dict[str, tuple[str, ...]] = {name: (version,) for name, version in before.items()}
    for each in (*found.moved, *found.added, *found.removed):
        assert result.pop(each.name, ()) == each.before
        if each.after:
            result[each.name] = each.after
    assert result == {name: (version,) for name, version in after.items()}


def test_another_output_is_not_a_rebuild() -> None:
    """A whole new output, such as headers, would be counted as rebuilt, because of what it is built with."""
    ssl, tools = component("ssl", "3", own="s"), component("ssl", "3", seed="bin", own="s")
    before, after = closure(component("root"), ssl), closure(component("root"), ssl, tools)
    for found in (compare(before, after), compare(after, before)):
        assert (found.changed, found.rebuilt) == ((Package("ssl", ("3",), ("3",), found.changed[0].size),), ())


def test_any_version_has_its_place() -> None:
    """An image's author writes what they like: a long number would be a traceback, equal ones a change by chance."""
    long = "9" * 5000
    found = compare(of_packages({"a": long}), of_packages({"a": f"1{long}"}))
    assert found.moved == (Package("a", (long,), (f"1{long}",)),)
    versions = ["1.1", "1.01", "1.001", "01.1"]
    both = [
        closure(component("root"), *(component("a", each) for each in order)) for order in (versions, versions[::-1])
    ]
    assert compare(*both).is_empty
    # Each process orders its sets in another way.
    assert sort(both[0])[Kind(Group.PACKAGE, "a")].versions == ("01.1", "1.001", "1.01", "1.1")


def test_what_is_named_after_a_kernel_changes_with_it() -> None:
    """Each update of the kernel would be told three times; or another initial RAM disk not at all."""

    def machine(kernel: str, own: str = "1") -> Closure:
        linux = component("linux", kernel, own="1")
        initrd = component("initrd-linux", kernel, linux.path, seed=own, own=own)
        return closure(component("root"), linux, initrd, component("kernel-modules", seed=kernel, own=own))

    found = compare(machine("6.12.58"), machine("6.12.60", "2"))
    assert found == Changes(Source.STORE, kernel=found.kernel, size=found.size)
    assert [each.name for each in found.kernel] == ["linux"]
    assert compare(machine("6.12.58"), machine("6.12.58", "2")).files == Names(changed=("initrd-linux",))
