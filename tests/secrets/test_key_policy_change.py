"""Changes of a key's policy survive that KMS is late: none is lost, and none is waited for without an end."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from fleetswap.domain.errors import CloudError, Invalid, NotFound
from fleetswap.workflows import key_policy
from fleetswap.workflows.key_policy import PATIENCE_SECONDS, change, remove
from tests.fakes.ebs import FakeClock

KEY = "arn:aws:kms:us-east-1:111122223333:key/1"


@pytest.fixture(autouse=True)
def _another_process() -> None:
    key_policy._DONE.clear()


def statement(sid: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": "arn:role"}, "Action": "kms:Decrypt", "Resource": "*"}


@dataclass
class Late(FakeClock):
    """A key whose policy is shown `lag` seconds after it was written, and which knows a new role after `unknown`."""

    lag: float = 0
    unknown: float = 0
    doomed: bool = False
    shown: list[tuple[float, list[dict[str, Any]]]] = field(default_factory=lambda: [(0.0, [statement("Account")])])

    def __post_init__(self) -> None:
        super().__init__()

    def read(self) -> str:
        seen = [statements for when, statements in self.shown if when <= self.now()]
        return json.dumps({"Version": "2012-10-17", "Statement": seen[-1]})

    def is_doomed(self) -> bool:
        return self.doomed

    def write(self, policy: str) -> None:
        if self.now() < self.unknown:
            raise Invalid("Policy contains a statement with one or more invalid principals.")
        self.shown.append((self.now() + self.lag, json.loads(policy)["Statement"]))

    def names(self) -> list[str]:
        return [each["Sid"] for each in self.shown[-1][1]]


def test_no_change_is_lost_where_kms_shows_an_old_policy() -> None:
    """Two releases that go at once: the second would write the first one's permission back."""
    key = Late(lag=7)
    for sid in ("A", "B"):
        change(key, [sid], [statement(sid)], KEY, clock=key)
    assert key.names() == ["Account", "A", "B"]
    threads = [threading.Thread(target=remove, args=(key, [sid], KEY), kwargs={"clock": key}) for sid in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert key.names() == ["Account"]
    written = len(key.shown)
    change(key, ["A"], [], KEY, clock=key)
    assert len(key.shown) == written, "a repeat writes nothing"


class ManyServers(Late):
    """The same, but meanwhile old and new are shown by turns, as by one of several servers each time."""

    reads: int = 0

    def read(self) -> str:
        self.reads += 1
        late = len(self.shown) > 1 and self.shown[-1][0] > self.now()
        seen = self.shown[-2 if late and self.reads % 2 else -1][1]
        return json.dumps({"Version": "2012-10-17", "Statement": seen})


def test_no_change_is_lost_where_kms_shows_old_and_new_by_turns() -> None:
    """The live release's machines could not open their secrets any more, or those of an image that went could again."""
    key = ManyServers(lag=60)
    for sid in ("A", "B", "C"):
        change(key, [sid], [statement(sid)], KEY, clock=key)
    assert key.names() == ["Account", "A", "B", "C"]
    remove(key, ["A"], KEY, clock=key)
    change(key, ["B"], [statement("B")], KEY, clock=key)
    change(key, ["A"], [statement("A")], KEY, clock=key)
    remove(key, ["C"], KEY, clock=key)
    assert sorted(key.names()) == ["A", "Account", "B"]


def test_a_change_is_written_once() -> None:
    """KMS would be written to without a pause until it shows who was added."""
    key = Late(lag=60, shown=[(0.0, [statement("A")])])
    change(key, ["A"], [{**statement("A"), "Principal": {"AWS": ["arn:role", "arn:other"]}}], KEY, clock=key)
    assert len(key.shown) == 2


def test_a_change_does_not_begin_with_a_policy_from_before_the_last_one() -> None:
    """As above, where an old policy is shown once more after the new one had been seen in a row."""
    key = Late()
    change(key, ["A"], [statement("A")], KEY, clock=key)
    read, stale = key.read, [True]

    def old_once() -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": key.shown[0][1]}) if stale and stale.pop() else read()

    key.read = old_once  # type: ignore[method-assign]
    change(key, ["B"], [statement("B")], KEY, clock=key)
    assert key.names() == ["Account", "A", "B"]


def test_a_new_role_is_waited_for() -> None:
    """The first deploy of a stack would fail: KMS does not know the role yet that was just made."""
    key = Late(unknown=9)
    change(key, ["A"], [statement("A")], KEY, clock=key)
    assert key.names() == ["Account", "A"]


def test_what_never_comes_is_an_error() -> None:
    """A deploy would hang, or go on with machines that cannot open their secrets."""
    key = Late(unknown=2 * PATIENCE_SECONDS)
    with pytest.raises(Invalid, match=r"invalid principals.*: arn:role must exist: correct fleetswap:secrets\.editors"):
        change(key, ["A"], [statement("A")], KEY, clock=key)
    key = Late(unknown=2 * PATIENCE_SECONDS, shown=[(0.0, [statement("A"), statement("B")])])
    with pytest.raises(Invalid, match=r"invalid principals\.$"):
        remove(key, ["A"], KEY, clock=key)
    key = Late(lag=2 * PATIENCE_SECONDS)
    with pytest.raises(CloudError, match=f"the policy of key {KEY} was changed, but KMS still shows the old one"):
        change(key, ["A"], [statement("A")], KEY, clock=key)


def test_a_key_that_is_gone_has_nothing_to_remove() -> None:
    """A stack whose key somebody deleted could not be destroyed."""

    class Gone(Late):
        def read(self) -> str:
            raise NotFound("no such key")

        def is_doomed(self) -> bool:
            raise NotFound("no such key")

    remove(Gone(), ["A"], KEY)
    with pytest.raises(NotFound):
        change(Gone(), ["A"], [statement("A")], KEY)


def test_a_key_that_waits_for_its_deletion_keeps_its_policy() -> None:
    """Whoever restores it, after an update that made another one, has live machines that cannot open their secrets."""
    key = Late(doomed=True, shown=[(0.0, [statement("Account"), statement("A")])])
    remove(key, ["A"], KEY, clock=key)
    assert key.names() == ["Account", "A"]
