"""Machines in memory for boot tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.boot.traffic import Traffic
from fleetswap.domain.rollout.health import Answer
from fleetswap.workflows.image.image_file import ImageFile
from tests.fakes.ebs import FakeClock


@dataclass
class World:
    """Machines that answer with these, in turn, the last one for ever; each answer takes a second."""

    answers: list[Answer]
    said: str = ""
    dies: str | None = None
    made_with: str = "QEMU 1"
    clock: FakeClock = field(default_factory=FakeClock)
    started: int = 0
    running: int = 0
    asked: int = 0

    def ready(self, hardware: Hardware) -> str:  # noqa: ARG002
        return self.made_with

    @contextmanager
    def start(
        self,
        image: ImageFile,  # noqa: ARG002
        hardware: Hardware,  # noqa: ARG002
        check: Check,  # noqa: ARG002
        status: Callable[[str], None],
    ) -> Iterator[World]:
        self.started += 1
        self.running += 1
        try:
            status("decoding")
            yield self
        finally:
            self.running -= 1

    def ended(self) -> str | None:
        return self.dies if self.asked >= len(self.answers) else None

    def console(self) -> str:
        return self.said

    def traffic(self) -> Traffic:
        return Traffic(spoke=True, has_address=True)

    def ask(self, check: Check) -> Answer:  # noqa: ARG002
        self.clock.advance(1)
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]
