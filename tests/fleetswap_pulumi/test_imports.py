"""What the process of a dynamic provider imports: each `up` and each preview starts it anew."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["rollout", "disk_image", "image_protection"])
def test_a_dynamic_provider_does_without_what_only_the_program_needs(module: str) -> None:
    """Each `up` and preview would take longer for modules that the provider never uses."""
    code = (
        f"import sys, fleetswap_pulumi.{module}\n"
        "unwanted = ('pulumi_aws', 'boto3', 'fleetswap_pulumi.settings', 'fleetswap_pulumi.capacity_settings')\n"
        "print([name for name in unwanted if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_validator_of_inputs_is_built_when_it_is_first_used() -> None:
    """Each process would build the validators of all models that it imports, which took most of their import."""
    code = (
        "from fleetswap_pulumi.rollout import Inputs\n"
        "print(Inputs.__pydantic_complete__)\n"
        "try:\n    Inputs.of({})\nexcept Exception as error:\n    print(error)\n"
        "print(Inputs.__pydantic_complete__)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, told, last = ended.stdout.splitlines()
    assert (first, last) == ("False", "True")
    assert "service: is missing" in told
