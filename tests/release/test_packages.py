"""The package lines of a preview."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.release.packages import changes

MANIFESTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), min_size=1)


def test_each_kind_of_change_has_its_own_line() -> None:
    """A reviewer could not tell an upgrade from an addition or a removal."""
    before = {"busybox": "1.35.0-4", "kernel": "6.1", "y": "2"}
    after = {"busybox": "1.36.1-1", "kernel": "6.1", "x": "1"}
    assert changes(before, after) == ["busybox 1.35.0-4 → 1.36.1-1", "+ x 1", "- y 2"]


def test_without_a_manifest_there_is_nothing_to_compare() -> None:
    """The first release, or an image without a manifest, would show every package as added or removed."""
    assert changes({}, {"a": "1"}) == []
    assert changes({"a": "1"}, {}) == []


@given(MANIFESTS, MANIFESTS)
def test_the_lines_lead_from_one_manifest_to_the_other(before: dict[str, str], after: dict[str, str]) -> None:
    """A change would be missing from the preview, or shown wrongly."""
    result = dict(before)
    for line in changes(before, after):
        match line.split(" "):
            case ["+", name, version]:
                assert name not in result
                result[name] = version
            case ["-", name, version]:
                assert result.pop(name) == version
            case [name, old, "→", new]:
                assert result[name] == old
                result[name] = new
    assert result == after
