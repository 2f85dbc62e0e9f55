"""Settings are checked whole, before anything is touched, and told with the key's name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from infra.settings import Settings, parse

ROOT = Path(__file__).resolve().parents[2]
GOOD: dict[str, Any] = {"service": "web", "image": {"nix": {"expression": "nix/demo", "args": {"version": "1"}}}}


def raw(values: dict[str, Any]) -> dict[str, str]:
    """As the engine hands configuration over: objects as JSON, the rest as text."""
    return {key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in values.items()}


def read(**changes: Any) -> Settings:
    return parse(raw({**GOOD, **changes}), region="us-east-1")


def test_defaults_are_enough() -> None:
    """A new user would have to set what has a sensible value."""
    settings = read()
    assert settings.capacity.min <= settings.capacity.max
    assert settings.listener_port == 80
    assert read(front={"certificate_arn": "arn:aws:acm:x"}).listener_port == 443


@pytest.mark.parametrize("name", ["Pulumi.local.yaml", "Pulumi.prod.yaml", "Pulumi.staging.yaml"])
def test_the_files_that_we_ship_are_read(name: str) -> None:
    """The commented example would be refused by the program that it documents."""
    config = yaml.safe_load((ROOT / name).read_text())["config"]
    region = config.pop("aws:region")
    parse(raw({key.removeprefix("fleetswap:"): value for key, value in config.items()}), region=region)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sevrice": "web"}, "fleetswap:sevrice is not a setting"),
        ({"capacity": {"mni": 2}}, "fleetswap:capacity.mni is not a setting"),
        ({"image": {}}, "fleetswap:image: give exactly one of `nix` and `file`"),
        ({"image": {"file": "a", "nix": {"expression": "b"}}}, "exactly one"),
        ({"capacity": {"min": 3, "max": 2}}, "min (3) is greater than max (2)"),
        ({"health": {"interval": 4}}, "fleetswap:health.interval"),
        ({"health": {"interval": 5, "timeout": 5}}, "must be smaller than interval"),
        ({"service": "Web_1"}, "fleetswap:service"),
        ({"network": {"cidr": "10.0.0.0/8"}}, "fleetswap:network.cidr"),
        ({"network": {"cidr": "somewhere"}}, "fleetswap:network.cidr"),
        ({"endpoint": "http://example.com"}, "fleetswap:endpoint"),
        ({"upload": {"sparse": "zeros"}}, "fleetswap:upload.sparse"),
        ({"rollout": {"strategy": "blue-green"}}, "fleetswap:rollout.strategy"),
        ({"rollout": {"strategy": [{"weight": 25}, {"weight": 5}]}}, "must ascend"),
        ({"rollout": {"strategy": [{"weight": 0}]}}, "fleetswap:rollout.strategy"),
        ({"rollout": {"report_only": ["health"]}}, "fleetswap:rollout.report_only"),
        ({"rollout": {"alarms": ["a", "a"]}}, "names one twice"),
        ({"rollout": {"alerts": "ops@example.com"}}, "fleetswap:rollout.alerts"),
        ({"rollout": {"errors": {"ceiling": 5}}}, "fleetswap:rollout.errors.ceiling"),
        ({"tags": {"aws:x": "1"}}, "fleetswap:tags"),
        ({"tags": {"fleetswap:stack": "mine"}}, "is reserved"),
        ({"region": "us-east-1"}, "use aws:region"),
        ({"machine": "{broken"}, "fleetswap:machine"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(changes: dict[str, Any], told: str) -> None:
    """A misspelt safety setting would be ignored in silence, or told without saying where."""
    with pytest.raises(InputError) as caught:
        read(**changes)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A user would mend one key a run."""
    with pytest.raises(InputError) as caught:
        read(service="", capacity={"min": 0}, nonsense="1")
    for key in ("fleetswap:service", "fleetswap:capacity.min", "fleetswap:nonsense"):
        assert key in str(caught.value)


def test_a_missing_region_is_told() -> None:
    """The region would be whatever the environment of the deploying machine says."""
    with pytest.raises(InputError, match="aws:region is missing"):
        parse(raw(GOOD), region=None)


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=12)))
def test_no_text_crashes_the_reader(values: dict[str, str]) -> None:
    """A typing error would end in a traceback instead of a line that names the key."""
    with contextlib.suppress(InputError):
        parse(values, region="us-east-1")
