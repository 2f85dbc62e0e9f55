"""The key and the encryption context of an environment."""

from __future__ import annotations

import re

from fleetswap.domain.secrets.sealing import alias, encryption_context


def test_two_environments_have_two_contexts() -> None:
    """The machines of staging could open what was sealed for production."""
    assert encryption_context("fleetswap/prod") == {"Environment": "fleetswap/prod"}
    assert encryption_context("fleetswap/staging") != encryption_context("fleetswap/prod")


def test_an_alias_is_one_that_kms_takes() -> None:
    """CreateAlias would refuse the name of a project that Pulumi accepts, half-way through the first deploy."""
    assert alias("fleetswap/prod") == "alias/fleetswap/fleetswap/prod"
    assert re.fullmatch(r"alias/[A-Za-z0-9/_-]+", alias("shop.example_1/eu west"))
