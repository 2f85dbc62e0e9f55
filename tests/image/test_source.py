"""The two kinds of image, on their way through the ledger and the inputs of the disk image."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.domain.image.source import FileImage, FlakeImage, NixImage, from_plain, to_plain


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        (FileImage("disk.raw"), {"file": "disk.raw"}),
        (FlakeImage(".#web", {"cores": "2"}), {"nix": {"flake": ".#web", "options": {"cores": "2"}}}),
        (
            NixImage("nix/demo", {"version": "2"}, {"cores": "2"}, "image"),
            {"nix": {"expression": "nix/demo", "args": {"version": "2"}, "options": {"cores": "2"}, "attr": "image"}},
        ),
    ],
)
def test_the_plain_form_is_the_one_that_states_have(source: Any, plain: dict[str, Any]) -> None:
    """The images of the releases that run could not be made again, or would be taken for others."""
    assert to_plain(source) == plain
    assert from_plain(plain) == source


@pytest.mark.parametrize(
    "plain", [{}, {"nix": None, "file": None}, {"file": "x", "nix": {"expression": "y", "args": {}, "options": {}}}]
)
def test_an_image_has_one_source(plain: dict[str, Any]) -> None:
    """A release would be made of whichever of two sources this version happens to look at first."""
    with pytest.raises(ValueError, match="give exactly one of `nix` and `file`"):
        from_plain(plain)


@pytest.mark.parametrize(
    ("nix", "told"),
    [
        ({"options": {}}, "give exactly one of `nix.flake` and `nix.expression`"),
        ({"flake": ".#web", "expression": "x", "args": {}, "options": {}}, "give exactly one of `nix.flake`"),
        ({"flake": ".#web", "args": {"a": "1"}, "options": {}}, "`nix.args` is for `nix.expression` only"),
        ({"flake": ".#web", "attr": "a", "options": {}}, "`nix.attr` is for `nix.expression` only"),
    ],
)
def test_a_nix_image_is_a_flake_or_an_expression(nix: dict[str, Any], told: str) -> None:
    """An argument that no flake takes would be dropped without a word, or another image than the named one be made."""
    with pytest.raises(ValueError, match=told):
        from_plain({"nix": nix})
