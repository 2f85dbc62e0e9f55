"""Which attested releases an update lets open secrets, and which no longer, in words for its preview."""

from __future__ import annotations

from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.release.plan import Plan


def changes(ledger: Ledger, decided: Plan) -> str | None:
    """What changes in the policy of the stack's key, or None. `ledger` is what the last update left.

    The measurements of an image that is not built are not known yet; those of another are short for a reader.
    """
    had = {entry.release: entry for entry in ledger.entries if entry.release in {ledger.live, ledger.standby}}
    has = {entry.release: entry for entry in decided.running}
    added = [_measured(has[name]) for name in has.keys() - had.keys() if has[name].machine.attested]
    gone = [name for name in had.keys() - has.keys() if had[name].machine.attested]
    told = []
    if added:
        told.append(f"machines of {' and '.join(sorted(added))} may open secrets")
    if gone:
        told.append(f"machines of {' and '.join(sorted(gone))} may no longer open secrets once the rollout is done")
    return f"by the policy of the stack's key, {', and '.join(told)}" if told else None


def _measured(entry: Entry) -> str:
    pcrs = ", ".join(f"PCR {pcr} {value[:12]}…" for pcr, value in entry.image.measured if value.strip("0"))
    return f"{entry.release} ({pcrs or 'its measurements are computed after the build'})"
