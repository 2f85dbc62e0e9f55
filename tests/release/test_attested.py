"""A preview says which attested releases may open secrets after the update, and which no longer."""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.release.attested import changes
from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.release.plan import Retention, plan
from fleetswap.domain.secrets.sealing import STACK, Sealing
from tests.release.test_ledger import MACHINE, entry
from tests.release.test_plan import NOW

ATTESTED = replace(MACHINE, secrets=Sealing(STACK, attested=True))
MEASURED = (("4", "ab" * 48), ("12", "00" * 48))


def told(ledger: Ledger, wanted: Entry) -> str | None:
    return changes(ledger, plan(ledger, wanted, retention=Retention(1), max_size=4, now=NOW))


def test_a_preview_says_who_comes_and_who_goes() -> None:
    """Nobody would see in a review that an update changes who may read the secrets."""
    old, live, new = (entry(str(number), machine=ATTESTED) for number in (1, 2, 3))
    stands = Ledger(live=live.release, standby=old.release, entries=(live, old))
    assert told(stands, new) == (
        f"by the policy of the stack's key, machines of {new.release} (its measurements are computed after the build)"
        f" may open secrets, and machines of {old.release} may no longer open secrets once the rollout is done"
    )
    assert told(stands, live) is None, "nothing changes"
    assert told(stands, old) is None, "both have machines already"
    plain = entry("4")
    assert told(stands, plain) == (
        f"by the policy of the stack's key, machines of {old.release} may no longer open secrets once the rollout is"
        " done"
    )


def test_a_retained_release_comes_back_with_what_is_known_of_it() -> None:
    """The reviewer could not compare the values with those that were reviewed before."""
    old, live = (entry(str(number), machine=ATTESTED) for number in (1, 2))
    ledger = Ledger(live=live.release, entries=(live, old)).measuring({old.release: dict(MEASURED), live.release: None})
    assert told(ledger, old) == (
        f"by the policy of the stack's key, machines of {old.release} (PCR 4 abababababab…) may open secrets"
    )
    assert ledger.entry(old.release).image.measured == MEASURED
    assert ledger.entry(live.release).image.measured == ()
