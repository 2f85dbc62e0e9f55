"""The settings of further regions: what is laid over those of the stack, and how what is wrong is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap_pulumi.parse import parse
from fleetswap_pulumi.settings import Settings

CERTIFICATE = "arn:aws:acm:{}:111122223333:certificate/1234abcd"
HERE, THERE = (CERTIFICATE.format(region) for region in ("eu-central-1", "eu-west-1"))


def read(regions: Any, aws: dict[str, str] | None = None, **values: Any) -> Settings:
    given = {"service": "web", "image": ".#web", "regions": regions, **values}
    raw = {key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in given.items()}
    return parse(raw, region="eu-central-1", aws=aws)


def problems(regions: Any, aws: dict[str, str] | None = None, **values: Any) -> list[str]:
    with pytest.raises(InputError) as refused:
        read(regions, aws, **values)
    head, _, told = str(refused.value).partition(", nothing was changed: ")
    assert head == "the settings of the stack are not valid"
    return told.split("; ")


def test_a_region_takes_what_it_does_not_set_from_the_stack() -> None:
    """A region would lose a setting of the stack beside one that it overrides, or mix two lists into one."""
    settings = read(
        {"eu-west-1": {"capacity": {"min": 3}, "machine": {"instance_types": ["m7i.large"]}}},
        capacity={"min": 2, "max": 5},
        machine={"instance_types": ["c7i.large", "c7a.large"], "root_gib": 9},
    )
    there = settings.elsewhere["eu-west-1"]
    assert (there.region, there.service, there.image) == ("eu-west-1", "web", settings.image)
    assert (there.capacity.min, there.capacity.max, settings.capacity.min) == (3, 5, 2)
    assert (there.machine.types_for("x86_64"), there.machine.root_gib) == (("m7i.large",), 9)


def test_null_takes_a_setting_of_the_stack_away() -> None:
    """A region without the certificate of the stack could not be said at all."""
    front = {"certificate_arn": HERE, "idle_timeout": 30}
    there = read({"eu-west-1": {"front": {"certificate_arn": None}}}, front=front).elsewhere["eu-west-1"]
    assert (there.front.certificate_arn, there.front.idle_timeout) == (None, 30)


def test_a_region_comes_after_the_home_region_unless_it_says_otherwise() -> None:
    """A release would reach all regions at once where nobody asked for that."""
    assert read({"eu-west-1": {}, "us-east-1": None}).waves == {"eu-central-1": 1, "eu-west-1": 2, "us-east-1": 2}
    given = read({"eu-west-1": {"wave": 1}, "us-east-1": {}}, wave=3)
    assert given.waves == {"eu-central-1": 3, "eu-west-1": 1, "us-east-1": 4}


def test_all_that_is_wrong_is_told_together_by_its_path() -> None:
    """A user would correct the settings of one region, and meet the next error in the next preview."""
    assert problems(
        {
            "eu-west-1": {"capacity": {"max": 1}, "frnot": {}},
            "us-east-1": {"wave": 0},
            "Europe": {},
            "eu-central-1": {},
        },
        front={"certificate_arn": HERE},
        retention={"images": -1},
    ) == [
        "fleetswap:retention.images: must be 0 or more, not -1",
        "fleetswap:regions.us-east-1.wave: must be 1 or more, not 0",
        "fleetswap:regions.Europe: must be an AWS Region such as us-east-1, not 'Europe'",
        "fleetswap:regions.eu-west-1.capacity.max: 1 is less than min (2)",
        "fleetswap:regions.eu-west-1.front.certificate_arn: " + f"{HERE} is not of region eu-west-1, as it must be",
        "fleetswap:regions.eu-west-1.frnot is not a setting (docs/reference/settings.md lists them)",
        "fleetswap:regions.us-east-1.front.certificate_arn: " + f"{HERE} is not of region us-east-1, as it must be",
        "fleetswap:regions.eu-central-1: is the stack's own region: remove it, or change aws:region",
    ]


def test_what_makes_it_one_service_is_the_same_everywhere() -> None:
    """Two regions would serve different images as one release."""
    (image, service) = problems({"eu-west-1": {"image": ".#other", "service": "shop"}})
    assert service == "fleetswap:regions.eu-west-1.image: is the same in all regions: set it for the stack"
    assert image == "fleetswap:regions.eu-west-1.service: is the same in all regions: set it for the stack"


def test_two_regions_do_not_share_what_is_of_one() -> None:
    """One local cloud would get two fleets; one record would point now to one region, now to the other."""
    assert problems({"eu-west-1": {}}, endpoint="http://127.0.0.1:1") == [
        "fleetswap:regions.eu-west-1.endpoint: http://127.0.0.1:1 is fleetswap:endpoint, and a local cloud stands for"
        " one region"
    ]
    front = {"domain": {"name": "shop.example.com", "zone": "example.com"}, "certificate_arn": HERE}
    (told,) = problems({"eu-west-1": {"front": {"certificate_arn": THERE}}}, front=front)
    assert told.startswith("fleetswap:regions.eu-west-1.front.domain.name: shop.example.com is fleetswap:front.domain")
    own = {"front": {"certificate_arn": THERE, "domain": {"name": "eu.shop.example.com", "zone": "example.com"}}}
    assert read({"eu-west-1": own}, front=front).elsewhere["eu-west-1"].front.domain is not None


def test_a_region_can_be_reached_otherwise_than_the_stack() -> None:
    """The fleet of a region could not be in an account of its own."""
    there = read({"eu-west-1": {"aws": {"profile": "west"}}}, {"profile": "home", "maxRetries": "3"}).elsewhere[
        "eu-west-1"
    ]
    assert (there.aws.access.profile, there.aws.access.max_retries) == ("west", 3)
    (told,) = problems({"eu-west-1": {"aws": {"colour": "red"}}})
    assert told.startswith("fleetswap:regions.eu-west-1: aws:colour: is not a setting")


def test_a_retired_region_is_not_asked_for_settings_that_it_does_not_need() -> None:
    """A region could not be given up without settings for a fleet that goes."""
    settings = read({"eu-west-1": {"retire": True}}, front={"certificate_arn": HERE})
    assert not settings.elsewhere
    assert settings.regions["eu-west-1"].retire


@pytest.mark.parametrize("given", [True, "true", "yes", 1])
def test_a_region_is_retired_however_that_is_written(given: Any) -> None:
    """The setting would be taken for true in one place and not in the other, and the region deployed."""
    settings = read({"eu-west-1": {"retire": given}})
    assert settings.regions["eu-west-1"].retire
    assert not settings.elsewhere


@pytest.mark.parametrize("given", ["x", {"eu-west-1": 3}, {"eu-west-1": {"wave": "late"}}, {"eu-west-1": {"aws": "x"}}])
def test_nonsense_is_refused(given: Any) -> None:
    """A typing error would end in a traceback, or in no region at all."""
    assert all(each.startswith("fleetswap:regions") for each in problems(given))


def test_a_region_has_secrets_only_with_a_key_of_its_own() -> None:
    """Machines of a region would boot with secrets that no key there opens."""
    assert problems({"eu-west-1": {}}, secrets={"file": "secrets/prod.yaml"}) == [
        "fleetswap:regions.eu-west-1.secrets: the stack's own key is of the home region: set `kms_key` to a key of"
        " eu-west-1, or `secrets` to false"
    ]
    keys = [f"arn:aws:kms:{region}:111122223333:key/mrk-{'0' * 32}" for region in ("eu-central-1", "eu-west-1")]
    there = read({"eu-west-1": {"secrets": {"kms_key": keys[1]}}}, secrets={"kms_key": keys[0]}).elsewhere["eu-west-1"]
    assert there.secrets is not None
    assert there.secrets.kms_key == keys[1]
    without = read({"eu-west-1": {"secrets": False}}, secrets={"file": "secrets/prod.yaml"})
    assert without.elsewhere["eu-west-1"].secrets is None


def test_the_settings_of_the_regions_are_not_a_setting() -> None:
    """A user could put settings past the checks."""
    with pytest.raises(InputError, match="fleetswap:elsewhere is not a setting"):
        read({}, elsewhere={})
