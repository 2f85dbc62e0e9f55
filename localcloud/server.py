"""Builds the local cloud and owns its start and stop: moto, the strict parts, the machines, one HTTP endpoint.

Decides which part answers a request: `/_localcloud/…` goes to `admin`, the rest past `authorization`: EBS direct calls
to `ebs`, KMS's to `kms`, all others to moto.
Never leaves loopback. The state of moto is in memory and gone when the process ends; snapshots last.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from localcloud import admin, control
from localcloud.attestation import recipients
from localcloud.attestation.documents import Attestor
from localcloud.authorization.gate import OF_MACHINE, Gate
from localcloud.authorization.record import Record
from localcloud.ebs.store import SnapshotStore
from localcloud.faults import calls
from localcloud.faults.inject import Injector
from localcloud.faults.lateness import Lateness
from localcloud.faults.rules import Faults
from localcloud.http_server import LoopbackServer
from localcloud.kms.api import KmsApi
from localcloud.kms.trail import Trail
from localcloud.machines import Machines
from localcloud.moto_state import ACCOUNT_ID, LOCK, REGION, backend
from localcloud.network.authority import Authority
from localcloud.patches import Patches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TICK_SECONDS = 0.25

MOTO_PREFIX = "/moto-api"
"""Where moto lets anybody reset everything. AWS has no such thing."""

# Moto reads these when it makes a backend: no invented AMIs (loading them takes seconds), no credentials of the user.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
}


class LocalCloud:
    """One local cloud, its files below `directory`. Only one can run in a process, because moto's state is global.

    With `machines` the instances and load balancers are real processes (see `machines`); without, only the control
    plane runs. `store` may be given to control its clock; `clock`, in seconds since the epoch, is everything else's
    that happens at a time. `lateness` is AWS's if it is not given.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        machines: bool = True,
        store: SnapshotStore | None = None,
        clock: Callable[[], float] = time.time,
        lateness: Lateness | None = None,
    ) -> None:
        os.environ.update(ENVIRONMENT)
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._server = LoopbackServer(port, self._answer)  # first of all: a taken port must change nothing
        self._patches = Patches()
        self._stopping = threading.Event()
        self.faults = Faults()
        self.lateness = lateness or Lateness()
        self.clock = clock
        self._threads: list[threading.Thread] = []
        try:
            self.store = store or SnapshotStore(directory / "snapshots")
            authority = Authority(directory)
            attestor = Attestor(directory)
            self.machines = (
                Machines(directory, self.store, self.lateness, authority, attestor, self._api, self.faults.refuses)
                if machines
                else None
            )
            with LOCK:
                self._control = control.Control(
                    self._patches,
                    self.store,
                    self.machines,
                    self.faults,
                    self.endpoint,
                    lateness=self.lateness,
                    clock=clock,
                    sleep=self._stopping.wait,
                )
                recipients.patch(self._patches, attestor.root)
            self._moto = _moto()
            self._kms = KmsApi(self._moto)
            self.authorizations = Record()
            gate = Gate(self._serve, self.authorizations)
            self.trail = Trail(gate, clock)
            self._injector = Injector(self.trail, self.faults, self._stopping.wait)
            self._admin = admin.Admin(
                self.faults,
                self.lateness,
                self.store,
                self.authorizations,
                self.status,
                self._kill,
                authority.pem,
                self.trail,
            )
        except BaseException:  # whatever it was, the port is free again and moto as it was
            self._server.server_close()
            self._patches.undo()
            raise

    @property
    def port(self) -> int:
        """The port that the endpoint listens at."""
        return self._server.port

    @property
    def endpoint(self) -> str:
        """The URL of every AWS API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the machines and answer requests, each in threads of their own."""
        if self.machines is not None:
            self.machines.start()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True),
            threading.Thread(target=self._tick, name="control", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every machine, then the endpoint. Doing it again is harmless."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        try:
            if self.machines is not None:
                self.machines.stop()
        finally:
            self._control.close()
            if self._threads:
                self._server.stop()
            else:
                self._server.server_close()
            for thread in self._threads:
                thread.join()
            self._patches.undo()

    def status(self) -> dict[str, Any]:
        """What runs: instances that are not terminated, and load balancers."""
        told = self.machines.status() if self.machines is not None else {"problems": [], "network": {}}
        with LOCK:
            instances = [
                {
                    "id": instance.id,
                    "state": instance.state,
                    "image": instance.image_id,
                    "private_ip": instance.private_ip_address,
                    "lifecycle": "spot" if instance.lifecycle == "spot" else "on-demand",
                    "group": getattr(getattr(instance, "autoscaling_group", None), "name", None),
                }
                for reservation in backend("ec2").reservations.values()
                for instance in reservation.instances
                if instance.state != "terminated"
            ]
            balancers = [
                {"name": balancer.name, "dns_name": balancer.dns_name, "arn": balancer.arn}
                for balancer in backend("elbv2").load_balancers.values()
            ]
        return {
            "pid": os.getpid(),
            "port": self.port,
            "endpoint": self.endpoint,
            "directory": str(self._directory),
            "account": ACCOUNT_ID,
            "instances": instances,
            "load_balancers": balancers,
            # Ports that could not be bound, rules that are not supported, and the like.
            "problems": told["problems"],
            # Flows of machines that were rejected, and what the stand-in for the internet was asked.
            "network": told["network"],
            "snapshots": [{"id": s.id, "status": self.store.status(s.id)} for s in self.store.all()],
        }

    def _kill(self, instance_id: str) -> None:
        """End the machine of an instance; without machines, the instance stops as if its machine had ended."""
        if self.machines is not None:
            self.machines.kill(instance_id)
            return
        with LOCK:
            backend("ec2").stop_instances([instance_id])

    def _tick(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            try:
                with LOCK:
                    self._control.tick()
            except Exception:  # noqa: BLE001 - one wrong step must not stop all later ones; the log says what it was
                traceback.print_exc()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(admin.PREFIX):
            return self._admin(environ, start_response)
        return self._injector(environ, start_response)

    def _api(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """AWS's services without `admin`, for the machines. None of them is the account's root."""
        environ[OF_MACHINE] = True
        return self._injector(environ, start_response)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(MOTO_PREFIX):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"Not found\n"]
        if calls.service(environ) == "ebs":
            return self._control.ebs(environ, start_response)
        if calls.service(environ) == "kms":
            return self._kms(environ, start_response)
        with LOCK:
            return list(self._moto(environ, start_response))


def _moto() -> WSGIApplication:
    application: WSGIApplication = DomainDispatcherApplication(create_backend_app)
    return application
