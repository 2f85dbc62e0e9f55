"""What an image says of its AMI is read, whoever wrote it, and nothing else is registered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.info import (
    DEFAULT,
    ImageInfo,
    from_plain,
    known,
    of_builder,
    of_info,
    of_register,
    refuse_other,
    resolve,
    to_plain,
)

WHERE = "image-info.json"

FIRST = {"label": "21.05", "system": "x86_64-linux", "logical_bytes": "2147483648", "file": "/nix/store/x/a.vhd"}
"""As nixpkgs' amazon-image.nix first wrote it: nothing of the boot mode."""

WITH_BOOT_MODE = {**FIRST, "label": "23.11", "boot_mode": "legacy-bios"}

WITH_DISKS = {
    **WITH_BOOT_MODE,
    "label": "25.05",
    "disks": {"root": {"logical_bytes": "3221225472", "file": "/nix/store/x/a.vhd"}},
}

REGISTER: dict[str, Any] = {
    "Architecture": "arm64",
    "BootMode": "uefi",
    "RootDeviceName": "/dev/xvda",
    "VirtualizationType": "hvm",
    "EnaSupport": True,
    "ImdsSupport": "v2.0",
    "SriovNetSupport": "simple",
    "TpmSupport": None,
    "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3"}}],
}
"""As the newest has it, for aarch64-linux."""

NEWEST = {**WITH_DISKS, "system": "aarch64-linux", "boot_mode": "uefi", "registerImage": REGISTER}


@pytest.mark.parametrize(
    ("written", "info"),
    [
        (FIRST, ImageInfo()),
        (WITH_BOOT_MODE, ImageInfo(boot_mode="legacy-bios")),
        (WITH_DISKS, ImageInfo(boot_mode="legacy-bios")),
        (NEWEST, ImageInfo(architecture="arm64")),
        ({**NEWEST, "registerImage": {**REGISTER, "TpmSupport": "v2.0"}}, ImageInfo(architecture="arm64", tpm="v2.0")),
        ({"registerImage": {**REGISTER, "EnaSupport": "false"}}, ImageInfo(architecture="arm64", ena=False)),
        ({"registerImage": {"RootDeviceName": "/dev/sda1", "Colour": "red"}}, ImageInfo(root_device="/dev/sda1")),
        ({}, ImageInfo()),
    ],
)
def test_an_image_info_of_any_age_is_read(written: dict[str, Any], info: ImageInfo) -> None:
    """An image of nixpkgs' own would be registered with another architecture or boot mode, and never boot."""
    assert resolve(of_info(written, WHERE), {}) == info


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"registerImage": {"Architecture": "i386"}}, "Architecture is 'i386', and must be x86_64 or arm64"),
        (
            {"registerImage": {"BootMode": "bios"}},
            "BootMode is 'bios', and must be uefi or uefi-preferred or legacy-bi",
        ),
        ({"registerImage": {"EnaSupport": "simple"}}, "EnaSupport is 'simple', and must be true or false"),
        ({"registerImage": {"TpmSupport": "2.0"}}, "TpmSupport is '2.0', and must be v2.0"),
        ({"registerImage": {"ImdsSupport": "v1.0"}}, "ImdsSupport is 'v1.0', and must be v2.0"),
        ({"registerImage": {"VirtualizationType": "paravirtual"}}, "VirtualizationType is 'paravirtual'"),
        ({"registerImage": {"RootDeviceName": "xvda"}}, "RootDeviceName is 'xvda', and must be a device such as"),
        ({"registerImage": {"RootDeviceName": "/dev/"}}, "RootDeviceName is '/dev/', and must be a device such as"),
        ({"registerImage": {"RootDeviceName": "/dev/sda\n"}}, "RootDeviceName is '/dev/sda"),
        ({"registerImage": {"BlockDeviceMappings": []}}, "BlockDeviceMappings must have exactly one device"),
        (
            {"registerImage": {**REGISTER, "BlockDeviceMappings": [{"DeviceName": "/dev/sdb"}]}},
            "BlockDeviceMappings has /dev/sdb, and RootDeviceName is /dev/xvda",
        ),
        ({"registerImage": {"Architecture": ["x86_64"]}}, r"Architecture is \['x86_64'\]"),
        ({"registerImage": "x86_64"}, "registerImage must be an attribute set"),
        ({"system": "riscv64-linux"}, "EC2 has no instances for system riscv64-linux"),
        ({"boot_mode": "hybrid"}, "BootMode is 'hybrid'"),
        ({**NEWEST, "system": "x86_64-linux"}, "Architecture arm64, but the file also says x86_64"),
        ({**NEWEST, "boot_mode": "legacy-bios"}, "BootMode uefi, but the file also says legacy-bios"),
        ({"disks": {"boot": {}, "root": {}}}, r"the image has 2 disks \(boot, root\), and a release has one"),
        (["x86_64"], "must be a JSON object"),
    ],
)
def test_what_no_ami_can_have_is_refused(written: object, told: str) -> None:
    """RegisterImage would refuse it after the image was sent, or a value of one machine be taken for another's."""
    with pytest.raises(InputError, match=f"^{WHERE}.*{told}"):
        of_info(written, WHERE)


def test_everything_that_is_wrong_is_told_together() -> None:
    """A user would mend one value a build."""
    with pytest.raises(InputError, match=r"Architecture.*TpmSupport"):
        of_register({"Architecture": "mips", "TpmSupport": "v1.2"}, WHERE)


def test_the_settings_override_what_the_image_says() -> None:
    """An image could not be given a NitroTPM, or would not be deployed with what a review saw."""
    said = of_register({"Architecture": "x86_64", "BootMode": "legacy-bios"}, WHERE)
    assert resolve(said, {"boot_mode": "uefi", "tpm": "v2.0"}) == ImageInfo(tpm="v2.0")


def test_the_settings_cannot_make_another_processor() -> None:
    """An image for one processor would be sent, and its machines never boot."""
    with pytest.raises(InputError, match=r"image\.ami\.architecture is x86_64, but the image is for arm64"):
        resolve(of_info({"system": "aarch64-linux"}, WHERE), {"architecture": "x86_64"})
    assert resolve({}, {"architecture": "arm64"}).architecture == "arm64"


def test_where_an_image_is_built_is_only_a_guess() -> None:
    """An image for Arm that is built on x86-64 could not be deployed, or one that says nothing need a setting."""
    x86, arm = of_builder("x86_64-linux"), of_builder("aarch64-linux")
    assert resolve({}, {}, arm) == ImageInfo(architecture="arm64")
    assert resolve({}, {}, of_builder("riscv64-linux")) == ImageInfo()
    assert resolve({"architecture": "arm64"}, {}, x86) == ImageInfo(architecture="arm64")
    assert resolve({}, {"architecture": "arm64"}, x86) == ImageInfo(architecture="arm64")


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({"architecture": "arm64", "boot_mode": "legacy-bios"}, "Arm instances boot with UEFI only"),
        ({"boot_mode": "legacy-bios", "tpm": "v2.0"}, "NitroTPM requires boot mode uefi"),
        ({"boot_mode": "uefi-preferred", "tpm": "v2.0"}, "NitroTPM requires boot mode uefi"),
    ],
)
def test_what_ec2_cannot_launch_is_refused(info: dict[str, Any], told: str) -> None:
    """The AMI would be refused, or no machine of it be launched, after the image was sent."""
    with pytest.raises(InputError, match=told):
        resolve(info, {})
    with pytest.raises(InputError, match=told):
        resolve({}, info)


def test_an_image_that_was_built_and_says_something_else_is_refused() -> None:
    """A review would have seen one AMI, and another kind of machine would boot, or none."""
    with pytest.raises(
        InputError, match=r"BootMode legacy-bios and not uefi.*set fleetswap:image\.ami\.boot_mode: leg"
    ):
        refuse_other(DEFAULT, (), of_info(WITH_BOOT_MODE, WHERE), WHERE)
    with pytest.raises(InputError, match=r"EnaSupport false and not true.*image\.ami\.ena_support: false"):
        refuse_other(DEFAULT, (), {"ena": False}, WHERE)
    refuse_other(DEFAULT, ("boot_mode",), of_info(WITH_BOOT_MODE, WHERE), WHERE)
    refuse_other(DEFAULT, (), of_info(FIRST, WHERE), WHERE)
    with pytest.raises(InputError, match="Architecture arm64 and not x86_64"):
        refuse_other(DEFAULT, ("architecture",), of_info(NEWEST, WHERE), WHERE)


infos = st.builds(
    ImageInfo,
    architecture=st.sampled_from(["x86_64", "arm64"]),
    boot_mode=st.sampled_from(["uefi", "uefi-preferred", "legacy-bios"]),
    ena=st.booleans(),
    tpm=st.sampled_from([None, "v2.0"]),
    root_device=st.sampled_from(["/dev/xvda", "/dev/sda1"]),
)


@given(infos)
def test_what_is_written_is_read_back(info: ImageInfo) -> None:
    """The AMI of a release would be declared otherwise by the next update, and be replaced."""
    assert from_plain(to_plain(info)) == info


@given(infos)
def test_what_a_release_says_of_its_image_is_what_no_setting_said(info: ImageInfo) -> None:
    """A setting that was removed would stay in force, or a default be taken for what the image says."""
    assert known(info, tuple(to_plain(info))) == {}
    assert known(info, ()) == to_plain(info)
