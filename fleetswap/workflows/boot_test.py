"""Boots an image before it is uploaded, and refuses one that does not become healthy in time.

It decides when a machine is asked, and when that ends; never how a machine is made (`fleetswap.qemu` does) or what
counts as healthy (`fleetswap.domain.boot.health`). Whatever happens, the machine ends with `run`.

An image that has passed is not booted again for the same settings, with the same QEMU, as long as its file is the very
same: an upload that failed after the boot test is retried without it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from fleetswap.domain.boot import health
from fleetswap.domain.boot.health import Check, Watch
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.boot.traffic import Traffic
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.rollout.health import Answer
from fleetswap.domain.text import duration, without_store_hash
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import TRIAL_SECONDS

TICK = 0.2
"""Seconds between two looks at the machine and at whether the test was cancelled."""

PAUSE = 1.0
"""Seconds between two requests."""

KEPT = 20
"""Consoles, and images that have passed, that are kept."""


class Unhealthy(FleetswapError):
    """The image did not become healthy. Nothing was uploaded."""

    exit_status = 3


class Machine(Protocol):
    """A machine that runs."""

    def ended(self) -> str | None:
        """Why it no longer runs, in a few words; None while it does."""

    def console(self) -> str:
        """The end of what its console said."""

    def traffic(self) -> Traffic:
        """What it sent over the network."""

    def ask(self, check: Check) -> Answer:
        """One health check; takes at most its timeout for connecting and for each read. From any thread."""


class Machines(Protocol):
    """Makes machines."""

    def ready(self, hardware: Hardware) -> str:
        """What they are made with, in a line: another line may give another result. `InputError` if some is missing."""

    def start(
        self, image: ImageFile, hardware: Hardware, check: Check, status: Callable[[str], None]
    ) -> AbstractContextManager[Machine]:
        """A machine with this disk, which it does not change; it ends with the context, and leaves nothing.

        `status` gets what is done before it runs; what it raises ends that.
        """


@dataclass(frozen=True)
class Passed:
    """How a boot test went well. `seconds` are from the start of the machine; 0 if it had passed before."""

    seconds: float
    again: bool = False
    """It was not booted: it had passed before."""


class BootTest:
    """The boot test of one image; implements `fleetswap.workflows.image.ports.Trial`."""

    def __init__(
        self,
        machines: Machines,
        hardware: Hardware,
        check: Check,
        *,
        folder: Path,
        seconds: float = TRIAL_SECONDS,
        always: bool = False,
        option: str = "boot_test.timeout",
        clock: Clock | None = None,
    ) -> None:
        """`folder` keeps consoles of refused images, and which images have passed. With `always`, those are booted,
        too. `option` is the user's name for `seconds`.
        """
        self._machines = machines
        self._hardware = hardware
        self._check = check
        self._folder = folder
        self._seconds = seconds
        self._always = always
        self._option = option
        self._clock = clock or SystemClock()

    def ready(self) -> None:
        """Raise `InputError` if something that the test needs is missing, so that nothing is built for nothing."""
        self._machines.ready(self._hardware)

    def run(self, image: ImageFile, name: str, say: Callable[[str], None], status: Callable[[str], None]) -> Passed:
        """Boot the image until it is healthy. To repeat it is harmless.

        `say` gets lines that stay, `status` what passes, several times a second; what it raises ends the test at
        once. Raises `Unhealthy`, after the end of the console was said.
        """
        made_with, called = self._machines.ready(self._hardware), _called(image, name)
        mark = self._folder / "passed" / self._key(image, name, made_with)
        if not self._always and mark.exists():
            say(f"{called} has already passed this boot test")
            return Passed(0.0, again=True)
        say(f"booting {called} until it is healthy ({self._check.where}), in {made_with}")
        with self._machines.start(image, self._hardware, self._check, status) as machine:
            began = self._clock.now()
            watch, why = self._watch(machine, began, status)
            seconds = self._clock.now() - began
            if watch.good < self._check.healthy:
                kept = self._folder / f"{called}-{time.strftime('%Y%m%dT%H%M%S')}.console"
                raise self._refused(image, machine, watch, why, seconds, kept, say)
        image.check_unchanged()
        say(f"{called} was healthy {duration(seconds)} after its machine started")
        _keep(mark, "")
        return Passed(seconds)

    def _watch(self, machine: Machine, began: float, status: Callable[[str], None]) -> tuple[Watch, str]:
        """Ask until the machine is healthy, cannot become so, or its time is over; why it cannot, or nothing."""
        watch, asked = Watch(), None
        next_at = began
        # The machine has ended when this is left, so that no request holds it up.
        pool = ThreadPoolExecutor(1, thread_name_prefix="boot test")
        try:
            while watch.good < self._check.healthy:
                now = self._clock.now()
                status(f"booting for {duration(now - began)}: {_short(watch)}")
                if (why := machine.ended()) is not None:
                    return watch, health.dead_end(machine.console()) or why
                if (why := health.dead_end(machine.console())) or now - began >= self._seconds:
                    return watch, why
                if asked is None and now >= next_at:
                    asked = pool.submit(machine.ask, self._check)
                if asked is None:
                    self._clock.sleep(TICK)
                elif (answer := _answer(asked)) is not None:
                    watch, asked, next_at = watch.after(answer, self._check), None, self._clock.now() + PAUSE
            return watch, ""
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _refused(
        self,
        image: ImageFile,
        machine: Machine,
        watch: Watch,
        why: str,
        seconds: float,
        kept: Path,
        say: Callable[[str], None],
    ) -> Unhealthy:
        console, told = machine.console(), watch.told(machine.traffic())
        _keep(kept, console)
        lines = health.tail(console)
        for line in lines or ["(nothing)"]:
            say(f"console | {line}")
        return Unhealthy(health.refusal(str(image.path), seconds, why, told, str(kept), self._option))

    def _key(self, image: ImageFile, name: str, made_with: str) -> str:
        """One name for all that decides the result: the image, its file, the check, the machine, QEMU."""
        file = image.path.stat()
        # A change of the file changes its ctime, which no program can set.
        content = [name, file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns]
        said = [content, asdict(self._check), asdict(self._hardware), made_with, self._seconds]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _called(image: ImageFile, name: str) -> str:
    """The image as people call it: by its name in Nix's store, else by its file."""
    return without_store_hash(name).replace("/", "-") if name.startswith("/nix/store/") else image.path.name


def _answer(asked: Future[Answer]) -> Answer | None:
    try:
        return asked.result(TICK)
    except TimeoutError:
        return None


def _short(watch: Watch) -> str:
    if watch.good:
        return "healthy"
    if watch.last is None or watch.last.status is None:
        return "no response yet"
    return f"status {watch.last.status}"


def _keep(path: Path, text: str) -> None:
    """Write a file that helps, and delete old ones of its kind. That it cannot be written fails nothing."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
        files = [each for each in path.parent.iterdir() if each.is_file()]
        for old in sorted(files, key=lambda each: each.stat().st_mtime, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)
