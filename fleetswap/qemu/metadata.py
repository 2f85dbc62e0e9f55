"""The instance metadata service of a boot test, for one connection: requests on standard input, responses on output.

It is a stand-in, and says so (`Server: fleetswap-boot-test`): IMDSv2 with a token, who the instance is, and nothing
that a deploy would add: no user data, no credentials, no tags. Source: EC2 user guide, "Use IMDS". QEMU starts it as
`python -I -S metadata.py FILE` for each connection of the machine to 169.254.169.254; FILE has the data
(`fleetswap.domain.boot.machine.identity`) and the key that signs tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

TOKEN, TTL = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
MAX_TTL = 21_600
MOST_BYTES = 65_536
"""Of a line, and of a request's headers."""

_VERSIONS = r"latest|1\.0|\d{4}-\d{2}-\d{2}"
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Not Allowed"}

Response = tuple[int, str, dict[str, str]]


def serve(requests: IO[bytes], responses: IO[bytes], data: Mapping[str, Any]) -> None:
    """Respond to requests until the connection ends."""
    while (line := requests.readline(MOST_BYTES)).strip():
        headers = _headers(requests)
        words = line.decode("latin-1").split()
        if len(words) != 3:
            return
        status, body, more = respond(words[0], words[1].partition("?")[0], headers, data, time.time())
        last = words[2] == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        head = [f"HTTP/1.1 {status} {_REASONS[status]}", "Server: fleetswap-boot-test", "Content-Type: text/plain"]
        head += [f"{name}: {value}" for name, value in more.items()]
        head += [f"Content-Length: {len(body)}", f"Connection: {'close' if last else 'keep-alive'}", "", ""]
        responses.write("\r\n".join(head).encode() + (b"" if words[0] == "HEAD" else body.encode()))
        responses.flush()
        if last:
            return


def respond(method: str, path: str, headers: Mapping[str, str], data: Mapping[str, Any], now: float) -> Response:
    """Status, body and headers for a request. `now` is in seconds since 1970."""
    key = bytes.fromhex(data["key"])
    if method == "PUT" and path == "/latest/api/token":
        return _issued(headers, key, now)
    if method not in ("GET", "HEAD"):
        return 405, "", {}
    if not _is_valid(headers.get(TOKEN, ""), key, now):
        return 401, "", {}
    version, _, rest = path.strip("/").partition("/")
    if not re.fullmatch(_VERSIONS, version):
        return (200, "latest", {}) if not version else (404, "", {})
    found = _find(_tree(data), rest.strip("/"))
    return (404, "", {}) if found is None else (200, found, {})


def _issued(headers: Mapping[str, str], key: bytes, now: float) -> Response:
    """A session token. One that a proxy asks for, which may be open to others, is refused."""
    ttl = headers.get(TTL, "")
    if "x-forwarded-for" in headers:
        return 403, "", {}
    if not re.fullmatch("[0-9]{1,5}", ttl) or not 1 <= int(ttl) <= MAX_TTL:
        return 400, "", {}
    return 200, _token(key, int(now) + int(ttl)), {TTL: ttl}


def _token(key: bytes, until: int) -> str:
    return f"{until}-{hmac.new(key, str(until).encode(), hashlib.sha256).hexdigest()}"


def _is_valid(token: str, key: bytes, now: float) -> bool:
    until = token.partition("-")[0]
    if not re.fullmatch("[0-9]{1,15}", until) or int(until) <= now:
        return False
    return hmac.compare_digest(token.encode(), _token(key, int(until)).encode())


def _tree(data: Mapping[str, Any]) -> dict[str, str]:
    document = json.dumps(data["document"], indent=2)
    return {f"meta-data/{name}": value for name, value in data["meta-data"].items()} | {
        "dynamic/instance-identity/document": document
    }


def _find(tree: Mapping[str, str], path: str) -> str | None:
    """What is at a path: a value, or the list of what is below it; None if there is nothing."""
    if path in tree:
        return tree[path]
    below = f"{path}/" if path else ""
    names: dict[str, None] = {}
    for each in tree:
        if each.startswith(below):
            name, slash, _ = each[len(below) :].partition("/")
            names[name + slash] = None
    return "\n".join(names) or None


def _headers(requests: IO[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    size = 0
    while (line := requests.readline(MOST_BYTES)).strip() and size < MOST_BYTES:
        size += len(line)
        name, _, value = line.decode("latin-1").partition(":")
        found[name.strip().lower()] = value.strip()
    return found


def main(file: str) -> int:
    """Serve one connection."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it, too, is the connection
    serve(sys.stdin.buffer, sys.stdout.buffer, json.loads(Path(file).read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
