"""Makes real what the control plane shows: machines, load balancers, replacement of what is unhealthy.

Decides when to look: four times a second, and when something happened. One thread does all of it, because the kernel
ends a child process with the thread that started it. A step that fails is logged, and done again at the next look.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from localcloud import view
from localcloud.autoscaling import health
from localcloud.balancer.fronts import Balancer
from localcloud.compute.hypervisor import Hypervisor, Volumes
from localcloud.moto_state import LOCK, backend
from localcloud.network.fabric import Fabric
from localcloud.processes.children import Children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

    from localcloud.attestation.documents import Attestor
    from localcloud.balancer.traffic import Slot, Tally
    from localcloud.faults.lateness import Lateness
    from localcloud.hooks import TargetHealth
    from localcloud.network.authority import Authority

TICK_SECONDS = 0.25

ACCELERATOR = "LOCALCLOUD_ACCEL"
"""Environment variable: `tcg` (emulation, the default) or `kvm`."""

_LOG = logging.getLogger("localcloud")
log = logging.getLogger(__name__)


class Machines:
    """Everything that runs. What happens is told in the file `log` of `directory`."""

    def __init__(
        self,
        directory: Path,
        snapshots: Volumes,
        lateness: Lateness,
        authority: Authority,
        attestor: Attestor,
        api: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]],
        refuses: Callable[[str], bool],
    ) -> None:
        """Prepare `directory`; nothing runs before `start`. `api` answers what the machines ask of AWS's services.

        `refuses` tells of a service whether its endpoints refuse connections now.
        """
        directory = directory.absolute()
        accelerator = os.environ.get(ACCELERATOR, "tcg")
        if accelerator not in {"tcg", "kvm"}:
            raise ValueError(f"{ACCELERATOR} is {accelerator!r}: set it to tcg or kvm, or unset it")
        self._wake = threading.Event()
        self._stopping = False
        self._children = Children(directory / "children")
        self._balancer = Balancer(
            directory,
            self._children,
            self._wake.set,
            # Late, because the two need each other.
            lambda instance_id, port: self._hypervisor.forwards(instance_id, port),
            lateness,
        )
        self._hypervisor = Hypervisor(
            directory,
            snapshots,
            self._children,
            authority.pem,
            attestor,
            accelerator=accelerator,
            changed=self._wake.set,
        )
        self._fabric = Fabric(directory, self._children, authority, api, refuses)
        self._log = logging.FileHandler(directory / "log", delay=True)
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._thread = threading.Thread(target=self._loop, name="machines", daemon=True)
        self._last_failure = ""

    def start(self) -> None:
        """Begin to look after everything."""
        _LOG.setLevel(logging.INFO)
        _LOG.addHandler(self._log)
        self._thread.start()

    def stop(self) -> None:
        """End every machine and load balancer, and wait for them. Doing it again is harmless."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        else:
            self._end()
        _LOG.removeHandler(self._log)
        self._log.close()

    def target_health(self, target_group_arn: str) -> list[TargetHealth]:
        """Health of every target of a group, draining ones too. Answers from memory."""
        return self._balancer.target_health(target_group_arn)

    def drained(self, target_group_arn: str, instance_id: str) -> bool:
        """Whether a deregistered target has no request left. Answers from memory."""
        return self._balancer.drained(target_group_arn, instance_id)

    def console_output(self, instance_id: str) -> str:
        """The end of what an instance's console said, at most 64 KiB."""
        return self._hypervisor.console_output(instance_id)

    def take_traffic(self, before: float) -> Mapping[Slot, Tally]:
        """What went through the load balancers in slots of time that ended before a time; each is told once."""
        return self._balancer.traffic.take(before)

    def kill(self, instance_id: str) -> None:
        """End an instance's machine as a power cut would. Harmless if it does not run."""
        self._hypervisor.kill(instance_id)
        self._wake.set()

    def status(self) -> dict[str, Any]:
        """Process ids of the machines, and what is not as it should be."""
        return {
            "machines": self._hypervisor.running(),
            "problems": [*self._balancer.problems(), *self._hypervisor.problems(), *self._fabric.problems()],
            "network": self._fabric.status(),
        }

    def _loop(self) -> None:
        while not self._stopping:
            try:
                self._look()
                self._last_failure = ""
            except Exception as error:
                # The same failure four times a second would fill the disk.
                if repr(error) != self._last_failure:
                    self._last_failure = repr(error)
                    log.exception("a step failed")
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
        self._end()

    def _end(self) -> None:
        for end in (self._hypervisor.stop, self._balancer.stop, self._fabric.stop, self._children.end_all):
            try:
                end()
            except Exception:  # whatever one left, the next may end
                log.exception("stopping failed")

    def _look(self) -> None:
        cloud = view.read()
        self._balancer.follow(cloud)
        self._set_off(self._hypervisor.follow(cloud, self._fabric.doors(cloud), may_stop=self._balancer.quiet))
        self._fabric.follow(self._hypervisor.attached())
        health.replace(health.unhealthy(cloud, self.target_health, time.time()))

    def _set_off(self, instance_ids: list[str]) -> None:
        """A machine that went off by itself: its instance is stopped, or terminated if it was launched so."""
        with LOCK:
            for instance_id in instance_ids:
                instance = backend("ec2").get_instance_by_id(instance_id)
                if instance is None or instance.state != "running":
                    continue
                if instance.instance_initiated_shutdown_behavior == "terminate":
                    backend("ec2").terminate_instances([instance_id])
                else:
                    instance.stop()
                instance.state_reason.code = "Client.InstanceInitiatedShutdown"
                instance.state_reason.message = "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
