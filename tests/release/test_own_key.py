"""The stack's own key for secrets: which releases need it, what would take it from them, and what it cannot become."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.image.info import ImageInfo
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release import own_key
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine
from fleetswap.domain.secrets.sealing import STACK, Sealing

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
MULTI = "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"
HEALTH = HealthCheck(8080, "/", "200", 5, 2, 2, 2)


def entry(release: str, sealing: Sealing | None = None, info: ImageInfo | None = None) -> Entry:
    machine = Machine(("c7i.large",), 0, 0, secrets=sealing)
    return Entry(release, Image(release, FileImage("a"), info=info or ImageInfo()), machine, HEALTH, 2)


OWN, OTHER, NONE = entry("web-1", Sealing(STACK)), entry("web-2", Sealing(KEY)), entry("web-3")


def test_only_what_is_sealed_with_it_needs_it() -> None:
    """A key would be kept for ever, or be deleted under a release."""
    assert own_key.is_needed([NONE, OTHER, OWN])
    assert not own_key.is_needed([NONE, OTHER])


def test_the_releases_that_would_lose_it_are_named() -> None:
    """Nobody would know which deploys stand in the way; or a stack without the key be refused."""
    ledger = Ledger(
        live="web-1",
        standby="web-0",
        entries=(OWN, NONE, entry("web-0", Sealing(STACK)), replace(OWN, release="web-9")),
    )
    (told,) = own_key.lost(ledger, wanted=False, retiring=False, secrets=False)
    assert "web-1 (live), web-0 (standby), web-9 (retained) need the stack's key" in told
    assert told.startswith("fleetswap:secrets: ")
    (told,) = own_key.lost(replace(ledger, entries=(OWN,), standby=None), wanted=False, retiring=False, secrets=True)
    assert "web-1 (live) needs the stack's key" in told
    assert told.startswith("fleetswap:secrets.kms_key: ")
    assert not list(own_key.lost(ledger, wanted=True, retiring=False, secrets=True))
    assert not list(own_key.lost(ledger, wanted=False, retiring=True, secrets=True))
    assert not list(own_key.lost(replace(ledger, entries=(NONE, OTHER)), wanted=False, retiring=False, secrets=False))


@pytest.mark.parametrize(
    ("info", "missing"),
    [
        (ImageInfo(tpm="v2.0"), ""),
        (ImageInfo(), "tpm_support: v2.0 in"),
        (ImageInfo(tpm="v2.0", boot_mode="uefi-preferred"), "boot_mode: uefi in"),
        (ImageInfo(boot_mode="legacy-bios"), "tpm_support: v2.0 and boot_mode: uefi in"),
    ],
)
def test_attested_machines_have_a_nitro_tpm(info: ImageInfo, missing: str) -> None:
    """EC2 gives a NitroTPM to an AMI with the boot mode `uefi` alone: no machine could ever attest itself."""
    told = "".join(own_key.unattestable(entry("web-1", Sealing(STACK, attested=True), info)))
    assert missing in told
    assert bool(told) == bool(missing)
    assert not list(own_key.unattestable(entry("web-1", Sealing(STACK), info)))
    assert not list(own_key.unattestable(entry("web-1", None, info)))


def test_a_replica_has_the_arn_of_another_region() -> None:
    """A sealed file would be refused for an entry that is right."""
    assert own_key.replica(MULTI, "eu-west-1") == MULTI.replace("us-east-1", "eu-west-1")
    assert own_key.is_multi_region(MULTI)
    assert not own_key.is_multi_region(KEY)


def test_a_key_of_one_region_cannot_be_replicated() -> None:
    """KMS would refuse it in the middle of an update."""
    (told,) = own_key.unreplicable(KEY, ["eu-west-1"])
    assert KEY in told
    assert not list(own_key.unreplicable(KEY, []))
    assert not list(own_key.unreplicable(MULTI, ["eu-west-1"]))
    assert not list(own_key.unreplicable(None, ["eu-west-1"]))


def test_a_setting_that_names_it_by_its_arn_is_refused() -> None:
    """It would be deleted under the releases of that setting."""
    settings = {"secrets.kms_key": KEY, "machine.kms_key": None, "upload.kms_key": MULTI}
    assert [each.partition(": ")[0] for each in own_key.taken_for_anothers(settings, [KEY])] == [
        "fleetswap:secrets.kms_key"
    ]
    told = list(own_key.taken_for_anothers(settings, [MULTI]))
    assert told == [
        f"fleetswap:upload.kms_key: {MULTI} is a key that this stack makes, and deletes when no release names it"
        " `stack`: set it to `stack`"
    ]
    assert not list(own_key.taken_for_anothers(settings, []))
