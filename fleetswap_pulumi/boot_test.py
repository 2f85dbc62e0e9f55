"""The boot test of a disk image: its inputs, and what they ask for on this computer."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from fleetswap.aws.partition import partition_of
from fleetswap.aws.rollout.probe import health_checker
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.release.ledger import Entry
from fleetswap.qemu.machine import QemuMachines
from fleetswap.workflows.boot_test import BootTest
from fleetswap_pulumi.boot_settings import BootTestSettings
from fleetswap_pulumi.machine_settings import INSTANCE_TYPES


class BootTestInputs(BaseModel):
    """The settings, and what of the release the machine and its health check need. `timeout` is of the whole test."""

    timeout: int
    memory: int
    accelerator: str
    architecture: str
    boot_mode: str
    instance_type: str
    port: int
    path: str
    codes: str
    protocol: str
    protocol_version: str
    healthy: int
    health_timeout: int

    @classmethod
    def of(cls, settings: BootTestSettings, entry: Entry) -> BootTestInputs:
        """For a release: its own health check, whatever the settings say now."""
        health = entry.health
        return cls(
            **settings.model_dump(),
            architecture=entry.image.info.architecture,
            boot_mode=entry.image.info.boot_mode,
            # Which one the attributes choose is not known, and this machine is none of them.
            instance_type=(entry.machine.instance_types or INSTANCE_TYPES[entry.image.info.architecture])[0],
            port=health.port,
            path=health.path,
            codes=health.codes,
            protocol=health.protocol,
            protocol_version=health.protocol_version,
            healthy=health.healthy,
            health_timeout=health.timeout,
        )

    def trial(self, region: str, folder: Path) -> BootTest:
        """What `ship` tries the image with. `folder` keeps consoles, and which images have passed."""
        check = Check(
            self.port,
            self.path,
            self.codes,
            self.protocol,
            self.protocol_version,
            healthy=self.healthy,
            timeout=self.health_timeout,
        )
        partition = partition_of(region)
        hardware = Hardware(
            self.architecture, self.boot_mode, self.memory, self.instance_type, region, partition=partition
        )
        return BootTest(
            QemuMachines(health_checker, self.accelerator), hardware, check, folder=folder, seconds=self.timeout
        )
