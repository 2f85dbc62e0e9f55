"""The cases of the benchmark: one for each line of the table of figures to reach.

It decides what is uploaded, how, against what, and what counts as reached; it runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bench.figures import Changed, Cpu, Everywhere, Goal, Peak, Seconds, Share, Start, Undisturbed
from bench.images import BLOCKS_A_GIB
from bench.stand_in import Settings

Image = Literal["dense", "sparse", "large", "changed"]

TIMEOUT = 240.0
"""Seconds that a run may take: coldsnap at a quota of 100/s does not get there in any time."""


@dataclass(frozen=True)
class Case:
    """One row. `ours` and `peer` are more arguments of the two uploaders; a `peer` of None is not run."""

    name: str
    title: str
    goal: Goal
    image: Image = "dense"
    settings: Settings = field(default_factory=Settings)
    tls: bool = False
    ours: tuple[str, ...] = ("--no-parent",)
    peer: tuple[str, ...] | None = ()
    parent: Image | None = None
    """What we upload before, unmeasured, to have a parent."""
    undisturbed: bool = False
    """Whether ours is also run without the server's faults."""
    endpoints: int = 1
    """How many endpoints ours sends to at once, each a server with the quota of `settings`. With several, ours is also
    run with one alone, and coldsnap, which sends to one, is not."""
    zeros_may_lack: bool = False
    once: bool = False
    """Whether one run is enough: the figure hardly varies, and the run is long."""
    start: bool = False
    """Whether only the start is measured: the run ends when the first request comes. coldsnap is not run."""
    two_cores: bool = False
    """Whether the uploader has the server's core as well."""
    slow: bool = False
    """Whether --quick leaves it out."""
    timeout: float = TIMEOUT


def _at(quota: float, latency_ms: float = 0) -> Settings:
    """A quota whose bucket holds what comes in a tenth of a second: 100 at 1,000/s."""
    return Settings(rate=quota, burst=quota / 10, latency_ms=latency_ms)


def cases() -> list[Case]:
    """All of them, in the order of the table."""
    # So late that all the connections are needed: 64 of them take 640 puts a second, and 160 take 800.
    late, later = Settings(latency_ms=100), Settings(latency_ms=200)
    few, many = ("--no-parent", "--connections", "64"), ("--no-parent", "--connections", "160")
    return [
        Case("start", "start, up to the first request", Start(0.25), start=True, peer=None),
        Case("cpu", "CPU, no limit, plain", Cpu(0.85)),
        Case("cpu-tls", "CPU, no limit, TLS", Cpu(0.95), tls=True),
        Case("time", "time, no limit, plain", Seconds(1.0)),
        Case("time-tls", "time, no limit, TLS", Seconds(1.0), tls=True),
        Case("memory", "peak memory, 64 connections, plain", Peak(64), settings=late, ours=few),
        Case(
            "memory-large",
            "the same, 64 GiB",
            Peak(64),
            image="large",
            settings=late,
            ours=few,
            peer=None,
            once=True,
            slow=True,
            timeout=900,
        ),
        Case(
            "memory-tls",
            "peak memory, 160 connections, TLS",
            Peak(128),
            settings=later,
            tls=True,
            ours=many,
            peer=("--workers", "160"),
        ),
        Case(
            "memory-tls-large",
            "the same, 64 GiB",
            Peak(128),
            image="large",
            settings=later,
            tls=True,
            ours=many,
            peer=None,
            once=True,
            slow=True,
            timeout=900,
        ),
        Case("quota-1000", "quota 1,000/s", Share(0.95, 1000, 0.01), settings=_at(1000)),
        Case(
            "quota-1000-tls",
            "quota 1,000/s, TLS, two cores",
            Share(0.95, 1000, 0.01),
            settings=_at(1000),
            tls=True,
            two_cores=True,
        ),
        Case("quota-300", "quota 300/s", Share(0.95, 300), settings=_at(300), slow=True),
        Case("quota-100", "quota 100/s", Share(0.95, 100), settings=_at(100), slow=True),
        Case("faults-10", "10 % of the puts fail", Undisturbed(1.5), settings=Settings(fail=0.10), undisturbed=True),
        Case("faults-20", "20 % of the puts fail", Undisturbed(1.5), settings=Settings(fail=0.20), undisturbed=True),
        Case(
            "latency",
            "latency 100 ms, quota 1,000/s, TLS",
            Share(0.90, 1000),
            settings=_at(1000, latency_ms=100),
            tls=True,
        ),
        Case(
            "sparse",
            "4 GiB, 1 GiB of data, every block sent, quota 1,000/s",
            Share(0.95, 1000),
            image="sparse",
            settings=_at(1000),
        ),
        Case(
            "holes",
            "the same with holes skipped, no limit",
            Seconds(0.35),
            image="sparse",
            ours=("--no-parent", "--sparse", "holes"),
            peer=("--omit-zero-blocks",),
            zeros_may_lack=True,
        ),
        Case(
            "changed",
            "1 % of the blocks changed, quota 1,000/s",
            Changed(0.02, BLOCKS_A_GIB, 0.15),
            image="changed",
            settings=_at(1000),
            ours=(),
            parent="dense",
        ),
        Case(
            "three",
            "three endpoints, every block sent, quota 300/s for each",
            Everywhere(1.15, 1.3, 1, BLOCKS_A_GIB),
            settings=_at(300),
            peer=None,
            endpoints=3,
            slow=True,
        ),
        Case(
            "three-changed",
            "three endpoints, 1 % of the blocks changed, quota 300/s for each",
            Everywhere(1.15, 1.3, 0.02, BLOCKS_A_GIB),
            image="changed",
            settings=_at(300),
            ours=(),
            peer=None,
            parent="dense",
            endpoints=3,
        ),
    ]
