"""What brings a package into a closure."""

from __future__ import annotations

import pytest

from fleetswap.domain.closure.exact import exact
from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.closure.why import in_closure, in_packages
from tests.image.test_manifest import store_path

TOP, PATH, WEB, SSL, OLD, LIBC = (
    store_path(row, name)
    for row, name in enumerate(("system-1", "path-1", "nginx-1.28.0", "openssl-3.6.1", "openssl-1.1.1w", "glibc-2.40"))
)
CLOSURE = exact(
    TOP,
    [
        {"path": TOP, "references": [PATH, WEB]},
        {"path": PATH, "references": [WEB, OLD, LIBC]},
        {"path": WEB, "references": [SSL, LIBC]},
        {"path": SSL, "references": [LIBC]},
        {"path": OLD, "references": [LIBC]},
        {"path": LIBC, "references": []},
    ],
    {},
)


def ways(package: str, version: str = "*", closure: Closure = CLOSURE) -> list[list[str]]:
    return [[f"{one.name}-{one.version}" for one in each.via] for each in in_closure(closure, package, version)]


@pytest.mark.parametrize(
    ("package", "version", "found"),
    [
        ("openssl", "*", [["system-1", "path-1", "openssl-1.1.1w"], ["system-1", "nginx-1.28.0", "openssl-3.6.1"]]),
        ("openssl", "3.6.1", [["system-1", "nginx-1.28.0", "openssl-3.6.1"]]),
        ("openssl", "3.6", []),
        ("openssl", "3.*", [["system-1", "nginx-1.28.0", "openssl-3.6.1"]]),
        ("open*", "1.1.1?", [["system-1", "path-1", "openssl-1.1.1w"]]),
        ("OpenSSL", "*", []),
        ("glibc", "*", [["system-1", "nginx-1.28.0", "glibc-2.40"]]),
        ("system", "*", [["system-1"]]),
    ],
)
def test_each_version_is_found_by_a_shortest_way(package: str, version: str, found: list[list[str]]) -> None:
    """Somebody would remove the wrong package, or miss an old version beside a new one."""
    assert ways(package, version) == found


def test_a_circle_and_what_the_top_does_not_need_are_no_trouble() -> None:
    """A closure of outputs that refer to each other would be walked for ever; a path that nothing needs be blamed."""
    one, two, apart = (
        Component(TOP, "system", "1", references=(PATH,)),
        Component(PATH, "path", "1", references=(TOP, WEB)),
        Component(SSL, "openssl", "3.6.1"),
    )
    closure = Closure(TOP, exact=False, components={each.path: each for each in (one, two, apart)})
    assert ways("*", closure=closure) == [["system-1", "path-1"], ["system-1"]]


def test_a_list_of_packages_has_no_ways() -> None:
    """An image without a closure would never be found to contain anything."""
    (found,) = in_packages({"openssl": "3.6.1", "nginx": "1.28.0"}, "openssl", "3.*")
    assert (found.name, found.version, found.via) == ("openssl", "3.6.1", ())
