"""A metadata service and a KMS as a machine sees them, for one program: run in a network namespace of its own.

    unshare --net --mount python -m tests.secrets.aws_of_a_machine FOLDER

FOLDER/plan.json, read for each request, says how they answer; FOLDER/asked gets a line of JSON for each request.
FOLDER/ready appears when they listen, FOLDER/ca.pem is what signed KMS's certificate. They are strict: IMDSv2 only, and
KMS takes only credentials that the metadata service handed out, and only the context that was encrypted with.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import secrets
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REGION: Final = "us-east-1"
KMS: Final = f"kms.{REGION}.amazonaws.com"
KEY: Final = f"arn:aws:kms:{REGION}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE: Final = "web-machines"
INSTANCE: Final = "i-0123456789abcdef0"
DEPLOYER: Final = "AKIADEPLOYER00000000"
"""May encrypt; what it is refused is nobody's concern here."""
ADDRESS: Final = "192.0.2.53"
"""Of KMS, and of the name server that QEMU asks for a guest."""
HOSTS: Final = f"""\
127.0.0.1 localhost
{ADDRESS} {KMS}
127.0.0.3 kms.us-east-2.amazonaws.com
127.0.0.4 kms.eu-west-1.amazonaws.com
"""
"""In us-east-2 nothing listens; in eu-west-1 connections get no response."""

folder = Path(sys.argv[-1])
sealed: dict[str, tuple[str, str, dict[str, str]]] = {}
"""Data key, key and context of each ciphertext."""
tokens: set[str] = set()
sessions: dict[str, str] = {}
"""Token of the session of each access key."""
lock = threading.Lock()


served: list[float] = []
"""When KMS took each request of the last second."""


def within(rate: int) -> bool:
    """Whether KMS takes another request now, of so many a second."""
    with lock:
        now = time.monotonic()
        served[:] = [each for each in served if each > now - 1]
        if len(served) < rate:
            served.append(now)
            return True
        return False


def plan() -> dict[str, Any]:
    """How to answer now."""
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found


class Answers(http.server.BaseHTTPRequestHandler):
    """What both have in common."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silent."""

    def answer(self, status: int, body: str, **headers: str) -> None:
        """Answer, and write down what was asked."""
        with lock, (folder / "asked").open("a") as asked:
            asked.write(json.dumps([type(self).__name__, self.command, self.path, status]) + "\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


class Metadata(Answers):
    """IMDSv2: a token first, and everything with it."""

    def do_PUT(self) -> None:
        if plan().get("no_metadata"):
            return self.answer(503, "")
        if self.path != "/latest/api/token" or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            return self.answer(400, "")
        token = secrets.token_urlsafe()
        tokens.add(token)
        return self.answer(200, token, **{"X-aws-ec2-metadata-token-ttl-seconds": "21600"})

    def do_GET(self) -> None:
        base = "/latest/meta-data/iam/security-credentials/"
        if self.headers.get("X-aws-ec2-metadata-token") not in tokens:
            return self.answer(401, "")
        if self.path == "/latest/meta-data/instance-id":
            return self.answer(200, INSTANCE)
        if not plan().get("role", True) or not self.path.startswith(base):
            return self.answer(404, "")
        if self.path == base:
            return self.answer(200, ROLE)
        key = "ASIA" + secrets.token_hex(8).upper()
        sessions[key] = secrets.token_hex()
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=6)
        credentials = {
            "Code": "Success",
            "LastUpdated": "2026-11-26T00:00:00Z",
            "Type": "AWS-HMAC",
            "AccessKeyId": key,
            "SecretAccessKey": secrets.token_hex(),
            "Token": sessions[key],
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self.answer(200, json.dumps(credentials))


class Kms(Answers):
    """Encrypt for the deployer, Decrypt for the role."""

    def refuse(self, status: int, code: str, message: str) -> None:
        """An error in the form of AWS's JSON 1.1."""
        body = json.dumps({"__type": code, "message": message})
        self.answer(status, body, **{"x-amzn-RequestId": "7b4a2c1e-0000-4000-8000-000000000001"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        target = self.headers["X-Amz-Target"]
        caller = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        context = body.get("EncryptionContext", {})
        if target == "TrentService.Encrypt" and caller == DEPLOYER:
            blob = secrets.token_urlsafe(96)
            sealed[blob] = (body["Plaintext"], body["KeyId"], context)
            text = base64.b64encode(blob.encode()).decode()
            return self.answer(200, json.dumps({"CiphertextBlob": text, "KeyId": body["KeyId"]}))
        now = plan()
        if now.get("hang"):
            time.sleep(now["hang"])
            self.close_connection = True
            return None
        if not within(now.get("rate", 1000)):
            return self.refuse(400, "ThrottlingException", "You have exceeded the rate at which you may call KMS.")
        for fault in now.get("faults", []):
            with lock:
                used = folder / f"used-{fault['code']}"
                count = int(used.read_text()) if used.exists() else 0
                used.write_text(str(count + 1))
            if count < fault["times"]:
                return self.refuse(fault["status"], fault["code"], fault.get("message", "no reason"))
        if sessions.get(caller) != self.headers["X-Amz-Security-Token"]:
            return self.refuse(
                400, "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        return self.decrypt(target, body, context)

    def decrypt(self, target: str, body: dict[str, Any], context: dict[str, str]) -> None:
        """The data key, if this is the key and the context that it was encrypted with."""
        known = sealed.get(base64.b64decode(body["CiphertextBlob"]).decode(errors="replace"))
        if target != "TrentService.Decrypt" or known is None or known[1:] != (body["KeyId"], context):
            self.refuse(400, "InvalidCiphertextException", "")
        else:
            self.answer(200, json.dumps({"Plaintext": known[0], "KeyId": known[1]}))


class Names(socketserver.BaseRequestHandler):
    """A name server that knows KMS alone (RFC 1035, section 4.1)."""

    def handle(self) -> None:
        """One question, and its answer."""
        asked, line = self.request
        end = asked.index(b"\0", 12) + 5
        labels, kind = asked[12 : end - 4], asked[end - 4 : end - 2]
        known = labels.lower() == b"".join(bytes([len(part)]) + part.encode() for part in KMS.split(".")) + b"\0"
        found = known and kind == b"\0\1"
        head = (
            asked[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0" * 4
        )
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ADDRESS) if found else b""
        line.sendto(head + asked[12:end] + answer, self.client_address)


def certificate() -> None:
    """A certificate for KMS by an authority of its own, in FOLDER."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Authority of a test", KMS)]
    pem = serialization.Encoding.PEM
    for which, name in enumerate(("ca", "kms")):
        made = (
            x509.CertificateBuilder()
            .subject_name(names[which])
            .issuer_name(names[0])
            .public_key(keys[which].public_key())
            .serial_number(which + 1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=which == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(KMS)]), critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    (folder / "kms.key").write_bytes(
        keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def main() -> None:
    """Make the namespace a machine's, and serve until killed."""
    (folder / "hosts").write_text(HOSTS)
    (folder / "resolv.conf").write_text(f"nameserver {ADDRESS}\n")
    for command in (
        "ip link set lo up",
        "ip address add 169.254.169.254/32 dev lo",
        f"ip address add {ADDRESS}/32 dev lo",
        f"mount --bind {folder}/hosts /etc/hosts",
        f"mount --bind {folder}/resolv.conf /etc/resolv.conf",
        f"mount -t tmpfs -o mode=755 run {folder}/run",
        f"mount -t ramfs -o mode=755 run {folder}/ramfs",
    ):
        subprocess.run(command.split(), check=True)
    certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "kms.pem", folder / "kms.key")
    kms = http.server.ThreadingHTTPServer((ADDRESS, 443), Kms)
    kms.socket = context.wrap_socket(kms.socket, server_side=True)
    threading.Thread(target=kms.serve_forever, daemon=True).start()
    names = socketserver.ThreadingUDPServer((ADDRESS, 53), Names)
    threading.Thread(target=names.serve_forever, daemon=True).start()
    metadata = http.server.ThreadingHTTPServer(("169.254.169.254", 80), Metadata)
    # Nothing more fits into the queue of this one, so whoever connects waits, as for a region that no route leads to.
    full = socket.create_server(("127.0.0.4", 443), backlog=0)
    waiting = [socket.socket() for _ in range(2)]
    for each in waiting:
        each.settimeout(0)
        each.connect_ex(full.getsockname())
    (folder / "ready").touch()
    metadata.serve_forever()


if __name__ == "__main__":
    main()
