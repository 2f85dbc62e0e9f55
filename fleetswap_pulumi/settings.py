"""The settings of a stack, as the models that validate them: types, defaults, limits, descriptions.

`fleetswap_pulumi.policy` has those of a rollout, and `infra.config` reads them. docs/reference/settings.md and the
comments in Pulumi.prod.yaml are generated from these models, so write descriptions for whoever edits that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import pulumi
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from fleetswap.aws.partition import partition_of
from fleetswap.domain import access, tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.image import info
from fleetswap.domain.image.source import ImageSource, from_plain
from fleetswap.domain.partition import of_arn
from fleetswap.domain.rollout.rule import matches_host, matches_path
from fleetswap.domain.secrets.sealing import STACK
from fleetswap.nix.output import DISK_SUFFIXES
from fleetswap.workflows.image.request import SAMPLES
from fleetswap.workflows.image.send import CONNECTIONS
from fleetswap_pulumi.boot_settings import BootTestSettings
from fleetswap_pulumi.checks import Strict, wrong, wrong_together
from fleetswap_pulumi.front_settings import (
    LONGEST_DRAIN,
    FrontSettings,
    HealthSettings,
    misfits,
    of_other_regions,
)
from fleetswap_pulumi.names import (
    AccountId,
    IamPath,
    InstanceType,
    KeyOrStack,
    PolicyArn,
    Region,
    SecurityGroupId,
    Service,
    distinct,
    is_of_region,
)
from fleetswap_pulumi.network_settings import NetworkSettings
from fleetswap_pulumi.policy import RolloutSettings
from fleetswap_pulumi.secrets_settings import SecretsSettings, short_form
from fleetswap_pulumi.secrets_settings import misfits as misfits_of_secrets

NAMESPACE = "fleetswap"

INSTANCE_TYPES = {
    "x86_64": ("c7i.large", "c7a.large", "m7i.large", "m7a.large"),
    "arm64": ("c7g.large", "c6g.large", "m7g.large", "m6g.large"),
}
"""What is launched if the settings name no instance types, by architecture."""


class NixImage(Strict):
    """An image built with Nix: either `flake` or `expression`. Its output is a raw disk, or a folder with one."""

    flake: Annotated[str, Field(pattern=r"^[^\s-]\S*$")] | None = Field(default=None, examples=[".#web"])
    """Flake reference with the attribute of the image, relative to the project's root, as `nix build` takes it. The
    flake must be locked."""
    expression: str | None = Field(default=None, examples=["nix/demo"])
    """Path of a Nix expression, relative to the project's root."""
    attr: str | None = Field(default=None, examples=["image"])
    """Attribute of the expression to build. Unset: the expression itself."""
    args: dict[str, str] = Field(default={}, examples=[{"version": "1"}])
    """Arguments of the expression, passed with `--argstr`. One that the expression does not take is refused. Quote a
    value that looks like a number: YAML reads 1.10 as 1.1."""
    options: dict[str, str] = Field(default={}, examples=[{"sandbox": "true"}])
    """Nix options, passed with `--option`. In a preview, `allow-import-from-derivation` is false unless it is set
    here."""

    @field_validator("args", "options", mode="before")
    @classmethod
    def _as_strings(cls, value: object) -> object:
        """`version: 2` is a number in YAML; for Nix it is a string either way."""
        if not isinstance(value, Mapping):
            return value
        return {key: _plain(item) for key, item in value.items()}


class AmiSettings(Strict):
    """How the AMI is registered, where it is not as the image says of itself. A change creates a new release."""

    architecture: Literal["x86_64", "arm64"] | None = Field(default=None, examples=["arm64"])
    """Architecture of the image. An image that says another one of itself is refused. Unset: as the image says, else
    `x86_64`."""
    boot_mode: Literal["uefi", "uefi-preferred", "legacy-bios"] | None = Field(default=None, examples=["legacy-bios"])
    """Boot mode of the AMI. A disk that cannot boot that way is refused. Unset: as the image says, else `uefi`."""
    tpm_support: Literal["v2.0"] | None = Field(default=None, examples=["v2.0"])
    """Gives the machines a NitroTPM. Requires the boot mode `uefi`. Unset: as the image says, else none."""
    imds_support: Literal["v2.0"] | None = Field(default=None, examples=["v2.0"])
    """Makes the machines require IMDSv2, as they do in any case."""
    ena_support: bool | None = Field(default=None, examples=[True])
    """Whether the image has a driver for ENA, which instances built on Nitro require. Unset: as the image says, else
    true."""


class ImageSettings(Strict):
    """The image to deploy: either `nix` or `file`. `image: .#web` is short for `nix.flake`. A change creates a new
    release, unless only `boot_test` changes.
    """

    nix: NixImage | None = Field(default=None, examples=[{"expression": "nix/demo"}])
    file: str | None = Field(default=None, examples=["images/web.raw"])
    """Path of a disk image made by another tool (raw, VHD or qcow2), relative to the project's root."""
    ami: AmiSettings | None = Field(default=None, examples=[{"architecture": "x86_64"}])
    boot_test: BootTestSettings | None = Field(default=None, examples=[{"timeout": 300}])
    """`true`, or these settings: boots the image in QEMU before it is uploaded, with nothing but its disk and a
    metadata service, and uploads nothing if it fails its health check. It runs on the computer that deploys, only
    for an image that has no snapshot yet (docs/how-to/boot-test.md)."""

    @field_validator("boot_test", mode="before")
    @classmethod
    def _as_settings(cls, value: object) -> object:
        """`true` is short for all defaults, `false` for none."""
        return ({} if value else None) if isinstance(value, bool) else value

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: object) -> object:
        """`image: .#web` names a flake's attribute. A disk so named would be looked for as a flake."""
        if not isinstance(value, str):
            return value
        if value.endswith(DISK_SUFFIXES):
            raise wrong("", f"{value} is read as a flake: set image.file to deploy a disk")
        return {"nix": {"flake": value}}

    @model_validator(mode="after")
    def _exactly_one(self) -> ImageSettings:
        from_plain(self.model_dump())
        return self

    @property
    def asserted(self) -> Mapping[str, str | bool]:
        """What `ami` sets, by the names of the fields of `ImageInfo`."""
        set_ = self.ami.model_dump(exclude_none=True) if self.ami is not None else {}
        return {field: set_[setting] for field, setting in info.SETTINGS.items() if setting in set_}

    @property
    def source(self) -> ImageSource:
        """The one that is set."""
        return from_plain(self.model_dump())


class UploadSettings(Strict):
    """How images are uploaded. Changes apply to the next upload and do not create a new release."""

    sparse: Literal["none", "holes"] = "none"
    """`none` sends every block. `holes` skips blocks that were never written to the file and that no parent snapshot
    has. On an encrypted volume a skipped block reads as garbage: do not use `holes` for an image whose zeros were
    turned into holes (`cp --sparse`)."""
    samples: int = Field(default=SAMPLES, ge=0, le=1000)
    """Number of unchanged blocks that are read back from the parent snapshot and compared before the parent is used."""
    trusted_stacks: tuple[str, ...] = Field(default=(), examples=[["fleetswap/staging"]])
    """Other stacks (`PROJECT/STACK`) of the same account and region whose snapshots may be the parent, so that the
    first image need not be uploaded in full. Whoever can upload for those stacks decides what this stack's machines
    boot."""
    connections: int = Field(default=CONNECTIONS, ge=1, le=1000)
    """Maximum number of concurrent requests to EBS."""
    kms_key: KeyOrStack | None = Field(
        default=None,
        examples=["stack", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    """Customer managed KMS key that encrypts the snapshots: `stack` for the key that the stack makes for volumes, or
    the ARN of an existing key in the stack's region. Only a parent with the same key saves sending blocks, so the first
    upload after a change sends all of them. Unset: snapshots are encrypted as the account encrypts by default."""


class MachineSettings(Strict):
    """Instance types, root volume and role of the machines. A change creates a new release."""

    instance_types: (
        Annotated[tuple[InstanceType, ...], Field(min_length=1, max_length=40), AfterValidator(distinct)] | None
    ) = Field(default=None, examples=[["c7i.large", "c7a.large", "m7i.large", "m7a.large"]])
    """Instance types to launch, of the image's architecture. List several, so that Spot capacity can come from more
    pools. Unset: c7i.large, c7a.large, m7i.large and m7a.large or, for an image for arm64, c7g.large, c6g.large,
    m7g.large and m6g.large."""
    on_demand_base: int = Field(default=2, ge=0)
    """Number of machines that are always On-Demand Instances."""
    on_demand_percent: int = Field(default=0, ge=0, le=100)
    """Percentage of On-Demand Instances among the machines above `on_demand_base`. The others are Spot Instances."""
    root_gib: int | None = Field(default=None, ge=1, le=16384, examples=[20])
    """Size of the root volume in GiB. Unset: as large as the image needs."""
    kms_key: KeyOrStack | None = Field(
        default=None,
        examples=["stack", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    """Customer managed KMS key that encrypts the volumes: `stack` for one that the stack makes, or the ARN of an
    existing key in the stack's region, whose key policy must let EC2 Auto Scaling use it (`fleetswap permissions`
    prints the statements). Unset: the account's default key for EBS."""
    policies: Annotated[tuple[PolicyArn, ...], AfterValidator(distinct)] = Field(
        default=(), max_length=20, examples=[["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]]
    )
    """ARNs of managed policies for the instance role. The default quota is 10 per role."""
    security_groups: Annotated[tuple[SecurityGroupId, ...], AfterValidator(distinct)] = Field(
        default=(), max_length=15, examples=[["sg-0a1b2c3d4e5f60718"]]
    )
    """IDs of further security groups of the machines, in their VPC. The default quota is 5 per network interface, of
    which the stack's own group takes one."""

    def types_for(self, architecture: str) -> tuple[str, ...]:
        """The instance types that are set, or the default ones for an architecture."""
        return INSTANCE_TYPES[architecture] if self.instance_types is None else self.instance_types


class IamSettings(Strict):
    """Roles that the stack makes: of the machines, and of the dead man's switch."""

    permissions_boundary: PolicyArn | None = Field(default=None, examples=["arn:aws:iam::111122223333:policy/boundary"])
    """ARN of the permissions boundary of every role. Applies in place."""
    path: IamPath = Field(default="/", examples=["/fleetswap/"])
    """Path of every role and instance profile. A change creates a new release."""


class CapacitySettings(Strict):
    """Number of machines of a release. Changes apply in place."""

    min: int = Field(default=2, ge=1)
    """Minimum number of machines of the live release."""
    max: int = Field(default=8, ge=1, validate_default=True)
    """Maximum number of machines of one release. An increase applies in place, a decrease to the next release."""
    cpu_percent: float = Field(default=50, gt=0, le=100)
    """Target tracking: average CPU utilization to maintain, in percent."""
    # The provider leaves a 0 out of CreateAutoScalingGroup, and AWS then takes the group's cooldown, 300 s.
    warmup: int = Field(default=60, ge=1, le=3600)
    """Instance warmup: seconds after launch before the CPU utilization of a machine is counted. A longer warmup delays
    scale-out."""

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", value):
            raise ValueError(f"{value} is less than min ({info.data['min']})")
        return value


class RetentionSettings(Strict):
    """What is kept besides the live release and its standby."""

    images: int = Field(default=3, ge=0, le=50)
    """Number of older releases whose AMI is kept without machines."""


class Settings(Strict):
    """All settings of a stack."""

    region: Region = Field(examples=["eu-central-1"])
    """AWS Region of the stack."""
    aws: SkipJsonSchema[InstanceOf[access.Settings]] = Field(default=access.Settings(), exclude=True)
    """The other settings of the AWS provider (docs/reference/aws-settings.md)."""
    account: AccountId | None = Field(default=None, examples=["111122223333"])
    """ID of the AWS account to deploy to. Credentials for any other account are refused. The account of a running fleet
    is in the ledger and cannot change."""
    service: Service = Field(examples=["web"])
    """Name of the service, at most 15 characters. Every release's ID begins with it."""
    image: ImageSettings
    release: str | None = Field(default=None, examples=["web-7f3a1b2c"])
    """ID of a release in the ledger that gets the traffic instead of `image`: a rollback in one line. Remove it to
    deploy `image` again."""
    upload: UploadSettings = UploadSettings()
    machine: MachineSettings = MachineSettings()
    secrets: Annotated[SecretsSettings | None, BeforeValidator(short_form)] = Field(
        default=None, examples=[{"file": "secrets/prod.yaml"}]
    )
    iam: IamSettings = IamSettings()
    capacity: CapacitySettings = CapacitySettings()
    network: NetworkSettings = NetworkSettings()
    front: FrontSettings = FrontSettings()
    health: HealthSettings = HealthSettings()
    rollout: RolloutSettings = RolloutSettings()
    retention: RetentionSettings = RetentionSettings()
    tags: dict[str, str] = Field(default={}, validate_default=True, examples=[{"team": "web"}])
    """Additional tags for all resources: at most 40, with values of at most 255 characters. They go before
    `aws:defaultTags`."""
    endpoint: str | None = Field(
        default=None, pattern=r"^http://127\.0\.0\.1:\d{1,5}$", examples=["http://127.0.0.1:4510"]
    )
    """Address of a local cloud. Unset: AWS."""

    @field_validator("account")
    @classmethod
    def _is_allowed(cls, value: str | None, info: ValidationInfo) -> str | None:
        allowed = info.data["aws"].access.allowed_account_ids if "aws" in info.data else ()
        if value is not None and allowed and value not in allowed:
            raise ValueError(f"{value} is not among aws:allowedAccountIds")
        return value

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        defaults = info.data["aws"].default_tags if "aws" in info.data else {}
        try:
            tags.check(defaults)
        except InputError as error:
            raise ValueError(f"aws:defaultTags: {error}") from error
        try:
            tags.check({**defaults, **value})
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("front")
    @classmethod
    def _is_of_one_region(cls, value: FrontSettings, info: ValidationInfo) -> FrontSettings:
        problems = list(of_other_regions(value, info.data.get("region", "")))
        if problems and "region" in info.data:
            raise wrong_together("front", problems)
        return value

    @field_validator("health")
    @classmethod
    def _suits_the_front_door(cls, value: HealthSettings, info: ValidationInfo) -> HealthSettings:
        problems = list(misfits(value, info.data["front"])) if "front" in info.data else []
        if problems:
            raise wrong_together("health", problems)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        vpc, own, problems = self.network.vpc, self.front.listener_arn is None, list(self._other_partitions())
        for path, key in (("machine.kms_key", self.machine.kms_key), ("upload.kms_key", self.upload.kms_key)):
            if key not in (None, STACK) and not is_of_region(str(key), self.region):
                problems.append((path, f"{key} is not of region {self.region}, as it must be"))
        if self.secrets is not None:
            problems += misfits_of_secrets(self.secrets, self.region, boot_test=self.image.boot_test is not None)
        if own and vpc is not None and not vpc.names_balancer_subnets:
            problems.append(("network.vpc.balancer_subnets", "is missing: name them, or `balancer_subnet_tags`"))
        if not own and vpc is None:
            problems.append(("network.vpc", "is missing: machines behind an existing listener must be in its VPC"))
        if not own and vpc is not None and vpc.names_balancer_subnets:
            problems.append(("network.vpc.balancer_subnets", "is for a load balancer of the stack's own: remove it"))
        if own and not self.network.ipv6 and any(":" in each for each in self.front.sources):
            problems.append(("front.sources", "has IPv6 addresses, and network.ipv6 is not set"))
        if problems:
            raise wrong_together("", problems)
        return self

    def _other_partitions(self) -> Iterator[tuple[str, str]]:
        """ARNs that AWS would refuse half-way through a deploy."""
        partition = partition_of(self.region).name
        for path, arn in _arns(self.model_dump(mode="json")):
            if of_arn(arn) != partition:
                yield path, f"is an ARN of partition {of_arn(arn)}, and {self.region} is in {partition}"

    @model_validator(mode="after")
    def _probes_what_its_rules_take(self) -> Settings:
        front, host, problems = self.front, self.probe_host, []
        if front.hosts and host is None:
            problems.append(("rollout.probe_host", "is missing: every one of front.hosts is a pattern"))
        elif front.hosts and not any(matches_host(each, str(host).partition(":")[0]) for each in front.hosts):
            problems.append(("rollout.probe_host", f"{host} is none of front.hosts, so no probe would be answered"))
        path = self.rollout.probed(self.health.protocol_version, self.health.path).partition("?")[0]
        if front.paths and not any(matches_path(each, path) for each in front.paths):
            problems.append(("rollout.probe_path", f"{path} is none of front.paths, so no probe would be answered"))
        if problems:
            raise wrong_together("", problems)
        return self

    @property
    def all_tags(self) -> dict[str, str]:
        """The user's tags: those for all of a company's stacks, and this stack's own."""
        return {**self.aws.default_tags, **self.tags}

    @property
    def drain(self) -> int:
        """Seconds that a deregistering target has to finish its open requests."""
        return min(self.front.idle_timeout, LONGEST_DRAIN) if self.health.drain is None else self.health.drain

    @property
    def probe_host(self) -> str | None:
        """The `Host` of a probe: as given, else the first host that is not a pattern, else the domain."""
        named = [host for host in self.front.hosts if not set(host) & {"*", "?"}]
        domain = [self.front.domain.name] if self.front.domain is not None else []
        return self.rollout.probe_host or next(iter((*named, *domain)), None)

    @property
    def listener_port(self) -> int:
        """The given port, or the default of the scheme."""
        if self.front.port is not None:
            return self.front.port
        return 443 if self.front.certificate_arn else 80

    @property
    def stack(self) -> str:
        """`project/stack`, as in the tag of that name."""
        return f"{pulumi.get_project()}/{pulumi.get_stack()}"


def _arns(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """All ARNs among the settings, with their paths."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _arns(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _arns(each, f"{path}[{number}]")
    elif isinstance(value, str) and re.match(r"arn:aws[a-z-]*:", value) and not path.startswith(("tags.", "image.")):
        yield path, value


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        raise ValueError(f"{value} may have been written otherwise (YAML reads 1.10 as 1.1): put it in quotes")
    return str(value) if isinstance(value, int) else value
