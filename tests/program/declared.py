"""Runs the program against Pulumi's mocks and records what it declares: inputs and options, never the answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.mocks import test as with_pulumi
from pulumi.runtime.stack import Stack

from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.image.source import FlakeImage, NixImage
from fleetswap.domain.network.endpoints import Service
from fleetswap.domain.network.existing import Vpc
from fleetswap.domain.release.default_key import EbsDefault, KeyAccess
from fleetswap.domain.release.hardware import Requirements
from fleetswap.domain.release.instance_types import InstanceType
from fleetswap.domain.release.placement import PlacementGroup
from fleetswap.domain.rollout.listener import Seen
from fleetswap.domain.rollout.zone import HostedZone
from fleetswap.domain.secrets.key_state import KeyState
from fleetswap.nix import evaluate as nix_evaluate
from fleetswap.nix import source as nix_source
from fleetswap_pulumi.fleet import deploy
from fleetswap_pulumi.parse import parse

PROJECT, STACK = "fleetswap", "local"

ROLE = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
"""With which EC2 Auto Scaling launches machines."""


_evaluations: dict[str, Evaluation] = {}
_really = nix_evaluate.evaluate


def _evaluate(image: NixImage | FlakeImage, folder: Path, *, preview: bool) -> Evaluation:
    """Nix says the same of the same image each time, and takes a second for it."""
    key = repr((image, folder, preview))
    if key not in _evaluations:
        _evaluations[key] = _really(image, folder, preview=preview)
    return _evaluations[key]


@dataclass(frozen=True)
class Declared:
    """A resource that was registered, with the options that it was given."""

    type: str
    name: str
    inputs: dict[str, Any]
    options: pulumi.ResourceOptions
    custom: bool
    region: str = ""
    """The further region that it is in; nothing for the home region."""


@dataclass(frozen=True)
class Program:
    """All that one run of the program declared, and the outputs that it exported."""

    resources: tuple[Declared, ...]
    outputs: dict[str, Any]

    def of(self, kind: str) -> list[Declared]:
        """The resources whose type ends in `:kind`."""
        return [resource for resource in self.resources if resource.type.endswith(f":{kind}")]

    def within(self, region: str) -> Program:
        """What is declared for a region alone; the home region's name is empty."""
        return Program(tuple(each for each in self.resources if each.region == region), self.outputs)

    def one(self, kind: str, name: str | None = None) -> Declared:
        """The only resource of a kind (and name)."""
        found = [resource for resource in self.of(kind) if name in {None, resource.name}]
        assert len(found) == 1, [resource.name for resource in found]
        return found[0]


class _Recorder(Mocks):
    def __init__(
        self,
        outputs: dict[str, Any],
        stack_name: str,
        serving: str | None,
        left: str,
        resources: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.inputs: dict[str, tuple[str, str, dict[str, Any]]] = {}
        self.urn = threading.local()
        self._resources = resources
        self._outputs = outputs
        self._stack = stack_name
        self._serving = serving
        self._left = left

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        name = f"organization/{PROJECT}/{self._stack}"
        if args.token == "pulumi:pulumi:readStackResourceOutputs":
            assert args.args["stackName"] == name, args.args
            return {"outputs": {urn: {"type": "", "outputs": of} for urn, of in self._resources.items()}}, []
        assert args.token == "pulumi:pulumi:readStackOutputs", args.token
        assert args.args["name"] == name, args.args
        return {"outputs": self._outputs}, []

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[self.urn.now] = (args.typ, args.name, args.inputs)
        computed = {"arn": f"arn:{args.name}", "dnsName": "front.example", "zoneId": "ZELB", "latestVersion": 1}
        if args.typ.endswith(":LoadBalancer"):
            computed["arnSuffix"] = f"app/{args.name}/1"
        if args.typ.endswith(":TargetGroup"):
            computed["arnSuffix"] = f"targetgroup/{args.name}/2"
        if args.typ.endswith(":Record"):
            del computed["zoneId"]
        if args.typ.endswith(":PreviewRule"):
            computed["value"] = f"{args.name}.secret"
        if args.typ.endswith(":DiskImage") and args.inputs.get("attested"):
            computed["measured"] = {"4": args.inputs["release"].encode().hex(), "12": "00", "13": "00"}
        if args.typ.endswith(":Rollout"):
            serving = args.inputs["live"] if self._serving == "" else self._serving
            computed = {"serving": serving, "left": self._left, "seconds": {"gate": 1.0}, "boots": "2/40/41"}
        return f"{args.name}-id", {**args.inputs, **computed}


class _Monitor(MockMonitor):
    """Tells the recorder each resource's URN, with the types of all its parents, as the engine makes it."""

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        above = "" if "pulumi:pulumi:Stack" in parent or not parent else f"{parent.split('::')[2]}$"
        urn = f"urn:pulumi:{pulumi.get_stack()}::{PROJECT}::{above}{type_}::{name}"
        assert isinstance(self.mocks, _Recorder)
        self.mocks.urn.now = urn
        return urn


@dataclass(frozen=True)
class Credentials:
    """Where the credentials lead to, in place of STS and EC2."""

    account: str = "123456789012"
    there: tuple[str, ...] = ("a", "b", "c")
    lacks: tuple[str, ...] = ()
    encrypts: bool | None = None
    """Whether it encrypts all snapshots with its AWS managed key. None: nobody may ask."""
    placed: tuple[PlacementGroup, ...] = ()

    def id(self) -> str:
        """The account."""
        return self.account

    def zones(self) -> tuple[str, ...]:
        """Its zones."""
        return self.there

    def offered(self, instance_types: Collection[str], zones: Collection[str]) -> frozenset[str]:
        """All but those that it lacks."""
        assert set(zones) <= set(self.there)
        return frozenset(instance_types) - set(self.lacks)

    def matching(self, requirements: Requirements, architecture: str) -> tuple[str, ...]:
        """Those that are allowed by their names."""
        return tuple(
            each for each in requirements.allow if (re.match(r"[a-z]+\d+g", each) is None) is (architecture == "x86_64")
        )

    def instance_types(self, names: Collection[str]) -> tuple[InstanceType, ...]:
        """Behind the generation, `g` names AWS's own Arm processor; the fourth generation has no Nitro."""
        return tuple(_instance_type(name) for name in sorted(names) if name not in self.lacks)

    def placement_group(self, name: str) -> PlacementGroup | None:
        """The one of this name, of those that there are."""
        return next((each for each in self.placed if each.name == name), None)

    def encrypts_with_aws_key(self) -> bool:
        """What it says."""
        assert self.encrypts is not None
        return self.encrypts


def _instance_type(name: str) -> InstanceType:
    cores = 2 if name.endswith(".xlarge") else 1
    if re.match(r"[a-z]+\d+g", name):
        return InstanceType(name, frozenset({"arm64"}), frozenset({"uefi"}), cores=cores, threads=(1,))
    if re.match(r"[a-z]+4\.", name):
        return InstanceType(name, frozenset({"x86_64"}), frozenset({"legacy-bios"}), needs_ena=False, nitro_tpm=False)
    return InstanceType(name, frozenset({"x86_64"}), frozenset({"legacy-bios", "uefi"}), cores=cores, threads=(1, 2))


@dataclass(frozen=True)
class Around:
    """The networks that there are, in place of EC2. Whoever asks for nothing must not ask."""

    services: tuple[Service, ...] = ()
    existing: Vpc | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    lists: Mapping[str, str] = field(default_factory=dict)

    def groups(self, ids: Collection[str]) -> Mapping[str, str]:
        """Those of its groups."""
        assert ids
        return {each: vpc for each, vpc in self.known.items() if each in ids}

    def own_vpcs(self) -> frozenset[str]:
        """Its VPCs of the stack."""
        return self.own

    def prefix_lists(self, ids: Collection[str]) -> Mapping[str, str]:
        """Those of its prefix lists."""
        assert ids
        return {each: service for each, service in self.lists.items() if each in ids}

    def endpoint_services(self, names: Collection[str]) -> tuple[Service, ...]:
        """Those of its services."""
        assert names
        return tuple(service for service in self.services if service.name in names)

    def vpc(self, vpc_id: str, groups: Collection[str]) -> Vpc | None:
        """Its VPC, if it is that one, with those of the groups that it knows."""
        found = self.existing
        if found is None or found.id != vpc_id:
            return None
        return replace(found, groups={each: vpc for each, vpc in found.groups.items() if each in groups})


@dataclass(frozen=True)
class Doors:
    """The listeners and hosted zones that there are. Whoever asks for nothing must not ask."""

    seen: Seen | None = None
    hosted: tuple[HostedZone, ...] = ()

    def listener(self, arn: str) -> Seen | None:
        """Its listener, if it is that one."""
        return self.seen if self.seen is not None and self.seen.arn == arn else None

    def zones(self, name: str) -> tuple[HostedZone, ...]:
        """Those of this name."""
        assert self.hosted
        return tuple(zone for zone in self.hosted if zone.name == name)

    def zone(self, zone_id: str) -> HostedZone | None:
        """The one with this id."""
        assert self.hosted
        return next((zone for zone in self.hosted if zone.id == zone_id), None)


class Every(frozenset[str]):
    """All releases that there may be."""

    def __contains__(self, _release: object) -> bool:
        return True


EVERYBODY = KeyAccess('{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*"}}')


@dataclass(frozen=True)
class Kms:
    """Keys that are not enabled, with their states, in place of KMS."""

    states: Mapping[str, str]
    default: EbsDefault = field(default_factory=EbsDefault)
    launches: KeyAccess = field(default_factory=KeyAccess)
    named: KeyAccess = EVERYBODY
    """What is known of all other keys."""

    def state(self, arn: str) -> KeyState:
        """Its own, or that every other key works."""
        return KeyState(arn, self.states.get(arn, "Enabled"))

    def ebs_default(self) -> EbsDefault:
        """The account's."""
        return self.default

    def access(self, arn: str, role: str) -> KeyAccess:
        """What is known of its default key, or of another one."""
        assert role == ROLE
        return self.launches if arn == self.default.key else self.named


def declare(
    values: dict[str, str],
    *,
    ledger: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    region: str = "us-east-1",
    aws: dict[str, str] | None = None,
    stack_name: str = STACK,
    credentials: Credentials | None = None,
    around: Around | None = None,
    fronts: Doors | None = None,
    manifests: Mapping[str, Manifest | None] | None = None,
    keys: Mapping[str, str] | Kms | None = None,
    images: Collection[str] | None = None,
    serving: str | None = "",
    left: str = "",
    resources: Mapping[str, Mapping[str, Any]] | None = None,
) -> Program:
    """Run the program with these settings; `ledger`, or all of `outputs`, is what the stack's last update left.

    `serving` is what the rollout says has the traffic afterwards: what was asked for, if not given. `manifests` are in
    the snapshots, by identity; no other may be asked for. `keys` are the states of KMS keys that are not enabled, or
    all that KMS says.
    `resources` are what the state has, outputs by URNs.
    `images` are the releases that have an AMI: all, if not given.
    """
    read = outputs if outputs is not None else {} if ledger is None else {"ledger": ledger}
    recorder = _Recorder(read, stack_name, serving, left, resources or {})
    set_mocks(
        recorder,
        project=PROJECT,
        stack=stack_name,
        preview=False,
        organization="organization",
        monitor=_Monitor(recorder),
    )
    options: dict[tuple[str, str, str], tuple[pulumi.ResourceOptions, bool]] = {}
    regions: dict[pulumi.Resource, str] = {}
    exports: dict[str, Any] = {}

    def remember(args: pulumi.ResourceTransformationArgs) -> None:
        above = "" if args.opts.parent is None else regions.get(args.opts.parent, "")
        regions[args.resource] = _of_urn(args.type_) or above
        its = (regions[args.resource], args.type_, args.name)
        options[its] = (args.opts, isinstance(args.resource, pulumi.CustomResource))

    @with_pulumi  # type: ignore[untyped-decorator] # Pulumi's mocks ship no types for it
    def program() -> pulumi.Output[Any]:
        root = pulumi.runtime.get_root_resource()
        assert isinstance(root, Stack)
        root.outputs.clear()  # of the run before: the mocks keep the stack
        root._transformations.clear()
        pulumi.runtime.register_stack_transformation(remember)
        deploy(
            parse(values, region=region, aws=aws),
            credentials or Credentials(),
            around or Around(),
            fronts or Doors(),
            (manifests or {}).__getitem__,
            keys if isinstance(keys, Kms) else Kms(keys or {}),
            lambda: Every() if images is None else images,
        )
        return pulumi.Output.from_input(root.outputs).apply(exports.update)

    with mock.patch.object(nix_source, "evaluate", _evaluate):
        program()
    declared = (
        Declared(kind, name, inputs, *options[_of_urn(urn), kind, name], _of_urn(urn))
        for urn, (kind, name, inputs) in recorder.inputs.items()
    )
    return Program(tuple(declared), exports)


def _of_urn(urn: str) -> str:
    found = re.search(r"fleetswap:regions/([a-z0-9-]+):Region", urn)
    return found.group(1) if found else ""
