"""The local cloud's own endpoint, `/_localcloud/…`: what runs, which faults to make, and what AWS does on its own.

Decides how a request is read and answered, in JSON; the rest is done elsewhere.

| request | what it does |
|---|---|
| `GET status` | what runs |
| `GET faults` | the rules, and how often each was met and came true |
| `POST faults` | add a rule, or a list of them (see `faults`); answers them with their ids |
| `DELETE faults`, `DELETE faults/ID` | remove all, or one |
| `GET lateness`, `POST lateness` | how late things are, and another lateness for some: `{"metrics": [0, 0]}` (see `lateness`) |
| `GET authorizations` | every decision of IAM: who asked for what, with which condition keys, and whether they may |
| `DELETE authorizations` | forget these |
| `GET kms/events`, `DELETE kms/events` | every call of KMS, as CloudTrail would record it; forget these |
| `POST credentials` | `{"seconds": 60}`: what machines get of their roles from now on lasts so long, else six hours |
| `GET ca` | the certificate of the authority that signs for AWS's services and the internet, as machines meet them; PEM |
| `GET notifications` | every message that was published to an SNS topic |
| `POST instances/ID/interrupt` | a spot interruption; `{"seconds": 5}` is the warning's length, else 120 |
| `POST instances/ID/recommend` | EC2 recommends to replace a Spot Instance; no interruption need follow |
| `POST instances/ID/kill` | its machine dies, as of a power cut |
| `POST zones` | `{"letters": "ac"}`: the account has only these zones of the region |
| `POST recycle-bin` | `{"images": 3600}`: a Recycle Bin rule holds each AMI that is deregistered from now on so long; null: there is none, and what it held is gone |
| `POST target-health` | without machines: `{"state": "healthy", "target_group": "web"}` is said of its targets from now on; without a group, of all |
| `POST cpu` | `{"percent": 80, "group": "web"}`: the CPU utilization of an auto scaling group's machines from now on; without a group, of all; null: it is not reported, as at first |
| `POST snapshots/ID/owner` | `{"owner": "999999999999", "shared": true}`: it is that account's now; owner null gives it back |
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from localcloud.ebs.records import StoreError
from localcloud.ec2 import spot, zones
from localcloud.faults.lateness import BadLateness, Lateness
from localcloud.faults.rules import BadRule, Faults
from localcloud.moto_state import LOCK, backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from localcloud.authorization.record import Record
    from localcloud.ebs.store import SnapshotStore
    from localcloud.kms.trail import Trail

PREFIX = "/_localcloud/"
CREDENTIALS_SECONDS = 21_600  # what EC2 gives machines of their roles lasts about six hours


class Bad(Exception):
    """A request that is wrong; the message is one line."""


class Admin:
    """A WSGI application. `status` tells what runs; `kill` ends the machine of an instance, if it has one."""

    def __init__(
        self,
        faults: Faults,
        lateness: Lateness,
        store: SnapshotStore,
        authorizations: Record,
        status: Callable[[], dict[str, Any]],
        kill: Callable[[str], None],
        ca: Callable[[], str],
        trail: Trail,
    ) -> None:
        self._lateness = lateness
        self._store = store
        self._kill = kill
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "status", lambda _: status()),
            ("GET", "notifications", lambda _: {"notifications": _notifications()}),
            ("GET", "authorizations", lambda _: {"authorizations": authorizations.shown()}),
            ("DELETE", "authorizations", lambda _: {"forgotten": authorizations.clear()}),
            ("GET", "kms/events", lambda _: {"events": trail.events()}),
            ("DELETE", "kms/events", lambda _: {"forgotten": trail.clear()}),
            ("POST", "credentials", _shorten_credentials),
            ("GET", "ca", lambda _: ca()),
            ("GET", "faults", lambda _: {"rules": faults.shown()}),
            ("POST", "faults", lambda asked: {"rules": [rule.shown() for rule in faults.add(asked)]}),
            ("DELETE", "faults", lambda _: {"removed": faults.remove()}),
            ("DELETE", r"faults/(\d+)", lambda _, rule_id: {"removed": faults.remove(int(rule_id))}),
            ("GET", "lateness", lambda _: lateness.shown()),
            ("POST", "lateness", self._be_late),
            ("POST", r"instances/([^/]+)/interrupt", self._interrupt),
            ("POST", r"instances/([^/]+)/recommend", self._recommend),
            ("POST", r"instances/([^/]+)/kill", self._kill_machine),
            ("POST", r"snapshots/([^/]+)/owner", self._own),
            ("POST", "recycle-bin", _hold),
            ("POST", "target-health", _assume_health),
            ("POST", "cpu", _use_cpu),
            ("POST", "zones", lambda asked: {"zones": zones.offer(_member(asked, "letters", (str,), ""))}),
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request whose path begins with `PREFIX`."""
        try:
            status: HTTPStatus = HTTPStatus.OK
            shown: dict[str, Any] | str = self._dispatch(environ)
        except (BadRule, BadLateness, Bad, ValueError) as error:
            status, shown = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except (LookupError, StoreError, spot.NoInstance) as error:
            status, shown = HTTPStatus.NOT_FOUND, {"error": str(error)}
        kind = "text/plain" if isinstance(shown, str) else "application/json"
        start_response(f"{status.value} {status.phrase}", [("Content-Type", kind)])
        return [(shown if isinstance(shown, str) else json.dumps(shown, indent=2)).encode()]

    def _dispatch(self, environ: WSGIEnvironment) -> dict[str, Any] | str:
        path, method = environ["PATH_INFO"].removeprefix(PREFIX), environ["REQUEST_METHOD"]
        length = int(environ.get("CONTENT_LENGTH") or 0) if method == "POST" else 0
        asked = json.loads(environ["wsgi.input"].read(length)) if length else {}
        for wanted, pattern, handle in self._routes:
            found = re.fullmatch(pattern, path)
            if found and method == wanted:
                answer: dict[str, Any] | str = handle(asked, *found.groups())
                return answer
        raise LookupError(f"The local cloud has no {method} {environ['PATH_INFO']}.")

    def _be_late(self, asked: object) -> dict[str, Any]:
        self._lateness.change(asked)
        return self._lateness.shown()

    def _interrupt(self, asked: dict[str, Any], instance_id: str) -> dict[str, Any]:
        seconds = _member(asked, "seconds", (int, float), spot.NOTICE_SECONDS)
        spot.interrupt(instance_id, float(seconds))
        return {"instance": instance_id, "seconds": seconds}

    def _recommend(self, _: object, instance_id: str) -> dict[str, Any]:
        spot.recommend(instance_id)
        return {"instance": instance_id}

    def _kill_machine(self, _: object, instance_id: str) -> dict[str, Any]:
        with LOCK:
            spot.find(instance_id)
        self._kill(instance_id)
        return {"instance": instance_id}

    def _own(self, asked: dict[str, Any], snapshot_id: str) -> dict[str, Any]:
        owner = _member(asked, "owner", (str, type(None)), None)
        shared = _member(asked, "shared", (bool,), default=False)
        self._store.give(snapshot_id, owner, shared=shared)
        return {"snapshot": snapshot_id, "owner": owner, "shared": shared}


def _hold(asked: object) -> dict[str, Any]:
    """Let a Recycle Bin rule hold each deregistered AMI for so many seconds; null: no rule, and the bin is emptied."""
    seconds = _member(asked, "images", (int, float, type(None)), None)
    with LOCK:
        recycle_bin = backend("ec2").recycle_bin
        recycle_bin.image_seconds = seconds
        if seconds is None:
            recycle_bin.images.clear()
    return {"images": seconds}


def _assume_health(asked: object) -> dict[str, Any]:
    state = _member(asked, "state", (str,), "")
    target_group = _member(asked, "target_group", (str, type(None)), None)
    with LOCK:
        elbv2 = backend("elbv2")
        if elbv2.machines is not None:
            raise Bad("The health of targets is checked: it cannot be set.")
        elbv2.assumed.change(state, target_group)
    return {"state": state, "target_group": target_group}


def _use_cpu(asked: object) -> dict[str, Any]:
    percent = _member(asked, "percent", (int, float, type(None)), None)
    group = _member(asked, "group", (str,), "")
    if percent is not None and not 0 <= percent <= 100:
        raise Bad("percent must be 0 to 100.")
    with LOCK:
        said = backend("cloudwatch").cpu
        if not group:
            said.clear()
        said.pop(group, None)
        if percent is not None:
            said[group] = float(percent)
    return {"percent": percent, "group": group}


def _shorten_credentials(asked: object) -> dict[str, Any]:
    seconds = float(_member(asked, "seconds", (int, float), CREDENTIALS_SECONDS))
    if seconds <= 0:
        raise Bad("seconds must be more than 0.")
    with LOCK:
        backend("sts").machine_credentials_seconds = seconds
    return {"seconds": seconds}


def _notifications() -> list[dict[str, Any]]:
    """Every message that was published, oldest first per topic."""
    with LOCK:
        return [
            {"topic": arn, "id": message_id, "subject": subject, "message": message}
            for arn, topic in backend("sns").topics.items()
            for message_id, message, subject, *_ in topic.sent_notifications
        ]


def _member(asked: object, name: str, kinds: tuple[type, ...], default: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(asked, dict):
        raise Bad("The body must be a JSON object.")
    value = asked.get(name, default)
    if not isinstance(value, kinds):
        raise Bad(f"{name} must be of type {kinds[0].__name__}, not {value!r}.")
    return value
