"""Record the calls of AWS that a deploy makes, for docs/explanation/scale.md: `python -m tests.e2e.record_calls`.

The stack `local` on a local cloud of its own, with the real engine and machines, as the users of `tests.e2e.users`. It
writes `tools/deploy_calls.json`, which `python -m tools.scale` reads. It takes the machine for minutes, so no test runs
it.

A call is counted where the local cloud authorizes it. A call about several resources of a kind is authorized for each
of them and counted so: the counts are at least the calls.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.stack import ROOT, LocalStack

RECORDING = ROOT / "tools/deploy_calls.json"
ROLLOUT = {"strategy": "all-at-once", "bake": 0, "deadline": 240}
"""Readings and intervals are the defaults, as on AWS: they say how often a rollout asks."""
STEPS = (("first", "up", "1"), ("unchanged", "up", "1"), ("deploy", "up", "2"), ("preview", "preview", "3"))


def main() -> None:
    """Deploy twice and preview, and write what was called."""
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder), has_users=True)
        stack.set(rollout=ROLLOUT)
        try:
            steps = {name: recorded(stack, verb, version) for name, verb, version in STEPS}
        finally:
            stack.run("down")
    revision = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    written = {
        "how": "python -m tests.e2e.record_calls",
        "when": datetime.now(UTC).date().isoformat(),
        "revision": revision.stdout.decode().strip(),
        "plugin": "the stand-in of engine/aws_plugin",
        "machines": stack.config["fleetswap:capacity"]["min"],
        "steps": steps,
    }
    RECORDING.write_text(json.dumps(written, indent=1) + "\n")


def recorded(stack: LocalStack, verb: str, version: str) -> dict[str, Any]:
    """The calls of one verb, in the order of its seconds; a second without a call is left out."""
    then = counts(stack)
    began = time.monotonic()
    process = stack.start(verb, version=version)
    by_second: list[dict[str, int]] = []
    is_over = False
    while not is_over:
        time.sleep(1)
        is_over = process.poll() is not None
        now = counts(stack)
        by_second += [dict(sorted((now - then).items()))] if now - then else []
        then = now
    seconds = round(time.monotonic() - began)
    sys.stdout.write(process.communicate()[0])
    if process.returncode:
        raise SystemExit(f"{verb} of version {version} failed")
    return {"seconds": seconds, "by_second": by_second}


def counts(stack: LocalStack) -> Counter[str]:
    """The calls so far of the users, by operation; none while no local cloud runs."""
    try:
        decisions = stack.admin("GET", "authorizations")["authorizations"]
    except OSError:
        return Counter()
    questions: dict[str, Counter[tuple[str, str]]] = {}
    for one in decisions:
        if ":user/" in one["principal"]:
            kind = re.split("[:/]", one["resource"].split(":", 5)[-1])[0]  # arn:aws:ec2:REGION:ACCOUNT:kind/id
            questions.setdefault(one["operation"], Counter())[one["action"], kind] += one["count"]
    return Counter({call: _calls(call, found) for call, found in questions.items()})


def _calls(call: str, asked: Counter[tuple[str, str]]) -> int:
    """A call asks about its own action and often about others (iam:PassRole), for each kind of resource in it."""
    own = {key: count for key, count in asked.items() if key[0].partition(":")[2] == call.partition(":")[2]}
    return max((own or asked).values())


if __name__ == "__main__":
    main()
