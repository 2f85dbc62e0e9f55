"""Changes some statements of a KMS key's policy, and waits until KMS shows the change.

Who changes a policy reads and replaces it whole, and KMS may show an older one for some moments, also after it has
shown the new one once ("Changes to AWS KMS ... might take ... several minutes", KMS developer guide, "AWS KMS eventual
consistency"). So a change waits until it is seen several times in a row, and the next one of this process begins with a
policy that shows all those before it: otherwise it would write back what one of them has just removed.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Protocol

from fleetswap.domain.errors import CloudError, Invalid, NotFound
from fleetswap.domain.secrets import own_statements
from fleetswap.domain.secrets.own_statements import Statement
from fleetswap.workflows.clock import Clock, SystemClock

PATIENCE_SECONDS = 120.0
"""How long a new principal, or the change itself, is waited for."""

LOOK_SECONDS = 2.0

TIMES = 5
"""How often in a row a change must be seen, as terraform-provider-aws wants it (internal/service/kms/key.go)."""

_ONE_AT_A_TIME = threading.Lock()
_DONE: defaultdict[str, dict[str, list[Statement]]] = defaultdict(dict)
"""What this process has made of each statement, by key and `Sid`: one, or none if it was removed. Without principals:
KMS shows those that are deleted meanwhile by another name."""


class Policies(Protocol):
    """The policy of one key. `NotFound` if the key is gone, `Invalid` if its state or the policy does not allow it."""

    def read(self) -> str:
        """The policy, as JSON."""

    def is_doomed(self) -> bool:
        """Whether the key waits for its deletion, and can still be restored."""

    def write(self, policy: str) -> None:
        """Replace it. `Invalid` also for a principal that KMS does not know yet."""


def change(
    port: Policies, ours: Collection[str], wanted: Sequence[Statement], key: str, *, clock: Clock | None = None
) -> None:
    """Make the statements with these `Sid`s the wanted ones. Nothing is written if they are, so a repeat is harmless.

    A role that was just created is unknown to KMS for some seconds: it is waited for. Raises `NotFound` if the key is
    gone, `CloudError` if KMS refuses.
    """
    clock = clock or SystemClock()
    with _ONE_AT_A_TIME:
        until, done, row, wrote = clock.now() + PATIENCE_SECONDS, _DONE[key], 0, False
        while row < TIMES:
            shown = port.read()
            policy = own_statements.written(shown, ours, wanted)
            known = all(own_statements.same(_apart(shown, sid), made) for sid, made in done.items())
            if known and policy is None:
                row += 1
                continue
            row = 0
            if policy is not None and known and not wrote:
                for sid in (changed := {*ours, *own_statements.sids(wanted)}):
                    done.pop(sid, None)  # of a write that ends in an error it is not known
                try:
                    port.write(policy)
                except Invalid as error:
                    if clock.now() >= until:
                        raise _refused(error, wanted) from error
                else:
                    # Of all: a statement that named only who was deleted has gone as well.
                    done.update({sid: _apart(policy, sid) for sid in changed | done.keys()})
                    wrote = True
                    continue
            elif clock.now() >= until:
                raise CloudError(
                    f"the policy of key {key} was changed, but KMS still shows the old one: run again in some minutes"
                )
            clock.sleep(LOOK_SECONDS)


def _apart(policy: str, sid: str) -> list[Statement]:
    """A statement of a policy without its principals."""
    return [{**each, "Principal": ""} for each in own_statements.of(policy, [sid])]


def _refused(error: Invalid, wanted: Sequence[Statement]) -> Invalid:
    """With what KMS leaves out: which principals it may mean. A machines' role exists, as this update has made it."""
    named = own_statements.principals(wanted)
    if not named:
        return error
    return Invalid(f"{error}: {', '.join(named)} must exist: correct fleetswap:secrets.editors, and run again")


def remove(port: Policies, ours: Collection[str], key: str, *, clock: Clock | None = None) -> None:
    """Remove the statements with these `Sid`s, unless the key is gone.

    One that waits for its deletion keeps them: it opens nothing, and who restores it needs it as it was. A refresh
    drops such a key from the state, and the next update makes another one and deletes what belongs to this one, while
    the live release still needs it.
    """
    try:
        if port.is_doomed():
            return
        change(port, ours, [], key, clock=clock)
    except NotFound:
        return
