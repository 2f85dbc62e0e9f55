"""No sequence of deploys, failures, kills, rollbacks, promotions and collections deletes what is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fleetswap.domain.errors import CloudError
from fleetswap.domain.release.plan import Retention
from fleetswap.domain.retention.judge import judge
from fleetswap.domain.retention.things import Kind, Stack, Survey
from fleetswap.workflows.retention.collect import Done, collect, look
from tests.retention.account import Account, Fleet, fail_upload, older

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = 86_400.0
KEEPS = Retention(images=1, min_age=3600.0)


def run(account: Account, *fleets: Fleet, gone: tuple[Stack, ...] = (), min_age: float = DAY) -> list[Done]:
    """What `fleetswap gc` does, without Pulumi and AWS."""
    stacks = {each.name: each.known() for each in fleets} | {each.name: each for each in gone}
    verdicts, _ = look([account], lambda _: stacks, account.now, min_age)
    return collect([account], [each.thing for each in verdicts if each.dies], lambda _: None)


class Life(RuleBasedStateMachine):
    """Two stacks of one account; one promotes the images of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(NOW)
        self.staging, self.prod = Fleet("shop/staging", self.account), Fleet("shop/prod", self.account)
        self.fleets = {each.name: each for each in (self.staging, self.prod)}

    names = st.sampled_from(["shop/staging", "shop/prod"])
    images = st.integers(0, 5)

    @rule(name=names, image=images, dies_at=st.integers(0, 12) | st.just(99))
    def deploy(self, name: str, image: int, dies_at: int) -> None:
        """Forward or back, and perhaps only some steps of it."""
        self.fleets[name].deploy(image, KEEPS, dies_at=dies_at)

    @rule(image=images, dies_at=st.integers(0, 12) | st.just(99))
    def promote(self, image: int, dies_at: int) -> None:
        """Prod registers an AMI of its own of the snapshot that staging has sent."""
        found = [
            each.id
            for each in self.account.things.values()
            if (each.kind, each.stack, each.image) == (Kind.SNAPSHOT, "shop/staging", f"/nix/store/{image}")
        ]
        self.prod.deploy(image, KEEPS, dies_at=dies_at, adopts=next(iter(found), None))

    @rule(name=names, image=images)
    def kill_an_upload(self, name: str, image: int) -> None:
        """EBS gives it up."""
        fail_upload(self.account, self.fleets[name], image)

    @rule(hours=st.sampled_from([1.0, 25.0]))
    def wait(self, hours: float) -> None:
        """Until things are old enough to go."""
        older(self.account, hours)

    @rule(name=names)
    def lose_a_ledger(self, name: str) -> None:
        """Or get it back."""
        self.fleets[name].unread = not self.fleets[name].unread

    @rule()
    def lose_a_permission(self) -> None:
        """Or get it back."""
        self.account.denied = not self.account.denied

    @rule()
    def collect(self) -> None:
        """And what it said it deleted is gone."""
        for done in run(self.account, *self.fleets.values()):
            assert done.deleted == (done.thing.id not in self.account.things)

    @invariant()
    def what_is_needed_is_there(self) -> None:
        """What is live, and the way back, of every ledger."""
        for fleet in self.fleets.values():
            for needed, release in fleet.needed().items():
                assert needed in self.account.things, f"{needed} of {release} of {fleet.name} is gone"
        assert set(self.account.instances.values()) <= set(self.account.things)

    @invariant()
    def the_judge_alone_spares_what_is_needed(self) -> None:
        """Whatever AWS says of it afterwards."""
        stacks = {each.name: each.known() for each in self.fleets.values()}
        found = judge(list(self.account.things.values()), stacks, self.account.now + timedelta(days=99), 0)
        dying = {each.thing.id for each in found if each.dies}
        assert dying.isdisjoint(id_ for fleet in self.fleets.values() for id_ in fleet.needed())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_an_orphan_of_a_killed_update_goes_when_it_is_old() -> None:
    """It would be paid for, for ever; or be deleted under the update that made it."""
    account = Account(NOW)
    fleet = Fleet("shop/prod", account)
    fleet.deploy(1, KEEPS)
    fleet.deploy(2, KEEPS, dies_at=0)
    orphan = fail_upload(account, fleet, 3)
    assert run(account, fleet) == []
    older(account, 25)
    done = run(account, fleet)
    assert {each.thing.kind for each in done} == {Kind.SNAPSHOT}
    assert len(done) == 2
    assert all(each.deleted for each in done)
    assert orphan not in account.things
    assert len(account.things) == 3, "the live release is left"


def test_an_ami_takes_its_snapshot_along() -> None:
    """The snapshot would stay until the next run, or be deleted under an AMI that stays."""
    account = Account(NOW)
    fleet = Fleet("shop/gone", account)
    fleet.deploy(1, KEEPS)
    account.instances.clear()
    older(account, 25)
    stack = Stack("shop/gone", gone=True, named=True)
    done = run(account, gone=(stack,))
    assert [each.thing.kind for each in done] == [Kind.TEMPLATE, Kind.IMAGE, Kind.SNAPSHOT]
    assert account.things == {}


def test_what_changes_between_the_look_and_the_deletion_stays() -> None:
    """A machine that was launched in between would lose its AMI."""
    account = Account(NOW)
    fleet = Fleet("shop/gone", account)
    fleet.deploy(1, KEEPS)
    account.instances.clear()
    older(account, 25)
    stacks = {"shop/gone": Stack("shop/gone", gone=True, named=True)}
    verdicts, _ = look([account], lambda _: stacks, account.now, DAY)
    doomed = [each.thing for each in verdicts if each.dies]
    image = next(each.id for each in doomed if each.kind is Kind.IMAGE)
    account.instances["i-new"] = image
    done = {each.thing.kind: each for each in collect([account], doomed, lambda _: None)}
    assert (done[Kind.IMAGE].deleted, done[Kind.IMAGE].why) == (False, "i-new")
    assert not done[Kind.SNAPSHOT].deleted
    assert done[Kind.TEMPLATE].deleted
    assert image in account.things


def test_one_that_fails_does_not_stop_the_others_and_one_that_is_gone_is_done() -> None:
    """An error would leave all that comes after it, or a second run fail on what the first has deleted."""
    account = Account(NOW)
    fleet = Fleet("shop/prod", account)
    first, second = (fail_upload(account, fleet, number) for number in (1, 2))
    things = [account.things[first], account.things.pop(second)]
    account.denied = True
    assert [each.failed for each in collect([account], things, lambda _: None)] == [True, True]
    account.denied = False
    done = collect([account], things, lambda _: None)
    assert [each.deleted for each in done] == [True, True]
    assert done[1].why == "it was gone already"


def test_a_stack_that_may_run_in_a_region_that_cannot_be_read_is_not_gone() -> None:
    """It would lose its images here, because what runs there could not be seen."""

    class Broken(Account):
        def survey(self) -> Survey:
            raise CloudError("access denied")

    account = Account(NOW)
    fleet = Fleet("shop/gone", account)
    fleet.deploy(1, KEEPS)
    account.instances.clear()
    older(account, 25)
    stacks = {"shop/gone": Stack("shop/gone", gone=True, named=True)}
    for regions, unreached in (([account, Broken(NOW, name="eu-west-1")], []), ([account], ["eu-west-1"])):
        verdicts, _ = look(regions, lambda _: stacks, account.now, DAY, unreached)
        assert verdicts
        assert not any(each.dies for each in verdicts)


def test_a_region_that_cannot_be_read_is_told() -> None:
    """Its things would seem not to be there."""

    class Broken(Account):
        def survey(self) -> Survey:
            raise CloudError("access denied")

    verdicts, problems = look([Broken(NOW)], lambda _: {}, NOW, DAY)
    assert (verdicts, problems) == ([], ["us-east-1: access denied"])
