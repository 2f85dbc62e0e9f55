"""What opens a sealed file on a machine, with the real sops, against a KMS and a metadata service of the tests."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.secrets.aws_of_a_machine import ADDRESS, KEY, ROLE
from tests.secrets.machine import HOSTILE, OPEN, SOPS, Machine, Ran, started

KMS_SOCKET = f"{socket.inet_aton(ADDRESS)[::-1].hex().upper()}:{443:04X}"
"""KMS in /proc/net/tcp."""

MARKER = "hunter2-very-secret"
MULTILINE = 'line one\nline two with "quotes", \\n and ünïcode\n\n'
PLAIN = {"database": MARKER, "certificate": MULTILINE, "pin": "0123", "number": 12345}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, with one sealed file."""
    with started(tmp_path_factory.mktemp("machine")) as machine:
        machine.seal("sealed.yaml", PLAIN)
        yield machine


@pytest.fixture
def machine(here: Machine) -> Machine:
    """The machine as it is at the start of a test: nothing opened, nothing asked, and everyone answers.

    A test may end before KMS has read the last request of a program that was killed, and the next would count that one
    as its own. So KMS first ends its connections: established, or closed by the program (proc(5), /proc/net/tcp).
    """
    busy = f"grep -q ': {KMS_SOCKET} .* 0[138] ' /proc/net/tcp"
    here.inside("sh", "-c", f"rm -rf run/* ramfs/*; while {busy}; do sleep 0.1; done")
    here.plan()
    return here


def refused(machine: Machine, ran: Ran, into: str = "run/one") -> str:
    """The one line of a refusal, when it leaves nothing and says nothing that it must not."""
    assert ran.status == 1
    assert MARKER not in ran.said
    assert not (machine.folder / "seen").exists() or MARKER not in machine.seen()
    assert machine.files(into) == {}
    return ran.said.splitlines()[-1]


@pytest.mark.parametrize("by", ["jq", "sops"])
@pytest.mark.parametrize("shell", ["dash", "busybox ash"])
def test_the_secrets_are_there_and_nothing_else_knows_them(machine: Machine, shell: str, by: str) -> None:
    """An application would not start, would read another secret than was sealed, or another process could read it."""
    ran = machine.open("database", "certificate:0440:0:1000", "pin:400:1234", shell=shell, jq=by == "jq")
    assert ran.status == 0, ran.said
    assert re.search(r"^fleetswap-secrets: opened \(secrets: 3, tries: \d+, seconds: \d+\)\n\Z", ran.said, re.M)
    assert machine.files() == {"database": "400:0:0", "certificate": "440:0:1000", "pin": "400:1234:0"}
    assert machine.inside("cat", "run/one/database").stdout == MARKER
    assert machine.inside("cat", "run/one/certificate").stdout == MULTILINE
    assert machine.inside("cat", "run/one/pin").stdout == "0123"
    seen = machine.seen()
    assert MARKER not in seen + ran.said
    names = {line.partition("=")[0] for line in seen.splitlines() if re.match(r"[A-Z][A-Z0-9_]*=", line)}
    assert names & {*HOSTILE, "HOME"} == set()
    base = "/latest/meta-data/iam/security-credentials/"
    asked = machine.asked()
    assert {(service, method, path) for service, method, path, _ in asked} == {
        ("Metadata", "PUT", "/latest/api/token"),
        ("Metadata", "GET", base),
        ("Metadata", "GET", base + ROLE),
        ("Kms", "POST", "/"),
    }
    # On a busy machine, sops may have run out of time once.
    tries, each = int(re.findall(r"tries: (\d+)", ran.said)[-1]), 1 if by == "jq" else 3
    assert each <= [status for service, _, _, status in asked if service == "Kms"].count(200) <= each * tries


CHANGED = {
    "integer": (r"^(database: .*)type:str", "type:int"),
    "float": (r"type:str", "type:float"),
    "bool": (r"type:str", "type:bool"),
    "time": (r"type:str", "type:time"),
    "bytes": (r"type:str", "type:bytes"),
    "comment": (r"type:str", "type:comment"),
    "unknown type": (r"type:str", "type:none"),
    "mac": (r"mac: \S+", "mac: " + "x" * 40),
    "no mac": (r"mac: \S+", 'mac: ""'),
    "value": (r"data:...", "data:AAA"),
    "name": (r"^database:", "databasf:"),
    "unsealed": (r"^database: .*?$", "database: mine"),
    "truncated": (r"lastmodified: .*", ""),
    "cut": (r",tag:.*", ""),
    "not sealed": (r".*", f"database: {MARKER}\n"),
    "empty": (r".*", ""),
    "garbage": (r".*", "\x00\x01{{{ \u0378"),
}
"""Ways in which a sealed file may have been changed."""


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_file_is_refused_without_a_word_of_sops(machine: Machine, what: str) -> None:
    """Whoever can change the sealed file would read a secret on the console, or the machine would take a wrong one."""
    old, new = CHANGED[what]
    if what == "integer":
        new = re.match(old, (machine.folder / "sealed.yaml").read_text(), re.M).group(1) + new  # type: ignore[union-attr]
    sealed = machine.changed("changed.yaml", old, new)
    line = refused(machine, machine.open("database", sealed=sealed))
    assert re.search(
        r"the sealed file is damaged, or was changed after it was sealed \(sops ends with status \d+\)", line
    )


def test_sops_itself_prints_a_secret(machine: Machine) -> None:
    """The test above would prove nothing: sops would have become silent of itself."""
    sealed = machine.changed("changed.yaml", r"(?<=,type:)str", "int")
    env = {"SSL_CERT_FILE": str(machine.folder / "ca.pem")}
    done = machine.inside(SOPS, "decrypt", machine.folder / sealed, env=env)
    assert (done.returncode, MARKER in done.stderr) == (25, True)


ENOUGH = 4
"""A deadline in which a busy computer asks and is answered at least once, in seconds. An idle one needs 0.3 s."""

DENIED = (
    f"User: arn:aws:sts::111122223333:assumed-role/{ROLE}/i-0123456789abcdef0 is not authorized to perform: kms:Decrypt"
)
FAULTS = {
    "denied": (
        "AccessDeniedException",
        400,
        DENIED,
        f"KMS refuses: AccessDeniedException: {DENIED}. The role of this machine",
    ),
    "disabled": (
        "DisabledException",
        400,
        f"{KEY} is disabled.",
        f"DisabledException: {KEY} is disabled. Enable the key",
    ),
    "deleted": (
        "KMSInvalidStateException",
        400,
        f"{KEY} is pending deletion.",
        f"KMSInvalidStateException: {KEY} is pending deletion. If the key is to be deleted, keep it",
    ),
    "not found": ("NotFoundException", 400, f"Key '{KEY}' does not exist", "is not in this account and region"),
    "broken": ("KMSInternalException", 500, "", "KMS is not available: KMSInternalException"),
    "clock": ("InvalidSignatureException", 400, "Signature not yet current", "is the clock right?"),
    "rude": ("Rude\x1b[2J", 400, "\x1b]0;x\x07\r\nfake line " * 90, "fake line"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_the_answer_of_kms_is_told_in_one_line_with_what_to_do(machine: Machine, what: str) -> None:
    """Nobody would know from the console which key or policy to mend, or KMS's words could forge lines of it."""
    code, status, message, told = FAULTS[what]
    machine.plan(faults=[{"code": code, "status": status, "times": 99, "message": message}])
    ran = machine.open("database", deadline=ENOUGH)
    line = refused(machine, ran)
    assert told in line
    assert re.match(rf"fleetswap-secrets: gave up after {ENOUGH} s \(tries: [1-9]\): ", line)
    assert re.fullmatch(r"(fleetswap-secrets: [ -~]{1,600}\n){1,2}", ran.said)


def test_what_stands_in_the_way_of_kms_is_told_by_kind(machine: Machine) -> None:
    """No role, no name, no endpoint and no trust would all look alike, and each has its own remedy."""
    machine.plan(role=False)
    assert "no credentials: this machine has no role" in refused(machine, machine.open("database", deadline=ENOUGH))
    machine.plan(no_metadata=True)
    line = refused(machine, machine.open("database", deadline=2 * ENOUGH))
    assert "no credentials: the instance metadata service (IMDSv2) returns none" in line
    machine.plan()
    line = refused(machine, machine.open("database", deadline=ENOUGH, ca=False))
    assert "KMS is not reached: its certificate is not trusted" in line
    elsewhere = machine.changed("elsewhere.yaml", "us-east-1", "eu-west-3")
    assert "its name does not resolve" in refused(machine, machine.open("database", sealed=elsewhere, deadline=ENOUGH))
    closed = machine.changed("closed.yaml", "us-east-1", "us-east-2")
    assert "the connection failed" in refused(machine, machine.open("database", sealed=closed, deadline=ENOUGH))
    machine.plan(hang=2)
    assert "no response from it, or from the instance metadata service, within 1 s" in refused(
        machine, machine.open("database", deadline=1)
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            r"Environment: fleetswap/prod",
            "Environment: fleetswap/staging",
            "KMS refuses: InvalidCiphertextException. It was sealed",
        ),
        (r'aws_profile: ""', "aws_profile: admin", "names an AWS profile"),
        (r"arn: arn:\S+", f"arn: {KEY.replace(':kms:', ':sns:')}", "names no key of KMS"),
    ],
)
def test_what_another_try_cannot_mend_is_not_tried_again(machine: Machine, old: str, new: str, told: str) -> None:
    """A machine that can never open its secrets would look for minutes as if it still might."""
    ran = machine.open("database", sealed=machine.changed("final.yaml", old, new))
    assert told in refused(machine, ran)
    assert len([asked for asked in machine.asked() if asked[0] == "Kms"]) <= 1


@pytest.mark.parametrize(
    "arn",
    [
        r"arn:aws:kms:x\e[2J\r\n\a https response error StatusCode: 400, RequestID: x, Fake: line\nforged\n:1:key/x",
        "arn:aws:kms:us-east-1:111122223333:key/" + "get credentials ec2imds " * 400,
    ],
)
def test_the_text_of_a_sealed_file_forges_no_line(machine: Machine, arn: str) -> None:
    """Whoever can change the sealed file would write what they like onto the console, or fill it."""
    ran = machine.open("database", sealed=machine.changed("forged.yaml", r"arn: arn:\S+", f'arn: "{arn}"'), deadline=1)
    refused(machine, ran)
    assert re.fullmatch(r"(fleetswap-secrets: [ -~]{1,600}\n){1,3}", ran.said)


@pytest.mark.parametrize("by", ["jq", "sops"])
def test_a_secret_that_is_not_in_the_file_is_named(machine: Machine, by: str) -> None:
    """The machine would start with some of its secrets, or say only that something is wrong."""
    line = refused(machine, machine.open("database", "missing", jq=by == "jq"))
    assert "the sealed file has no secret missing" in line


def test_a_value_that_is_no_string_is_not_guessed_at(machine: Machine) -> None:
    """A long number would reach the application rounded."""
    assert "secret number is not a string" in refused(machine, machine.open("database", "number"))
    assert "could not be given to nobody-here" in refused(machine, machine.open("database:0400:nobody-here"))


def test_only_memory_is_written_to(machine: Machine) -> None:
    """A secret would be on the volume, and so in snapshots of it, after the machine is gone."""
    ran = machine.open("database", into="disk")
    assert "is not in memory" in refused(machine, ran, "disk")
    assert machine.asked() == []
    assert machine.open("database", into="ramfs").status == 0

    swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n{} partition 1048572 0 -2\n"
    command = f"{OPEN} --sealed sealed --into {machine.folder}/run --sops {machine.folder}/sops database"
    command = command.replace("--sealed sealed", f"--sealed {machine.folder}/sealed.yaml --ca {machine.folder}/ca.pem")
    for device, backing, status in (
        ("/dev/nvme1n1", "none", 1),
        ("/dev/zram0", "none", 0),
        ("/dev/zram0", "/dev/sdb", 1),
    ):
        (machine.folder / "swaps").write_text(swaps.format(device))
        made = "mount --bind swaps /proc/swaps; mount -t tmpfs x /sys/block; mkdir /sys/block/zram0"
        made += f"; echo {backing} >/sys/block/zram0/backing_dev"
        done = machine.inside("unshare", "--mount", "sh", "-c", f"{made}; {command}")
        assert (done.returncode, "swap is on" in done.stderr) == (status, status == 1), done.stderr


def test_a_region_out_of_reach_does_not_hold_up_the_next_in_the_file(machine: Machine) -> None:
    """With replicas of the key, one image opens its secrets in all regions, and may reach KMS in its own alone."""
    text = (machine.folder / "sealed.yaml").read_text()
    (entry,) = re.findall(r"^ +- arn: .*?(?=^    \w)", text, re.M | re.S)
    both = machine.changed("both.yaml", r"(?<=kms:\n)", entry.replace("us-east-1", "eu-west-1"))
    ran = machine.open("database", sealed=both, deadline=60)
    assert ran.status == 0
    assert "tries: 1," in ran.said


def test_sops_that_is_killed_for_want_of_memory_is_told_from_a_kms_that_hangs(machine: Machine) -> None:
    """Somebody would look at the network of a machine that needs a larger instance type."""
    (machine.folder / "killed").write_text("#!/bin/sh\nkill -KILL $$\n")
    (machine.folder / "killed").chmod(0o755)
    line = refused(machine, machine.open("database", deadline=ENOUGH, sops="killed"))
    assert "sops was killed: has this machine enough memory?" in line


@pytest.mark.parametrize("by", ["jq", "sops"])
def test_a_folder_that_is_full_is_told_from_a_damaged_file(machine: Machine, by: str) -> None:
    """Somebody would seal again and deploy what only needs more room."""
    machine.inside("sh", "-c", "mkdir run/small && mount -t tmpfs -o size=32k small run/small")
    try:
        machine.seal("large.yaml", {"database": MARKER * 4000})
        line = refused(
            machine, machine.open("database", sealed="large.yaml", into="run/small", jq=by == "jq"), "run/small"
        )
        assert line.endswith("run/small has no room for the secrets: make it larger")
        machine.inside("sh", "-c", "cat /dev/zero >run/small/other")
        ran = machine.open("database", into="run/small")
        assert re.fullmatch("fleetswap-secrets: [^\n]* cannot be written to: is it full\\?\n", ran.said)
    finally:
        machine.inside("umount", "run/small")


WRONG_CLOCK = """\
Group 0: FAILED
  {key}|Environment:fleetswap/prod: FAILED
    - | failed to decrypt sops data key with AWS KMS: operation
      | error KMS: Decrypt, exceeded maximum number of attempts, 1,
      | https response error StatusCode: 0, RequestID: , request
      | send failed, Post "https://kms.us-east-1.amazonaws.com/":
      | tls: failed to verify certificate: x509: certificate has
      | expired or is not yet valid: current time
      | 2016-01-01T00:00:00Z is before 2026-11-26T18:24:53Z
"""
"""What sops 3.11 says of a certificate by a clock that is wrong."""


def test_a_clock_that_is_wrong_is_told_from_a_certificate_that_is_not_trusted(machine: Machine) -> None:
    """Somebody would look for another authority on a machine that has not asked the time server yet."""
    (machine.folder / "early").write_text(
        f"#!/bin/sh\n/bin/cat >&2 <<'end'\n{WRONG_CLOCK.format(key=KEY)}end\nexit 128\n"
    )
    (machine.folder / "early").chmod(0o755)
    ran = machine.open("database", deadline=ENOUGH, sops="early")
    assert refused(machine, ran).endswith("its certificate has expired or is not yet valid: is the clock right?")
    assert re.search(r"is the clock right\? Trying for \d s more\n", ran.said)


OTHERS = {
    "azure_kv": "    azure_kv:\n        - vault_url: http://169.254.169.254\n          name: k\n          enc: x\n",
    "hc_vault": "    hc_vault:\n        - vault_address: http://169.254.169.254\n          enc: x\n",
    "role": "          role: arn:aws:iam::444455556666:role/theirs\n",
}


@pytest.mark.parametrize("kind", ["yaml", "json"])
@pytest.mark.parametrize("other", OTHERS)
def test_nobody_else_is_asked(machine: Machine, other: str, kind: str) -> None:
    """Who made the sealed file would have the machine send requests to an address of theirs, or become another role."""
    at = r"(?=^          context:)" if other == "role" else r"(?=^    lastmodified:)"
    sealed = machine.changed("others.yaml", at, OTHERS[other])
    if kind == "json":
        document = yaml.safe_load((machine.folder / sealed).read_text())
        (machine.folder / sealed).write_text(json.dumps(document, indent="\t"))
    line = refused(machine, machine.open("database", sealed=sealed))
    assert line.endswith(
        f"the sealed file names others than KMS and this machine's role in its metadata ({other}):"
        " seal it for KMS alone, and deploy"
    )
    assert machine.asked() == []


def test_names_of_the_metadata_are_names_of_secrets_too(machine: Machine) -> None:
    """A machine would refuse a file for what its secrets are called."""
    machine.seal("names.yaml", {"role": "arn:aws:x", "hc_vault": ["a"], "nested": {"azure_kv": ["b"]}})
    text = (machine.folder / "names.yaml").read_text().replace("sops:\n", "sops:\n    gcp_kms: []\n")
    (machine.folder / "names.yaml").write_text(text)
    assert machine.open("role", sealed="names.yaml").status == 0


def test_twenty_machines_that_a_quota_throttles_all_get_there(machine: Machine) -> None:
    """A deploy of a large fleet would fail because its machines start together, or they would ask ever faster."""
    # On a busy computer they come too slowly for a quota alone.
    machine.plan(rate=8, faults=[{"code": "ThrottlingException", "status": 400, "times": 20}])
    with ThreadPoolExecutor(20) as pool:
        ran = list(pool.map(lambda each: machine.open("database", into=f"run/{each}", deadline=60), range(20)))
    assert [each.status for each in ran] == [0] * 20
    statuses = [status for service, _, _, status in machine.asked() if service == "Kms"]
    # One whose client had gone may be among them.
    assert statuses.count(200) >= 20
    assert statuses.count(400) >= 20
    assert len(statuses) <= 20 * 6
    assert any("KMS is not available: ThrottlingException" in each.said for each in ran)


def test_a_repeat_replaces_what_is_there_and_what_a_killed_one_left(machine: Machine) -> None:
    """A restart of the unit would fail, or plain text of an attempt that was killed would stay."""
    machine.inside(
        "sh", "-c", "mkdir -p run/one/.opening.1/open && echo old >run/one/.opening.1/plain && echo old >run/one/pin"
    )
    for _ in range(2):
        assert machine.open("database", "pin").status == 0
    assert machine.files() == {"database": "400:0:0", "pin": "400:0:0"}
    assert machine.inside("cat", "run/one/pin").stdout == "0123"
    # One that fails leaves what an earlier one opened.
    assert machine.open("database", "missing").status == 1
    assert machine.files() == {"database": "400:0:0", "pin": "400:0:0"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--into"],
        ["--into", "run/one", "database"],
        ["--sealed", "/s", "--into", "/run", "--sops", "sops", "database"],
        ["--sealed", "/s", "--into", "/run", "--sops", "/s"],
        ["--sealed", "/s", "--into", "/run", "--sops", "/s", "../database"],
        ["--sealed", "/s", "--into", "/run", "--sops", "/s", ".hidden"],
        ["--sealed", "/s", "--into", "/run", "--sops", "/s", "database:u+r"],
        ["--sealed", "/s", "--into", "/run", "--sops", "/s", "--deadline", "2m", "database"],
        ["--secret", "x"],
    ],
)
def test_wrong_arguments_are_told(arguments: list[str]) -> None:
    """A mistake in a unit would look as if KMS were to blame, or write outside of the folder."""
    done = subprocess.run(["dash", OPEN, *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
