"""What is compared, of what is known of two images."""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.closure.changes import Source
from fleetswap.domain.closure.known import Known, between
from fleetswap.domain.closure.model import Closure
from tests.closure.conftest import Derived
from tests.closure.test_changes import closure, component

OLD, NEW = closure(component("disk-a", own="1"), exact=False), closure(component("disk-b", own="2"), exact=False)
PACKAGES = {"busybox": "1"}


def real(derived: Closure) -> Closure:
    components = {path: replace(each, own="", size=1) for path, each in derived.components.items()}
    return Closure(derived.root, exact=True, components=components)


def source(before: Known, after: Known) -> Source | None:
    found = between(before, after)
    return None if found is None else found.source


def test_only_like_is_compared_with_like(nixos: Derived) -> None:
    """What is only needed to build would be shown as added, because the image that is live was read from its store."""
    both = Known(real(nixos()), nixos())
    assert source(both, Known(derived=nixos())) is Source.DERIVATIONS
    assert source(both, both) is Source.STORE
    assert source(Known(real(nixos())), Known(derived=nixos())) is None
    assert source(Known(), both) is None


def test_an_author_knows_more_of_an_image_that_is_not_of_nixos(nixos: Derived) -> None:
    """The demo would show the scripts that make its disk, and not its packages; a NixOS machine only a few of them."""
    assert source(Known(derived=OLD, packages=PACKAGES), Known(derived=NEW, packages=PACKAGES)) is Source.PACKAGES
    assert source(Known(derived=OLD), Known(derived=NEW, packages=PACKAGES)) is Source.DERIVATIONS
    machine = Known(derived=nixos(), packages=PACKAGES)
    assert source(machine, machine) is Source.DERIVATIONS
    # The first NixOS machine after another image: the packages of both are the only likeness.
    assert source(Known(packages=PACKAGES), machine) is Source.PACKAGES


def test_a_built_image_says_what_a_unit_was_made_from(nixos: Derived) -> None:
    """With sizes, a reviewer would lose what was changed."""
    before, after = nixos(), nixos(openssl="3.6.1", environment="PORT=1")
    found = between(Known(real(before), before), Known(real(after), after))
    assert found is not None
    assert (found.units.changed, found.size is None) == (("web.service",), False)
