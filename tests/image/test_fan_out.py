"""One image to several destinations at once: what each has in the end, what is hashed, and who waits for whom."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import CloudError, FleetswapError, Throttled, TryAgain
from fleetswap.domain.image import blocks
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.image import fan_out as workflow
from fleetswap.workflows.image import send
from fleetswap.workflows.image import upload as single
from fleetswap.workflows.image.fan_out import FEWEST_BUFFERS, Destination, Failed, Late, fan_out
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded, upload
from fleetswap.workflows.retry import GaveUp
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, Line, disk_file, nothing, read_back, spelled

IDENTITY = "/nix/store/abc-image"
BLOCKS = 12
PLACES = ("here", "there", "far")

Outcomes = dict[str, Uploaded | Failed]


def services() -> dict[str, FakeSnapshots]:
    return {name: FakeSnapshots(first=256 * number + 1) for number, name in enumerate(PLACES)}


@dataclass
class World:
    """An image, and a service in each place."""

    path: Path
    ports: dict[str, FakeSnapshots] = field(default_factory=services)
    puts: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def run(self, opened: ImageFile | None = None, **changes: Any) -> Outcomes:
        """Upload to all; by name what became of each."""
        if opened is None:
            with ImageFile(self.path) as image:
                return self.run(image, **changes)
        request = UploadRequest(IDENTITY, "s", lineage="web", journal=self.path.parent / "journal")
        connections = changes.pop("connections", 2)
        destinations = [
            Destination(name, request, port, self.puts.get(name, port), connections)
            for name, port in self.ports.items()
        ]
        outcomes = fan_out(opened, destinations, self.said.append, **({"clock": FakeClock()} | changes))
        return dict(zip(self.ports, outcomes, strict=True))

    def check(self, outcomes: Outcomes, name: str) -> Uploaded:
        """The place has the image, and nothing unfinished."""
        outcome = outcomes[name]
        assert isinstance(outcome, Uploaded), outcome
        content = self.path.read_bytes()
        held = self.ports[name].held[outcome.snapshot_id]
        assert held.about.state == "completed"
        assert read_back(held, len(content))[: len(content)] == content
        assert not self.ports[name].of_state("pending")
        return outcome


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(disk_file(tmp_path / "image", ["data"], BLOCKS * BLOCK))


def refusing(error: Exception, *, after: int = 0, every: int = 1) -> Callable[[int, str], None]:
    """A fault of the puts after the first `after`, of each `every`th."""
    seen = [0]

    def fault(_number: int, name: str) -> None:
        if name != "put":
            return
        seen[0] += 1
        if seen[0] > after and seen[0] % every == 0:
            raise error

    return fault


def test_each_block_is_hashed_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three regions would cost the time of three uploads: hashing is what an upload computes."""
    hashed = []

    def digest(data: bytes | bytearray) -> bytes:
        hashed.append(bytes(data))
        return blocks.digest(data)

    monkeypatch.setattr(send, "digest", digest)
    outcomes = world.run()
    for name in PLACES:
        assert world.check(outcomes, name).blocks_sent == BLOCKS + 1
    content = world.path.read_bytes()
    data = {content[at : at + BLOCK] for at in range(0, len(content), BLOCK)}
    assert len(data) == BLOCKS
    assert sorted(each for each in hashed if each in data) == sorted(data)


def test_each_destination_has_its_own_parent(world: World, tmp_path: Path) -> None:
    """A region that has most of the image would be sent all of it, or inherit what is another region's."""
    before = tmp_path / "before"
    letters = "abcdefgh"
    spelled(before, letters)
    spelled(world.path, "abcXefgh")
    request = UploadRequest("/nix/store/before", "s", lineage="web")
    with ImageFile(before) as image:
        port = world.ports["there"]
        parent = upload(image, request, port, port, nothing, clock=FakeClock())
    outcomes = world.run()
    whole = world.check(outcomes, "here")
    child = world.check(outcomes, "there")
    assert (whole.parent, whole.blocks_sent) == (None, len(letters) + 1)
    assert (child.parent, child.blocks_sent) == (parent.snapshot_id, 1 + 1)


def test_one_at_a_lower_quota_slows_down_only_itself(world: World) -> None:
    """All regions would be as slow as the one with the lowest quota, and be counted as throttled."""
    world.ports["there"].before = refusing(Throttled("slow down"), every=2)
    outcomes = world.run()
    assert world.check(outcomes, "there").throttled > 0
    assert [world.check(outcomes, name).throttled for name in ("here", "far")] == [0, 0]


def test_one_that_is_down_is_resumed_by_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage of one region would fail the deploy of all, or throw away what that region already has."""
    monkeypatch.setattr(single, "PATIENCE_SECONDS", 20.0)
    port = world.ports["there"]
    port.before = refusing(TryAgain("there is down"), after=5)
    first = world.run()
    failed = first["there"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, GaveUp)
    (left,) = port.of_state("pending")
    assert str(failed) == f"snapshot {left.id}: there is down; gave up after 20 s without a success"
    for name in ("here", "far"):
        world.check(first, name)
    had = len(left.written)
    assert had == 5
    port.before = nothing
    again = world.run()
    resumed = world.check(again, "there")
    assert (resumed.snapshot_id, resumed.resumed, resumed.blocks_sent) == (left.id, True, BLOCKS - had + 1)
    for name in ("here", "far"):
        adopted = world.check(again, name)
        assert (adopted.adopted, adopted.blocks_sent) == (True, 0)


def test_one_that_refuses_fails_alone(world: World) -> None:
    """A region without a permission would fail all, or leave a snapshot there that nobody may finish."""
    world.ports["here"].before = refusing(CloudError("AccessDenied"), after=3)
    ended: list[str] = []
    outcomes = world.run(ended=lambda name, _outcome: ended.append(name))
    assert "AccessDenied" in str(outcomes["here"])
    assert not world.ports["here"].held
    for name in ("there", "far"):
        world.check(outcomes, name)
    assert sorted(ended) == sorted(PLACES)


class StuckPuts:
    """Lines that take a few blocks, and no more until they are let go or hung up: each keeps the one it was given."""

    def __init__(self, port: FakeSnapshots, takes: int = 0) -> None:
        self._port = port
        self._taken = iter(range(takes))
        self.stuck, self.free = threading.Event(), threading.Event()

    def connect(self) -> Line:
        puts, port = self, self._port

        class Stuck(Line):
            def put(self, *arguments: Any) -> None:
                if next(puts._taken, None) is None:
                    puts.stuck.set()
                    assert puts.free.wait(30)
                super().put(*arguments)

            def close(self) -> None:
                puts.free.set()

        return Stuck(port)


class CountedImage(ImageFile):
    """Notes the buffers that it is read into, by the thread's destination."""

    def __init__(self, path: Path) -> None:
        self.buffers: set[int] = set()
        super().__init__(path)

    def read(self, index: int, into: bytearray) -> None:
        self.buffers.add(id(into))
        super().read(index, into)


def test_those_whose_lines_are_stuck_hold_up_nobody_and_keep_few_blocks(tmp_path: Path) -> None:
    """A slow region would delay the others for ever, or the image would pile up in memory."""
    world = World(disk_file(tmp_path / "image", ["data"], 50 * BLOCK))
    stuck = world.puts["there"], world.puts["far"] = StuckPuts(world.ports["there"]), StuckPuts(world.ports["far"])
    done: list[str] = []

    def ended(name: str, _outcome: Uploaded | Failed) -> None:
        done.append(name)
        for each in stuck:
            each.free.set()

    image = CountedImage(world.path)
    with image:
        image.buffers.clear()
        outcomes = world.run(image, ended=ended, connections=100)
        assert len(image.buffers) <= len(PLACES) * max(FEWEST_BUFFERS, send.BUFFERS // len(PLACES)) + len(PLACES)
    assert done[0] == "here"
    for name in PLACES:
        world.check(outcomes, name)


def test_a_deployment_does_not_wait_for_a_laggard(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that accepts a block a minute would keep the first region's rollout from starting."""
    monkeypatch.setattr(send, "TELL_SECONDS", 0.01)
    monkeypatch.setattr(workflow, "TELL_SECONDS", 0.01)
    done: list[str] = []
    laggard = world.puts["there"] = StuckPuts(world.ports["there"], takes=3)

    class Hurries(FakeClock):
        """Twenty seconds pass at each look, once the first destination is done and the laggard has taken its blocks."""

        def now(self) -> float:
            if "here" in done and laggard.stuck.is_set():
                self.advance(20)
            return super().now()

    outcomes = world.run(clock=Hurries(), wait=False, connections=1, ended=lambda name, _outcome: done.append(name))
    world.check(outcomes, "here")
    late = outcomes["there"]
    assert isinstance(late, Failed)
    assert isinstance(late.error, Late)
    (left,) = world.ports["there"].of_state("pending")
    assert 0 < len(left.written) < BLOCKS
    del world.puts["there"]
    assert world.check(world.run(), "there").resumed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FleetswapError("cancelled before")])
def test_ctrl_c_ends_all_and_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A cancelled deploy would go on uploading, or leave unfinished snapshots in every region."""
    monkeypatch.setattr(send, "TELL_SECONDS", 0.01)
    begun = threading.Barrier(len(PLACES) + 1)

    def once() -> Callable[[int, str], None]:
        seen: list[str] = []

        def wait(_number: int, name: str) -> None:
            seen.append(name)
            if name == "put" and seen.count("put") == 1:
                begun.wait(30)

        return wait

    for port in world.ports.values():
        port.before = once()

    raised: list[BaseException] = []

    def progress(_now: Mapping[str, Progress]) -> None:
        if not raised:
            begun.wait(30)
            raised.append(error)
            raise error

    with pytest.raises(type(error)):
        world.run(progress=progress, connections=1)
    assert [port.held for port in world.ports.values()] == [{}, {}, {}]


def test_a_snapshot_that_could_not_be_deleted_is_named(world: World) -> None:
    """After Ctrl-C somebody would pay for snapshots that no line has named."""

    def refuse(_number: int, name: str) -> None:
        if name == "delete":
            raise CloudError("AccessDenied")

    world.ports["far"].before = refuse

    def progress(now: Mapping[str, Progress]) -> None:
        if "far" in now:
            raise FleetswapError("cancelled before")

    world.puts["far"] = StuckPuts(world.ports["far"])
    with pytest.raises(FleetswapError, match=r"^cancelled before; far: snapshot snap-0201 could not be deleted"):
        world.run(progress=progress, connections=1)


def test_lines_and_figures_name_the_destination(world: World) -> None:
    """Nobody could tell which region is slow, or has no parent."""
    figures: dict[str, Progress] = {}
    outcomes = world.run(progress=figures.update)
    for name in PLACES:
        snapshot_id = world.check(outcomes, name).snapshot_id
        assert f"{name}: uploading image to snapshot {snapshot_id}: {BLOCKS} blocks of 512 KiB" in world.said
        assert figures[name].blocks == BLOCKS + 1


FAULTS: dict[str, Callable[[], Callable[[int, str], None]]] = {
    "none": lambda: nothing,
    "down": lambda: refusing(TryAgain("down"), after=2),
    "denied": lambda: refusing(CloudError("denied"), after=1),
    "throttled": lambda: refusing(Throttled("slow down"), every=3),
}


@settings(max_examples=8, deadline=None)
@given(
    letters=st.text("ab0A.", min_size=2, max_size=6),
    before=st.lists(st.sampled_from(["", "ab", "b0A.a", "aaaa"]), min_size=3, max_size=3),
    faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=3, max_size=3),
    connections=st.integers(1, 3),
)
def test_whatever_fails_the_next_run_finishes(
    letters: str, before: list[str], faults: list[str], connections: int
) -> None:
    """With some parent and some fault, a region would get another image than the others, or none for ever."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        world = World(path)
        for port, parent in zip(world.ports.values(), before, strict=True):
            if parent:
                spelled(path, parent)
                with ImageFile(path) as image:
                    request = UploadRequest("/nix/store/before", "s", lineage="web")
                    upload(image, request, port, port, nothing, clock=FakeClock(), connections=1)
        spelled(path, letters)
        for port, fault in zip(world.ports.values(), faults, strict=True):
            port.before = FAULTS[fault]()
        outcomes = world.run(connections=connections)
        for name, fault in zip(PLACES, faults, strict=True):
            if fault in ("none", "throttled"):
                world.check(outcomes, name)
            world.ports[name].before = nothing
        again = world.run(connections=connections)
        for name in PLACES:
            world.check(again, name)
