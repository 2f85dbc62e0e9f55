"""What takes an instance away against its owner's will: a spot interruption, and the death of its machine.

A rebalance recommendation comes before the notice of an interruption, or with it, or with none to follow (EC2 user
guide, "EC2 instance rebalance recommendations"); an interruption without one before has it with its notice.

Decides when an announced interruption comes true. The two minutes of AWS (EC2 user guide, "Spot Instance interruption
notices") are as many seconds as the one who asks says. Nothing waits for the requests that it has then: its machine
ends as in a power cut, and what is asked of it until its target group knows is a 502. Its auto scaling group knows when
a health check has failed, not before. Never replaces an instance: its group does
(`localcloud.autoscaling.rebalancing`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from localcloud.moto_state import LOCK, backend

if TYPE_CHECKING:
    from localcloud.faults.lateness import Lateness
    from localcloud.hooks import MachineHooks
    from localcloud.moto_state import Moto

NOTICE_SECONDS = 120.0
_AT = "interrupted_at"  # attributes of moto's instance that are ours: seconds since the epoch
_RECOMMENDED = "recommended_at"
_TAKEN = "taken_at"


class NoInstance(Exception):
    """There is no such instance, or nothing can be taken away from it; the message is one line."""


def interrupt(instance_id: str, seconds: float = NOTICE_SECONDS) -> None:
    """Announce a spot interruption in so many seconds. Raises `NoInstance`. Again: the first one stands."""
    with LOCK:
        instance = _find_spot(instance_id)
        instance.__dict__.setdefault(_RECOMMENDED, time.time())
        instance.__dict__.setdefault(_AT, time.time() + seconds)


def recommend(instance_id: str) -> None:
    """Recommend to replace a Spot Instance. Raises `NoInstance`. Again: the first one stands."""
    with LOCK:
        _find_spot(instance_id).__dict__.setdefault(_RECOMMENDED, time.time())


def _find_spot(instance_id: str) -> Moto:
    instance = find(instance_id)
    if instance.lifecycle != "spot":
        raise NoInstance(f"{instance_id} is no Spot Instance, so EC2 does not interrupt it.")
    return instance


def find(instance_id: str) -> Moto:
    """A running instance. Raises `NoInstance`. Hold `LOCK`."""
    instance = backend("ec2").get_instance_by_id(instance_id)
    if instance is None or instance.state != "running":
        raise NoInstance(f"There is no running instance {instance_id}.")
    return instance


def notice(instance: Moto) -> dict[str, str] | None:
    """What the metadata service tells of an interruption (`spot/instance-action`); None if there is none."""
    at = getattr(instance, _AT, None)
    if at is None:
        return None
    return {"action": "terminate", "time": _stamp(at)}


def recommendation(instance: Moto) -> dict[str, str] | None:
    """What the metadata service tells of a recommendation (`events/recommendations/rebalance`); None of none."""
    at = getattr(instance, _RECOMMENDED, None)
    return None if at is None else {"noticeTime": _stamp(at)}


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unseen(instance: Moto) -> bool:
    """Whether EC2 has taken this instance, and no health check has failed since."""
    return _TAKEN in instance.__dict__


def tick(ec2: Moto, machines: MachineHooks | None, lateness: Lateness) -> None:
    """Terminate what was announced and is due, and tell the groups what their health checks find. With `LOCK` held."""
    now = time.time()
    instances = [instance for reservation in ec2.reservations.values() for instance in reservation.instances]
    for instance in instances:
        if instance.state == "running" and getattr(instance, _AT, now + 1) <= now:
            if machines is not None:
                machines.kill(instance.id)
            ec2.terminate_instances([instance.id])
            instance.state_reason.code = "Server.SpotInstanceTermination"
            instance.state_reason.message = "Server.SpotInstanceTermination: Spot instance termination"
            setattr(instance, _TAKEN, now)
    found = [
        instance
        for instance in instances
        if unseen(instance) and getattr(instance, _TAKEN) + lateness.of("health_checks", instance.id) <= now
    ]
    for instance in found:
        delattr(instance, _TAKEN)
    if found:
        backend("autoscaling").notify_terminate_instances([instance.id for instance in found])
