"""What a provider's `check` says of wrong inputs: each by its key, before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.output import Unknown

from fleetswap.domain.errors import InputError
from fleetswap_pulumi import disk_image, rollout
from fleetswap_pulumi.checks import ProviderInputs, check_failures, path_of
from tests.states.old import V0_1


def inputs(kind: str) -> dict[str, Any]:
    """The inputs of the first resource of a kind in a state of version 0.1."""
    found = [each["inputs"] for each in V0_1.resources() if each["type"].endswith(f"/fleetswap:{kind}")]
    return dict(found[0])


ROLLOUT, DISK_IMAGE = (rollout.Inputs, inputs("Rollout")), (disk_image.Inputs, inputs("DiskImage"))


@pytest.mark.parametrize(
    ("of", "wrong", "told"),
    [
        (ROLLOUT, {}, []),
        (ROLLOUT, {"live": "web-gone"}, [("live", "no target is given for release web-gone")]),
        (
            ROLLOUT,
            {"sides": [{"release": "web-1"}]},
            [("sides[0].group", "is missing"), ("sides[0].target_group", "is missing")],
        ),
        (ROLLOUT, {"trusted": "maybe"}, [("trusted", "must be true or false, not 'maybe'")]),
        (DISK_IMAGE, {}, []),
        (DISK_IMAGE, {"nix": None}, [("nix", "give exactly one of `nix` and `file`")]),
        (DISK_IMAGE, {"file": "web.raw"}, [("nix", "give exactly one of `nix` and `file`")]),
        (
            DISK_IMAGE,
            {"nix": {"expression": "a", "args": {}, "options": {}, "x": 1}},
            [("nix.x", "there is no such key")],
        ),
        (
            DISK_IMAGE,
            {"shipping": {"samples": -1, "x": 1}},
            [("shipping.samples", "must be 0 or more, not -1"), ("shipping.x", "there is no such key")],
        ),
    ],
)
def test_wrong_inputs_are_refused_by_their_keys(
    of: tuple[type[ProviderInputs], dict[str, Any]], wrong: dict[str, Any], told: list[tuple[str, str]]
) -> None:
    """A preview would look well, and the update end in a traceback, maybe after half the fleet was made."""
    model, good = of
    failures = check_failures(model, {**good, **wrong})
    assert [(failure.property, failure.reason) for failure in failures] == told


def test_what_a_preview_does_not_know_is_not_judged() -> None:
    """The first preview of every stack would fail: target groups have no ARN before they exist."""
    unknown = Unknown()  # type: ignore[no-untyped-call] # Pulumi does not annotate it
    sides = [{**side, "group": unknown, "target_group": unknown} for side in ROLLOUT[1]["sides"]]
    assert check_failures(rollout.Inputs, {**ROLLOUT[1], "url": unknown, "sides": sides}) == []


def test_a_state_of_a_newer_version_is_refused_in_one_line() -> None:
    """`pulumi destroy` with an older version would end in pages of pydantic's, which say nothing of versions."""
    model, good = ROLLOUT
    with pytest.raises(InputError) as caught:
        model.of({**good, "policy": {**good["policy"], "newer": 1}})
    assert str(caught.value) == (
        "this version of Fleetswap cannot read the inputs of the resource (policy.newer: there is no such key):"
        " use the version that deployed the stack, or a newer one"
    )


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (("policy", "strategy", "steps", 0, "weight"), "policy.strategy.steps[0].weight"),
        (("tags", "aws:x"), 'tags["aws:x"]'),
        (("tags", "cost-center"), "tags.cost-center"),
        ((), ""),
    ],
)
def test_a_path_is_what_pulumi_takes(parts: tuple[int | str, ...], path: str) -> None:
    """A user would have to guess how to name the key to `pulumi config set --path`."""
    assert path_of(parts) == path
