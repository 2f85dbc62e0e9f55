"""The settings of an image: what it is built from, how it is registered and uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, WrapValidator, field_validator, model_validator

from fleetswap.domain.image import info
from fleetswap.domain.image.source import ImageSource, from_plain
from fleetswap.domain.share import NOBODY, Share
from fleetswap.nix.output import DISK_SUFFIXES
from fleetswap.workflows.image.request import SAMPLES
from fleetswap.workflows.image.send import CONNECTIONS
from fleetswap_pulumi.boot_settings import BootTestSettings
from fleetswap_pulumi.checks import Strict, wrong
from fleetswap_pulumi.names import AccountId, KeyOrStack, OrganizationalUnitArn, OrganizationArn, distinct


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


class ShareSettings(Strict):
    """Whom the AMIs of this stack are shared with, in its region. A change applies to the releases that there are, and
    creates no new one. What is encrypted needs a customer managed key: set `upload.kms_key`.
    """

    accounts: Annotated[tuple[AccountId, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["111122223333"]]
    )
    """IDs of AWS accounts that may launch machines from the AMIs, and copy their snapshots."""
    organizations: Annotated[tuple[OrganizationArn, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["arn:aws:organizations::111122223333:organization/o-a1b2c3d4e5"]]
    )
    """ARNs of organizations whose accounts may launch machines from the AMIs. AWS shares snapshots with accounts only:
    those that promote must be among `accounts`."""
    organizational_units: Annotated[tuple[OrganizationalUnitArn, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["arn:aws:organizations::111122223333:ou/o-a1b2c3d4e5/ou-a1b2-c3d4e5f6"]]
    )
    """ARNs of organizational units, likewise."""

    @model_validator(mode="after")
    def _with_somebody(self) -> ShareSettings:
        if not (self.accounts or self.organizations or self.organizational_units):
            raise ValueError("names nobody: give accounts, organizations or organizational_units, or remove it")
        return self

    @property
    def shared(self) -> Share:
        """With whom."""
        return Share(self.accounts, self.organizations, self.organizational_units)


class TrustedStack(Strict):
    """A stack of another account."""

    stack: str = Field(min_length=1, examples=["fleetswap/staging"])
    """`PROJECT/STACK`."""
    account: AccountId = Field(examples=["111122223333"])
    """ID of the account that has shared its snapshots with this one."""


def _trusted(value: object, _either: object) -> object:
    """Read as the one that it is: of a value that is neither, pydantic would tell what is wrong with it as both."""
    if isinstance(value, TrustedStack):
        return value
    kind: TypeAdapter[str] | TypeAdapter[TrustedStack] = (
        TypeAdapter(TrustedStack) if isinstance(value, Mapping) else TypeAdapter(str)
    )
    return kind.validate_python(value)


class UploadSettings(Strict):
    """How images are uploaded. Changes apply to the next upload and do not create a new release."""

    sparse: Literal["none", "holes"] = "none"
    """`none` sends every block. `holes` skips blocks that were never written to the file and that no parent snapshot
    has. On an encrypted volume a skipped block reads as garbage: do not use `holes` for an image whose zeros were
    turned into holes (`cp --sparse`)."""
    samples: int = Field(default=SAMPLES, ge=0, le=1000)
    """Number of unchanged blocks that are read back from the parent snapshot and compared before the parent is used."""
    trusted_stacks: tuple[Annotated[str | TrustedStack, WrapValidator(_trusted)], ...] = Field(
        default=(), examples=[["fleetswap/staging", {"stack": "fleetswap/staging", "account": "111122223333"}]]
    )
    """Other stacks (`PROJECT/STACK`) of the same account and region whose snapshots may be the parent, so that the
    first image need not be uploaded in full. Whoever can upload for those stacks decides what this stack's machines
    boot. With an `account`, a stack of that other account: if it shares a snapshot of the very image that is deployed,
    the snapshot is copied, every block of the copy is read back and compared with the image, and no block that is right
    is sent (docs/how-to/share-and-promote.md)."""
    share: ShareSettings | None = Field(default=None, examples=[{"accounts": ["111122223333"]}])
    connections: int = Field(default=CONNECTIONS, ge=1, le=1000)
    """Maximum number of concurrent requests to EBS."""
    kms_key: KeyOrStack | None = Field(
        default=None,
        examples=["stack", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    """Customer managed KMS key that encrypts the snapshots: `stack` for the key that the stack makes for volumes, or
    the ARN of an existing key in the stack's region. Only a parent with the same key saves sending blocks, so the first
    upload after a change sends all of them. Unset: snapshots are encrypted as the account encrypts by default."""

    @property
    def shared(self) -> Share:
        """With whom AMIs and snapshots are shared."""
        return self.share.shared if self.share is not None else NOBODY

    @property
    def stacks(self) -> tuple[str, ...]:
        """The trusted stacks of this account."""
        return tuple(each for each in self.trusted_stacks if isinstance(each, str))

    @property
    def accounts(self) -> tuple[str, ...]:
        """The other accounts whose snapshots may be copied, each once."""
        return tuple(dict.fromkeys(each.account for each in self.trusted_stacks if not isinstance(each, str)))


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        raise ValueError(f"{value} may have been written otherwise (YAML reads 1.10 as 1.1): put it in quotes")
    return str(value) if isinstance(value, int) else value
