"""The KMS keys of releases: their state before the first resource, and their ARNs for what needs them.

A key of the stack's own has an ARN when it is made. What an update before made is in the stack outputs, so that a key
that someone disabled or deleted is asked about although a refresh may have dropped it from the state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi

from fleetswap.domain.errors import InputError
from fleetswap.domain.release.default_key import (
    EbsDefault,
    KeyAccess,
    launch_role,
    launched_with,
    may_launch,
    refusal,
    unknown,
    unseen,
)
from fleetswap.domain.release.keys import needs, used_by
from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.release.plan import Plan
from fleetswap.domain.secrets.key_state import KeyState, Need, Use, judge
from fleetswap.domain.secrets.sealing import STACK
from fleetswap_pulumi.secrets_plan import OUTPUT as SECRETS
from fleetswap_pulumi.volume_key import OUTPUT as VOLUME_KEY


class Keys(Protocol):
    """What KMS says of keys; implemented by `fleetswap.aws.keys.Keys`."""

    def state(self, arn: str) -> KeyState:
        """The state of a key. One that does not exist or may not be described, and no answer, are states as well."""

    def ebs_default(self) -> EbsDefault:
        """How EBS encrypts what names no key, or why that is unknown."""

    def access(self, arn: str, role: str) -> KeyAccess:
        """What a key's policy and grants say of a role, or why that is unknown."""


def check_keys(decided: Plan, ledger: Ledger, outputs: Mapping[str, Any], keys: Keys, account: str) -> None:
    """Refuse a deploy whose machines could not start because of a key, and warn of what other releases need.

    The account's default key for EBS, and whether EC2 Auto Scaling may launch with the keys of volumes and snapshots,
    are asked about only for a release that has no machines yet. The wanted release may be live or the standby, whose
    machines run: then it is only a warning, and the rollout looks again whether they do.
    `outputs` are those of the last update. Raises `InputError` with all that is wrong.
    """
    secrets, volumes = outputs.get(SECRETS) or {}, outputs.get(VOLUME_KEY)
    own = {Use.SECRETS: secrets.get("stack_key"), Use.VOLUMES: volumes, Use.SNAPSHOTS: volumes}
    needed = [*needs((*decided.running, *decided.kept), own)]
    wanted = decided.wanted.release
    launches = wanted not in {ledger.live, ledger.standby}
    default = keys.ebs_default() if launches and EbsDefault(by_default=True).encrypts(decided.wanted) else EbsDefault()
    default_key = default.key_of(decided.wanted)
    if default_key is not None:
        needed.append(Need(default_key, Use.DEFAULT, wanted))
    states = {arn: keys.state(arn) for arn in dict.fromkeys(need.arn for need in needed)}
    found = judge(needed, states, wanted, launches=launches)
    refused, warnings = [*found.refused], [*found.warnings, *([unknown(default.told)] if default.told else [])]
    for key, use in launched_with(decided.wanted, default).items() if launches else ():
        if states[key].is_known and not states[key].works:
            continue
        role = launch_role(key, account)
        access = keys.access(key, role)
        allowed = may_launch(access, role)
        if allowed is None:
            warnings.append(unseen(key, access.told, use))
        elif not allowed:
            refused.append(refusal(key, role, use))
    for warning in warnings:
        pulumi.log.warn(warning)
    if refused:
        raise InputError(f"nothing was changed: {'; '.join(refused)}")


@dataclass(frozen=True)
class OwnKeys:
    """The ARNs of the stack's own keys, where it has them."""

    secrets: pulumi.Input[str] | None = None
    volumes: pulumi.Input[str] | None = None

    def of(self, entry: Entry) -> list[pulumi.Input[str]]:
        """The ARNs of the keys that a release needs, each once, that of the secrets first."""
        return [arn for arn, _ in dict.fromkeys((self._named(use, key), key) for use, key in used_by(entry))]

    def _named(self, use: Use, key: str) -> pulumi.Input[str]:
        arn = key if key != STACK else self.secrets if use is Use.SECRETS else self.volumes
        if arn is None:
            raise ValueError(f"no key of the stack's own is declared to {use}")
        return arn


def in_one_line(arns: Sequence[pulumi.Input[str]]) -> pulumi.Output[str]:
    """ARNs as the tag `fleetswap:keys` has them."""
    return pulumi.Output.all(*arns).apply(" ".join)
