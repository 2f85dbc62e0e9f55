"""The ledger: which releases a stack has, newest first, and which one is live.

It is a stack output, so it is as the last successful `pulumi up` left it; a failed update keeps the previous one. An
entry holds everything needed to declare its release again, unchanged, whatever the settings say now. This module
converts a ledger to plain values and back, and never decides what should be in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from fleetswap.domain.access import REMEDY
from fleetswap.domain.errors import InputError
from fleetswap.domain.image import info as ami
from fleetswap.domain.image import source
from fleetswap.domain.image.info import DEFAULT, ImageInfo
from fleetswap.domain.image.source import FlakeImage, ImageSource
from fleetswap.domain.release.hardware import Requirements, Volume
from fleetswap.domain.release.later import later
from fleetswap.domain.secrets.sealing import STACK, Sealing

VERSION = 4
"""Of the plain form. A reader refuses a newer one and must keep reading every older one."""

FIRST = 1
"""The version that is written while nothing in the ledger needs a newer reader, so that a downgrade stays possible."""


SECOND = 2
"""The version with what the first had not, before a key could be the stack's own."""

THIRD = 3
"""The version with the stack's own key, before machines had what `_hardware` looks for."""


@dataclass(frozen=True)
class Image:
    """A raw disk by its identity, with what it takes to make it again."""

    identity: str
    source: ImageSource
    packages: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    info: ImageInfo = later(DEFAULT)  # noqa: RUF009 (it is frozen)
    """With what its AMI is registered. Another value makes another release: an AMI cannot change."""
    asserted: tuple[str, ...] = later(())
    """The fields of `info` that the settings said, whatever the image says of itself."""
    measured: tuple[tuple[str, str], ...] = later(())
    """PCRs (`4`, `12`) that a NitroTPM has after this image booted, in hex; empty while the image is not built."""
    kms_key: str | None = later(None)
    """Key that its snapshot was to be encrypted with, as `Machine.kms_key`; None: whatever the account's default is."""


@dataclass(frozen=True)
class Machine:
    """What the machines of a release are made of besides the image. Another value makes another release."""

    instance_types: tuple[str, ...]
    on_demand_base: int
    on_demand_percent: int
    root_gib: int | None = None
    policies: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = later(())
    kms_key: str | None = later(None)
    """ARN of the key of the volumes, or `sealing.STACK`; None is the account's default key."""
    path: str = later("/")
    """Of the role and the instance profile."""
    secrets: Sealing | None = later(None)  # noqa: RUF009 (it is frozen)
    """How the secrets in its image are sealed; None if it has none. With it, the role is the stack's, not its own."""
    weights: tuple[int, ...] = later(())
    """Units of capacity of a machine of each of `instance_types`. Empty: each machine is one unit."""
    requirements: Requirements | None = later(None)  # noqa: RUF009 (it is frozen)
    """Attributes of the instance types; `instance_types` is empty then."""
    threads_per_core: int | None = later(None)
    tenancy: str = later("default")
    placement_group: str | None = later(None)
    monitoring: bool = later(False)  # noqa: FBT003 (the default of a flag)
    """Detailed monitoring: CloudWatch has the machines' metrics each minute, not every five."""
    volume: Volume = later(Volume())  # noqa: RUF009 (it is frozen)

    @property
    def attested(self) -> bool:
        """Whether KMS opens its secrets only to machines that measure what was predicted of its image."""
        return self.secrets is not None and self.secrets.attested


@dataclass(frozen=True)
class HealthCheck:
    """Where the machines serve, and how ELBv2 checks them. It goes with the image: another value, another release.

    Were it shared, a version that moves its health check would make the live one unhealthy before it is replaced.
    """

    port: int
    path: str
    codes: str
    interval: int
    timeout: int
    healthy: int
    unhealthy: int
    protocol: str = later("http")
    protocol_version: str = later("http1")


@dataclass(frozen=True)
class Entry:
    """One release: immutable, so everything here is part of its id or follows from what is, but for what comes last.

    `max_size` is the greatest size that its group was ever allowed. It grows in place and never shrinks, because AWS
    takes machines from a group at once when its maximum falls below its size, and refuses one below its minimum.
    `left`: the traffic went from it back to an older release, so it has to prove itself anew.
    `made`: when it was first planned, as `fleetswap.domain.release.plan.written` writes a time; empty: before that was
    written down. `deprecated`: from when its AMI is deprecated, in the same form; empty: it is not.
    """

    release: str
    image: Image
    machine: Machine
    health: HealthCheck
    max_size: int
    left: bool = False
    cores: int | None = later(None)
    """CPU cores of its instance types, which all have as many; None where EC2 is not told."""
    made: str = later("")
    deprecated: str = later("")


@dataclass(frozen=True)
class Identity:
    """Whose fleet it is, and where. Another value of any is another fleet, whatever the state says.

    `stack` is `project/stack`, under which snapshots, rule and switch are found; `account` has 12 digits.
    """

    stack: str
    service: str
    region: str
    account: str


@dataclass(frozen=True)
class Network:
    """Where the fleet stands. AWS cannot change these in place, and to replace them would take the live fleet down.

    A network of the stack's own has a CIDR block, zones and a layout (`fleetswap.domain.network.subnets`); an existing
    one has its VPC's ID only, and what else it consists of may change in place. `ipv6`: its subnets have IPv6 CIDR
    blocks, which cannot be taken from under machines.
    """

    cidr: str = ""
    zones: tuple[str, ...] = ()
    layout: int = later(1)
    vpc: str | None = None
    ipv6: bool = later(False)  # noqa: FBT003 (the default of a flag)

    def __str__(self) -> str:
        """As the settings have it."""
        what = self.vpc or f"{self.cidr} in zones {', '.join(self.zones)}"
        return f"{what} with IPv6" if self.ipv6 else what


@dataclass(frozen=True)
class Ledger:
    """The releases, newest first; `live` has the traffic, `standby` had it before. Both name an entry or nothing.

    `network` and `identity` are None in a new stack, and in a ledger that an older program wrote.
    """

    live: str | None = None
    standby: str | None = None
    entries: tuple[Entry, ...] = ()
    network: Network | None = None
    identity: Identity | None = None
    front: str = later("")
    """What cannot change under a live release: an existing listener's ARN, or `internal`. Empty: own and public."""

    def of(self, identity: Identity) -> Ledger:
        """The same ledger as that of `identity`; of another one under a live release it is an `InputError`."""
        had = self.identity
        if had is not None and self.live is not None and had != identity:
            raise InputError("; ".join(_other_identity(had, identity)) + ", or deploy a new stack")
        return replace(self, identity=identity)

    def trusts(self, release: str, newest: int) -> bool:
        """Whether a release proved itself: one of the `newest` that were live, and not left for an older one."""
        return any(entry.release == release and not entry.left for entry in self.entries[:newest])

    def without_trust_in(self, release: str) -> Ledger:
        """The same ledger with that release, if it is there, as one that was left."""
        left = tuple(replace(entry, left=entry.left or entry.release == release) for entry in self.entries)
        return replace(self, entries=left)

    def measuring(self, measured: Mapping[str, Mapping[str, str] | None]) -> Ledger:
        """The same ledger with what is measured of the images of these releases, where that is known."""

        def of(entry: Entry) -> Entry:
            pcrs = sorted((measured.get(entry.release) or {}).items(), key=lambda each: int(each[0]))
            return replace(entry, image=replace(entry.image, measured=tuple(pcrs))) if pcrs else entry

        return replace(self, entries=tuple(map(of, self.entries)))

    def on(self, network: Network) -> Ledger:
        """The same ledger on `network`; another one than it stands on is an `InputError`. IPv6 may be added."""
        if self.network not in (None, network, replace(network, ipv6=False)):
            raise InputError(
                f"fleetswap:network cannot change while the fleet runs in {self.network}:"
                " restore the setting, or deploy a new stack"
            )
        return replace(self, network=network)

    def behind(self, front: str) -> Ledger:
        """The same ledger behind this front door; another one than the live release has is an `InputError`.

        A target group can be of one load balancer, and AWS would replace one that becomes internal.
        """
        if self.live is not None and self.front != front:
            raise InputError(
                "fleetswap:front.listener_arn and front.internal cannot change while the fleet is behind"
                f" {self.front or 'a public load balancer of its own'}: restore the setting, or deploy a new stack"
            )
        return replace(self, front=front)

    def entry(self, release: str) -> Entry:
        """The entry of a release; an unknown one is an `InputError` that lists those that can be had."""
        for entry in self.entries:
            if entry.release == release:
                return entry
        known = ", ".join(entry.release for entry in self.entries) or "none yet"
        raise InputError(f"release {release!r} is not in the ledger: choose one of its releases ({known})")


def _other_identity(had: Identity, has: Identity) -> Iterator[str]:
    """What differs, each with its remedy."""
    if had.account != has.account:
        yield (
            f"these credentials belong to AWS account {has.account}, but the fleet runs in account {had.account}:"
            f" {REMEDY}"
        )
    if had.region != has.region:
        yield f"aws:region cannot change while the fleet runs in {had.region}: restore the setting"
    if had.service != has.service:
        yield f"fleetswap:service cannot change while the fleet of {had.service} runs: restore the setting"
    if had.stack != has.stack:
        yield (
            f"this stack is named {has.stack}, but its fleet has the tags of {had.stack}: rename it back"
            f" (`pulumi stack rename`, or `name` in Pulumi.yaml)"
        )


def release_id(service: str, identity: str, machine: Machine, health: HealthCheck, info: ImageInfo = DEFAULT) -> str:
    """`<service>-<8 hex>` from the image's identity and what else the machines are made of. Same parts, same id.

    It must never change for an entry that a ledger has, or that release would be taken for another: see `later`.
    """
    ours = [identity, _parts(machine), _parts(health), *([ami.to_plain(info)] if info != DEFAULT else [])]
    parts = json.dumps(ours, sort_keys=True, separators=(",", ":"))
    return f"{service}-{hashlib.sha256(parts.encode()).hexdigest()[:8]}"


def to_plain(ledger: Ledger) -> dict[str, Any]:
    """The ledger as JSON-like values, for a stack output. What is None is left out: the engine drops it anyway."""
    plain = _parts(ledger)
    for entry, image in zip(ledger.entries, (each["image"] for each in plain["entries"]), strict=True):
        del image["source"]
        image.update(source.to_plain(entry.image.source))
        if "info" in image:
            image["info"] = ami.to_plain(entry.image.info)
    return {"version": _version(ledger), **_plain(plain)}


def _version(ledger: Ledger) -> int:
    """An older program would take any other network for one of its own, and replace the subnets of the live fleet; and
    `sealing.STACK` for a key's ARN.
    """
    network = ledger.network
    plain = network is None or network == Network(network.cidr, network.zones)
    newer = any(
        entry.machine.security_groups
        or entry.machine.kms_key is not None
        or entry.machine.path != "/"
        or entry.machine.secrets is not None
        or (entry.health.protocol, entry.health.protocol_version) != ("http", "http1")
        or entry.image.info != DEFAULT
        or entry.image.kms_key is not None
        or isinstance(entry.image.source, FlakeImage)
        for entry in ledger.entries
    )
    if any(_hardware(entry.machine) for entry in ledger.entries):
        return VERSION
    if any(STACK in (entry.machine.kms_key, entry.image.kms_key) for entry in ledger.entries):
        return THIRD
    return FIRST if plain and not newer and not ledger.front else SECOND


def _hardware(machine: Machine) -> bool:
    """Whether it has what an older program would not see: it would take the ledger for damaged, and say to restore
    another.
    """
    of = ("weights", "requirements", "threads_per_core", "tenancy", "placement_group", "monitoring", "volume")
    return bool(_parts(machine).keys() & set(of))


def from_plain(value: Mapping[str, Any] | None) -> Ledger:
    """Read a stack output back. Nothing at all is a new stack; anything else that does not fit is an `InputError`."""
    if value is None:
        return Ledger()
    try:
        # Pulumi hands every number back as a float.
        if not FIRST <= int(value["version"]) <= VERSION:
            raise InputError(
                f"the stack's ledger has version {value['version']}, this program reads {FIRST} to {VERSION}: "
                "run the release of fleetswap that wrote it, or a newer one"
            )
        ledger = Ledger(
            live=value.get("live"),
            standby=value.get("standby"),
            entries=tuple(_entry(entry) for entry in value["entries"]),
            network=_network(value.get("network")),
            identity=_identity(value.get("identity")),
            front=str(value.get("front", "")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(f"cannot be read ({error!r})") from error
    _check(ledger)
    return ledger


def _check(ledger: Ledger) -> None:
    """Refuse a ledger that no update wrote: a release that is not what its id says would be replaced under users."""
    for release in (ledger.live, ledger.standby):
        if release is not None:
            ledger.entry(release)
    if ledger.standby is not None and ledger.standby == ledger.live:
        raise _damaged(f"names {ledger.live} as live and as standby")
    names = [entry.release for entry in ledger.entries]
    if len(set(names)) < len(names):
        raise _damaged("contains a release twice")
    for entry in ledger.entries:
        service = entry.release.rpartition("-")[0]
        image = entry.image
        if entry.release != release_id(service, image.identity, entry.machine, entry.health, image.info):
            raise _damaged(f"was changed manually: the ID of {entry.release} does not match its content")


def _damaged(what: str) -> InputError:
    return InputError(
        f"the stack output `ledger` {what}: "
        "restore the last valid one with `pulumi stack export` and `pulumi stack import`"
    )


def _network(value: Mapping[str, Any] | None) -> Network | None:
    if value is None:
        return None
    return Network(
        cidr=str(value["cidr"]),
        zones=tuple(str(zone) for zone in value["zones"]),
        layout=int(value.get("layout", 1)),
        vpc=value.get("vpc"),
        ipv6=bool(value.get("ipv6", False)),
    )


def _identity(value: Mapping[str, Any] | None) -> Identity | None:
    if value is None:
        return None
    return Identity(*(str(value[key]) for key in ("stack", "service", "region", "account")))


def _sealing(value: Mapping[str, Any] | None) -> Sealing | None:
    return None if value is None else Sealing(str(value["key"]), bool(value.get("attested", False)))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _entry(value: Mapping[str, Any]) -> Entry:
    image, machine, health = value["image"], value["machine"], value["health"]
    return Entry(
        release=str(value["release"]),
        image=Image(
            identity=str(image["identity"]),
            source=source.from_plain(image),
            packages=dict(image["packages"]),
            changes=tuple(image["changes"]),
            info=ami.from_plain(image.get("info", {})),
            asserted=tuple(image.get("asserted", ())),
            measured=tuple((str(pcr), str(value)) for pcr, value in image.get("measured", ())),
            kms_key=image.get("kms_key"),
        ),
        machine=Machine(
            instance_types=tuple(machine["instance_types"]),
            on_demand_base=int(machine["on_demand_base"]),
            on_demand_percent=int(machine["on_demand_percent"]),
            root_gib=_whole(machine.get("root_gib")),
            policies=tuple(machine["policies"]),
            security_groups=tuple(machine.get("security_groups", ())),
            kms_key=machine.get("kms_key"),
            path=str(machine.get("path", "/")),
            secrets=_sealing(machine.get("secrets")),
            weights=tuple(int(each) for each in machine.get("weights", ())),
            requirements=Requirements.of(machine.get("requirements")),
            threads_per_core=_whole(machine.get("threads_per_core")),
            tenancy=str(machine.get("tenancy", "default")),
            placement_group=machine.get("placement_group"),
            monitoring=bool(machine.get("monitoring", False)),
            volume=Volume.of(machine.get("volume", {})),
        ),
        health=HealthCheck(
            port=int(health["port"]),
            path=str(health["path"]),
            codes=str(health["codes"]),
            interval=int(health["interval"]),
            timeout=int(health["timeout"]),
            healthy=int(health["healthy"]),
            unhealthy=int(health["unhealthy"]),
            protocol=str(health.get("protocol", "http")),
            protocol_version=str(health.get("protocol_version", "http1")),
        ),
        max_size=int(value["max_size"]),
        left=bool(value.get("left", False)),
        cores=_whole(value.get("cores")),
        made=str(value.get("made", "")),
        deprecated=str(value.get("deprecated", "")),
    )


def _parts(value: Any) -> Any:  # noqa: ANN401 (whatever an entry has)
    """The fields of dataclasses at any depth, without those that came later and say what all had before."""
    if is_dataclass(value):
        of = ((each, getattr(value, each.name)) for each in fields(value))
        return {each.name: _parts(has) for each, has in of if not (each.metadata.get("later") and has == each.default)}
    return [_parts(item) for item in value] if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Tuples as lists, which Pulumi's serialiser needs, and without what is None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
