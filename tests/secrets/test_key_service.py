"""A machine opens a sealed file with a data key that KMS releases for its attestation document: real sops, a real TPM.

The TPM is swtpm behind the local cloud's stand-in for NitroTPM; KMS is the local cloud's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localcloud.attestation import documents
from localcloud.compute.tpm import Tpm
from localcloud.processes.children import Children
from tests.localcloud.attestation.machine import Client
from tests.localcloud.authorization.conftest import ACCOUNT, Key, People, people, trust
from tests.localcloud.conftest import clients, cloud
from tests.needs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

__all__ = ["clients", "cloud", "people"]

pytestmark = [
    pytest.mark.machines,
    pytest.mark.go,
    pytest.mark.skipif(shutil.which("go") is None, reason="the key service is a Go program"),
]

SOURCE = ROOT / "nix/key-service"
OPEN = ROOT / "nix/secrets/open-secrets"
SOPS = ROOT / ".work/sops/sops"
MARKER = "hunter2-very-secret"
ROOT_OF_ACCOUNT = f"arn:aws:iam::{ACCOUNT}:root"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key service, built as nix/debian builds it."""
    path = tmp_path_factory.mktemp("key-service") / "fleetswap-key-service"
    subprocess.run([SOURCE / "build", path], check=True, timeout=500)
    return path


def test_the_program_is_as_go_wants_it() -> None:
    """A mistake that Go's own tools or the program's own tests find would be in it, or a dependency."""
    env = os.environ | {"GOFLAGS": "-mod=readonly", "GOPROXY": "off"}
    for command in (["go", "vet", "./..."], ["go", "test", "./..."]):
        done = subprocess.run(command, cwd=SOURCE, env=env, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run(["gofmt", "-l", "."], cwd=SOURCE, capture_output=True, check=True).stdout == b""
    assert "require" not in (SOURCE / "go.mod").read_text()


def test_a_build_can_be_repeated(program: Path, tmp_path: Path) -> None:
    """An attested image would have other measurements for the same source; or need a library that it does not have."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(SOURCE, copy)
    subprocess.run([copy / "build", tmp_path / "again"], check=True, timeout=500)
    assert (tmp_path / "again").read_bytes() == program.read_bytes()
    assert b"/lib64/ld-linux" not in program.read_bytes()


class Metadata(ThreadingHTTPServer):
    """IMDSv2 with the credentials of a role."""

    def __init__(self, key: Key) -> None:
        self.key = key
        super().__init__(("127.0.0.1", 0), MetadataHandler)


class MetadataHandler(BaseHTTPRequestHandler):
    server: Metadata

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        self._answer(200, "token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "token":
            return self._answer(401, "")
        if self.path.endswith("/security-credentials/"):
            return self._answer(200, "machine")
        key = self.server.key
        told = {"Code": "Success", "AccessKeyId": key.id, "SecretAccessKey": key.secret, "Token": key.token}
        return self._answer(200, json.dumps(told))

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


class Machine:
    """A machine with a sealed file, a role and a TPM. Its memory is a folder of this machine's."""

    def __init__(self, folder: Path, program: Path, cloud: LocalCloud, people: People) -> None:
        self.folder, self.program, self.endpoint = folder, program, cloud.endpoint
        self.kms = people.client("kms", None)
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.metadata = Metadata(people.session())
        threading.Thread(target=self.metadata.serve_forever, args=(0.02,), daemon=True).start()
        self.tpm = Tpm(folder, Children(folder / "children"), documents.Attestor(folder / "cloud"), "i-0a")
        self.client = Client(self.tpm)
        self.device = folder / "tpm.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.device))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        self.memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
        (folder / "plain.yaml").write_text(f"demo: {MARKER}\n")
        environment = {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        seal = [SOPS, "encrypt", "--kms", self.key, "--encryption-context", "Environment:fleetswap/prod"]
        done = subprocess.run(
            [*seal, folder / "plain.yaml"], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        (folder / "sealed.yaml").write_text(done.stdout)

    def close(self) -> None:
        self.metadata.shutdown()
        self.metadata.server_close()
        self._listener.close()
        self.client.close()
        self.tpm.kill()
        shutil.rmtree(self.memory)

    def pcrs(self) -> dict[int, bytes]:
        """What the TPM has measured."""
        found = documents.verify(self.client.attest(), documents.Attestor(self.folder / "cloud").root).pcrs
        self.client.undefine()
        return dict(found)

    def allow(self, pcrs: dict[int, bytes]) -> None:
        """The key opens for machines with these registers, in this environment, and for nobody else."""
        condition = {f"kms:RecipientAttestation:NitroTPMPCR{index}": value.hex() for index, value in pcrs.items()}
        condition["kms:EncryptionContext:Environment"] = "fleetswap/prod"
        statements = [
            {"Effect": "Allow", "Principal": {"AWS": ROOT_OF_ACCOUNT}, "Action": "kms:Put*", "Resource": "*"},
            {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "kms:Decrypt",
                "Resource": "*",
                "Condition": {"StringEquals": condition},
            },
        ]
        self.kms.put_key_policy(
            KeyId=self.key,
            PolicyName="default",
            Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
            BypassPolicyLockoutSafetyCheck=True,
        )

    def open(self, *, tpm: Path | None = None, deadline: int = 60) -> subprocess.CompletedProcess[str]:
        """Open the sealed file. What ends well takes a second of the deadline, on an idle computer."""
        key_socket = self.memory / "key-service"
        command: list[Any] = [OPEN, "--sealed", self.folder / "sealed.yaml", "--into", self.memory, "--sops", SOPS]
        command += ["--deadline", str(deadline), "--key-service", key_socket, "demo"]
        command = [*self.service(tpm), "--", *command]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def service(self, tpm: Path | None = None) -> list[Any]:
        command = [self.program, "-socket", self.memory / "key-service", "-tpm", tpm or self.device]
        metadata = f"http://127.0.0.1:{self.metadata.server_address[1]}"
        return [*command, "-metadata", metadata, "-endpoint", self.endpoint]

    def _serve(self) -> None:
        """The TPM's device, for one at a time."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError, EOFError):  # a key service may be killed in the middle
                while command := connection.recv(4096):
                    connection.sendall(self.client.raw(command))


@pytest.fixture
def machine(program: Path, tmp_path: Path, cloud: LocalCloud, clients: Clients, people: People) -> Iterator[Machine]:
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS=ROOT_OF_ACCOUNT))
    made = Machine(tmp_path, program, cloud, people)
    yield made
    made.close()


def test_a_machine_that_is_as_measured_opens_its_secrets(machine: Machine) -> None:
    """A machine of an attested release would never be healthy; or something of it would be left open."""
    pcrs = machine.pcrs()
    machine.allow({4: pcrs[4], 12: pcrs[12]})
    opened = machine.open()
    assert (opened.returncode, (machine.memory / "demo").read_text()) == (0, MARKER), opened.stderr
    assert "opened (secrets: 1" in opened.stderr
    assert MARKER not in opened.stdout + opened.stderr
    assert [path.name for path in machine.memory.iterdir()] == ["demo"]  # the socket has gone
    again = machine.open()
    assert again.returncode == 0, again.stderr


def test_a_machine_that_is_not_as_measured_is_refused(machine: Machine) -> None:
    """A machine with another kernel or command line could read the secrets, or would not say why it does not start."""
    pcrs = machine.pcrs()
    machine.allow({4: pcrs[4], 12: bytes([pcrs[12][0] ^ 1]) + pcrs[12][1:]})
    refused = machine.open(deadline=10)
    assert refused.returncode == 1
    assert "KMS refuses: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/operator" in refused.stderr
    assert not (machine.memory / "demo").exists()


def test_a_machine_without_a_tpm_says_so(machine: Machine, tmp_path: Path) -> None:
    """A machine whose AMI has no TPM support would fail at KMS, with words that lead elsewhere."""
    refused = machine.open(tpm=tmp_path / "not-there", deadline=10)
    assert refused.returncode == 1
    assert "this machine cannot attest itself" in refused.stderr
    assert not (machine.memory / "demo").exists()


def test_a_message_buffer_that_was_left_is_taken_over(machine: Machine) -> None:
    """A machine that went off in the middle could never attest again: a TPM keeps its buffers."""
    pcrs = machine.pcrs()
    machine.allow({4: pcrs[4]})
    machine.client.index = 0x018F1EE7  # attest.go: messageBuffer
    machine.client.define()
    assert machine.open().returncode == 0


def test_other_keys_and_encryption_are_refused(machine: Machine) -> None:
    """The service would do more than the unit that starts it needs."""
    with subprocess.Popen([*machine.service(), "--", "sleep", "60"]) as running:
        key_socket = machine.memory / "key-service"
        until = time.monotonic() + 20
        while not key_socket.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        assert key_socket.stat().st_mode & 0o777 == 0o600
        flags = ["--enable-local-keyservice=false", f"--keyservice=unix://{key_socket}", "--kms", machine.key]
        done = subprocess.run(
            [SOPS, "encrypt", *flags, machine.folder / "plain.yaml"], capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "only decrypts" in done.stderr
        running.send_signal(signal.SIGTERM)
    assert running.returncode == 128 + signal.SIGTERM
    assert not key_socket.exists()


@pytest.mark.parametrize(("command", "status"), [(["sh", "-c", "exit 3"], 3), (["/not-there"], 127)])
def test_the_command_s_status_is_passed_on(machine: Machine, command: list[str], status: int) -> None:
    """Systemd would take a machine that has no secrets for one that has."""
    done = subprocess.run([*machine.service(), "--", *command], capture_output=True, check=False, timeout=60)
    assert done.returncode == status
