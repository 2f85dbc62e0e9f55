"""The reference page and the commented settings files say what the models say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetswap.domain.image.source import FlakeImage
from fleetswap_pulumi.front_settings import OWN
from fleetswap_pulumi.parse import parse
from tools.settings_reference import FILES, PAGE, Key, commented, keys, page

ROOT = Path(__file__).resolve().parents[2]


def config(text: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(text)["config"]
    return values


def test_the_page_is_what_the_models_say() -> None:
    """The reference would describe settings that do not exist, or leave out some that do. `make fmt` writes it."""
    assert page() == PAGE.read_text()


@pytest.mark.parametrize("name", FILES)
def test_the_comments_are_what_the_models_say(name: str) -> None:
    """A comment would explain a setting as it was two versions ago. `make fmt` writes them.

    Where `pulumi config set` or `fleetswap rollback` has put a value does not matter: a rollback must not make CI red.
    """
    text = (ROOT / name).read_text()
    assert sorted(prose(text)) == sorted(prose(commented(name, config(text))))


@pytest.mark.parametrize("name", FILES)
def test_the_values_are_kept(name: str) -> None:
    """`make fmt` would change what the next deployment does."""
    values = config((ROOT / name).read_text())
    values["fleetswap:rollout"] = {
        "strategy": [{"weight": 5}, {"weight": 50, "hold": 0.5}],
        "alarms": ["web: 5xx, all"],
        "errors": {"ceiling": None},
        "again": True,
    }
    values |= {"fleetswap:release": "web-1", "fleetswap:upload": {}, "fleetswap:tags": {}}
    assert config(commented(name, values)) == values


def test_every_setting_is_described() -> None:
    """A user would have to read the program to learn what a key means."""
    assert [key.path for key in every(keys()) if not re.fullmatch(r"[A-Z`].*[.]", key.description)] == []


def test_the_example_shows_every_setting_and_its_default() -> None:
    """A reader of Pulumi.prod.yaml would never learn that a setting exists, or change it by uncommenting its line."""
    text = (ROOT / "Pulumi.prod.yaml").read_text()
    given, shown = flat(config(text)), flat(config(uncommented(text)))
    defaults = flat(prefixed(parse(raw(given_only(text)), region="eu-central-1").model_dump(mode="json")))
    assert [path for path in defaults if not any(f"{line}.".startswith(f"{path}.") for line in shown)] == []
    unset = [path for path, default in defaults.items() if default in (None, [], {})]
    differ = [path for path in defaults if path not in {*given, *unset} and shown[path] != defaults[path]]
    assert differ == []


def test_the_examples_are_accepted() -> None:
    """A user would uncomment a line and be refused."""
    values = config(uncommented((ROOT / "Pulumi.prod.yaml").read_text()))
    del values["fleetswap:image"]["file"]  # a fleet has one image
    # What else is shown is of one region, as ARNs are.
    regions = {
        "fleetswap:service": "web",
        "fleetswap:image": ".#web",
        "fleetswap:regions": values.pop("fleetswap:regions"),
    }
    assert parse(raw(regions), region="eu-central-1").waves == {"eu-central-1": 1, "eu-west-1": 2}
    flake = values["fleetswap:image"]["nix"].pop("flake")
    with_boot_test = {**values["fleetswap:image"]}
    del values["fleetswap:image"]["boot_test"]  # which has no KMS
    with_key = {"kms_key": values["fleetswap:secrets"].pop("kms_key"), "file": values["fleetswap:secrets"]["file"]}
    for other in ("url", "token_env", "lambda"):  # instead of a command
        del values["fleetswap:rollout"]["hooks"][0][other]
    machine = values["fleetswap:machine"]
    attributes = {**machine, "requirements": machine.pop("requirements")}  # instead of instance types
    del attributes["instance_types"], attributes["requirements"]["exclude"]  # what is not allowed is excluded
    assert machine.pop("threads_per_core", None) is None, "it would need instance types"
    capacity = values["fleetswap:capacity"]
    assert 1 <= capacity.pop("warm_pool")["size"] <= capacity["max"], "it would need On-Demand Instances only"
    requests = {**capacity, "requests_per_target": capacity.pop("requests_per_target")}  # instead of CPU utilization
    del requests["cpu_percent"]
    region, network = values.pop("aws:region"), values["fleetswap:network"]
    front = values["fleetswap:front"]
    listener = {key: front.pop(key) for key in ("listener_arn", "priorities")}  # instead of an own load balancer
    shared = listener | {key: value for key, value in front.items() if key not in OWN}
    for domain in (front["domain"], shared["domain"]):
        domain.pop("zone_id", None)  # the zone has a name
    existing = network.pop("vpc")  # instead of a VPC of the stack's own
    (rule,) = network["egress"]
    for other in ("security_group", "prefix_list"):
        destination = {other: rule.pop(other), "ports": rule["ports"], "protocol": rule["protocol"]}
        network["egress"].append(destination)
    for ids in ("machine_subnets", "balancer_subnets"):
        vpc = _without(existing, ids, f"{ids[:-1]}_tags")
        parse(raw({**values, "fleetswap:network": {"vpc": vpc}}), region=region)
    assert parse(raw(values), region=region).rollout.probe_host == "shop.example.com"
    assert parse(raw({**values, "fleetswap:secrets": with_key}), region=region).secrets is not None
    assert parse(raw({**values, "fleetswap:capacity": requests}), region=region).capacity.requests_per_target == 500
    assert parse(raw({**values, "fleetswap:machine": attributes}), region=region).machine.requirements is not None
    without = {key: value for key, value in values.items() if key != "fleetswap:secrets"}
    assert parse(raw({**without, "fleetswap:image": with_boot_test}), region=region).image.boot_test is not None
    assert parse(raw({**values, "fleetswap:image": flake}), region=region).image.source == FlakeImage(".#web")
    vpc = {"id": existing["id"], "machine_subnets": existing["machine_subnets"]}
    values |= {"fleetswap:front": shared, "fleetswap:network": {"vpc": vpc}}
    assert parse(raw(values), region=region).front.listener_arn


def _without(vpc: dict[str, Any], ids: str, tags: str) -> dict[str, Any]:
    """With the tags of these subnets in place of their ids, and the ids of the others."""
    assert {ids, tags} < set(vpc)
    return {key: value for key, value in vpc.items() if key != ids and (key == tags or not key.endswith("_tags"))}


def every(of: tuple[Key, ...]) -> Iterator[Key]:
    for key in of:
        yield key
        yield from every(key.inner)


def uncommented(text: str) -> str:
    """The file with all its settings set, those in a block that is commented out as well."""
    parts = [part for key in every(keys()) for part in (key.name, key.path, *(key.shown if key.is_map else ()))]
    names = "|".join(map(re.escape, parts))
    before = None
    while text != before:
        before, text = text, re.sub(rf"^( *)# ( *(?:# *)*(?:- )?(?:{names}):)", r"\1\2", text, flags=re.MULTILINE)
    return text


def prose(text: str) -> list[str]:
    """The comments that are no settings."""
    return [line.strip() for line in uncommented(text).splitlines() if line.strip().startswith("#")]


def given_only(text: str) -> dict[str, Any]:
    return {key: value for key, value in config(text).items() if key != "aws:region"}


def raw(values: Mapping[str, Any]) -> dict[str, str]:
    """As the engine hands configuration over: objects as JSON, the rest as text."""
    found = {key.removeprefix("fleetswap:"): value for key, value in values.items()}
    return {key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in found.items()}


def prefixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"aws:region" if key == "region" else f"fleetswap:{key}": value for key, value in values.items()}


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Each value by its path; lists and empty objects are values."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return found
