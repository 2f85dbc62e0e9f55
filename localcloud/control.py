"""Makes moto as strict as AWS where the program depends on it, and joins it to the store and the machines.

Decides nothing itself: it applies the patches, each of which lies in the module of its subject and says what AWS does
and what moto does instead.
"""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend
from moto.core.base_backend import BackendDict
from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.responses.general import General

from localcloud import acm, dns, iam, parameters, scheduler, sns, web_acls
from localcloud.autoscaling import group_metrics, groups, scaling, scheduled_actions, target_tracking, warm_pool_calls
from localcloud.balancer.traffic import SLOT_SECONDS
from localcloud.cloudwatch import alarms, cpu, dashboards, metrics
from localcloud.cloudwatch.alb_metrics import Counting, Publisher
from localcloud.cloudwatch.figures import Metrics
from localcloud.ebs.api import EbsApi
from localcloud.ec2 import (
    encryption,
    endpoint_services,
    endpoints,
    filters,
    hardware,
    images,
    instance_requirements,
    instance_types,
    launch,
    lifecycle,
    managed,
    nat,
    network,
    security_groups,
    snapshots,
    spot,
    subnets,
    zones,
)
from localcloud.elbv2 import attributes, listeners, target_groups, targets
from localcloud.kms import api as kms
from localcloud.moto_state import ACCOUNT_ID, LOCK, Moto, backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.ebs.records import Snapshot
    from localcloud.ebs.store import SnapshotStore
    from localcloud.faults.lateness import Lateness
    from localcloud.faults.rules import Faults
    from localcloud.patches import Patches

CONSOLE_BYTES = 65_536  # EC2 API reference, GetConsoleOutput


class Control:
    """The control plane on top of moto: patched, empty but for the snapshots of the store. Made with `LOCK` held."""

    def __init__(
        self,
        patches: Patches,
        store: SnapshotStore,
        machines: Counting | None,
        faults: Faults,
        endpoint: str,
        *,
        lateness: Lateness,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        """`endpoint` is the local cloud's own URL; `clock` gives seconds since the epoch."""
        self._clock = clock
        self._lateness = lateness
        self._machines = machines
        self._publisher = Publisher(machines, lateness)
        self._cpu = cpu.Cpu(target_tracking.steady)
        self._firing = scheduler.Firing(endpoint, faults, lateness, clock, sleep)
        snapshots.patch(patches, store)
        scaling.patch(patches, lateness)
        warm_pool_calls.patch(patches)
        managed.patch(patches, lateness, clock)
        for module in (
            parameters,
            attributes,
            encryption,
            filters,
            hardware,
            images,
            instance_requirements,
            instance_types,
            launch,
            lifecycle,
            groups,
            group_metrics,
            listeners,
            target_groups,
            acm,
            web_acls,
            security_groups,
            network,
            subnets,
            endpoint_services,
            endpoints,
            nat,
            iam,
            sns,
            zones,
        ):
            module.patch(patches)
        scheduled_actions.patch(patches, clock)
        dns.patch(patches, lateness)
        scheduler.patch(patches, clock)
        kms.patch(patches, lateness, clock)
        metrics.patch(patches, Metrics(), clock)
        alarms.patch(patches)
        dashboards.patch(patches)
        cpu.patch(patches)
        targets.patch(patches, machines)
        patches.set(General, "machines", machines)
        patches.set(EC2Backend, "faults", faults)
        patches.methods(General, get_console_output)
        for backends in list(BackendDict._instances):
            for account in backends.values():
                account.reset()
        for snapshot in store.all():
            snapshots.show(store, snapshot)

        def show(snapshot: Snapshot) -> None:
            snapshots.show(store, snapshot)

        self.ebs = EbsApi(
            store,
            owner_id=ACCOUNT_ID,
            on_start=show,
            resolve_key=resolve_key,
            by_default=encrypts_by_default,
            faults=faults,
        )

    def close(self) -> None:
        """Begin nothing more, and wait for what is on its way. Without `LOCK`."""
        self._firing.close()

    def tick(self) -> None:
        """Do what is due. Called about four times a second, with `LOCK` held."""
        now = self._clock()
        managed.tick(backend("ec2"))
        spot.tick(backend("ec2"), self._machines, self._lateness)
        launch.tick(backend("ec2"), backend("autoscaling").notify_terminate_instances)
        used = self._cpu.due(backend("autoscaling"), backend("cloudwatch").cpu, now)
        for metric, at, sample, unit in (*self._publisher.due(backend("elbv2"), now), *used):
            metrics.publish(backend("cloudwatch"), metric, at, sample, unit, SLOT_SECONDS)
        alarms.tick(backend("cloudwatch"), now, self._lateness, target_tracking.scale)
        scheduled_actions.tick(backend("autoscaling"), now, self._lateness)
        self._firing.tick()
        kms.tick(get_backend("kms")[ACCOUNT_ID])
        scaling.tick(backend("autoscaling"))


def get_console_output(self: Moto) -> Moto:
    """AWS answers with what the machine's console said, the last 64 KiB; moto with an invented text."""
    instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
    text = self.machines.console_output(instance.id) if self.machines else ""
    last = text.encode()[-CONSOLE_BYTES:]
    answer = {"InstanceId": instance.id, "Timestamp": datetime.now(UTC)}
    return ActionResult(answer | ({"Output": base64.b64encode(last).decode()} if last else {}))


def resolve_key(arn: str | None) -> str:
    """The ARN of a KMS key that can be used; None stands for the account's default key for EBS. Raises LookupError."""
    with LOCK:
        ec2 = backend("ec2")
        if arn is None:
            default: str = ec2.default_kms_key_id or ec2._create_default_encryption_key()
            return default
        key = backend("kms").keys.get(arn.rpartition("/")[2])
        if key is None:
            raise LookupError(f"The key '{arn}' does not exist.")
        if key.state_in_force() != "Enabled":
            raise LookupError(f"The key '{arn}' is not enabled.")
        return arn


def encrypts_by_default() -> bool:
    """Whether the account encrypts new volumes and snapshots (EC2 API: EnableEbsEncryptionByDefault)."""
    with LOCK:
        return bool(backend("ec2").ebs_encryption_by_default)
