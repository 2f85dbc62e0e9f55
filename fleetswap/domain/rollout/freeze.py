"""A freeze: until when a service takes no new release, who says so, and why; and the one release that may pass.

It is kept in tags of the listener's rule, which belong to no resource of Pulumi. This module reads and makes the tags,
and decides whom they stop. What it cannot read counts as a freeze. It never ends a rollout that runs, and never
touches the traffic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.rollout_tags import ALLOWED, ALLOWED_REASON, FROZEN, FROZEN_REASON
from fleetswap.domain.text import one_line

ALL = (FROZEN, FROZEN_REASON, ALLOWED, ALLOWED_REASON)
"""The tags of a freeze."""

LONGEST = 90
"""Days. A freeze that someone forgets must end."""

REASON_CHARS = 256
"""Greatest length of a tag's value (ELBv2 API reference, Tag)."""

_YEARS = range(2000, 9000)
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Exemption:
    """The release that may be deployed in spite of the freeze. `since` is when it was allowed, in Unix seconds."""

    release: str
    since: float
    by: str
    reason: str = ""


@dataclass(frozen=True)
class Freeze:
    """A freeze from `since` until `until`, in Unix seconds; None is what cannot be read."""

    until: float | None
    since: float | None = None
    by: str = ""
    reason: str = ""
    allowed: Exemption | None = None

    def holds(self, now: float | None) -> bool:
        """Whether it has not ended. Without a time to compare with, it has not."""
        return self.until is None or now is None or now < self.until

    @property
    def line(self) -> str:
        """The freeze in words, for what says whose it is."""
        if self.until is None:
            return f"frozen, until nobody knows when: its tag {FROZEN} cannot be read"
        return f"frozen until {readable(self.until)} by {self.by or 'someone'}: {self.reason or 'no reason is given'}"


@dataclass(frozen=True)
class Judged:
    """What a freeze does to a rollout: `refused` is why it may not begin, `noted` why it may all the same."""

    refused: str = ""
    noted: str = ""


def judge(tags: Mapping[str, str], now: float | None, *, service: str, release: str, passes: str = "") -> Judged:
    """Whether a rollout of a release may begin. `passes` is why no freeze stops it; empty if a freeze does.

    `now` is the time in Unix seconds, None if it is not known.
    """
    freeze = read(tags)
    if freeze is None or not freeze.holds(now):
        return Judged()
    frozen, allowed = f"{service} is {freeze.line}", freeze.allowed
    if passes:
        return Judged(noted=f"{frozen}; {passes}")
    if allowed is not None and allowed.release == release:
        when = f"at {readable(allowed.since)} by {allowed.by or 'someone'}"
        return Judged(noted=f"{frozen}; {release} was allowed {when}: {allowed.reason or 'no reason is given'}")
    if freeze.until is None:
        return Judged(f"{frozen}: end it with `fleetswap unfreeze`, or write it again with `fleetswap freeze`")
    return Judged(
        f"{frozen}: wait, end it with `fleetswap unfreeze`, or let this release pass with `fleetswap unfreeze --only"
        f" {release} --reason TEXT`"
    )


def was_live(release: str) -> str:
    """Why a freeze does not stop the rollout of a trusted release."""
    return f"{release} was live before, and a freeze does not stop a rollback"


def read(tags: Mapping[str, str]) -> Freeze | None:
    """The freeze of a rule's tags, also one that has ended; None if there is none."""
    if FROZEN not in tags:
        return None
    until, since, by = _parts(tags[FROZEN])
    freeze = Freeze(_moment(until), _moment(since), one_line(by), one_line(tags.get(FROZEN_REASON, "")))
    return Freeze(freeze.until, freeze.since, freeze.by, freeze.reason, _exemption(tags, freeze))


def _exemption(tags: Mapping[str, str], freeze: Freeze) -> Exemption | None:
    """What an earlier freeze allowed, this one does not: whoever wrote it knew nothing of that."""
    release, since, by = _parts(tags.get(ALLOWED, ""))
    at = _moment(since)
    if not release or at is None or freeze.until is None or freeze.since is None or at < freeze.since:
        return None
    return Exemption(release, at, one_line(by), one_line(tags.get(ALLOWED_REASON, "")))


def frozen(freeze: Freeze) -> dict[str, str]:
    """The tags of a freeze. What it does not know is not written."""
    return {FROZEN: f"{_written(freeze.until)} {_written(freeze.since)} {freeze.by}", FROZEN_REASON: freeze.reason}


def allowed(exemption: Exemption) -> dict[str, str]:
    """The tags of an exemption."""
    value = f"{exemption.release} {_written(exemption.since)} {exemption.by}"
    return {ALLOWED: value, ALLOWED_REASON: exemption.reason}


def asked(reason: str, until: str, *, by: str, now: float) -> Freeze:
    """The freeze that someone asks for. Raises `InputError` with all that is wrong."""
    wrong: list[str] = []
    for check in (lambda: reason_of(reason), lambda: _until(until, now)):
        try:
            check()
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError("; ".join(wrong))
    return Freeze(_until(until, now), float(int(now)), one_line(by), reason_of(reason))


def exempted(freeze: Freeze | None, service: str, release: str, reason: str, *, by: str, now: float) -> Exemption:
    """The exemption that someone asks for. `freeze` is what the rule says. Raises `InputError`."""
    if not re.fullmatch(r"[\w.-]{1,64}", release, re.ASCII):
        raise InputError(f"--only {one_line(release)!r} is not a release: take its ID from the error of the update")
    if freeze is None or not freeze.holds(now):
        raise InputError(f"{service} is not frozen, so nothing keeps {release} from being deployed")
    if freeze.until is None or freeze.since is None:
        raise InputError(f"{service} is {freeze.line}: write it again with `fleetswap freeze` first")
    # Two clocks: AWS takes requests of computers that are up to 5 minutes wrong.
    return Exemption(release, max(float(int(now)), freeze.since), one_line(by), reason_of(reason))


def _until(text: str, now: float) -> float:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text.strip(), re.ASCII)
    at = now + int(found[1]) * _SECONDS[found[2]] if found else _moment(text.strip())
    if at is None:
        raise InputError(
            f"--until {one_line(text)!r} is not a time: write how long from now (90m, 2h, 3d), or ISO 8601 with a time"
            " zone (2026-12-01T08:00+01:00)"
        )
    if at <= now:
        raise InputError(f"--until {one_line(text)} is not in the future: it is {readable(now)}")
    if at > now + LONGEST * _SECONDS["d"]:
        raise InputError(f"--until {one_line(text)} is more than {LONGEST} days away: choose an earlier time")
    return float(int(at))


def reason_of(text: str) -> str:
    """A reason as it can be kept. Raises `InputError` if there is nothing to read in it, or too much."""
    found = one_line(text)
    if not any(char.isalnum() for char in found):
        raise InputError("--reason is empty: say why, for those whom it stops and for the record")
    if len(found) > REASON_CHARS:
        raise InputError(f"--reason has {len(found)} characters, and at most {REASON_CHARS} can be kept")
    return found


def readable(moment: float) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _written(moment: float | None) -> str:
    return f"{datetime.fromtimestamp(moment or 0, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _moment(text: str) -> float | None:
    """A time with a time zone, in Unix seconds; None for any other text, and for a time that no freeze can have."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None and found.year in _YEARS else None


def _parts(value: str) -> tuple[str, str, str]:
    first, second, rest = (*value.split(" ", 2), "", "", "")[:3]
    return first, second, rest
