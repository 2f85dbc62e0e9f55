"""How fast `fleetswap gc` judges: 10,000 AMIs with their snapshots, of 50 stacks. The goal is a second."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import time
from datetime import UTC, datetime, timedelta
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine
from fleetswap.domain.retention.judge import judge
from fleetswap.domain.retention.things import Kind, Stack, Thing

now = datetime(2026, 11, 26, tzinfo=UTC)
old = now - timedelta(days=9)
machine, health = Machine(("c7i.large",), 0, 0), HealthCheck(80, "/", "200", 5, 2, 2, 2)
def entry(number):
    return Entry(f"web-{number}", Image(f"/nix/store/{number}", FileImage("x")), machine, health, 4)
stacks, things = {}, []
for number in range(10_000):
    name = f"shop/s{number % 50}"
    of = (name, "web", f"web-{number}", f"/nix/store/{number}", old)
    things.append(Thing(Kind.IMAGE, "us-east-1", f"ami-{number}", *of, uses=(f"snap-{number}",)))
    things.append(Thing(Kind.SNAPSHOT, "us-east-1", f"snap-{number}", *of, state="completed"))
for at in range(50):
    entries = tuple(entry(number) for number in range(at, 10_000, 50) if number % 100 < 50)
    stacks[f"shop/s{at}"] = Stack(f"shop/s{at}", (Ledger(None, None, entries),))
start = time.process_time()
found = judge(things, stacks, now, 86_400)
spent = time.process_time() - start
dying = sum(each.dies for each in found)
verdict = "ok" if spent <= 1 else "short"
print(f"{len(things):,} things, {dying:,} of them die: {spent:.3f} CPU-s (goal: at most 1: {verdict})")
"""


def judge() -> None:
    """Run it in a process of its own, so that no garbage of the benchmark's is collected meanwhile."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
