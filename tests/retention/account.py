"""An account in memory that stacks deploy to: what `fleetswap gc` finds there, and what would break if it erred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.release.ledger import Entry, Image, Ledger
from fleetswap.domain.release.plan import Retention, plan
from fleetswap.domain.retention.things import Kind, Stack, Survey, Thing
from tests.release.test_plan import HEALTH, MACHINE, SOURCE


@dataclass
class Account:
    """One region. It refuses what AWS refuses, and nothing else: a wrong deletion succeeds."""

    now: datetime
    things: dict[str, Thing] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    """Instances and their AMIs."""
    denied: bool = False
    name: str = "us-east-1"
    _number: int = 0

    def make(self, kind: Kind, **values: object) -> str:
        self._number += 1
        name = f"{kind.name.lower()}-{self._number}"
        made = replace(Thing(kind, self.name, name, made=self.now), **values)  # type: ignore[arg-type]
        self.things[made.id] = made
        return made.id

    def survey(self) -> Survey:
        return Survey(self.name, tuple(self.things.values()))

    def holders(self, thing: Thing, dying: frozenset[str]) -> tuple[str, ...]:
        if self.denied:
            raise CloudError("access denied")
        if thing.id not in self.things:
            raise NotFound(f"{thing} does not exist")
        used = [each.id for each in self.things.values() if thing.id in each.uses and each.id not in dying]
        return (*used, *(each for each, image in self.instances.items() if image == thing.id))

    def delete(self, thing: Thing, *, snapshots: bool) -> Sequence[tuple[str, str]]:
        if thing.kind is Kind.SNAPSHOT and any(thing.id in each.uses for each in self.things.values()):
            raise CloudError("an AMI uses it")
        gone = self.things.pop(thing.id)
        told = []
        for each in gone.uses if snapshots and gone.kind is Kind.IMAGE else ():
            if any(each in other.uses for other in self.things.values()):
                told.append((each, "skipped"))
            else:
                del self.things[each]
                told.append((each, ""))
        return told


@dataclass
class Fleet:
    """A stack: its ledger, and its state as the engine keeps it."""

    name: str
    account: Account
    ledger: Ledger = field(default_factory=Ledger)
    state: dict[str, dict[str, str]] = field(default_factory=dict)
    """The IDs of each release's snapshot, AMI and launch template."""
    unread: bool = False

    def known(self) -> Stack:
        if self.unread:
            return Stack(self.name, unread="access denied")
        ids = frozenset(id_ for made in self.state.values() for id_ in made.values())
        return Stack(self.name, (self.ledger,), ids)

    def deploy(self, image: int, retention: Retention, *, dies_at: int = 99, adopts: str | None = None) -> None:
        """An update. It dies after so many steps, before the state has the last; `adopts` is another's snapshot."""
        wanted = Entry(f"web-{image:08x}", Image(f"/nix/store/{image}", SOURCE), MACHINE, HEALTH, max_size=4)
        decided = plan(self.ledger, wanted, retention=retention, max_size=4, now=self.account.now)
        steps = iter(range(99))
        declared = (*decided.running, *decided.kept)
        for entry in declared:
            made = self.state.setdefault(entry.release, {})
            if not self._make(entry, made, steps, dies_at, adopts, running=entry in decided.running):
                return
        if next(steps) >= dies_at:
            return
        self.ledger = decided.ledger
        live = self.state[decided.wanted.release]["image"]
        self.account.instances[f"i-{self.name}"] = live
        for release in [each for each in self.state if each not in {entry.release for entry in declared}]:
            if next(steps) >= dies_at:
                return
            self._remove(release)

    def _make(
        self,
        entry: Entry,
        made: dict[str, str],
        steps: Iterator[int],
        dies_at: int,
        adopts: str | None,
        *,
        running: bool,
    ) -> bool:
        tags = {"stack": self.name, "release": entry.release, "image": entry.image.identity}
        wanted: list[tuple[str, Kind, dict[str, object]]] = [
            ("snapshot", Kind.SNAPSHOT, {"state": "completed"}),
            ("image", Kind.IMAGE, {}),
            *([("template", Kind.TEMPLATE, {})] if running else []),
        ]
        for key, kind, more in wanted:
            if key in made and made[key] in self.account.things:
                continue
            uses = {"image": ("snapshot",), "template": ("image",)}.get(key, ())
            if key == "snapshot" and adopts in self.account.things:
                id_ = str(adopts)
            else:
                id_ = self.account.make(kind, **tags, **more, uses=tuple(made[each] for each in uses))
            if next(steps) >= dies_at:
                return False
            made[key] = id_
        return True

    def _remove(self, release: str) -> None:
        made = self.state.pop(release)
        for key in ("template", "image", "snapshot"):
            used = any(made.get(key) in each.uses for each in self.account.things.values())
            mine = self.account.things.get(made.get(key, ""))
            if mine is not None and not used and mine.stack == self.name:
                del self.account.things[mine.id]

    def needed(self) -> Mapping[str, str]:
        """What it must find: all that the releases of its ledger are made of, by ID."""
        return {id_: entry.release for entry in self.ledger.entries for id_ in self.state[entry.release].values()}


def older(account: Account, hours: float) -> None:
    """Let time pass."""
    account.now += timedelta(hours=hours)


def fail_upload(account: Account, fleet: Fleet, image: int) -> str:
    """A killed upload, which EBS has given up."""
    id_ = account.make(Kind.SNAPSHOT, stack=fleet.name, image=f"/nix/store/{image}", state="pending")
    account.things[id_] = replace(account.things[id_], state="error")
    return id_
