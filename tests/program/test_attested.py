"""Attested releases as the program declares them: which of them the policy of the key lets in, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from tests.program.declared import Program
from tests.program.test_sealed_secrets import KEY, TPM, before, disks, of, program, statements

__all__ = ["disks"]

ON: dict[str, Any] = {"secrets": {"attested": True}, "image": TPM}
OFF: dict[str, Any] = {"secrets": True, "image": TPM}


def let_in(found: Program, key: str = "arn:web") -> dict[str, str]:
    """PCR 4 of the attested releases that a key's policy lets in, and "plain" if it lets in others as well."""
    seen = {}
    for sid, each in statements(found, key).items():
        if each["Action"] != ["kms:Decrypt"]:
            continue
        equals = each["Condition"]["StringEquals"]
        assert equals["kms:EncryptionContext:Environment"] == "fleetswap/local"
        assert each["Principal"]["AWS"] == ["arn:web-machines"]
        if sid == "MachinesOpen":
            seen["plain"] = ""
        else:
            assert equals["kms:RecipientAttestation:NitroTPMPCR12"] == "00", "a changed argument of the kernel"
            seen[sid] = bytes.fromhex(equals["kms:RecipientAttestation:NitroTPMPCR4"]).decode()
    return seen


def live(found: Program) -> str:
    return str(found.outputs["live"])


def test_the_policy_lets_in_exactly_what_has_machines(disks: list[Path]) -> None:
    """An old image could be started by anybody to read today's secrets; or the standby could not start again."""
    first = program(disks[0], **ON)
    assert list(let_in(first).values()) == [live(first)]
    second = program(disks[1], first, **ON)
    assert set(let_in(second).values()) == {live(first), live(second)}
    third = program(disks[2], second, **ON)
    assert set(let_in(third).values()) == {live(second), live(third)}
    assert live(first) in of(third, "DiskImage"), "it is retained, without machines"
    back = program(disks[2], third, **ON, release=live(first))
    assert set(let_in(back).values()) == {live(first), live(third)}


def test_nothing_changes_in_an_update_that_changes_nothing(disks: list[Path]) -> None:
    """Each deploy would be followed by a change that nobody asked for."""
    second = program(disks[1], program(disks[0], **ON), **ON)
    again = program(disks[1], second, **ON)
    assert of(again, "KeyStatements") == of(second, "KeyStatements")


def test_no_machine_boots_before_it_is_let_in(disks: list[Path]) -> None:
    """The first machines would fail their health check, or wait for the policy until their deadline."""
    found = program(disks[0], **ON)
    assert before(found.one("Group")) >= {f"KeyStatements {live(found)}", "RolePolicy web-machines"}
    assert found.one("DiskImage").inputs["attested"] is True
    assert "attested" not in program(disks[0], **OFF).one("DiskImage").inputs


def test_a_release_lets_in_itself_and_the_key_its_people(disks: list[Path]) -> None:
    """A statement would stay when its release goes, or the account be locked out of the key when one goes."""
    found = program(disks[1], program(disks[0], **ON), **ON)
    by_name = {each.name: each for each in found.of("KeyStatements")}
    for name, each in by_name.items():
        assert (each.options.retain_on_delete is True) is (name == "web-account")
        if name != "web-account":
            (only,) = each.inputs["statements"]
            assert only["Sid"] == f"AttestedMachinesOf{name.replace('-', '')}"


def test_the_live_release_opens_its_secrets_until_it_is_gone(disks: list[Path]) -> None:
    """To turn attestation on or off would take the secrets of the live release and of the standby away."""
    plain = program(disks[0], **OFF)
    on = program(disks[0], plain, **ON)
    assert set(let_in(on)) == {"plain", f"AttestedMachinesOf{live(on).replace('-', '')}"}
    both = program(disks[1], on, **ON)
    assert set(let_in(both).values()) == {live(on), live(both)}
    off = program(disks[1], both, **OFF)
    assert set(let_in(off).values()) == {"", live(both)}
    assert set(let_in(program(disks[2], off, **OFF))) == {"plain"}


def test_replicas_let_in_the_same(disks: list[Path]) -> None:
    """In another region, any image could open the secrets, or none."""
    found = program(disks[0], secrets={"attested": True, "replica_regions": ["eu-west-1"]}, image=TPM)
    assert let_in(found, "arn:web-eu-west-1") == let_in(found)
    assert {f"KeyStatements {live(found)}", f"KeyStatements {live(found)}-eu-west-1"} <= before(found.one("Group"))


def test_the_policy_of_an_existing_key_cannot_say_it(disks: list[Path]) -> None:
    """Any image with the role could open the secrets, although the settings say otherwise."""
    with pytest.raises(InputError, match=r"secrets\.attested: is for the stack's own key"):
        program(disks[0], secrets={"attested": True, "kms_key": KEY}, image=TPM)


def test_the_ledger_remembers_what_was_measured(disks: list[Path]) -> None:
    """Nobody could say which measurements a release has without its snapshot."""
    first = program(disks[0], **ON)
    (entry,) = first.outputs["ledger"]["entries"]
    assert dict(entry["image"]["measured"])["4"] == live(first).encode().hex()
    second = program(disks[1], first, **ON)
    assert [dict(each["image"]["measured"])["4"] for each in second.outputs["ledger"]["entries"]] == [
        live(second).encode().hex(),
        live(first).encode().hex(),
    ]
    assert "measured" not in program(disks[0], **OFF).outputs["ledger"]["entries"][0]["image"]
