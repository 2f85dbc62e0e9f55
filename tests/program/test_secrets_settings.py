"""The settings of sealed secrets: short forms, limits, and what does not fit together, all told at once."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.secrets.sealing import STACK, Sealing
from tests.program.test_settings import GOOD, read

KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OPS = "arn:aws:iam::111122223333:role/team/ops"


@pytest.mark.parametrize(
    ("given", "sealing"),
    [
        (None, None),
        (False, None),
        (True, Sealing(STACK)),
        ({}, Sealing(STACK)),
        ({"attested": True}, Sealing(STACK, attested=True)),
        ({"kms_key": KEY}, Sealing(KEY)),
        ({"retire": True}, None),
        ({"retire": True, "kms_key": KEY, "editors": [OPS]}, Sealing(KEY)),
    ],
)
def test_the_settings_say_how_new_releases_are_sealed(given: object, sealing: Sealing | None) -> None:
    """Releases would have the wrong key, or none at all with `secrets: true`."""
    secrets = read(**({} if given is None else {"secrets": given})).secrets
    assert (secrets.sealing if secrets is not None else None) == sealing


def test_the_defaults_are_the_longest_wait_and_a_year() -> None:
    """A key that was deleted by mistake would be gone in a week; KMS's own default is 30 days and 365 days."""
    secrets = read(secrets=True).secrets
    assert secrets is not None
    assert (secrets.deletion_window, secrets.rotation_period, secrets.replica_regions) == (30, 365, ())


@pytest.mark.parametrize(
    ("secrets", "told"),
    [
        ("maybe", "fleetswap:secrets: must be an object"),
        ({"keys": 1}, "fleetswap:secrets.keys is not a setting"),
        ({"deletion_window": 6}, "fleetswap:secrets.deletion_window: must be 7 or more"),
        ({"deletion_window": 31}, "fleetswap:secrets.deletion_window: must be 30 or less"),
        ({"rotation_period": 89}, "fleetswap:secrets.rotation_period: must be 90 or more"),
        ({"rotation_period": 2561}, "fleetswap:secrets.rotation_period: must be 2560 or less"),
        ({"editors": ["*"]}, "fleetswap:secrets.editors[0]: must be the ARN of an IAM role"),
        ({"editors": [OPS[:-3] + "*"]}, "fleetswap:secrets.editors[0]: must be the ARN of an IAM role"),
        ({"editors": ["arn:aws:iam::111122223333:group/ops"]}, "fleetswap:secrets.editors[0]: must be"),
        ({"editors": [OPS, OPS]}, f"fleetswap:secrets.editors: names {OPS} twice"),
        ({"editors": [OPS.replace("aws", "aws-cn", 1)]}, "fleetswap:secrets.editors[0]: is an ARN of partition aws-cn"),
        ({"kms_key": "alias/web"}, "fleetswap:secrets.kms_key: must be the ARN of a KMS key"),
        ({"kms_key": KEY.replace("us-east-1", "eu-west-1")}, "is not of region us-east-1, as it must be"),
        ({"kms_key": KEY, "editors": [OPS], "rotation_period": 90}, "secrets.editors: is for the stack's own key"),
        ({"kms_key": KEY, "editors": [OPS], "rotation_period": 90}, "secrets.rotation_period: is for the stack's own"),
        ({"replica_regions": ["eu"]}, "fleetswap:secrets.replica_regions[0]: must be an AWS Region"),
        ({"replica_regions": ["us-east-1"]}, "fleetswap:secrets.replica_regions[0]: us-east-1 is the stack's own"),
        ({"replica_regions": ["cn-north-1"]}, "cn-north-1 is not in partition aws"),
        ({"replica_regions": ["eu-west-1", "eu-west-1"]}, "names eu-west-1 twice"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(secrets: object, told: str) -> None:
    """KMS would refuse it when the network is there already, or the key be another than was asked for."""
    with pytest.raises(InputError) as caught:
        read(secrets=secrets)
    assert told in str(caught.value)


def test_all_that_is_wrong_is_told_together() -> None:
    """Each wrong setting would take an update of its own to find."""
    wrong: dict[str, Any] = {"kms_key": KEY.replace("us-east-1", "eu-west-1")}
    with pytest.raises(InputError) as caught:
        read(
            secrets=wrong, image={**GOOD["image"], "boot_test": True}, front={"listener_arn": None, "sources": ["::/0"]}
        )
    told = str(caught.value)
    assert "fleetswap:secrets.kms_key" in told
    assert "fleetswap:image.boot_test: is set, and a boot test has no KMS" in told
    assert "fleetswap:front.sources" in told


def test_a_boot_test_goes_with_releases_that_have_no_secrets() -> None:
    """Whoever turns secrets off could not test images meanwhile."""
    assert read(secrets={"retire": True}, image={**GOOD["image"], "boot_test": True}).image.boot_test is not None
