"""Killed at any request and run again, and two runs at once: one finished snapshot, right, and nothing unfinished."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.image.snapshots import Start
from fleetswap.workflows.image.complete import Completion
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, Held, nothing, read_back, spelled
from tests.image.uploads import upload

LETTERS = "ab0Ac"
PARENTS = "axbAc"
IDENTITY = "/nix/store/abc-image"
MARK = {"fleetswap:stack": "s", "fleetswap:image": IDENTITY}


class Killed(BaseException):
    """The process is gone: nothing after it is run."""


@pytest.fixture
def killed_means_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Killed` leaves everything as it is, as SIGKILL does."""
    real = Completion.clean_up

    def clean_up(self: Completion, first: BaseException) -> bool:
        return False if isinstance(first, Killed) else real(self, first)

    monkeypatch.setattr(Completion, "clean_up", clean_up)


@dataclass
class World:
    """An image to upload, perhaps with a parent, into a fake of its own."""

    path: Path
    content: bytes
    port: FakeSnapshots = field(default_factory=FakeSnapshots)

    def run(self, port: Any = None, *, say: Callable[[str], None] = nothing, **changes: Any) -> Uploaded:
        asked: dict[str, Any] = {"identity": IDENTITY, "stack": "s", "lineage": "web"}
        seen = port or self.port
        return upload(
            changes.pop("path", self.path),
            UploadRequest(**(asked | changes)),
            seen,
            seen,
            say,
            clock=FakeClock(),
            connections=1,
        )

    @property
    def mine(self) -> list[Held]:
        return [held for held in self.port.held.values() if MARK.items() <= held.about.tags.items()]

    def check(self, uploaded: Uploaded) -> None:
        (held,) = self.mine
        assert held.id == uploaded.snapshot_id
        assert held.about.state == "completed"
        assert not self.port.of_state("pending")
        assert read_back(held, len(self.content))[: len(self.content)] == self.content


@pytest.fixture(params=["first", "child"])
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], World]:
    """Makes a world anew: the first upload of a lineage, or one with a parent."""
    path = tmp_path / "image"
    content = spelled(path, LETTERS)
    before = tmp_path / "before"
    spelled(before, PARENTS)

    def make() -> World:
        world = World(path, content)
        if request.param == "child":
            world.run(path=before, identity="/nix/store/before", stack="t")
            world.port.calls.clear()
        return world

    return make


def failing(number: int, error: BaseException) -> Callable[[int, str], None]:
    def fail(at: int, _: str) -> None:
        if at == number:
            raise error

    return fail


def moments(worlds: Callable[[], World], *, every: bool = False) -> Iterator[tuple[World, int, str, str]]:
    """A new world for each request that an upload makes, to be stopped before its effect, and after.

    Unless `every` one is asked for, only the first two and the last of a name.
    """
    world = worlds()
    world.run()
    calls = list(world.port.calls)
    for number, name in enumerate(calls, 1):
        if every or calls[: number - 1].count(name) < 2 or name not in calls[number:]:
            for when in ("before", "after"):
                yield worlds(), number, name, when


@pytest.mark.usefixtures("killed_means_killed")
@pytest.mark.parametrize("kept", [True, False], ids=["journal", "no journal"])
def test_killed_at_any_request_the_next_run_finishes(
    worlds: Callable[[], World], tmp_path: Path, *, kept: bool
) -> None:
    """A deploy from a machine that died would leave a snapshot for ever, ship a torn image, or send all of it again."""
    for world, number, name, when in moments(worlds, every=True):
        folder = tmp_path / f"{number}{when}" if kept else None
        setattr(world.port, when, failing(number, Killed()))
        with pytest.raises(Killed):
            world.run(journal=folder)
        setattr(world.port, when, nothing)
        world.port.repeat_age = 60  # what EBS says of a token when the run is repeated a minute later
        acknowledged = world.port.calls.count("put") - (name == "put" and when == "before")
        there = bool(world.mine)
        world.port.calls.clear()
        uploaded = world.run(journal=folder)
        world.check(uploaded)
        assert uploaded.resumed == (there and not uploaded.adopted), (number, name, when)
        if kept and there:
            # The one whose answer was lost is sent again; and the map always is.
            assert world.port.calls.count("put") <= len(world.mine[0].written) - acknowledged + 2, (number, name, when)
        if folder is not None:
            assert list(folder.iterdir()) == [] or uploaded.adopted


@pytest.mark.usefixtures("killed_means_killed")
def test_killed_again_and_again_it_still_ends(worlds: Callable[[], World], tmp_path: Path) -> None:
    """A machine that dies every few seconds would begin from nothing each time."""
    world = worlds()
    for attempt in itertools.count(1):
        world.port.after = failing(len(world.port.calls) + 17, Killed())
        try:
            uploaded = world.run(journal=tmp_path / "journal", samples=0)
        except Killed:
            assert attempt < 12
            continue
        break
    world.check(uploaded)


@pytest.mark.parametrize("error", [CloudError, KeyboardInterrupt, RuntimeError])
def test_refused_at_any_request_nothing_is_left(
    worlds: Callable[[], World], tmp_path: Path, error: type[BaseException]
) -> None:
    """A failed deploy would leave a snapshot that costs money, or hide its cause behind the clean-up's."""
    for world, number, name, when in moments(worlds):
        if error is CloudError and when == "after":
            continue  # what is refused is not done
        told = error(f"call {number}")
        setattr(world.port, when, failing(number, told))
        try:
            world.run(journal=tmp_path / "journal")
        except error as caught:
            assert caught is told or caught.__cause__ is told, (name, when)  # noqa: PT017 (a parent may be done without)
        else:
            assert name in ("list_blocks", "get", "start", "tag"), "whatever is wrong with a parent: a full upload"
            assert error is CloudError
        setattr(world.port, when, nothing)
        if when == "before" or name != "start":
            assert not world.port.of_state("pending"), (name, when)
        assert not (tmp_path / "journal").exists() or not list((tmp_path / "journal").iterdir()), (name, when)
        world.check(world.run())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_passing_fault_at_any_request_does_not_matter(worlds: Callable[[], World], when: str) -> None:
    """A single 500, throttle or cut connection would fail a deploy, or do something twice."""
    for world, number, _, moment in moments(worlds):
        if moment != when:
            continue
        setattr(world.port, when, failing(number, TryAgain("503")))
        uploaded = world.run()
        assert not uploaded.adopted
        world.check(uploaded)


def killed_at(world: World, name: str, count: int, **changes: Any) -> str:
    """Kill a run after its `count`-th call of `name`; the snapshot that it left."""

    def kill(_: int, called: str) -> None:
        if called == name and world.port.calls.count(name) == count:
            raise Killed

    world.port.after = kill
    with pytest.raises(Killed):
        world.run(**changes)
    world.port.after = nothing
    world.port.calls.clear()
    (held,) = world.port.of_state("pending")
    return held.id


@pytest.mark.usefixtures("killed_means_killed")
def test_what_was_acknowledged_is_not_sent_again(worlds: Callable[[], World], tmp_path: Path) -> None:
    """To go on would be no faster than to begin."""
    world, lines = worlds(), list[str]()
    left = killed_at(world, "put", 2, journal=tmp_path)
    uploaded = world.run(journal=tmp_path, say=lines.append)
    assert (uploaded.snapshot_id, uploaded.resumed) == (left, True)
    assert uploaded.blocks_sent == len(world.mine[0].written) - 1, "the second was not yet in the journal"
    assert lines[0] == f"resuming the interrupted upload to snapshot {left}"
    world.check(uploaded)


@pytest.mark.usefixtures("killed_means_killed")
def test_an_image_that_was_built_anew_is_sent_as_it_is_now(worlds: Callable[[], World], tmp_path: Path) -> None:
    """A build that is not reproducible would be shipped half as it was and half as it is."""
    world = worlds()
    left = killed_at(world, "put", 3, journal=tmp_path / "journal")
    world.content = spelled(world.path, LETTERS[0] + LETTERS[1:].upper())
    uploaded = world.run(journal=tmp_path / "journal")
    assert uploaded.snapshot_id == left
    world.check(uploaded)


@pytest.mark.usefixtures("killed_means_killed")
def test_a_journal_that_lies_is_found_out(worlds: Callable[[], World], tmp_path: Path) -> None:
    """A block that EBS never got would be missing in the image, for ever in all that follow."""
    world, lines = worlds(), list[str]()
    left = killed_at(world, "put", 2, journal=tmp_path)
    held = world.port.held[left]
    del held.written[next(iter(held.written))]
    uploaded = world.run(journal=tmp_path, say=lines.append)
    assert uploaded.snapshot_id != left
    assert f"snapshot {left} contained other blocks" in "\n".join(lines)
    world.check(uploaded)


@pytest.mark.usefixtures("killed_means_killed")
def test_blocks_that_the_image_lacks_are_found_out(worlds: Callable[[], World]) -> None:
    """A snapshot in which somebody else wrote as well would be completed as the image."""
    world = worlds()
    left = killed_at(world, "put", 2)
    world.port.held[left].written[77] = b"x" * BLOCK
    uploaded = world.run()
    assert uploaded.snapshot_id != left
    world.check(uploaded)


@pytest.mark.usefixtures("killed_means_killed")
@pytest.mark.parametrize("change", ["lineage", "encrypted", "size", "error", "parent gone", "no parent"])
def test_what_cannot_be_gone_on_with_is_deleted(worlds: Callable[[], World], change: str) -> None:
    """A snapshot of another request would be completed as this one's, or pile up until the quota is full."""
    world = worlds()
    left = killed_at(world, "put", 2)
    held, changes = world.port.held[left], dict[str, Any]()
    parent = held.start.parent
    if change == "lineage":
        changes = {"lineage": "other"}
    elif change == "encrypted":
        changes = {"encrypted": True}
    elif change == "size":
        held.about = replace(held.about, volume_gib=2)
    elif change == "error":
        held.about = replace(held.about, state="error")
    elif parent is None:
        return
    elif change == "parent gone":
        del world.port.held[parent]
    else:
        changes = {"parent": "none"}
    uploaded = world.run(**changes)
    assert uploaded.snapshot_id != left
    assert not uploaded.resumed
    world.check(uploaded)


class Seen:
    """The fake as one of two runs sees it: calls of its own, and gates of its own."""

    def __init__(self, port: FakeSnapshots) -> None:
        self._port = port
        self.calls: list[str] = []
        self.before: Callable[[int, str], None] = nothing
        self.after: Callable[[int, str], None] = nothing

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._port, name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls)
            self.before(number, name)
            result = real(*arguments)
            self.after(number, name)
            return result

        return call

    def connect(self) -> Seen:
        return self

    def put(self, snapshot_id: str, index: int, block: Any, digest: bytes, sent: Callable[[], None]) -> None:
        kept = bytes(block)
        sent()
        self.__getattr__("put")(snapshot_id, index, kept, digest)

    def close(self) -> None:
        """Nothing is open."""


class Held_up:  # noqa: N801 (reads as what it is)
    """A run in a thread that stops at a moment until it is let go."""

    def __init__(self, world: World, number: int, when: str, *, name: str | None = None, **changes: Any) -> None:
        """At its call `number`; with a `name`, at that call of this name."""
        self.result: Uploaded | None = None
        self.error: BaseException | None = None
        self._there, self._go = threading.Event(), threading.Event()
        self.seen = Seen(world.port)

        def gate(at: int, called: str) -> None:
            if number == (at if name is None else self.seen.calls.count(name) if called == name else 0):
                self._there.set()
                assert self._go.wait(60)

        setattr(self.seen, when, gate)

        def work() -> None:
            try:
                self.result = world.run(self.seen, **changes)
            except BaseException as error:  # noqa: BLE001 (looked at by the test)
                self.error = error
            finally:
                self._there.set()

        self._thread = threading.Thread(target=work)
        self._thread.start()
        assert self._there.wait(60)

    def end(self) -> None:
        self._go.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_two_at_once_end_in_one_snapshot(worlds: Callable[[], World], tmp_path: Path) -> None:
    """Two pipelines of one commit would spoil each other's snapshot, or leave two."""
    for world, number, name, when in moments(worlds):
        early = Held_up(world, number, when, journal=tmp_path)
        late = world.run(Seen(world.port), journal=tmp_path)
        early.end()
        assert early.error is None, (number, name, when)
        assert early.result is not None
        assert early.result.snapshot_id == late.snapshot_id, (number, name, when)
        world.check(late)


def test_what_another_has_completed_is_watched_until_it_is_finished(worlds: Callable[[], World]) -> None:
    """A run would take the other's completion, while EBS still works at it, for a failure, and delete the snapshot."""
    world = worlds()
    early = Held_up(world, 2, "before", name="put")
    ends = Held_up(world, 1, "after", name="complete")
    early.end()
    ends.end()
    assert early.error is None
    assert ends.error is None
    assert early.result is not None
    assert early.result.adopted
    world.check(early.result)


OTHERS = [{"sparse": "holes"}, {"encrypted": True}, {"parent": "none"}, {"tags": {"team": "b"}}, {"lineage": "other"}]


@pytest.mark.parametrize("changes", OTHERS, ids=lambda changes: next(iter(changes)))
def test_two_that_differ_end_right_or_say_so(worlds: Callable[[], World], changes: dict[str, Any]) -> None:
    """Two settings of one image at once would mix, or delete each other's snapshots without an end."""
    for world, number, name, when in moments(worlds):
        early = Held_up(world, number, when)
        late = world.run(Seen(world.port), **changes)
        early.end()
        if early.error is not None:
            assert isinstance(early.error, CloudError), (number, name, when)
        assert not world.port.of_state("pending"), (number, name, when)
        ends = {late.snapshot_id} | ({early.result.snapshot_id} if early.result else set())
        assert {held.id for held in world.mine} == ends, (number, name, when)
        for held in world.mine:
            assert held.about.state == "completed"
            assert read_back(held, len(world.content))[: len(world.content)] == world.content


def test_a_failing_run_does_not_spoil_the_other(worlds: Callable[[], World]) -> None:
    """One pipeline's lost permission would delete the snapshot that the other one returned."""
    for world, number, name, when in moments(worlds):
        early = Held_up(world, number, when)
        early.seen.before = lambda _number, _name: (_ for _ in ()).throw(CloudError("access denied"))
        late = world.run(Seen(world.port))
        early.end()
        (held,) = [held for held in world.mine if held.id == late.snapshot_id]
        assert held.about.state == "completed", (number, name, when)
        assert not world.port.of_state("pending")


def test_a_token_is_of_all_that_a_snapshot_is_started_with(tmp_path: Path) -> None:
    """EBS would refuse a token with other parameters, or two runs of one request not find each other."""
    request = UploadRequest(IDENTITY, "s", lineage="web", tags={"a": "1", "b": "2"})
    starts = [request.start(1, None, "0"), request.start(2, None, "0"), request.start(1, "snap-1", "0")]
    starts += [request.start(1, None, "1")]
    starts += [replace(request, **change).start(1, None, "0") for change in CHANGES]
    assert len({start.token for start in starts}) == len(starts)
    assert all(len(start.token) == 64 for start in starts)
    again = replace(request, tags={"b": "2", "a": "1"}, samples=0, journal=tmp_path)
    assert again.start(1, None, "0") == starts[0]


CHANGES: list[dict[str, Any]] = [
    {"identity": "x"},
    {"stack": "x"},
    {"lineage": "x"},
    {"tags": {}},
    {"description": "x"},
    {"encrypted": True},
    {"encrypted": True, "kms_key": "arn:aws:kms:us-east-1:123456789012:key/1"},
    {"sparse": "holes"},
]


def test_a_full_quota_of_pending_snapshots_is_told_at_once(worlds: Callable[[], World]) -> None:
    """A user would wait for minutes, or read about a parent that has nothing to do with it."""
    world = worlds()
    for number in range(100):
        world.port.add(Start(f"t{number}", 1, {"other": "x"}, "", encrypted=False, kms_key=None))
    lines: list[str] = []
    with pytest.raises(CloudError, match=r"^ConcurrentLimitExceededException"):
        world.run(say=lines.append)
    assert not [line for line in lines if "parent" in line]
