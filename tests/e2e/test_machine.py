"""A machine with systemd, laid out as a NixOS image is: from its closure to an answer, and a change of its application.

It opens a secret with the key of its stack. The stack is its own, and so the order of its tests: the last deploys on
what the first has deployed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetswap.domain.secrets.sealing import alias, encryption_context
from tests.e2e.stack import PORT, ROOT, LocalStack

pytestmark = pytest.mark.debian13


NAME = "fleetswap/local"
"""Of the stack, with its project."""

REPORT = r"web\.service [@+]"
"""In the report of a boot. A unit with something to do after its start has `+` alone."""

SECRET = f"marker-{secrets.token_hex(12)}"

MOST_BLOCKS = 12
"""For a change of the application: its own, that of what names it (units, /etc, the system), that of the UKI's command
line, those of the store's inodes, and the map at the end of the snapshot. The disk has 644."""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that deploys the Debian machine."""
    subprocess.run([ROOT / "nix/debian/fetch-parts", ROOT / ".work/debian"], check=True)
    stack = LocalStack(tmp_path_factory.mktemp("machines"))
    image = stack.config["fleetswap:image"]
    image["nix"]["expression"] = "nix/debian"
    sealed = stack.folder / "sealed.yaml"
    stack.set(
        secrets={"file": str(sealed)},
        image=image,
        capacity={"min": 1, "max": 2},
    )
    # As long as nothing is sealed, an update makes the key.
    stack.run("up", version="1")
    seal(stack, sealed)
    image["nix"]["args"] = {"secrets": str(sealed)}
    yield stack
    stack.run("down")


def seal(stack: LocalStack, sealed: Path) -> None:
    """Seal the secret with the key of the stack."""
    kms = stack.client("kms")
    # KMS's aliases are late.
    for _ in range(100):
        known = {each["AliasName"]: each.get("TargetKeyId") for each in kms.list_aliases()["Aliases"]}
        if alias(NAME) in known:
            break
        time.sleep(0.2)
    key = kms.describe_key(KeyId=known[alias(NAME)])["KeyMetadata"]["Arn"]
    context = ",".join(f"{name}:{value}" for name, value in encryption_context(NAME).items())
    words = ["encrypt", "--kms", key, "--encryption-context", context, "--filename-override", "sealed.yaml"]
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    env = {**os.environ, **keys, "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{PORT}"}
    command = [ROOT / ".work/sops/sops", *words, "/dev/stdin"]
    done = subprocess.run(
        command, input=json.dumps({"demo": SECRET}), check=True, capture_output=True, text=True, env=env
    )
    sealed.write_text(done.stdout)


def console(stack: LocalStack) -> str:
    """What the newest machine said."""
    ec2 = stack.client("ec2")
    running = [
        instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] == "running"
    ]
    newest = max(running, key=lambda instance: instance["LaunchTime"])
    return str(ec2.get_console_output(InstanceId=newest["InstanceId"], Latest=True).get("Output", ""))


def blocks(said: str) -> tuple[int, int]:
    """How many blocks the image has and how many were sent, as the update says."""
    found = re.search(r"is complete: ([\d,]+) blocks, ([\d,]+) sent", said)
    assert found is not None
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


def test_a_closure_with_systemd_becomes_a_machine_that_answers(machines: LocalStack) -> None:
    """An image laid out by the builder would not boot, find its store, get an address or know which instance it is."""
    ran = machines.run("up", version="1")
    assert ran.status == 0
    assert re.fullmatch(r"version 1 on i-[0-9a-f]+", machines.get())
    assert machines.get("version") == "1"


def test_systemd_has_opened_the_secret_and_it_is_nowhere_else(machines: LocalStack) -> None:
    """The application would start without its secret, or another process or a log on the machine would have it."""
    instance, keyed = machines.get("secret").split()
    assert keyed == hmac.new(SECRET.encode(), instance.encode(), hashlib.sha256).hexdigest()
    deadline = time.monotonic() + 90
    while "the search for the secret has ended" not in console(machines) and time.monotonic() < deadline:
        time.sleep(1)
    said = console(machines)
    assert re.search(r"fleetswap-secrets: opened \(secrets: 1, tries: \d+, seconds: \d+\)", said)
    assert re.findall(r"the secret is in (\S+)", said) == [
        "/run/credentials/web.service/demo",
        "/run/fleetswap-secrets/demo",
    ]
    assert SECRET not in said


def test_the_machine_tells_what_it_waited_for(machines: LocalStack) -> None:
    """A boot that has become slow could not be explained, or the report would go on for ever."""
    deadline = time.monotonic() + 90
    while not re.search(REPORT, console(machines)) and time.monotonic() < deadline:
        time.sleep(1)
    said = console(machines)
    assert len(re.findall(REPORT, said)) == 1
    assert re.search(r"Startup finished in (\d+min )?[\d.]+s \(kernel\) \+ (\d+min )?[\d.]+s \(userspace\)", said)
    assert re.search(r"fleetswap-debian version 1: serving on :8080 as i-[0-9a-f]{17} after", said)


def test_a_change_of_the_application_moves_few_blocks(machines: LocalStack) -> None:
    """An application of a few kilobytes would move a whole system unseen, or a machine would go on with the old one."""
    ran = machines.run("up", version="2")
    assert ran.status == 0
    assert "fleetswap-web 1 → 2" in ran.said
    whole, sent = blocks(ran.said)
    assert sent <= MOST_BLOCKS < whole / 10
    assert machines.serves("2")
