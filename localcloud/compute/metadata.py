"""The instance metadata service, a server for each machine: who it is, its user data, its role's credentials.

Decides what a machine may read and whether it needs a session token. Never answers anyone but this computer's own
processes; the router connects a guest's 169.254.169.254:80 to its server, and no other guest's (`localcloud.network`,
where the hop limit is, too). Source: EC2 user guide, "Instance metadata and user data".
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from localcloud import view
from localcloud.admin import CREDENTIALS_SECONDS
from localcloud.authorization.services import may_assume
from localcloud.ec2 import spot
from localcloud.moto_state import ACCOUNT_ID, LOCK, REGION, Moto, backend

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "X-aws-ec2-metadata-token"  # noqa: S105 - the header's name
TOKEN_TTL = "X-aws-ec2-metadata-token-ttl-seconds"  # noqa: S105 - the header's name
MAX_TTL = 21_600
RENEW_SECONDS = 900  # EC2 has new credentials at least five minutes before the old ones expire


class Refused(Exception):
    """A request that gets no data; `status` is the HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Tokens:
    """Session tokens of one machine, with a clock of monotonic seconds."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def issue(self, ttl: str | None, now: float) -> tuple[str, int]:
        """A new token and its seconds. Raises `Refused` for a time to live that is not 1 to 21,600."""
        if ttl is None or not ttl.isdecimal() or not 1 <= int(ttl) <= MAX_TTL:
            raise Refused(400)
        self._until = {token: until for token, until in self._until.items() if until > now}
        token = secrets.token_urlsafe(40)
        self._until[token] = now + int(ttl)
        return token, int(ttl)

    def check(self, token: str | None, *, required: bool, now: float) -> None:
        """Raise `Refused` unless a request with this token may read."""
        if token is None:
            if required:
                raise Refused(401)
        elif self._until.get(token, 0.0) <= now:
            raise Refused(401)


def find(tree: Mapping[str, str], path: str) -> str:
    """What is at a path below `/latest/`: a value, or the list of what is below it. Raises `Refused` if nothing is."""
    path = path.strip("/")
    if path in tree:
        return tree[path]
    below = f"{path}/" if path else ""
    names: dict[str, None] = {}
    for key in tree:
        if key.startswith(below):
            name, slash, _ = key[len(below) :].partition("/")
            names[name + slash] = None
    if not names:
        raise Refused(404)
    return "\n".join(names)


def tree(instance: Moto, credentials: Mapping[str, str] | None) -> dict[str, str]:
    """Everything but the user data that moto's instance shows to its machine. Hold `LOCK`."""
    zone = instance.placement.zone
    plain = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "hostname": instance.private_dns_name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "spot" if instance.lifecycle == "spot" else "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": instance.private_ip,
        **_interface(instance),
        "placement/availability-zone": zone,
        "placement/region": REGION,
        "security-groups": "\n".join(dict.fromkeys(group.name for group in instance.security_groups)),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    recommended = spot.recommendation(instance)
    if recommended is not None:
        plain["events/recommendations/rebalance"] = _json(recommended)
    interruption = spot.notice(instance)
    if interruption is not None:
        plain["spot/instance-action"] = _json(interruption)
        plain["spot/termination-time"] = interruption["time"]
    profile = _profile(instance)
    if profile is not None:
        plain["iam/info"] = _json(
            {
                "Code": "Success",
                "LastUpdated": _stamp(instance.launch_time),
                "InstanceProfileArn": profile.arn,
                "InstanceProfileId": profile.id,
            }
        )
        if profile.roles and credentials is not None:
            plain[f"iam/security-credentials/{profile.roles[0].name}"] = _json(credentials)
    if instance.metadata_options.instance_metadata_tags == "enabled":
        plain |= {f"tags/instance/{tag['key']}": tag["value"] for tag in instance.get_tags()}
    document = {
        "accountId": ACCOUNT_ID,
        "architecture": instance.architecture,
        "availabilityZone": zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "pendingTime": _stamp(instance.launch_time),
        "privateIp": instance.private_ip,
        "region": REGION,
        "version": "2017-09-30",
    }
    return {f"meta-data/{key}": value for key, value in plain.items()} | {
        "dynamic/instance-identity/document": _json(document)
    }


def _interface(instance: Moto) -> dict[str, str]:
    """The network interface, as images that configure theirs by it read it (cloud-init, amazon-ec2-net-utils)."""
    nic = instance.nics[0]
    subnet, groups = nic.subnet, {group.id: group.name for group in instance.security_groups}
    shown = {
        "device-number": "0",
        "interface-id": nic.id,
        "local-hostname": instance.private_dns_name,
        "local-ipv4s": nic.private_ip_address,
        "mac": nic.mac_address,
        "owner-id": ACCOUNT_ID,
        "security-group-ids": "\n".join(groups),
        "security-groups": "\n".join(groups.values()),
        "subnet-id": subnet.id,
        "subnet-ipv4-cidr-block": subnet.cidr_block,
        "vpc-id": subnet.vpc_id,
        "vpc-ipv4-cidr-block": backend("ec2").vpcs[subnet.vpc_id].cidr_block,
    }
    macs = f"network/interfaces/macs/{nic.mac_address}"
    return {"mac": nic.mac_address} | {f"{macs}/{name}": value for name, value in shown.items()}


class MetadataServer(ThreadingHTTPServer):
    """The metadata service of one instance, at a free port of loopback from the start until `close`."""

    daemon_threads = True

    def __init__(self, instance_id: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens = Tokens()
        self._instance_id = instance_id
        self._credentials: tuple[str, float, dict[str, str]] | None = None
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name=f"metadata {instance_id}", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def read(self, path: str, token: str | None) -> bytes:
        """What is at a path such as `latest/meta-data/instance-id`. Raises `Refused`."""
        with LOCK:
            instance = backend("ec2").get_instance_by_id(self._instance_id)
            if instance is None or instance.state == "terminated":
                raise Refused(403)
            if instance.metadata_options.http_endpoint == "disabled":
                raise Refused(403)
            self.tokens.check(token, required=instance.metadata_options.http_tokens == "required", now=time.monotonic())
            version, _, path = path.strip("/").partition("/")
            if not re.fullmatch(r"latest|1\.0|\d{4}-\d{2}-\d{2}", version):
                raise Refused(404)
            data = view.user_data(instance)
            if path.strip("/") == "user-data":
                if data is None:
                    raise Refused(404)
                return data
            wants_credentials = path.startswith("meta-data/iam")
            return find(tree(instance, self._role_credentials(instance) if wants_credentials else None), path).encode()

    def _role_credentials(self, instance: Moto) -> dict[str, str] | None:
        profile = _profile(instance)
        if profile is None or not profile.roles:
            return None
        role, unique = profile.roles[0].arn, profile.roles[0].id
        if not may_assume("ec2.amazonaws.com", profile.roles[0]):
            return None
        if self._credentials is None or self._credentials[0] != unique or self._credentials[1] < time.time():
            # Set back with moto's state; `admin` may shorten it.
            lasting = float(getattr(backend("sts"), "machine_credentials_seconds", CREDENTIALS_SECONDS))
            assumed = backend("sts").assume_role(
                region_name=REGION,
                role_session_name=instance.id,
                role_arn=role,
                policy=None,
                duration=lasting,
                external_id=None,
            )
            shown = {
                "Code": "Success",
                "LastUpdated": _stamp(datetime.now(UTC)),
                "Type": "AWS-HMAC",
                "AccessKeyId": assumed.access_key_id,
                "SecretAccessKey": assumed.secret_access_key,
                "Token": assumed.session_token,
                "Expiration": _stamp(assumed.expiration),
            }
            self._credentials = (unique, time.time() + lasting - min(RENEW_SECONDS, lasting / 2), shown)
        return self._credentials[2]


def _profile(instance: Moto) -> Moto | None:
    association = backend("ec2").iam_instance_profile_associations.get(instance.id)
    return None if association is None else association.iam_instance_profile


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2)


class _Handler(BaseHTTPRequestHandler):
    server: MetadataServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "EC2ws", ""

    def do_PUT(self) -> None:
        """Issue a session token."""
        try:
            if self.path != "/latest/api/token":
                raise Refused(404)
            if self.headers.get("X-Forwarded-For") is not None:  # a proxy in the machine is open to others
                raise Refused(403)
            token, ttl = self.server.tokens.issue(self.headers.get(TOKEN_TTL), time.monotonic())
        except Refused as refused:
            self._answer(refused.status, b"")
        else:
            self._answer(200, token.encode(), {TOKEN_TTL: str(ttl)})

    def do_GET(self) -> None:
        """Answer a value or a list."""
        try:
            data = self.server.read(self.path.partition("?")[0], self.headers.get(TOKEN))
        except Refused as refused:
            self._answer(refused.status, b"")
        else:
            self._answer(200, data)

    def log_message(self, *_: object) -> None:
        """Say nothing: what guests read is nobody's business."""

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
