"""An attested stack: each release opens its secret with the measurements of its own image, before and after a rollback.

Whoever deploys has the printed policies. The stack is its own, and so the order of its tests.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.stack import ROOT, LocalStack

pytestmark = [pytest.mark.e2e, pytest.mark.go, pytest.mark.timeout(2400)]

PCR4 = "kms:RecipientAttestation:NitroTPMPCR4"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack whose key opens for attested machines alone."""
    folder = tmp_path_factory.mktemp("attested")
    program = folder / "fleetswap-key-service"
    subprocess.run([ROOT / "nix/key-service/build", program], check=True, timeout=500)
    stack = LocalStack(folder, has_users=True, has_secrets=True, capacity={"min": 1, "max": 2})
    image = stack.config["fleetswap:image"]
    image["nix"]["args"]["keyService"] = str(program)
    stack.set(image={**image, "ami": {"tpm_support": "v2.0"}}, secrets={"attested": True})
    yield stack
    stack.run("down")


def admitted(stack: LocalStack) -> set[str]:
    """PCR 4 of the images that the policy of the stack's key lets in. Without attestation nobody is."""
    kms = stack.client("kms")
    (key,) = (
        each["TargetKeyId"]
        for each in kms.list_aliases()["Aliases"]
        if each["AliasName"].startswith("alias/fleetswap/")
    )
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    openers = [each for each in policy["Statement"] if "kms:Decrypt" in str(each["Action"])]
    return {each["Condition"]["StringEquals"][PCR4] for each in openers}


def test_each_release_is_admitted_while_it_has_machines(fleet: LocalStack) -> None:
    """A machine could not open its secret, an old image still could, or a rollback would end at a closed door."""
    seen: list[set[str]] = []
    for version in ("1", "2"):
        assert fleet.run("up", version=version).status == 0
        assert fleet.serves(version)
        assert fleet.get("secret").startswith("i-")
        seen.append(admitted(fleet))
    first, second = seen
    assert len(first) == 1
    assert first < second, "and not what goes with a third release: tests/program/test_attested.py"
    assert len(second) == 2
    assert fleet.run("rollback").status == 0
    assert fleet.serves("1")
    assert fleet.get("secret").startswith("i-")
    assert admitted(fleet) == second
