"""The settings of sealed secrets: the KMS key of the stack, and who may open what is sealed with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from fleetswap.aws.partition import partition_of
from fleetswap.domain.secrets.sealing import STACK, Sealing
from fleetswap_pulumi.checks import Strict, wrong, wrong_together
from fleetswap_pulumi.names import KeyArn, PrincipalArn, Region, SealedFile, distinct, is_of_region

OF_OWN_KEY = ("editors", "deletion_window", "rotation_period", "replica_regions")
"""What an existing key has from whoever made it."""


class SecretsSettings(Strict):
    """`true`, or these settings: images contain secrets that are sealed with a KMS key, and machines open them at boot
    with a role of the stack (docs/how-to/secrets.md). Unset: no secrets.
    """

    file: SealedFile | None = Field(default=None, examples=["secrets/prod.yaml"])
    """Path of the stack's sealed file, relative to the project's root. Every preview and update checks it, and the
    update that makes the key makes nothing else. Unset: nothing is checked."""
    editors: Annotated[tuple[PrincipalArn, ...], AfterValidator(distinct)] = Field(
        default=(), max_length=50, examples=[["arn:aws:iam::111122223333:role/ops"]]
    )
    """ARNs of IAM roles and users that may also decrypt, to edit and rotate secrets. They must exist. The root user's
    ARN lets the IAM policies of its account decide."""
    kms_key: KeyArn | None = Field(
        default=None, examples=["arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
    )
    """ARN of an existing KMS key in the stack's region, in place of a key that the stack makes. Its key policy is yours
    (`fleetswap permissions` prints the statements that it needs). A change creates a new release."""
    deletion_window: int = Field(default=30, ge=7, le=30)
    """Days that KMS waits before it deletes the stack's key, for instance after `pulumi destroy`."""
    rotation_period: int = Field(default=365, ge=90, le=2560)
    """Days between automatic rotations of the key material of the stack's key."""
    replica_regions: Annotated[tuple[Region, ...], AfterValidator(distinct)] = Field(
        default=(), max_length=40, examples=[["eu-west-1"]]
    )
    """Other AWS Regions with a replica of the stack's key, which is a multi-Region key then. A key that was made
    without replicas cannot get any."""
    attested: bool = False
    """Makes KMS open secrets only for machines whose NitroTPM proves that they booted the image of a release that runs.
    Requires `tpm_support: v2.0`, the boot mode `uefi`, the stack's own key, and a unified kernel image with the whole
    system or its root hash (`fleetswap.image.verity.enable`). A change creates a new release."""
    retire: bool = False
    """Keeps the stack's key only as long as a release needs it, and uses it for no new one: they use `kms_key` or,
    without it, have no secrets. Set it to change to `kms_key`, or before `secrets` is removed."""

    @model_validator(mode="after")
    def _names_one_key(self) -> SecretsSettings:
        if self.kms_key is not None and self.attested:
            raise wrong(
                "attested", "is for the stack's own key, whose policy says who is attested: remove it, or `kms_key`"
            )
        if self.kms_key is not None and not self.retire:
            given = [key for key in OF_OWN_KEY if key in self.model_fields_set]
            if given:
                raise wrong_together([(key, "is for the stack's own key: remove it, or `kms_key`") for key in given])
        return self

    @property
    def own_key(self) -> bool:
        """Whether new releases use the stack's own key."""
        return self.kms_key is None and not self.retire

    @property
    def sealing(self) -> Sealing | None:
        """How the secrets of a new release are sealed."""
        key = STACK if self.own_key else self.kms_key
        return None if key is None else Sealing(key, self.attested)


def short_form(value: object) -> object:
    """`true` is short for all defaults, `false` for none of it; the engine hands both on as text."""
    if isinstance(value, (bool, str)):
        return {"true": {}, "false": None}.get(str(value).lower(), value)
    return value


def misfits(secrets: SecretsSettings, region: str, *, boot_test: bool) -> Iterator[tuple[str, str]]:
    """What does not fit the stack's region and the boot test of its image: keys of settings, and what is wrong."""
    if secrets.kms_key is not None and not is_of_region(secrets.kms_key, region):
        yield "secrets.kms_key", f"{secrets.kms_key} is not of region {region}, as it must be"
    here = partition_of(region).name
    for number, each in enumerate(secrets.replica_regions):
        path = f"secrets.replica_regions[{number}]"
        if each == region:
            yield path, f"{each} is the stack's own region, which has the key itself: remove it"
        elif partition_of(each).name != here:
            yield path, f"{each} is not in partition {here}, which a multi-Region key cannot leave"
    if boot_test and secrets.sealing is not None:
        yield "image.boot_test", "is set, and a boot test has no KMS to open `secrets` with: remove one of them"
