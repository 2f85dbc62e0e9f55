"""When the machine of a boot test counts as healthy, when it can no longer become so, and the words for both."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from fleetswap.domain.boot.traffic import Traffic
from fleetswap.domain.rollout.health import Answer, ProbeProtocol, counts
from fleetswap.domain.text import duration, one_line, without_escapes

TAIL_LINES, TAIL_CHARS = 40, 240
"""How much of the console is shown: lines, and characters of each."""

DEAD_ENDS = (
    ("Kernel panic - not syncing", "the kernel panicked"),
    ("BdsDxe: No bootable option or device was found", "the firmware found nothing to boot"),
    ("UEFI Interactive Shell", "the firmware found nothing to boot"),
    ("No bootable device.", "the BIOS found nothing to boot"),
    ("You are in emergency mode", "the system went into emergency mode"),
)
"""What the kernel, UEFI firmware (edk2: BdsDxe, or its shell where it has one), SeaBIOS and systemd (emergency.service)
print when nothing but a person at the console would help."""


@dataclass(frozen=True)
class Check:
    """The health check, as the load balancer makes it: see the settings `health`. `timeout` in seconds."""

    port: int
    path: str
    codes: str = "200"
    protocol: str = "http"
    protocol_version: str = "http1"
    healthy: int = 2
    timeout: float = 3.0

    def is_good(self, answer: Answer) -> bool:
        """Whether an answer counts as healthy. Of gRPC, the prober has judged the status: `ProbeProtocol.answer`."""
        if answer.status is None:
            return False
        return answer.status == 200 if self.protocol_version == "grpc" else counts(str(answer.status), self.codes)

    @property
    def spoken(self) -> ProbeProtocol:
        """What the prober speaks."""
        return ProbeProtocol(self.protocol_version, self.codes)

    @property
    def where(self) -> str:
        """Where it is made, for people."""
        return f"{self.protocol} port {self.port}, {self.path}"


@dataclass(frozen=True)
class Watch:
    """What was seen of a machine so far."""

    good: int = 0
    """Good answers in a row."""
    last: Answer | None = None
    best: Answer | None = None
    """The last one with a status, because that says more than how a machine that ends is not reached."""

    def after(self, answer: Answer, check: Check) -> Watch:
        """With one more answer."""
        good = self.good + 1 if check.is_good(answer) else 0
        return replace(self, good=good, last=answer, best=answer if answer.status is not None else self.best)

    def told(self, traffic: Traffic) -> str:
        """The last answer in a few words, or why there was none."""
        if self.best is not None:
            return f"its health check got status {self.best.status}"
        if not traffic.spoke:
            return "its network interface sent nothing"
        if not traffic.has_address:
            return "it did not use the address that DHCP offers"
        return f"its health check got no response ({one_line(self.last.error)})" if self.last else "nothing was asked"


def dead_end(console: str) -> str:
    """Why this machine will never be healthy, from its console; empty if it may still be."""
    return next((why for words, why in DEAD_ENDS if words in console), "")


def tail(console: str) -> list[str]:
    """The last lines of a console that say something, bounded, without control characters."""
    lines = (one_line(line) for line in re.split(r"[\r\n]+", without_escapes(console)))
    said = [line if len(line) <= TAIL_CHARS else f"{line[: TAIL_CHARS - 1]}…" for line in lines if line]
    return said[-TAIL_LINES:]


def refusal(image: str, seconds: float, why: str, told: str, console_file: str, timeout: str) -> str:
    """The error of an image that is refused: one line. `why` is how it ended, empty if its time was over: then
    `told` says how far it got. `timeout` is what the user calls that time.
    """
    how = f"{why} after {duration(seconds)}" if why else f"not healthy after {duration(seconds)}: {told}"
    return (
        f"the boot test refused image {image}, and nothing was uploaded: {how}. Its console is in"
        f" {console_file}: correct the image or its health check, or give it more time ({timeout})"
    )
